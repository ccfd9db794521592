"""The rows of a person, counted and given pseudonyms."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from scripts.console import progress
from scripts.land.api import Warehouse, place_of, reject_key
from scripts.land.datasets import DATASETS
from scripts.land.engine import Stamp, new_stamp
from scripts.land.forgetting import Place, read_known, rewrite, rewrite_rejects, rewrite_removed, theirs
from scripts.land.forgotten import (
    GONE,
    PERSONAL,
    TABLE,
    Known,
    key_without_names,
    names_record,
    scrubbed_json,
)
from scripts.land.rules import Dataset
from scripts.land.tables import API, removed_keys


@dataclass(frozen=True)
class Count:
    """Rows of a person in a landing table and in its rejects."""

    table: str
    rows: int
    rejects: int


@dataclass(frozen=True)
class _Search:
    """What is looked at for these hashes: rough conditions on records of the API, and on rejected lines."""

    known: Known
    records: str
    rejects: str
    parameters: tuple[str, ...]


def known_of(place: Place, identifiers: set[str]) -> Known:
    """The hashes of a person's identifiers, by the salt of the warehouse, or by a new one."""
    there = read_known(place)
    salt = there.salt if there else token_hex(16)
    known = Known(salt, frozenset())
    return Known(salt, frozenset(known.hash_of(identifier) for identifier in identifiers))


def count(place: Place, known: Known, identifiers: set[str]) -> list[Count]:
    """Count the rows of a person in each landing table that has some."""
    found, search = [], _by_names(known, identifiers)
    for dataset in DATASETS:
        rows = 0
        if dataset.name in PERSONAL:
            behind, parameters = theirs(place, dataset.name, known, of_pseudonyms=False)
            rows = int(place.run(f"select count(*) from {behind}", parameters)[0][0])
        rejects = sum(known.names(raw) for (raw,) in _rejects(place, dataset.name, "raw", search))
        found.append(Count(dataset.name, rows, rejects))
    rejects = sum(known.names(raw) for (raw,) in _rejects(place, API, "raw", search))
    found.append(Count(API, len(list(_api_rows(place, search))), rejects))
    return [each for each in found if each.rows or each.rejects]


def forget_rows(warehouse: Warehouse, known: Known, identifiers: set[str]) -> None:
    """Remember the hashes, then give all rows pseudonyms, each landing table in a transaction of its own.

    The hashes come first, so that whatever lands meanwhile gets its pseudonyms by itself. Then comes what is
    found by the identifiers alone, while the rows that say which ones are this person's are as they were; the
    rest is found by the hashes. So a run that was killed is completed by running it again, although it finds
    fewer identifiers then. Where a file that said them was replaced meanwhile, it may lack some that the
    killed run knew: then it looks into everything by their hashes.
    """
    place = place_of(warehouse)
    datasets = [dataset for dataset in DATASETS if dataset.name in PERSONAL]
    with progress("forgetting", len(DATASETS) + len(datasets) + 3) as advance:
        remember(warehouse, known)
        begun = _begun(place)
        everybody = read_known(place) or known
        search = _by_names(known, identifiers) if begun <= set(known.hashes) else _by_hashes(everybody)
        advance(1)
        for dataset in DATASETS:
            stamp = new_stamp()
            with warehouse.transaction(stamp, dataset.name):
                rewrite_rejects(place, dataset.name, search.known, search.rejects, search.parameters)
            advance(1)
        with warehouse.transaction(new_stamp()):
            _forget_in_api(place, search)
        advance(1)
        everybody = read_known(place) or known
        for dataset in datasets:
            _forget_in(warehouse, place, dataset, everybody)
            advance(1)
        _complete(warehouse, begun)
        advance(1)


def remember(warehouse: Warehouse, known: Known) -> None:
    """Remember the hashes, by which whatever comes from now on gets pseudonyms.

    They have no time until the run that remembered them, or a later one, has come to its end.
    """
    place = place_of(warehouse)
    there = read_known(place)
    new = sorted(set(known.hashes) - set(there.hashes if there else ()))
    with warehouse.transaction(new_stamp()):
        for identifier_hash in new:
            place.run(
                f"insert into {place.schema}.{TABLE} (identifier_hash, salt) select %s, %s",
                (identifier_hash, known.salt),
            )


def _begun(place: Place) -> set[str]:
    """The hashes of this run, and of others that did not come to their end."""
    query = f"select identifier_hash from {place.schema}.{TABLE} where forgotten_at is null"
    return {identifier_hash for (identifier_hash,) in place.run(query, ())}


def _complete(warehouse: Warehouse, begun: set[str]) -> None:
    stamp, place = new_stamp(), place_of(warehouse)
    moment = stamp.landed_at.isoformat(sep=" ")
    with warehouse.transaction(stamp):
        for identifier_hash in sorted(begun):
            place.run(
                f"update {place.schema}.{TABLE} set forgotten_at = cast(%s as {warehouse.timestamp}) "
                "where identifier_hash = %s and forgotten_at is null",
                (moment, identifier_hash),
            )


def _forget_in(warehouse: Warehouse, place: Place, dataset: Dataset, known: Known) -> None:
    stamp = new_stamp()
    with warehouse.transaction(stamp, dataset.name):
        if rewrite(place, dataset.name, known, stamp):
            _note(place, dataset, stamp)
        rewrite_removed(place, dataset.name, known)


def _note(place: Place, dataset: Dataset, stamp: Stamp) -> None:
    """Note the keys of the changed rows as removed: models that know people only by key read them too."""
    place.run(
        f"insert into {place.schema}.{dataset.name}_removed (batch_id, {', '.join(dataset.removed())}) "
        f"select distinct %s, {removed_keys(dataset, place.schema)} where landed._batch_id = %s",
        (stamp.batch_id, stamp.batch_id),
    )


def _forget_in_api(place: Place, search: _Search) -> None:
    table = f"{place.schema}.{API}"
    payload = "%s" if place.is_snowflake else "cast(%s as json)"
    known = search.known
    for entity, scope, key, text in list(_api_rows(place, search)):
        place.run(
            f"update {table} set key = %s, payload = {payload} where entity = %s and key = %s",
            (key_without_names(entity, scope, key, known), scrubbed_json(text, known), entity, key),
        )
    for key, raw, scope in _rejects(place, API, "key, raw, _scope", search):
        if known.names(raw):
            pseudonym = known.pseudonym(raw)
            place.run(
                f"update {table}_rejects set raw = %s, key = %s where key = %s",
                (pseudonym, reject_key(scope, pseudonym), key),
            )


def _api_rows(place: Place, search: _Search) -> Iterator[tuple[str, str, str, str]]:
    """Entity, scope, key and payload of the API's records that name the person."""
    query = (
        f"select entity, _scope, key, cast(payload as varchar) from {place.schema}.{API} "
        f"where {search.records}"
    )
    for entity, scope, key, payload in place.run(query, search.parameters):
        if names_record(entity, scope, key, payload, search.known):
            yield entity, scope, key, payload


def _rejects(place: Place, table: str, columns: str, search: _Search) -> list[Any]:
    query = f"select {columns} from {place.schema}.{table}_rejects where {search.rejects}"
    return place.run(f"{query} and raw != '{GONE}'", search.parameters)


def _by_names(known: Known, identifiers: set[str]) -> _Search:
    """What may name the person: a rejected line may write an identifier as \\u00fc or %C3%BC too."""
    otherwise = "contains(raw, chr(92)) or contains(raw, chr(37))"
    return _Search(
        known,
        records=_contains("key || ' ' || cast(payload as varchar)", identifiers),
        rejects=f"({_contains('raw', identifiers)} or {otherwise})",
        parameters=_spellings(identifiers),
    )


def _by_hashes(known: Known) -> _Search:
    """All of them, because nobody says any more which identifiers the hashes are of."""
    return _Search(known, records="true", rejects="true", parameters=())


def _contains(text: str, identifiers: set[str]) -> str:
    """A rough condition on `_spellings`; whether it names the person is then looked at word by word."""
    return f"({' or '.join([f'contains(lower({text}), lower(%s))'] * len(_spellings(identifiers)))})"


def _spellings(identifiers: set[str]) -> tuple[str, ...]:
    """Identifiers as they are, as JSON writes them, and with a plus for each space, as links do."""
    as_json = {json.dumps(identifier, ensure_ascii=False)[1:-1] for identifier in identifiers}
    in_links = {identifier.replace(" ", "+") for identifier in identifiers}
    return tuple(sorted(identifiers | as_json | in_links))
