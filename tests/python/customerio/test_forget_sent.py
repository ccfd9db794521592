"""A forgotten person is nowhere in the ledger of what was sent, and is sent nothing again."""

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from scripts.customerio.activate import activate
from scripts.customerio.outbound.ledger import MEMBERS, REQUESTS, OnDuckDB, insert, opened, write
from scripts.customerio.outbound.spool import BATCH, Answered, Item
from scripts.customerio.send import send
from scripts.forget import command
from scripts.forget.command import forget
from scripts.land.rules import EVENTS
from scripts.land.tables import ddl
from support.land import event, land_path
from support.land import write as written
from support.outbound import Killed, Mortal, Project, delete, identify
from support.project import PROJECT
from support.track_server import World

AT = "2026-03-01 00:00:00"
ANN, BOB = "ann@example.com", "bob@example.com"


def key(identifier: str) -> str:
    return hashlib.md5(identifier.encode()).hexdigest()


def raise_killed(*given: object) -> None:
    raise Killed


def fill(there: Project) -> None:
    """An audience of two, and what Customer.io acknowledged of them."""
    with there.connect() as connection:
        connection.execute("create schema audiences")
        connection.execute("create table audiences.vip as select unnest(?) as email", [[ANN, BOB]])
    with opened(there.where, "send") as ledger:
        members = [("old", "email", who, "h", False, "refused", f"bad {who}", AT, "r") for who in (ANN, BOB)]
        insert(ledger, MEMBERS, members)
        people: list[tuple[Any, ...]] = [
            (f"q{number}", "h", "track_event", key(who), None, AT, "refused", f"bad {who}", AT, "r")
            for number, who in enumerate((f"email:{ANN}", "customer_id:ann", f"email:{BOB}"))
        ]
        insert(ledger, REQUESTS, people)


def test_a_forgotten_person_is_in_no_ledger_and_is_sent_nothing(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(there)
    options: dict[str, Any] = {"project_dir": PROJECT, "profiles_dir": there.folder}
    sending = {"api_url": world.address, "spool": there.spool, "rate": 10_000, **options}
    activate("vip", **sending)
    assert len(world.bodies) == 1
    members = f"select * from staging.{MEMBERS.name} where identifier like '%ann%' or reason like '%ann%'"
    requests = f"select person_key, reason from staging.{REQUESTS.name} order by request_id"
    assert len(there.rows(members)) == 2

    forget(email=ANN, dry_run=True, **options)
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines() if "acknowledgements" in line] == [
        ["audience_acknowledgements", "2", "0"],
        ["outbound_acknowledgements", "1", "0"],
    ]
    assert len(there.rows(members)) == 2
    for _ in range(2):
        forget(email=ANN, yes=True, **options)
        assert there.rows(members) == []
        (of_ann, *others) = there.rows(requests)
        assert of_ann[0].startswith("forgotten:") and of_ann[1] == "forgotten"
        assert others == [
            (key("customer_id:ann"), "bad customer_id:ann"),
            (key(f"email:{BOB}"), f"bad email:{BOB}"),
        ]
    ((pseudonym,),) = there.rows(
        f"select distinct identifier from staging.{MEMBERS.name} where identifier != '{BOB}'"
    )

    # the next build shows the pseudonym, and one after it nobody: neither is said to Customer.io
    for members_now in ([pseudonym, f"cio_{pseudonym}", BOB], [BOB]):
        with there.connect() as connection:
            connection.execute(
                "create or replace table audiences.vip as select unnest(?) as email", [members_now]
            )
        activate("vip", **sending)
    assert len(world.bodies) == 1
    assert "forgotten_person 2" in capsys.readouterr().out


def test_no_hash_of_what_was_sent_confirms_who_was_forgotten(there: Project, world: World) -> None:
    """A deletion holds an identifier alone, so a guess could be checked against its hash."""
    options: dict[str, Any] = {"project_dir": PROJECT, "profiles_dir": there.folder}
    sending = {"api_url": world.address, "spool": there.spool, "rate": 10_000, **options}
    fill(there)
    people = enumerate((ANN, BOB))
    there.build(*(replace(delete(n, who), person_key=key(f"email:{who}")) for n, who in people))
    activate("vip", **sending)
    send(since=datetime(2026, 1, 1), **sending)
    tables = ((MEMBERS, "identifier"), (REQUESTS, "person_key"))

    def hashes(is_forgotten: bool) -> list[Any]:
        return [
            found
            for table, whose in tables
            for found in there.rows(
                f"select run_id, content_hash from staging.{table.name} "
                f"where ({whose} like 'forgotten:%') = {is_forgotten} order by all"
            )
        ]

    before = hashes(False)
    assert len({content_hash for _, content_hash in before}) >= 3
    forget(email=ANN, yes=True, **options)
    item = Item(0, ("vip", "email", ANN, "h2", True), (), BATCH, json.dumps({"identifiers": {"email": ANN}}))
    with opened(there.where, "activate") as ledger:
        write(ledger, MEMBERS, "r3", [(item, Answered(0, "acknowledged", None, AT))])
    of_ann = hashes(True)
    assert len(of_ann) == 5 and {content_hash for _, content_hash in of_ann} == {"forgotten"}
    others = hashes(False)
    assert others and set(others) < set(before)


def test_an_id_that_is_an_address_is_forgotten_as_it_was_sent(there: Project) -> None:
    """In capitals too: Customer.io's ids are what they are."""
    who = "Ann@Example.com"
    fill(there)
    with opened(there.where, "send") as ledger:
        insert(ledger, MEMBERS, [("old", "id", who, "h", False, "refused", f"bad {who}", AT, "r")])
        person = (key(f"customer_id:{who}"), None, AT, "refused", f"bad {who}", AT, "r")
        insert(ledger, REQUESTS, [("q9", "h", "track_event", *person)])
    forget(customer_id=who, yes=True, project_dir=PROJECT, profiles_dir=there.folder)
    left = (
        f"select count(*) from staging.{MEMBERS.name} where identifier ilike '{who}' or reason ilike '%{who}'"
    )
    assert there.rows(left) == [(0,)]
    ((whose, reason),) = there.rows(
        f"select person_key, reason from staging.{REQUESTS.name} where request_id = 'q9'"
    )
    assert whose.startswith("forgotten:") and reason == "forgotten"


def test_what_a_running_send_writes_while_a_person_is_forgotten_has_pseudonyms(
    there: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer comes between the ledger and the landing tables, while the file is free."""
    fill(there)
    text = json.dumps({"type": "person", "action": "identify", "identifiers": {"email": ANN}})
    item = Item(0, ("vip", "email", ANN, "h", True), (), BATCH, text)

    really_open = command._open

    def open_later(*given: Any) -> Any:
        if there.rows(f"select 1 from staging.{MEMBERS.name} where identifier like 'forgotten:%'"):
            with opened(there.where, "activate") as ledger:
                write(ledger, MEMBERS, "r2", [(item, Answered(0, "acknowledged", None, AT))])
        return really_open(*given)

    monkeypatch.setattr(command, "_open", open_later)
    forget(email=ANN, yes=True, project_dir=PROJECT, profiles_dir=there.folder)
    runs = there.rows(f"select run_id, identifier from staging.{MEMBERS.name} where identifier != '{BOB}'")
    assert {run for run, _ in runs} == {"r", "r2"}
    assert all(name.startswith("forgotten:") for _, name in runs)


def test_what_a_send_writes_that_looked_before_a_person_was_forgotten_gets_pseudonyms(
    there: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Snowflake a send looks who is forgotten, and takes seconds for the statements that write."""
    fill(there)
    item = Item(0, ("vip", "email", ANN, "h", True), (), BATCH, json.dumps({"identifiers": {"email": ANN}}))
    really_forget = command.forget_rows

    def write_first(*given: Any) -> None:
        with monkeypatch.context() as before:
            before.setattr("scripts.customerio.outbound.ledger._forgotten", lambda _there: None)
            ledger = OnDuckDB(given[0].connection)
            write(ledger, MEMBERS, "r2", [(item, Answered(0, "acknowledged", None, AT))])
        really_forget(*given)

    monkeypatch.setattr(command, "forget_rows", write_first)
    forget(email=ANN, yes=True, project_dir=PROJECT, profiles_dir=there.folder)
    names = there.rows(f"select identifier from staging.{MEMBERS.name} where run_id = 'r2'")
    assert len(names) == 1 and names[0][0].startswith("forgotten:")


def test_a_person_is_found_in_the_relationships_of_an_object_and_not_in_its_name(there: Project) -> None:
    """An object may be called as somebody is, and its type's number may be somebody's id."""
    fill(there)
    options: dict[str, Any] = {"yes": True, "project_dir": PROJECT, "profiles_dir": there.folder}
    for who in ("ann", "1"):
        forget(customer_id=who, **options)

    def named(number: int, kind: str, object_id: str, who: str) -> tuple[Item, Answered]:
        text = {
            "type": "object",
            "action": "identify",
            "identifiers": {"object_type_id": kind, "object_id": object_id},
            "cio_relationships": [{"identifiers": {"id": who}}],
        }
        record = (f"o{number}", "h", "create_or_update_object", key(f"customer_id:{who}"), "object", AT)
        return Item(number, record, (), BATCH, json.dumps(text)), Answered(number, "acknowledged", None, AT)

    with opened(there.where, "send") as ledger:
        write(ledger, REQUESTS, "r2", [named(1, "2", "acme", "ann"), named(2, "1", "ann", "bob")])
    found = there.rows(
        f"select person_key from staging.{REQUESTS.name} where run_id = 'r2' order by request_id"
    )
    assert found[0][0].startswith("forgotten:")
    assert found[1] == (key("customer_id:bob"),)


def test_the_ledger_needs_the_other_name_where_a_killed_run_lost_it(
    there: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the ledger, and then the file is replaced that said whose the address is."""
    fill(there)
    options: dict[str, Any] = {"project_dir": PROJECT, "profiles_dir": there.folder, "yes": True}
    said = {"identifiers": {"id": "ann", "email": ANN}}
    with there.connect() as connection:
        for statement in ddl():
            connection.execute(statement)
        path = written(there.folder / "e/e.jsonl", event(event_id="e1", data=said))
        land_path(connection, path, EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr(command, "forget_sent", raise_killed)
        with pytest.raises(Killed):
            forget(customer_id="ann", **options)
    with there.connect() as connection:
        land_path(connection, written(path, event(event_id="e2")), EVENTS)
    members = f"select identifier from staging.{MEMBERS.name} where identifier != '{BOB}'"
    forget(customer_id="ann", **options)
    assert there.rows(members) == [(ANN,)]
    forget(email=ANN, **options)
    ((pseudonym,),) = there.rows(members)
    assert pseudonym.startswith("forgotten:")


def test_what_a_killed_run_left_comes_into_the_ledger_under_pseudonyms(
    there: Project, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person was forgotten between the kill and the run that brings the journal into the ledger."""
    with there.connect() as connection:
        connection.execute("create schema audiences")
        connection.execute("create table audiences.vip as select unnest(?) as email", [[ANN, BOB]])
    there.build(identify(1, ANN), identify(2, BOB))
    options: dict[str, Any] = {"project_dir": PROJECT, "profiles_dir": there.folder}
    sending = {"api_url": world.address, "spool": there.spool, "rate": 10_000, **options}
    ways: tuple[Any, ...] = (
        lambda: activate("vip", **sending),
        lambda: send(since=datetime(2026, 1, 1), **sending),
    )
    mortal = Mortal(monkeypatch)
    for way in ways:
        # no run is left, the plan, what is sent, the disk, the answer, the disk; then the ledger
        mortal.live(7)
        with pytest.raises(Killed):
            way()
        mortal.live()
    forget(email=ANN, yes=True, **options)
    with there.connect() as connection:
        connection.execute("create or replace table audiences.vip as select ? as email", [BOB])
    world.bodies.clear()
    for way in ways:
        way()
    assert world.bodies == []
    for table, column in ((MEMBERS, "identifier"), (REQUESTS, "person_key")):
        names = [name for (name,) in there.rows(f"select {column} from staging.{table.name} order by all")]
        assert names[0] == BOB and names[1].startswith("forgotten:") and len(names) == 2
