"""The rules of `scripts.land.typed` for tables of the warehouse sync, as SQL of Snowflake: no row leaves it.

Values are those of a Parquet file with the same columns; only `content_hash` is Snowflake's own hash.
"""

import re
from collections.abc import Mapping

from scripts.land.rules import Dataset, quoted
from scripts.land.snowflake.members import flag_of, int_of
from scripts.land.snowflake.typed_rows import SEMI_STRUCTURED, Column, file_of_row, text_of
from scripts.land.typed import MEANINGS, Value, whole_text
from scripts.snowflake.names import literal
from scripts.snowflake.names import quoted as identifier

_EPOCH = "to_timestamp_ntz('1970-01-01 00:00:00')"
_KINDS = {"int": "bigint", "text": "varchar", "time": "timestamp_ntz", "flag": "boolean"}
_NUMBERS = ("NUMBER", "FLOAT")
_WHOLE_DOUBLE = "9007199254740992"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
_UTC_TIME = f"{_DATE}([T ]{_CLOCK})?( ?(Z|UTC))?"
_ZONED_TIME = f"{_DATE}[T ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}([.][0-9]+)? ?[+-][0-9]{{2}}(:?[0-9]{{2}})?"
_EPOCH_TEXT = "-?[0-9]+([.][0-9]+)?"
# of what TIMESTAMP_NTZ holds on both engines
_MOST_SECONDS = "253402300800"


def _null(kind: str) -> str:
    return f"cast(null as {_KINDS[kind]})"


def _trimmed(text: str) -> str:
    return f"nullif(trim({text}, ' '), '')"


def _is_number(column: str, kind: str) -> str:
    return (
        f"{column} is not null and {column} <> 'NaN'::float" if kind == "FLOAT" else f"{column} is not null"
    )


def _whole(column: str) -> str:
    return (
        f"case when abs({column}) < {_WHOLE_DOUBLE} and {column} = floor({column}) "
        f"then cast({column} as bigint) end"
    )


def _int(column: Column) -> Value:
    name = identifier(column.name)
    if column.is_number:
        most = "between -9223372036854775808 and 9223372036854775807"
        value = f"case when {name} = floor({name}) and {name} {most} then cast({name} as bigint) end"
        return value, f"{name} is not null"
    if column.kind == "FLOAT":
        return _whole(name), _is_number(name, column.kind)
    if column.kind == "TEXT" or column.kind in SEMI_STRUCTURED:
        text = _trimmed(text_of(column))
        return int_of(f"({text})"), f"{text} is not null"
    return _null("int"), f"{name} is not null"


def _text(column: Column) -> Value:
    name = identifier(column.name)
    if column.kind == "FLOAT":
        text = f"coalesce(to_varchar({_whole(name)}), to_varchar({name}))"
        return f"case when {_is_number(name, column.kind)} then {text} end", None
    if column.is_time:
        return clock_of(_utc(column)), None
    return whole_text(f"to_varchar({name})") if column.is_number else text_of(column), None


def _time(column: Column) -> Value:
    name = identifier(column.name)
    if column.is_time or column.kind == "DATE":
        return f"nullif({_utc(column)}, {_EPOCH})", None
    if column.kind in _NUMBERS:
        given, moment = _is_number(name, column.kind), _moment(f"cast({name} as double)")
    elif column.kind == "TEXT" or column.kind in SEMI_STRUCTURED:
        text = f"({_trimmed(text_of(column))})"
        given, moment = f"{text} is not null", _moment_of_text(text)
    else:
        return _null("time"), f"{name} is not null"
    return f"nullif({moment}, {_EPOCH})", f"{given} and not coalesce({moment} = {_EPOCH}, false)"


def _flag(column: Column) -> Value:
    name = identifier(column.name)
    if column.kind == "BOOLEAN":
        return name, None
    if column.kind in _NUMBERS:
        return flag_of(f"to_varchar({name})"), f"{name} is not null"
    if column.kind == "TEXT" or column.kind in SEMI_STRUCTURED:
        text = _trimmed(text_of(column))
        return flag_of(f"({text})"), f"{text} is not null"
    return _null("flag"), f"{name} is not null"


_VALUES = {"int": _int, "text": _text, "time": _time, "flag": _flag}


def _utc(column: Column) -> str:
    """A timestamp or date as a timestamp without a zone, in UTC whatever the session's time zone."""
    name = identifier(column.name)
    if column.kind in ("TIMESTAMP_TZ", "TIMESTAMP_LTZ"):
        return f"to_timestamp_ntz(date_part(epoch_microsecond, {name}), 6)"
    return f"cast({name} as timestamp_ntz)"


def clock_of(moment: str) -> str:
    """SQL of a timestamp's text as DuckDB writes it: without zeros behind the seconds."""
    return f"regexp_replace(to_varchar({moment}, 'YYYY-MM-DD HH24:MI:SS.FF6'), '[.]?0+$', '')"


def _moment(number: str) -> str:
    """SQL of the time that seconds, milliseconds or microseconds stand for, by size."""
    seconds = (
        f"case when {number} > 1e14 then {number} / 1e6 when {number} > 1e11 then {number} / 1e3 "
        f"else {number} end"
    )
    micros = f"cast(({seconds}) * 1000000 as bigint)"
    return f"case when abs({seconds}) < {_MOST_SECONDS} then to_timestamp_ntz({micros}, 6) end"


def _moment_of_text(text: str) -> str:
    date = f"left({text}, 10)"
    clock = (
        f"case when length({text}) < 16 then '00:00:00' "
        f"when substr({text}, 17, 1) = ':' then substr({text}, 12, 8) else substr({text}, 12, 5) || ':00' end"
    )
    moment = f"try_to_timestamp_ntz({date} || ' ' || {clock}, 'YYYY-MM-DD HH24:MI:SS')"
    fraction = f"coalesce(regexp_substr({text}, '[.]([0-9]+)', 1, 1, 'e', 1), '')"
    micros = f"(date_part(epoch_second, {moment}) * 1000000 + to_number(left(rpad({fraction}, 6, '0'), 6)))"
    offset = f"regexp_substr(substr({text}, 20), '[+-][0-9:]+$')"
    minutes = (
        f"(case when left({offset}, 1) = '-' then -1 else 1 end * (to_number(substr({offset}, 2, 2)) * 60 "
        f"+ case when length({offset}) > 3 then to_number(right({offset}, 2)) else 0 end))"
    )
    zoned = f"to_timestamp_ntz({micros} - {minutes} * 60000000, 6)"
    return (
        f"case when regexp_like({text}, '{_UTC_TIME}') then to_timestamp_ntz({micros}, 6) "
        f"when regexp_like({text}, '{_ZONED_TIME}') then {zoned} "
        f"when regexp_like({text}, '{_EPOCH_TEXT}') then {_moment(f'try_cast({text} as double)')} end"
    )


def seconds_of(column: Column) -> str:
    """SQL of the unix second of a column's time, null where it has none."""
    return f"date_part(epoch_second, {_time(column)[0]})"


def _json(column: Column) -> str:
    """A value within JSON."""
    name = identifier(column.name)
    if column.is_time:
        return f"to_variant({clock_of(_utc(column))})"
    if column.kind == "DATE":
        return f"to_variant(to_varchar({name}, 'YYYY-MM-DD'))"
    return f"to_variant({name})"


def _translated(test: str) -> str:
    return re.sub(r"epoch_us\((\w+)\) // 1000000", r"date_part(epoch_second, \1)", test)


def check_typed_query(
    dataset: Dataset,
    columns: Mapping[str, Column],
    others: Mapping[str, Column],
    rows: str,
    bounds: tuple[int, int],
    root: str,
    rest: str,
) -> str:
    """Query over the table `rows` (hour, line and the columns) as `typed_rows.check_query` is one over calls.

    `others`: columns that the dataset does not know, by name. `unread` names the fields whose value the
    landing table cannot hold, null where there are none.
    """
    earliest, latest = bounds
    read = {
        column: _VALUES[kind](columns[field]) if field in columns else (_null(kind), None)
        for column, kind, field in dataset.typed
    }
    fields = {column: field for column, _, field in dataset.typed}
    doubtful = {column: given for column, (_, given) in read.items() if given}
    values = ", ".join(f"{value} as v_{column}" for column, (value, _) in read.items())
    unread = ", ".join(
        f"{f'{doubtful[column]} and v_{column} is null' if column in doubtful else 'false'} as u_{column}"
        for column in read
    )
    aside = [
        f"{literal(fields[column])}, case when u_{column} then {_json(columns[fields[column]])} end"
        for column in doubtful
    ]
    aside += [f"{literal(name)}, {_json(column)}" for name, column in others.items()]
    given = [f"{literal(name)}, {_json(column)}" for name, column in {**columns, **others}.items()]
    other = f"object_construct({', '.join(aside)})"
    hashed = ", ".join(f"v_{column}" for column in read if column != "seq_num")
    labels = {column: f"{field} (no {MEANINGS.get(kind, kind)})" for column, kind, field in dataset.typed}
    named = " || ".join(
        f"case when u_{column} then {literal(labels[column] + ',')} else '' end" for column in doubtful
    )
    derived = {
        "unread": f"nullif({named or literal('')}, '')",
        "other": f"case when array_size(object_keys({other})) > 0 then to_json({other}) end",
        "content_hash": f"bitshiftright(hash({hashed}), 1)",
    }
    of_name = dataset.columns.of_name(root) if dataset.columns.of_name else {}
    numbers = {
        name: "cast(null as bigint)" if value is None else str(value) for name, value in of_name.items()
    }
    reasons = " ".join(f"when {_translated(test)} then {quoted(reason)}" for reason, test in dataset.reasons)
    reasons = reasons.replace("$earliest", str(earliest)).replace("$latest", str(latest))
    listed = ", ".join(
        f"case when reason is null then {numbers.get(column, value)} end as {column}"
        for column, _, value in dataset.table
    )
    return f"""
with given as (
    select *, {values} from {rows}
),
typed as (
    select *, {unread} from given
),
derived as (
    select *, {", ".join(f"{value} as d_{column}" for column, value in derived.items())} from typed
),
judged as (
    select *, case {reasons} end as reason from derived
)
select
    {file_of_row(root, rest)} as file, line, reason is null as plain, reason, d_unread as unread,
    case when reason is not null then to_json(object_construct({", ".join(given)})) end as raw, {listed}
from judged"""
