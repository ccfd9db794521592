"""Every cell of every mart equals what the simulator planned; breaking any rule in the SQL is noticed."""

import json
from pathlib import Path

import duckdb
import pytest

from support.project import Built, broken, models_in_order, rebuild, run

MARTS = (
    "fct_calls",
    "fct_deliveries",
    "dim_copy_variants",
    "dim_copy_variants_current",
    "fct_engagement_events",
    "copy_metrics_daily",
    "copy_cohort_metrics_daily",
    "control_metrics_daily",
    "link_clicks_daily",
    "experiment_daily",
)

# What the truth names otherwise: people by the id or address that calls name them by, objects by type and id.
PEOPLE = "select person_key, coalesce(customer_id, lower(email)) as person from marts_outbound.dim_people"
OBJECTS = "select object_key, object_type_id, object_id from marts_outbound.dim_objects"
OUTBOUND = {
    "outbound_requests": "from marts_outbound.outbound_requests",
    "dim_people": f"from marts_outbound.dim_people join ({PEOPLE}) using (person_key)",
    "dim_objects": "from marts_outbound.dim_objects",
    "bridge_relationships": f"""
        from marts_outbound.bridge_relationships
        join ({PEOPLE}) using (person_key) join ({OBJECTS}) using (object_key)""",
    "dim_devices": f"from marts_outbound.dim_devices join ({PEOPLE}) using (person_key)",
}

# What the truth has no word of: the feed, and dates and first events, which the daily marts are summed from.
FLAGS = {
    "fct_engagement_events": {
        "feed",
        *("metric_date", "delivery_date", "last_called_at", "is_first", "is_first_human", "is_first_reached"),
    }
}

# name: (model, text of its compiled SQL, what replaces every occurrence); each breaks one rule of R2 to R8.
MUTATIONS: dict[str, tuple[str, str, str]] = {
    # R2: calls and deliveries
    "a repeated call counts twice": ("int_distinct_calls", "where occurrence > 1", "where false"),
    "calls without ids share a delivery": (
        "int_distinct_calls",
        "journey_id is not null and action_id is not null",
        "true",
    ),
    "the first call wins": ("fct_deliveries", "event_timestamp desc", "event_timestamp asc"),
    "ties go to the least content": ("fct_deliveries", "content_hash desc", "content_hash asc"),
    "ties of content go to the least copy": ("fct_deliveries", "copy_id desc", "copy_id asc"),
    "calls never disagree on copy": ("fct_deliveries", "!= max(copy_id)", "> max(copy_id)"),
    # R3, R4: versions
    "key order makes a version": ("int_distinct_calls", "list_sort(", "("),
    "an edit makes no version": ("dim_copy_variants", "or previous_hash != content_hash", ""),
    "an hour makes a version": ("dim_copy_variants", "or previous_hash != content_hash", "or true"),
    "a reverted copy is an edited one": ("dim_copy_variants", "use_of_content > 1", "use_of_content > 99"),
    "an instant has its least content": (
        "int_content_runs",
        "!= max(calls.content_hash)",
        "!= min(calls.content_hash)",
    ),
    # R5: events and their match
    "a repeated event counts twice": (
        "int_repeated_events",
        "recency = 1 as is_latest",
        "true as is_latest",
    ),
    "the earliest payload wins": (
        "int_repeated_events",
        "order by event_timestamp desc",
        "order by event_timestamp asc",
    ),
    "webhook events are engagement": ("int_distinct_events", "('webhook', 'customer')", "('customer')"),
    "calls match however old": ("int_message_matches", "cast(-30 as bigint)", "cast(-3000 as bigint)"),
    "calls match however late": ("int_message_matches", "cast(7 as bigint)", "cast(700 as bigint)"),
    "only direct matches": ("int_message_matches", "when by_action.message_action_id is not null then 2", ""),
    "the map ignores the webhook": (
        "int_message_matches",
        "(by_action.webhook_action_id is null or by_action.webhook_action_id = candidates.call_action_id)",
        "true",
    ),
    "the map ignores the campaign": (
        "int_message_matches",
        "by_action.webhook_campaign_id = candidates.campaign_id",
        "true",
    ),
    "no match through the parent": (
        "int_message_matches",
        "when candidates.parent_action_id = candidates.call_action_id then 3",
        "",
    ),
    "no map through the parent": (
        "int_message_matches",
        "when by_parent.message_action_id is not null then 4",
        "",
    ),
    "of several calls the first matches": (
        "int_message_matches",
        "then first_called_at end desc",
        "then first_called_at end asc",
    ),
    "a call after the message is as good": (
        "int_message_matches",
        "first_called_at <= first_event_at",
        "true",
    ),
    "ties of calls go to the greatest key": (
        "int_message_matches",
        "                delivery_key\n        ) as preference",
        "                delivery_key desc\n        ) as preference",
    ),
    "the latest event decides": (
        "int_message_matches",
        "                first_event_order,\n                method_rank",
        "                first_event_order desc,\n                method_rank",
    ),
    "events without the ids stay unmatched": ("fct_engagement_events", "else 'delivery_id'", "else null"),
    # R6: people and machines
    "prefetched opens are human": ("fct_engagement_events", "coalesce(events.is_prefetched, false)", "false"),
    "inferred opens are never human": ("fct_engagement_events", "not messages.has_human_click", "true"),
    "machine clicks are human": (
        "fct_engagement_events",
        "coalesce(events.is_machine_click, false)",
        "false",
    ),
    "unknown flags are machines": (
        "fct_engagement_events",
        "coalesce(events.is_prefetched, false)",
        "coalesce(events.is_prefetched, true)",
    ),
    # R7, R8: counts and dates
    "the window is open for ever": (
        "fct_engagement_events",
        "events.event_at > messages.window_ends_at",
        "false",
    ),
    "the last moment is outside the window": (
        "fct_engagement_events",
        "events.event_at > messages.window_ends_at",
        "events.event_at >= messages.window_ends_at",
    ),
    "a delivery counts on its last day": (
        "fct_engagement_events",
        "order by event_at, event_id",
        "order by event_at desc, event_id",
    ),
    "every event of a metric is the first": (
        "fct_engagement_events",
        "coalesce(ordered.occurrence, 1) = 1",
        "true",
    ),
    "messages of one delivery are first apart": (
        "fct_engagement_events",
        "having count(*) > 1",
        "having false",
    ),
    "repeats are of no matter": ("fct_engagement_events", "messages.has_repeats\n", "false\n"),
    "in_app is measured on delivered": (
        "fct_engagement_events",
        "channel in ('in_app', 'slack')",
        "channel in ('slack')",
    ),
    "a cell takes the campaign of its oldest delivery": (
        "copy_cohort_metrics_daily",
        "max(last_called_at) as last_called_at",
        "min(last_called_at) as last_called_at",
    ),
    "calls of retries count for the copy that won": (
        "int_copy_calls_daily",
        "count(case when call_count = 1 then 1 end) as api_calls",
        "sum(call_count) as api_calls",
    ),
    "a query string makes another link": ("link_clicks_daily", "split_part(href, '?', 1)", "href"),
    "a fragment makes another link": ("link_clicks_daily", ", '#', 1)", ", '!', 1)"),
    "every click on a link is a delivery's": (
        "link_clicks_daily",
        "count(distinct delivery_key)",
        "count(delivery_key)",
    ),
    "conversions of messages outside the window have a value": (
        "fct_engagement_events",
        "case when metric_names.counts_as = 'converted' then events.conversion_value end",
        "cast(null as decimal(18, 4))",
    ),
    # R11: the control arm
    "control ignores the campaign": (
        "int_unmatched_messages",
        "template_actions.campaign_id = unmatched_ids.campaign_id",
        "true",
    ),
    "deliveries of a control template are no control arm": (
        "control_metrics_daily",
        "deliveries.template_id = control_templates.control_template_id",
        "false",
    ),
    "a matched message is control too": ("int_unmatched_messages", "matches.delivery_id is null", "true"),
    # what Customer.io holds
    "the copy of a source call that came last counts": (
        "int_pipeline_calls",
        "order by coalesce(received_ms, happened_ms), happened_ms",
        "order by coalesce(received_ms, happened_ms) desc, happened_ms",
    ),
    "the clock of a device is right": (
        "stg_pipelines__calls",
        "source.received_at - (source.sent_at - source.original_timestamp)",
        "source.original_timestamp",
    ),
    "what is switched off goes out": (
        "int_destination_calls",
        "= 'false' as is_switched_off",
        "is null as is_switched_off",
    ),
    "a track event fires for every name": (
        "int_destination_calls",
        "coalesce(named.taken_event, '') = coalesce(triggers.event_name, '')",
        "coalesce(named.taken_event, triggers.event_name, '') = coalesce(triggers.event_name, '')",
    ),
    "a metric may have any name": ("int_metric_requests", "'unknown_metric'", "null"),
    "a value may have any length": ("int_person_requests", "longest_value > 1000", "longest_value > 9000"),
    "dates of attributes stay text": ("int_person_requests", "when moment is null then", "when true then"),
    "a merge links nobody": ("int_person_links", "from merge_requests", "from merge_requests where false"),
    "what is said last of a merged person wins": (
        "dim_people",
        "order by merge_path, request_order desc",
        "order by request_order desc",
    ),
    "a merged name that comes back names the person": (
        "dim_people",
        "order by name_depth, request_order desc",
        "order by request_order desc",
    ),
    "null takes an attribute away": ("dim_people", "member_name != 'email'", "false"),
    "a deletion ends nothing": (
        "int_person_timeline",
        "in ('delete_person', 'suppress_person')",
        "in ('suppress_person')",
    ),
    "who is suppressed takes all": (
        "int_person_timeline",
        "coalesce(last_suppressed, '') > coalesce(last_unsuppressed, '')",
        "false",
    ),
    "an object is never deleted": (
        "int_object_timeline",
        "objects.action = 'delete_object' then",
        "false then",
    ),
    "a relationship never ends": (
        "bridge_relationships",
        "where action = 'delete_relationship'",
        "where false",
    ),
    "a relationship outlives its person": ("bridge_relationships", "and not is_person_gone", ""),
    "a device that was deleted is there": (
        "dim_devices",
        "where action = 'delete_device'",
        "where false",
    ),
    "the first call of a device counts": (
        "dim_devices",
        "order by named.merge_path, named.request_order desc",
        "order by named.merge_path, named.request_order",
    ),
}

VERSIONS = ("dim_copy_variants", "dim_copy_variants_current")


def differences(warehouse: duckdb.DuckDBPyConnection, truth: str, mart: str) -> tuple[list, list]:
    """Rows of the mart that the truth lacks, and rows of the truth that the mart lacks, at most five each."""
    columns = ", ".join(
        f'"{name}"'
        for name, *_ in warehouse.execute(f"describe select * from '{truth}/{mart}.parquet'").fetchall()
    )
    got = f"select {columns} {OUTBOUND.get(mart, f'from marts.{mart}')}"
    planned = f"select {columns} from '{truth}/{mart}.parquet'"
    return (
        warehouse.execute(f"({got} except all {planned}) order by all limit 5").fetchall(),
        warehouse.execute(f"({planned} except all {got}) order by all limit 5").fetchall(),
    )


@pytest.mark.parametrize("mart", MARTS)
def test_every_cell_is_what_was_planned(built: Built, mart: str) -> None:
    with built.connect() as warehouse:
        in_mart = {name for name, *_ in warehouse.execute(f"describe marts.{mart}").fetchall()}
        in_mart -= FLAGS.get(mart, set())
        in_truth = {
            name
            for name, *_ in warehouse.execute(
                f"describe select * from '{built.truth}/{mart}.parquet'"
            ).fetchall()
        }
        assert in_mart == in_truth
        assert warehouse.execute(f"select count(*) > 0 from marts.{mart}").fetchone() == (True,)
        assert differences(warehouse, str(built.truth), mart) == ([], [])


@pytest.mark.parametrize("mart", OUTBOUND)
def test_what_customerio_holds_is_what_was_planned(built: Built, mart: str) -> None:
    with built.connect() as warehouse:
        assert warehouse.execute(f"select count(*) > 1 from marts_outbound.{mart}").fetchone() == (True,)
        assert differences(warehouse, str(built.truth), mart) == ([], [])


def test_shared_views_hold_all_rows_of_their_marts(built: Built) -> None:
    nodes = json.loads((built.target / "manifest.json").read_text())["nodes"]
    shared = [
        node for node in nodes.values() if node["fqn"][1] == "shares" and node["resource_type"] == "model"
    ]
    assert shared
    with built.connect() as warehouse:
        for node in shared:
            (mart,) = (nodes[parent] for parent in node["depends_on"]["nodes"])
            columns = ", ".join(node["columns"])
            view, source = (f"{model['schema']}.{model['alias']}" for model in (node, mart))
            shown, there = f"select {columns} from {view}", f"select {columns} from {source}"
            ((rows, more, less),) = warehouse.execute(
                f"select (select count(*) from {view}), (select count(*) from ({shown} except all {there})), "
                f"(select count(*) from ({there} except all {shown}))"
            ).fetchall()
            assert (rows > 0, more, less) == (True, 0, 0), view


def test_rejects_are_the_lines_that_were_broken(built: Built) -> None:
    with built.connect() as warehouse:
        landed = """
            select 'justai_calls' as dataset, _file, _line from staging.justai_calls_rejects
            union all
            select 'customerio_events', _file, _line from staging.customerio_events_rejects
        """
        planned = f"""
            select dataset, '{built.landing.resolve()}/' || file, line from '{built.truth}/rejects.parquet'
        """
        assert warehouse.execute(f"({landed}) except all ({planned})").fetchall() == []
        assert warehouse.execute(f"({planned}) except all ({landed})").fetchall() == []
        assert warehouse.execute(f"select count(*) > 0 from ({planned})").fetchone() == (True,)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_breaking_a_rule_is_noticed(built: Built, mutation: str) -> None:
    with broken(built, (*MARTS, *OUTBOUND), MUTATIONS[mutation]) as (warehouse, stale):
        # the daily marts are small and at the end of every chain, so most mutations show there at once
        noticed = any(
            differences(warehouse, str(built.truth), mart) != ([], [])
            for mart in reversed((*MARTS, *OUTBOUND))
            if mart in stale
        )
    assert noticed, f"{MUTATIONS[mutation]} changed no mart"


def test_conversions_count_in_a_window_of_their_own(built: Built, tmp_path: Path) -> None:
    """The vars that set it, in what dbt compiles and in the truth; both arms."""
    offset, lookback = 3, 14
    settings = dict(line.split() for line in (built.landing / "simulation.txt").read_text().splitlines())
    size = [f"--{name}={settings[name]}" for name in ("calls", "days", "seed")]
    window = ("--conversion-offset-days", str(offset), "--conversion-lookback-days", str(lookback))
    run(built.environment, "copymart", "simulate", tmp_path / "landing", *size, *window)
    truth = tmp_path / "landing/truth"

    given = json.dumps({"conversion_offset_days": offset, "conversion_lookback_days": lookback})
    environment = {**built.environment, "DBT_TARGET_PATH": str(tmp_path / "target")}
    model = "fct_engagement_events"
    run(environment, "dbt", "compile", "--full-refresh", "--select", model, "--vars", given)
    (compiled,) = (tmp_path / "target/compiled").rglob(f"{model}.sql")

    with built.connect() as warehouse:
        warehouse.execute("begin")
        stale = rebuild(warehouse, models_in_order(built.target), MARTS, model, compiled.read_text())
        different = {mart: differences(warehouse, str(truth), mart) for mart in MARTS if mart in stale}
        both_arms = warehouse.execute(
            "select distinct delivery_key is null from marts.fct_engagement_events "
            "where uncounted_reason = 'outside_conversion_window'"
        ).fetchall()
        warehouse.execute("rollback")
    assert {*MARTS} - different.keys() == {"fct_calls", "fct_deliveries", *VERSIONS}
    assert different == dict.fromkeys(different, ([], []))
    assert len(both_arms) == 2
