"""Every feed is optional: models of one that is missing read an empty landing table."""

import json
import re
from pathlib import Path

import duckdb
import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from jinja2 import Environment

from scripts.land.datasets import DATASETS
from scripts.land.sync import SYNC
from scripts.land.tables import ddl
from support.land import call, event, write
from support.project import NO_MANIFEST, PROJECT, attempt, read_yaml, run, settings
from support.quick import examples
from support.sync import TABLES, delivery, metric, moment, write_export

BUILD = ("build", "--resource-type", "seed", "--resource-type", "model")
DELIVERIES = TABLES["deliveries"]


def datasets() -> list[tuple[str, str]]:
    """Source and landing table of each dataset, as models know them."""
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals["return"] = json.dumps
    macro = (PROJECT / "macros/project/landing_tables.sql").read_text()
    module = environment.from_string(macro).module
    return [(source, table) for source, table in json.loads(str(module.landing_datasets()))]  # type: ignore[attr-defined]


@pytest.mark.integration
@pytest.mark.parametrize("feed", ["calls", "events", "sync"])
def test_a_build_of_each_feed_alone(tmp_path: Path, feed: str) -> None:
    environment = settings(tmp_path / "project") | NO_MANIFEST
    folder = tmp_path / feed
    if feed == "sync":
        write_export(folder / "deliveries_v4_1_1.parquet", DELIVERIES, [delivery(1), delivery(2)])
        write_export(folder / "metrics_v4_1_1.parquet", TABLES["metrics"], [metric(1)])
    else:
        write(folder / "log.jsonl", call() if feed == "calls" else event())
    run(environment, "copymart", "land", f"--{feed}", folder)
    database = environment["COPYMART_DUCKDB"]
    with duckdb.connect(database) as connection:
        if feed != "sync":
            # a warehouse of an earlier version
            for dataset in SYNC:
                for part in ("", "_rejects", "_removed"):
                    connection.execute(f"drop table staging.{dataset.name}{part}")
    run(environment, "dbt", *BUILD, *(("--resource-type", "test") if feed == "sync" else ()))
    tables = ("marts.fct_calls", "marts.fct_engagement_events", "staging.stg_customerio__deliveries")
    with duckdb.connect(database, read_only=True) as connection:
        counts = [connection.execute(f"select count(*) from {table}").fetchall()[0][0] for table in tables]
        query = "select dataset from intermediate.int_landed_batches where dataset != 'settings' order by all"
        batches = [dataset for (dataset,) in connection.execute(query).fetchall()]
    assert counts == {"calls": [1, 0, 0], "events": [0, 1, 0], "sync": [0, 1, 2]}[feed]
    assert (
        batches
        == {
            "calls": ["justai_calls"],
            "events": ["customerio_events"],
            "sync": ["customerio_deliveries", "customerio_metrics"],
        }[feed]
    )


def test_a_build_makes_the_tables_that_a_landing_makes() -> None:
    """Where they are missing; both have the columns and types of one list."""
    files = sorted(PROJECT.glob("models/staging/*/_*.yml"))
    sources = {source["name"]: source for file in files for source in read_yaml(file).get("sources", ())}
    feeds = {source for source, _ in datasets()} - {"justai", "customerio"}
    tables = [table for feed in feeds for table in sources[feed]["tables"]]
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    query = (
        "select table_name, column_name, lower(data_type) from duckdb_columns() "
        "where schema_name = 'staging' order by all"
    )
    names = {table["name"] for table in tables}
    landed = [row for row in connection.execute(query).fetchall() if row[0] in names]
    described = [
        (table["name"], column["name"], column["data_type"])
        for table in tables
        for column in table["columns"]
    ]
    assert sorted(described) == landed
    made = [table for source, table in datasets() if source in feeds]
    assert names == {f"{table}{part}" for table in made for part in ("", "_rejects", "_removed")}


def test_the_audits_read_every_dataset() -> None:
    assert [table for _, table in datasets()] == [dataset.name for dataset in DATASETS]


KEYS = "ab"
BATCHES = st.lists(
    st.tuples(
        st.lists(
            # key, content, seq_num
            st.tuples(st.sampled_from(KEYS), st.integers(1, 2), st.none() | st.integers(1, 4)),
            max_size=3,
        ),
        # the batch takes away the rows of this one, if it came before
        st.none() | st.integers(0, 4),
    ),
    min_size=1,
    max_size=5,
)


def changed_keys_query() -> str:
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "source": lambda _, table: f"staging.{table}",
        "ref": lambda model: model,
        "and_pending_batch": lambda _: "",
        "of_pending": lambda *_: "",
        "and_between": lambda *_: "",
    }
    macros = (PROJECT / "macros/incremental/sync_rows.sql").read_text()
    text = """
        with
        read_batches as (select batch_id from int_landed_batches where not is_pending),
        pending_batches as (select batch_id from int_landed_batches where is_pending),
        {{ changed_sync_keys('customerio_people', 'internal_customer_id', 'people') }}
        from changed_people
    """
    return environment.from_string(macros + text).render()


@pytest.fixture(scope="module")
def sync_tables() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    connection.execute("create table int_landed_batches (batch_id varchar, is_pending boolean)")
    return connection


@hypothesis_settings(max_examples=examples(200), deadline=None, database=None)
@given(batches=BATCHES, read=st.integers(0, 5), broken=st.integers(0, 5))
def test_a_key_is_touched_if_what_a_model_may_hold_of_it_changed(
    sync_tables: duckdb.DuckDBPyConnection,
    batches: list[tuple[list[tuple[str, int, int | None]], int | None]],
    read: int,
    broken: int,
) -> None:
    """All models have read the first `read` batches, and one, in a build that broke off, the first `broken`
    too: for both kinds of model, a key that is not touched has the content that the model holds.
    """
    connection = sync_tables
    connection.execute("truncate staging.customerio_people; truncate staging.customerio_people_removed")
    connection.execute("truncate int_landed_batches")
    there: dict[int, list[tuple[str, int, int | None]]] = {}
    contents = []
    for number, (rows, gone) in enumerate(batches):
        for key, _, _ in there.pop(gone, []) if gone is not None and gone < number else []:
            connection.execute(
                "insert into staging.customerio_people_removed values (?, ?, null)", [str(number), key]
            )
            connection.execute("delete from staging.customerio_people where _batch_id = ?", [str(gone)])
        there[number] = rows
        for line, (key, content, seq_num) in enumerate(rows):
            connection.execute(
                "insert into staging.customerio_people by name select ? as internal_customer_id, "
                "? as content_hash, ? as seq_num, ? as _file, ? as _line, ? as _batch_id",
                [key, content, seq_num, str(number), line, str(number)],
            )
        connection.execute("insert into int_landed_batches values (?, ?)", [str(number), number >= read])
        contents.append(
            {
                key: max(
                    (seq_num or 0, batch, line, content)
                    for batch, found in there.items()
                    for line, (other, content, seq_num) in enumerate(found)
                    if other == key
                )[3]
                for key in {key for found in there.values() for key, _, _ in found}
            }
        )
    touched = {key for (key,) in connection.execute(changed_keys_query()).fetchall()}
    held = [{}, *contents]
    for seen in {min(read, len(batches)), min(max(read, broken), len(batches))}:
        for key in KEYS:
            assert key in touched or held[seen].get(key) == contents[-1].get(key)
    # and an export with the content that is there touches nothing
    for key in KEYS:
        news = [row[1] for rows, _ in batches[read:] for row in rows if row[0] == key]
        if (
            all(gone is None for _, gone in batches)
            and read
            and set(news) <= {held[min(read, len(batches))].get(key)}
        ):
            assert key not in touched


@pytest.mark.integration
def test_days_that_share_too_few_fail_no_build_of_one_feed(tmp_path: Path) -> None:
    """It is what operations.md says to do about them."""
    environment = settings(tmp_path / "project") | NO_MANIFEST
    sent = event(metric="sent", data={"delivery_id": "other", "identifiers": {"id": "u"}})
    write(tmp_path / "events/log.jsonl", sent)
    run(environment, "copymart", "land", "--events", tmp_path / "events")
    moment_of_event = moment(sent["timestamp"])
    write_export(tmp_path / "sync/deliveries_v5_1_1.parquet", DELIVERIES, [delivery(1)])
    rows = [metric(1, metric="sent", created_at=moment_of_event)]
    write_export(tmp_path / "sync/metrics_v5_1_1.parquet", TABLES["metrics"], rows)
    run(environment, "copymart", "land", "--sync", tmp_path / "sync")
    build = (*BUILD, "--resource-type", "test", "--select", "+audit_feeds")
    both = attempt(environment, "dbt", *build)
    assert both.status == 1
    assert "FAIL 1 at_least_audit_feeds" in re.sub(r"\x1b\[\d*m", "", both.output)
    run(environment, "dbt", *build, "--full-refresh", "--vars", '{"engagement_feeds": ["webhooks"]}')
