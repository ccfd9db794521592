"""Whoever is forgotten is in no landing table again, whatever lands in whatever order, by any way in."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scripts.dev.check_grammar import faults, subqueries_beside_or
from scripts.errors import UserError
from scripts.forget.person import find
from scripts.forget.rows import count, forget_rows, known_of, remember
from scripts.land import forgetting
from scripts.land.api import Counts, Part, Record, begin, land, place_of
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.engine import new_stamp
from scripts.land.forgotten import PERSONAL
from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.rules import CALLS, EVENTS
from support.forgotten import (
    AT,
    CIO,
    EMAIL,
    ID,
    NAMES,
    NEW_ID,
    OTHER_EMAIL,
    Landing,
    calls,
    cells,
    events,
    extract,
    forget_ann,
    landing,
    of_ann,
    reconciled,
    source_calls,
    sync,
    two_tables,
)
from support.land import call, event, land_path, land_table, warehouse, write
from support.quick import examples


def table(connection: duckdb.DuckDBPyConnection, folder: Path, version: int) -> None:
    connection.execute("create schema if not exists lake")
    connection.execute(
        "create or replace table lake.calls (event_timestamp bigint, user_id varchar, "
        "campaign_id bigint, action_id bigint, journey_id varchar, copy_id varchar, "
        "template_id varchar, vars json, attrs json)"
    )
    for number in range(1 + version):
        record = call(user_id=ID, journey_id=f"t{number}", attrs={"name": "Ann"})
        values = [json.dumps(value) if isinstance(value, dict) else value for value in record.values()]
        connection.execute(f"insert into lake.calls values ({', '.join('?' * len(values))})", values)
    land_table(connection, f"{connection.execute('select current_database()').fetchall()[0][0]}.lake.calls")


by_sync = landing(sync)
WAYS: tuple[Landing, ...] = (
    *map(landing, (calls, two_tables, events, source_calls)),
    table,
    by_sync,
    extract,
)


def counted(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    names = [
        name
        for (name,) in connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'staging'"
        ).fetchall()
    ]
    left_out = ("landed_batches", "forgotten_people")
    return {
        name: connection.execute(f"select count(*) from staging.{name}").fetchall()[0][0]
        for name in names
        if name not in left_out and not name.endswith("_removed")
    }


@given(order=st.permutations(WAYS), before=st.integers(0, len(WAYS)), again=st.permutations(WAYS))
@settings(
    max_examples=examples(6),
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whoever_is_forgotten_stays_so_by_every_way_in(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[Landing],
    before: int,
    again: list[Landing],
) -> None:
    """Some ways land before, the others after, and then all again with other content."""
    folder, connection = tmp_path_factory.mktemp("forget"), warehouse()
    # what says that the ids are one person's
    by_sync(connection, folder, 0)
    for way in order[:before]:
        way(connection, folder, 0)
    forget_ann(connection, customer_id=ID)
    assert cells(connection, *NAMES) == []
    reconciled(connection)
    for way in order[before:]:
        way(connection, folder, 0)
    all_landed = counted(connection)
    for way in order:
        way(connection, folder, 0)
    assert counted(connection) == all_landed, "the same files again change nothing"
    for way in again:
        way(connection, folder, 1)
    assert cells(connection, *NAMES) == []
    assert cells(connection, "Ann.77%40") == []
    reconciled(connection)
    assert len(cells(connection, "bob-9")) >= 5
    connection.close()


def test_counts_stay_and_a_person_keeps_one_pseudonym(tmp_path: Path) -> None:
    connection = warehouse()
    for way in WAYS:
        way(connection, tmp_path, 0)
    before = counted(connection)
    forget_ann(connection, email=EMAIL)
    assert cells(connection, *NAMES) == []
    assert counted(connection) == before
    ((pseudonym,),) = connection.execute(
        "select distinct user_id from staging.justai_calls where user_id like 'forgotten:%' "
        "and user_id in (select user_id from staging.customerio_events)"
    ).fetchall()
    people = "select customer_id from staging.customerio_people where customer_id like 'forgotten:%'"
    assert connection.execute(people).fetchall() == [(pseudonym,)]
    values = (
        "select distinct data->>'$.variables.value', data->>'$.delivery_id' "
        "from staging.customerio_events where user_id = ?"
    )
    assert connection.execute(values, [pseudonym]).fetchall() == [("19.90", "d1")]
    connection.close()


def test_what_changed_is_a_batch_and_once(tmp_path: Path) -> None:
    """Models read by batches; a second run finds nothing, as after one that was killed and completed."""
    connection = warehouse()
    for way in WAYS:
        way(connection, tmp_path, 0)
    landed = {
        batch for (batch,) in connection.execute("select batch_id from staging.landed_batches").fetchall()
    }
    forget_ann(connection, customer_id=ID)
    for name in (
        "justai_calls",
        "justai_sends",
        "customerio_events",
        "customerio_people",
        "customerio_metrics",
    ):
        query = f"select distinct _batch_id from staging.{name} where _batch_id not in (select unnest(?))"
        ((batch,),) = connection.execute(query, [sorted(landed)]).fetchall()
        known = "select dataset from staging.landed_batches where batch_id = ?"
        assert connection.execute(known, [batch]).fetchall() == [(name,)]
    state = connection.execute("select * from staging.customerio_events order by all").fetchall()
    tables = OnDuckDB(connection)
    assert count(place_of(tables), known_of(place_of(tables), {ID, CIO, EMAIL}), {ID, CIO, EMAIL}) == []
    forget_ann(connection, customer_id=ID)
    assert connection.execute("select * from staging.customerio_events order by all").fetchall() == state
    connection.close()


def test_an_address_of_two_people_names_neither(tmp_path: Path) -> None:
    connection = warehouse()
    shared = {"customer_id": "bob-9", "identifiers": {"id": "bob-9", "email": EMAIL}}
    write(tmp_path / "e.jsonl", of_ann(1), of_ann(2, **shared))
    land_path(connection, tmp_path / "e.jsonl", EVENTS)
    with pytest.raises(UserError, match=r"several people used ann\.77@example\.com: ann-77, bob-9"):
        find(place_of(OnDuckDB(connection)), None, EMAIL)
    forget_ann(connection, customer_id=ID)
    users = (
        "select user_id, data->>'$.identifiers.email' from staging.customerio_events where event_id = 'e2'"
    )
    assert connection.execute(users).fetchall() == [("bob-9", EMAIL)]
    connection.close()


def test_merges_and_addresses_of_source_calls_are_followed(tmp_path: Path) -> None:
    """Along a chain of alias calls, in either direction, and to the addresses that came with the others."""
    connection = warehouse()
    for path, dataset in (*source_calls(tmp_path, 0), *sync(tmp_path, 0)):
        land_path(connection, path, dataset)
    alias = {"type": "alias", "messageId": "a1", "timestamp": 1_767_268_800}
    first = {**alias, "userId": f"cio_{CIO}", "previousId": "visitor-3"}
    path = write(tmp_path / "alias/a.jsonl", first, {**alias, "messageId": "a2", "userId": "bob-9"})
    land_path(connection, path, PIPELINE_CALLS)
    place = place_of(OnDuckDB(connection))
    for person in (find(place, "visitor-3", None), find(place, NEW_ID, None), find(place, None, OTHER_EMAIL)):
        assert person.customer_ids == {ID, NEW_ID, "visitor-3"}
        assert (person.cio_ids, person.emails) == ({CIO}, {EMAIL.lower(), OTHER_EMAIL})
    forget_ann(connection, email=OTHER_EMAIL)
    assert cells(connection, *NAMES, NEW_ID, OTHER_EMAIL, "visitor-3") == []
    # another row of hers, that no other one leads to
    later = {**alias, "type": "track", "event": "x", "messageId": "a3", "userId": f"cio_{CIO}"}
    land_path(connection, write(tmp_path / "later/a.jsonl", later), PIPELINE_CALLS)
    assert cells(connection, *NAMES) == []
    connection.close()


def test_no_hash_of_an_export_confirms_who_was_forgotten(tmp_path: Path) -> None:
    """Of a subject all but its person stays; before she is forgotten as after it."""
    connection = warehouse()
    by_sync(connection, tmp_path / "first", 0)
    hashes = "select content_hash is null from staging.{} where internal_customer_id {} like 'forgotten:%'"
    tables = ("customerio_people", "customerio_deliveries", "customerio_subjects", "customerio_attributes")
    forget_ann(connection, customer_id=ID)
    by_sync(connection, tmp_path / "second", 0)
    for name in tables:
        assert connection.execute(hashes.format(name, "")).fetchall() == [(True,)] * 2
        assert {*connection.execute(hashes.format(name, "not")).fetchall()} <= {(False,)}
    connection.close()


def test_what_comes_with_a_forgotten_id_later_is_forgotten_by_its_own_name(tmp_path: Path) -> None:
    connection = warehouse()
    land_path(connection, write(tmp_path / "a.jsonl", call(user_id=ID)), CALLS)
    forget_ann(connection, customer_id=ID)
    by_sync(connection, tmp_path, 0)
    left = {place for place, text in cells(connection, CIO) if text == CIO}
    assert {"customerio_deliveries.internal_customer_id", "customerio_subjects.internal_customer_id"} <= left
    assert "customerio_people.internal_customer_id" not in left
    forget_ann(connection, customer_id=f"cio_{CIO}")
    assert cells(connection, CIO) == []
    connection.close()


def test_a_person_may_be_named_by_customerios_own_id(tmp_path: Path) -> None:
    """As source calls write it: who has neither id nor address can be named by nothing else."""
    connection = warehouse()
    named = {"identifiers": {"cio_id": CIO, "email": EMAIL}, "customer_id": ""}
    land_path(connection, write(tmp_path / "e.jsonl", of_ann(1, **named)), EVENTS)
    person = find(place_of(OnDuckDB(connection)), f"cio_{CIO}", None)
    assert (person.customer_ids, person.cio_ids, person.emails) == (set(), {CIO}, {EMAIL.lower()})
    forget_ann(connection, customer_id=f"cio_{CIO}")
    assert cells(connection, CIO, EMAIL) == []
    connection.close()


def test_a_rejected_line_that_writes_an_identifier_otherwise_is_found(tmp_path: Path) -> None:
    """Before a person is forgotten as after it."""
    connection = warehouse()
    address = "rené+news@example.com"
    lines = (
        json.dumps(of_ann(1, recipient=address))[:-1],
        "broken ?e=ren%C3%A9%2Bnews%40example.com&n=1",
        f"broken {address}",
    )
    land_path(connection, write(tmp_path / "a.jsonl", event(event_id="x"), *lines), EVENTS)
    forget_ann(connection, email=address)
    land_path(connection, write(tmp_path / "b.jsonl", event(event_id="y"), *lines), EVENTS)
    raws = connection.execute("select raw from staging.customerio_events_rejects").fetchall()
    assert raws == [("forgotten",)] * 6
    connection.close()


def test_an_id_that_is_an_address_is_found_in_any_case(tmp_path: Path) -> None:
    connection = warehouse()
    first = of_ann(1, customer_id="ann@example.com", identifiers={"cio_id": CIO}, recipient="")
    by_cio = of_ann(2, customer_id="", identifiers={"cio_id": CIO}, recipient="", href="", subject="")
    land_path(connection, write(tmp_path / "e.jsonl", first, by_cio), EVENTS)
    alias = {"type": "alias", "messageId": "a1", "timestamp": 1_767_268_800}
    merged = {**alias, "userId": "ANN@example.com", "previousId": "visitor-3"}
    land_path(connection, write(tmp_path / "c.jsonl", merged), PIPELINE_CALLS)
    person = find(place_of(OnDuckDB(connection)), "Ann@Example.com", None)
    assert (person.cio_ids, "visitor-3" in person.customer_ids) == ({CIO}, True)
    forget_ann(connection, customer_id="Ann@Example.com")
    assert cells(connection, "ann@example.com", CIO, "visitor-3") == []
    connection.close()


def test_the_number_of_a_person_takes_no_campaign_and_no_other_person_away(tmp_path: Path) -> None:
    connection = warehouse()
    tables = OnDuckDB(connection)
    there = (
        Record("campaigns", "42", "", '{"id":42,"name":"Welcome"}', AT),
        Record("segment_members", "segments/42/c9", "segments/42", '{"cio_id":"c9","id":"77"}', AT),
        Record("messages", "d9", "email", '{"campaign_id":42,"customer_id":"77","id":"d9"}', AT),
        Record("customers", "c1", "", '{"cio_id":"c1","email":"a@b.c","id":"42"}', AT),
    )

    def landed(person: str) -> None:
        for record in there:
            begin(tables)
            land(tables, Part(record.entity, [record]), Counts())
        broken = (call(user_id=person, campaign_id=42, copy_id="none"), call(user_id=person))
        land_path(connection, write(tmp_path / f"{person}.jsonl", *map(json.dumps, broken)), CALLS)

    landed("77")
    before = connection.execute("select key, payload from staging.customerio_api order by all").fetchall()
    for _ in range(2):
        forget_ann(connection, customer_id="42")
        after = connection.execute("select key, payload from staging.customerio_api order by all").fetchall()
        assert [row for row in after if row in before] == [row for row in before if row[0] != "c1"]
        assert len(after) == 4
        raws = connection.execute("select count(*) from staging.justai_calls_rejects where raw = 'forgotten'")
        assert raws.fetchall() == [(0,)]
        landed("78")
    landed("42")
    assert cells(connection, '"42"', "a@b.c") == []
    connection.close()


def test_who_is_forgotten_while_an_extract_brings_its_records_stays_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Snowflake others work meanwhile, between the look at who is forgotten and the transaction."""
    connection = warehouse()
    tables = OnDuckDB(connection)
    load, loads = OnDuckDB.load, []

    def slow(self: OnDuckDB, table: str, found: pa.Table) -> None:
        load(self, table, found)
        loads.append(table)
        if loads == ["api_seen", "api_incoming"]:
            forget_ann(connection, customer_id=ID)

    monkeypatch.setattr(OnDuckDB, "load", slow)
    customer = json.dumps({"id": ID})
    counts = Counts()
    begin(tables)
    land(tables, Part("customers", [Record("customers", f"id:{ID}", "", customer, AT)]), counts)
    assert cells(connection, ID) == [] and counts == Counts(new=1)
    connection.close()


def test_more_hashes_than_a_list_has_find_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are joined, from which Snowflake has no subquery beside an OR."""
    connection = warehouse()
    for way in WAYS:
        way(connection, tmp_path, 1)
    tables = OnDuckDB(connection)
    place = place_of(tables)
    names = find(place, ID, None).identifiers
    known = known_of(place, names)
    remember(tables, known)
    # a row that is the person's by two names, and a hash that stands twice, count once
    connection.execute("insert into staging.forgotten_people from staging.forgotten_people")
    listed = count(place, known, names)
    sent: list[str] = []

    def noted(statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        assert statement.count("%s") == len(parameters)
        sent.append(statement.replace("%s", "'x'"))
        return []

    for at_once in (500, 1):
        monkeypatch.setattr(forgetting, "_AT_ONCE", at_once)
        assert count(place, known, names) == listed and len(listed) > 8
        for dataset in PERSONAL:
            on_snowflake = forgetting.Place(noted, "STAGING", is_snowflake=True)
            forgetting.rewrite(on_snowflake, dataset, known, new_stamp(), "_batch_id = %s", ("b",))
    assert len(sent) == 2 * len(PERSONAL)
    assert {text: wrong for text in sent if (wrong := faults(text) + subqueries_beside_or(text))} == {}
    forget_rows(tables, known, names)
    assert cells(connection, *NAMES) == []
    connection.close()
