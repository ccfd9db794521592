"""Models over what the App API returned: any part may be missing, and messages reconcile with the marts."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from support.app_api import KEY, example, served
from support.project import Built, run

MODELS = ("stg_customerio_api__*", "path:models/marts/customerio", "dim_templates", "audit_messages")
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
    warehouse = tmp_path / "warehouse.duckdb"
    shutil.copy(built.warehouse, warehouse)
    # what dbt has parsed
    shutil.copytree(built.target, tmp_path / "target")
    environment = built.environment | {
        "COPYMART_DUCKDB": str(warehouse),
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "CUSTOMERIO_APP_API_KEY": KEY,
    }
    return Built(built.landing, warehouse, tmp_path / "target", environment)


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
    run(copied.environment, "dbt", "run", "--select", *MODELS)
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
    run(copied.environment, "dbt", "build", "--exclude-resource-type", "unit_test", "--select", *MODELS)
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
