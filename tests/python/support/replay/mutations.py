"""Incremental models that follow the clock instead of what landed: each must lose rows in some history."""

from dataclasses import dataclass, replace

from support.replay.builds import Node, Recorded

# Three days before the last call: a usual lookback window.
_SINCE = (
    "(select make_timestamp(max(event_timestamp) * 1000000) - interval 3 day "
    'from "warehouse"."staging"."justai_calls")'
)
_SINCE_SECONDS = '(select max(event_timestamp) - 3 * 86400 from "warehouse"."staging"."justai_calls")'
_PENDING = "where batch_id in (select batch_id from pending)"
_LANDED = "where\n        batch_id in (select batch_id from pending)"

_EVENT_TIME = {
    "int_touched_calls": "called_at",
    "int_touched_events": "event_at",
    "int_touched_sync_events": "event_at",
    "int_touched_messages": "first_event_date",
    "int_rewritten_messages": "first_event_date",
    "int_touched_dates": "metric_date",
    "int_touched_people": "metric_date",
    "int_touched_hours": "partition_hour",
    "int_touched_pipeline_calls": "happened_at",
}


@dataclass(frozen=True)
class Mutation:
    """Another text in the statements of a model.

    The occurrence of `text` of that number, from 0, becomes `other`.
    """

    model: str
    text: str
    other: str
    occurrence: int = 0

    def apply(self, recorded: Recorded) -> Recorded:
        return recorded.changed(self.model, self._node)

    def _node(self, node: Node) -> Node:
        statements = tuple(map(self._statement, node.statements))
        assert statements != node.statements, f"{self.model} no longer holds {self.text!r}"
        return replace(node, statements=statements)

    def _statement(self, statement: str) -> str:
        parts = statement.split(self.text)
        if len(parts) < self.occurrence + 2:
            return statement
        left, right = parts[: self.occurrence + 1], parts[self.occurrence + 1 :]
        return self.text.join(left) + self.other + self.text.join(right)


@dataclass(frozen=True)
class Lookback:
    """A model sees only the last three days of what was touched, where it deletes and where it inserts."""

    model: str
    touched: str

    def apply(self, recorded: Recorded) -> Recorded:
        return recorded.changed(self.model, self._node)

    def _node(self, node: Node) -> Node:
        table = f'"warehouse"."intermediate"."{self.touched}"'
        before = (
            f"create or replace temp table all_touched as from {table}",
            f"delete from {table} where {_EVENT_TIME[self.touched]} < {_SINCE}",
        )
        after = (f"delete from {table}", f"insert into {table} from all_touched")
        return replace(node, statements=(*before, *node.statements, *after))


def _since(column: str) -> str:
    return f"{column} >= {_SINCE}"


MUTATIONS: dict[str, Mutation | Lookback] = {
    # arrivals
    "calls that landed": Mutation(
        "int_touched_calls", _LANDED, f"where\n        event_timestamp >= {_SINCE_SECONDS}"
    ),
    "calls that were removed": Mutation(
        "int_touched_calls", _PENDING, f"where event_timestamp >= {_SINCE_SECONDS}"
    ),
    "sends that were removed": Mutation(
        "int_touched_calls", f"from removed_sends\n    {_PENDING}", "from removed_sends\n    where false"
    ),
    "sends whose variant landed or went": Mutation(
        "int_touched_calls", "from touched_sends\n", "from touched_sends where false\n"
    ),
    "events that landed": Mutation(
        "int_touched_events",
        _LANDED.replace("batch_id in", "_batch_id in"),
        f'where\n        "timestamp" >= {_SINCE_SECONDS}',
    ),
    "events that were removed": Mutation(
        "int_touched_events", _PENDING, f'where "timestamp" >= {_SINCE_SECONDS}', 0
    ),
    "payloads of events that were removed": Mutation(
        "int_touched_events", _PENDING, f"{_PENDING} and removed_events.timestamp >= {_SINCE_SECONDS}", 1
    ),
    "earlier payloads of events that landed": Mutation(
        "int_touched_events",
        "event_id in (select event_id from touched_ids)",
        f'event_id in (select event_id from touched_ids) and "timestamp" >= {_SINCE_SECONDS}',
    ),
    "events of the sync whose messages the webhooks touched": Mutation(
        "int_touched_sync_events",
        "from touched_webhook_events\n    where delivery_id is not null",
        f"from touched_webhook_events\n    where delivery_id is not null and {_since('event_at')}",
    ),
    "metrics that were exported": Mutation(
        "int_touched_sync_events",
        "select event_id from changed_metrics",
        'select event_id from changed_metrics where event_id in (select event_id from "warehouse"."staging".'
        f'"customerio_metrics" where {_since("created_at")})',
    ),
    # messages
    "messages of the journeys of calls": Mutation(
        "int_touched_messages",
        "and journey_id in (select journey_id from call_journeys)",
        f"and journey_id in (select journey_id from call_journeys) and {_since('event_at')}",
    ),
    "messages of events": Mutation(
        "int_touched_messages",
        "from touched_events\n    where delivery_id is not null",
        f"from touched_events\n    where delivery_id is not null and {_since('event_at')}",
        0,
    ),
    "first days of messages whose events went": Mutation(
        "int_touched_messages",
        "from touched_events\n    where delivery_id is not null",
        f"from touched_events\n    where delivery_id is not null and {_since('event_at')}",
        1,
    ),
    "messages of days whose feeds share too few": Mutation(
        "int_touched_messages",
        "and event_date in (select event_date from changed_days)",
        "and false",
    ),
    "messages of changed settings, by action": Mutation(
        "int_touched_messages",
        "and action_id in (select action_id from changed_actions)",
        f"and action_id in (select action_id from changed_actions) and {_since('event_at')}",
    ),
    "messages of changed settings, by parent": Mutation(
        "int_touched_messages",
        "and parent_action_id in (select action_id from changed_actions)",
        f"and parent_action_id in (select action_id from changed_actions) and {_since('event_at')}",
    ),
    "templates with changed settings, for messages": Mutation(
        "int_touched_messages", _PENDING, "where false"
    ),
    "journeys of calls without messages": Mutation(
        "int_touched_messages", "from call_journeys\n\n)", "from call_journeys where false\n\n)"
    ),
    # what is written again
    "touched messages": Mutation(
        "int_rewritten_messages",
        "where delivery_id is not null",
        f"where delivery_id is not null and {_since('first_event_date')}",
    ),
    "messages of the same journeys": Mutation(
        "int_rewritten_messages",
        "journey_id in (select journey_id from journeys)",
        f"journey_id in (select journey_id from journeys) and {_since('first_event_date')}",
    ),
    # dates
    "dates of calls": Mutation(
        "int_touched_dates",
        "from touched_calls\n\n    union",
        f"from touched_calls where {_since('called_at')}\n\n    union",
    ),
    "dates of the other calls of journeys": Mutation(
        "int_touched_dates",
        "journey_id in (select journey_id from journeys)",
        f"journey_id in (select journey_id from journeys) and {_since('called_at')}",
    ),
    "dates of events": Mutation(
        "int_touched_dates",
        "from touched_events\n\n    union",
        f"from touched_events where {_since('event_at')}\n\n    union",
    ),
    "dates of events of rewritten messages": Mutation(
        "int_touched_dates",
        "and events.event_date >= rewritten_messages.first_event_date",
        f"and events.event_date >= rewritten_messages.first_event_date and {_since('events.event_at')}",
    ),
    "dates of the calls of control copies": Mutation(
        "int_touched_dates",
        "copy_id in (select control_copy_id from changed_copies)",
        f"copy_id in (select control_copy_id from changed_copies) and {_since('called_at')}",
        0,
    ),
    "dates of the events of control copies": Mutation(
        "int_touched_dates",
        "copy_id in (select control_copy_id from changed_copies)",
        f"copy_id in (select control_copy_id from changed_copies) and {_since('event_at')}",
        1,
    ),
    "dates of the deliveries of control templates": Mutation(
        "int_touched_dates",
        "template_id in (select control_template_id from changed_control_templates)",
        "template_id in (select control_template_id from changed_control_templates) "
        f"and {_since('called_at')}",
    ),
    # hours
    "hours of calls": Mutation(
        "int_touched_hours",
        "from touched_calls\n\n    union",
        f"from touched_calls where {_since('called_at')}\n\n    union",
        0,
    ),
    "hours of the deliveries of calls": Mutation(
        "int_touched_hours",
        "from touched_calls\n\n    union",
        f"from touched_calls where {_since('called_at')}\n\n    union",
        1,
    ),
    "hours of the other calls of deliveries": Mutation(
        "int_touched_hours",
        "and delivery_key in (select delivery_key from touched_keys)",
        f"and delivery_key in (select delivery_key from touched_keys) and {_since('called_at')}",
    ),
    "hours of the deliveries of removed calls": Mutation(
        "int_touched_hours",
        "journey_id in (select journey_id from journeys_of_removed)",
        f"journey_id in (select journey_id from journeys_of_removed) and {_since('called_at')}",
    ),
    # templates
    "templates of the calls of journeys": Mutation(
        "int_touched_templates",
        "journey_id in (select journey_id from journeys)",
        f"journey_id in (select journey_id from journeys) and {_since('called_at')}",
    ),
    "templates of calls that are gone": Mutation(
        "int_touched_templates", "cross join gone", "cross join gone where false"
    ),
    # people
    "people of touched messages": Mutation(
        "int_touched_people",
        "where\n        delivery_id in (select delivery_id from rewritten_messages)",
        "where\n        delivery_id in (select delivery_id from rewritten_messages) "
        f'and "timestamp" >= {_SINCE_SECONDS}',
        0,
    ),
    "people whose events were removed": Mutation(
        "int_touched_people",
        f"from removed_events\n    {_LANDED}",
        f"from removed_events\n    {_LANDED} and removed_events.timestamp >= {_SINCE_SECONDS}",
    ),
    "days of touched people": Lookback("int_person_days", "int_touched_people"),
    "everybody of touched dates, where a removed line does not say whose it was": Mutation(
        "int_person_days",
        "metric_date >= (select min(removed_since_date)",
        "false and metric_date >= (select min(removed_since_date)",
        1,
    ),
    # source calls
    "source calls that landed": Mutation(
        "int_touched_pipeline_calls", _LANDED, f"where {_since('happened_at')}"
    ),
    "source calls that were removed": Mutation("int_touched_pipeline_calls", _PENDING, "where false", 0),
    "source calls whose triggers changed": Mutation("int_touched_pipeline_calls", _PENDING, "where false", 1),
    "people whom calls named before": Mutation(
        "int_touched_request_people",
        "select person_key from earlier_named",
        "select person_key from earlier_named where false",
    ),
    "people whose names were linked otherwise": Mutation(
        "int_touched_request_people", "earlier_key != current_key", "false"
    ),
    "people that a build which broke off has not read": Mutation(
        "int_touched_request_people", "queue_id not in (", "false and queue_id not in ("
    ),
    "objects that calls named before": Mutation(
        "int_touched_request_objects",
        "((message_id) in (select message_id",
        "(false and (message_id) in (select message_id",
        1,
    ),
    "objects of people": Mutation(
        "int_touched_request_objects",
        '"int_touched_request_people"',
        '"int_touched_request_people" where false',
    ),
    "objects that a build which broke off has not read": Mutation(
        "int_touched_request_objects", "queue_id not in (", "false and queue_id not in ("
    ),
    # what each model takes from them
    **{
        f"what {model} builds again": Lookback(model, touched)
        for touched, models in {
            "int_touched_calls": (
                *("int_distinct_calls", "int_content_runs", "dim_copy_variants", "fct_deliveries"),
            ),
            "int_touched_events": ("int_repeated_events", "int_distinct_events"),
            "int_touched_sync_events": ("int_sync_events",),
            "int_touched_messages": (
                *("int_message_ids", "int_message_matches", "int_unmatched_messages"),
                "int_delivery_units",
            ),
            "int_rewritten_messages": ("fct_engagement_events",),
            "int_touched_hours": ("int_partition_contents",),
            "int_touched_pipeline_calls": (
                *("int_pipeline_calls", "int_person_requests", "int_device_requests"),
                *("int_object_requests", "int_event_requests", "int_metric_requests"),
            ),
            "int_touched_dates": (
                *("int_copy_calls_daily", "control_metrics_daily"),
                *("copy_cohort_metrics_daily", "copy_metrics_daily", "link_clicks_daily"),
                *("int_experiment_arms_daily", "int_copy_contents_daily", "int_person_days"),
            ),
        }.items()
        for model in models
    },
}

# Kinds of steps without which a history hardly notices.
NEEDED = {
    "events of the sync whose messages the webhooks touched": {"land_sync"},
    "metrics that were exported": {"land_sync"},
    "what int_sync_events builds again": {"land_sync"},
    "calls that were removed": {"land_gone", "land_edited"},
    "events that were removed": {"land_moved", "land_undone"},
    "payloads of events that were removed": {"land_gone", "land_edited"},
    "earlier payloads of events that landed": {"land_moved"},
    "messages of days whose feeds share too few": {"land_sync"},
    "messages of changed settings, by action": {"edit_actions"},
    "messages of changed settings, by parent": {"edit_actions"},
    "templates with changed settings, for messages": {"edit_actions"},
    "hours of the deliveries of removed calls": {"land_gone", "land_edited"},
    "templates of calls that are gone": {"land_gone", "land_edited"},
    "people whose events were removed": {"land_gone", "land_undone"},
    "dates of the calls of control copies": {"edit_control"},
    "dates of the events of control copies": {"edit_control"},
    "dates of the deliveries of control templates": {"edit_control"},
}
