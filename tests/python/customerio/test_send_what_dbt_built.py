"""From source calls to a workspace: what Customer.io holds is what dim_people and the others say."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from scripts.customerio.send import send
from scripts.errors import UserError
from support.outbound import T0, Project, project
from support.project import PROJECT, run, settings
from support.track_server import Object, Person, World

pytestmark = pytest.mark.integration

PEOPLE = 14
FAULTS = (None, None, None, "503", "429", "cut before", "cut after", "500 after")
BUILD = ("build", "--resource-type", "seed", "--resource-type", "model", "--select")


def calls(chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Source calls about people, objects and devices, in their order.

    Of who is merged into another nothing more is said, and they have neither devices nor relationships: of
    those the models keep more than Customer.io documents.
    """
    made: list[dict[str, Any]] = []
    there = [f"u-{number}" for number in range(PEOPLE)]
    merged, known = there[-4:], set[str]()
    for number in range(count):
        if number > count / 2 and merged:
            made.append({"type": "alias", "userId": chance.choice(there[:4]), "previousId": merged.pop()})
        else:
            made.append(_call(chance, number, [*there[:-4], *merged], merged))
        known.add(str(made[-1].get("userId")))
    times = {"timestamp": T0.isoformat() + "Z"}
    return [
        {"messageId": f"m-{number}", "anonymousId": "a-1", **times, **each, "timestamp": 1772323200 + number}
        for number, each in enumerate(made)
    ]


def _call(chance: random.Random, number: int, people: list[str], alone: list[str]) -> dict[str, Any]:
    who = chance.choice(people)
    related = {"objectId": chance.choice("ab"), "relationshipAttributes": {"role": "owner"}}
    traits = {
        chance.choice("xyz"): chance.choice([number, None]),
        "at": "2026-03-01",
        "email": f"{who}@example.com",
    }
    track: dict[str, Any] = {"type": "track", "userId": who, "properties": {"n": number}}
    device = {"context": {"device": {"token": f"{who}-{chance.choice('st')}", "type": "ios"}}}
    if who in alone:
        return chance.choice(
            [{"type": "identify", "userId": who, "traits": traits}, track | {"event": "Seen"}]
        )
    return chance.choice(
        [
            {"type": "identify", "userId": who, "traits": traits},
            {"type": "identify", "userId": who, "traits": traits | related},
            track | {"event": "Seen"},
            {"type": "page", "userId": who, "properties": {"url": "https://example.com/"}},
            track | {"event": "Application Opened"} | device,
            track | {"event": "Device Deleted"} | device,
            {
                "type": "group",
                "userId": who,
                "groupId": related["objectId"],
                "traits": {chance.choice("xy"): number, "relationshipAttributes": {"role": "owner"}},
            },
            track | {"event": "Relationship Deleted", "properties": {"objectId": related["objectId"]}},
            *(
                [track | {"event": "Object Deleted", "properties": {"objectId": "b"}}]
                if number % 5 == 0
                else []
            ),
            *([track | {"event": "User Deleted"}] if number % 4 == 0 else []),
            *([track | {"event": "User Suppressed"}] if number % 6 == 0 else []),
            track | {"event": "User Unsuppressed"},
        ]
    )


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A warehouse that copymart and dbt made of source calls; one person is known by address only."""
    records = calls(random.Random(20), 400)
    records += [
        {"type": "identify", "messageId": "e-1", "traits": {"email": "Eve@example.com", "plan": "team"}},
        {"type": "identify", "messageId": "e-2", "anonymousId": "a-2", "traits": {"plan": "team"}},
        {
            "type": "track",
            "messageId": "e-3",
            "event": "Report Delivery Event",
            "userId": "u-1",
            "properties": {"deliveryId": "d-1", "metric": "opened"},
        },
    ]
    logs = tmp_path / "pipelines/calls/2026/03/01/00"
    logs.mkdir(parents=True)
    lines = [json.dumps({"timestamp": 1772330000} | record) + "\n" for record in records]
    (logs / "calls.jsonl").write_text("".join(lines))
    environment = settings(tmp_path)
    run(environment, "copymart", "land", "--landing", tmp_path)
    run(environment, "dbt", *BUILD, "+path:models/marts/outbound")
    return project(tmp_path, monkeypatch)


def test_customerio_holds_what_the_dimensions_say(there: Project, world: World) -> None:
    world.fault = lambda number: random.Random(number).choice(FAULTS)
    for attempt in range(20):
        try:
            send(
                api_url=world.address,
                spool=there.spool,
                since=T0,
                rate=10_000,
                project_dir=PROJECT,
                profiles_dir=there.folder,
            )
            break
        except UserError as error:
            assert "not taken in 8 attempts" in str(error) and attempt < 19

    workspace = world.workspace
    names = {number: _name(person) for number, person in enumerate(workspace.people) if person}
    people = "select customer_id, email, attributes from marts_outbound.dim_people"
    assert sorted(map(_person, filter(None, workspace.people))) == sorted(
        (customer_id or "", (email or "").lower(), _plain(json.loads(attributes)))
        for customer_id, email, attributes in there.rows(people)
    )
    assert len(names) > 5

    devices = """
        select customer_id, token, platform, devices.attributes, epoch(last_used_at)::bigint
        from marts_outbound.dim_devices as devices join marts_outbound.dim_people using (person_key)"""
    held = [
        (
            *(_name(person), device["token"], device["platform"]),
            *(json.dumps(device["attributes"], sort_keys=True), device["last_used"]),
        )
        for person in workspace.people
        if person
        for device in person.devices.values()
    ]
    assert len(held) > 2
    assert sorted(held) == sorted(
        (who, token, platform, json.dumps(json.loads(attributes), sort_keys=True), last_used)
        for who, token, platform, attributes, last_used in there.rows(devices)
    )

    objects = "select object_type_id, object_id, attributes from marts_outbound.dim_objects"
    assert {key: found.attributes for key, found in workspace.objects.items() if found != Object()} == {
        (kind, name): json.loads(attributes) for kind, name, attributes in there.rows(objects)
    }
    relationships = """
        select object_type_id, object_id, customer_id, relations.attributes
        from marts_outbound.bridge_relationships as relations
        join marts_outbound.dim_objects using (object_key)
        join marts_outbound.dim_people using (person_key)"""
    related = [
        (*key, names[number], json.dumps(data))
        for key, found in workspace.objects.items()
        for number, data in found.relationships.items()
    ]
    assert len(related) > 2
    assert sorted(related) == sorted(
        (kind, name, who, json.dumps(json.loads(attributes)))
        for kind, name, who, attributes in there.rows(relationships)
    )
    assert [metric["delivery_id"] for metric in workspace.metrics] == ["d-1"] * len(workspace.metrics)
    held_back = "select held_back_reason from marts_outbound.outbound_requests where message_id = 'e-2'"
    assert there.rows(held_back) == [("anonymous_identify",)]


def _name(person: Person) -> str:
    return person.identifiers.get("id", "")


def _person(person: Person) -> tuple[str, str, str]:
    return _name(person), person.identifiers.get("email", "").lower(), _plain(person.attributes)


def _plain(attributes: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in attributes.items() if name != "email"}, sort_keys=True)
