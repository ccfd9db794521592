"""Who is to be forgotten: all identifiers of a person, from what has landed."""

import re
from dataclasses import dataclass, field
from typing import Any

from scripts.console import listed
from scripts.errors import UserError
from scripts.land.forgetting import Place, compared
from scripts.land.forgotten import CIO, PREFIX, PSEUDONYMS, plain
from scripts.land.tables import API


@dataclass
class Person:
    """Identifiers of one person. `shared`: addresses that another person used too."""

    customer_ids: set[str] = field(default_factory=set)
    cio_ids: set[str] = field(default_factory=set)
    emails: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)

    @property
    def identifiers(self) -> set[str]:
        """All that is forgotten; a source call writes cio_ before a cio_id."""
        cio_ids = _spelled(self.cio_ids)
        written = {f"{CIO}{cio_id}" for cio_id in cio_ids}
        return _spelled(self.customer_ids) | cio_ids | written | self.emails


_SOURCE_CALLS = "pipeline_calls"
_WHOLE = re.compile(r"(-?[0-9]+)([.]0+)?")
Triple = tuple[str | None, str | None, str | None]


def find(place: Place, customer_id: str | None, email: str | None) -> Person:
    """Find all identifiers of the person with an id or an address.

    Ids and cio_ids that came together are one person's, so are those that an alias call merges, and so are
    the addresses that came with them, but for those that came with other ids too.

    Raises:
        UserError: several people used the address.
    """
    person = Person()
    if customer_id:
        # an id that is an address is no less an id
        is_id = not customer_id.startswith(CIO)
        _add(person, (customer_id, None, None) if is_id else _triple_of(customer_id))
    if email:
        address = plain(email)
        owners = sorted(
            {triple[:2] for triple in _triples(place, emails={address}) if any(triple[:2])}, key=str
        )
        person.emails.add(address)
        if owners:
            _add(person, (*owners[0], address))
            _expand(place, person)
            others = [owner for owner in owners if not _is_of(person, owner)]
            if others:
                ids = listed([str(owner[0] or owner[1]) for owner in owners])
                raise UserError(
                    f"several people used {address}: {ids}. Name the one to forget with --customer-id"
                )
    _expand(place, person)
    for triple in _triples(place, emails=person.emails) if person.emails else []:
        if any(triple[:2]) and not _is_of(person, triple[:2]):
            person.shared.add(str(triple[2]))
    person.emails -= person.shared
    return person


def _expand(place: Place, person: Person) -> None:
    """Add what came with the person's ids, until nothing is new."""
    before = -1
    while len(person.identifiers) > before:
        before = len(person.identifiers)
        for triple in _triples(place, person.customer_ids, person.cio_ids):
            _add(person, triple)
        for name in _merged(place, person.identifiers):
            _add(person, _triple_of(name))


def _spelled(names: set[str]) -> set[str]:
    """Names, and each number also as a float, which it is in JSON where it was one in the sender's table."""
    numbers = {found[1] for name in names if (found := _WHOLE.fullmatch(name))}
    return names | numbers | {f"{number}.0" for number in numbers}


def _add(person: Person, triple: Triple) -> None:
    for values, value in zip((person.customer_ids, person.cio_ids, person.emails), triple, strict=True):
        if value:
            values.add(value)


def _merged(place: Place, identifiers: set[str]) -> set[str]:
    """What alias calls name beside one of these, as they write it."""
    if not identifiers:
        return set()
    listed_ids = ", ".join(["%s"] * len(identifiers))
    texts = [compared(column) for column in ("user_id", "previous_id")]
    query = (
        f"select distinct user_id, previous_id from {place.schema}.{_SOURCE_CALLS} "
        f"where type = 'alias' and ({' or '.join(f'{text} in ({listed_ids})' for text in texts)})"
    )
    wanted = [plain(name) for name in sorted(identifiers)]
    rows = place.run(query, (*wanted, *wanted))
    return {name for row in rows for name in row if name and not name.startswith(PSEUDONYMS)}


def _triple_of(name: str) -> Triple:
    """An identifier of a source call: a cio_id behind cio_, an address, or an id."""
    if name.startswith(CIO) and len(name) > len(CIO):
        return None, name.removeprefix(CIO), None
    return (None, None, plain(name)) if "@" in name else (name, None, None)


def _is_of(person: Person, ids: tuple[str | None, str | None]) -> bool:
    """Whether an id or a cio_id is the person's; an id that is an address is the same in capitals."""
    same = ids[0] is not None and plain(ids[0]) in {plain(name) for name in person.customer_ids}
    return same or ids[1] in person.cio_ids


def _triples(
    place: Place,
    customer_ids: set[str] | None = None,
    cio_ids: set[str] | None = None,
    emails: set[str] | None = None,
) -> list[Triple]:
    """The combinations of id, cio_id and address that landed with one of these."""
    conditions, parameters = [], []
    for column, values in (("customer_id", customer_ids), ("cio_id", cio_ids), ("email", emails)):
        if values:
            spelled = sorted(_spelled(values))
            conditions.append(f"{compared(column)} in ({', '.join(['%s'] * len(spelled))})")
            parameters += [plain(value) for value in spelled]
    if not conditions:
        return []
    wanted = " or ".join(conditions)
    found: set[Triple] = set()
    for table, ids in _sources(place).items():
        query = (
            "select distinct customer_id, cio_id, email "
            f"from (select {ids} from {place.schema}.{table}) as named where {wanted}"
        )
        found |= {_known_of(row) for row in place.run(query, tuple(parameters))}
    return sorted(found, key=str)


def _known_of(row: Any) -> Triple:
    customer_id, cio_id, email = (
        None if not value or value.startswith(PREFIX) else str(value) for value in row
    )
    return customer_id, cio_id, email


def _sources(place: Place) -> dict[str, str]:
    """What of each table says who is who."""

    def named(*columns: str) -> str:
        customer_id, cio_id, email = columns
        address = f"nullif(lower(trim({email}, ' ')), '')"
        # an id of spaces names nobody
        ids = (f"case when trim({column}, ' ') != '' then {column} end" for column in (customer_id, cio_id))
        return "{} as customer_id, {} as cio_id, {} as email".format(*ids, address)

    member = place.member
    recipient = member("data.recipient")
    of_event = (
        f"coalesce({member('data.identifiers.email')}, {member('data.email_address')}, "
        f"case when object_type = 'email' then {recipient} end)"
    )
    is_cio = f"left(user_id, {len(CIO)}) = '{CIO}' and length(user_id) > {len(CIO)}"
    # only what identifies somebody says whose an address is
    of_identify = (
        f"case when type = 'identify' and not ({is_cio}) and not contains(user_id, '@') then user_id end",
        f"case when type = 'identify' and {is_cio} then substr(user_id, {len(CIO) + 1}) end",
        f"case when type = 'identify' then coalesce({member('traits.email')}, "
        "case when contains(user_id, '@') then user_id end) end",
    )
    of_customer = ("payload.id", "payload.cio_id", "payload.email")
    return {
        "customerio_events": named("user_id", member("data.identifiers.cio_id"), of_event),
        "customerio_people": named("customer_id", "internal_customer_id", "email_addr"),
        _SOURCE_CALLS: named(*of_identify),
        API: named(*(f"case when entity = 'customers' then {member(name)} end" for name in of_customer)),
    }
