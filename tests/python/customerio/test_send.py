"""copymart send: which requests go out, what the ledger has of them, and the workspace after any history."""

import json
import os
import random
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scripts.customerio.send import send
from scripts.errors import UserError
from support.outbound import (
    EVENTS,
    T0,
    Killed,
    Mortal,
    Project,
    Request,
    delete,
    event,
    folded,
    identify,
    metric,
    project,
)
from support.project import PROJECT
from support.quick import examples
from support.track_server import World, served
from support.warm import start

LEDGER = (
    "select request_id, status, reason from staging.outbound_acknowledgements order by run_id, request_id"
)


def run(there: Project, world: World, **options: Any) -> None:
    options = {"since": T0, "rate": 10_000, **options}
    send(api_url=world.address, spool=there.spool, project_dir=PROJECT, profiles_dir=there.folder, **options)


def sent(world: World) -> list[Any]:
    """Items that arrived, in the order of requests; those of one batch by what they say."""
    found = []
    for body in world.bodies:
        given = json.loads(body)
        found += sorted(given.get("batch", [given]), key=json.dumps)
    return found


def test_what_was_acknowledged_is_sent_once(there: Project, world: World) -> None:
    requests = [identify(1, "u1", plan="team"), event(2, "u1"), metric(3), identify(4, "u2")]
    there.build(*requests)
    run(there, world)
    assert world.workspace.state() == folded(requests)
    assert len(sent(world)) == 4 and len(world.workspace.metrics) == 1
    assert {row[:2] for row in there.rows(LEDGER)} == {(each.request_id, "acknowledged") for each in requests}
    run(there, world)
    assert len(sent(world)) == 4
    there.build(*requests, identify(5, "u3"))
    run(there, world)
    assert sent(world)[4:] == [identify(5, "u3").item]


def test_another_content_is_not_sent_again_unless_asked(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    there.build(identify(1, "u1", at="2026-03-01"), identify(2, "u1", plan="x"))
    run(there, world)
    changed = [identify(1, "u1", at=1772323200), identify(2, "u1", plan="x")]
    there.build(*changed)
    run(there, world)
    assert len(sent(world)) == 2
    assert "sent before with other content: 1" in capsys.readouterr().out
    run(there, world, resend=True)
    assert sent(world)[2:] == [each.item for each in changed]


def test_an_action_sends_nothing_older_than_its_first_run(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    there.build(identify(1, "u1"), event(2, "u1"), event(5, "u1"))
    run(there, world, since=None)
    assert sent(world) == []
    assert "before_first_run" in capsys.readouterr().out
    # the first run was now, and what happened long ago stays before it
    run(there, world, since=None)
    assert sent(world) == []
    run(there, world, since=datetime(2026, 3, 1, 0, 0, 2), actions="track_event")
    assert sent(world) == [event(2, "u1").item, event(5, "u1").item]
    # remembered for this action alone
    there.build(identify(1, "u1"), event(2, "u1"), event(4, "u2"), event(5, "u1"), identify(6, "u2"))
    run(there, world, since=None)
    assert sent(world)[2:] == [event(4, "u2").item]


def test_what_a_later_acknowledged_request_overtook_is_held_back_as_late(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (identify(5, "a"), identify(4, "a", old=1), True),
        (identify(15, "b"), identify(16, "b", new=1), False),
        (identify(25, "c"), identify(24, "other", old=1), False),
        (identify(35, "d"), event(34, "d"), False),
        (event(45, "e"), identify(44, "e", old=1), False),
        (event(55, "f"), delete(54, "f"), True),
        (delete(65, "g"), event(64, "g"), True),
        (delete(75, "h"), event(76, "h"), False),
        (identify(85, "i"), metric(84), False),
    ]
    first = [acknowledged for acknowledged, _, _ in cases]
    there.build(*first)
    run(there, world)
    there.build(*first, *(arrives for _, arrives, _ in cases))
    capsys.readouterr()
    before = len(sent(world))
    run(there, world)
    arrived = sent(world)[before:]
    assert [arrives.item not in arrived for _, arrives, _ in cases] == [is_late for *_, is_late in cases]
    said = capsys.readouterr().out
    assert said.count("late 1") == 3
    # a later resend of all of them is in order again
    run(there, world, resend=True)
    assert (
        world.workspace.state()["people"] == folded([*first, *(arrives for _, arrives, _ in cases)])["people"]
    )


def test_requests_of_two_people_about_one_object_keep_their_order(there: Project, world: World) -> None:
    def group(number: int, who: str, name: str) -> Request:
        item = {
            "type": "object",
            "action": "identify",
            "identifiers": {"object_type_id": "1", "object_id": "acme"},
            "attributes": {"name": name},
            "cio_relationships": [{"identifiers": {"id": who}}],
        }
        return Request(f"m{number}", "create_or_update_object", number, item, who)

    requests = [group(2, "u1", "new"), group(1, "u2", "old"), group(4, "u3", "newest")]
    there.build(requests[0], requests[2])
    run(there, world)
    there.build(*requests)
    run(there, world)
    assert len(world.bodies) == 2
    assert world.workspace.state() == folded([requests[0], requests[2]])


def test_what_is_held_back_or_refused_says_why(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    held = Request("m1", "create_or_update_person", 1, {}, "u1", "no_identifier")
    bad, large = identify(2, "mia@example.com", x="y" * 1_001), identify(3, "u3", x="y" * 40_000)
    there.build(held, bad, large, identify(4, "u4"))
    run(there, world)
    assert sent(world) == [bad.item, identify(4, "u4").item]
    said = capsys.readouterr().out
    assert "item_too_large 1" in said and "no_identifier 1" in said and "refused 1: invalid" in said
    assert (bad.request_id, "refused", "invalid: too long (attributes.x)") in there.rows(LEDGER)
    run(there, world)
    assert len(sent(world)) == 2 and "refused 1" in capsys.readouterr().out
    better = identify(2, "mia@example.com", x="y")
    there.build(better)
    run(there, world)
    assert sent(world)[2:] == [better.item]


def test_a_plan_sends_and_changes_nothing_and_shows_no_values(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with there.connect() as connection:
        connection.execute("create schema staging")
    there.build(
        identify(1, "mia@example.com", city="Zurich", age=33), *(event(n, "u1") for n in range(2, 30))
    )
    run(there, world, dry_run=True)
    said = capsys.readouterr().out
    assert '"attributes": {"age": "number", "city": "text of 6"}' in said
    assert said.count('"type": "person"') == 10
    assert "mia@example.com" not in said and "Zurich" not in said and "33" not in said
    assert not world.asked and not there.spool.exists()
    assert there.rows("select count(*) from information_schema.tables where table_schema = 'staging'") == [
        (0,)
    ]


def test_errors_say_what_to_do(there: Project, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with there.connect():
        pass
    with pytest.raises(UserError, match=r"lacks marts_outbound.outbound_requests: run `dbt build`"):
        run(there, world)
    there.build(identify(1, "u1"))
    with pytest.raises(UserError, match="track is no action; choose of create_or_update_person"):
        run(there, world, actions="track")
    with pytest.raises(UserError, match=r"--since 2999-01-01T00:00:00 is later than now"):
        run(there, world, since=datetime(2999, 1, 1))
    world.region = "eu"
    with pytest.raises(UserError, match="give --region eu"):
        run(there, world)
    assert not world.bodies
    monkeypatch.setenv("CUSTOMERIO_TRACK_API_KEY", "\N{BULLET}\N{BULLET}1234")
    with pytest.raises(UserError, match=r"TRACK_API_KEY has .* no key has, such as the dots") as caught:
        run(there, world)
    assert "1234" not in str(caught.value)
    monkeypatch.setenv("CUSTOMERIO_SITE_ID", " ")
    with pytest.raises(UserError, match="CUSTOMERIO_SITE_ID is not set"):
        run(there, world)


@pytest.mark.integration
def test_killed_for_real_between_send_and_acknowledge(there: Project, world: World, tmp_path: Path) -> None:
    requests = [*(identify(n, "u1", n=n) for n in range(1, 30)), *(event(n, "u2") for n in range(30, 40))]
    there.build(*requests)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    arguments = (
        *("send", "--since", "2026-03-01", "--api-url", world.address, "--spool", str(there.spool)),
        *("--rate", "10000"),
    )

    def go() -> Any:
        return start(tmp_path / "log", environment, *arguments, program="copymart", folder=PROJECT)

    def kill(number: int, _body: Any) -> None:
        if number in (3, 20):
            running.kill()

    world.before = kill
    counted = []
    for _ in range(6):
        running = go()
        done = running.done()
        counted.append("requests were in flight" in done.output)
        if done.status == 0:
            break
        assert done.status == -signal.SIGKILL
    assert done.status == 0 and counted == [False, True, True]
    assert world.workspace.state() == folded(requests)
    assert len(there.rows(LEDGER)) == len(requests)
    assert not list(there.spool.glob("send/*.jsonl"))


PEOPLE = 5
ACTIONS = (
    *("identify", "identify", "event", "event", "device", "group", "group", "join", "leave", "remove"),
    *("delete", "merge", "metric"),
)


def history(chance: random.Random, count: int) -> list[Request]:
    """Requests about a few people; whoever a merge ties to each other has one key."""
    keys = {f"u{number}": f"u{number}" for number in range(PEOPLE)}
    made = [_made(chance, number) for number in range(count)]
    for _, people, _ in made:
        if len(people) == 2:
            old, new = keys[people[1]], keys[people[0]]
            keys = {who: new if key == old else key for who, key in keys.items()}
    return [
        Request(
            f"m{chance.randrange(10**6)}-{number}",
            action,
            chance.randrange(count),
            item | ({"id": f"m{number}"} if action in EVENTS else {}),
            keys[people[0]] if people else None,
        )
        for number, (action, people, item) in enumerate(made)
    ]


def _made(chance: random.Random, number: int) -> tuple[str, list[str], dict[str, Any]]:
    who = f"u{chance.randrange(PEOPLE)}"
    person = {"type": "person", "identifiers": {"id": who}}
    other = {"object_type_id": "1", "object_id": chance.choice("ab")}
    related = {"type": "object", "identifiers": other, "cio_relationships": [{"identifiers": {"id": who}}]}
    # one in some is refused
    value = "x" * 1_001 if chance.random() < 0.05 else number
    match chance.choice(ACTIONS):
        case "identify":
            attributes = {chance.choice("abc"): value, "email": f"{who}@example.com"}
            return "create_or_update_person", [who], person | {"action": "identify", "attributes": attributes}
        case "event":
            return "track_event", [who], person | {"action": "event", "name": "Seen"}
        case "device":
            token = {"token": chance.choice("xy"), "platform": "ios", "last_used": number}
            return "create_or_update_device", [who], person | {"action": "add_device", "device": token}
        case "group":
            item = related | {"action": "identify", "attributes": {chance.choice("ab"): value}}
            return "create_or_update_object", [who], item
        case "leave":
            return "delete_relationship", [who], related | {"action": "delete_relationships"}
        case "remove":
            return "delete_object", [], {"type": "object", "action": "delete", "identifiers": other}
        case "join":
            relation = {"cio_relationships": [{"identifiers": other}]}
            return "create_or_update_person", [who], person | {"action": "identify"} | relation
        case "delete":
            action = chance.choice(["delete", "suppress", "unsuppress"])
            return f"{action}_person", [who], person | {"action": action}
        case "merge":
            gone = f"u{chance.randrange(PEOPLE)}"
            sides = {"primary": {"id": who}, "secondary": {"id": gone}}
            people = [who] if gone == who else [who, gone]
            return "merge_people", people, {"type": "person", "action": "merge", **sides}
    return "report_delivery_event", [], {"delivery_id": f"d{number}", "metric": "opened"}


class Watch:
    """Sees that no key stands in a batch twice, or in two requests at once."""

    def __init__(self, requests: list[Request]) -> None:
        self.of = {request.payload: request for request in requests}
        self.faults: list[str] = []

    def __call__(self, _number: int, body: bytes) -> None:
        changes: list[str] = []
        events: set[str] = set()
        for item in json.loads(body).get("batch", ()):
            request = self.of[json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":"))]
            if request.person_key and request.action in EVENTS:
                events.add(request.person_key)
            elif request.person_key:
                changes.append(request.person_key)
        if len(changes) > len(set(changes)) or events & set(changes):
            self.faults.append(str(changes))


FAULTS = (None, None, None, "503", "429", "429 0.01", "cut before", "cut after", "500 after")


# an example takes seconds, and a smaller one would show no more
@hypothesis_settings(
    max_examples=examples(8), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
@given(seed=st.integers(0, 2**32), deaths=st.lists(st.integers(1, 60), max_size=4))
def test_after_any_history_faults_and_kills_the_workspace_is_that_of_the_ordered_requests(
    tmp_path_factory: pytest.TempPathFactory,
    track_certificate: tuple[Path, Path],
    seed: int,
    deaths: list[int],
) -> None:
    """But for the requests that are listed as late, which came after what overtook them."""
    chance = random.Random(seed)
    requests = history(chance, 60)
    arrivals = sorted(chance.choices(range(3), k=len(requests)))
    chance.shuffle(arrivals)
    with pytest.MonkeyPatch.context() as monkeypatch, served(World(), track_certificate) as world:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(track_certificate[0]))
        there = project(tmp_path_factory.mktemp("history"), monkeypatch)
        mortal = Mortal(monkeypatch)
        world.before = watch = Watch(requests)
        world.chance = random.Random(seed)
        world.fault = lambda number: random.Random(seed + number).choice(FAULTS)
        deaths = list(deaths)
        for arrived in range(3):
            there.build(*(each for each, when in zip(requests, arrivals, strict=True) if when <= arrived))
            ended = False
            while not ended:
                mortal.live(deaths.pop() if deaths else 0)
                try:
                    run(there, world)
                    ended = True
                except (Killed, UserError) as error:
                    # so many faults in a row end a run, too
                    assert isinstance(error, Killed) or "not taken in 8 attempts" in str(error)
        acknowledged = {row[0] for row in there.rows(LEDGER)}
        assert len(there.rows(LEDGER)) == len(acknowledged)
        late = [each for each in requests if each.request_id not in acknowledged]
        assert watch.faults == []
        assert world.workspace.state() == folded(each for each in requests if each not in late)
        metrics = {each["delivery_id"] for each in world.workspace.metrics}
        assert metrics == {each.item["delivery_id"] for each in requests if each.endpoint == "metrics"}
        assert all(_was_overtaken(each, requests, arrivals) for each in late)


def _was_overtaken(late: Request, requests: list[Request], arrivals: list[int]) -> bool:
    """Whether a later request of the same person or object arrived before it."""
    mine = arrivals[requests.index(late)]
    return any(
        arrived < mine
        and other.place > late.place
        and (other.person_key == late.person_key or _object(other) == _object(late) is not None)
        for other, arrived in zip(requests, arrivals, strict=True)
    )


def _object(request: Request) -> str | None:
    (related,) = request.item.get("cio_relationships", [{}])
    of_relation = related.get("identifiers", {}).get("object_id")
    return request.item.get("identifiers", {}).get("object_id") or of_relation
