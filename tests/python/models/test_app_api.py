"""Models over what the App API returned: any part may be missing, and messages reconcile with the marts."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.land.tables import API_TABLES
from support.app_api import KEY, NOW, example, served
from support.emulated_snowflake import PROFILE, connect
from support.project import PROJECT, Built, copy_of, run

MODELS = (
    *("stg_customerio_api__*", "path:models/marts/customerio", "dim_templates", "audit_messages"),
    "assert_api_keys_are_unique",
)
# what the API would say of the messages whose events have landed
MESSAGES = """
    insert into staging.customerio_api (entity, key, payload, _scope)
    with metrics as (
        select delivery_id, channel, campaign_id, event_at, counts_as as metric
        from marts.fct_engagement_events where counts_as is not null
        union all
        select delivery_id, channel, campaign_id, event_at, 'human_' || counts_as
        from marts.fct_engagement_events where counts_as in ('opened', 'clicked') and not is_machine
    ),
    firsts as (
        select delivery_id, channel, metric, max(campaign_id) as campaign_id, min(event_at) as first_at
        from metrics group by all
    )
    select 'messages', delivery_id, json_object(
        'id', delivery_id, 'type', any_value(case channel when 'sms' then 'twilio' else channel end),
        'campaign_id', max(campaign_id), 'created', min(epoch(first_at))::bigint,
        'metrics', json_group_object(metric, epoch(first_at)::bigint)
    ), any_value(channel)
    from firsts group by delivery_id
"""


@pytest.fixture
def copied(built: Built, tmp_path: Path) -> Built:
    """A copy of the built warehouse."""
    copied = copy_of(built, tmp_path)
    return replace(copied, environment=copied.environment | {"CUSTOMERIO_APP_API_KEY": KEY})


def asked(built: Built, query: str) -> list[Any]:
    with built.connect() as connection:
        return connection.execute(query).fetchall()


def test_messages_of_the_api_reconcile_with_the_marts(copied: Built) -> None:
    """Every number of every campaign, day and metric agrees, until one feed lacks a message."""
    counts = ("api_count", "event_count", "api_only_count", "event_only_count")
    sums = f"select {', '.join(f'sum({count})' for count in counts)} from audit.audit_messages"
    assert asked(copied, sums) == [(None, None, None, None)]
    with copied.connect() as connection:
        connection.execute(MESSAGES)
    ((api, events, api_only, event_only),) = asked(copied, sums)
    assert api == events > 10_000 and api_only == event_only == 0
    settled = "select count(distinct created_date) from audit.audit_messages where is_settled"
    assert asked(copied, settled)[0][0] > 10
    with copied.connect() as connection:
        sent = (
            "select key from staging.customerio_api where payload->'metrics'->>'sent' is not null order by 1"
        )
        (lacking,), (unheard,) = connection.execute(f"{sent} limit 2").fetchall()
        connection.execute("delete from staging.customerio_api where key = ?", [lacking])
        connection.execute("delete from marts.fct_engagement_events where delivery_id = ?", [unheard])
    assert asked(copied, sums.replace("audit_messages", "audit_messages where metric = 'sent'"))[0][2:] == (
        1,
        1,
    )


def test_any_part_may_be_missing_also_the_landing_table(copied: Built) -> None:
    """A warehouse of an earlier version has none; after an extract the same models have rows."""
    with copied.connect() as connection:
        for table in ("customerio_api", "customerio_api_rejects", "customerio_api_state"):
            connection.execute(f"drop table staging.{table}")
    build = ("dbt", "build", "--exclude-resource-type", "unit_test", "--select", *MODELS)
    run(copied.environment, *build)
    assert asked(copied, "select count(*) from marts.dim_campaigns") == [(0,)]
    columns = (
        "select column_name, data_type from information_schema.columns where table_name = 'fct_messages'"
    )
    types = asked(copied, columns)
    with served(example()) as world:
        world.campaigns[0]["id"] = 101
        world.actions["campaigns/101"] = [{"id": 1011, "type": "email", "name": "Welcome, first mail"}]
        what = "campaigns,actions,activities,messages,segments,segment_members,newsletters,contents"
        run(copied.environment, "copymart", "extract", "--what", what, "--api-url", world.address)
    run(copied.environment, *build)
    assert asked(copied, columns) == types
    names = "select campaign_name, name, channel from marts.dim_campaign_actions where campaign_id = 101"
    assert asked(copied, names) == [("Plans", "Welcome, first mail", "email")]
    assert asked(copied, "select member_count from marts.dim_segments where name = 'Everyone'") == [(5,)]
    # a view for each type, beside the one of all
    counts = {
        name: asked(copied, f"select count(*) from {name}")[0][0]
        for name in (
            *("marts.fct_messages", "marts.bridge_segment_members", "staging.stg_customerio_api__activities"),
            *("staging.activity_event", "staging.activity_page"),
        )
    }
    assert list(counts.values()) == [12, 5, 14, 7, 7]
    columns_of = "select column_name from information_schema.columns where table_name = 'activity_event'"
    assert "is_opened" not in {name for (name,) in asked(copied, columns_of)}


def test_the_views_are_the_same_on_snowflake(copied: Built, port: int, tmp_path: Path) -> None:
    """By the command line on both: extracted, built, and every row compared."""
    (tmp_path / "profiles.yml").write_text(PROFILE % port)
    there = copied.environment | {
        "DBT_PROFILES_DIR": str(tmp_path),
        "DBT_TARGET": "snowflake",
        "DBT_TARGET_PATH": str(tmp_path / "target-snowflake"),
        "SNOWFLAKE_DATABASE": "APP_API",
    }
    with served(example()) as world:
        world.messages[0]["metrics"] |= {"opened": NOW - 100, "human_opened": 1}
        world.activities.append(
            {"id": "z", "type": "opened_email", "timestamp": NOW - 5, "data": {"opened": True}}
        )
        for environment in (copied.environment, there):
            world.polls = 1
            options = ("--what", "all", "--api-url", world.address, "--rate", "10000")
            run(environment, "copymart", "extract", *options)
    run(there, "dbt", "run", "--select", "stg_customerio_api__*", "path:models/marts/customerio")
    session = connect(port, "APP_API")
    listed = asked(
        copied,
        "select table_schema || '.' || table_name, "
        "string_agg('cast(' || column_name || ' as varchar)', ', ') "
        "from information_schema.columns where (table_name like 'stg_customerio_api__%' or table_name in "
        "('dim_campaigns', 'dim_campaign_actions', 'dim_newsletters', 'dim_segments', 'fct_messages', "
        "'bridge_segment_members')) and column_name not in ('extracted_at', 'first_read_at') group by 1",
    )
    assert len(listed) == 12 + 6
    for relation, columns in listed:
        with session.cursor() as cursor:
            theirs = cursor.execute(f"select {columns} from {relation}").fetchall()
        # the emulated one writes a time with its fraction of a second
        found = sorted(re.sub(r"\.0+'", "'", str(row)) for row in theirs)
        assert found == sorted(map(str, asked(copied, f"select {columns} from {relation}"))) != [], relation
    with session.cursor() as cursor:
        views = cursor.execute(
            "select table_name from information_schema.views where table_name like 'ACTIVITY_%'"
        ).fetchall()
    session.close()
    assert {name for (name,) in views} == {"ACTIVITY_EVENT", "ACTIVITY_OPENED_EMAIL", "ACTIVITY_PAGE"}


def test_an_empty_table_has_the_columns_of_the_landing_table() -> None:
    """The YAML of the source stands for a table that has not been made."""
    text = (PROJECT / "models/staging/customerio_api/_customerio_api.yml").read_text()
    (source,) = yaml.safe_load(text)["sources"]
    same = {"timestamp": "datetime", "text": "varchar"}
    assert {
        table["name"]: {column["name"]: column["data_type"] for column in table["columns"]}
        for table in source["tables"]
    } == {
        name: {column: same.get(kind, kind) for column, kind in columns.items()}
        for name, columns in API_TABLES.items()
    }
