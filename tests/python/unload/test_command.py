"""The command line of `copymart unload`."""

from pathlib import Path

import pytest

from scripts.errors import UserError
from scripts.unload.command import unload
from scripts.unload.datasets import DATASETS
from support.unload import CALLS, HOUR, NOON, Warehouse, snapshot


def test_all_datasets_are_unloaded_by_default(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    filled.unload()
    assert sorted(path.name for path in filled.out.iterdir()) == sorted(DATASETS)
    printed = capsys.readouterr().out
    assert all(name in printed for name in DATASETS)


def test_dry_run_writes_nothing_and_says_what_it_would(
    filled: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.unload("calls", dry_run=True)
    assert not filled.out.exists()
    filled.unload("calls")
    before = snapshot(filled.out)
    filled.execute(f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}")
    capsys.readouterr()
    filled.unload("calls", dry_run=True)
    assert snapshot(filled.out) == before
    printed = capsys.readouterr().out
    assert f"would delete {filled.out}/calls/2026/01/01/13/calls.parquet" in printed


def test_a_folder_with_quotes_and_spaces(filled: Warehouse) -> None:
    filled.out = filled.folder / "it's an export, größer"
    filled.unload("calls", "copy_variants")
    assert len(filled.rows("calls")) == len(CALLS)
    assert len(filled.rows("copy_variants")) == 2


def test_usage_errors_are_told_and_nothing_is_written(filled: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "a_file"
    file.write_text("")
    wrong: list[tuple[str, dict[str, object]]] = [
        ("there are calls, deliveries", {"dataset": "cals"}),
        ("not before", {"start": "2026-01-02", "end": "2026-01-02"}),
        ("not before", {"start": "2026-01-03", "end": "2026-01-02"}),
        ("--start yesterday is no time", {"start": "yesterday"}),
        ("--end 2026-01-01T10:30 is not a whole UTC hour", {"end": "2026-01-01T10:30"}),
        ("--start 9999-12-31T23 lies outside", {"start": "9999-12-31T23"}),
        ("is a file", {"to": file}),
        ("is a file", {"to": file / "below"}),
        ("give a folder, or s3://", {"to": "gs://bucket/prefix"}),
        ("write s3://bucket/prefix", {"to": "s3:///prefix"}),
        (r"'\[b' is no name of a bucket", {"to": "s3://[b/x"}),
        (r"write s3://bucket/prefix, or \./s3:/bucket/x", {"to": "s3:/bucket/x"}),
        (r"'\.\.' is no name between slashes", {"to": "s3://bucket/a/../b"}),
        ("'' is no name between slashes", {"to": "s3://bucket/a//b"}),
        (r"'\\x07' may not stand in it", {"to": "s3://bucket/a\ab"}),
        ("'#' may not stand in it", {"to": "s3://bucket/a#b"}),
        (r"'\?' may not stand in it", {"to": "s3://bucket/a?b"}),
        ("--part-size: S3 takes parts of", {"to": "s3://bucket", "part_size": "6G"}),
        ("home directory", {"to": "~nouser-of-this-name/x"}),
        ("File name too long", {"to": file.parent / ("x" * 300)}),
        ("lies outside the years", {"start": "0001-01-01T00:00+14:00"}),
        ("lies outside the years", {"end": "9999-12-31T23:00-14:00"}),
        ("belongs to a role", {"to": "s3://bucket", "session_name": "me"}),
        ("belongs to --sse aws:kms", {"to": "s3://bucket", "kms_key_id": "k"}),
        ("--max-file-size 5T", {"max_file_size": "5T"}),
        ("Snowflake writes to S3", {"target": "snowflake"}),
        ("--stage names a stage of Snowflake", {"stage": "S"}),
    ]
    for message, options in wrong:
        name = str(options.pop("dataset", "calls"))
        with pytest.raises(UserError, match=message):
            filled.unload(name, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--to is empty"):
        unload(to="", project_dir=filled.folder, profiles_dir=filled.folder)
    assert not filled.out.exists()


def test_brackets_and_colons_in_names_are_printed_as_they_are(
    filled: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are markup and emoji to the library that prints."""
    out = filled.folder / "[/x] [red]out :smile:"
    filled.unload("calls", to=out, dry_run=True)
    printed = capsys.readouterr().out
    assert printed.startswith(f"Dry run: nothing is written to {out}\n")
    assert f"would write {out}/calls/2026/01/01/12/calls.parquet (2 rows)" in printed
    filled.execute("delete from marts.dim_copy_variants")
    filled.unload(to=out)
    assert f"; {out}/copy_variants stays as it is" in capsys.readouterr().out
