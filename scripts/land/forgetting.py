"""Pseudonyms for the rows of forgotten people, on both engines, within the transaction that is open."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.json_lists import json_lists
from scripts.land.engine import Stamp
from scripts.land.forgotten import GONE, PERSONAL, PREFIX, TABLE, Known, Personal

Run = Callable[[str, tuple[Any, ...]], list[Any]]
_AT_ONCE = 500
_JSON = {"attrs", "data", "other", "payload", "properties", "traits", "context", "integrations"}
_NUMBERS = {"content_hash"}


@dataclass(frozen=True)
class Place:
    """The landing tables of a warehouse: `run` sends a statement with `%s` for parameters."""

    run: Run
    schema: str
    is_snowflake: bool

    def hashed(self, text: str) -> str:
        """SQL of the salted hash of an identifier; the salt is a parameter."""
        function = "sha2" if self.is_snowflake else "sha256"
        return f"{function}(%s || {compared(text)})"

    def member(self, name: str) -> str:
        """SQL of a column, or of a member of a column's JSON as `column.path`."""
        column, _, path = name.partition(".")
        if not path:
            return column
        if self.is_snowflake:
            steps = ".".join(f'"{step}"' for step in path.split("."))
            return f"cast(try_parse_json({column}, 'd'):{steps} as varchar)"
        steps = "".join(f'."{step}"' for step in path.split("."))
        return f"({column}->>'${steps}')"

    def listed(self, columns: Sequence[str]) -> str:
        """SQL of a relation of these columns, from a parameter that is a JSON list of objects."""
        if self.is_snowflake:
            values = ", ".join(f"value:{column}::varchar as new_{column}" for column in columns)
            return f"(select {values} from table(flatten(input => parse_json(%s))))"
        values = ", ".join(f"value->>'{column}' as new_{column}" for column in columns)
        return f"(select {values} from (select unnest(cast(%s as json[])) as value))"

    def cast(self, column: str) -> str:
        """SQL of a new value in the type of its column."""
        if column in _NUMBERS:
            return f"cast(new_{column} as bigint)"
        is_json = column in _JSON and not self.is_snowflake
        return f"cast(new_{column} as json)" if is_json else f"new_{column}"


def compared(text: str) -> str:
    """SQL of an identifier as it is compared, as `plain` does it."""
    return f"case when contains({text}, '@') then lower(trim({text}, ' ')) else {text} end"


def read_known(place: Place) -> Known | None:
    """The hashes of forgotten people, None if nobody is."""
    rows = place.run(f"select salt, identifier_hash from {place.schema}.{TABLE}", ())
    return Known(rows[0][0], frozenset(row[1] for row in rows)) if rows else None


def apply(place: Place, dataset: str, stamp: Stamp) -> int:
    """Give the rows that a transaction is about to commit their pseudonyms; return how many it changed.

    Rows of the sync that name nobody belong to rows of other tables, which may land before or after them.
    """
    known = read_known(place)
    if not known:
        return 0
    changed = 0
    if dataset in PERSONAL:
        changed += rewrite(place, dataset, known, stamp, "_batch_id = %s", (stamp.batch_id,))
    if changed:
        for other, personal in PERSONAL.items():
            if any(table == dataset for _, table, _ in personal.through):
                changed += rewrite(place, other, known, stamp)
    moment = stamp.landed_at.isoformat(sep=" ")
    kind = "timestamp_ntz" if place.is_snowflake else "timestamp"
    return changed + rewrite_rejects(place, dataset, known, f"_loaded_at = cast(%s as {kind})", (moment,))


def theirs(
    place: Place, dataset: str, known: Known, of_pseudonyms: bool = True
) -> tuple[str, tuple[Any, ...]]:
    """What stands behind `from` for the rows of forgotten people in a landing table, with its parameters.

    `and` and other conditions may follow. `of_pseudonyms`: also rows that belong to others which have a
    pseudonym already. Sets are joined: Snowflake's page on subquery operators has no `in (select …)` beside
    an `or`.
    """
    personal, joins, joined = PERSONAL[dataset], "", list[Any]()
    tests: list[str] = []
    is_forgotten = f"left(internal_customer_id, {len(PREFIX)}) = '{PREFIX}' or " if of_pseudonyms else ""
    for number, (column, table, key) in enumerate(personal.through):
        sets, of_sets, test, of_test = _known(place, known, ["internal_customer_id"], f"whose_{number}")
        found_key = f"key_through_{number}"
        joins += (
            f" left join (select distinct {key} as {found_key} from {place.schema}.{table}"
            f"{sets} where {is_forgotten}{test[0]}) as of_{found_key} on {column} = {found_key}"
        )
        joined += [*of_sets, *of_test]
        tests.append(f"{found_key} is not null")
    whose = [*personal.ids, *personal.visitors]
    sets, of_sets, found, values = _known(place, known, [*whose, *personal.addresses], "any")
    by_id, by_address = found[: len(whose)], found[len(whose) :]
    tests += by_id
    if by_address:
        # an id of spaces names nobody
        ids = "".join(f"nullif(trim({place.member(name)}, ' '), '') is null and " for name in personal.ids)
        tests.append(f"({ids}({' or '.join(by_address)}))")
    behind = f"{place.schema}.{dataset}{joins}{sets} where ({' or '.join(tests)})"
    return behind, (*joined, *of_sets, *values)


def _known(
    place: Place, known: Known, names: Sequence[str], prefix: str
) -> tuple[str, list[Any], list[str], list[Any]]:
    """Joins and their parameters, then for each name the SQL that says whether it is known, and theirs."""
    hashes = [place.hashed(place.member(name)) for name in names]
    if len(known.hashes) <= _AT_ONCE:
        listed = ", ".join(["%s"] * len(known.hashes))
        values = [known.salt, *sorted(known.hashes)] * len(names)
        return "", [], [f"{hashed} in ({listed})" for hashed in hashes], values
    keys = [f"key_{prefix}_{number}" for number in range(len(names))]
    joins = "".join(
        f" left join (select distinct identifier_hash as {key} from {place.schema}.{TABLE}) as of_{key} "
        f"on {hashed} = {key}"
        for key, hashed in zip(keys, hashes, strict=True)
    )
    return joins, [known.salt] * len(names), [f"{key} is not null" for key in keys], []


def rewrite(
    place: Place,
    dataset: str,
    known: Known,
    stamp: Stamp,
    within: str = "true",
    parameters: tuple[Any, ...] = (),
) -> int:
    """Give the rows of forgotten people, among those that fulfil a condition, their pseudonyms.

    They then belong to the batch of `stamp`; return how many rows it changed.
    """
    personal, table = PERSONAL[dataset], f"{place.schema}.{dataset}"
    columns = list(personal.treatments)
    behind, hashes = theirs(place, dataset, known)
    selected = ", ".join(f"cast({column} as varchar)" for column in columns)
    rows = place.run(f"select _file, _line, {selected} from {behind} and {within}", (*hashes, *parameters))
    changed = []
    for file, line, *values in rows:
        old = dict(zip(columns, values, strict=True))
        new = _treated(personal, old, known)
        if new != old:
            changed.append({"_file": file, "_line": str(line), **new})
    sets = ", ".join(f"{column} = {place.cast(column)}" for column in columns)
    kind = "timestamp_ntz" if place.is_snowflake else "timestamp"
    for some in json_lists(changed):
        place.run(
            f"update {table} set {sets}, _batch_id = %s, _loaded_at = cast(%s as {kind}) "
            f"from {place.listed(['_file', '_line', *columns])} as changed "
            "where _file = new__file and _line = cast(new__line as bigint)",
            (stamp.batch_id, stamp.landed_at.isoformat(sep=" "), some),
        )
    return len(changed)


def _treated(personal: Personal, row: dict[str, str | None], known: Known) -> dict[str, str | None]:
    """A row with pseudonyms. That of somebody else on a device which the person used loses its visitor."""
    ids = [row[name] or "" for name in personal.ids] if personal.visitors else []
    if any(map(known.has, ids)) or not any(name.strip(" ") for name in ids):
        return {
            column: None if value is None else personal.treatments[column](value, known)
            for column, value in row.items()
        }
    visitors = {name: None for name in personal.visitors if known.has(row[name] or "")}
    return row | visitors


def rewrite_rejects(
    place: Place, dataset: str, known: Known, within: str, parameters: tuple[Any, ...]
) -> int:
    """Take the text of rejected lines that name a forgotten person away; return how many there were."""
    table = f"{place.schema}.{dataset}_rejects"
    rows = place.run(f"select _file, _line, raw from {table} where {within} and raw != '{GONE}'", parameters)
    named = [{"_file": file, "_line": str(line)} for file, line, raw in rows if known.names(raw)]
    for some in json_lists(named):
        place.run(
            f"update {table} set raw = '{GONE}' from {place.listed(['_file', '_line'])} as changed "
            "where _file = new__file and _line = cast(new__line as bigint)",
            (some,),
        )
    return len(named)


def rewrite_removed(place: Place, dataset: str, known: Known) -> None:
    """Give the keys of removed rows their pseudonyms."""
    for column in PERSONAL[dataset].removed:
        table = f"{place.schema}.{dataset}_removed"
        for (value,) in place.run(f"select distinct {column} from {table}", ()):
            if value is not None and known.has(value):
                place.run(
                    f"update {table} set {column} = %s where {column} = %s", (known.pseudonym(value), value)
                )
