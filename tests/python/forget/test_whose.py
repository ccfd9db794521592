"""Whose a row is, where it does not write the person's identifier as others do, or not at all."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.forget.rows import known_of, remember
from scripts.land.api import Counts, Part, Record, begin, land, place_of
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.rules import CALLS, EVENTS
from support.forgotten import CIO, ID, cells, forget_ann, of_ann
from support.land import call, event, land_path, warehouse, write
from support.sync import TABLES, write_export


def test_a_rejected_line_with_a_plus_for_a_space_is_found(tmp_path: Path) -> None:
    """Before a person is forgotten as after it."""
    connection = warehouse()
    named = of_ann(1, customer_id="ann lee", identifiers={"id": "ann lee"})
    lines = ("broken ?u=ann+lee&n=1", "broken ?u=Ann+Other&n=1")
    land_path(connection, write(tmp_path / "a.jsonl", named, *lines), EVENTS)
    forget_ann(connection, customer_id="ann lee")
    land_path(connection, write(tmp_path / "b.jsonl", event(event_id="y"), *lines), EVENTS)
    raws = "select raw from staging.customerio_events_rejects order by _file, _line"
    assert connection.execute(raws).fetchall() == [("forgotten",), (lines[1],)] * 2
    connection.close()


@pytest.mark.parametrize("name", ["CORP\\ann-77", 'ann-77 "n"', "ann-77 lee"])
def test_a_record_of_the_api_that_writes_an_id_as_json_does_is_found(name: str) -> None:
    """Before a person is forgotten as after it."""
    connection = warehouse()
    tables = OnDuckDB(connection)
    records = {
        "customers": ("c1", {"cio_id": "c1", "id": name}),
        "messages": ("d1", {"id": "d1", "customer_id": name, "subject": f"for {name}"}),
        "segment_members": (f"segments/3/id:{name}", {"id": name}),
    }

    def landed() -> None:
        for entity, (key, payload) in records.items():
            begin(tables)
            text = json.dumps(payload, separators=(",", ":"))
            scope = "segments/3" if entity == "segment_members" else ""
            land(tables, Part(entity, [Record(entity, key, scope, text, datetime(2026, 1, 1))]), Counts())

    landed()
    forget_ann(connection, customer_id=name)
    assert cells(connection, "ann-77", '"c1"') == []
    landed()
    assert cells(connection, "ann-77", '"c1"') == []
    assert connection.execute("select count(*) from staging.customerio_api").fetchall() == [(3,)]
    connection.close()


def test_records_of_the_api_are_found_whatever_their_age() -> None:
    """Also activities of the day that a full load leaves alone, and what Customer.io serves no longer."""
    connection = warehouse()
    tables = OnDuckDB(connection)
    now = 1_767_268_800
    for number, hours in enumerate((1, 29 * 24 + 12, 31 * 24, 400 * 24)):
        payload = json.dumps({"id": f"a{number}", "customer_identifiers": {"id": ID}, "data": {"url": ID}})
        made = now - hours * 3_600
        record = Record("activities", f"a{number}", "page", payload, datetime(2026, 1, 1), made)
        begin(tables)
        land(tables, Part("activities", [record]), Counts())
    forget_ann(connection, customer_id=ID)
    assert cells(connection, ID) == []
    assert connection.execute("select count(*) from staging.customerio_api").fetchall() == [(4,)]
    connection.close()


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("last", ["outputs", "subjects", "deliveries"])
def test_a_step_of_a_journey_is_whose_the_journey_is(tmp_path: Path, last: str, early: bool) -> None:
    """Of a journey without a message the subject alone says it, of a step with one its delivery too."""
    connection = warehouse()
    step = {"explanation": "Ann has no plan", "seq_num": 1}
    given: dict[str, list[dict[str, Any]]] = {
        "outputs": [
            {**step, "output_id": "o1", "subject_name": "j1"},
            {**step, "output_id": "o2", "subject_name": "j2", "delivery_id": "d2"},
            {**step, "output_id": "o3", "subject_name": "j3", "explanation": "stays"},
        ],
        "subjects": [
            {"subject_name": "j1", "internal_customer_id": CIO, "seq_num": 1},
            {"subject_name": "j3", "internal_customer_id": "c2", "seq_num": 1},
        ],
        "deliveries": [{"delivery_id": "d2", "internal_customer_id": CIO, "delivery_type": "email"}],
        "people": [{"internal_customer_id": CIO, "customer_id": ID}],
    }

    def landed(name: str) -> None:
        path = tmp_path / f"{name}_v4_1_1.parquet"
        land_path(connection, write_export(path, TABLES[name], given[name]), TABLES[name])

    for name in given:
        if early or name != last:
            landed(name)
    forget_ann(connection, customer_id=ID)
    landed(last)
    texts = "select explanation from staging.customerio_outputs order by output_id"
    assert connection.execute(texts).fetchall() == [("forgotten",), ("forgotten",), ("stays",)]
    connection.close()


@pytest.mark.parametrize("named", [ID, f"cio_{CIO}", "visitor-3"])
def test_customerios_own_id_in_a_source_call_keeps_the_pseudonym_of_other_feeds(
    tmp_path: Path, named: str
) -> None:
    """Behind cio_, which says what it is: else who was merged by it would be two people afterwards."""
    connection = warehouse()
    path = tmp_path / "people_v4_1_1.parquet"
    people = [{"internal_customer_id": CIO, "customer_id": ID}]
    land_path(connection, write_export(path, TABLES["people"], people), TABLES["people"])
    alias = {"type": "alias", "messageId": "a1", "timestamp": 1_767_268_800, "userId": "visitor-3"}
    land_path(connection, write(tmp_path / "a.jsonl", {**alias, "previousId": f"cio_{CIO}"}), PIPELINE_CALLS)
    for number in range(2):
        forget_ann(connection, customer_id=named)
        later = {**alias, "messageId": f"b{number}", "previousId": f"cio_{CIO}"}
        land_path(connection, write(tmp_path / f"b{number}.jsonl", later), PIPELINE_CALLS)
    ((pseudonym,),) = connection.execute(
        "select internal_customer_id from staging.customerio_people"
    ).fetchall()
    assert pseudonym.startswith("forgotten:")
    previous = "select distinct previous_id from staging.pipeline_calls"
    assert connection.execute(previous).fetchall() == [(f"cio_{pseudonym}",)]
    connection.close()


@pytest.mark.parametrize("named", ["42", "42.0", "cio_15"])
def test_a_number_names_the_person_also_as_a_float(tmp_path: Path, named: str) -> None:
    """In the JSON of events and calls, and in ids that an earlier version landed as 42.0."""
    connection = warehouse()
    alone = {"recipient": "", "href": "", "subject": ""}

    def landed(number: int) -> None:
        names = ({"id": 42.0, "cio_id": 15.0}, {"id": None, "cio_id": 15.0}, {"id": None, "cio_id": "15"})
        told = [
            of_ann(10 * number + place, customer_id=who["id"], identifiers=who, **alone)
            for place, who in enumerate(names)
        ]
        land_path(connection, write(tmp_path / f"e{number}.jsonl", *told), EVENTS)
        said = {"type": "track", "event": "x", "timestamp": 1_767_268_800, "userId": 42.0}
        more = {"properties": {"id": 42.0}, "context": {"traits": {"id": 42.0}}, "integrations": {"id": 42.0}}
        file = write(tmp_path / f"c{number}.jsonl", said | more | {"messageId": f"m{number}"})
        land_path(connection, file, PIPELINE_CALLS)
        tables = OnDuckDB(connection)
        begin(tables)
        message = json.dumps({"id": f"d{number}", "customer_id": 42.0, "customer_identifiers": names[0]})
        record = Record("messages", f"d{number}", "", message, datetime(2026, 1, 1))
        land(tables, Part("messages", [record]), Counts())

    landed(1)
    before = "update staging.customerio_events set user_id = '42.0' where event_id = 'e10'"
    connection.execute(before)
    for number in (2, 3):
        forget_ann(connection, customer_id=named)
        landed(number)
    assert cells(connection, "42.0", '"42"', "15.0", '"15"') == []
    for name in ("customerio_events", "pipeline_calls"):
        users = f"select distinct left(user_id, 10) from staging.{name} where user_id is not null"
        assert connection.execute(users).fetchall() == [("forgotten:",)]
    connection.close()


def test_who_was_forgotten_as_a_float_alone_is_forgotten_as_a_number_by_another_run(tmp_path: Path) -> None:
    """An earlier version landed and forgot 1001.0; its hash does not say that it is 1001."""
    connection = warehouse()
    tables = OnDuckDB(connection)
    remember(tables, known_of(place_of(tables), {"1001.0"}))

    def users(number: int) -> list[str]:
        path = write(tmp_path / f"{number}.jsonl", call(user_id=1001.0, journey_id=f"j{number}"))
        land_path(connection, path, CALLS)
        query = "select distinct left(user_id, 10) from staging.justai_calls"
        return [user for (user,) in connection.execute(query).fetchall()]

    assert users(1) == ["1001"]
    forget_ann(connection, customer_id="1001")
    assert users(2) == ["forgotten:"]
    connection.close()


def test_a_device_that_two_people_used_takes_nothing_of_the_other_one(tmp_path: Path) -> None:
    """An alias call gave the visitor to Ann; with Bob's id beside it, a call is his, without her visitor."""
    connection = warehouse()
    said = {"type": "identify", "timestamp": 1_767_268_800, "anonymousId": "visitor-3"}
    calls = (
        {**said, "type": "alias", "messageId": "a1", "userId": ID, "previousId": "visitor-3"},
        {**said, "messageId": "a2", "userId": "bob-9", "traits": {"plan": "team"}},
        {**said, "messageId": "a3", "traits": {"plan": "team"}},
        {**said, "messageId": "a4", "userId": " ", "traits": {"plan": "team"}},
    )
    land_path(connection, write(tmp_path / "a.jsonl", *calls), PIPELINE_CALLS)
    forget_ann(connection, customer_id=ID)
    later = ({**call, "messageId": f"b{number}"} for number, call in enumerate(calls, 1))
    land_path(connection, write(tmp_path / "b.jsonl", *later), PIPELINE_CALLS)
    assert cells(connection, ID, "visitor-3") == []
    kept = (
        "select user_id, anonymous_id, traits->>'$.plan' from staging.pipeline_calls "
        "where traits->>'$.plan' is not null"
    )
    assert connection.execute(kept).fetchall() == [("bob-9", None, "team")] * 2
    forgotten = "select count(*) from staging.pipeline_calls where anonymous_id like 'forgotten:%'"
    assert connection.execute(forgotten).fetchall() == [(6,)]
    connection.close()
