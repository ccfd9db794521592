"""What stands for a forgotten person in JSON and in text, wherever an identifier stands."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.land.forgotten import GONE, PREFIX, Known, names_person, plain, scrubbed_json

NAMES = ("ann-77", "cio-ann-77", "Ann.77@Example.com")
SALT = Known("salt", frozenset())
KNOWN = Known("salt", frozenset(map(SALT.hash_of, NAMES)))
KEYS = st.sampled_from(
    [
        "id",
        "customer_id",
        "identifiers",
        "recipient",
        "href",
        "subject",
        "delivery_id",
        "attributes",
        "x",
        "to",
    ]
)
LEAVES = st.sampled_from([*NAMES, "d1", "19.90", 19.9, 7, True, None, "Hi Ann", "ANN.77@example.com", ""])
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_no_identifier_is_left_and_a_second_time_changes_nothing(value: Any) -> None:
    once = scrubbed_json(json.dumps({"data": value}), KNOWN)
    assert not any(name.lower() in once.lower() for name in NAMES)
    assert not names_person(once, KNOWN)
    assert scrubbed_json(once, KNOWN) == once


def test_what_counts_need_stays_and_the_rest_goes() -> None:
    given = {
        "delivery_id": "d1",
        "campaign_id": 7,
        "prefetched": True,
        "variables": {"value": "19.90", "first_name": "Ann"},
        "identifiers": {"id": "ann-77", "email": "shared@example.com"},
        "recipient": "+4917012345",
        "href": "https://x.y/p?e=ann.77%40example.com&n=1",
        "attributes": {"plan": "team"},
        "limit": 1e400,
    }
    text = json.dumps(given).replace("Infinity", "1e400")
    assert json.loads(scrubbed_json(text, KNOWN)) == {
        "delivery_id": "d1",
        "campaign_id": 7,
        "prefetched": True,
        "variables": {"value": "19.90", "first_name": GONE},
        "identifiers": {"id": KNOWN.pseudonym("ann-77"), "email": KNOWN.pseudonym("shared@example.com")},
        "recipient": KNOWN.pseudonym("+4917012345"),
        "href": f"https://x.y/p?e={KNOWN.pseudonym('ann.77@example.com')}&n=1",
        "attributes": {},
        "limit": None,
    }


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ('{"customer_id": "ann-77"', True),
        ("a line of ANN.77@example.com, broken", True),
        ("?e=Ann.77%40Example.com&x", True),
        ('"\\ud800 ann-77', True),
        ('{"customer_id": "ann-771"}', False),
        ("annotation-77", False),
    ],
)
def test_a_rejected_line_is_looked_up_word_by_word(text: str, is_named: bool) -> None:
    assert KNOWN.names(text) == is_named


def test_letters_of_an_address_do_not_matter_and_those_of_an_id_do() -> None:
    assert plain(" Ann@Example.com") == "ann@example.com"
    assert KNOWN.has("ANN.77@EXAMPLE.COM") and not KNOWN.has("ANN-77")
    pseudonym = KNOWN.pseudonym("ann-77")
    assert pseudonym.startswith(PREFIX) and KNOWN.pseudonym(pseudonym) == pseudonym
    assert Known("another salt", frozenset()).pseudonym("ann-77") != pseudonym
