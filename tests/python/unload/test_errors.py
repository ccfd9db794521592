"""What stops an unload is said, and nothing that is published is lost."""

import errno
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import UserError
from scripts.unload.places.folder import Folder
from scripts.unload.verify import verify
from support.unload import CALLS, NOON, Warehouse, call, fill, snapshot


def test_contents_that_disagree_with_the_mart_ask_for_a_build(filled: Warehouse) -> None:
    filled.execute(
        "create table contents as from intermediate.int_partition_contents;"
        "drop view intermediate.int_partition_contents;"
        "create table intermediate.int_partition_contents as from contents"
    )
    filled.unload("calls")
    before = snapshot(filled.out)
    filled.insert("marts.fct_calls", [call(NOON + 2, "late")])
    with pytest.raises(UserError, match=r"counts 5 rows of calls, .* has 6: run `dbt build`"):
        filled.unload("calls")
    assert snapshot(filled.out) == before


@pytest.mark.parametrize(
    ("dataset", "model"), [("calls", "int_distinct_calls"), ("deliveries", "fct_deliveries")]
)
def test_contents_of_an_older_build_ask_for_a_build(filled: Warehouse, dataset: str, model: str) -> None:
    """As after a build that was killed between the two and only edited rows: counts are equal."""
    filled.unload(dataset)
    before = snapshot(filled.out)
    filled.insert("staging.consumed_batches", [(model, "newer")])
    with pytest.raises(UserError, match=f"int_partition_contents has not read 1 batches that {model} has"):
        filled.unload(dataset, backfill=True)
    assert snapshot(filled.out) == before
    filled.insert("staging.consumed_batches", [("int_partition_contents", "newer")])
    filled.unload(dataset)


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    filled: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Folder.put_file

    def refuse(folder: Folder, key: str, path: Path, sha256: str) -> str:
        if "02/13" in key:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return put(folder, key, path, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put_file", refuse)
        with pytest.raises(UserError, match=r"no space left on the disk .*--staging"):
            filled.unload("calls", concurrency=1)
    # what arrived is in the manifest
    arrived = {each["partition"] for each in filled.manifest("calls")["partitions"]}
    assert {"2026/01/01/12", "2026/01/01/13"} <= arrived
    assert "2026/01/02/13" not in arrived
    filled.unload("calls")
    assert filled.manifest("calls")["rows"] == len(CALLS)
    assert not list(filled.out.glob(".staging-*"))


def test_a_join_that_multiplies_rows_publishes_nothing(filled: Warehouse) -> None:
    filled.unload("deliveries")
    before = snapshot(filled.out)
    filled.insert("intermediate.int_copy_contents", [("h2", "t", '{"subject":"two, again"}')])
    with pytest.raises(UserError, match="other rows than the warehouse"):
        filled.unload("deliveries", backfill=True)
    assert snapshot(filled.out) == before


@pytest.mark.parametrize("where", ["settings", "config_options"])
def test_a_setting_that_duckdb_does_not_take_is_told(filled: Warehouse, where: str) -> None:
    profile = filled.folder / "profiles.yml"
    profile.write_text(
        profile.read_text().replace("schema: main}", f"schema: main, {where}: {{memory_limit: lots}}}}")
    )
    with pytest.raises(UserError, match=r"COPYMART_MEMORY_LIMIT is one: .*Memory must have a number"):
        filled.unload("calls")


def test_what_cannot_be_read_there_is_told(filled: Warehouse) -> None:
    filled.unload("calls")
    manifest = filled.out / "calls/_manifest.json"
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*_manifest\.json: Is a directory"):
        filled.unload("calls")
    with pytest.raises(UserError, match=r"cannot read .*_manifest\.json: Is a directory"):
        verify(str(filled.out), project_dir=filled.folder, profiles_dir=filled.folder)
    shutil.rmtree(filled.out)
    filled.out.mkdir()
    (filled.out / "calls").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*calls: Not a directory"):
        filled.unload("calls")


def test_a_warehouse_without_marts_asks_for_a_build(filled: Warehouse) -> None:
    filled.execute("drop table marts.fct_calls; drop table intermediate.int_copy_contents")
    with pytest.raises(UserError, match=r"int_copy_contents, marts\.fct_calls: run `dbt build`"):
        filled.unload()
    filled.file.unlink()
    with pytest.raises(UserError, match="dbt build"):
        filled.unload()


def test_an_empty_mart_does_not_empty_an_export(filled: Warehouse) -> None:
    filled.unload("calls", "copy_variants")
    before = snapshot(filled.out)
    filled.execute("delete from marts.fct_calls; delete from marts.dim_copy_variants")
    for dataset in ("calls", "copy_variants"):
        with pytest.raises(UserError, match="nothing to unload"):
            filled.unload(dataset)
    with pytest.raises(UserError, match=r"no rows in marts\.fct_calls\."):
        filled.unload("deliveries", "calls")
    assert snapshot(filled.out) == before


SPANS = [{}, {"start": "2026-01-01"}]


@pytest.mark.parametrize("span", SPANS)
def test_an_empty_mart_is_skipped_when_no_dataset_is_named(
    filled: Warehouse, capsys: pytest.CaptureFixture[str], span: dict[str, str]
) -> None:
    """As when only events were landed: marts without rows stop neither the others nor empty an export."""
    filled.unload("copy_variants", "copy_metrics_daily")
    before = snapshot(filled.out / "copy_variants")
    filled.execute("delete from marts.dim_copy_variants")
    filled.insert("marts.copy_metrics_daily", [(date(2026, 1, 3), "c", 1)])
    filled.unload(dry_run=True, **span)
    filled.unload(**span)
    assert capsys.readouterr().out.count("skipped copy_variants: marts.dim_copy_variants has no rows") == 2
    assert snapshot(filled.out / "copy_variants") == before
    assert len(filled.files("copy_metrics_daily")) == 3
    assert filled.files("calls")


@pytest.mark.parametrize("span", SPANS)
def test_calls_without_rows_are_skipped(
    filled: Warehouse, capsys: pytest.CaptureFixture[str], span: dict[str, str]
) -> None:
    filled.unload("calls")
    before = snapshot(filled.out / "calls")
    filled.execute("delete from marts.fct_calls")
    filled.unload(**span)
    assert "skipped calls: marts.fct_calls has no rows" in capsys.readouterr().out
    assert snapshot(filled.out / "calls") == before
    assert filled.files("deliveries")


@pytest.mark.parametrize("span", SPANS)
def test_a_warehouse_of_empty_marts_has_nothing_to_unload(warehouse: Warehouse, span: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"nothing to unload: no rows in marts\.fct_calls, .*out stays"):
        warehouse.unload(**span)
    assert not warehouse.out.exists()


def test_feeds_without_calls_have_nothing_to_unload_and_that_is_no_error(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every feed is optional: a daily job on events or the sync alone must not fail each day."""
    ledger = "create table staging.landed_files (dataset varchar, row_count bigint, reject_count bigint)"
    warehouse.execute(ledger)
    with pytest.raises(UserError, match="nothing to unload"):
        warehouse.unload()
    warehouse.execute("insert into staging.landed_files values ('customerio_events', 9, 1)")
    given: tuple[dict[str, Any], ...] = ({}, {"dry_run": True}, {"start": "2026-01-01"})
    for options in given:
        warehouse.unload(**options)
        assert "nothing to unload: no calls have landed" in " ".join(capsys.readouterr().out.split())
    assert not warehouse.out.exists()
    with pytest.raises(UserError, match="nothing to unload"):
        warehouse.unload("calls")
    # an export of calls that the warehouse has lost, and calls that no build has read
    fill(warehouse).unload("calls")
    warehouse = Warehouse(warehouse.folder)
    warehouse.execute(ledger)
    warehouse.execute("insert into staging.landed_files values ('customerio_events', 9, 1)")
    with pytest.raises(UserError, match="nothing to unload"):
        warehouse.unload()
    warehouse.execute("insert into staging.landed_files values ('justai_sends', 0, 1)")
    with pytest.raises(UserError, match="nothing to unload"):
        warehouse.unload(to=warehouse.folder / "elsewhere")


def test_an_unwritable_folder_is_told(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(filled.out))

    # root may write anywhere, so the refusal is made by hand
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(UserError, match=r"cannot write .*out: Permission denied"):
        filled.unload("calls")
