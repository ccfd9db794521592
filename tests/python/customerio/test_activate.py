"""copymart activate: who entered, changed and left an audience, against what Customer.io acknowledged."""

import json
import os
import random
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from scripts.customerio.activate import activate
from scripts.customerio.outbound.audiences import plain
from scripts.errors import UserError
from support.outbound import Killed, Mortal, Project
from support.project import PROJECT
from support.track_server import World

Member = dict[str, Any]


def build(there: Project, members: list[Member], columns: str = "id varchar, plan varchar") -> None:
    """Make the audience's table, as a build does."""
    names = [column.split()[0] for column in columns.split(", ")]
    with there.connect() as connection:
        connection.execute("create schema if not exists audiences")
        connection.execute(f"create or replace table audiences.vip ({columns})")
        if members:
            rows = [[member.get(name) for name in names] for member in members]
            connection.execute("begin")
            connection.executemany(f"insert into audiences.vip values ({', '.join('?' * len(names))})", rows)
            connection.execute("commit")


def run(there: Project, world: World, **options: Any) -> None:
    activate(
        "vip",
        api_url=world.address,
        spool=there.spool,
        project_dir=PROJECT,
        profiles_dir=there.folder,
        rate=10_000,
        **options,
    )


def items(world: World) -> list[Any]:
    """What arrived since the last call, in the order of identifiers."""
    found = [item for body in world.bodies for item in json.loads(body)["batch"]]
    world.bodies.clear()
    return sorted(found, key=lambda item: sorted(item["identifiers"].items()))


def attributes(world: World) -> dict[str, Any]:
    return {next(iter(item["identifiers"].values())): item["attributes"] for item in items(world)}


def test_who_entered_changed_and_left_is_sent_once(there: Project, world: World) -> None:
    build(there, [{"id": "u1", "plan": "a"}, {"id": "u2", "plan": "a"}])
    run(there, world)
    assert items(world) == [
        {
            "type": "person",
            "action": "identify",
            "identifiers": {"id": who},
            "attributes": {"plan": "a", "copymart_vip": True, "_update": True},
        }
        for who in ("u1", "u2")
    ]
    run(there, world)
    assert items(world) == []
    build(there, [{"id": "u1", "plan": "b"}, {"id": "u3", "plan": "a"}])
    run(there, world)
    assert attributes(world) == {
        "u1": {"plan": "b", "copymart_vip": True, "_update": True},
        "u2": {"copymart_vip": False, "_update": True},
        "u3": {"plan": "a", "copymart_vip": True, "_update": True},
    }
    # and back again
    build(there, [{"id": "u1", "plan": "a"}, {"id": "u2", "plan": "a"}, {"id": "u3", "plan": "a"}])
    run(there, world)
    assert set(attributes(world)) == {"u1", "u2"}
    build(there, [])
    with pytest.raises(UserError, match=r"names nobody, and all 3 members would leave.*--allow-empty"):
        run(there, world)
    assert items(world) == []
    run(there, world, allow_empty=True)
    left = {"copymart_vip": False, "_update": True}
    assert attributes(world) == {"u1": left, "u2": left, "u3": left}
    run(there, world)
    assert items(world) == []


def test_existing_sends_all_members_and_create_lets_people_be_made(there: Project, world: World) -> None:
    build(there, [{"id": "u1", "plan": "a"}])
    run(there, world)
    # the workspace does not know them, and answers 200
    assert world.workspace.people == [] and len(items(world)) == 1
    run(there, world, existing=True, create=True)
    assert attributes(world) == {"u1": {"plan": "a", "copymart_vip": True}}
    assert len(world.workspace.people) == 1


def test_people_are_named_by_id_else_by_address_in_any_case(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = "email varchar, id varchar, score double"
    build(
        there,
        [
            {"id": "u1", "email": "A@x.io", "score": 1.0},
            {"id": "", "email": "Mia@X.io", "score": 2.5},
            {"id": None, "email": "mia@x.io", "score": None},
            {"id": None, "email": None},
        ],
        columns,
    )
    run(there, world)
    assert [(item["identifiers"], item["attributes"]) for item in items(world)] == [
        ({"email": "mia@x.io"}, {"score": 2.5, "copymart_vip": True, "_update": True}),
        ({"id": "u1"}, {"email": "A@x.io", "score": 1, "copymart_vip": True, "_update": True}),
    ]
    assert "held back 2: " in (said := capsys.readouterr().out)
    assert "repeated_member 1" in said and "no_identifier 1" in said
    build(
        there, [{"id": "u1", "email": "A@x.io", "score": 1.0}, {"email": "MIA@x.io", "score": 2.5}], columns
    )
    run(there, world)
    assert items(world) == []


def test_who_gets_an_id_has_not_left_by_the_address(there: Project, world: World) -> None:
    """Both names are of one person, and no order of the two requests is promised."""
    columns = "id varchar, email varchar"
    build(there, [{"email": "Mia@x.io"}], columns)
    run(there, world, create=True)
    build(there, [{"id": "u1", "email": "mia@X.io"}], columns)
    items(world)
    run(there, world, create=True)
    assert [item["identifiers"] for item in items(world)] == [{"id": "u1"}]
    (person,) = world.workspace.people
    assert person and person.attributes["copymart_vip"] is True
    build(there, [{"id": "u2"}], columns)
    run(there, world, create=True)
    assert person.attributes["copymart_vip"] is False


def test_an_audience_that_names_people_otherwise_has_other_members(there: Project, world: World) -> None:
    """Nothing in it says that both names are of one person."""
    build(there, [{"email": "mia@x.io"}], "email varchar")
    run(there, world, create=True)
    build(there, [{"id": "u1"}], "id varchar")
    items(world)
    run(there, world)
    assert [(item["identifiers"], item["attributes"]["copymart_vip"]) for item in items(world)] == [
        ({"email": "mia@x.io"}, False),
        ({"id": "u1"}, True),
    ]


def test_a_column_may_have_any_name(there: Project, world: World) -> None:
    build(there, [])
    with there.connect() as connection:
        connection.execute(
            """create or replace table audiences.vip as select 'u1' as id, 1 as "order", 2 as "First Name" """
        )
    run(there, world)
    sent = {"order": 1, "first name": 2, "copymart_vip": True, "_update": True}
    assert attributes(world) == {"u1": sent}


def test_what_is_no_number_is_null_and_a_whole_number_names_a_person_in_any_type(
    there: Project, world: World
) -> None:
    """NaN is no JSON: Customer.io would refuse all that is in its batch."""
    for query in ("1.0::double as id, 'nan'::double as score", "1 as id, '-inf'::double as score"):
        with there.connect() as connection:
            connection.execute("create schema if not exists audiences")
            connection.execute(f"create or replace table audiences.vip as select {query}")
        run(there, world)
    assert [(item["identifiers"], item["attributes"]["score"]) for item in items(world)] == [
        ({"id": "1"}, None)
    ]


def test_an_id_that_is_no_number_or_spaces_names_nobody(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a table that was made with pandas, where a missing number is NaN."""
    rows = "select 'nan'::double as id, 'mia@x.io' as email union all select 'nan'::double, '  '"
    with there.connect() as connection:
        connection.execute("create schema if not exists audiences")
        connection.execute(f"create or replace table audiences.vip as {rows}")
    run(there, world)
    sent = {"copymart_vip": True, "_update": True}
    assert [(item["identifiers"], item["attributes"]) for item in items(world)] == [
        ({"email": "mia@x.io"}, sent)
    ]
    assert "held back 1: no_identifier 1" in capsys.readouterr().out


def test_what_customerio_would_not_take_is_held_back_and_what_it_refuses_until_it_changes(
    there: Project, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    build(
        there,
        [{"id": "u1", "plan": "x" * 1_001}, {"id": "u" * 151, "plan": "a"}, {"id": "u2", "plan": "bad"}],
    )
    world.instead = [(207, {}, b'{"errors":[{"batch_index":0,"reason":"invalid","message":"bad plan"}]}')]
    run(there, world)
    said = capsys.readouterr().out
    assert "value_too_long 1" in said and "identifier_too_long 1" in said and "refused 1: invalid" in said
    assert len(items(world)) == 1
    run(there, world)
    assert "refused 1" in capsys.readouterr().out and items(world) == []
    build(there, [{"id": "u2", "plan": "good"}])
    run(there, world)
    assert set(attributes(world)) == {"u2"}


def test_to_a_file_sends_nothing_and_counts_as_nothing(
    there: Project, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(there, [{"id": "u1", "plan": "a"}, {"id": "u2", "plan": "é"}])
    monkeypatch.delenv("CUSTOMERIO_SITE_ID")
    file = tmp_path / "members.jsonl"
    for _ in range(2):
        run(there, world, to=str(file))
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert [line["identifiers"] for line in lines] == [{"id": "u1"}, {"id": "u2"}]
    assert lines[1]["attributes"]["plan"] == "é"
    assert not world.asked and file.stat().st_mode & 0o077 == 0
    with pytest.raises(UserError, match="cannot write"):
        run(there, world, to=str(tmp_path / "none/members.jsonl"))
    for folder in ("", ".", "/", str(tmp_path)):
        with pytest.raises(UserError, match="is a folder: name a file in it"):
            run(there, world, to=folder)


def test_to_replaces_neither_a_link_nor_a_device(there: Project, world: World, tmp_path: Path) -> None:
    build(there, [{"id": "u1", "plan": "a"}])
    device, link, file = (tmp_path / name for name in ("device", "link", "members.jsonl"))
    os.mkfifo(device)
    link.symlink_to(file)
    with pytest.raises(UserError, match="is no file that can be replaced"):
        run(there, world, to=str(device))
    assert device.is_fifo()
    run(there, world, to=str(link))
    assert link.is_symlink() and "u1" in file.read_text()


def test_a_plan_shows_no_values(there: Project, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    build(there, [{"id": f"secret{n}", "plan": "Zurich"} for n in range(20)])
    run(there, world, dry_run=True)
    said = capsys.readouterr().out
    assert "to send entered 20" in said and said.count("text of 6") == 10
    assert "secret" not in said and "Zurich" not in said and not world.asked


def test_errors_say_what_to_do(there: Project, world: World) -> None:
    with there.connect() as connection:
        connection.execute("create schema audiences")
    with pytest.raises(UserError, match=r"write models/audiences/vip.sql and run `dbt build`"):
        run(there, world)
    with there.connect() as connection:
        connection.execute("create table audiences.gone as select 'u1' as id")
        connection.execute("create view audiences.vip as select id from audiences.gone")
        connection.execute("drop table audiences.gone")
    with pytest.raises(UserError, match=r"lacks a table or a column .*run `dbt build`.*gone"):
        run(there, world)
    assert [path.name for path in (there.spool / "activate-vip").iterdir()] == []
    with there.connect() as connection:
        connection.execute("drop view audiences.vip")
    build(there, [], "name varchar")
    with pytest.raises(UserError, match="neither a column id nor a column email"):
        run(there, world)
    with pytest.raises(UserError, match="is no name of an audience"):
        activate("../vip")


def test_values_are_those_of_customerio() -> None:
    assert plain(datetime(2026, 3, 1, 10)) == plain(datetime(2026, 3, 1, 10, tzinfo=UTC)) == 1772359200
    assert plain(date(2026, 3, 1)) == 1772323200
    assert [plain(value) for value in (Decimal("1.00"), Decimal("1.5"), 2.0, True, None, "x")] == [
        *(1, 1.5, 2, True, None, "x"),
    ]
    assert plain({"a": [date(2026, 3, 1), (1.0,)]}) == {"a": [1772323200, [1]]}


def test_ten_thousand_changes_under_faults_and_kills_end_in_the_state_of_the_audience(
    there: Project, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run enters, changes and removes some of the members; the last state is the audience's."""
    chance = random.Random(4)
    mortal = Mortal(monkeypatch)
    faults = (None, None, None, "503", "429", "429 0.01", "cut before", "cut after", "500 after")
    world.fault = lambda number: random.Random(number).choice(faults)
    changes, ever = 0, set[str]()
    for death in (3, 0, 5, 0):
        members = {f"u{n}": chance.choice("abc") for n in range(6_000) if chance.random() < 0.6}
        ever |= members.keys()
        build(there, [{"id": who, "plan": plan} for who, plan in members.items()])
        mortal.live(death)
        try:
            run(there, world, create=True)
        except Killed:
            mortal.live()
            run(there, world, create=True)
        found = {person.identifiers["id"]: person.attributes for person in world.workspace.people if person}
        assert {who for who, said in found.items() if said["copymart_vip"]} == members.keys()
        assert all(found[who]["plan"] == plan for who, plan in members.items())
        assert found.keys() == ever
    ((changes,),) = there.rows("select count(*) from staging.audience_acknowledgements")
    assert changes > 10_000
    build(there, [{"id": who, "plan": plan} for who, plan in members.items()])
    world.bodies.clear()
    run(there, world, create=True)
    assert world.bodies == []


@pytest.mark.parametrize(
    ("before", "in_flight", "now", "wanted"),
    [
        ([], [{"id": "u1", "plan": "a"}], [], False),
        ([{"id": "u1", "plan": "a"}], [{"id": "u1", "plan": "b"}], [{"id": "u1", "plan": "a"}], True),
        ([{"id": "u1", "plan": "a"}], [], [{"id": "u1", "plan": "a"}], True),
    ],
    ids=["entered and left", "changed and back", "left and back"],
)
def test_who_was_in_flight_gets_the_state_of_the_next_run(
    there: Project,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    before: list[Member],
    in_flight: list[Member],
    now: list[Member],
    wanted: bool,
) -> None:
    """Customer.io took what a killed run sent without an answer, and the audience has gone on since."""
    bob = [{"id": "bob", "plan": "a"}]
    build(there, before + bob)
    run(there, world, create=True)
    mortal = Mortal(monkeypatch)
    # no run is left, the plan, what is sent, the disk; then the answer, which never comes to the journal
    mortal.live(5)
    build(there, in_flight + bob)
    with pytest.raises(Killed):
        run(there, world, create=True)
    mortal.live()
    build(there, now + bob)
    run(there, world, create=True)
    found = {person.identifiers["id"]: person.attributes for person in world.workspace.people if person}
    assert found["u1"]["copymart_vip"] is wanted and found["u1"]["plan"] == "a"
    world.bodies.clear()
    run(there, world, create=True)
    assert world.bodies == []


def test_what_a_run_left_comes_into_the_ledger_of_no_other_warehouse(
    there: Project, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(there, [{"id": "u1", "plan": "a"}])
    mortal = Mortal(monkeypatch)
    # no run is left, the plan, what is sent, the disk, the answer, the disk; then the ledger
    mortal.live(7)
    with pytest.raises(Killed):
        run(there, world)
    mortal.live()
    own, other = there.folder / "warehouse.duckdb", there.folder / "other.duckdb"
    shutil.copy(own, other)
    monkeypatch.setenv("COPYMART_DUCKDB", str(other))
    with pytest.raises(UserError, match=r"It sent from .*/warehouse.duckdb; this is .*/other.duckdb"):
        run(there, world)
    monkeypatch.setenv("COPYMART_DUCKDB", str(own))
    world.bodies.clear()
    run(there, world)
    assert world.bodies == []


def test_a_clock_that_was_set_back_hides_no_state(
    there: Project, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the last run counts, whatever this machine's clock said."""
    for hour, plan in ((12, "a"), (10, "b"), (11, "a")):
        at = datetime(2030, 1, 1, hour, tzinfo=UTC)
        monkeypatch.setattr("scripts.customerio.outbound.sending.datetime", Mock(now=Mock(return_value=at)))
        monkeypatch.setattr("scripts.customerio.activate.utc_now", Mock(return_value=at.replace(tzinfo=None)))
        build(there, [{"id": "u1", "plan": plan}])
        world.bodies.clear()
        run(there, world)
        assert [said["plan"] for said in attributes(world).values()] == [plan]
