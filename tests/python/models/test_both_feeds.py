"""R13: webhooks, the warehouse sync, or both, in any order and with gaps, give the same numbers."""

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from support.project import CORE, Built, copy_of, run

# The sync does not say that an open was inferred from a click, and less often that a machine clicked.
LESS_KNOWN = ("human_", "conversion_value")
SAME = ("copy_metrics_daily", "copy_cohort_metrics_daily", "control_metrics_daily", "link_clicks_daily")


@pytest.fixture(scope="module")
def sync(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse sync of the simulation that `built` has landed."""
    out = tmp_path_factory.mktemp("sync") / "sample"
    calls = os.environ.get("COPYMART_TEST_CALLS", "6000")
    arguments = ("--calls", calls, "--days", "20", "--seed", "7", "--sync")
    run(built.environment, "copymart", "simulate", out, *arguments)
    return out / "customerio/sync"


def columns_of(connection: duckdb.DuckDBPyConnection, mart: str, left_out: tuple[str, ...]) -> str:
    names = [name for name, *_ in connection.execute(f"describe theirs.marts.{mart}").fetchall()]
    return ", ".join(name for name in names if not name.startswith(left_out))


def differing(built: Built, other: Built, left_out: tuple[str, ...] = ()) -> list[str]:
    """The marts that differ from those of the webhooks alone."""
    with duckdb.connect(str(other.warehouse), read_only=True) as connection:
        connection.execute(f"attach '{built.warehouse}' as theirs (read_only)")
        found = []
        for mart in SAME:
            columns = columns_of(connection, mart, left_out)
            ours, theirs = (f"select {columns} from {side}marts.{mart}" for side in ("", "theirs."))
            if connection.execute(
                f"({ours} except all {theirs}) union all ({theirs} except all {ours})"
            ).fetchone():
                found.append(mart)
        return found


def count(built: Built, query: str) -> int:
    with duckdb.connect(str(built.warehouse), read_only=True) as connection:
        ((found,),) = connection.execute(query).fetchall()
        return int(found)


def test_a_second_feed_changes_no_number(built: Built, sync: Path, tmp_path: Path) -> None:
    both = copy_of(built, tmp_path)
    run(both.environment, "copymart", "land", "--sync", sync)
    run(both.environment, "dbt", *CORE)
    assert differing(built, both) == []
    events = "select count(*) from marts.fct_engagement_events where feed = 'sync'"
    assert (
        count(both, events) > count(both, f"{events} and uncounted_reason = 'in_other_feed'") * 0.9 > 10_000
    )


def test_pieces_make_the_same_events_of_the_sync(built: Built, sync: Path, tmp_path: Path) -> None:
    """A first export beside webhooks touches all: one statement for 2.6 million metrics took 4.6 GiB."""
    both = copy_of(built, tmp_path)
    run(both.environment, "copymart", "land", "--sync", sync)
    events = ("run", "--select", "+int_sync_events")

    def rows() -> tuple[int, int]:
        return (
            count(both, "select count(*) from intermediate.int_sync_events"),
            count(both, "select sum(hash(each)) from intermediate.int_sync_events as each"),
        )

    def made() -> str:
        return (both.target / "run/copymart/models/intermediate/engagement/int_sync_events.sql").read_text()

    run(both.environment, "dbt", *events, "--vars", "{rows_of_a_piece: 500}")
    incremental = rows()
    assert incremental[0] > 10_000
    run(both.environment, "dbt", *events, "--full-refresh", "--vars", "{rows_of_a_piece: 500}")
    assert rows() == incremental
    assert made().count("insert into") > 5
    run(both.environment, "dbt", *events, "--full-refresh")
    assert rows() == incremental
    # one piece makes the table
    assert "insert into" not in made()


def test_whom_webhooks_name_is_known_where_the_sync_counts(built: Built, sync: Path, tmp_path: Path) -> None:
    """The sync's events name people by cio_id alone, and its table of people is not exported."""
    first = copy_of(built, tmp_path)
    without_people = tmp_path / "sync"
    shutil.copytree(sync, without_people, ignore=shutil.ignore_patterns("*people*"))
    feeds = ("--vars", '{"engagement_feeds": ["sync", "webhooks"]}')
    # all that customer_engagement_profiles needs
    build = ("run", "--select", "+customer_engagement_profiles", *feeds)
    run(first.environment, "dbt", *build, "--full-refresh")
    run(first.environment, "copymart", "land", "--sync", without_people)
    run(first.environment, "dbt", *build)
    query = "select person_key, cio_customer_id, cio_id, email from {0}marts.customer_engagement_profiles"
    tables = ("int_person_days", "int_person_sums", "int_person_identities", "int_person_ids")
    sums = "select count(*), sum(hash(model)) from intermediate.{0} as model"
    found = []
    for refresh in ((), ("--full-refresh",)):
        if refresh:
            run(first.environment, "dbt", *build, *refresh)
        with duckdb.connect(str(first.warehouse), read_only=True) as connection:
            connection.execute(f"attach '{built.warehouse}' as theirs (read_only)")
            ours, theirs = (query.format(side) for side in ("", "theirs."))
            # of who has no cio_id in any webhook, nothing says which cio_id of the sync is theirs
            lost = f"{theirs} where cio_id is not null except {ours}"
            made_up = f"{ours} where coalesce(cio_customer_id, email) is not null except {theirs}"
            assert connection.execute(lost).fetchall() == []
            assert connection.execute(made_up).fetchall() == []
            found.append([connection.execute(sums.format(table)).fetchone() for table in tables])
    assert found[0] == found[1]
    named = "select count(*) from intermediate.int_person_days where events_counted = 0"
    counted = "select count(*) from intermediate.int_person_days where events_counted > 0"
    assert count(first, named) > 1000 and count(first, counted) > 10_000


def test_the_sync_fills_gaps_of_the_webhooks(built: Built, sync: Path, tmp_path: Path) -> None:
    """A third of the pairs of message and metric never came by webhook, and half of the ids are missing."""
    gaps = copy_of(built, tmp_path)
    with gaps.connect() as connection:
        one_set = "select delivery_id from intermediate.int_message_ids group by 1 having count(*) = 1"
        ((gone,),) = connection.execute(
            f"""
            delete from staging.customerio_events where event_id in (
                select event_id from intermediate.int_distinct_events
                where hash(delivery_id || metric) % 3 = 0 and delivery_id in ({one_set})
                and metric in ('delivered', 'opened', 'clicked', 'converted', 'bounced')
                and delivery_id in (
                    select delivery_id from intermediate.int_distinct_events
                    where metric in ('sent', 'attempted')
                )
            )
            """
        ).fetchall()
        connection.execute(
            f"""
            update staging.customerio_events set journey_id = null
            where hash(event_id) % 2 = 0 and delivery_id in ({one_set}) and delivery_id in (
                select delivery_id from intermediate.int_messages
                where match_method in ('direct', 'action_map')
            )
            """
        )
    assert gone > 1000
    run(gaps.environment, "copymart", "land", "--sync", sync)
    run(gaps.environment, "dbt", *CORE, "--full-refresh")
    assert differing(built, gaps, LESS_KNOWN) == []


def test_the_sync_alone_gives_what_it_can_tell(built: Built, sync: Path, tmp_path: Path) -> None:
    """It has no action above the message's, and no event whose ids it does not have."""
    alone = copy_of(built, tmp_path)
    alone.warehouse.unlink()
    run(alone.environment, "copymart", "land", "--calls", built.landing / "justai/calls", "--sync", sync)
    run(alone.environment, "dbt", *CORE)
    pairs = """
        select delivery_id, counts_as, count(distinct delivery_key) as deliveries, count(*) as events
        from {side}marts.fct_engagement_events
        where counts and match_method != 'control'
        group by all
    """
    with duckdb.connect(str(alone.warehouse), read_only=True) as connection:
        connection.execute(f"attach '{built.warehouse}' as theirs (read_only)")
        ours, theirs = (pairs.format(side=side) for side in ("", "theirs."))
        lost = f"""
            select count(*), count(messages.delivery_id)
            from ({theirs} except all {ours}) as lost
            left join theirs.intermediate.int_messages as messages
                on lost.delivery_id = messages.delivery_id and messages.match_method like 'parent%'
        """
        ((missing, by_parent),) = connection.execute(lost).fetchall()
        assert missing == by_parent > 0
        assert connection.execute(f"{ours} except all {theirs}").fetchall() == []
