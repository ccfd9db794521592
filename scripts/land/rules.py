"""The rules for a valid call or event, as SQL; `scripts.land.checks` asks them of a chunk of records at once.

A record reaches the rules as the JSON text of each field (null when absent or null) and its text, whatever
format it came in. The rules give the landing table's columns and a `_reason`: null, or why the
record is rejected.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from scripts.land.records import Columns
from scripts.land.times import TIME_MACROS


@dataclass(frozen=True)
class Dataset:
    """A dataset: its fields, its landing table, and its rules.

    `table` holds each column's name, type and value, `reasons` a reject reason and its condition, tried in
    this order. In both, `f_x` is the JSON text of field x and `t_x` its text (null when empty or spaces); in
    a condition, `n_x` says that it is no text, and `v_x` is the value of column x. `keys` are the columns by
    which models find what a row belongs to; with `of_hours`, they also need the hour of its file, and which
    batch landed it. `maps` are columns in which no key may occur twice. `members` is the JSON structure of
    what is read out of the column `data` into columns of its own: in a value or condition, `d.x` is the text
    of member x there.
    `tails` are the fields before which a line of the usual form may be cut, because what follows is the same
    in other lines (`scripts.land.tails`), each with a good text from there to the next one.
    `typed` is for files of typed columns (`scripts.land.typed`): each column that is a field of the file,
    what it holds (`int`, `text`, `time` or `flag`), and the field.
    """

    name: str
    columns: Columns
    table: tuple[tuple[str, str, str], ...]
    reasons: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    maps: tuple[str, ...] = ()
    members: str = ""
    tails: tuple[tuple[str, str], ...] = ()
    typed: tuple[tuple[str, str, str], ...] = ()
    of_hours: bool = False

    def removed(self) -> dict[str, str]:
        """The DuckDB type of each column of the table of removed keys but for the batch that removed them."""
        more = {"path_hour": "timestamp", "landed_batch_id": "varchar"} if self.of_hours else {}
        return {column: self.types()[column] for column in self.keys} | more

    @property
    def objects(self) -> tuple[str, ...]:
        """The columns that hold a JSON object."""
        return tuple(column for column, kind, _ in self.table if kind == "json")

    def types(self) -> dict[str, str]:
        """The DuckDB type of each column of the landing table."""
        return {column: kind for column, kind, _ in self.table}


MACROS = (
    r"""
-- a number with a fraction or an exponent, which writers keep as a double
create or replace temp macro land_is_float(t) as
    regexp_full_match(t, '-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?') and regexp_matches(t, '[.eE]');
create or replace temp macro land_is_inexact(t) as
    case when regexp_matches(t, '[.eE]')
         then land_is_float(t) and abs(try_cast(t as double)) >= 9007199254740992 else false end;
-- whole numbers within int64; 41.0 and 1e3 too, below the 2^53 from where a double loses digits. A cast alone
-- would make 42 of '41.5'
create or replace temp macro land_int(t) as
    case when try_cast(t as bigint)::varchar = t then try_cast(t as bigint)
         when regexp_full_match(t, '-?[0-9]+') then try_cast(t as bigint)
         when land_is_float(t) and abs(try_cast(t as double)) < 9007199254740992
             and try_cast(t as double) = floor(try_cast(t as double))
         then try_cast(try_cast(t as double) as bigint) end;
create or replace temp macro land_flag(t) as
    case when t is null then null when t = 'true' then true when t = 'false' then false
         when lower(trim(t, ' ')) in ('true', 't', 'yes', 'y', '1', '1.0') then true
         when lower(trim(t, ' ')) in ('false', 'f', 'no', 'n', '0', '0.0') then false end;
-- a text; one that is empty, or spaces alone, names nothing
create or replace temp macro land_some(t) as
    case when t = '' or (starts_with(t, ' ') and ltrim(t, ' ') = '') then null else t end;
-- the text of a string or number; an empty string is null, and 41.0 is 41: a writer that has no whole numbers
-- with nulls makes doubles of ids
create or replace temp macro land_number(t) as
    case when regexp_matches(t, '^-?[0-9]+[.eE]') then coalesce(land_int(t)::varchar, t) else t end;
create or replace temp macro land_text(x) as
    case when starts_with(x::varchar, '" ') then land_some(x->>'$')
         when starts_with(x::varchar, '"') then nullif(x->>'$', '') else land_number(x::varchar) end;
-- true for what is neither a string nor an exact number: object, array, boolean, NaN, Infinity, and a double
-- that may have lost digits
create or replace temp macro land_not_text(x) as
    case when starts_with(x::varchar, '"') then false
         else regexp_matches(x::varchar, '^([{\[tfNI]|-I)') or land_is_inexact(x::varchar) end;
-- whole seconds, of seconds, milliseconds or microseconds by size
create or replace temp macro land_unit(d) as
    case when d > 1e14 then d / 1e6 when d > 1e11 then d / 1e3 else d end;
create or replace temp macro land_seconds(t) as
    case when try_cast(t as bigint) between 0 and 100000000000 and try_cast(t as bigint)::varchar = t
         then try_cast(t as bigint)
         when regexp_full_match(t, '-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?')
         then coalesce(try_cast(floor(land_unit(try_cast(t as double))) as bigint), -1) end;
create or replace temp macro land_unquoted(s) as regexp_replace(s, '"(\\.|[^"\\])*"', '""', 'g');
-- DuckDB reads commas before a closing bracket, NaN and Infinity, which are no JSON
create or replace temp macro land_trailing_comma(s) as
    case when regexp_matches(s, ',\s*[\]}]') then regexp_matches(land_unquoted(s), ',\s*[\]}]')
         else false end;
create or replace temp macro land_not_a_number(s) as
    case when contains(s, 'NaN') or contains(s, 'Infinity')
         then regexp_matches(land_unquoted(s), 'NaN|Infinity') else false end;
-- JSON but for half of a surrogate pair, which stands for no character
create or replace temp macro land_has_lone_surrogate(s) as
    regexp_matches(s, '\\u[dD][89a-fA-F]')
    and json_valid(regexp_replace(
        regexp_replace(s, '\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g'),
        '\\u[dD][89a-fA-F][0-9a-fA-F]{2}', '', 'g'));
-- a JSON object, also from text that holds one; nothing gives {}, anything else null
create or replace temp macro land_object(x) as
    case when x is null then '{}'::json
         when starts_with(x::varchar, '{') then x
         when not starts_with(x::varchar, '"') then null
         when trim(x->>'$', ' ') in ('', 'null') then '{}'::json
         when starts_with(ltrim(x->>'$', E' \t\r\n'), '{') and not land_trailing_comma(x->>'$')
         then try(json(x->>'$')) end;
-- the text t of an id at a path of `data`, as land_text has it; DuckDB's JSON writes all such numbers with .0
create or replace temp macro land_id(t, x, path) as
    case when ends_with(t, '.0') and json_type(land_object(x), path) <> 'VARCHAR' then land_number(t)
         else land_some(t) end;
"""
    + TIME_MACROS
)


def _time_rules(field: str) -> tuple[tuple[str, str], ...]:
    return (
        (f"missing_{field}", f"t_{field} is null"),
        (f"bad_{field}", f"v_{field} is null"),
        (f"{field}_out_of_bounds", f"not v_{field} between $earliest and $latest - 1"),
    )


def map_rule(field: str) -> tuple[str, str]:
    """An object, or nothing."""
    return f"bad_{field}", f"v_{field} is null or land_not_a_number(v_{field}::varchar)"


def _id_rule(field: str) -> tuple[str, str]:
    return f"bad_{field}", f"v_{field} is null and t_{field} is not null"


def _id(path: str) -> str:
    """The text of an id in `data`."""
    return f"land_id(d.{path}, f_data, '$.{path}')"


def _inexact_id_rule(members: tuple[str, ...]) -> tuple[str, str]:
    """Ids in `data` that a writer kept as doubles of 2^53 or more may be those of something else."""
    return "inexact_id", " or ".join(f"land_is_inexact(d.{member})" for member in members)


def text_rule(field: str, no_text: str = "") -> tuple[str, str]:
    """A string or a number, or nothing."""
    return f"bad_{field}", no_text or f"n_{field}"


def quoted(text: str) -> str:
    """SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """SQL identifier."""
    return '"' + text.replace('"', '""') + '"'


_COPY = ("copy_id", ',"copy_id":"00000000-0000-0000-0000-000000000000"')
_ATTRS = ("attrs", ',"attrs":{}')

CALLS = Dataset(
    name="justai_calls",
    columns=Columns(
        fields=(
            *("event_timestamp", "user_id", "campaign_id", "action_id", "journey_id"),
            *("copy_id", "template_id", "vars", "attrs"),
        ),
        required=(("event_timestamp",), ("copy_id",), ("template_id",)),
    ),
    table=(
        ("event_timestamp", "bigint", "land_seconds(t_event_timestamp)"),
        ("user_id", "varchar", "t_user_id"),
        ("campaign_id", "bigint", "land_int(t_campaign_id)"),
        ("action_id", "bigint", "land_int(t_action_id)"),
        ("journey_id", "varchar", "t_journey_id"),
        ("copy_id", "varchar", "lower(t_copy_id)"),
        ("template_id", "varchar", "t_template_id"),
        ("vars", "json", "land_object(f_vars)"),
        ("attrs", "json", "land_object(f_attrs)"),
    ),
    reasons=(
        *_time_rules("event_timestamp"),
        ("missing_copy_id", "t_copy_id is null"),
        ("bad_copy_id", "not regexp_full_match(v_copy_id, '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}')"),
        ("missing_template_id", "t_template_id is null"),
        text_rule("template_id"),
        _id_rule("campaign_id"),
        _id_rule("action_id"),
        text_rule("journey_id"),
        text_rule("user_id"),
        map_rule("vars"),
        map_rule("attrs"),
    ),
    keys=("event_timestamp", "copy_id", "template_id", "campaign_id", "journey_id", "action_id"),
    maps=("vars", "attrs"),
    tails=((_COPY[0], _COPY[1] + ',"template_id":"t","vars":{}'), _ATTRS),
)


def only(listed: tuple[tuple[str, ...], ...], fields: tuple[str, ...]) -> Any:
    """The values or reasons of calls that concern these fields."""
    return tuple(item for item in listed if any(item[0] in (name, *_reasons_of(name)) for name in fields))


def _reasons_of(field: str) -> tuple[str, ...]:
    return f"missing_{field}", f"bad_{field}", f"{field}_out_of_bounds"


_OF_SENDS = ("event_timestamp", "user_id", "campaign_id", "action_id", "journey_id", "copy_id", "attrs")
_OF_VARIANTS = ("copy_id", "template_id", "vars")

# JustAI's export in two tables: a send is a call without what it says of its variant
SENDS = Dataset(
    name="justai_sends",
    columns=Columns(fields=_OF_SENDS, required=(("event_timestamp",), ("copy_id",))),
    table=only(CALLS.table, _OF_SENDS),
    reasons=only(CALLS.reasons, _OF_SENDS),
    keys=("event_timestamp", "copy_id", "campaign_id", "journey_id", "action_id"),
    maps=("attrs",),
    tails=(_COPY, _ATTRS),
)
VARIANTS = Dataset(
    name="justai_variants",
    # attrs describe people, and a variant has none: they are known, and not read
    columns=Columns(fields=(*_OF_VARIANTS, "attrs"), required=(("copy_id",), ("template_id",), ("vars",))),
    table=only(CALLS.table, _OF_VARIANTS),
    reasons=only(CALLS.reasons, _OF_VARIANTS),
    keys=("copy_id", "template_id", "vars"),
    maps=("vars",),
    of_hours=True,
)

EVENTS = Dataset(
    name="customerio_events",
    columns=Columns(
        fields=("event_id", "object_type", "object_type_type", "metric", "event_type", "timestamp", "data"),
        required=(("event_id",), ("timestamp",), ("metric", "event_type", "data")),
    ),
    table=(
        ("event_id", "varchar", "t_event_id"),
        ("object_type", "varchar", "coalesce(t_object_type, t_object_type_type)"),
        ("metric", "varchar", "t_metric"),
        (
            "event_type",
            "varchar",
            "coalesce(t_event_type, "
            "case when t_metric is null or coalesce(t_object_type, t_object_type_type) is null "
            "then land_text(land_object(f_data)->'$.event_type') end)",
        ),
        ("timestamp", "bigint", "land_seconds(t_timestamp)"),
        ("data", "json", "land_object(f_data)"),
        # in older events these stand elsewhere in data
        (
            "delivery_id",
            "varchar",
            f"coalesce({_id('delivery_id')}, {_id('variables.delivery_id')}, {_id('email_id')})",
        ),
        ("journey_id", "varchar", _id("journey_id")),
        ("action_id", "bigint", "land_int(d.action_id)"),
        ("parent_action_id", "bigint", "land_int(d.parent_action_id)"),
        ("campaign_id", "bigint", "coalesce(land_int(d.campaign_id), land_int(d.variables.campaign.id))"),
        ("user_id", "varchar", f"coalesce({_id('identifiers.id')}, {_id('customer_id')})"),
        ("href", "varchar", "nullif(d.href, '')"),
        ("is_prefetched", "boolean", "land_flag(d.prefetched)"),
        ("is_synthetic", "boolean", "land_flag(d.synthetic)"),
        ("is_machine_click", "boolean", "land_flag(d.machine)"),
    ),
    reasons=(
        ("missing_event_id", "t_event_id is null"),
        text_rule("event_id"),
        *_time_rules("timestamp"),
        ("bad_object_type", "n_object_type or n_object_type_type"),
        text_rule("metric"),
        text_rule("event_type"),
        map_rule("data"),
        _inexact_id_rule(("action_id", "parent_action_id", "campaign_id")),
        ("missing_metric", "v_metric is null and v_event_type is null"),
        # event_type: email_opened and metric: email_opened also name the channel
        (
            "missing_object_type",
            "v_object_type is null and v_event_type is null and not contains(v_metric, '_')",
        ),
    ),
    keys=("event_id", "timestamp", "delivery_id", "journey_id", "user_id"),
    members=json.dumps(
        {
            **dict.fromkeys(("delivery_id", "email_id", "journey_id", "action_id"), "VARCHAR"),
            **dict.fromkeys(("parent_action_id", "campaign_id", "customer_id", "href"), "VARCHAR"),
            **dict.fromkeys(("prefetched", "synthetic", "machine"), "VARCHAR"),
            "identifiers": {"id": "VARCHAR"},
            "variables": {"delivery_id": "VARCHAR", "campaign": {"id": "VARCHAR"}},
        }
    ),
)

LOGS = (CALLS, SENDS, VARIANTS, EVENTS)
"""The datasets of logs, which come as lines, or as Parquet or Avro of the same records."""

TIMES = {CALLS.name: "event_timestamp", SENDS.name: "event_timestamp", EVENTS.name: "timestamp"}
"""The column with a record's time, of datasets that have one."""

MARKED_JSON = {"holds": "json"}
"""Metadata of a column of text in which a value is JSON: a text in it stands in quotes."""


def member_columns(dataset: Dataset) -> dict[str, str]:
    """The columns that are read out of the column `data` alone, with their values."""
    return {column: value for column, _, value in dataset.table if re.search(r"\bd\.", value)}
