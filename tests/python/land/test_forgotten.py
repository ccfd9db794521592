"""What stands for a forgotten person in JSON and in text, wherever an identifier stands."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.land.forgotten import GONE, PREFIX, Known, names_record, plain, scrubbed_json

NAMES = ("ann-77", "cio-ann-77", "Ann.77@Example.com")
ODD_NAMES = (
    "auth0|77",
    "rené@example.com",
    "ann+news@example.com",
    "ann of the north",
    "o'neil@example.com",
    "4711",
)
SALT = Known("salt", frozenset())
KNOWN = Known("salt", frozenset(map(SALT.hash_of, (*NAMES, *ODD_NAMES))))
KEYS = st.sampled_from(
    [
        *NAMES,
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
    assert not names_record("messages", "", "d1", once, KNOWN)
    assert scrubbed_json(once, KNOWN) == once


def test_the_number_of_a_person_may_have_been_written_as_a_float() -> None:
    assert KNOWN.names('{"user_id":4711.0,"campaign_id":"x"}')
    assert not KNOWN.names('{"user_id":4711.5,"campaign_id":4711.0}')
    pseudonym = KNOWN.pseudonym("4711")
    given = {"identifiers": {"id": 4711.0}, "price": 4711.0}
    assert json.loads(scrubbed_json(json.dumps(given), KNOWN)) == {
        "identifiers": {"id": pseudonym},
        "price": 4711.0,
    }


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


def test_a_member_that_is_called_as_somebody_gets_a_pseudonym() -> None:
    given = {"opens": {"Ann.77@Example.com": 2, "4711": 3}, "variables": {"ann-77": {"plan": 1}}}
    assert json.loads(scrubbed_json(json.dumps(given), KNOWN)) == {
        "opens": {KNOWN.pseudonym("ann.77@example.com"): 2, "4711": 3},
        "variables": {KNOWN.pseudonym("ann-77"): {"plan": 1}},
    }
    assert names_record("activities", "", "a1", json.dumps({"data": given}), KNOWN)
    assert not names_record("activities", "", "a1", '{"data":{"4711":1}}', KNOWN)


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ('{"customer_id": "ann-77"', True),
        ("a line of ANN.77@example.com, broken", True),
        ("?e=Ann.77%40Example.com&x", True),
        ('"\\ud800 ann-77', True),
        # as JSON and the web write what is no plain letter, also where the line was cut off
        ('{"email": "ren\\u00e9@example.com', True),
        ('{"user_id": "auth0|77", "copy_id": 1}', True),
        ("user auth0|77, broken", True),
        ("https:\\/\\/x.y\\/auth0|77\\/p", True),
        ("?e=Ren%C3%A9%40example.com", True),
        ("?to=https%3A%2F%2Fx.y%2F%3Fe%3Dann.77%2540example.com", True),
        ("?u=ann+of+the+north&n=1", True),
        # encodeURIComponent leaves an apostrophe as it is
        ("?e=o'neil%40example.com&n=1", True),
        ("'ann-77', (ann of it)", True),
        # the end of a sentence is no part of a name
        ("550 5.1.1 ann.77@example.com... User unknown", True),
        ("it was *ann-77*!", True),
        ("\u201cann-77.\u201d", True),
        # a number is a name where a member says so, or where nothing says what it is
        ('{"user_id": 4711, "copy_id": "none"}', True),
        ('[{"userId": "4711"}]', True),
        ('{"user_id": 4711', True),
        ('{"user_id": "bob-9", "campaign_id": 4711}', False),
        ("auth0|771", False),
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


@pytest.mark.parametrize(
    ("link", "name", "expected"),
    [
        ("https://x.y/?e=ann%2Bnews%40example.com&n=1", "ann+news@example.com", "https://x.y/?e={}&n=1"),
        ("https://x.y/u/auth0%7C77", "auth0|77", "https://x.y/u/{}"),
        ("https://x.y/u/auth0|77/p#a", "auth0|77", "https://x.y/u/{}/p#a"),
        ("mailto:ren%c3%a9@example.com", "rené@example.com", "mailto:{}"),
        ("https://x.y/?e=o'neil%40example.com&n=1", "o'neil@example.com", "https://x.y/?e={}&n=1"),
        ("https://x.y/?u=ann+of%20the+north&n=1+2", "ann of the north", "https://x.y/?u={}&n=1+2"),
    ],
)
def test_a_link_names_nobody_however_it_is_written(link: str, name: str, expected: str) -> None:
    assert KNOWN.without_names(link) == expected.format(KNOWN.pseudonym(name))


def test_a_link_within_a_link_names_nobody() -> None:
    link = "https://x.y/go?to=https%3A%2F%2Fz.y%2F%3Fe%3Dann.77%2540example.com%26n%3D1&m=%2F"
    inner = f"https://z.y/?e={KNOWN.pseudonym('ann.77@example.com')}&n=1"
    assert KNOWN.without_names(link) == f"https://x.y/go?to={quote(inner, safe='')}&m=%2F"


@pytest.mark.parametrize(
    ("entity", "scope", "key", "payload", "is_named"),
    [
        ("campaigns", "", "4711", {"id": 4711, "name": "Welcome"}, False),
        ("actions", "campaigns/4711", "campaigns/4711/8", {"id": 8, "broadcast_id": 4711}, False),
        ("segment_members", "segments/4711", "segments/4711/c9", {"cio_id": "c9", "id": "9"}, False),
        ("segment_members", "segments/3", "segments/3/c1", {"cio_id": "c1", "id": "4711"}, True),
        ("segment_members", "segments/3", "segments/3/id:auth0|77", {"name": "x"}, True),
        ("messages", "email", "d9", {"id": "d9", "customer_id": "9", "campaign_id": 4711}, False),
        ("messages", "email", "d1", {"id": "d1", "customer_id": 4711, "campaign_id": 9}, True),
        ("messages", "email", "d1", {"customer_identifiers": {"id": "4711"}}, True),
        ("activities", "event", "a1", {"data": {"from": "Ann.77@example.com"}}, True),
        ("customers", "", "c1", {"cio_id": "c1", "id": "4711"}, True),
    ],
)
def test_the_number_of_a_campaign_is_nobodys_id(
    entity: str, scope: str, key: str, payload: dict[str, Any], is_named: bool
) -> None:
    assert names_record(entity, scope, key, json.dumps(payload), KNOWN) == is_named


def test_numbers_of_things_stay_where_a_person_has_the_same() -> None:
    given = {"id": 4711, "campaign_id": "4711", "action_id": 4711, "customer_id": 4711, "journey_id": "j1"}
    who = KNOWN.pseudonym("4711")
    assert json.loads(scrubbed_json(json.dumps(given), KNOWN)) == {
        **given,
        "id": who,
        "customer_id": who,
    }
