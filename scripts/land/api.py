"""Landing what an API returned: records by key, with rejects, ledger and state, in one transaction each.

Both engines run the statements here; they differ in how rows come to the warehouse and in what begins and
ends a transaction.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import md5
from typing import Any, Protocol

import pyarrow as pa

from scripts.land.engine import Stamp, new_stamp
from scripts.land.forgetting import Place, read_known
from scripts.land.forgotten import Known, key_without_names, names_record, scrubbed_json
from scripts.land.tables import API

_AT_ONCE = 1_000


@dataclass(frozen=True)
class Record:
    """A record of an entity, by its key.

    `scope` is what it belongs to, such as its campaign or its type. `moment`: when it was made, unix seconds.
    `version`: of two payloads the one with the greater version counts.
    """

    entity: str
    key: str
    scope: str
    payload: str
    extracted_at: datetime
    moment: int | None = None
    version: int | None = None


@dataclass(frozen=True)
class Reject:
    """An item of the API that is no record, as JSON text, with the reason."""

    entity: str
    scope: str
    raw: str
    reason: str


@dataclass(frozen=True)
class Extent:
    """What a reading covered, so that rows which it did not find are gone.

    A scope of None stands for all. `first`, `last`: seconds between which the records were made, both
    included.
    """

    scope: str | None = None
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Part:
    """One transaction of one entity.

    `covered` is what has been read to its end with this part. `scopes`: all scopes that are there, None if
    that is not known; rows of others are gone. `tracked`: keep the keys until then, to know what is gone.
    `position`: a scope and the second up to which it has been read.
    """

    entity: str
    records: Sequence[Record] = ()
    rejects: Sequence[Reject] = ()
    covered: Sequence[Extent] = ()
    scopes: Sequence[str] | None = None
    tracked: bool = False
    position: tuple[str, int] | None = None


@dataclass
class Counts:
    """Rows of an entity that a run wrote and removed."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0


class Warehouse(Protocol):
    """A warehouse with the tables of API.

    `work`: the schema of temporary tables. `timestamp`: the engine's type without a time zone.
    """

    schema: str
    work: str
    timestamp: str

    def run(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Run a statement with `%s` for parameters, and return its rows."""

    def load(self, table: str, rows: pa.Table) -> None:
        """Make a temporary table of these rows."""

    def transaction(self, stamp: Stamp, dataset: str = API) -> AbstractContextManager[None]:
        """One transaction, after those of other extracts or landings of the dataset; it is a batch."""


_INCOMING = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "scope", "payload")),
        ("extracted_at", pa.string()),
        *((name, pa.int64()) for name in ("moment", "version")),
    ]
)
_REJECTED = pa.schema([(name, pa.string()) for name in ("key", "scope", "raw", "reason")])
_SEEN = pa.schema([("key", pa.string())])


def land(warehouse: Warehouse, part: Part, counts: Counts) -> None:
    """Land a part; `counts` grows by what it changed.

    Of records with one key the last one of the greatest version counts. A payload that is there already is
    not written again.
    """
    while True:
        with suppress(_ForgottenMeanwhile):
            return _land(warehouse, part, counts)


class _ForgottenMeanwhile(Exception):
    """Somebody was forgotten after the records got their pseudonyms, so these lack some."""


def _land(warehouse: Warehouse, part: Part, counts: Counts) -> None:
    latest = _latest(part.records)
    if not (latest or part.rejects or part.covered or part.scopes is not None or part.position):
        return
    if known := read_known(place_of(warehouse)):
        latest, part = _forgotten(latest, known), replace(part, rejects=_forgotten_rejects(part, known))
    stamp, work = new_stamp(), warehouse.work
    if latest:
        warehouse.load("api_incoming", _incoming(latest))
        if part.tracked:
            warehouse.run(f"insert into {work}.api_seen (key) select key from {work}.api_incoming")
    if part.rejects:
        warehouse.load("api_rejected", _rejected(part.rejects))
    with warehouse.transaction(stamp):
        # forgetting changes these tables in a transaction that comes before this one or after it
        if read_known(place_of(warehouse)) != known:
            raise _ForgottenMeanwhile
        new, changed = _merge(warehouse, part.entity, len(latest), stamp) if latest else (0, 0)
        removed = _remove(warehouse, part)
        rejected = _reject(warehouse, part, stamp) if part.rejects else 0
        if part.position:
            _advance(warehouse, part.entity, part.position, stamp)
        if new or changed or removed or rejected:
            _note(warehouse, part.entity, stamp)
    # a window ends alone, a scope perhaps while the next one has begun
    if part.tracked and any(extent.first is not None for extent in part.covered):
        warehouse.run(f"delete from {work}.api_seen")
    counts.new += new
    counts.changed += changed
    counts.removed += removed
    counts.rejected += rejected


def place_of(warehouse: Warehouse) -> Place:
    """The landing tables of a warehouse, for pseudonyms."""
    return Place(warehouse.run, warehouse.schema, is_snowflake=warehouse.timestamp == "timestamp_ntz")


def _forgotten(records: list[Record], known: Known) -> list[Record]:
    """Records with pseudonyms for forgotten people."""
    return [
        replace(
            item,
            key=key_without_names(item.entity, item.scope, item.key, known),
            payload=scrubbed_json(item.payload, known),
        )
        if names_record(item.entity, item.scope, item.key, item.payload, known)
        else item
        for item in records
    ]


def _forgotten_rejects(part: Part, known: Known) -> list[Reject]:
    return [
        replace(item, raw=known.pseudonym(item.raw)) if known.names(item.raw) else item
        for item in part.rejects
    ]


def _merge(warehouse: Warehouse, entity: str, count: int, stamp: Stamp) -> tuple[int, int]:
    """Write the rows of `api_incoming` that are new or have changed; return how many of each."""
    table, incoming, moment = (
        f"{warehouse.schema}.{API}",
        f"{warehouse.work}.api_incoming",
        warehouse.timestamp,
    )
    known = _count(
        warehouse.run(
            f"delete from {incoming} as incoming using {table} as there "
            "where there.entity = %s and there.key = incoming.key and (there._version > incoming.version or "
            "(there._scope = incoming.scope and cast(there.payload as varchar) = incoming.payload))",
            (entity,),
        )
    )
    if known == count:
        return 0, 0
    changed = _count(
        warehouse.run(
            f"delete from {table} as there using {incoming} as incoming "
            "where there.entity = %s and there.key = incoming.key",
            (entity,),
        )
    )
    warehouse.run(
        f"insert into {table} (entity, key, payload, extracted_at, _scope, _moment, _version, _loaded_at, "
        f"_batch_id) select %s, key, payload, cast(extracted_at as {moment}), scope, moment, version, "
        f"cast(%s as {moment}), %s from {incoming}",
        (entity, stamp.landed_at.isoformat(sep=" "), stamp.batch_id),
    )
    return count - known - changed, changed


def _remove(warehouse: Warehouse, part: Part) -> int:
    """Delete the rows that the reading did not find; return how many."""
    delete = f"delete from {warehouse.schema}.{API} where entity = %s and "
    return sum(
        _count(warehouse.run(delete + condition, (part.entity, *given)))
        for condition, given in _gone(warehouse.work, part)
    )


def _latest(records: Iterable[Record]) -> list[Record]:
    latest: dict[str, Record] = {}
    for record in records:
        other = latest.get(record.key)
        if other is None or (record.version or 0) >= (other.version or 0):
            latest[record.key] = record
    return list(latest.values())


def _incoming(records: list[Record]) -> pa.Table:
    return pa.Table.from_pydict(
        {
            "key": [record.key for record in records],
            "scope": [record.scope for record in records],
            "payload": [record.payload for record in records],
            "extracted_at": [record.extracted_at.isoformat(sep=" ") for record in records],
            "moment": [record.moment for record in records],
            "version": [record.version for record in records],
        },
        _INCOMING,
    )


def _rejected(rejects: Sequence[Reject]) -> pa.Table:
    # an item that is read again is the same reject
    keyed = {reject_key(item.scope, item.raw): item for item in rejects}
    return pa.Table.from_pydict(
        {
            "key": list(keyed),
            "scope": [item.scope for item in keyed.values()],
            "raw": [item.raw for item in keyed.values()],
            "reason": [item.reason for item in keyed.values()],
        },
        _REJECTED,
    )


def reject_key(scope: str, raw: str) -> str:
    """The key of a reject."""
    return md5(f"{scope}\n{raw}".encode()).hexdigest()


def _gone(work: str, part: Part) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions, with their parameters, for the rows that the reading did not find."""
    unseen = f"key not in (select key from {work}.api_seen)"
    scopes = [extent.scope for extent in part.covered if extent.scope is not None and extent.first is None]
    for some in _pieces(scopes):
        yield f"_scope in ({', '.join(['%s'] * len(some))}) and {unseen}", tuple(some)
    for extent in part.covered:
        if extent.scope is not None and extent.first is None:
            continue
        between = "" if extent.first is None else "_moment between %s and %s and "
        bounds = () if extent.first is None else (extent.first, extent.last)
        of_scope = "" if extent.scope is None else "_scope = %s and "
        scope = () if extent.scope is None else (extent.scope,)
        yield between + of_scope + unseen, (*bounds, *scope)
    if part.scopes is not None:
        # one JSON text: a list of thousands of campaigns is too long for parameters of their own
        there = json.dumps(sorted(part.scopes))
        yield "not contains(%s, '\"' || _scope || '\"')", (there,)


def _pieces(listed: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(listed), _AT_ONCE):
        yield listed[start : start + _AT_ONCE]


def _reject(warehouse: Warehouse, part: Part, stamp: Stamp) -> int:
    """Write the rejects that are not there; return how many."""
    table = f"{warehouse.schema}.{API}_rejects"
    return _count(
        warehouse.run(
            f"insert into {table} (entity, key, raw, reason, _scope, _loaded_at) "
            f"select %s, key, raw, reason, scope, cast(%s as {warehouse.timestamp}) "
            f"from {warehouse.work}.api_rejected "
            f"where key not in (select key from {table} where entity = %s)",
            (part.entity, stamp.landed_at.isoformat(sep=" "), part.entity),
        )
    )


def _advance(warehouse: Warehouse, entity: str, position: tuple[str, int], stamp: Stamp) -> None:
    """Move a position forward, never back: another extract may have come further meanwhile."""
    table, (scope, second) = f"{warehouse.schema}.{API}_state", position
    ((there,),) = warehouse.run(
        f"select max(position) from {table} where entity = %s and scope = %s", (entity, scope)
    )
    warehouse.run(f"delete from {table} where entity = %s and scope = %s", (entity, scope))
    warehouse.run(
        f"insert into {table} (entity, scope, position, batch_id) select %s, %s, %s, %s",
        (entity, scope, max(second, second if there is None else int(there)), stamp.batch_id),
    )


def _note(warehouse: Warehouse, entity: str, stamp: Stamp) -> None:
    """Give the entity its row in the ledger: as many rows as there are."""
    files, file = f"{warehouse.schema}.landed_files", f"{API}:{entity}"
    counts = [
        int(
            warehouse.run(f"select count(*) from {warehouse.schema}.{table} where entity = %s", (entity,))[0][
                0
            ]
        )
        for table in (API, f"{API}_rejects")
    ]
    warehouse.run(f"delete from {files} where dataset = %s and file = %s", (API, file))
    warehouse.run(
        f"insert into {files} (dataset, file, row_count, reject_count, loaded_at, batch_id) "
        f"select %s, %s, %s, %s, cast(%s as {warehouse.timestamp}), %s",
        (API, file, *counts, stamp.landed_at.isoformat(sep=" "), stamp.batch_id),
    )


def _count(rows: list[Any]) -> int:
    return int(rows[0][0]) if rows else 0


def begin(warehouse: Warehouse) -> None:
    """Begin to read an entity."""
    warehouse.load("api_seen", pa.Table.from_pylist([], _SEEN))


def positions(warehouse: Warehouse, entity: str) -> dict[str, int]:
    """The second up to which each scope of an entity has been read."""
    query = f"select scope, position from {warehouse.schema}.{API}_state where entity = %s"
    return {scope: int(position) for scope, position in warehouse.run(query, (entity,))}


def reset(warehouse: Warehouse, entities: Sequence[str]) -> int:
    """Forget how far entities have been read; return how many positions that were. Rows stay."""
    return sum(
        _count(warehouse.run(f"delete from {warehouse.schema}.{API}_state where entity = %s", (entity,)))
        for entity in entities
    )
