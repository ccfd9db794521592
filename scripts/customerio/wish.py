"""What a user wants of the App API: entities, types, people, and from when."""

import json
from dataclasses import dataclass
from typing import Any

from scripts.errors import UserError

DAY = 86_400
MESSAGES_DAYS = 180
"""Customer.io serves the deliveries of six months, and says nothing of those that it leaves out."""
OVERLAP = 3_600
"""Seconds before the last position that are always read again: what was made then may have shown later."""

ALL = "all"
ENTITIES = (
    *("campaigns", "actions", "broadcasts", "newsletters", "contents", "transactional", "segments"),
    *("segment_members", "messages", "customers", "activities", "webhooks"),
)
CONTINUED = ("messages",)
"""The entities that a run continues where the last one ended; all others are read whole."""

# Customer.io's names of types in a request. It has long sent nothing by urban_airship.
MESSAGE_TYPES = (
    *("email", "push", "twilio", "in_app", "webhook", "slack", "whatsapp", "live_notification"),
    "urban_airship",
)
_ALIASES = {"sms": "twilio", "in-app": "in_app", "inapp": "in_app", "live-notification": "live_notification"}
_GROUPS = ("and", "or", "not", "segment", "attribute")


@dataclass(frozen=True)
class Wish:
    """What the user wants. `since`: unix seconds; None continues where the last run ended."""

    full: bool = False
    since: int | None = None
    rescan_days: int = 90
    message_types: tuple[str, ...] = ()
    activity_types: tuple[str, ...] = ()
    deleted_people: bool = False
    people_filter: dict[str, Any] | None = None
    attributes: tuple[str, ...] = ()


def names(text: str | None) -> tuple[str, ...]:
    """The names in a text with commas between them, each once."""
    return tuple(dict.fromkeys(name for part in (text or "").split(",") if (name := part.strip())))


def entities(text: str, option: str) -> tuple[str, ...]:
    """The entities that an option names, in the order in which they are read.

    Raises:
        UserError: it names none, or one that there is not.
    """
    found = names(text)
    if found == (ALL,):
        return ENTITIES
    unknown = [name for name in found if name not in ENTITIES]
    if unknown or not found:
        raise UserError(
            f"{option} {text!r}: {f'{unknown[0]} is not known' if unknown else 'it is empty'}; choose of "
            f"{', '.join(ENTITIES)}, or write all"
        )
    return tuple(name for name in ENTITIES if name in found)


def message_types(text: str | None) -> tuple[str, ...]:
    """Types of messages as Customer.io's requests name them.

    Raises:
        UserError: one is not known. Customer.io would answer 200 with nothing.
    """
    found = tuple(dict.fromkeys(_ALIASES.get(name.lower(), name.lower()) for name in names(text)))
    if unknown := [name for name in found if name not in MESSAGE_TYPES]:
        raise UserError(
            f"--message-types: {unknown[0]} is no type of message; choose of "
            f"{', '.join(MESSAGE_TYPES)} (sms is twilio)"
        )
    return found


def people_filter(text: str) -> dict[str, Any]:
    """A filter of people, from JSON.

    Raises:
        UserError: it is no JSON, or no filter.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(
            f'--customers-filter is no JSON ({error}): write such as {{"segment": {{"id": 7}}}}'
        ) from error
    if not isinstance(found, dict) or len(found) != 1 or next(iter(found)) not in _GROUPS:
        raise UserError(
            f"--customers-filter must be one object with one of {', '.join(_GROUPS)}, such as "
            '{"and": [{"segment": {"id": 7}}, {"attribute": {"field": "plan", "operator": "exists"}}]}'
        )
    return found


def start_of(wish: Wish, position: int | None, last: int) -> int:
    """The second at which messages are read from, of those up to `last`.

    Not before what Customer.io surely serves: a full load would take what it leaves out for gone.
    """
    floor = last - MESSAGES_DAYS * DAY
    if wish.since is not None:
        return max(wish.since, floor)
    # a clock that was ahead once must not leave out all that follows
    if position is None or wish.full or position > last + OVERLAP:
        return floor
    return max(position + 1 - max(wish.rescan_days * DAY, OVERLAP), floor)
