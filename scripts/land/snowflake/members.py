"""What Snowflake reads out of an event's `data` into columns, as `scripts.land.rules` does on DuckDB."""

from collections.abc import Mapping

from scripts.land.rules import EVENTS

_WHOLE = "-?[0-9]+"
_NUMBER = "-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?"


def _text(path: str) -> str:
    return f"nullif(d:{path}::varchar, '')"


def some(text: str) -> str:
    """SQL of a text, null where it is empty or spaces alone."""
    return f"case when trim({text}, ' ') <> '' then {text} end"


def _id(path: str) -> str:
    """The text of an id: of the number 15.0 that of 15."""
    text = f"d:{path}::varchar"
    # the JSON of a text begins with a quote
    is_float = f"regexp_like(to_json(d:{path}), '-?[0-9]+[.eE].*')"
    return f"case when {is_float} then coalesce(to_varchar({int_of(text)}), {text}) else {some(text)} end"


def int_of(text: str) -> str:
    """Digits within 64 bits are exact (Snowflake's bigint has 38); a float is whole below 2^53."""
    return f"""case
        when regexp_like({text}, '{_WHOLE}') then case
            when try_cast({text} as decimal(38, 0)) between -9223372036854775808 and 9223372036854775807
            then cast({text} as bigint) end
        when regexp_like({text}, '{_NUMBER}') and abs(try_cast({text} as double)) < 9007199254740992
            and floor(try_cast({text} as double)) = try_cast({text} as double)
        then cast(try_cast({text} as double) as bigint) end"""


def flag_of(text: str) -> str:
    return f"""case
        when lower(trim({text}, ' ')) in ('true', 't', 'yes', 'y', '1', '1.0') then true
        when lower(trim({text}, ' ')) in ('false', 'f', 'no', 'n', '0', '0.0') then false end"""


_IDS = {
    "delivery_id": ("delivery_id", "variables.delivery_id", "email_id"),
    "journey_id": ("journey_id",),
    "user_id": ("identifiers.id", "customer_id"),
}
_TEXTS = {"href": ("href",)}
_INTS = {
    "action_id": ("action_id",),
    "parent_action_id": ("parent_action_id",),
    "campaign_id": ("campaign_id", "variables.campaign.id"),
}
_FLAGS = {"is_prefetched": "prefetched", "is_synthetic": "synthetic", "is_machine_click": "machine"}


def _first(values: list[str]) -> str:
    return f"coalesce({', '.join(values)})" if len(values) > 1 else values[0]


MEMBERS: Mapping[str, Mapping[str, str]] = {
    EVENTS.name: {
        **{column: _first([_id(path) for path in paths]) for column, paths in _IDS.items()},
        **{column: _first([_text(path) for path in paths]) for column, paths in _TEXTS.items()},
        **{column: _first([int_of(_text(path)) for path in paths]) for column, paths in _INTS.items()},
        **{column: flag_of(_text(path)) for column, path in _FLAGS.items()},
    }
}
"""Per dataset, each such column and its value, where `d` is the parsed `data`."""


def plain_members() -> str:
    """SQL that says whether both engines surely read the members of `d` alike: no object or array in place of
    a text, ids are digits, flags are JSON's own.
    """
    tests = [
        *(
            f"left({_text(path)}, 1) not in ('{{', '[')"
            for paths in (_IDS | _TEXTS).values()
            for path in paths
        ),
        *(f"regexp_like({_text(path)}, '-?[0-9]{{1,18}}')" for paths in _INTS.values() for path in paths),
        *(f"{_text(path)} in ('true', 'false')" for path in _FLAGS.values()),
    ]
    return " and ".join(f"coalesce({test}, true)" for test in tests)
