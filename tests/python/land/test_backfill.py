"""A backfill makes a range equal to the files that are there now."""

from datetime import datetime
from pathlib import Path

import pytest

from scripts.errors import UserError
from support.land import (
    HOURS,
    SPAN,
    call,
    hourly,
    land_path,
    landed,
    rejected,
    state,
    warehouse,
    write,
)


def test_backfill_makes_the_range_equal_to_the_files(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    other = write(tmp_path.parent / f"{tmp_path.name}_old" / HOURS[1] / "x.jsonl", call())
    land_path(connection, other.parent)
    land_path(connection, tmp_path)
    for path in paths:
        path.unlink()
        write(path.with_name("again.jsonl"), call(user_id=path.parent.name))
    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, outcome.rows) == (2, 2, 2)
    expected = {str(paths[0]), str(paths[3]), str(other)} | {
        str(path.with_name("again.jsonl")) for path in paths[1:3]
    }
    for table, column in (("justai_calls", "_file"), ("landed_files", "file")):
        assert {
            file for (file,) in connection.execute(f"select {column} from staging.{table}").fetchall()
        } == expected
    assert len(rejected(connection)) == 2
    again = land_path(connection, tmp_path, span=SPAN)
    assert (again.files, again.removed, again.unchanged) == (0, 0, 2)


def test_wrong_files_are_taken_back(tmp_path: Path) -> None:
    """In hours by a backfill, elsewhere by an empty file of the same name, which may go then."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    hourly(right, *HOURS)
    connection = warehouse()
    land_path(connection, right)
    before = len(landed(connection)), len(rejected(connection))
    files = [
        *(write(wrong / "a.jsonl", call(), "broken"), write(wrong / "b.jsonl.gz", call())),
        *hourly(wrong / "hours", *HOURS),
    ]
    land_path(connection, wrong)
    with pytest.raises(UserError, match="an empty file of its name takes back"):
        land_path(connection, wrong, span=SPAN)
    for file in files[:2]:
        write(file)
        assert land_path(connection, file).rows == 0
        file.unlink()
    (wrong / "hours").rename(tmp_path / "aside")
    (wrong / "hours").mkdir()
    span = (datetime(2026, 1, 1), datetime(2027, 1, 1))
    assert land_path(connection, wrong / "hours", span=span, allow_empty=True).removed == len(HOURS)
    assert (len(landed(connection)), len(rejected(connection))) == before


def test_backfill_does_not_empty_an_hour_unasked(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    land_path(connection, tmp_path)
    before = state(connection)
    paths[1].unlink()
    with pytest.raises(UserError, match="2026-09-01T00") as refusal:
        land_path(connection, tmp_path, span=SPAN)
    assert "--allow-empty" in str(refusal.value)
    assert "T05" not in str(refusal.value)
    assert state(connection) == before
    assert land_path(connection, tmp_path, span=SPAN, allow_empty=True).removed == 1
    assert len(landed(connection)) == 9


def test_backfill_of_a_range_without_any_file(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    with pytest.raises(UserError, match="no files to land between"):
        land_path(connection, tmp_path, span=(datetime(2025, 1, 1), datetime(2025, 1, 2)))
    land_path(connection, tmp_path)
    paths[1].unlink()
    paths[2].unlink()
    with pytest.raises(UserError, match=r"2 hour\(s\)"):
        land_path(connection, tmp_path, span=SPAN)
    assert land_path(connection, tmp_path, span=SPAN, allow_empty=True).removed == 2
    assert land_path(connection, tmp_path, span=SPAN, allow_empty=True).removed == 0


def test_backfill_removes_nothing_when_a_file_was_refused(tmp_path: Path) -> None:
    paths = hourly(tmp_path, *HOURS)
    connection = warehouse()
    land_path(connection, tmp_path)
    paths[1].rename(paths[1].with_name("new.jsonl.gz"))
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[:-3])
    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, len(outcome.refused)) == (1, 0, 1)
    assert outcome.held_back == 1
    paths[2].write_bytes(data)
    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, outcome.unchanged, outcome.held_back) == (0, 1, 2, 0)


def test_backfill_wants_hours_in_paths(tmp_path: Path) -> None:
    hourly(tmp_path, *HOURS)
    write(tmp_path / "late.jsonl", call())
    with pytest.raises(UserError, match=r"late\.jsonl"):
        land_path(warehouse(), tmp_path, span=SPAN)
