"""Requests to the App API: pace, retries, endings of lists, every shape of an error."""

import json
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from scripts.customerio.app_api import (
    Api,
    Gone,
    Restarted,
    download,
    items_of,
    one,
    open_api,
    pages,
    path_of,
)
from scripts.errors import UserError
from support.app_api import KEY, NOW, Answer, World, answer, error, message, served, token

# of Retry-After: neither seconds nor a date to come
UNUSABLE = (
    *("soon", "nan", "-1", "Mon, 01 Jan 99999 00:00:00 GMT"),
    *("Mon, 99 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "1 Jan 2026 " + "9" * 30 + ":00:00"),
)


@pytest.fixture
def world() -> Iterator[World]:
    with served(World(most=2)) as world:
        yield world


def api(world: World, key: str = KEY) -> Api:
    return open_api(world.address, key, rate=10_000, backoff=0.001, pause=0.001)


def read(world: World, path: str, member: str, **given: Any) -> list[list[Any]]:
    return list(pages(api(world), path, member, given))


def test_a_list_ends_where_next_is_empty_absent_or_null(world: World) -> None:
    for ending in ({"next": ""}, {}, {"next": None}):
        world.instead = [
            answer(200, {"messages": [1], "next": "b"}),
            answer(200, {"messages": [2], **ending}),
        ]
        assert read(world, "v1/messages", "messages") == [[1], [2]]
    assert [given.get("start") for _, _, given in world.asked] == [None, "b"] * 3


def test_a_list_ends_behind_a_token_that_leads_to_nothing(world: World) -> None:
    world.newsletters = [{"id": n} for n in range(4)]
    assert read(world, "v1/newsletters", "newsletters") == [
        [{"id": 0}, {"id": 1}],
        [{"id": 2}, {"id": 3}],
        [],
    ]


def test_parameters_stay_on_every_page(world: World) -> None:
    world.messages = [message(n) for n in range(5)]
    read(world, "v1/messages", "messages", limit=2, start_ts=5, end_ts=NOW)
    assert [given for _, _, given in world.asked] == [
        {"limit": "2", "start_ts": "5", "end_ts": str(NOW), **({"start": token(n)} if n else {})}
        for n in (0, 2, 4)
    ]


def test_a_list_that_begins_again_does_not_go_round_for_ever(world: World) -> None:
    """A token beyond the end gives the first page and its token."""
    world.messages = [message(n) for n in range(4)]
    found = pages(api(world), "v1/messages", "messages", {})
    assert len(next(found)) == 2
    world.messages.pop()
    world.messages.pop()
    world.instead = [answer(200, {"messages": world.messages, "next": token(2)})]
    next(found)
    with pytest.raises(Restarted):
        list(found)


def test_null_is_an_empty_list_and_a_missing_one_is_an_error(world: World) -> None:
    assert items_of({"reporting_webhooks": None}, "reporting_webhooks", "p") == []
    for body in ({"messages": []}, {"segments": {}}, {}):
        world.instead = [answer(200, body)]
        with pytest.raises(
            UserError, match=r"segments answered 200 without a list segments .*API has changed"
        ):
            read(world, "v1/segments", "segments")


@pytest.mark.parametrize("text", ["[1]", "<html>", '"x"', ""])
def test_200_with_something_else_is_an_error(world: World, text: str) -> None:
    world.instead = [answer(200, text)]
    with pytest.raises(UserError, match="answered 200 with something else than"):
        read(world, "v1/segments", "segments")


def test_the_key_goes_in_the_header_and_nowhere_else(world: World) -> None:
    read(world, "v1/segments", "segments")
    assert world.sent[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(world.asked)


def test_401_names_all_three_causes_at_once(world: World) -> None:
    with pytest.raises(UserError) as raised:
        list(pages(api(world, "other"), "v1/campaigns", "campaigns", {}))
    assert len(world.asked) == 1
    for cause in ("CUSTOMERIO_APP_API_KEY is no App API key", "--region", "scope lacks v1/campaigns"):
        assert cause in str(raised.value)
    assert "other" not in str(raised.value).replace("the other --region", "").replace("are others", "")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (error(400, "bad request"), r"refuses v1/messages \(400\): bad request \(reference 01\)"),
        (answer(400, {"meta": {"error": "no filter"}}), r"\(400\): no filter"),
        (answer(400, {"meta": {"errors": ["one", "two"]}}), r"\(400\): one; two"),
        (
            answer(422, {"errors": [{"detail": "too big", "source": {"pointer": "/limit"}}]}),
            r"\(422\): too big \(at /limit\)",
        ),
        (answer(400, {"odd": 1}), r'\(400\): {"odd": 1}'),
        (answer(400, "plain"), r"\(400\)$"),
        (answer(404, "404 page not found"), r"no path of the App API \(404\)"),
        (answer(302, "", Location="http://127.0.0.1:9/"), r"no answer to v1/messages \(TooManyRedirects\)"),
    ],
)
def test_an_error_says_what_customerio_says(world: World, given: Answer, expected: str) -> None:
    world.instead = [given] * 2
    for call in (lambda: read(world, "v1/messages", "messages"), lambda: one(api(world), "v1/messages")):
        with pytest.raises(UserError, match=expected):
            call()
    assert len(world.asked) == 2


def test_404_of_an_object_is_no_error_of_the_run(world: World) -> None:
    for given in (error(404, "not found"), answer(404, {"errors": [{"detail": "not found"}]})):
        world.instead = [given]
        with pytest.raises(Gone, match="not found"):
            read(world, "v1/campaigns/9/actions", "actions")


def test_429_waits_as_long_as_it_is_told(world: World) -> None:
    world.instead = [answer(429, "slow down", Retry_After="1")]
    started = time.monotonic()
    assert read(world, "v1/segments", "segments") == [[]]
    assert time.monotonic() - started >= 1
    assert len(world.asked) == 2


@pytest.mark.parametrize("given", UNUSABLE)
def test_a_retry_after_that_says_nothing_waits_as_without_one(
    world: World, tmp_path: Path, given: str
) -> None:
    world.instead = [answer(429, "slow down", Retry_After=given)]
    assert read(world, "v1/segments", "segments") == [[]]
    world.instead = [answer(503, "slow down", Retry_After=given), answer(200, {})]
    assert download(api(world), f"{world.address}/signed/people", tmp_path / "file")
    assert len(world.asked) == 4


def test_a_retry_after_may_be_a_date_and_is_obeyed_up_to_a_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    for given in (formatdate(time.time() + 30, usegmt=True), formatdate(4e9), "30", "9" * 5_000):
        world.instead = [answer(429, "slow down", Retry_After=given)]
        assert read(world, "v1/segments", "segments") == [[]]
    waits = [round(wait) for wait in waits if wait > 1]
    assert waits[0] in (29, 30, 31) and waits[1:] == [900, 30, 900]


def test_429_5xx_and_cut_answers_are_asked_again(world: World) -> None:
    cut = (0, {}, json.dumps({"segments": []}).encode())
    world.instead = [answer(429, "no JSON"), answer(500, "x"), error(503, "later"), cut]
    assert read(world, "v1/segments", "segments") == [[]]
    assert len(world.asked) == 5


def test_what_does_not_get_better_ends_the_run(world: World) -> None:
    world.instead = [error(503, "maintenance")] * 8
    with pytest.raises(UserError, match=r"answered 503 to v1/segments: maintenance .* 8 times"):
        read(world, "v1/segments", "segments")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = open_api(f"http://127.0.0.1:{free.getsockname()[1]}", KEY, 10_000, backoff=0.001)
        with pytest.raises(UserError, match="no answer to v1/segments"):
            list(pages(nobody, "v1/segments", "segments"))


def test_no_second_has_more_requests_than_allowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries count too. The clock is the test's own."""
    now, sent = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    world.before = lambda _number: sent.append(now[0])
    world.instead = [error(503, "later")] * 2
    paced = open_api(world.address, KEY, rate=10, backoff=0.0)
    for _ in range(35):
        list(pages(paced, "v1/segments", "segments"))
        now[0] += 0.001
    assert len(sent) == 37
    assert max(sum(start <= other < start + 1 for other in sent) for start in sent) == 10
    assert sent[-1] < 4.5


def test_ids_in_paths_are_encoded() -> None:
    assert path_of("customers", "a+b@x.com", 7) == "v1/customers/a%2Bb%40x.com/7"
