"""Files of typed columns, as Customer.io's warehouse sync writes them: a cast per column, no JSON of a row.

Writers differ in types: a whole number may come as a double or as text, a time as text, a boolean as 'true'.
What a column of the landing table cannot hold is kept in `other`, under the name of its field, and so are the
columns that land does not know.
"""

import json

import pyarrow as pa

from scripts.land.checks import column_json
from scripts.land.records import OTHER
from scripts.land.rules import Dataset, name, quoted

TYPED_MACROS = r"""
create or replace temp macro land_trimmed(x) as nullif(trim(x, ' '), '');
create or replace temp macro land_whole(d) as
    case when abs(d) < 9007199254740992 and d = floor(d) then try_cast(d as bigint) end;
-- of seconds, milliseconds or microseconds by size
create or replace temp macro land_epoch(d) as
    try(make_timestamp(try_cast(land_unit(d::double) * 1000000 as bigint)));
-- text without a zone is UTC; a cast to timestamp would drop a zone that is there. The first case is the form
-- that consumers saw, without a regular expression
create or replace temp macro land_time(t) as
    case when length(t) = 19 and substr(t, 17, 1) = ':' then try_cast(t as timestamp)
         when regexp_full_match(
             t, '\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d([.]\d+)?)?)?( ?(Z|UTC))?')
         then try_cast(regexp_replace(t, ' ?(Z|UTC)$', '') as timestamp)
         when regexp_full_match(t, '\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.]\d+)? ?[+-]\d\d(:?\d\d)?')
         then make_timestamp(epoch_us(try_cast(regexp_replace(t, ' ([+-])', '\1') as timestamptz)))
         when regexp_full_match(t, '-?\d+([.]\d+)?') then land_epoch(t) end;
-- the vendor's "no value" in people, as a consumer of the files saw it
create or replace temp macro land_no_epoch(t) as nullif(t, timestamp '1970-01-01');
create or replace temp macro land_is_epoch(t) as coalesce(t = timestamp '1970-01-01', false);
"""
MEANINGS = {"int": "whole number", "time": "time", "flag": "boolean"}
_NULLS = {"int": "null::bigint", "text": "null::varchar", "time": "null::timestamp", "flag": "null::boolean"}

Value = tuple[str, str | None]
"""SQL of a value, and of whether the file has a value there that may not be readable; None: all are."""


def typed_query(dataset: Dataset, schema: pa.Schema, earliest: int, latest: int) -> str:
    """Query over the Arrow table `chunk` (file_no, line, `of_name`'s columns, fields, `fault`), as
    `checks.check_query` is one over lines.

    `keys` names the fields of a record whose value the landing table cannot hold. In the table's reject
    conditions, `u_x` says so of column x.
    """
    read = {column: _value(kind, field, schema) for column, kind, field in dataset.typed}
    doubtful = {column: given for column, (_, given) in read.items() if given}
    values = [f"{value} as v_{column}" for column, (value, _) in read.items()]
    unread = [f"{given} and v_{column} is null as u_{column}" for column, given in doubtful.items()]
    unread += [f"false as u_{column}" for column in read if column not in doubtful]
    # an export that only has another number, or more in `other`, has no other content
    content = ", ".join(f"v_{column}" for column in read if column != "seq_num")
    derived = {
        "keys": _unread_fields(dataset, doubtful),
        "other": _other(dataset, schema, doubtful),
        "content_hash": f"(hash({content}) >> 1)::bigint",
    }
    reasons = " ".join(f"when {test} then {quoted(reason)}" for reason, test in dataset.reasons)
    reasons = reasons.replace("$earliest", str(earliest)).replace("$latest", str(latest))
    columns = ", ".join(f"{value} as {name(column)}" for column, _, value in dataset.table)
    return f"""
with given as (select *, {", ".join(values)} from chunk),
typed as (select *, {", ".join(unread)} from given),
derived as (select *, {", ".join(f"{value} as d_{column}" for column, value in derived.items())} from typed)
select
    file_no, line, d_keys as keys,
    case when fault is not null then fault {reasons} end as _reason, {columns}
from derived"""


def typed_raw_query(schema: pa.Schema) -> str:
    """Query over `chunk` that gives file_no, line and each record as the text of a JSON object."""
    own = (
        field
        for field in schema
        if field.name not in ("file_no", "line", "fault", "schema_version", "sequence")
    )
    members = ", ".join(_member(field.name.removeprefix(OTHER), _json(field)) for field in own)
    return f"select file_no, line, '{{' || concat_ws(',', {members}) || '}}' as raw from chunk"


def _value(kind: str, field: str, schema: pa.Schema) -> Value:
    if field not in schema.names or pa.types.is_null(schema.field(field).type):
        return _NULLS[kind], None
    of = schema.field(field).type
    return {"int": _int, "text": _text, "time": _time, "flag": _flag}[kind](
        name(field), of, schema.field(field)
    )


def _int(column: str, of: pa.DataType, _: pa.Field) -> Value:
    if pa.types.is_uint64(of):
        return f"try_cast({column} as bigint)", f"{column} is not null"
    if pa.types.is_integer(of):
        return f"{column}::bigint", None
    if pa.types.is_floating(of):
        return f"land_whole({column})", f"{column} is not null and not isnan({column})"
    if pa.types.is_decimal(of):
        return (
            f"case when {column} = floor({column}) then try_cast({column} as bigint) end",
            f"{column} is not null",
        )
    if pa.types.is_string(of):
        return f"land_int(land_trimmed({column}))", f"land_trimmed({column}) is not null"
    return _NULLS["int"], f"{column} is not null"


def _text(column: str, of: pa.DataType, field: pa.Field) -> Value:
    if pa.types.is_string(of):
        return f"land_some({column})", None
    if pa.types.is_floating(of):
        # ids of a writer that has no whole numbers with nulls
        text = f"coalesce(land_whole({column})::varchar, {column}::varchar)"
        return f"case when not isnan({column}) then {text} end", None
    if pa.types.is_decimal(of):
        return whole_text(f"{column}::varchar"), None
    if pa.types.is_nested(of) or pa.types.is_dictionary(of):
        return f"{column_json(field)}::varchar", None
    return f"{_utc(column, of)}::varchar", None


def whole_text(text: str) -> str:
    """SQL of an exact number's text, of 5.00 that of 5."""
    return f"regexp_replace({text}, '[.]0+$', '')"


def _time(column: str, of: pa.DataType, _: pa.Field) -> Value:
    if pa.types.is_timestamp(of) or pa.types.is_date(of):
        # what is infinite, or a date beyond all timestamps, is none
        given = f"{column} is not null"
        moment = f"case when isfinite({column}) then try_cast({_utc(column, of)} as timestamp) end"
    elif pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        given, moment = f"{column} is not null", f"land_epoch({column})"
    elif pa.types.is_string(of):
        given, moment = f"land_trimmed({column}) is not null", f"land_time(land_trimmed({column}))"
    else:
        return _NULLS["time"], f"{column} is not null"
    return f"land_no_epoch({moment})", f"{given} and not land_is_epoch({moment})"


def _flag(column: str, of: pa.DataType, _: pa.Field) -> Value:
    if pa.types.is_boolean(of):
        return column, None
    if pa.types.is_string(of):
        return f"land_flag(land_trimmed({column}))", f"land_trimmed({column}) is not null"
    if pa.types.is_integer(of) or pa.types.is_floating(of):
        return f"land_flag({column}::varchar)", f"{column} is not null"
    return _NULLS["flag"], f"{column} is not null"


def _utc(column: str, of: pa.DataType) -> str:
    """A time with a zone as UTC, whatever the time zone of the session; what is infinite stays so."""
    if pa.types.is_timestamp(of) and of.tz:
        return f"coalesce(make_timestamp(epoch_us({column})), {column}::timestamp)"
    return column


def _json(field: pa.Field) -> str:
    """SQL of the JSON text of a column, null for null."""
    column, of = name(field.name), field.type
    if pa.types.is_temporal(of):
        return f"to_json({_utc(column, of)}::varchar)::varchar"
    if pa.types.is_floating(of):
        # JSON has no infinity
        text = f"to_json({column}::varchar)"
        return f"case when isfinite({column}) then to_json({column}) else {text} end::varchar"
    return f"{column_json(field)}::varchar"


def _member(label: str, text: str) -> str:
    return f"{quoted(json.dumps(label, ensure_ascii=False) + ':')} || {text}"


def _other(dataset: Dataset, schema: pa.Schema, doubtful: dict[str, str]) -> str:
    fields = {column: field for column, _, field in dataset.typed}
    members = [
        _member(fields[column], f"case when u_{column} then {_json(schema.field(fields[column]))} end")
        for column in doubtful
    ]
    members += [
        _member(field.name.removeprefix(OTHER), _json(field))
        for field in schema
        if field.name.startswith(OTHER)
    ]
    if not members:
        return "null::json"
    return f"('{{' || nullif(concat_ws(',', {', '.join(members)}), '') || '}}')::json"


def _unread_fields(dataset: Dataset, doubtful: dict[str, str]) -> str:
    if not doubtful:
        return "null::varchar[]"
    labels = {column: f"{field} (no {MEANINGS.get(kind, kind)})" for column, kind, field in dataset.typed}
    named = ", ".join(f"case when u_{column} then {quoted(labels[column])} end" for column in doubtful)
    failed = " or ".join(f"u_{column}" for column in doubtful)
    return f"case when {failed} then list_filter([{named}], lambda x: x is not null) end"
