"""Rows that a predicate on ids scans, alone and beside constants.

Ids in random order beside constants for the time of the rows, and beside constants of other ids, which begin
with their time as a ULID does.

python -m scripts.dev.bench.predicates --rows 10000000
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import duckdb
import typer

from scripts.console import console, progress

BY_ID = "event_id in (select event_id from touched)"


def scanned(connection: duckdb.DuckDBPyConnection, predicate: str) -> tuple[int, int]:
    """The rows and row groups of `events` that a query with this predicate reads."""
    query = f"explain (analyze, format json) select count(*) from events where {predicate}"
    ((_, plan),) = connection.execute(query).fetchall()
    (scan,) = (
        node
        for top in json.loads(plan)["operator"]
        for node in _nodes(top)
        if str(node["extra_info"].get("Table", "")).endswith(".events")
    )
    return scan["rows_scanned"], scan["row_groups_scanned"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("children", []):
        yield from _nodes(child)


def predicates(connection: duckdb.DuckDBPyConnection, rows: int, days: int = 180) -> list[str]:
    """Make `events`, stored by date with random ids, and a day's work: one id in a hundred of a tenth of the
    days.

    Return the predicate by id, the same beside constants for the date, and the same beside constants of
    journeys, whose ids begin with their time.
    """
    connection.execute(
        f"create table events as select md5(cast(i as varchar)) as event_id, "
        "printf('%010d', i) || left(md5(cast(i as varchar)), 16) as journey_id, "
        f"date '2026-01-01' + cast(i * {days} // {rows} as integer) as event_date, "
        f"hash(i) as payload from range({rows}) as t(i) order by i"
    )
    connection.execute(
        "create table touched as select event_id, journey_id, event_date from events "
        f"where event_date >= date '2026-01-01' + {days - days // 10} and payload % 100 = 0"
    )
    first, last = connection.execute("select min(event_date), max(event_date) from touched").fetchall()[0]
    least, greatest = connection.execute("select min(journey_id), max(journey_id) from touched").fetchall()[0]
    return [
        BY_ID,
        f"{BY_ID} and event_date between date '{first}' and date '{last}'",
        f"{BY_ID} and journey_id between '{least}' and '{greatest}'",
    ]


def main(rows: Annotated[int, typer.Option(help="Rows of the table.", min=100_000)] = 10_000_000) -> None:
    """Print what a predicate by id scans, alone and beside constants."""
    with duckdb.connect() as connection, progress("measuring", 4) as advance:
        all_predicates = predicates(connection, rows)
        advance(1)
        found = []
        for predicate in all_predicates:
            found.append((predicate, scanned(connection, predicate)))
            advance(1)
    for predicate, (read, groups) in found:
        console.print(f"{read:,} rows, {groups} row groups: {predicate}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
