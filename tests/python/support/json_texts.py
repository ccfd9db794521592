"""JSON objects as random text: keys, strings, numbers and white space of every kind."""

import json
from typing import Any

from hypothesis import strategies as st


def exact(text: str) -> Any:
    """JSON in which 1, 1.0, true and "1" differ, and 41.50 and 41.5 do not."""
    return json.loads(
        text,
        parse_int=lambda whole: ("whole", int(whole)),
        parse_float=lambda decimal: ("decimal", float(decimal)),
    )


TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["-0", ",-0}", ": 1.50", "1e2", '"', "\\", "\1"]
)
WHOLE = st.integers(-(2**63), 2**64 - 1).map(str)
NUMBERS = WHOLE | st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20}|(\.[0-9]{1,20})?[eE][-+]?[0-9]{1,3})", fullmatch=True
)
SPACE = st.sampled_from(["", " ", "\t", "  "])


def in_json(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda text, escaped: json.dumps(text, ensure_ascii=escaped), texts, st.booleans())


def members(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.dictionaries(TEXTS, st.tuples(values, SPACE, SPACE), max_size=4)
    return pairs.map(
        lambda found: (
            "{" + ",".join(f"{s}{json.dumps(k)}{s}:{t}{v}{t}" for k, (v, s, t) in found.items()) + "}"
        )
    )


VALUES = st.recursive(
    NUMBERS | in_json(TEXTS) | st.sampled_from(["true", "null"]),
    lambda inner: members(inner) | st.lists(inner, max_size=3).map(lambda items: f"[{' ,'.join(items)}]"),
    max_leaves=5,
)
