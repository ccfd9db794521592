"""Queries that ask the rules of a whole chunk of records at once, and give what is rejected as text."""

from collections.abc import Sequence

import pyarrow as pa

from scripts.land.maps import OBJECT_OF_ENTRIES
from scripts.land.records import MOST_SECONDS
from scripts.land.rules import Dataset, name, quoted

HEAD = "head"
"""The column of divided lines (`scripts.land.tails`) with the start of each, an object but for its end."""


def check_query(dataset: Dataset, schema: pa.Schema) -> str:
    """Query over the Arrow table `chunk` (file_no, then LINES or `line` and columns): one row per record, of
    file_no, line, keys (of a record that may hold unknown fields, else null), _reason, the table's columns.
    Its parameters are `earliest` and `latest`, unix seconds; a time must be in [earliest, latest).
    """
    fields = _fields(dataset, schema)
    # one json_transform reads all members; a path for each would parse `data` as many times
    members = (
        f", json_transform(land_object(f_data), {quoted(dataset.members)}) as d" if dataset.members else ""
    )
    values = ", ".join(f"{value} as v_{column}" for column, _, value in dataset.table)
    reasons = " ".join(f"when {test} then {quoted(reason)}" for reason, test in dataset.reasons)
    columns = ", ".join(f"v_{column} as {name(column)}" for column, _, _ in dataset.table)
    return f"""
with fields as ({fields}),
typed as (select *, {values} from (select *{members} from fields))
select file_no, line, keys, case when fault is not null then fault {reasons} end as _reason, {columns}
from typed"""


def _fields(dataset: Dataset, schema: pa.Schema) -> str:
    if HEAD in schema.names:
        shared = [column for column in dataset.types() if column in schema.names]
        columns = ", ".join(["file_no", "line", "fault", *map(name, shared)])
        # nothing is read of an odd line, which is then malformed
        lines = (
            f"(select {columns}, case when not odd then {HEAD} || '}}' end as raw, "
            f"strlen({HEAD}) + 1 as size from chunk)"
        )
        return _line_fields(dataset, lines, shared)
    return _line_fields(dataset) if "raw" in schema.names else _column_fields(dataset, schema)


def _line_fields(dataset: Dataset, lines: str = "chunk", shared: Sequence[str] = ()) -> str:
    fields = dataset.columns.fields
    shape = "{" + ", ".join(f'"{field}": "JSON"' for field in fields) + "}"
    # A record whose fields add up to its length to the byte has no other field, none twice, and single commas
    # between. For records without white space and nulls this saves reading the keys, the costliest check.
    length = " + ".join(
        f"coalesce(strlen(f.{name(field)}::varchar) + {len(field) + 4}, 0)" for field in fields
    )
    texts = ", ".join(
        f"f.{name(field)} as f_{field}, land_text(f_{field}) as t_{field}, "
        f"land_not_text(f_{field}) as n_{field}"
        for field in fields
    )
    return f"""
    select
        file_no, line, keys, {texts}, {"".join(f"{name(column)}, " for column in shared)}
        case when fault is not null then fault
             when f is null then case when json_valid(raw) then 'not_an_object'
                 when land_has_lone_surrogate(raw) then 'invalid_unicode' else 'malformed_json' end
             when not starts_with(raw, '{{') and not starts_with(ltrim(raw, E' \\t\\r\\n'), '{{')
             then 'not_an_object'
             when keys is null then null
             when len(list_distinct(keys)) < len(keys) then 'duplicate_key'
             when land_trailing_comma(raw) then 'malformed_json' end as fault
    from (
        select *,
            case when f is not null and fault is null and {length} + 1 <> size then json_keys(raw) end as keys
        from (select *, {_parsed(shape)} as f from {lines})
    )"""


def _parsed(shape: str) -> str:
    """SQL of the fields of a line, null where it is no JSON."""
    parsed = f"try(json_transform(raw, {quoted(shape)}))"
    ends = " or ".join(f"ends_with(raw, {end})" for end in (r"E'}\n'", "'}'", r"E'}\r\n'"))
    # where one line fails, DuckDB parses the 2,047 others beside it again, one by one; most such lines show
    # without a parser that they are no object
    return f"case when starts_with(raw, '{{') and ({ends}) then {parsed} else {parsed} end"


def _column_fields(dataset: Dataset, schema: pa.Schema) -> str:
    packed = ", ".join(
        _column_field(schema.field(field), dataset.columns.iso_times)
        if field in schema.names
        else f"null::json as f_{field}, null::varchar as t_{field}, false as n_{field}"
        for field in dataset.columns.fields
    )
    return f"select file_no, line, {packed}, null::varchar[] as keys, fault from chunk"


def _column_field(field: pa.Field, iso_times: bool) -> str:
    column = name(field.name)
    json = column_json(field)
    text, no_text = f"land_text(f_{field.name})", f"land_not_text(f_{field.name})"
    # what is a text or whole number already needs no JSON of it
    if _is_marked(field):
        pass
    elif pa.types.is_string(field.type):
        text, no_text = f"land_some({column})", "false"
    elif pa.types.is_integer(field.type):
        text, no_text = f"{column}::varchar", "false"
    elif pa.types.is_timestamp(field.type) and iso_times:
        json = f"to_json(coalesce(make_timestamp(epoch_us({column})), {column}::timestamp)::varchar)"
    elif pa.types.is_timestamp(field.type):
        seconds = f"least(epoch_us({column}) // 1000000, {MOST_SECONDS})::varchar"
        text = f"case when isfinite({column}) then {seconds} else {text} end"
    return f"{json} as f_{field.name}, {text} as t_{field.name}, {no_text} as n_{field.name}"


def column_json(field: pa.Field) -> str:
    """SQL of the JSON of a column of `chunk`, null for what is absent or null."""
    column = name(field.name)
    if _is_marked(field):
        # what DuckDB takes for JSON, and is none, stays a text
        return (
            f"case when land_trailing_comma({column}) then to_json({column}) "
            f"else nullif(json({column})::varchar, 'null')::json end"
        )
    if pa.types.is_timestamp(field.type):
        seconds = f"to_json(epoch_us({column}) // 1000000)"
        return f"case when isfinite({column}) then {seconds} else to_json({column}::varchar) end"
    if pa.types.is_dictionary(field.type):
        return f"{column}::json"
    if pa.types.is_list(field.type) and _member_names(field.type.value_type) == ["key", "value"]:
        return OBJECT_OF_ENTRIES.format(column)
    if pa.types.is_struct(field.type):
        # a null member of a STRUCT is a key that this record does not have
        return f"case when {column} is not null then json_merge_patch('{{}}', to_json({column})) end"
    return f"nullif(to_json({column})::varchar, 'null')::json"


def _is_marked(field: pa.Field) -> bool:
    return bool(field.metadata and field.metadata.get(b"holds") == b"json")


def _member_names(kind: pa.DataType) -> list[str]:
    return [kind.field(number).name for number in range(kind.num_fields)] if pa.types.is_struct(kind) else []


def repeated_keys_query(dataset: Dataset, part: int) -> str:
    """Query over a part of the table `checked` that gives (field, value) of the distinct maps with a key
    twice, at any depth: Snowflake's parser refuses them.
    """
    # `times` keeps the optimiser from testing every record instead of every distinct value; maps are walked
    # through only if they hold an object
    return " union all ".join(
        f"""
select {quoted(column)} as field, value from (
    select value, case when times > 0 then
        case when len(list_distinct(json_keys(value))) < len(json_keys(value)) then true
             when contains(substr(value::varchar, 2), '{{') then land_key_twice(value::varchar) end
        end as twice
    from (
        select {name(column)} as value, count(*) as times from checked
        where part = {part} and _reason is null
        group by value
    )
) where twice"""
        for column in dataset.maps
    )


def raw_query(dataset: Dataset, schema: pa.Schema) -> str:
    """Query over `chunk` that gives file_no, line and the raw text of each record."""
    if "raw" in schema.names:
        return "select file_no, line, rtrim(raw, E'\\r\\n') as raw from chunk"
    record = ", ".join(f"{name(field)}: f_{field}" for field in dataset.columns.fields)
    fields = _column_fields(dataset, schema)
    return f"select file_no, line, to_json({{{record}}})::varchar as raw from ({fields})"
