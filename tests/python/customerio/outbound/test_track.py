"""Requests to the Track API: what each answer means, and what never leaves."""

import json
import math
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.customerio.outbound.outcomes import Again, Refusal, Refused
from scripts.customerio.outbound.track import Track
from scripts.errors import UserError
from support.track_server import API_KEY, SITE_ID, World

SECRET = "mia@example.com"


def identify(identifier: str, **attributes: Any) -> str:
    item = {
        "type": "person",
        "identifiers": {"id": identifier},
        "action": "identify",
        "attributes": attributes,
    }
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture
def track(world: World) -> Iterator[Track]:
    track = Track("us", SITE_ID, API_KEY, world.address)
    yield track
    track.close()


def test_items_arrive_byte_for_byte(world: World, track: Track) -> None:
    texts = [identify("u1", city="Zürich", score=1.10, big=12345678901234567890), identify("u2")]
    assert track.batch(texts) == {}
    assert world.bodies == [('{"batch":[' + ",".join(texts) + "]}").encode()]
    metric = {"delivery_id": "d1", "metric": "opened", "recipient": "é"}
    assert track.metric(json.dumps(metric)) == {}
    assert world.workspace.metrics == [metric]
    assert world.asked == [("POST", "/api/v2/batch"), ("POST", "/api/v1/metrics")]


def test_of_a_207_only_the_named_items_are_refused(world: World, track: Track) -> None:
    found = track.batch([identify("u1"), identify("u2", x="y" * 1_001), identify("")])
    assert found == {
        1: Refusal("invalid", "attributes.x", "too long"),
        2: Refusal("invalid", "identifiers.id", "bad identifier "),
    }
    assert [person and person.identifiers for person in world.workspace.people] == [{"id": "u1"}]


def test_of_an_item_with_several_faults_the_first_is_kept(world: World, track: Track) -> None:
    errors = [{"batch_index": 1, "reason": reason, "field": "f"} for reason in ("required", "invalid")]
    world.instead = [(207, {}, json.dumps({"errors": errors}).encode())]
    assert track.batch([identify("u1"), identify("u2")]) == {1: Refusal("required", "f")}


@pytest.mark.parametrize("status", [207, 400])
def test_a_reason_that_is_cut_within_a_character_can_be_written(
    world: World, track: Track, status: int
) -> None:
    """Half of a surrogate pair is no text for the journal, nor for the ledger."""
    error = {"batch_index": 0, "reason": "invalid", "message": "bad value \ud83d"}
    world.instead = [(status, {}, json.dumps({"errors": [error]}).encode())]
    try:
        (refusal,) = track.batch([identify("u1")]).values()
    except Refused as caught:
        refusal = caught.refusal
    assert str(refusal).encode() == "invalid: bad value \N{REPLACEMENT CHARACTER}".encode()


@pytest.mark.parametrize(
    "answer",
    [b"{}", b'{"errors":[]}', b'{"errors":[{"reason":"x"}]}', b'{"errors":[{"batch_index":2}]}', b"<html>"],
)
def test_a_207_that_names_no_items_acknowledges_nothing(world: World, track: Track, answer: bytes) -> None:
    world.instead = [(207, {}, answer)]
    with pytest.raises(UserError, match="207 without saying which items"):
        track.batch([identify("u1"), identify("u2")])


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        ("503", None),
        ("429", None),
        ("429 7", 7.0),
        ("503 9", 9.0),
        ("cut before", None),
        ("cut after", None),
        ("500 after", None),
    ],
)
def test_what_may_pass_is_to_be_sent_again_and_is_sent_once_by_the_client(
    world: World, track: Track, fault: str, wait: float | None
) -> None:
    world.fault = lambda _number: fault
    with pytest.raises(Again) as caught:
        track.batch([identify("u1", email=SECRET)])
    assert caught.value.wait == wait
    assert str(caught.value) == (fault[:3] if fault[0] in "45" else "no answer (ConnectionError)")
    # the client's own retries are off
    assert world.requests == 1


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-1", 0.0),
        ("9" * 400, math.inf),
        ("Fri, 04 Sep 2026 00:00:30 GMT", 30.0),
        ("Friday, 04-Sep-26 00:00:30 GMT", 30.0),
        ("Fri Sep  4 00:00:30 2026", 30.0),
        ("Fri, 04 Sep 2026 00:00:00 GMT", None),
        ("Thu, 03 Sep 2026 23:59:59 GMT", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Fri, 99 Sep 2026 00:00:30 GMT", None),
        ("4 Sep 2026 " + "9" * 30 + ":00:00", None),
        *((text, None) for text in ("", "soon", "nan", "7 s")),
    ],
)
def test_a_retry_after_is_a_number_of_seconds_or_a_date(
    world: World, track: Track, monkeypatch: pytest.MonkeyPatch, given: str, waits: float | None
) -> None:
    monkeypatch.setattr("scripts.customerio.outbound.track.time.time", lambda: 1_788_480_000.0)
    world.instead = [(429, {"Retry_After": given}, b"")]
    with pytest.raises(Again) as caught:
        track.batch([identify("u1")])
    assert caught.value.wait == waits


@pytest.mark.parametrize("status", [200, 207, 400])
def test_an_answer_that_is_cut_within_its_body_is_none(world: World, track: Track, status: int) -> None:
    world.instead = [(status, {"Content_Length": "100"}, b'{"errors":')] * 2
    for call in (lambda: track.batch([identify("u1")]), lambda: track.metric("{}")):
        with pytest.raises(Again, match="no answer"):
            call()


def test_no_answer_within_the_time_is_to_be_sent_again(track: Track) -> None:
    nobody = Track("us", SITE_ID, API_KEY, "https://127.0.0.1:1")
    with pytest.raises(Again, match="no answer"):
        nobody.batch([identify("u1")])
    with pytest.raises(Again):
        nobody.check()


def test_a_redirect_is_the_wrong_region_and_is_not_followed(world: World, track: Track) -> None:
    world.region = "eu"
    with pytest.raises(UserError, match=r"give --region eu\. The last requests came to 127") as caught:
        track.batch([identify("u1")])
    assert "Nothing was sent" not in str(caught.value)
    assert world.asked == [("POST", "/api/v2/batch")]


def test_the_region_is_asked_for_before_anything_about_people_leaves(world: World, track: Track) -> None:
    track.check()
    world.region = "eu"
    with pytest.raises(UserError, match=r"in the region eu: give --region eu\. Nothing was sent to 127"):
        track.check()
    with pytest.raises(UserError, match=r"refuses the key \(401\)"):
        Track("us", SITE_ID, "wrong", world.address).check()
    assert world.bodies == []


def test_a_wrong_key_names_key_and_region(world: World) -> None:
    with pytest.raises(UserError, match=r"CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY .* --region"):
        Track("us", SITE_ID, "wrong", world.address).batch([identify("u1")])


def test_a_200_that_is_no_json_is_no_acknowledgement(world: World, track: Track) -> None:
    world.instead = [(200, {}, b"<html>sign in</html>"), (404, {}, b"{}")]
    with pytest.raises(UserError, match="is a proxy in between"):
        track.batch([identify("u1")])
    with pytest.raises(UserError, match=r"404.*is --api-url right"):
        track.batch([identify("u1")])


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b'{"errors":[{"reason":"required","field":"f","message":"m"}]}', Refusal("required", "f", "m")),
        (b'{"meta":{"errors":["bad"]}}', Refusal("400", "", "bad")),
        (b'{"meta":{"error":"bad"}}', Refusal("400", "", "bad")),
        (b"oops", Refusal("400")),
    ],
)
def test_a_400_is_a_refusal_in_any_of_its_shapes(
    world: World, track: Track, body: bytes, refusal: Refusal
) -> None:
    world.instead = [(400, {}, body)]
    with pytest.raises(Refused) as caught:
        track.batch([identify("u1")])
    assert caught.value.refusal == refusal


@pytest.mark.parametrize("fault", ["503", "cut before", "400"])
def test_no_error_holds_what_was_sent(world: World, track: Track, fault: str) -> None:
    """The client's own errors have the whole batch in their text."""
    world.fault = lambda _number: fault
    world.instead = [(400, {}, b"{}")] if fault == "400" else []
    with pytest.raises((Again, Refused)) as caught:
        track.batch([identify(SECRET, email=SECRET)])
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert API_KEY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("address", ["http://x", "x", "https://x/path", "ftp://x"])
def test_nothing_goes_out_in_the_clear(address: str) -> None:
    with pytest.raises(UserError, match="--api-url"):
        Track("us", SITE_ID, API_KEY, address)


def test_each_region_has_its_host() -> None:
    hosts = {region: Track(region, SITE_ID, API_KEY)._client.host for region in ("us", "eu")}
    assert hosts == {"us": "track.customer.io", "eu": "track-eu.customer.io"}
