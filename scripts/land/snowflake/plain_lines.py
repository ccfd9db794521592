"""Which JSON lines Snowflake may check by itself, and the rows that it makes of them.

A plain line is one that both engines surely read alike: known fields only, each at most once and of its usual
type, with numbers and escapes that no parser rewrites. The rules of `scripts.land.rules` check all others
(rejects among them) in DuckDB. The contract: a plain line lands as those rules would land it. The tests
compare the two.

Patterns keep to what Snowflake documents (POSIX extended regular expressions, no lazy quantifiers), where a
group that took no part in a match is never referred to.
"""

from collections.abc import Mapping

from scripts.land.rules import CALLS, EVENTS, Dataset
from scripts.land.snowflake.members import MEMBERS, plain_members, some

LONGEST = 1_000_000
"""Characters of a line above which it is not looked at here."""

# not \u and control characters: DuckDB writes the former as the characters they mean
_STRING = r'"([^"\\[:cntrl:]]|\\["\\/bfnrt])*"'
_WHOLE = "(0|-?[1-9][0-9]{0,17})"
_TEXT = f"({_STRING}|{_WHOLE}|null)"
_ID = f'({_WHOLE}|"{_WHOLE}"|""|null)'
# seconds, milliseconds or microseconds of the years 2001 to 2286: the first ten digits are the seconds
_DIGITS = "[1-9][0-9]{9}([0-9]{3}([0-9]{3})?)?"
_TIME = f'({_DIGITS}|"{_DIGITS}")'
_COPY_ID = '"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"'
_SCALAR = rf'([^"{{}}]|{_STRING})'
# a JSON object with objects in it, by its braces; the skeleton tests whether it is JSON
_MAP = rf"\{{({_SCALAR}|\{{({_SCALAR}|\{{{_SCALAR}*\}})*\}})*\}}"
_MAP_OR_NULL = f"(null|{_MAP})"
_DEPTH = 6
# Numbers that DuckDB's JSON writes as they stand, unlike 1.50, 1e2 and -0, and that Snowflake's JSON keeps:
# whole ones up to the 38 digits of NUMBER. The longest way to read a number stands first: engines differ in
# whether they take the first or the longest.
_VALUE = r"-?(0|[1-9][0-9]{0,8})\.[0-9]{0,3}[1-9]|-?[1-9][0-9]{0,37}|0|true|false|null"

FIELDS: Mapping[str, Mapping[str, str]] = {
    CALLS.name: {
        "event_timestamp": _TIME,
        "user_id": _TEXT,
        "campaign_id": _ID,
        "action_id": _ID,
        "journey_id": _TEXT,
        "copy_id": _COPY_ID,
        "template_id": _TEXT,
        "vars": _MAP_OR_NULL,
        "attrs": _MAP_OR_NULL,
    },
    EVENTS.name: {
        "event_id": _TEXT,
        "object_type": _TEXT,
        "object_type_type": _TEXT,
        "metric": _TEXT,
        "event_type": _TEXT,
        "timestamp": _TIME,
        "data": _MAP_OR_NULL,
    },
}
"""Pattern of each field's value in a plain line."""

# What v (the parsed line), d (its `data`) and m_x (the text of map x) of a plain line give for the columns
# that are not simply the text of the field of their name.
_VALUES = {
    CALLS.name: {
        "event_timestamp": "to_number(left(v:event_timestamp::varchar, 10))",
        "campaign_id": "to_number(nullif(v:campaign_id::varchar, ''))",
        "action_id": "to_number(nullif(v:action_id::varchar, ''))",
        "copy_id": "lower(v:copy_id::varchar)",
    },
    EVENTS.name: {
        "object_type": f"coalesce({some('v:object_type::varchar')}, {some('v:object_type_type::varchar')})",
        "timestamp": "to_number(left(v:timestamp::varchar, 10))",
        **MEMBERS[EVENTS.name],
    },
}
# Conditions on the values, beside the patterns. An event without any type may have one in its data: not here.
_COMPLETE = {
    CALLS.name: "v_copy_id is not null and v_template_id is not null",
    EVENTS.name: "v_event_id is not null "
    "and (v_event_type is not null or (v_metric is not null and v_object_type is not null)) "
    f"and {plain_members()}",
}
_TIMES = {CALLS.name: "event_timestamp", EVENTS.name: "timestamp"}


def line_pattern(dataset: Dataset) -> str:
    """Regular expression of a whole line of known fields, each with a value of its usual type.

    It stands beside the skeleton's test, and so need not tell a comma from the last brace.
    """
    members = "|".join(f'"{field}" *: *{value}' for field, value in FIELDS[dataset.name].items())
    # REGEXP_LIKE is implicitly anchored at both ends
    return rf"\{{( *({members}) *[,}}])+ *"


def classify_query(dataset: Dataset, lines: str, earliest: int, latest: int) -> str:
    """Snowflake query over the table `lines` (file, line, text: one row per physical line of a file).

    Gives file, line, plain, odd, text and the columns of the landing table. `text` is null for a plain line,
    the columns are null for every other. `odd`: the line says that its file may be no file of lines, which
    is for the reader of files to tell: a NUL, no text, or a first line that is no record. A plain line's time
    lies in [earliest, latest), unix seconds.
    """
    maps = [column for column, kind, _ in dataset.table if kind == "json"]
    own = _VALUES[dataset.name]
    values = {
        column: f"m_{column}" if kind == "json" else own.get(column, some(f"v:{column}::varchar"))
        for column, kind, _ in dataset.table
    }
    spelled = ", ".join(f"{_spelled(column)} as r_{column}" for column in maps)
    again = ", ".join(f"{_again(column)} as t_{column}" for column in maps)
    written = ", ".join(f"{_written(column)} as m_{column}" for column in maps)
    data = ", v:data as d" if dataset.members else ""
    typed = ", ".join(f"{value} as v_{column}" for column, value in values.items())
    once = " and ".join(f"not t_{column}" for column in maps)
    time = _TIMES[dataset.name]
    columns = ", ".join(f"case when plain then v_{column} end as {column}" for column in values)
    return f"""
with lines as (
    select file, line, text, rtrim(text, chr(13)) as record from {lines}
),
known as (
    select *, case when length(record) <= {LONGEST} and regexp_like(record, $${line_pattern(dataset)}$$)
        then record end as known
    from lines
),
shaped as (
    select *, case when {_reduced("known")} = '0' then known end as shaped from known
),
parsed as (
    select *, try_parse_json(shaped) as v from shaped
),
spelled as (
    select *, {spelled}, {again} from parsed
),
mapped as (
    select *, {written}{data} from spelled
),
typed as (
    select *, {typed} from mapped
),
classified as (
    select *, coalesce(v is not null and {once} and {_COMPLETE[dataset.name]}
        and v_{time} between {earliest} and {latest - 1}, false) as plain
    from typed
)
select
    file, line, plain,
    coalesce(contains(text, chr(0))
        or (line = 1 and not (startswith(text, '{{"') and right(record, 1) = '}}')), true) as odd,
    case when not plain then text end as text, {columns}
from classified"""


def _reduced(text: str) -> str:
    """SQL that gives '0' for JSON of at most _DEPTH levels, and something else for what is no JSON.

    Strings become "", white space around punctuation is dropped, other values become 0; then objects and
    arrays of such values become 0 themselves, from the innermost outwards.
    """
    sql = f"regexp_replace({text}, $${_STRING}$$, '\"\"')"
    sql = rf"regexp_replace({sql}, $$ *(\[|\]|:|,|\{{|\}}) *$$, $$\1$$)"
    sql = rf"regexp_replace({sql}, $${_VALUE}$$, '0')"
    value = '(0|"")'
    member = f'"":{value}'
    container = rf"\{{({member}(,{member})*)?\}}|\[({value}(,{value})*)?\]"
    for _ in range(_DEPTH):
        sql = f"regexp_replace({sql}, $${container}$$, '0')"
    return sql


def _spelled(column: str) -> str:
    """SQL of a map's text in the line; because the name occurs only once, it is the one at the top."""
    return (
        f"case when v:{column} is not null "
        f"then regexp_substr(shaped, $$\"{column}\" *: *{_MAP_OR_NULL}$$, 1, 1, 'e', 1) end"
    )


def _again(column: str) -> str:
    """SQL that says whether the name of a map occurs twice in the line, also as a key within another map."""
    return f'regexp_substr(shaped, $$"{column}" *:$$, 1, 2) is not null'


def _written(column: str) -> str:
    """SQL of a map's text as DuckDB writes it: no white space, no needless escapes."""
    bare = rf"regexp_replace(r_{column}, $$(([^\" ]|{_STRING})+) *$$, $$\1$$)".replace(r"\"", '"')
    slashes = f"replace(replace(replace({bare}, $$\\\\$$, chr(1)), $$\\/$$, '/'), chr(1), $$\\\\$$)"
    return f"coalesce(nullif({slashes}, 'null'), '{{}}')"
