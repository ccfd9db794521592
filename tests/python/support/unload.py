"""A small warehouse made by hand, for the tests of unload and verify; no dbt build is needed."""

import json
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow.parquet as parquet

from scripts.unload.command import unload

HOUR = 3600
NOON = 1_767_268_800  # 2026-01-01 12:00 UTC

TABLES = """
create schema marts;
create schema intermediate;
create schema staging;
create table staging.consumed_batches (model varchar, batch_id varchar);
insert into staging.consumed_batches
values ('int_distinct_calls', 'b'), ('fct_deliveries', 'b'), ('int_partition_contents', 'b');
create table marts.fct_calls (
    event_timestamp bigint, user_id varchar, campaign_id bigint, action_id bigint, journey_id varchar,
    copy_id varchar, template_id varchar, vars varchar, attrs varchar, content_hash varchar);
create table marts.fct_deliveries (
    delivery_key varchar, journey_id varchar, action_id bigint, campaign_id bigint, template_id varchar,
    copy_id varchar, content_hash varchar, user_id varchar, delivery_date date, first_called_at timestamp,
    last_called_at timestamp, call_count bigint, copy_conflict boolean, attrs varchar);
create table marts.dim_copy_variants (
    version_key varchar, copy_id varchar, version_number bigint, template_id varchar, content_hash varchar,
    subject varchar, preheader varchar, body varchar, vars varchar, change_type varchar,
    valid_from timestamp, valid_to timestamp, is_current boolean);
create table intermediate.int_copy_contents (content_hash varchar, template_id varchar, vars varchar);
create table marts.copy_metrics_daily (metric_date date, copy_id varchar, served bigint);
create table marts.copy_cohort_metrics_daily (delivery_date date, copy_id varchar, served bigint);
create view intermediate.int_partition_contents as
select dataset, partition_hour, count(*) as row_count, sum(row_hash) as hash_sum
from (
    select
        'calls' as dataset,
        date_trunc('hour', make_timestamp(event_timestamp * 1000000)) as partition_hour,
        md5_number_lower(to_json(calls)) as row_hash
    from marts.fct_calls as calls
    union all
    select 'deliveries', date_trunc('hour', last_called_at), md5_number_lower(to_json(deliveries))
    from marts.fct_deliveries as deliveries
)
group by all;
insert into intermediate.int_copy_contents
values ('h1', 't', '{"subject":"one"}'), ('h2', 't', '{"subject":"two"}');
"""


def call(timestamp: int, journey: str = "j", content: int = 1) -> tuple[object, ...]:
    """Return a row of fct_calls."""
    text = '{"subject":"one"}' if content == 1 else '{"subject":"two"}'
    return (timestamp, "u", 7, 41, journey, "c", "t", text, "{}", f"h{content}")


CALLS = [
    call(NOON, "a"),
    call(NOON + HOUR - 1, "b", 2),
    call(NOON + HOUR, "c"),
    call(NOON + 25 * HOUR, "d"),
    (NOON + 26 * HOUR, None, None, None, None, "c", "t", '{"subject":"one"}', '{"plan":"gröẞe"}', "h1"),
]


class Warehouse:
    """A DuckDB file with the marts' tables, its dbt project and the folder to unload to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "test.duckdb"
        self.out = folder / "out"
        (folder / "dbt_project.yml").write_text("name: copymart\nprofile: copymart\n")
        (folder / "profiles.yml").write_text(
            "copymart:\n  target: duckdb\n  outputs:\n"
            f"    duckdb: {{type: duckdb, path: '{self.file}', schema: main}}\n"
            "    snowflake: {type: snowflake, account: a, user: u, password: p, database: d, schema: s}\n"
        )
        self.file.write_bytes(_with_tables())

    def insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        """Put rows into a table."""
        with duckdb.connect(str(self.file)) as connection:
            connection.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)

    def execute(self, sql: str) -> None:
        """Run a statement on the file."""
        with duckdb.connect(str(self.file)) as connection:
            connection.execute(sql)

    def unload(self, *datasets: str, to: Path | str | None = None, **options: object) -> None:
        """Run copymart unload here."""
        unload(
            to=str(to or self.out),
            dataset=list(datasets) or None,
            project_dir=self.folder,
            profiles_dir=self.folder,
            **options,  # type: ignore[arg-type]
        )

    def files(self, dataset: str) -> dict[str, list[dict[str, object]]]:
        """Return the rows of each file of a dataset by its path below the dataset's folder."""
        folder = self.out / dataset
        return {
            path.relative_to(folder).as_posix(): parquet.read_table(path).to_pylist()
            for path in sorted(folder.glob("**/*.parquet"))
        }

    def rows(self, dataset: str) -> list[tuple[object, ...]]:
        """Return all rows of a dataset's files, sorted."""
        return sorted((tuple(row.values()) for rows in self.files(dataset).values() for row in rows), key=str)

    def manifest(self, dataset: str) -> dict[str, Any]:
        """Return a dataset's manifest."""
        return dict(json.loads((self.out / dataset / "_manifest.json").read_text()))


def fill(store: Warehouse) -> Warehouse:
    """Put calls in four hours of two days into a new warehouse, and something in every other mart."""
    store.file.write_bytes(_with_rows())
    return store


# Made once: a copy takes a hundredth of the time, which several hundred tests would wait for the disk.
@cache
def _with_tables() -> bytes:
    """The file of a warehouse without rows."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "test.duckdb"
        with duckdb.connect(str(file)) as connection:
            connection.execute(TABLES)
        return file.read_bytes()


@cache
def _with_rows() -> bytes:
    """The file of a warehouse with rows in every mart."""
    with TemporaryDirectory() as folder:
        store = Warehouse(Path(folder))
        _insert_rows(store)
        return store.file.read_bytes()


def _insert_rows(store: Warehouse) -> None:
    store.insert("marts.fct_calls", CALLS)
    store.insert(
        "marts.fct_deliveries",
        [("k1", "j", 41, 7, "t", "c", "h2", "u", date(2026, 1, 1), at(NOON), at(NOON + 5), 2, False, "{}")],
    )
    store.insert(
        "marts.dim_copy_variants",
        [
            (
                "v1",
                "c",
                1,
                "t",
                "h1",
                "one",
                None,
                None,
                '{"subject":"one"}',
                "created",
                at(NOON),
                at(NOON + 9),
                False,
            ),
            (
                "v2",
                "c",
                2,
                "t",
                "h2",
                "two",
                None,
                None,
                '{"subject":"two"}',
                "edited",
                at(NOON + 9),
                None,
                True,
            ),
        ],
    )
    for mart in ("copy_metrics_daily", "copy_cohort_metrics_daily"):
        store.insert(f"marts.{mart}", [(date(2026, 1, 1), "c", 3), (date(2026, 1, 2), "c", 2)])


def at(timestamp: int) -> datetime:
    """Return unix seconds as a naive UTC time."""
    return datetime.fromtimestamp(timestamp, UTC).replace(tzinfo=None)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a folder with its time of change and bytes."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.glob("**/*")
        if path.is_file()
    }
