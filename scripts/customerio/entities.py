"""What the App API has of each entity, as parts to land: lists, children of lists, windows of time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from scripts.console import console, progress
from scripts.customerio.app_api import Api, Gone, Restarted, pages, path_of
from scripts.customerio.people import exported_people
from scripts.customerio.records import Landed, action_ids, person_id, record, text_of
from scripts.customerio.wish import DAY, MESSAGES_DAYS, OVERLAP, Wish, start_of
from scripts.errors import UserError
from scripts.land.api import Counts, Extent, Part, Record, Reject, Warehouse, begin, land, positions

ACTIVITIES_DAYS = 29
"""Customer.io serves activities of 30 days; a day less is surely whole."""
EVERY_TYPE = "*"
DELETED_PEOPLE = "deleted people"
"""Scope of the second up to which a run has read activities of deleted people."""

_LISTS = {
    "campaigns": ("campaigns", "campaigns"),
    "broadcasts": ("broadcasts", "broadcasts"),
    "newsletters": ("newsletters", "newsletters"),
    # the envelope is not the path's name
    "transactional": ("transactional", "messages"),
    "segments": ("segments", "segments"),
    "webhooks": ("reporting_webhooks", "reporting_webhooks"),
}
# parents, path below one of them, envelope
_CHILDREN = {
    "actions": (("campaigns", "broadcasts"), "actions", "actions"),
    "contents": (("newsletters",), "contents", "contents"),
    "segment_members": (("segments",), "membership", "identifiers"),
}
_PAGE = {"messages": 1_000, "segment_members": 30_000, "activities": 100}
_MOST_ROWS, _MOST_BYTES = 50_000, 64 * 2**20
_FIRST_WINDOW, _LONGEST_WINDOW, _SHORTEST_WINDOW = 7 * DAY, 28 * DAY, 3_600
_FULL_PAGES = 20
_READINGS = 3


@dataclass
class Reading:
    """One run over the API. `lists` are the parents that it has read; `advance` is called for each page."""

    api: Api
    wish: Wish
    advance: Callable[[int], None] = lambda _pages: None
    lists: dict[str, list[Any]] = field(default_factory=dict)
    now: int = field(default_factory=lambda: int(time.time()))


def read(reading: Reading, entities: Sequence[str], tables: Warehouse) -> Iterator[tuple[str, Counts, float]]:
    """Read and land entities; yield each with what changed and the seconds that it took.

    Raises:
        UserError: as for parts. What was landed before is there.
    """
    for entity in entities:
        started, counts = perf_counter(), Counts()
        begin(tables)
        with progress(f"reading {entity}, pages", None) as reading.advance:
            for part in parts(reading, entity, positions(tables, entity)):
                land(tables, part, counts)
        yield entity, counts, perf_counter() - started


def parts(reading: Reading, entity: str, positions: dict[str, int]) -> Iterator[Part]:
    """Yield what is to be landed of an entity. `positions`: how far each of its scopes has been read.

    Raises:
        UserError: Customer.io refuses a request, or its answer makes no sense.
    """
    if entity in _LISTS:
        yield from _list(reading, entity)
    elif entity in _CHILDREN:
        yield from _children(reading, entity)
    elif entity == "messages":
        yield from _messages(reading, positions)
    elif entity == "customers":
        yield from _customers(reading)
    else:
        yield from _activities(reading, positions)


@dataclass
class _Buffer:
    """Records that wait for a transaction."""

    entity: str
    tracked: bool
    waiting: list[Landed] = field(default_factory=list)
    covered: list[Extent] = field(default_factory=list)
    size: int = 0

    def add(self, landed: Landed) -> None:
        self.waiting.append(landed)
        self.size += len(landed.payload if isinstance(landed, Record) else landed.raw)

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= _MOST_ROWS or self.size >= _MOST_BYTES

    def part(self, scopes: list[str] | None = None, position: tuple[str, int] | None = None) -> Part:
        waiting, covered = self.waiting, self.covered
        self.waiting, self.covered, self.size = [], [], 0
        return Part(
            self.entity,
            [item for item in waiting if isinstance(item, Record)],
            [item for item in waiting if isinstance(item, Reject)],
            covered,
            scopes,
            self.tracked,
            position,
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _whole_list(reading: Reading, entity: str) -> list[Any]:
    """All items of a list, which a run reads once."""
    if entity not in reading.lists:
        path, member = _LISTS[entity]
        reading.lists[entity] = [item for page in _pages(reading, path_of(path), member) for item in page]
    return reading.lists[entity]


def _pages(
    reading: Reading, path: str, member: str, parameters: dict[str, Any] | None = None
) -> Iterator[list[Any]]:
    """The pages of a list. One that began again is read again: what moved in it may have been missed.

    Pages are handed on as they come; a record that comes twice is landed once.
    """
    for attempt in range(_READINGS):
        try:
            for page in pages(reading.api, path, member, parameters):
                reading.advance(1)
                yield page
            return
        except Restarted:
            if attempt == _READINGS - 1:
                raise UserError(
                    f"{path} began again at its first page {_READINGS} times, so it was not read to its end: "
                    "run the command again"
                ) from None


def _list(reading: Reading, entity: str) -> Iterator[Part]:
    full = reading.wish.full
    buffer = _Buffer(entity, tracked=full)
    for item in _whole_list(reading, entity):
        buffer.add(record(entity, "", text_of(item, "id"), item, _now()))
        if buffer.is_full:
            yield buffer.part()
    if full:
        buffer.covered.append(Extent())
    yield buffer.part()


def _children(reading: Reading, entity: str) -> Iterator[Part]:
    """The children of each parent. A segment's members are always those of now: who left is no member."""
    full = reading.wish.full
    buffer = _Buffer(entity, tracked=full or entity == "segment_members")
    there = []
    for kind, parent in _parents(reading, entity):
        parent_id = text_of(parent, "id")
        if parent_id is None:
            continue
        scope = f"{kind}/{parent_id}"
        if entity == "segment_members" and parent.get("state") != "finished":
            # its members would be some of them, with status 200
            console.print(
                f"segment {parent_id} is {parent.get('state')}: its members stay as they were", soft_wrap=True
            )
            there.append(scope)
            continue
        try:
            for items in _child_pages(reading, entity, kind, parent_id):
                for key, item in _with_keys(entity, items, parent):
                    buffer.add(record(entity, scope, key and f"{scope}/{key}", item, _now()))
                if buffer.is_full:
                    yield buffer.part()
        except Gone:
            console.print(f"{scope} has gone meanwhile", soft_wrap=True)
            continue
        there.append(scope)
        if buffer.tracked:
            buffer.covered.append(Extent(scope))
    yield buffer.part(scopes=there if full else None)


def _parents(reading: Reading, entity: str) -> Iterator[tuple[str, Any]]:
    kinds, _, _ = _CHILDREN[entity]
    for kind in kinds:
        for parent in _whole_list(reading, kind):
            yield kind, parent


def _child_pages(reading: Reading, entity: str, kind: str, parent_id: str) -> Iterator[list[Any]]:
    _, below, member = _CHILDREN[entity]
    limit = {"limit": _PAGE[entity]} if entity in _PAGE else {}
    found = _pages(reading, path_of(kind, parent_id, below), member, limit)
    if entity == "actions":
        # ids are found among all of a campaign's actions
        yield [item for page in found for item in page]
    else:
        yield from found


def _with_keys(entity: str, items: list[Any], parent: Any) -> Iterator[tuple[str | None, Any]]:
    if entity == "actions":
        stubs = parent.get("actions")
        yield from zip(action_ids(items, stubs if isinstance(stubs, list) else []), items, strict=True)
        return
    for item in items:
        yield (person_id(item) if entity == "segment_members" else text_of(item, "id")), item


def _messages(reading: Reading, positions: dict[str, int]) -> Iterator[Part]:
    """Deliveries by windows of their creation: the only time that Customer.io filters by.

    A window is whole when its last page is in, and only then the position moves, because the tokens of pages
    are offsets that mean other rows in the next run.
    """
    wish = reading.wish
    last = reading.now - 1
    if wish.since is not None and wish.since < (earliest := start_of(wish, None, last)):
        console.print(
            f"Customer.io serves the messages of {MESSAGES_DAYS} days: they are read from "
            f"{datetime.fromtimestamp(earliest, UTC):%Y-%m-%d %H:%M} on",
            soft_wrap=True,
        )
    for kind in wish.message_types or (EVERY_TYPE,):
        position = max((positions[scope] for scope in {kind, EVERY_TYPE} if scope in positions), default=None)
        begin = start_of(wish, position, last)
        if position is not None and position > last + OVERLAP:
            console.print(
                "by the position of messages they have been read up to "
                f"{datetime.fromtimestamp(position, UTC):%Y-%m-%d %H:%M}, which is to come: a clock is or "
                "was wrong. `--reset-state messages` forgets it",
                soft_wrap=True,
            )
        first, length = begin, _FIRST_WINDOW
        while first <= last:
            end = min(first + length - 1, last)
            buffer, count = _Buffer("messages", tracked=wish.full), 0
            parameters = {
                "start_ts": first,
                "end_ts": end,
                "limit": _PAGE["messages"],
                "get_tracked_responses": "true",
                **({} if kind == EVERY_TYPE else {"type": kind}),
            }
            for page in _pages(reading, path_of("messages"), "messages", parameters):
                count += 1
                for item in page:
                    buffer.add(
                        record("messages", text_of(item, "type") or "", text_of(item, "id"), item, _now())
                    )
                if buffer.is_full:
                    yield buffer.part()
            if wish.full:
                buffer.covered.append(Extent(None if kind == EVERY_TYPE else kind, first, end))
            # rows between the position and a later start would never be read
            gapless = position is None or begin <= position + 1
            yield buffer.part(position=(kind, end) if gapless else None)
            first = end + 1
            length = _next_length(length, count)


def _next_length(length: int, count: int) -> int:
    """Longer windows where there is little, shorter ones where a killed run would read much again."""
    if count <= 1:
        return min(length * 2, _LONGEST_WINDOW)
    return max(length // 2, _SHORTEST_WINDOW) if count > _FULL_PAGES else length


def _activities(reading: Reading, positions: dict[str, int]) -> Iterator[Part]:
    """All activities of 30 days: there is no filter by time, and their order is not documented."""
    wish = reading.wish
    buffer = _Buffer("activities", tracked=wish.full)
    gone_from = _gone_from(reading, positions)
    for kind in wish.activity_types or (EVERY_TYPE,):
        # whether `deleted` adds those of deleted people or gives them alone is not documented
        for deleted in ("false", "true") if wish.deleted_people else ("false",):
            parameters = {"limit": _PAGE["activities"], "deleted": deleted}
            if kind != EVERY_TYPE:
                parameters["type"] = kind
            for page in _pages(reading, path_of("activities"), "activities", parameters):
                for item in page:
                    buffer.add(
                        record("activities", text_of(item, "type") or "", text_of(item, "id"), item, _now())
                    )
                if buffer.is_full:
                    yield buffer.part(position=_read_of_deleted(wish))
        if wish.full:
            scope = None if kind == EVERY_TYPE else kind
            buffer.covered.append(Extent(scope, gone_from, int(time.time()) + DAY))
            yield buffer.part(position=_read_of_deleted(wish))
    yield buffer.part(position=_read_of_deleted(wish))


def _gone_from(reading: Reading, positions: dict[str, int]) -> int:
    """The second from which on a full load takes activities for gone that it does not find.

    No activity says that its person was deleted, so without these people nothing is taken for gone that an
    earlier run with them may have brought.
    """
    served = reading.now - ACTIVITIES_DAYS * DAY
    brought = positions.get(DELETED_PEOPLE, 0)
    if reading.wish.deleted_people or brought < served:
        return served
    if reading.wish.full:
        console.print(
            "without --deleted-people no activity of before "
            f"{datetime.fromtimestamp(brought, UTC):%Y-%m-%d %H:%M} is taken for gone: a run with it may "
            "have brought it",
            soft_wrap=True,
        )
    return brought + 1


def _read_of_deleted(wish: Wish) -> tuple[str, int] | None:
    return (DELETED_PEOPLE, int(time.time())) if wish.deleted_people else None


def _customers(reading: Reading) -> Iterator[Part]:
    wish = reading.wish
    if wish.full and wish.people_filter:
        console.print("with a filter nobody is taken for gone: it leaves out people who are there")
    buffer = _Buffer("customers", tracked=wish.full)
    for person in exported_people(reading.api, wish.people_filter, wish.attributes):
        buffer.add(record("customers", "", person_id(person), person, _now()))
        if buffer.is_full:
            reading.advance(1)
            yield buffer.part()
    # whom a filter leaves out may be there
    if wish.full and not wish.people_filter:
        buffer.covered.append(Extent())
    yield buffer.part()
