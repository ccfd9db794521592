"""People who are forgotten: what of a row names a person, and the pseudonym that stands for it.

A pseudonym is a salted hash, so the same identifier always has the same one: joins and counts stay. The
hashes in `staging.forgotten_people` are applied to whatever lands later.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

TABLE = "forgotten_people"
"""Salted hashes of the identifiers of forgotten people; each row has the salt, which is one."""

COLUMNS = {
    "identifier_hash": "varchar",
    "salt": "varchar",
    "forgotten_at": "timestamp",
}
"""Columns of that table, with their types."""

PREFIX = "forgotten:"
CIO = "cio_"
"""What a source call writes before Customer.io's own id of a person."""
PSEUDONYMS = (PREFIX, f"{CIO}{PREFIX}")
"""What a pseudonym begins with; the latter in source calls."""
GONE = "forgotten"
"""What stands for a text that may say anything of a person."""

_LENGTH = 24
# What names or describes a person, whatever its value.
_PERSONAL = {
    *("customer_id", "internal_customer_id", "user_id", "cio_id", "email", "email_address", "email_addr"),
    *("recipient", "to", "bcc", "phone", "address", "device_id", "device_token", "previous_id"),
    # as source calls write them
    *("userId", "previousId", "anonymousId"),
}
_IDENTIFIERS = {"identifiers", "customer_identifiers"}
_OBJECTS = {"attrs", "attributes", "traits", "devices", "profile"}
# Names of things that are no person; without them nothing could be joined or counted.
_KEPT = {
    *("id", "type", "state", "key", "delivery_id", "journey_id", "subject_id", "subject_name", "event_id"),
    *("trigger_event_id", "trigger_id", "object_type", "metric", "event_type", "delivery_type", "action_id"),
    *("parent_action_id", "campaign_id", "broadcast_id", "newsletter_id", "content_id", "link_id"),
    *("transactional_message_id", "inbound_event_id", "device_platform", "tracked_response", "email_id"),
    *("campaign_type", "output_type", "prefetched", "proxied", "synthetic", "machine", "template_id"),
}
_LINKS = {"href", "link_url", "url"}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WHOLE_FLOAT = re.compile(r"\b([0-9]+)[.]0+\b")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# A run of letters, and in it what may end an identifier or stand within one, as in auth0|77.
_RUN = re.compile(r"[^\s\",;<>{}\[\]\\]+")
_CUT = re.compile(r"([:?&=#/|'()])")
_MOST_PIECES = 7
# What a sentence has around a word.
_MARKS = ".!*\u2026\u201c\u201d\u201e\u2018\u2019"
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|/)")
# What of the App API is about people: a campaign whose number is somebody's id is not that person.
_ENTITIES = {"customers", "segment_members", "messages", "activities"}
_PEOPLE = {"customers", "segment_members"}


def plain(identifier: str) -> str:
    """An identifier as it is compared: an address in lower case, anything else as it is."""
    return identifier.strip(" ").lower() if "@" in identifier else identifier


@dataclass(frozen=True)
class Known:
    """The salt, and the hashes of the identifiers of forgotten people."""

    salt: str
    hashes: Collection[str]

    def hash_of(self, identifier: str) -> str:
        """The hash by which an identifier is looked up."""
        # half a surrogate pair is no identifier, but a rejected line may have one
        return sha256((self.salt + plain(identifier)).encode(errors="replace")).hexdigest()

    def has(self, identifier: str) -> bool:
        """Whether it is one of a forgotten person."""
        return self.hash_of(identifier) in self.hashes

    def pseudonym(self, identifier: str) -> str:
        """What stands for an identifier, or for any text that names a person."""
        return (
            identifier if identifier.startswith(PSEUDONYMS) else PREFIX + self.hash_of(identifier)[:_LENGTH]
        )

    def names(self, text: str) -> bool:
        """Whether a text, such as a rejected line, has an identifier as a word or a JSON string."""
        found = [word for word in set(_words(text)) if self.has(word)]
        if not all(map(_NUMBER.fullmatch, found)):
            return True
        return bool(found) and self._names_by_number(text)

    def _names_by_number(self, text: str) -> bool:
        """The number of a campaign may be the id of a person: in JSON the member says which it is."""
        try:
            parsed = _parsed(text)
        except (ValueError, RecursionError):
            return True
        return any(self.has(name) for name in _names_in(parsed, is_person=True))

    def without_names(self, text: str) -> str:
        """A text with a pseudonym for each word that is an identifier."""
        return _RUN.sub(lambda found: self._without(found[0]), text)

    def _without(self, run: str) -> str:
        pieces, place, new = _CUT.split(run), 0, []
        while place < len(pieces):
            # the longest first: auth0|77 is one identifier
            for end in range(min(place + _MOST_PIECES, len(pieces)), place, -1):
                span = "".join(pieces[place:end])
                if found := next(filter(self.has, _spellings(span)), None):
                    new.append(self.pseudonym(found))
                    place = end
                    break
            else:
                new.append(self._quoted(pieces[place]))
                place += 1
        return "".join(new)

    def _quoted(self, piece: str) -> str:
        """A piece that may be a whole address of the web within another one."""
        inner = unquote(piece)
        if inner == piece:
            return piece
        without = self.without_names(inner)
        return piece if without == inner else quote(without, safe="")


def _words(text: str) -> Iterable[str]:
    for quoted in _QUOTED.findall(text):
        try:
            yield str(json.loads(f'"{quoted}"'))
        except ValueError:
            yield quoted
    yield from _spans(text)
    yield from _WHOLE_FLOAT.findall(text)
    # a line that was cut off ends within a string
    plain_text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "/", text)
    if plain_text != text:
        yield from _spans(plain_text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _text(value: Any) -> str:
    """An identifier as it lands: 41.0 is 41."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _spans(text: str) -> Iterable[str]:
    for run in _RUN.findall(text):
        pieces = _CUT.split(run)
        for place in range(0, len(pieces), 2):
            for end in range(place + 1, min(place + _MOST_PIECES, len(pieces)) + 1, 2):
                span = "".join(pieces[place:end])
                yield from _spellings(span)
                if (word := span.strip(_MARKS)) != span:
                    yield from _spellings(word)
            if "%" in pieces[place] and (inner := unquote(pieces[place])) != pieces[place]:
                yield from _spans(inner)


def _spellings(span: str) -> Iterable[str]:
    """What a piece of a link may say: in a query, a plus may be a space, or a plus."""
    yield unquote(span)
    if "+" in span:
        yield unquote_plus(span)


def scrubbed(value: Any, known: Known, key: str = "") -> Any:
    """JSON of a forgotten person, without what says who it is.

    Numbers stay, because counts need them, and so do the ids of things. Other text goes.
    """
    if isinstance(value, dict):
        if key in _OBJECTS:
            return {}
        inside = "customer_id" if key in _IDENTIFIERS else ""
        return {
            _member_name(name, known): scrubbed(member, known, inside or name)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [scrubbed(item, known, key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    text = _text(value)
    if text and (key in _PERSONAL or (key == "id" and known.has(text))):
        return known.pseudonym(text)
    if not isinstance(value, str):
        return value
    if not text or text.startswith(PREFIX):
        return value
    is_number = bool(_NUMBER.fullmatch(text))
    # the number of a campaign may be the id of a person
    if known.has(text) and not (is_number and key in _KEPT):
        return known.pseudonym(text)
    if key in _KEPT or is_number:
        return value
    return known.without_names(text) if key in _LINKS else GONE


def _member_name(name: str, known: Known) -> str:
    """Somebody may have a member of their own, as in counts by address; a number may be anything's."""
    return known.pseudonym(name) if known.has(name) and not _NUMBER.fullmatch(name) else name


def scrubbed_json(text: str, known: Known) -> str:
    """The same for JSON as text; what is no JSON goes as a whole."""
    try:
        parsed = _parsed(text)
    except (ValueError, RecursionError):
        return "{}"
    return json.dumps(scrubbed(parsed, known), ensure_ascii=False, separators=(",", ":"))


def _parsed(text: str) -> Any:
    """JSON, with null for numbers that no engine could read again."""
    return json.loads(text, parse_float=_finite, parse_constant=lambda name: None)


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None


def names_record(entity: str, scope: str, key: str, payload: str, known: Known) -> bool:
    """Whether a record of the App API names a forgotten person."""
    if entity not in _ENTITIES:
        return False
    if key_without_names(entity, scope, key, known) != key:
        return True
    try:
        parsed = _parsed(payload)
    except (ValueError, RecursionError):
        return known.names(payload)
    return any(known.has(text) for text in _names_in(parsed, entity in _PEOPLE))


def key_without_names(entity: str, scope: str, key: str, known: Known) -> str:
    """The key of a record of the App API with pseudonyms. Of a segment's member the segment is before it."""
    if entity not in _PEOPLE:
        return key
    own = key.removeprefix(f"{scope}/")
    before = key[: len(key) - len(own)]
    kind, colon, name = own.partition(":")
    # an id with a space is no word
    if colon and known.has(name):
        return f"{before}{kind}:{known.pseudonym(name)}"
    return before + (known.pseudonym(own) if known.has(own) else known.without_names(own))


def _names_in(value: Any, is_person: bool, key: str = "") -> Iterable[str]:
    """What in a JSON value may name a person. `is_person`: so does the `id` of the object itself."""
    if isinstance(value, dict):
        inside = "customer_id" if key in _IDENTIFIERS else ""
        for name, member in value.items():
            own = "customer_id" if is_person and name == "id" else name
            if not _NUMBER.fullmatch(name):
                yield name
            yield from _names_in(member, False, inside or own)
    elif isinstance(value, list):
        for item in value:
            yield from _names_in(item, False, key)
    elif value is not None and not isinstance(value, bool):
        text = _text(value)
        # the number of a campaign, or of anything else, may be the id of a person
        if key in _PERSONAL or not _NUMBER.fullmatch(text):
            yield text


Treatment = Callable[[str, Known], str | None]


def _pseudonym(value: str, known: Known) -> str:
    return known.pseudonym(value) if value else value


def _pseudonym_in_call(value: str, known: Known) -> str:
    """As in a source call, where Customer.io's own id has a prefix, and without it the one of other feeds."""
    bare = value.removeprefix(CIO)
    return CIO + known.pseudonym(bare) if bare and bare != value else _pseudonym(value, known)


def _gone(value: str, known: Known) -> str:
    return GONE if value else value


def _link(value: str, known: Known) -> str:
    return known.without_names(value)


def _nothing(value: str, known: Known) -> str:
    return "{}"


def _unknown(value: str, known: Known) -> None:
    """Null, for an unsalted hash of the row: a guessed identifier could be checked against it."""


@dataclass(frozen=True)
class Personal:
    """What of a landing table is about a person.

    `ids` are columns, or members of its JSON as `column.path`, by which a row is the person's. `addresses`
    decide where a row has none of them. `visitors` are ids of somebody whom nobody knows: without `ids` a row
    is the person's by them too, and with them alone by its addresses. `through`: rows belong to whom other
    tables of the sync say, each by a column here and its key there. `treatments`: what becomes of each
    column. `removed`: columns of the table of removed keys that name a person.
    """

    ids: tuple[str, ...]
    treatments: dict[str, Treatment]
    addresses: tuple[str, ...] = ()
    visitors: tuple[str, ...] = ()
    through: tuple[tuple[str, str, str], ...] = ()
    removed: tuple[str, ...] = ()


_CALL = Personal(("user_id",), {"user_id": _pseudonym, "attrs": _nothing})
_OF_SYNC: dict[str, Treatment] = {"other": scrubbed_json, "content_hash": _unknown}
_OF_DELIVERY = ("delivery_id", "customerio_deliveries", "delivery_id")
_OF_PERSON: dict[str, Treatment] = {"internal_customer_id": _pseudonym, **_OF_SYNC}

PERSONAL: dict[str, Personal] = {
    "justai_calls": _CALL,
    "justai_sends": _CALL,
    "pipeline_calls": Personal(
        ("user_id", "previous_id"),
        {
            **dict.fromkeys(("user_id", "previous_id"), _pseudonym_in_call),
            "anonymous_id": _pseudonym,
            "name": _gone,
            **dict.fromkeys(("properties", "traits", "context"), _nothing),
            # which destinations get the call, with options that may name the person
            "integrations": scrubbed_json,
        },
        addresses=("traits.email", "properties.email", "context.traits.email"),
        visitors=("anonymous_id",),
    ),
    "customerio_events": Personal(
        ("user_id", "data.customer_id", "data.identifiers.cio_id"),
        {"user_id": _pseudonym, "href": _link, "data": scrubbed_json},
        addresses=("data.identifiers.email", "data.email_address", "data.recipient"),
        removed=("user_id",),
    ),
    "customerio_people": Personal(
        ("customer_id", "internal_customer_id"),
        {**_OF_PERSON, "customer_id": _pseudonym, "email_addr": _pseudonym},
        addresses=("email_addr",),
        removed=("customer_id", "internal_customer_id"),
    ),
    "customerio_deliveries": Personal(
        ("internal_customer_id",), _OF_PERSON, removed=("internal_customer_id",)
    ),
    "customerio_subjects": Personal(("internal_customer_id",), _OF_PERSON, removed=("internal_customer_id",)),
    "customerio_attributes": Personal(
        ("internal_customer_id",),
        {**_OF_PERSON, "attribute_value": _gone},
        removed=("internal_customer_id",),
    ),
    "customerio_metrics": Personal(
        (),
        {"reason": _gone, "link_url": _link, "user_agent": _gone, **_OF_SYNC},
        through=(_OF_DELIVERY,),
    ),
    "customerio_outputs": Personal(
        (),
        {"explanation": _gone, **_OF_SYNC},
        through=(
            _OF_DELIVERY,
            ("subject_name", "customerio_deliveries", "subject_id"),
            # a journey may have no message
            ("subject_name", "customerio_subjects", "subject_name"),
        ),
    ),
    "customerio_delivery_content": Personal(
        (),
        {
            **dict.fromkeys(("recipient", "bcc"), _pseudonym),
            **dict.fromkeys(("subject", "body", "body_amp", "body_plain", "preheader", "headers"), _gone),
            "url": _link,
            **_OF_SYNC,
        },
        addresses=("recipient",),
        through=(_OF_DELIVERY,),
    ),
}
"""The landing tables with rows about people. Variants, campaigns and broadcasts have none."""
