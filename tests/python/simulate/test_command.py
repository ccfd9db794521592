"""The arguments of `copymart simulate` decide every byte."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import UserError
from scripts.simulate import command as simulator
from scripts.simulate.command import simulate
from support.simulated import hashes, make, rows, value


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny"), 400)


def test_same_arguments_same_bytes(tmp_path: Path, tiny: Path) -> None:
    again = make(tmp_path / "again", 400)
    other = make(tmp_path / "other", 400, seed=2)
    assert hashes(again) == hashes(tiny)
    for folder in ("justai", "customerio", "pipelines"):
        assert hashes(other, folder) != hashes(tiny, folder)


def test_work_in_pieces_makes_one_world(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "STORIES_AT_ONCE", 130)
    monkeypatch.setattr(simulator.files, "LINES_AT_ONCE", 200)
    pieces = make(tmp_path / "pieces", 400)
    for folder in ("justai", "customerio", "pipelines"):
        assert hashes(pieces, folder) == hashes(tiny, folder)
    for path in (tiny / "truth").glob("*.parquet"):
        whole_rows, rows_of_pieces = (rows(out, f"from {path.stem} order by all") for out in (tiny, pieces))
        assert whole_rows == rows_of_pieces, path.stem


@pytest.mark.parametrize(("calls", "days"), [(1, 1), (2, 30), (17, 3), (501, 1)])
def test_there_are_as_many_distinct_calls_as_asked_for(tmp_path: Path, calls: int, days: int) -> None:
    out = make(tmp_path / "out", calls, days)
    assert value(out, "select count(*) from (select distinct * from fct_calls)") == calls
    assert value(out, "select count(*) from fct_calls") == calls


def test_calls_lie_in_the_days_asked_for(large: Path) -> None:
    first = value(large, "select min(first_called_at)::date from fct_deliveries")
    last = value(large, "select max(last_called_at)::date from fct_deliveries")
    assert str(first) >= "2025-12-31"
    late = (
        "select count(*) filter (event_timestamp >= epoch(timestamp '2026-01-15')) / count(*) from fct_calls"
    )
    assert value(large, late) < 0.02
    assert str(last) > "2026-01-14"


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="did not write"):
        make(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="is a file"):
        make(tmp_path / "mine.txt", 10)


def test_a_former_simulation_is_replaced(tmp_path: Path) -> None:
    make(tmp_path, 200, days=3, seed=5)
    stale = tmp_path / "justai/calls/1999/01/01/00/calls.jsonl.gz"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    make(tmp_path, 100, days=2)
    fresh = make(tmp_path.with_name("fresh"), 100, days=2)
    assert hashes(tmp_path) == hashes(fresh)


def test_a_run_cut_short_is_marked_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simulator.marts, "finish", cut)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, 100)
    assert (tmp_path / simulator.MARKER).read_text() == simulator.UNFINISHED
    make(tmp_path, 100)
    assert "calls 100" in (tmp_path / simulator.MARKER).read_text()
    assert not (tmp_path / ".work").exists()


def test_a_second_run_into_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, refused = simulator.marts.finish, []

    def meanwhile(*given: Any) -> None:
        if not refused:
            refused.append(True)
            with pytest.raises(UserError, match="another run of copymart simulate writes to"):
                make(tmp_path, 10)
        finish(*given)

    monkeypatch.setattr(simulator.marts, "finish", meanwhile)
    make(tmp_path, 100)
    monkeypatch.undo()
    assert hashes(tmp_path) == hashes(make(tmp_path.with_name("alone"), 100))


@pytest.mark.parametrize("start", [datetime(1999, 12, 31), datetime(2098, 12, 30), datetime(9999, 12, 31)])
def test_days_that_landing_would_reject_are_refused(tmp_path: Path, start: datetime) -> None:
    with pytest.raises(UserError, match="must lie between"):
        simulate(tmp_path / "out", 10, 14, 1, start)
    assert not (tmp_path / "out").exists()
