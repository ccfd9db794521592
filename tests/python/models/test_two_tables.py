"""JustAI's export in two tables: a send becomes a call when its variant lands, whatever lands first (R9)."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.errors import UserError
from scripts.land.rules import SENDS, VARIANTS
from support.land import COPY, call, land_path, land_table, landed, rejected, warehouse, write
from support.project import run, settings

HOUR = 1_788_220_800  # 2026-09-01T00Z
OTHER = COPY.replace("3f", "4f")


def send(second: int, copy: str = COPY, **changes: Any) -> dict[str, Any]:
    """A send: a call without template and words."""
    ids = {"copy_id": copy, "journey_id": f"j{second}", "attrs": {"a": "b"}}
    return call(template_id=..., vars=..., event_timestamp=HOUR + second, **(ids | changes))


def variant(words: str, copy: str = COPY, template: str = "t", **changes: Any) -> dict[str, Any]:
    """A variant with its words; its attrs say nothing of a person."""
    return {"copy_id": copy, "template_id": template, "vars": {"s": words}, "attrs": {"of": "it"}} | changes


def test_sends_and_variants_land(tmp_path: Path) -> None:
    write(tmp_path / "sends/s.jsonl", send(0), send(1, copy="bad"), send(2, attrs="x"), send(3, attrs=...))
    write(
        tmp_path / "variants/2026/09/01/00/v.jsonl",
        variant("1"),
        variant("1", template=""),
        variant("1", vars=[1]),
        variant("1", attrs=[1]),
    )
    with warehouse() as connection:
        land_path(connection, tmp_path / "sends", SENDS)
        land_path(connection, tmp_path / "variants", VARIANTS)
        assert [(row["event_timestamp"], row["attrs"]) for row in landed(connection, SENDS)] == [
            (HOUR, '{"a":"b"}'),
            (HOUR + 3, "{}"),
        ]
        assert [reason for _, _, reason in rejected(connection, SENDS)] == ["bad_copy_id", "bad_attrs"]
        assert landed(connection, VARIANTS) == [
            {"copy_id": COPY, "template_id": "t", "vars": '{"s":"1"}'},
            {"copy_id": COPY, "template_id": "t", "vars": '{"s":"1"}'},
        ]
        found = [reason for _, _, reason in rejected(connection, VARIANTS)]
        assert found == ["missing_template_id", "bad_vars"]


def test_tables_of_sends_and_variants(tmp_path: Path) -> None:
    with warehouse() as connection:
        connection.execute(
            f"create table main.sends as select {HOUR} + n * 3600 as event_timestamp, '{COPY}' as copy_id "
            "from range(3) as counted(n)"
        )
        connection.execute(
            f"create table main.variants as select '{COPY}' as copy_id, 't' as template_id, "
            "{'s': '1'} as vars"
        )
        assert land_table(connection, "memory.main.sends", SENDS).files == 3
        assert land_table(connection, "memory.main.variants", VARIANTS).files == 1
        part = "select file, path_hour from staging.landed_files where dataset = 'justai_variants'"
        assert connection.execute(part).fetchall() == [("table:memory.main.variants/all", None)]
        # it has no time, so a change is seen in every run
        connection.execute("update main.variants set vars = {'s': '2'}")
        assert land_table(connection, "memory.main.variants", VARIANTS).replaced == 1
        assert land_table(connection, "memory.main.variants", VARIANTS).unchanged == 1
        with pytest.raises(UserError, match="lacks the columns template_id, vars"):
            land_table(connection, "memory.main.sends", VARIANTS)


class Warehouse:
    """A warehouse of its own, which lands and builds as a user does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, settings(folder / "profile")

    def write(self, path: str, *records: dict[str, Any]) -> None:
        write(self.folder / path, *records)

    def land(self, *options: str) -> None:
        names = ("--calls", self.folder / "sends", "--variants", self.folder / "variants")
        run(self.environment, "copymart", "land", *names, *options)

    def build(self, *options: str) -> None:
        """Build what all other marts stand on, and the audit."""
        kinds = ("--resource-type", "seed", "--resource-type", "model")
        models = ("+int_partition_contents", "+dim_copy_variants", "+audit_waiting_sends")
        run(self.environment, "dbt", "build", *kinds, "--select", *models, *options)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.environment["COPYMART_DUCKDB"], read_only=True) as connection:
            return connection.execute(query).fetchall()

    def words(self) -> dict[int, str]:
        """The words of each call, by its second."""
        query = f"select event_timestamp - {HOUR}, vars->>'s' from intermediate.int_distinct_calls"
        return dict(self.ask(query))

    def waiting(self) -> list[tuple[Any, ...]]:
        return self.ask("select reason, send_count from audit.audit_waiting_sends order by 1")

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of all incremental models that this builds."""
        models = ("intermediate.int_distinct_calls", "intermediate.int_content_runs", "marts.fct_deliveries")
        tables = (*models, "marts.dim_copy_variants", "intermediate.int_partition_contents")
        return {table: sorted(self.ask(f"from {table}"), key=repr) for table in tables}


def test_sends_come_right_when_their_variant_lands(tmp_path: Path) -> None:
    made = Warehouse(tmp_path)
    made.write("sends/2026/09/01/00/s.jsonl", send(0), send(10, OTHER))
    made.write("sends/2026/09/01/02/s.jsonl", send(7200), send(7210, OTHER))
    made.write("variants/2026/09/01/01/v.jsonl", variant("1"))
    made.land()
    made.build()
    assert made.words() == {7200: "1"}
    assert made.waiting() == [("no_variant", 2), ("variant_is_later", 1)]

    # an earlier hour lands late; a later one, and what was exported again alike
    made.write("variants/2026/09/01/00/v.jsonl", variant("0"), variant("x", OTHER))
    made.write("variants/2026/09/01/03/v.jsonl", variant("1"))
    made.write("sends/2026/09/01/03/s.jsonl", send(10_800), send(10_810, OTHER))
    made.land()
    made.build()
    assert made.words() == {0: "0", 10: "x", 7200: "1", 7210: "x", 10_800: "1", 10_810: "x"}
    assert made.waiting() == []

    # a file that is replaced, one that went, and a send with it
    made.write("variants/2026/09/01/01/v.jsonl", variant("new"))
    made.write("sends/2026/09/01/02/s.jsonl", send(7200))
    (tmp_path / "variants/2026/09/01/00/v.jsonl").unlink()
    made.land()
    made.land("--backfill", "2026-09-01T00", "2026-09-01T01", "--allow-empty")
    made.build()
    assert made.words() == {7200: "new", 10_800: "1"}
    assert made.waiting() == [("no_variant", 2), ("variant_is_later", 1)]
    incremental = made.state()
    assert all(incremental.values())
    made.build("--full-refresh")
    assert made.state() == incremental


def test_a_variant_of_a_file_without_an_hour_holds_for_all_time(tmp_path: Path) -> None:
    made = Warehouse(tmp_path)
    made.write("sends/2026/09/01/00/s.jsonl", send(0), send(10, OTHER))
    made.write("variants/v1.jsonl", variant("1"), variant("only here", OTHER))
    made.write("variants/v2.jsonl", variant("2"))
    made.land("--backfill", "2026-09-01", "2026-09-02")
    models = ("stg_justai__calls", "stg_justai__sends", "stg_justai__variants", "int_variant_versions")
    run(made.environment, "dbt", "run", "--select", *models, "int_logged_calls")
    found = made.ask(f"select event_timestamp - {HOUR}, vars->>'s' from intermediate.int_logged_calls")
    assert dict(found) == {0: "2", 10: "only here"}
