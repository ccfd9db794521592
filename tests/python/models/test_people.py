"""Profiles are what a reader of the landed lines counts with dictionaries, person by person."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from support.project import PROJECT, Built

Key = tuple[str, str]


@dataclass(frozen=True)
class Event:
    """An event about a message, with the identifiers that its line has."""

    at: int
    name: str
    data: dict[str, Any]
    is_machine: bool
    copy_id: str | None
    user_id: str | None

    @property
    def ids(self) -> list[Key]:
        pairs = (("customer_id", self.user_id), ("cio_id", self.data.get("identifiers", {}).get("cio_id")))
        return [(kind, value) for kind, value in pairs if value]

    @property
    def email(self) -> str | None:
        recipient = self.data.get("recipient") if self.name.startswith("email_") else None
        found = (self.data.get("identifiers", {}).get("email"), self.data.get("email_address"), recipient)
        return next((value.strip().lower() for value in found if value), None)


def events_of(warehouse: duckdb.DuckDBPyConnection) -> list[Event]:
    """The events that count, each with its latest line."""
    rows = warehouse.execute(
        """
        select
            epoch(events.event_at)::bigint, events.channel || '_' || events.metric, lines.data,
            events.is_machine,
            case when events.counts_as = 'sent' and events.is_first then events.copy_id end, lines.user_id
        from marts.fct_engagement_events as events
        inner join staging.customerio_events as lines
            on events.event_id = lines.event_id and epoch(events.event_at)::bigint = lines.timestamp
        left join intermediate.int_repeated_events as repeated
            on lines._file = repeated.source_file and lines._line = repeated.source_line
        where coalesce(repeated.is_latest, true)
        """
    ).fetchall()
    return [Event(at, name, json.loads(data), *rest) for at, name, data, *rest in rows]


def people_of(events: list[Event]) -> dict[Key, set[Key]]:
    """Of each id and cio_id the set that it is linked to."""
    groups: dict[Key, set[Key]] = {}
    for event in events:
        joined = set(event.ids).union(*(groups.get(key, set()) for key in event.ids))
        for key in joined:
            groups[key] = joined
    return groups


def owned(events: list[Event]) -> Iterator[tuple[Key, Event]]:
    """Events with the smallest identifier of their person; by address, that of whom it came with last."""
    groups = people_of(events)
    owners: dict[str, tuple[int, Key]] = {}
    for event in events:
        if event.ids and event.email:
            mine = (event.at, min(groups[event.ids[0]]))
            there = owners.get(event.email)
            if there is None or mine[0] > there[0] or (mine[0] == there[0] and mine[1] < there[1]):
                owners[event.email] = mine
    for event in events:
        if event.ids:
            yield min(groups[event.ids[0]]), event
        elif event.email:
            yield owners.get(event.email, (0, ("email", event.email)))[1], event


def in_utc(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


@pytest.fixture(scope="module")
def profiles(built: Built) -> Iterator[tuple[list[Event], dict[str, dict[str, Any]]]]:
    """The events, and what the mart says of each person, by the md5 of the smallest identifier."""
    with built.connect() as warehouse:
        found = warehouse.execute("select * from marts.customer_engagement_profiles")
        names = [name for name, *_ in found.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        yield events_of(warehouse), {row["person_key"]: row for row in rows}


def key_of(smallest: Key) -> str:
    return duckdb.execute("select md5(?)", [":".join(smallest)]).fetchall()[0][0]


def test_profiles_are_what_the_lines_say(
    profiles: tuple[list[Event], dict[str, dict[str, Any]]],
) -> None:
    events, found = profiles
    of_person: dict[Key, list[Event]] = defaultdict(list)
    for person, event in owned(events):
        of_person[person].append(event)
    assert {key_of(person) for person in of_person} == found.keys()
    assert len(found) > 500
    for person, mine in of_person.items():
        row = found[key_of(person)]
        opens = [event for event in mine if event.name == "email_opened"]
        by_people = [event for event in opens if not event.is_machine]
        active = [event.at for event in mine if event.name.endswith(("_opened", "_clicked"))]
        hours = Counter(f"{datetime.fromtimestamp(event.at, UTC).hour:02}" for event in by_people)
        copies = Counter(event.copy_id for event in mine if event.copy_id)
        assert row["events"] == len(mine)
        assert json.loads(row["cio_events"]) == Counter(event.name for event in mine)
        assert row["cio_email_last_open_ts"] == in_utc(max((event.at for event in opens), default=None))
        last = in_utc(max((event.at for event in by_people), default=None))
        assert row["human_cio_email_last_open_ts"] == last
        assert row["last_active_ts"] == in_utc(max(active, default=None))
        assert json.loads(row["human_cio_email_hourlyopens"] or "{}") == hours
        assert json.loads(row["copies_received"] or "{}") == copies
        subjects = {event.data["subject"] for event in mine if event.data.get("subject")}
        assert set(json.loads(row["cio_subjects"] or "[]")) == subjects
        assert row["first_seen_at"] == in_utc(min(event.at for event in mine))


def test_a_merge_by_an_address_of_somebody_fails_no_build() -> None:
    """Whose an address is, is not for a merge to say: int_person_ids need not follow it."""
    path = PROJECT / "tests/assertions/assert_people_are_linked_to_the_end.sql"
    query = re.sub(r"\{\{ ref\('(\w+)'\) \}\}", r"\1", path.read_text())
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table int_person_identities as
            select * from (
                values
                ('customer_id:a', null::varchar, 'email:x@example.com'),
                ('customer_id:b', 'cio_id:b', null)
            ) as given (customer_identifier, cio_identifier, email_identifier);
            create table int_person_ids as
            select * from (
                values
                ('customer_id:a', 'a'), ('email:x@example.com', 'a'),
                ('customer_id:b', 'b'), ('cio_id:b', 'b')
            ) as given (identifier, person_key);
            create table int_person_links as
            select 'customer_id:b' as identifier_a, 'email:x@example.com' as identifier_b;
            """
        )
        assert connection.execute(query).fetchall() == []
        connection.execute("insert into int_person_links values ('cio_id:b', 'customer_id:a')")
        assert connection.execute(query).fetchall() == [("cio_id:b", "customer_id:a")]
