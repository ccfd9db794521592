"""Source calls, as a Segment-compatible library sends them and Customer.io's Pipelines API takes them."""

from scripts.land.records import Columns
from scripts.land.rules import Dataset, map_rule, text_rule

TYPES = ("identify", "track", "page", "screen", "group", "alias")
"""The types of calls that the specification knows."""

_TIMES = ("timestamp", "original_timestamp", "sent_at", "received_at")
_MAPS = ("properties", "traits", "context", "integrations")
# What a call has under a name of two words; tables write it with an underscore.
_PAIRS = {
    "message_id": "messageId",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "previous_id": "previousId",
    "group_id": "groupId",
    "original_timestamp": "originalTimestamp",
    "sent_at": "sentAt",
    "received_at": "receivedAt",
}
# The time that models give the call, as the macro source_call_millis() does: a device's own may be any.
_MOMENT = (
    "coalesce(v_timestamp, v_received_at - (v_sent_at - v_original_timestamp), "
    "v_original_timestamp, v_sent_at, v_received_at)"
)
_TEXTS = ("user_id", "anonymous_id", "previous_id", "group_id", "event", "name")


def _text(column: str) -> str:
    other = _PAIRS.get(column)
    return f"coalesce(t_{other}, t_{column})" if other else f"t_{column}"


def _no_text(column: str) -> str:
    other = _PAIRS.get(column)
    return f"n_{other} or n_{column}" if other else f"n_{column}"


def _line_hash() -> str:
    """A call without a messageId is known by all that it says: the same line again is the same call."""
    texts = ", ".join(f"coalesce({_text(column)}, '')" for column in ("type", *_TEXTS, *_TIMES))
    maps = ", ".join(f"coalesce(cast(land_object(f_{column}) as varchar), '')" for column in _MAPS)
    return f"md5(concat_ws('|', {texts}, {maps}))"


PIPELINE_CALLS = Dataset(
    name="pipeline_calls",
    columns=Columns(
        fields=("type", *_PAIRS.values(), *_PAIRS, "event", "name", "timestamp", *_MAPS),
        required=(("type",), ("timestamp", "originalTimestamp", "sentAt", "receivedAt", *_TIMES[1:])),
        iso_times=True,
    ),
    table=(
        ("type", "varchar", "lower(t_type)"),
        ("message_id", "varchar", f"coalesce({_text('message_id')}, {_line_hash()})"),
        *((column, "varchar", _text(column)) for column in _TEXTS),
        *((column, "bigint", f"land_millis({_text(column)})") for column in _TIMES),
        *((column, "json", f"land_object(f_{column})") for column in _MAPS),
    ),
    reasons=(
        ("missing_type", "t_type is null"),
        ("bad_type", f"v_type not in ({', '.join(repr(kind) for kind in TYPES)})"),
        *(text_rule(column, _no_text(column)) for column in ("message_id", *_TEXTS)),
        *((f"bad_{column}", f"v_{column} is null and {_text(column)} is not null") for column in _TIMES),
        ("missing_timestamp", f"{_MOMENT} is null"),
        (
            "timestamp_out_of_bounds",
            f"{_MOMENT} / 1000 < $earliest or {_MOMENT} / 1000 >= $latest",
        ),
        *(map_rule(column) for column in _MAPS),
    ),
    keys=("message_id", *_TIMES),
    maps=_MAPS,
)
