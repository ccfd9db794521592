"""Times that are written in ISO 8601, as SQL of both engines: whole milliseconds since 1970 (UTC).

A text without a zone is UTC. Digits alone are seconds, milliseconds or microseconds by their size, as a
column of a table gives them.
"""

PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
    r"([Zz]|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?)?"
)
"""A date, or a date with a time to the second or finer; whether the day exists is for the cast to say."""
_DIGITS = "[0-9]{1,17}([.][0-9]+)?"

TIME_MACROS = rf"""
create or replace temp macro land_offset(o) as
    case when o = '' then 0 else case when starts_with(o, '-') then -1 else 1 end
        * (try_cast(substr(o, 2, 2) as bigint) * 60 + try_cast(right(o, 2) as bigint)) end;
create or replace temp macro land_millis(t) as
    case when regexp_full_match(t, '{PATTERN}')
         then epoch_ms(try_cast(left(t, 10) || ' '
                 || case when length(t) > 10 then substr(t, 12, 8) else '00:00:00' end as timestamp))
             + try_cast(left(rpad(regexp_extract(t, '[.]([0-9]+)', 1), 3, '0'), 3) as bigint)
             - 60000 * land_offset(regexp_extract(substr(t, 20), '[+-][0-9:]+$'))
         when regexp_full_match(t, '{_DIGITS}')
         then try_cast(floor(land_unit(try_cast(t as double)) * 1000) as bigint) end;
"""


def snowflake_millis(text: str) -> str:
    """`land_millis` in Snowflake's SQL."""
    clock = f"case when length({text}) > 10 then substr({text}, 12, 8) else '00:00:00' end"
    moment = f"try_to_timestamp_ntz(left({text}, 10) || ' ' || {clock}, 'YYYY-MM-DD HH24:MI:SS')"
    fraction = f"coalesce(regexp_substr({text}, '[.]([0-9]+)', 1, 1, 'e', 1), '')"
    offset = f"regexp_substr(substr({text}, 20), '[+-][0-9:]+$')"
    minutes = (
        f"coalesce(case when left({offset}, 1) = '-' then -1 else 1 end "
        f"* (to_number(substr({offset}, 2, 2)) * 60 + to_number(right({offset}, 2))), 0)"
    )
    number = f"try_cast({text} as double)"
    unit = (
        f"case when {number} > 1e14 then {number} / 1e6 when {number} > 1e11 then {number} / 1e3 "
        f"else {number} end"
    )
    return (
        f"case when regexp_like({text}, '{PATTERN}') then date_part(epoch_second, {moment}) * 1000 "
        f"+ to_number(left(rpad({fraction}, 3, '0'), 3)) - 60000 * {minutes} "
        f"when regexp_like({text}, '{_DIGITS}') then cast(floor({unit} * 1000) as bigint) end"
    )
