"""The plan of `copymart activate`: who entered an audience, changed in it and left it.

A member is compared with the last state that Customer.io acknowledged, never with an earlier one: who changed
from A to B and back to A is sent again.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any

from scripts.customerio.outbound.ledger import MEMBERS, Row, Warehouse, relation
from scripts.customerio.outbound.outcomes import ACKNOWLEDGED, UNANSWERED
from scripts.customerio.outbound.sizes import (
    MOST_ATTRIBUTES,
    MOST_IDENTIFIER_BYTES,
    MOST_ITEM_BYTES,
    MOST_NAME_BYTES,
    MOST_VALUE_BYTES,
)
from scripts.customerio.outbound.spool import BATCH, CHANGE, Item
from scripts.errors import UserError
from scripts.land.forgotten import PSEUDONYMS

LAYER = "audiences"
IDENTIFIERS = ("id", "email")
ENTERED, STAYED, LEFT, EXISTING = "entered", "changed", "left", "unchanged"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Wish:
    """What the user wants. `existing`: also members who did not change. `create`: people may be created.

    `empty`: an audience without anybody is no mistake.
    """

    audience: str
    existing: bool = False
    create: bool = False
    empty: bool = False


@dataclass
class Tally:
    """What became of members: counts of what is sent by kind, and of what is not by reason."""

    sent: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0


@dataclass(slots=True)
class _Last:
    """The last acknowledged state of a member, and the content that was refused after it.

    Of what was in flight after it nobody knows whether Customer.io took it: no content is that state, and the
    member may be within.
    """

    digest: str = ""
    within: bool = False
    refused: str = ""


def name_of(text: str) -> str:
    """A name of an audience: that of a model in models/audiences.

    Raises:
        UserError: it is no such name.
    """
    if not _NAME.fullmatch(text):
        raise UserError(
            f"{text!r} is no name of an audience: it is that of a model in models/audiences, with small "
            "letters, digits and underscores"
        )
    return text


def planned(there: Warehouse, wish: Wish, tally: Tally) -> Iterator[Item]:
    """Yield what is sent, in the order of members, then who left; `tally` counts along.

    Raises:
        UserError: there is no such audience, no column of it names a person, or nobody is left in it.
    """
    source = f"{there.schema(LAYER)}.{wish.audience}"
    columns = there.columns(source)
    if not columns:
        raise UserError(
            f"the warehouse lacks {source}: write models/audiences/{wish.audience}.sql and run `dbt build`, "
            "and check that the role may read it"
        )
    kinds = [name for name in IDENTIFIERS if name in columns]
    if not kinds:
        raise UserError(f"{source} has neither a column id nor a column email: an audience names people")
    states = _states(there, wish.audience)
    seen: set[str] = set()
    addresses: set[str] = set()
    # all of them, because a name of a column may need quotes
    query = f"select * from {source} order by {', '.join(kinds)}"
    for page in there.pages(query):
        for row in page:
            values = dict(zip(columns, row, strict=True))
            addresses.add(_key("email", values.get("email")))
            yield from _member(values, wish, states, seen, tally)
    leaving = [
        (key, last)
        for key, last in states.items()
        if last.within
        and key not in seen
        # who was named by the address and has an id now is the same person, and has not left
        and key not in addresses
        and not key.partition(":")[2].startswith(PSEUDONYMS)
    ]
    if leaving and not seen and not wish.empty:
        raise UserError(
            f"{source} names nobody, and all {len(leaving):,} members would leave: look whether its build "
            "went wrong; --allow-empty if not"
        )
    for key, last in leaving:
        kind, _, identifier = key.partition(":")
        yield from _sent(kind, identifier, {}, False, wish, last, LEFT, tally)


def _member(
    values: dict[str, Any], wish: Wish, states: dict[str, _Last], seen: set[str], tally: Tally
) -> Iterator[Item]:
    """What a row of the model makes of its person."""
    kind = next((name for name in IDENTIFIERS if _text(values.get(name)).strip()), None)
    if kind is None:
        tally.held_back["no_identifier"] += 1
        return
    key = _key(kind, values.pop(kind))
    identifier = key.removeprefix(f"{kind}:")
    if key in seen:
        tally.held_back["repeated_member"] += 1
        return
    seen.add(key)
    if identifier.startswith(PSEUDONYMS):
        tally.held_back["forgotten_person"] += 1
        return
    for other in IDENTIFIERS:
        if other in values and not _text(values[other]).strip():
            del values[other]
    last = states.get(key) or _Last()
    attributes = {name: plain(value) for name, value in values.items()}
    yield from _sent(kind, identifier, attributes, True, wish, last, ENTERED, tally)


def _key(kind: str, value: Any) -> str:
    """What a member is known by. Customer.io takes addresses that differ in case for one."""
    text = _text(value)
    return f"{kind}:{text.lower() if kind == 'email' else text}"


def _text(value: Any) -> str:
    """A value as text, empty where there is none, such as for a float that is no number."""
    found = plain(value)
    return "" if found is None else str(found)


def _sent(
    kind: str,
    identifier: str,
    attributes: dict[str, Any],
    within: bool,
    wish: Wish,
    last: _Last,
    what: str,
    tally: Tally,
) -> Iterator[Item]:
    said = {**attributes, f"copymart_{wish.audience}": within}
    digest = hashlib.sha256(_json(said).encode()).hexdigest()
    if within and last.within:
        what = STAYED if digest != last.digest else EXISTING
    if what == EXISTING and not wish.existing:
        tally.unchanged += 1
        return
    if digest == last.refused:
        tally.held_back["refused"] += 1
        return
    # reserved: without it Customer.io makes a person of an identifier that it does not know
    flags = {} if wish.create else {"_update": True}
    text = _json(
        {
            "type": "person",
            "identifiers": {kind: identifier},
            "action": "identify",
            "attributes": {**said, **flags},
        }
    )
    if reason := _beyond(identifier, said, text):
        tally.held_back[reason] += 1
        return
    tally.sent[what] += 1
    record = (wish.audience, kind, identifier, digest, within)
    yield Item(0, record, ((f"{kind}:{identifier}", CHANGE),), BATCH, text)


def _states(there: Warehouse, audience: str) -> dict[str, _Last]:
    """The last state of each member that Customer.io was sent, by identifier."""
    query = (
        "select identifier_type, identifier, content_hash, in_audience, status, "
        "row_number() over (partition by identifier_type, identifier, status "
        "order by run_id desc) as place, run_id "
        f"from {relation(there, MEMBERS)} as ledger where audience = '{audience}'"
    )
    last = (
        f"select identifier_type, identifier, content_hash, in_audience, status from ({query}) as states "
        "where place = 1 order by run_id"
    )
    found: dict[str, _Last] = {}
    for page in there.pages(last):
        for row in page:
            _note(found, row)
    return found


def _note(found: dict[str, _Last], row: Row | Sequence[Any]) -> None:
    kind, identifier, digest, within, status = row
    state = found.setdefault(f"{kind}:{identifier}", _Last())
    if status == ACKNOWLEDGED:
        # a refusal before it was of another state
        state.digest, state.within, state.refused = digest, bool(within), ""
    elif status == UNANSWERED:
        state.digest, state.within, state.refused = "", True, ""
    else:
        state.refused = digest


def _beyond(identifier: str, attributes: dict[str, Any], text: str) -> str | None:
    """Which of Customer.io's limits a request breaks."""
    if len(identifier.encode()) > MOST_IDENTIFIER_BYTES:
        return "identifier_too_long"
    if len(attributes) > MOST_ATTRIBUTES:
        return "too_many_attributes"
    for name, value in attributes.items():
        if len(name.encode()) > MOST_NAME_BYTES:
            return "name_too_long"
        if len((value if isinstance(value, str) else _json(value)).encode()) > MOST_VALUE_BYTES:
            return "value_too_long"
    return "item_too_large" if len(text.encode()) > MOST_ITEM_BYTES else None


def plain(value: Any) -> Any:
    """A value of the warehouse as JSON has it; a time becomes unix seconds, as Customer.io has times."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return int(datetime.combine(value, time(), UTC).timestamp())
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        # JSON has no word for what is no number, and Customer.io would refuse the whole batch
        return None if not isfinite(value) else int(value) if value.is_integer() else value
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    return str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
