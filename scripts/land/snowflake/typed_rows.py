"""The rules of `scripts.land.rules` for rows of a table, as SQL of Snowflake: no row leaves it.

Values and reasons are those of the dataset; only their functions are written otherwise here. A field x of a
row is `t_x`, its text (null when empty or spaces), and `n_x`, whether it is no text; `o_x` is its object.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scripts.land.rules import Dataset
from scripts.land.snowflake.members import MEMBERS, flag_of, int_of, some
from scripts.land.times import snowflake_millis
from scripts.snowflake.names import literal, quoted

SEMI_STRUCTURED = ("VARIANT", "OBJECT", "MAP", "ARRAY")
_NUMBERS = ("NUMBER", "FLOAT")
_TIMES = ("TIMESTAMP_NTZ", "TIMESTAMP_TZ", "TIMESTAMP_LTZ")
_UNQUOTED = r"""regexp_replace({}, $$"(\\.|[^"\\])*"$$, '""')"""
_DOUBLE = "-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?"


@dataclass(frozen=True)
class Column:
    """A column of the source: its name, and its type as INFORMATION_SCHEMA has it."""

    name: str
    kind: str
    iso_times: bool = False

    @property
    def is_time(self) -> bool:
        """Whether it is a timestamp."""
        return self.kind in _TIMES

    @property
    def is_number(self) -> bool:
        """Whether it is an exact number."""
        return self.kind == "NUMBER"


def value_of(column: Column) -> str:
    """The value as the rules see it: of a timestamp its seconds, or ISO 8601 where times may be."""
    name = quoted(column.name)
    if column.is_time and column.iso_times:
        moment = f"to_timestamp_ntz(date_part(epoch_microsecond, {name}), 6)"
        return f"regexp_replace(to_varchar({moment}, 'YYYY-MM-DD HH24:MI:SS.FF6'), '[.]?0+$', '')"
    if column.is_time:
        return f"cast(floor(date_part(epoch_millisecond, {name}) / 1000) as bigint)"
    return f"to_variant({name})" if column.kind in SEMI_STRUCTURED else name


def text_of(column: Column) -> str:
    """The text of a value, null when empty or spaces alone."""
    value = value_of(column)
    if column.kind == "TEXT":
        return some(value)
    if column.kind in SEMI_STRUCTURED:
        return (
            f"case typeof({value}) when 'NULL_VALUE' then null "
            f"when 'VARCHAR' then {some(f'as_varchar({value})')} else {_number(f'to_json({value})')} end"
        )
    if column.kind in _NUMBERS:
        return _number(f"to_varchar({value})")
    return f"to_varchar({value})"


def _number(text: str) -> str:
    """41.0 is 41: a writer that has no whole numbers with nulls makes doubles of ids."""
    is_float = f"regexp_like({text}, '-?[0-9]+[.eE].*')"
    return f"case when {is_float} then coalesce(to_varchar({int_of(text)}), {text}) else {text} end"


def _no_text(column: Column) -> str:
    if column.kind in SEMI_STRUCTURED:
        value = value_of(column)
        kinds = "'VARCHAR', 'INTEGER', 'DECIMAL', 'DOUBLE', 'NULL_VALUE'"
        inexact = f"typeof({value}) <> 'VARCHAR' and {_is_inexact(f'to_json({value})')}"
        return f"coalesce(typeof({value}) not in ({kinds}) or {inexact}, false)"
    if column.kind == "FLOAT":
        return f"coalesce(abs({value_of(column)}) >= 9007199254740992, false)"
    return f"{value_of(column)} is not null" if column.kind == "BOOLEAN" else "false"


def _json_text(column: Column) -> str:
    """The text of a value that may hold an object as JSON text; null for any other."""
    value = value_of(column)
    if column.kind == "TEXT":
        return value
    if column.kind in SEMI_STRUCTURED:
        return f"case when typeof({value}) = 'VARCHAR' then as_varchar({value}) end"
    return "cast(null as varchar)"


def _object(column: Column, text: str) -> str:
    """The object that a value is, or that its JSON text holds; nothing gives {}, anything else null."""
    value = value_of(column)
    parsed = f"try_parse_json({text}, 'd')"
    # Snowflake, too, reads commas before a closing bracket, and undefined. A class, because its page on
    # functions-regexp names no backslash that stands for a tab or a line feed
    unquoted = _UNQUOTED.format(text)
    odd = f"regexp_substr({unquoted}, $$,[[:space:]]*[]}}]|undefined$$) is not null"
    own = (
        f"when typeof({value}) = 'NULL_VALUE' then parse_json('{{}}') "
        f"when typeof({value}) = 'OBJECT' then {value} "
        if column.kind in SEMI_STRUCTURED
        else ""
    )
    return (
        f"case when {value} is null then parse_json('{{}}') {own}"
        f"when trim({text}, ' ') in ('', 'null') then parse_json('{{}}') "
        f"when typeof({parsed}) = 'OBJECT' and not {odd} then {parsed} end"
    )


def _seconds(text: str) -> str:
    number = f"try_cast({text} as double)"
    unit = (
        f"case when {number} > 1e14 then {number} / 1e6 when {number} > 1e11 then {number} / 1e3 "
        f"else {number} end"
    )
    return (
        f"case when regexp_like({text}, '-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?') then "
        f"case when abs({unit}) < 9e18 then cast(floor({unit}) as bigint) else -1 end end"
    )


def _is_inexact(text: str) -> str:
    return (
        f"coalesce(regexp_like({text}, '{_DOUBLE}') and regexp_like({text}, '.*[.eE].*') "
        f"and abs(try_cast({text} as double)) >= 9007199254740992, false)"
    )


def _not_a_number(text: str) -> str:
    return f"regexp_substr({_UNQUOTED.format(text)}, 'NaN|Infinity') is not null"


_FUNCTIONS: Mapping[str, Callable[[str], str]] = {
    "land_seconds": _seconds,
    "land_int": int_of,
    "land_millis": snowflake_millis,
    "land_flag": flag_of,
    "land_object": lambda field: f"to_json({field.replace('f_', 'o_', 1)})",
    "land_is_inexact": _is_inexact,
    "land_not_a_number": _not_a_number,
    "regexp_full_match": lambda given: f"regexp_like({given})",
}
_CALL = re.compile(rf"\b({'|'.join(_FUNCTIONS)})\(")
_MEMBER_OF_OBJECT = re.compile(r"land_text\(land_object\(f_(\w+)\)->'\$\.(\w+)'\)")


def translated(sql: str) -> str:
    """A value or condition of the rules in Snowflake's SQL."""
    sql = _MEMBER_OF_OBJECT.sub(some(r"o_\1:\2::varchar"), sql)
    sql = re.sub(r"\bd\.([\w.]+)", r"d:\1::varchar", sql)
    while match := _CALL.search(sql):
        end = _closing(sql, match.end())
        sql = sql[: match.start()] + _FUNCTIONS[match[1]](sql[match.end() : end]) + sql[end + 1 :]
    return sql


def _closing(sql: str, start: int) -> int:
    """Where the bracket closes that opened before `start`."""
    depth, end = 1, start
    while depth:
        depth += {"(": 1, ")": -1}.get(sql[end], 0)
        end += 1
    return end - 1


def hour_of_row(column: Column, bounds: tuple[int, int], given: str | None = None) -> str:
    """The hour of a row by the rules for its time; null where they reject it. `given`: SQL of its seconds."""
    name = quoted(column.name)
    if given:
        seconds = given
    elif column.is_time:
        seconds = value_of(column)
    elif column.is_number:
        seconds = (
            f"floor(case when {name} > 100000000000000 then {name} / 1000000 "
            f"when {name} > 100000000000 then {name} / 1000 else {name} end)"
        )
    else:
        seconds = _seconds(f"({text_of(column)})")
    earliest, latest = bounds
    return f"case when {seconds} between {earliest} and {latest - 1} then floor({seconds} / 3600) end"


def file_of_row(root: str, rest: str) -> str:
    """SQL of the name in the ledger of the part that a row of `hour` belongs to."""
    name = "to_varchar(to_timestamp_ntz(hour * 3600), 'YYYY/MM/DD/HH24')"
    return f"{literal(root)} || '/' || coalesce({name}, {literal(rest)})"


def check_query(
    dataset: Dataset, columns: Mapping[str, Column], rows: str, bounds: tuple[int, int], root: str, rest: str
) -> str:
    """Query over the table `rows` (hour, line and the columns) that gives, per row, what a landing needs.

    file, line, plain (whether it is good), reason, raw (of a reject), and the columns of the landing table.
    """
    earliest, latest = bounds
    fields = []
    raw = []
    for field in dataset.columns.fields:
        column = columns.get(field)
        is_object = field in dataset.objects
        text = text_of(column) if column else "cast(null as varchar)"
        fields += [f"{text} as t_{field}", f"{_no_text(column) if column else 'false'} as n_{field}"]
        raw.append(f"{literal(field)}, {value_of(column) if column else 'null'}")
        if is_object:
            fields += [
                f"{_json_text(column) if column else 'cast(null as varchar)'} as s_{field}",
                f"{_object(column, f'({_json_text(column)})') if column else _EMPTY} as o_{field}",
            ]
    own = MEMBERS.get(dataset.name, {})
    values = ", ".join(
        f"{own.get(column) or translated(value)} as v_{column}" for column, _, value in dataset.table
    )
    reasons = " ".join(
        f"when {translated(test)} then {literal(reason)}"
        for reason, test in (*dataset.reasons, *map(_repeated_key, dataset.maps))
    )
    reasons = reasons.replace("$earliest", str(earliest)).replace("$latest", str(latest))
    listed = ", ".join(
        f"case when reason is null then v_{column} end as {column}" for column, _, _ in dataset.table
    )
    data = ", o_data as d" if dataset.members else ""
    return f"""
with rows_read as (
    select hour, line, {", ".join(fields)}, to_json(object_construct_keep_null({", ".join(raw)})) as raw
    from {rows}
),
members as (
    select *{data} from rows_read
),
typed as (
    select *, {values} from members
),
judged as (
    select *, case {reasons} end as reason from typed
)
select
    {file_of_row(root, rest)} as file, line,
    reason is null as plain, reason, case when reason is not null then raw end as raw, {listed}
from judged"""


_EMPTY = "parse_json('{}')"


def _repeated_key(field: str) -> tuple[str, str]:
    """A key that stands twice, at any depth: the strict parser refuses what the other one takes."""
    return (
        f"duplicate_key_in_{field}",
        f"trim(s_{field}, ' ') not in ('', 'null') and try_parse_json(s_{field}) is null",
    )
