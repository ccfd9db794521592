"""The warehouse sync of a simulation says of messages and events what the webhooks say."""

from pathlib import Path

import duckdb
import pytest

from scripts.land.sources import list_files, locate
from scripts.land.sync import by_table
from scripts.simulate import command as simulator
from support.land import land_path, warehouse
from support.simulated import hashes, make

KEYS = {"deliveries": "delivery_id", "metrics": "event_id", "people": "internal_customer_id"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("sync"), 2_000, sync=True)


@pytest.fixture(scope="module")
def landed(out: Path) -> duckdb.DuckDBPyConnection:
    """The truth, the landed sync, and `<table>` with the latest export of each row."""
    connection = warehouse()
    location = locate(str(out / "customerio/sync"))
    tables, others = by_table(location, list_files(location))
    assert (len(tables), others) == (9, [])
    for dataset, files in tables.items():
        for file in files:
            outcome = land_path(connection, file.uri, dataset)
            assert not (outcome.refused or outcome.rejected or outcome.unknown)
    for table, key in KEYS.items():
        connection.execute(
            f"create table {table} as from staging.customerio_{table} qualify row_number() over "
            f"(partition by {key} order by seq_num desc, sequence desc, _file desc, _line desc) = 1"
        )
    for path in (out / "truth").glob("*.parquet"):
        connection.execute(f"create table {path.stem} as from '{path}'")
    return connection


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    ((found,),) = connection.execute(query).fetchall()
    return int(found)


def test_the_other_files_are_those_without_it(out: Path, small: Path) -> None:
    for folder in ("justai", "customerio/events", "truth"):
        assert hashes(out, folder) == hashes(small, folder)


def test_work_in_pieces_makes_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(tmp_path / "whole", 400, sync=True)
    monkeypatch.setattr(simulator, "STORIES_AT_ONCE", 130)
    pieces = make(tmp_path / "pieces", 400, sync=True)
    assert hashes(whole, "customerio/sync") == hashes(pieces, "customerio/sync") != {}


def test_metrics_are_the_events_of_messages(landed: duckdb.DuckDBPyConnection) -> None:
    metrics = """
        select delivery_id, metric, metrics.created_at, link_url, link_id
        from metrics join deliveries using (delivery_id) where delivery_type <> 'webhook'"""
    events = """
        select delivery_id, metric, event_at, href, case when metric = 'clicked' then 3 end
        from fct_engagement_events where metric <> 'cio_subscription_preferences_changed'"""
    assert count(landed, f"select count(*) from ({metrics})") > 4_000
    for ours, theirs in ((metrics, events), (events, metrics)):
        assert landed.execute(f"({ours}) except all ({theirs})").fetchall() == []
    same = "select count(*) from metrics join fct_engagement_events using (event_id)"
    assert 0.02 < count(landed, same) / count(landed, "select count(*) from metrics") < 0.1


def test_flags_say_what_a_machine_did_but_for_inferred_opens(landed: duckdb.DuckDBPyConnection) -> None:
    flagged = """
        select e.is_machine, e.metric, coalesce(m.machine, m.prefetched, false) as flagged, count(*)
        from metrics m
        join fct_engagement_events e
            on (m.delivery_id, m.metric, m.created_at) = (e.delivery_id, e.metric, e.event_at)
        where e.metric in ('opened', 'clicked') and e.channel = 'email'
        group by all"""
    found = {row[:3]: row[3] for row in landed.execute(flagged).fetchall()}
    wrong = {case: number for case, number in found.items() if case[0] != case[2]}
    assert sum(wrong.values()) < 0.1 * sum(found.values())
    assert {case[:2] for case in wrong} <= {(True, "opened"), (False, "opened")}
    assert found[True, "clicked", True] > 20 and found[True, "opened", True] > 100


def test_deliveries_name_journey_and_action(landed: duckdb.DuckDBPyConnection) -> None:
    query = """
        with one as (
            select delivery_id, any_value(channel) as channel, any_value(journey_id) as journey_id,
                any_value(action_id) as action_id, any_value(campaign_id) as campaign_id
            from fct_engagement_events
            where journey_id is not null
            group by delivery_id
            having count(distinct (action_id, campaign_id)) = 1 and bool_and(action_id <> 990001)
        )
        select count(*), count(*) filter (
            (one.channel, one.journey_id, one.action_id)
            is distinct from (d.delivery_type, d.subject_id, d.action_id))
        from one left join deliveries d using (delivery_id)"""
    ((number, wrong),) = landed.execute(query).fetchall()
    assert (number > 1_000, wrong) == (True, 0)
    calls = "select count(*) from fct_calls where journey_id is not null and action_id is not null"
    hooks = "select count(*) from deliveries where delivery_type = 'webhook' and subject_id is not null"
    assert count(landed, hooks) == count(landed, calls)


@pytest.mark.parametrize(
    ("what", "query"),
    [
        (
            "rows that come again with another content",
            "select count(*) from (select 1 from staging.customerio_deliveries group by delivery_id "
            "having count(distinct content_hash) > 1)",
        ),
        (
            "rows that come again as they were",
            "select count(*) from (select 1 from staging.customerio_deliveries group by delivery_id "
            "having count(*) > 1 and count(distinct content_hash) = 1)",
        ),
        (
            "rows that stand twice in a file",
            "select count(*) from (select 1 from staging.customerio_metrics group by _file, event_id "
            "having count(*) > 1)",
        ),
        (
            "metrics that come before their delivery",
            "select count(*) from (select delivery_id, min(sequence // 1000) as export "
            "from staging.customerio_metrics group by all) m join (select delivery_id, "
            "min(sequence // 1000) as export from staging.customerio_deliveries group by all) d "
            "using (delivery_id) where m.export < d.export",
        ),
        (
            "metrics of one delivery in several exports",
            "select count(*) from (select 1 from staging.customerio_metrics group by delivery_id "
            "having count(distinct sequence) > 2)",
        ),
        ("deleted people", "select count(*) from people where deleted"),
        ("people without a time", "select count(*) from people where created_at is null"),
    ],
)
def test_the_sync_has_its_hard_cases(landed: duckdb.DuckDBPyConnection, what: str, query: str) -> None:
    assert count(landed, query) > 2, what


def test_no_metric_is_left_without_its_delivery(landed: duckdb.DuckDBPyConnection) -> None:
    assert count(landed, "select count(*) from metrics anti join deliveries using (delivery_id)") == 0
