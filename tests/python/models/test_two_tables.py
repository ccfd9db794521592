"""JustAI's export in two tables: a send becomes a call when its variant lands, whatever lands first (R9)."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from scripts.errors import UserError
from scripts.land.rules import SENDS, VARIANTS
from support.land import COPY, HOUR, land_path, land_table, landed, rejected, send, variant, warehouse, write
from support.project import NO_MANIFEST, run, settings
from support.quick import examples

OTHER = COPY.replace("3f", "4f")


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
        self.folder = folder
        self.environment = settings(folder / "profile") | NO_MANIFEST

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


@pytest.mark.integration
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


@pytest.fixture(scope="module")
def sends_by_hour(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A warehouse with the models that resolve sends, and the query of the versions of variants."""
    made = Warehouse(tmp_path_factory.mktemp("sends"))
    for hour in range(4):
        sends = (send(hour * 3600 + minute * 60, copy) for minute in (0, 59) for copy in (COPY, OTHER))
        made.write(f"sends/2026/09/01/0{hour}/s.jsonl", *sends)
    made.write("variants/none.jsonl")
    made.land()
    kinds = ("--resource-type", "seed", "--resource-type", "model")
    run(made.environment, "dbt", "build", *kinds, "--select", "+int_logged_calls", "+int_touched_sends")
    compiled = Path(made.environment["DBT_TARGET_PATH"], "compiled/copymart/models/intermediate/calls")
    with duckdb.connect(made.environment["COPYMART_DUCKDB"]) as connection:
        yield connection, (compiled / "int_variant_versions.sql").read_text()


SAID = "select event_timestamp, copy_id, journey_id, vars from intermediate.int_logged_calls"


def forget_variants(connection: duckdb.DuckDBPyConnection) -> None:
    for table in ("justai_variants", "justai_variants_removed", "landed_batches"):
        connection.execute(f"delete from staging.{table}")
    connection.execute("delete from staging.landed_files where dataset = 'justai_variants'")


def test_a_variant_of_a_file_without_an_hour_holds_for_all_time(
    sends_by_hour: tuple[duckdb.DuckDBPyConnection, str], tmp_path: Path
) -> None:
    connection, versions = sends_by_hour
    forget_variants(connection)
    write(tmp_path / "v1.jsonl", variant("1"), variant("only here", OTHER))
    write(tmp_path / "v2.jsonl", variant("2"))
    land_path(connection, tmp_path, VARIANTS)
    connection.execute(f"create or replace view intermediate.int_variant_versions as {versions}")
    said = {(copy, words) for _, copy, _, words in connection.execute(SAID).fetchall()}
    assert said == {(COPY, '{"s":"2"}'), (OTHER, '{"s":"only here"}')}


# a file of variants: its place, and for each copy the words, or none; `build`: what was landed is read
PLACES = ("a.jsonl", "b.jsonl", *(f"2026/09/01/0{hour}/{name}.jsonl" for hour in range(3) for name in "xy"))
WORDS = st.sampled_from([None, "1", "2"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(PLACES), WORDS, WORDS),
        st.tuples(st.just("remove"), st.integers(0, 2)),
        st.just(("build",)),
    ),
    min_size=3,
    max_size=9,
)


@given(STEPS)
@settings_of(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_what_a_send_says_changes_only_where_it_was_touched(
    sends_by_hour: tuple[duckdb.DuckDBPyConnection, str],
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[Any, ...]],
) -> None:
    connection, versions = sends_by_hour
    forget_variants(connection)
    folder = tmp_path_factory.mktemp("variants")
    before: set[tuple[Any, ...]] = set()
    read: set[str] = set()
    for number, step in enumerate([*steps, ("build",)]):
        if step[0] == "build":
            batches = {
                name
                for (name,) in connection.execute("select batch_id from staging.landed_batches").fetchall()
            }
            connection.execute("delete from intermediate.int_landed_batches")
            for name in batches:
                row = [name, "justai_variants", name not in read, "invocation"]
                connection.execute("insert into intermediate.int_landed_batches values (?, ?, ?, ?)", row)
            connection.execute(f"create or replace view intermediate.int_variant_versions as {versions}")
            now = set(connection.execute(SAID).fetchall())
            touched = set(connection.execute("from intermediate.int_touched_sends").fetchall())
            changed = {(second, copy, journey) for second, copy, journey, _ in now ^ before}
            assert changed <= touched
            before, read = now, batches
        elif step[0] == "remove":
            hour = f"2026/09/01/0{step[1]}"
            for file in folder.glob(f"{hour}/*"):
                file.unlink()
            span = (datetime(2026, 9, 1, step[1]), datetime(2026, 9, 1, step[1] + 1))
            hours = folder / "2026"
            if hours.exists():
                land_path(connection, hours, VARIANTS, span, allow_empty=True)
        else:
            place, *words = step
            told = [variant(said, copy) for said, copy in zip(words, (COPY, OTHER), strict=True) if said]
            write(folder / place, *told, f"not the bytes of another step: {number}")
            land_path(connection, folder, VARIANTS)
