"""The source calls of a simulation: few, of people that the events know, and apart from all else."""

import json
from pathlib import Path

import pytest

from scripts.simulate import source_calls
from scripts.simulate.customers import held_after, tables
from scripts.simulate.plan import Plan
from scripts.simulate.source_calls import Call, Said, address, device, group, identify, plan_calls, user
from support.simulated import good, hashes, make, rows, value

PLAN = Plan(20_000, 14, 1, 1767225600)


def after(*said: Said) -> dict[str, list[dict[str, object]]]:
    return tables([Call(1_000 * place, f"m-{place}", "story", each) for place, each in enumerate(said)])


@pytest.mark.parametrize(
    ("calls", "people"), [(1, 21), (9_600, 24), (20_000, 50), (4_000_000, 5_000), (100_000_000, 5_000)]
)
def test_there_is_a_person_for_so_many_calls_within_bounds(calls: int, people: int) -> None:
    planned = plan_calls(Plan(calls, 14, 1, 0), calls)
    assert len({call.message_id.rpartition("-")[0] for call in planned}) == people


def test_source_calls_change_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_calls = make(tmp_path / "with", 300)
    monkeypatch.setattr(source_calls, "STORIES", (source_calls.guest,))
    with_others = make(tmp_path / "others", 300)
    for folder in ("justai", "customerio"):
        assert hashes(with_others, folder) == hashes(with_calls, folder)
    assert hashes(with_others, "pipelines") != hashes(with_calls, "pipelines")


def test_they_are_about_the_people_of_the_events(small: Path) -> None:
    users = {record["userId"] for _, record in good(small, "pipelines/calls") if record.get("userId", "")}
    known = {name for (name,) in rows(small, "select distinct user_id from fct_engagement_events")}
    assert len({name for name in users if name in known}) > 5
    assert {name.partition("-")[0] for name in users} == {"u", "lead"}


def test_every_message_is_there_and_some_again(small: Path) -> None:
    ids = [record["messageId"] for _, record in good(small, "pipelines/calls")]
    planned = [name for (name,) in rows(small, "select distinct message_id from outbound_requests")]
    assert sorted(set(ids)) == sorted(planned)
    assert len(ids) > len(set(ids))


def test_calls_come_in_order_and_say_their_time(small: Path) -> None:
    planned = plan_calls(PLAN, 15_000)
    assert planned == sorted(planned, key=lambda call: (call.at, call.message_id, call.said.action))
    assert value(small, "select count(distinct happened_at) from outbound_requests") > 50


def test_a_merge_keeps_what_is_said_of_who_stays() -> None:
    merge = Said("merge_people", user(1), {}, merged="lead-1")
    found = after(
        identify("lead-1", {"plan": "lead", "source": "ad"}),
        device("lead-1", "Application Opened", "t", "iOS"),
        identify(user(1), {"plan": "team", "email": address(1)}),
        identify("lead-1", {"plan": "late"}),
        merge,
        identify("lead-1", {"plan": "after"}),
    )
    (person,) = found["dim_people"]
    assert json.loads(str(person["attributes"])) == {
        "email": address(1), "plan": "after", "source": "ad"
    }  # fmt: skip
    assert (person["customer_id"], person["request_count"]) == (user(1), 5)
    assert [(row["person"], row["token"]) for row in found["dim_devices"]] == [(user(1), "t")]


def test_a_suppressed_person_takes_nothing_and_an_object_stays() -> None:
    key = ("1", "acme")
    found = after(
        group(user(1), key, {"name": "Acme"}, {"role": "owner"}),
        Said("suppress_person", user(1), {}),
        group(user(1), key, {"seats": 2}, {"role": "guest"}),
    )
    assert found["dim_people"] == found["bridge_relationships"] == []
    assert json.loads(str(found["dim_objects"][0]["attributes"])) == {"name": "Acme", "seats": 2}


def test_what_is_held_back_changes_nothing() -> None:
    held_back = identify(user(1), {"plan": "huge"}, held_back="value_too_long")
    assert held_after([Call(0, "m", "story", held_back)]).people == {}
