"""Which file is which: names, links, keys on S3, copies under another name, and copymart's own exports."""

import gzip
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.errors import UserError
from scripts.land import records
from scripts.land.duckdb import DuckDB
from scripts.land.moved import move, plan_moves
from scripts.land.plan import plan_landing
from scripts.land.rules import CALLS, EVENTS
from scripts.land.sources import list_files, listed_files, locate
from scripts.land.transaction import run
from support import land as support
from support.formats import parquet
from support.land import SPAN, call, event, hourly, landed, rows, state, text, warehouse, write

land_path = partial(support.land_path, copies=False)


def files(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [
        name for (name,) in connection.execute("select file from staging.landed_files order by 1").fetchall()
    ]


def keys(given: str, *there: str) -> list[str]:
    """The keys among those of a bucket that an address means."""
    objects = [(f"s3://b/{key}", 1, "etag") for key in there]
    return [file.uri.removeprefix("s3://b/") for file in listed_files(locate(given), objects)]


def test_markers_of_empty_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "2026/a.jsonl", call())
    (tmp_path / "2026_$folder$").touch()
    assert land_path(warehouse(), tmp_path).refused == []
    assert keys("s3://b/calls", "calls/a.jsonl", "calls/x_$folder$", "calls/y/") == ["calls/a.jsonl"]


def test_each_slash_of_a_key_counts() -> None:
    there = ("calls//a.jsonl", "calls/b.jsonl", "/c.jsonl")
    assert keys("s3://b/calls//", *there) == ["calls//a.jsonl"]
    assert keys("s3://b/calls", *there) == ["calls//a.jsonl", "calls/b.jsonl"]
    assert keys("s3://b//c.jsonl", *there) == ["/c.jsonl"]
    assert keys("s3://b/calls//*.jsonl", *there) == ["calls//a.jsonl"]


def test_a_key_is_no_glob_where_it_exists() -> None:
    assert keys("s3://b/x[1].jsonl", "x[1].jsonl", "x1.jsonl") == ["x[1].jsonl"]
    assert keys("s3://b/x[1].jsonl", "x1.jsonl", "x2.jsonl") == ["x1.jsonl"]
    assert keys("s3://b/day[1]", "day[1]/a.jsonl", "day1/a.jsonl") == ["day[1]/a.jsonl"]


def test_a_file_is_its_path_without_links(tmp_path: Path) -> None:
    """A glob and a plain path, through a link and not, give one name."""
    path = write(tmp_path / "store/2026/a.jsonl", call())
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/day").symlink_to(tmp_path / "store/2026")
    (tmp_path / "logs/b.jsonl").symlink_to(path)
    for given in ("store", "logs", "logs/day", "lo*/day", "logs/*/a.jsonl", "logs/b.jsonl", "**/*.jsonl"):
        connection = warehouse()
        assert land_path(connection, tmp_path / given).copies == []
        assert files(connection) == [str(path)], given


def test_a_link_that_points_elsewhere_is_another_file(tmp_path: Path) -> None:
    for day in ("1", "2"):
        write(tmp_path / day / "a.jsonl", call(user_id=day))
    (tmp_path / "current").symlink_to("1")
    connection = warehouse()
    land_path(connection, tmp_path / "current")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("2")
    land_path(connection, tmp_path / "current")
    assert [row["user_id"] for row in landed(connection)] == ["1", "2"]


def test_a_copy_is_held_back(tmp_path: Path) -> None:
    hourly(tmp_path / "old", "2026/09/01/00", "2026/09/01/01")
    connection = warehouse()
    land_path(connection, tmp_path / "old")
    before = state(connection)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    write(tmp_path / "new/2026/09/01/02/calls.jsonl", call(user_id="more"))
    outcome = land_path(connection, tmp_path / "new")
    assert [(Path(new).parts[-6:-5], Path(old).parts[-6:-5]) for new, old in outcome.copies] == [
        (("new",), ("old",))
    ] * 2
    assert (outcome.files, outcome.refused) == (1, [])
    assert len(landed(connection)) == len(before["justai_calls"]) + 1
    # another data set may read the same file
    assert land_path(connection, tmp_path / "new/2026/09/01/00", EVENTS).copies == []
    assert land_path(connection, tmp_path / "new", copies=True).files == 2


def test_a_copy_in_the_same_run_is_held_back(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name, call())
    connection = warehouse()
    outcome = land_path(connection, tmp_path)
    assert [(Path(new).name, Path(old).name) for new, old in outcome.copies] == [("b.jsonl", "a.jsonl")]
    assert len(landed(connection)) == 1


def test_files_without_rows_are_no_copies(tmp_path: Path) -> None:
    for hour in ("00", "01"):
        (tmp_path / hour).mkdir()
        (tmp_path / hour / "empty.jsonl").touch()
        (tmp_path / hour / "blank.jsonl.gz").write_bytes(gzip.compress(b"\n", mtime=0))
        (tmp_path / hour / "none.parquet").write_bytes(parquet([]))
    connection = warehouse()
    assert land_path(connection, tmp_path / "00").files == 3
    outcome = land_path(connection, tmp_path)
    assert (outcome.files, outcome.unchanged, outcome.copies) == (3, 3, [])


def test_content_that_changed_names_is_free_again(tmp_path: Path) -> None:
    """A log that is rotated: its old content under a new name, new content under its own."""
    write(tmp_path / "a.jsonl", call(user_id="old"))
    connection = warehouse()
    land_path(connection, tmp_path)
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    write(tmp_path / "a.jsonl", call(user_id="new"))
    assert land_path(connection, tmp_path).copies == []
    assert [row["user_id"] for row in landed(connection)] == ["new", "old"]


@pytest.mark.parametrize("now", [(call(user_id="new"),), ()], ids=["new content", "empty"])
def test_logs_with_numbers_are_rotated(tmp_path: Path, now: tuple[dict[str, Any], ...]) -> None:
    """The new names come before the old ones, and each has content that another one brought."""
    write(tmp_path / "calls.jsonl", call(user_id="b"))
    write(tmp_path / "calls.1.jsonl", call(user_id="a"))
    connection = warehouse()
    land_path(connection, tmp_path)
    (tmp_path / "calls.1.jsonl").rename(tmp_path / "calls.2.jsonl")
    (tmp_path / "calls.jsonl").rename(tmp_path / "calls.1.jsonl")
    write(tmp_path / "calls.jsonl", *now)
    assert land_path(connection, tmp_path).copies == []
    found = [row["user_id"] for row in landed(connection)]
    assert found == ["b", "a", *(row["user_id"] for row in now)]
    # two that changed places bring what is there already
    (tmp_path / "calls.1.jsonl").rename(tmp_path / "other")
    (tmp_path / "calls.2.jsonl").rename(tmp_path / "calls.1.jsonl")
    (tmp_path / "other").rename(tmp_path / "calls.2.jsonl")
    assert len(land_path(connection, tmp_path).copies) == 2
    assert [row["user_id"] for row in landed(connection)] == found


def test_a_file_that_is_refused_keeps_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it brought before stays, so the same under another name is a copy."""
    monkeypatch.setattr(records, "PIECE_BYTES", 100)
    write(tmp_path / "a.jsonl.gz", call(user_id="old"))
    connection = warehouse()
    land_path(connection, tmp_path)
    shutil.copy(tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz")
    lines = text(*(call(user_id=f"{number}") for number in range(40))).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-30])
    outcome = land_path(connection, tmp_path)
    assert (len(outcome.refused), len(outcome.copies)) == (1, 1)
    assert [row["user_id"] for row in landed(connection)] == ["old"]


def test_a_copy_of_a_file_that_grew_after_it_was_listed_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", call())
    connection = warehouse()
    location = locate(str(tmp_path))
    there = list_files(location)
    write(path, call(), call(user_id="more"))
    run(DuckDB(connection), plan_landing(connection, CALLS, location, there), support.BOUNDS)
    path.rename(tmp_path / "b.jsonl")
    assert len(land_path(connection, tmp_path).copies) == 1
    assert len(landed(connection)) == 2


def test_a_backfill_takes_a_file_that_was_renamed_in_its_hour(tmp_path: Path) -> None:
    (path,) = hourly(tmp_path, "2026/09/01/05")
    connection = warehouse()
    land_path(connection, tmp_path)
    path.rename(path.with_name("renamed.jsonl.gz"))

    outcome = land_path(connection, tmp_path, span=SPAN)
    assert (outcome.files, outcome.removed, outcome.copies) == (1, 1, [])
    assert files(connection) == [str(path.with_name("renamed.jsonl.gz"))]


def test_moved_files_keep_their_rows(tmp_path: Path) -> None:
    hourly(tmp_path / "old", "2026/09/01/00", "2026/09/01/01")
    write(tmp_path / "old/events.jsonl", event())
    connection = warehouse()
    land_path(connection, tmp_path / "old/2026")
    land_path(connection, tmp_path / "old/events.jsonl", EVENTS)
    shutil.move(tmp_path / "old", tmp_path / "new")
    engine = DuckDB(connection)
    assert move(engine, plan_moves(engine, str(tmp_path / "old"), f"{tmp_path}/new/")) == 3
    assert land_path(connection, tmp_path / "new/2026").unchanged == 2
    assert land_path(connection, tmp_path / "new/events.jsonl", EVENTS).unchanged == 1
    fresh = warehouse()
    land_path(fresh, tmp_path / "new/2026")
    land_path(fresh, tmp_path / "new/events.jsonl", EVENTS)
    assert state(connection) == state(fresh)
    # models read the renamed rows again: they are a batch, and their keys are in it as removed ones
    moved = "select batch_id from staging.landed_batches order by landed_at desc limit 2"
    batches = {batch for (batch,) in connection.execute(moved).fetchall()}
    for table, keyed in (("justai_calls", "journey_id"), ("customerio_events", "event_id")):
        now = {row["_batch_id"] for row in rows(connection, f"select _batch_id from staging.{table}")}
        gone = rows(connection, f"select distinct batch_id, {keyed} from staging.{table}_removed")
        assert now == {row["batch_id"] for row in gone} <= batches


def test_a_move_that_cannot_be(tmp_path: Path) -> None:
    hourly(tmp_path / "old", "2026/09/01/00")
    hourly(tmp_path / "new", "2026/09/01/00")
    connection = warehouse()
    land_path(connection, tmp_path / "old")
    land_path(connection, tmp_path / "new", copies=True)
    engine = DuckDB(connection)
    with pytest.raises(UserError, match="is in the ledger already"):
        plan_moves(engine, str(tmp_path / "old"), str(tmp_path / "new"))
    with pytest.raises(UserError, match="has no file"):
        plan_moves(engine, str(tmp_path / "ol"), str(tmp_path / "new"))
    with pytest.raises(UserError, match="is empty"):
        plan_moves(engine, " ", str(tmp_path / "new"))


def export(folder: Path, layout: str = "full", dataset: str = "calls") -> Path:
    """A folder such as copymart unload makes."""
    write(folder / "2026/01/01/12" / f"{dataset}.jsonl", call())
    write(folder / "_manifest.json", {"dataset": dataset, "layout": layout})
    write(folder / "_manifests/20260101T120000Z-01234567.json", {})
    return folder


def test_an_export_within_a_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "logs/a.jsonl", call(user_id="mine"))
    export(tmp_path / "logs/export/calls")
    export(tmp_path / "logs/export/deliveries", dataset="deliveries")
    connection = warehouse()
    outcome = land_path(connection, tmp_path / "logs")
    assert [Path(uri).parts[-2] for uri, _ in outcome.refused] == ["calls", "deliveries"]
    assert all("is an export of copymart" in reason for _, reason in outcome.refused)
    assert [row["user_id"] for row in landed(connection)] == ["mine"]
    assert len(land_path(warehouse(), tmp_path / "logs/**/*.jsonl").refused) == 2
    # a glob that means nothing of it does not see it
    assert land_path(warehouse(), tmp_path / "logs/*.jsonl").refused == []


@pytest.mark.parametrize("below", ["", "2026/01", "2026/01/01/12/calls.jsonl"])
def test_an_export_of_whole_calls_lands_when_it_is_named(tmp_path: Path, below: str) -> None:
    assert land_path(warehouse(), export(tmp_path / "whole") / below).files == 1
    (refused,) = land_path(warehouse(), export(tmp_path / "split", "split") / below).refused
    assert refused[0] == f"{tmp_path}/split/_manifest.json"


def test_an_export_on_s3() -> None:
    there = [
        (f"s3://b/{key}", 1, "etag")
        for key in (
            "e/calls/2026/01/01/12/calls.parquet",
            "e/calls/_manifest.json",
            "e/calls/_manifests/r.json",
        )
    ]

    def listed(given: str, layout: str) -> list[tuple[str, str | None]]:
        body = f'{{"manifest_version": 2, "dataset": "calls", "layout": "{layout}"}}'.encode()

        def read(address: str) -> bytes:
            if address != "s3://b/e/calls/_manifest.json":
                raise FileNotFoundError(address)
            return body

        found = listed_files(locate(given), there, read)
        return [(file.uri, file.format) for file in found]

    whole = [("s3://b/e/calls/2026/01/01/12/calls.parquet", "parquet")]
    closed = [("s3://b/e/calls/_manifest.json", "export")]
    assert listed("s3://b/e/calls", "full") == whole
    assert listed("s3://b/e/calls", "split") == closed
    assert listed("s3://b/e", "full") == closed
    # below it, a listing shows no manifest
    assert listed("s3://b/e/calls/2026/01", "full") == whole
    assert listed("s3://b/e/calls/2026/01", "split") == closed
    assert listed(whole[0][0], "split") == closed
