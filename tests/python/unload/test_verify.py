"""`copymart verify` finds every kind of damage, and shows no personal data."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from scripts import s3
from scripts.errors import UserError
from scripts.unload import verify as verify_module
from scripts.unload.datasets import Format
from scripts.unload.places.s3 import Bucket
from scripts.unload.verify import verify
from support.s3_store import Store, lock_of, not_implemented
from support.unload import HOUR, NOON, Warehouse, call


def damage_bytes(store: Store) -> None:
    store.put("calls/2026/01/01/12/calls.parquet", store.body("calls/2026/01/01/12/calls.parquet")[::-1])


def damage_object(store: Store) -> None:
    store.put("calls/2026/01/01/12/calls.parquet", store.body("calls/2026/01/01/13/calls.parquet") + b" ")


def lose_object(store: Store) -> None:
    store.lose("calls/2026/01/01/12/calls.parquet")


def add_object(store: Store) -> None:
    store.put("calls/2026/03/01/12/calls.parquet", b"x")


def add_foreign(store: Store) -> None:
    """Readers of the listing would count its rows twice."""
    store.put("calls/2026/01/01/12/copy of calls.parquet", store.body("calls/2026/01/01/12/calls.parquet"))


def lose_all_but_records(store: Store) -> None:
    for key in store.all_keys():
        if "_manifests/" not in key:
            store.lose(key)


def begin_upload(store: Store) -> None:
    store.client.create_multipart_upload(
        Bucket=store.bucket, Key="an/export/calls/2026/01/01/12/calls.parquet"
    )


def restore_manifest(store: Store) -> None:
    stale = store.body("calls/_manifest.json")
    store.warehouse.insert("marts.fct_calls", [call(NOON + 2, "late")])
    store.unload("calls")
    store.put("calls/_manifest.json", stale)


def break_manifest(store: Store) -> None:
    store.put("calls/_manifest.json", b"{")


def misstate_format(store: Store) -> None:
    text = store.body("calls/_manifest.json").decode()
    store.put("calls/_manifest.json", text.replace('"format": "parquet"', '"format": "../x"').encode())


def lose_manifest(store: Store) -> None:
    store.lose("calls/_manifest.json")


def misstate_rows(store: Store) -> None:
    text = store.body("calls/_manifest.json").decode()
    store.put(
        "calls/_manifest.json",
        text.replace('calls.parquet", "rows": 2', 'calls.parquet", "rows": 3').encode(),
    )


def edit_manifest(store: Store, edit: Callable[[dict[str, Any]], object], dataset: str = "calls") -> None:
    said = store.manifest(dataset)
    edit(said)
    store.put(f"{dataset}/_manifest.json", json.dumps(said).encode())


def forget_file(store: Store) -> None:
    edit_manifest(store, lambda said: said["partitions"][0]["files"].pop())
    store.lose("calls/2026/01/01/12/calls.parquet")


def misstate_columns(store: Store) -> None:
    edit_manifest(store, lambda said: said["columns"].pop())


def land_more(store: Store) -> None:
    store.warehouse.insert("marts.fct_calls", [call(NOON + 200 * HOUR, "new")])


def land_less(store: Store) -> None:
    store.warehouse.execute(f"delete from marts.fct_calls where event_timestamp = {NOON + HOUR}")


def edit_rows(store: Store) -> None:
    store.warehouse.execute("update marts.fct_calls set user_id = 'x' where journey_id = 'a'")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_bytes, "has SHA-256"),
        (damage_object, "bytes, the manifest says"),
        (lose_object, "is in the manifest and not there"),
        (add_object, "is in no manifest"),
        (add_foreign, "is not copymart's: who reads the listing takes it for data"),
        (lose_all_but_records, "calls/_manifest.json is missing"),
        (begin_upload, "unfinished multipart upload"),
        (restore_manifest, "the manifest says"),
        (break_manifest, "cannot be read"),
        (misstate_format, "cannot be read; unload all of it again"),
        (lose_manifest, "is missing"),
        (misstate_rows, "has 2 rows, the manifest says 3"),
        (forget_file, "has 2 rows, its files have 0"),
        (misstate_columns, "cannot be read; unload all of it again"),
        (land_more, "is not there; the warehouse has 1 rows"),
        (land_less, "has 1 rows, the warehouse none"),
        (edit_rows, "of which the warehouse has others"),
    ],
)
def test_verify_finds_every_kind_of_damage(
    store: Store, capsys: pytest.CaptureFixture[str], damage: Callable[[Store], None], message: str
) -> None:
    store.unload("calls")
    assert store.verify() == 0
    damage(store)
    capsys.readouterr()
    assert store.verify() == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert message in printed
    assert f"copymart unload --to {store.to}" in printed
    if damage in (land_more, land_less, edit_rows):
        assert store.verify(with_warehouse=False) == 0


def test_what_no_reader_takes_for_data_is_no_damage(store: Store) -> None:
    store.unload("calls")
    for name in ("2026/01/01/12/", "2026/01/01/12/_SUCCESS", "README.md", ".tmp/a.parquet", "_old/a.parquet"):
        store.put(f"calls/{name}", b"")
    assert store.verify() == 0


def test_verify_compares_every_row_when_asked(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that differ where rows and hash sum agree, as if what dbt keeps of the hour were wrong."""
    store.warehouse.execute(
        "create table contents as from intermediate.int_partition_contents;"
        "drop view intermediate.int_partition_contents;"
        "create table intermediate.int_partition_contents as from contents"
    )
    store.unload("calls", "copy_variants")
    edit_rows(store)
    assert store.verify() == 0
    capsys.readouterr()
    assert store.verify(deep=True) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 rows only there, 1 only in the warehouse; e.g. event_timestamp" in printed
    assert f"{NOON}, copy_id 'c': another user_id" in printed
    with pytest.raises(UserError, match="leave out --no-warehouse"):
        store.verify(deep=True, with_warehouse=False)


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize(
    "change", ["alter served type integer", "add column sent bigint", "rename copy_id to variant_id"]
)
def test_verify_tells_of_columns_that_changed_since_the_unload(
    store: Store, capsys: pytest.CaptureFixture[str], format: Format, change: str
) -> None:
    """Rows and hash sums may agree still; the next unload writes everything again."""
    store.unload("copy_metrics_daily", format=format)
    store.warehouse.execute(f"alter table marts.copy_metrics_daily {change}")
    capsys.readouterr()
    for deep in (False, True):
        assert store.verify(deep=deep) == 1
        printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "2 partitions have other columns or another schema version than the warehouse" in printed
        assert "(e.g. 2026/01/01)" in printed
    assert len(store.unload("copy_metrics_daily", format=format)) == 2
    assert store.verify(deep=True) == 0


def test_verify_compares_rows_of_other_columns_with_another_engine(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Types of two engines' files differ anyway, so that only the rows tell which columns differ."""
    store.unload("copy_metrics_daily", format=Format.AVRO)
    for change in ("add column sent bigint", "rename copy_id to variant_id"):
        store.warehouse.execute(f"alter table marts.copy_metrics_daily {change}")
    edit_manifest(
        store,
        lambda said: [each.update(engine="snowflake") for each in said["partitions"]],
        "copy_metrics_daily",
    )
    capsys.readouterr()
    assert store.verify(deep=True) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "e.g. metric_date '2026-01-01', copy_id 'c': only there" in printed


@pytest.mark.parametrize("format", list(Format))
def test_verify_tells_no_persons_data(
    store: Store, capsys: pytest.CaptureFixture[str], format: Format
) -> None:
    store.warehouse.execute(
        "create table contents as from intermediate.int_partition_contents;"
        "drop view intermediate.int_partition_contents;"
        "create table intermediate.int_partition_contents as from contents"
    )
    store.unload("calls", "deliveries", format=format)
    store.warehouse.execute(
        """
        update marts.fct_deliveries set user_id = 'secret', attrs = '{"secret":"1"}';
        update marts.fct_calls set user_id = 'secret', vars = '{"secret":"2"}' where journey_id = 'a';
        update marts.fct_calls set copy_id = 'other', attrs = '{"secret":"3"}' where journey_id = 'c'
        """
    )
    capsys.readouterr()
    assert store.verify(deep=True) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "e.g. delivery_key 'k1': another user_id, attrs" in printed
    assert f"e.g. event_timestamp {NOON}, copy_id 'c': another user_id, vars" in printed
    assert f"e.g. event_timestamp {NOON + HOUR}, copy_id 'c': only there" in printed
    assert "secret" not in printed and "gröẞe" not in printed and "subject" not in printed


@pytest.mark.parametrize("deep", [False, True])
def test_a_run_that_ends_while_verify_reads_is_no_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    """Parts get other names in each run, so all that the first manifest names is gone."""
    store.unload("calls", max_file_size="1k")
    differences, runs = verify_module._differences, iter([True])

    def changed(*arguments: Any) -> Any:
        if next(runs, False):
            store.unload("calls", max_file_size="1k", backfill=True)
        return differences(*arguments)

    monkeypatch.setattr(verify_module, "_differences", changed)
    assert store.verify(deep=deep) == 0


def test_what_goes_between_listing_and_manifest_is_no_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.unload("calls")
    listed, runs = Bucket.list, iter([True])

    def changed(place: Bucket, prefix: str) -> Any:
        found = listed(place, prefix)
        if prefix == "calls/" and next(runs, False):
            store.unload("calls", max_file_size="1k", backfill=True)
        return found

    monkeypatch.setattr(Bucket, "list", changed)
    assert store.verify() == 0


def test_verify_names_the_run_that_is_at_work(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.unload("calls")
    begin_upload(store)
    for seconds, said in ((1000, True), (-10, False)):
        lock_of(store, seconds)
        capsys.readouterr()
        assert store.verify() == 1
        printed = " ".join(capsys.readouterr().out.split())
        named = f"run another on there since 2026-01-01T05:30:00+00:00 was writing to {store.to} meanwhile"
        assert (named in printed) is said


@pytest.mark.parametrize("message", ["calls.parquet", "a run on this machine was writing to"])
def test_verify_of_a_folder_while_a_run_is_at_work(
    filled: Warehouse, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    filled.unload("calls")
    (filled.out / "calls/2026/01/01/12/calls.parquet").unlink()
    handle = os.open(filled.out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(typer.Exit):
        verify(str(filled.out), project_dir=filled.folder, profiles_dir=filled.folder)
    os.close(handle)
    assert message in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["run=5", "a[b]*", "it's"])
def test_the_folder_for_temporary_files_may_have_any_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """DuckDB takes a=b in a path for a column of the file."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    store.unload("calls", max_file_size="1k")
    assert store.verify(deep=True) == 0


def test_verify_goes_on_where_unfinished_uploads_are_not_told(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spied = s3.client

    def refusing(*arguments: Any, **options: Any) -> Any:
        client = spied(*arguments, **options)
        client.meta.events.register("before-call.s3.ListMultipartUploads", not_implemented)
        return client

    monkeypatch.setattr(s3, "client", refusing)
    store.unload("calls")
    assert store.verify() == 0
    assert capsys.readouterr().out.count("unfinished uploads cannot be looked for") == 2


@pytest.mark.parametrize("format", list(Format))
def test_what_a_killed_verify_left_goes_with_the_next_one(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch, format: Format
) -> None:
    """It may hold whole rows about people, which nobody else would delete."""
    filled.unload("calls", format=format)
    scratch = filled.folder / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def verified() -> None:
        verify(str(filled.out), ["calls"], deep=True, project_dir=filled.folder, profiles_dir=filled.folder)

    # a kill is what removes nothing
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        verified()
    assert list(scratch.rglob("*.*"))
    verified()
    assert not list(scratch.iterdir())
