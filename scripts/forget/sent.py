"""What the ledger of `copymart send` and `activate` has of a person."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from scripts.customerio.outbound.ledger import MEMBERS, REQUESTS, Row, Warehouse
from scripts.forget.rows import Count
from scripts.land.forgotten import GONE, Known, plain

_GIVEN = {"old_name": "varchar", "new_name": "varchar"}
# a guessed identifier could be checked against an unsalted hash
_EMPTIED = f"content_hash = '{GONE}', reason = case when reason is not null then '{GONE}' end"


@dataclass(frozen=True)
class _Names:
    """A table of the ledger, its column that says whose a row is, and the names there, old and new."""

    table: str
    column: str
    rows: list[Row]


def count_sent(there: Warehouse, known: Known, identifiers: set[str]) -> list[Count]:
    """Count the rows of a person in the ledger of an open warehouse."""
    found = []
    for names in _tables(there, known, identifiers):
        rows = 0
        for query, given in there.given(_GIVEN, names.rows):
            named = f"{names.column} in (select old_name from ({query}) as names)"
            counted = f"select count(*) from {names.table} where {named}"
            rows += sum(int(row[0]) for page in there.pages(counted, *given) for row in page)
        if rows:
            found.append(Count(names.table.rpartition(".")[2].lower(), rows, 0))
    return found


def forget_sent(there: Warehouse, known: Known, identifiers: set[str]) -> None:
    """Give the person's rows pseudonyms. What was acknowledged stays acknowledged, of nobody."""
    for names in _tables(there, known, identifiers):
        for query, given in there.given(_GIVEN, names.rows):
            there.run(
                f"update {names.table} set {names.column} = new_name, {_EMPTIED} "
                f"from ({query}) as names where {names.column} = old_name",
                *given,
            )


def _tables(there: Warehouse, known: Known, identifiers: set[str]) -> Iterator[_Names]:
    # as it landed, and as it is compared
    spelled = sorted({*identifiers, *map(plain, identifiers)})
    members: list[Row] = [(name, known.pseudonym(name)) for name in spelled]
    # the key of whom int_person_ids knows by this identifier, as which of the three nobody says
    keys: list[Row] = [
        (_key(f"{kind}:{name}"), known.pseudonym(name))
        for name in spelled
        for kind in ("customer_id", "cio_id", "email")
    ]
    for table, column, rows in ((MEMBERS, "identifier", members), (REQUESTS, "person_key", keys)):
        name = f"{there.schema('staging')}.{table.name}"
        if there.columns(name):
            yield _Names(name, column, rows)


def _key(identifier: str) -> str:
    return hashlib.md5(identifier.encode(), usedforsecurity=False).hexdigest()
