"""copymart extract against a server with the App API's quirks: what lands, and what stays after a kill."""

import csv
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.customerio.app_api import open_api
from scripts.customerio.entities import Reading, read
from scripts.customerio.records import action_ids, as_text, deduplicate_id, person_id
from scripts.customerio.wish import ENTITIES, Wish, start_of
from scripts.errors import UserError
from scripts.land.api import Counts, Part, Record, Warehouse, begin, land, positions, reset
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.tables import ddl
from support.app_api import DAY, KEY, NOW, World, answer, error, example, message, served
from support.project import PROJECT, settings
from support.quick import points
from support.warm import start

ROWS = "select entity, key, cast(payload as varchar), _scope, _moment from {}.customerio_api order by 1, 2"


@pytest.fixture
def world() -> Iterator[World]:
    with served(example()) as world:
        yield world


@pytest.fixture
def tables() -> Iterator[OnDuckDB]:
    connection = duckdb.connect()
    for statement in ddl():
        connection.execute(statement)
    yield OnDuckDB(connection)
    connection.close()


def extracted(
    world: World, tables: Warehouse, *entities: str, now: int = NOW, **wish: Any
) -> dict[str, Counts]:
    api = open_api(world.address, KEY, rate=10_000, backoff=0.001, pause=0.001)
    run = Reading(api, Wish(**wish), now=now)
    return {entity: counts for entity, counts, _ in read(run, entities or ENTITIES, tables)}


def rows(tables: Warehouse) -> list[Any]:
    return tables.run(ROWS.format(tables.schema))


def keys(tables: Warehouse, entity: str) -> list[str]:
    return [row[1] for row in rows(tables) if row[0] == entity]


def payloads(tables: Warehouse, entity: str) -> dict[str, dict[str, Any]]:
    return {row[1]: json.loads(row[2]) for row in rows(tables) if row[0] == entity}


def test_everything_lands_once_under_its_key(world: World, tables: OnDuckDB) -> None:
    world.most = 2
    found = extracted(world, tables)
    assert keys(tables, "campaigns") == ["7", "8", "9"]
    assert keys(tables, "actions") == sorted(
        ["broadcasts/3/12", *(f"campaigns/7/{n}" for n in range(41, 54))]
    )
    assert keys(tables, "contents") == ["newsletters/1/10", "newsletters/2/20", "newsletters/3/30"]
    assert keys(tables, "transactional") == ["5"]
    assert keys(tables, "segments") == ["1", "2", "3"]
    assert keys(tables, "segment_members") == [f"segments/1/c{n}" for n in range(5)]
    assert keys(tables, "messages") == sorted(f"m{n}" for n in range(1, 13))
    assert keys(tables, "customers") == [f"c{n}" for n in range(1, 6)]
    assert len(keys(tables, "activities")) == 14
    assert keys(tables, "webhooks") == ["1"]
    assert payloads(tables, "messages")["m1"] == message(1, 3, "push")
    assert {entity: counts.new for entity, counts in found.items()} == {
        entity: len(keys(tables, entity)) for entity in ENTITIES
    }
    before = rows(tables)
    again = extracted(world, tables)
    assert rows(tables) == before
    assert all(counts == Counts() for counts in again.values())


def test_only_what_takes_parameters_is_sent_any(world: World, tables: OnDuckDB) -> None:
    extracted(world, tables)
    sent: dict[str, set[str]] = {}
    for _, path, parameters in world.asked:
        sent.setdefault(path.removeprefix("/v1/").partition("/")[0], set()).update(parameters)
    assert sent == {
        **{name: set() for name in ("broadcasts", "transactional", "reporting_webhooks")},
        # the token of the second page of actions
        "campaigns": {"start"},
        "newsletters": {"start"},
        "segments": {"limit"},
        "messages": {"limit", "start_ts", "end_ts", "get_tracked_responses"},
        "activities": {"limit", "deleted"},
        "exports": set(),
        # the link of an export
        "": {"signature"},
    }


def test_by_key_what_has_gone_stays_and_a_full_load_removes_it(world: World, tables: OnDuckDB) -> None:
    extracted(world, tables)
    world.campaigns = world.campaigns[1:]
    world.actions["broadcasts/3"] = None
    world.transactional = []
    world.segments = world.segments[1:]
    world.messages = world.messages[1:]
    world.people = world.people[1:]
    world.activities = world.activities[1:]
    before = len(rows(tables))
    by_key = extracted(world, tables)
    assert len(rows(tables)) == before and not any(counts.removed for counts in by_key.values())
    full = extracted(world, tables, full=True)
    assert {entity: counts.removed for entity, counts in full.items() if counts.removed} == {
        "campaigns": 1,
        "actions": 14,
        "transactional": 1,
        "segments": 1,
        "segment_members": 5,
        "messages": 1,
        "customers": 1,
        "activities": 1,
    }
    assert keys(tables, "actions") == []


@pytest.mark.parametrize("kind", [int, float, str])
def test_a_full_load_removes_what_is_gone_however_its_time_is_written(
    world: World, tables: OnDuckDB, kind: type
) -> None:
    """The views read a time that is text, so landing does too."""
    world.activities = [{"id": "a", "type": "page", "timestamp": kind(NOW - DAY)}]
    extracted(world, tables, "activities")
    world.activities = []
    assert extracted(world, tables, "activities", full=True)["activities"] == Counts(removed=1)


def test_a_full_load_keeps_what_customerio_no_longer_serves(world: World, tables: OnDuckDB) -> None:
    """Deliveries of six months and activities of 30 days: older rows are no longer served, not gone."""
    old = [message(90, days_ago=170), message(91, days_ago=100)]
    world.messages = [*old, *world.messages]
    world.activities = [{"id": "old", "type": "page", "timestamp": NOW - 29 * DAY}, *world.activities]
    extracted(world, tables, "messages", "activities")
    world.messages, world.activities = world.messages[1:], world.activities[1:]
    later = NOW + 20 * DAY
    extracted(world, tables, "messages", "activities", full=True, now=later)
    assert {"m90", "m91"} <= set(keys(tables, "messages"))
    assert "old" in keys(tables, "activities")
    extracted(world, tables, "messages", full=True, since=NOW - 50 * DAY)
    assert {"m90", "m91"} <= set(keys(tables, "messages"))


def test_members_are_those_of_now_and_an_unfinished_segment_keeps_its_own(
    world: World, tables: OnDuckDB
) -> None:
    world.members["2"] = [{"cio_id": "c9", "id": "u9", "email": ""}]
    world.segments[1]["state"] = "finished"
    extracted(world, tables, "segments", "segment_members")
    world.segments[1]["state"], world.members["2"] = "events_queued", []
    world.members["1"] = world.members["1"][1:]
    counts = extracted(world, tables, "segment_members")["segment_members"]
    assert counts == Counts(removed=1)
    assert keys(tables, "segment_members") == [*(f"segments/1/c{n}" for n in range(1, 5)), "segments/2/c9"]
    extracted(world, tables, "segment_members", full=True)
    assert "segments/2/c9" in keys(tables, "segment_members")


def test_a_message_is_one_row_however_often_it_changes(world: World, tables: OnDuckDB) -> None:
    world.messages = [message(1)]
    extracted(world, tables, "messages")
    opened = message(1, changed=NOW, metrics={"created": 1, "opened": NOW})
    world.messages = [opened]
    assert extracted(world, tables, "messages")["messages"] == Counts(changed=1)
    # an older answer does not undo a later one
    world.messages = [message(1)]
    assert extracted(world, tables, "messages")["messages"] == Counts()
    assert payloads(tables, "messages") == {"m1": opened}


def test_of_two_payloads_in_one_reading_the_later_counts(tables: OnDuckDB) -> None:
    at = datetime(2026, 1, 1)
    begin(tables)
    records = [
        Record("messages", "m", "email", text, at, 5, version)
        for text, version in (('{"a":1}', 7), ('{"a":2}', 9), ('{"a":3}', 8))
    ]
    land(tables, Part("messages", records), Counts())
    assert payloads(tables, "messages") == {"m": {"a": 2}}


def test_messages_are_read_in_windows_that_leave_no_second_out(world: World, tables: OnDuckDB) -> None:
    extracted(world, tables, "messages")
    spans = [(int(given["start_ts"]), int(given["end_ts"])) for _, _, given in world.asked]
    assert spans[0][0] == NOW - 1 - 180 * DAY and spans[-1][1] == NOW - 1
    assert all(end + 1 == start for (_, end), (start, _) in pairwise(spans))
    assert all(end - start < 183 * DAY for start, end in spans)
    world.asked.clear()
    extracted(world, tables, "messages", now=NOW + 50, rescan_days=30)
    assert int(world.asked[0][2]["start_ts"]) == NOW - 30 * DAY


def test_what_is_no_longer_served_is_said(
    world: World, tables: OnDuckDB, capsys: pytest.CaptureFixture[str]
) -> None:
    extracted(world, tables, "messages", since=NOW - 400 * DAY)
    assert int(world.asked[0][2]["start_ts"]) == NOW - 1 - 180 * DAY
    assert "serves the messages of 180 days: they are read from" in capsys.readouterr().out
    extracted(world, tables, "messages", since=NOW - 9 * DAY)
    assert capsys.readouterr().out == ""


def test_windows_shrink_where_there_is_much(world: World, tables: OnDuckDB) -> None:
    world.most = 1
    world.messages = [message(n, days_ago=10 + n / 100) for n in range(50)]
    extracted(world, tables, "messages", since=NOW - 12 * DAY)
    assert len(keys(tables, "messages")) == 50
    spans = [int(given["end_ts"]) - int(given["start_ts"]) + 1 for _, _, given in world.asked]
    assert spans[0] == 7 * DAY and spans[-1] < 7 * DAY


def test_the_position_is_kept_by_type_and_moves_only_without_a_gap(world: World, tables: OnDuckDB) -> None:
    extracted(world, tables, "messages", message_types=("email",))
    assert set(positions(tables, "messages")) == {"email"}
    assert {row[3] for row in rows(tables)} == {"email"}
    extracted(world, tables, "messages", message_types=("email", "push"), now=NOW + 9)
    assert positions(tables, "messages") == {"email": NOW + 8, "push": NOW + 8}
    # a later start than where the last run ended leaves a gap, which the next run must still read
    extracted(world, tables, "messages", message_types=("email",), now=NOW + 999, since=NOW + 500)
    assert positions(tables, "messages")["email"] == NOW + 8
    extracted(world, tables, "messages")
    assert positions(tables, "messages")["*"] == NOW - 1
    # a reading of all types counts for each
    world.asked.clear()
    extracted(world, tables, "messages", message_types=("slack",), rescan_days=1)
    assert int(world.asked[0][2]["start_ts"]) == NOW - DAY
    assert reset(tables, ["messages"]) == 4
    world.asked.clear()
    extracted(world, tables, "messages")
    assert int(world.asked[0][2]["start_ts"]) == NOW - 1 - 180 * DAY


@given(
    position=st.none() | st.integers(NOW - 400 * DAY, NOW),
    since=st.none() | st.integers(NOW - 400 * DAY, NOW),
    rescan=st.integers(0, 400),
    full=st.booleans(),
)
def test_a_start_leaves_nothing_out(position: int | None, since: int | None, rescan: int, full: bool) -> None:
    start = start_of(Wish(full, since, rescan), position, NOW)
    assert start >= NOW - 180 * DAY
    if since is None and position is not None:
        assert start <= max(position - 3_599, NOW - 180 * DAY)
        assert full or position > start or start == NOW - 180 * DAY


def test_a_position_that_is_to_come_leaves_nothing_out(
    world: World, tables: OnDuckDB, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clock was years ahead in one run; by the next one messages have come."""
    extracted(world, tables, "messages", now=NOW + 3_000 * DAY)
    world.messages = [message(1, 100), message(2, 0.001)]
    extracted(world, tables, "messages", rescan_days=0)
    assert keys(tables, "messages") == ["m1", "m2"]
    assert "which is to come" in capsys.readouterr().out


def test_a_list_that_began_again_is_read_again(world: World, tables: OnDuckDB) -> None:
    loop = {"messages": [message(1)], "next": "x"}
    world.instead = [answer(200, loop), answer(200, loop)]
    extracted(world, tables, "messages", since=NOW - 5 * DAY)
    assert keys(tables, "messages") == ["m1"]
    world.messages = []
    world.instead = [answer(200, loop)] * 6
    with pytest.raises(UserError, match="began again at its first page 3 times"):
        extracted(world, tables, "messages", since=NOW - 5 * DAY)


def test_what_is_no_record_is_a_reject_once(world: World, tables: OnDuckDB) -> None:
    large = '{"id": 2, "n": 1e999}'
    text = json.dumps({"messages": [{"id": 1, "name": "caf\u00e9 \ud83d"}, {"name": "no id"}, "text"]})
    world.instead = [answer(200, text.replace("]}", f", {large}]}}"))] * 2
    assert extracted(world, tables, "transactional")["transactional"] == Counts(new=1, rejected=3)
    assert extracted(world, tables, "transactional")["transactional"] == Counts()
    found = tables.run("select reason from staging.customerio_api_rejects order by 1")
    assert [reason for (reason,) in found] == ["missing_id", "not_a_number", "not_an_object"]
    assert payloads(tables, "transactional")["1"]["name"] == "caf\u00e9 \ufffd"
    ledger = "select file, row_count, reject_count from staging.landed_files"
    assert tables.run(ledger) == [("customerio_api:transactional", 1, 3)]


def test_ids_of_actions_without_one_are_found(world: World) -> None:
    stubs = [{"id": 41, "type": "webhook"}, {"id": 42, "type": "email"}, {"id": 43, "type": "twilio"}]
    hook, mail, text = {"type": "webhook"}, {"id": 42, "type": "email"}, {"type": "twilio"}
    assert action_ids([text, mail, hook], stubs) == ["43", "42", "41"]
    assert action_ids([{"deduplicate_id": "9:1760000000", **hook}, mail], stubs) == ["9", "42"]
    # two of a type cannot be told apart
    assert action_ids([hook, hook], stubs) == [None, None]
    assert action_ids([hook], [*stubs, {"id": 44, "type": "webhook"}]) == [None]
    assert action_ids([hook], []) == [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("41:1760000000", ("41", 1760000000)),
        ("a:b:5", ("a:b", 5)),
        ("41", (None, None)),
        ("41:x", (None, None)),
    ],
)
def test_deduplicate_ids_are_an_id_and_its_last_change(text: str, expected: tuple[Any, Any]) -> None:
    assert deduplicate_id({"deduplicate_id": text}) == expected


def test_a_person_is_known_by_what_stays() -> None:
    assert person_id({"cio_id": "c", "id": "u", "email": "e"}) == "c"
    assert person_id({"cio_id": "", "id": "u", "email": "e"}) == "id:u"
    assert person_id({"id": None, "email": "e"}) == "email:e"
    assert person_id({}) is None


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_equal_items_are_equal_texts(item: Any) -> None:
    text = as_text(item)
    assert text.encode() and json.loads(text) is not ...
    if isinstance(item, dict):
        assert as_text(dict(reversed(item.items()))) == text


def test_people_come_from_an_export(world: World, tables: OnDuckDB) -> None:
    world.polls = 3
    world.people = [{"cio_id": "c1", "id": "", "email": 'a,"b\n@x', "plan": ""}]
    chosen = {"and": [{"segment": {"id": 7}}]}
    extracted(world, tables, "customers", people_filter=chosen, attributes=("plan", "cio_id"))
    assert payloads(tables, "customers") == {"c1": {"cio_id": "c1", "email": 'a,"b\n@x'}}
    assert world.bodies[0] == {"filters": chosen, "attributes": ["cio_id", "plan"]}
    assert world.paths().count("/v1/exports/110") == 4
    signed = world.sent[world.paths().index("/signed/110")]
    assert "Authorization" not in signed
    world.polls = 0
    extracted(world, tables, "customers")
    bodies = [body for body in world.bodies if body]
    assert bodies[1] == {"filters": {"attribute": {"field": "cio_id", "operator": "exists"}}}


def test_a_full_load_with_a_filter_takes_nobody_for_gone(
    world: World, tables: OnDuckDB, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whom the filter leaves out is there all the same."""
    extracted(world, tables, "customers")
    world.people = world.people[:2]
    extracted(world, tables, "customers", full=True, people_filter={"segment": {"id": 7}})
    assert len(keys(tables, "customers")) == 5
    assert "with a filter nobody is taken for gone" in capsys.readouterr().out
    extracted(world, tables, "customers", full=True)
    assert keys(tables, "customers") == ["c1", "c2"]


def test_a_disk_without_room_for_an_export_is_said(
    world: World, tables: OnDuckDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more or less full: the download writes, or no folder can be made."""
    really_open = Path.open

    def full(path: Path, mode: str = "r", **given: Any) -> Any:
        return really_open(Path("/dev/full") if path.name == "people.csv" else path, mode, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(UserError, match="temporary files: No space left on device"):
            extracted(world, tables, "customers")
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    with pytest.raises(UserError, match="temporary files: No such file or directory"):
        extracted(world, tables, "customers")
    assert keys(tables, "customers") == []


def test_the_people_that_a_killed_run_downloaded_go_with_the_next_one(
    world: World, tables: OnDuckDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # a kill is what removes nothing
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        extracted(world, tables, "customers")
    assert list(tmp_path.rglob("people.csv"))
    extracted(world, tables, "customers")
    assert not list(tmp_path.iterdir())


def test_numbers_that_no_column_takes_stop_nothing(world: World, tables: OnDuckDB) -> None:
    odd = [
        {"id": "m1", "type": "event", "timestamp": 10**30},
        {"id": "m2", "type": "event", "timestamp": 1e30, "deduplicate_id": f"m2:{'9' * 30}"},
        {"id": "m3", "type": "event", "timestamp": -(2**63), "deduplicate_id": f"m3:{'9' * 5_000}"},
    ]
    world.activities += odd
    for full in (False, True):
        extracted(world, tables, "activities", full=full)
        assert {"m1", "m2", "m3"} <= set(keys(tables, "activities"))


def test_a_long_value_of_an_export_leaves_the_limit_of_other_files(world: World, tables: OnDuckDB) -> None:
    limit = csv.field_size_limit()
    address = "a" * (limit + 1)
    world.people = [{"cio_id": "c1", "email": address}]
    extracted(world, tables, "customers")
    assert payloads(tables, "customers") == {"c1": {"cio_id": "c1", "email": address}}
    assert csv.field_size_limit() == limit


def test_an_export_that_is_not_whole_takes_nobody_for_gone(world: World, tables: OnDuckDB) -> None:
    extracted(world, tables, "customers")
    world.polls, everybody = 0, world.people

    def lose(_number: int) -> None:
        if world.paths()[-1].startswith("/signed"):
            world.people = everybody[:2]

    world.before = lose
    with pytest.raises(UserError, match="export 110 has 5 people and its file 2"):
        extracted(world, tables, "customers", full=True)
    assert len(keys(tables, "customers")) == 5


@pytest.mark.parametrize(
    ("total", "said"), [("6", "export 110 has 6 people and its file 5"), (None, "not say how many people")]
)
def test_an_export_without_a_number_of_people_takes_nobody_for_gone(
    world: World, tables: OnDuckDB, total: Any, said: str
) -> None:
    """A file that was cut off between two lines shows in nothing else."""
    export = {"id": 110, "status": "done", "total": total}
    world.instead = [answer(200, {"export": export})] * 2
    with pytest.raises(UserError, match=said):
        extracted(world, tables, "customers", full=True)


def test_a_link_that_expired_is_asked_for_again_and_a_failed_export_ends(
    world: World, tables: OnDuckDB
) -> None:
    world.before = lambda _number: (
        world.instead.append(answer(403, "expired"))
        if world.paths()[-1].startswith("/signed") and world.paths().count("/signed/110") == 1
        else None
    )
    extracted(world, tables, "customers")
    assert len(keys(tables, "customers")) == 5
    world.before = lambda _number: None
    world.instead = [
        answer(200, {"export": {"id": 111}}),
        answer(200, {"export": {"id": 111, "status": "failed"}}),
    ]
    with pytest.raises(UserError, match="export 111 failed"):
        extracted(world, tables, "customers")


def test_activities_by_type_and_of_deleted_people(world: World, tables: OnDuckDB) -> None:
    world.activities.append({"id": "d", "type": "event", "timestamp": NOW, "deleted": "true"})
    extracted(world, tables, "activities", activity_types=("event",))
    assert {row[3] for row in rows(tables)} == {"event"} and "d" not in keys(tables, "activities")
    extracted(world, tables, "activities", activity_types=("event",), deleted_people=True, full=True)
    assert "d" in keys(tables, "activities") and len(keys(tables, "activities")) == 8


def test_a_full_load_without_deleted_people_keeps_what_one_with_them_brought(
    world: World, tables: OnDuckDB, capsys: pytest.CaptureFixture[str]
) -> None:
    """No activity says that its person was deleted, so nothing up to the run with them is taken for gone."""
    world.activities.append({"id": "d", "type": "event", "timestamp": NOW - DAY, "deleted": "true"})
    extracted(world, tables, "activities", deleted_people=True)
    later = {"type": "event", "timestamp": NOW + 2 * DAY}
    world.activities += [{"id": "later", **later}, {"id": "gone", **later}]
    now = NOW + 3 * DAY
    extracted(world, tables, "activities", now=now)
    world.activities.pop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.customerio.entities.time.time", lambda: now)
        extracted(world, tables, "activities", full=True, activity_types=("event",), now=now)
        extracted(world, tables, "activities", full=True, now=now)
        assert {"d", "later"} <= set(keys(tables, "activities"))
        assert "gone" not in keys(tables, "activities")
        assert "is taken for gone: a run with it may have brought it" in capsys.readouterr().out
        # what was asked for may be gone
        world.activities = [item for item in world.activities if item["id"] != "d"]
        extracted(world, tables, "activities", full=True, deleted_people=True, now=now)
    assert "d" not in keys(tables, "activities")


def test_no_other_host_is_asked(world: World, tables: OnDuckDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt sends telemetry only from pipelines; neither a folder nor a file of its own appears."""
    import socket

    asked = []
    connect = socket.socket.connect

    def noted(self: Any, address: Any) -> Any:
        asked.append(address[0])
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    extracted(world, tables)
    assert set(asked) == {"127.0.0.1"}


class Killed(BaseException):
    """What a process cannot catch."""


def test_failed_at_every_request_and_run_again(world: World, tables: OnDuckDB) -> None:
    """Each run ends one request later than the last, in one warehouse; at the end it is that of one run."""
    world.most = 4
    undisturbed = duckdb.connect()
    for statement in ddl():
        undisturbed.execute(statement)
    whole = OnDuckDB(undisturbed)
    extracted(world, whole, full=True)
    number = len(world.asked)
    for fatal in points(range(1, number + 1)):
        world.asked.clear()
        world.polls = 1

        def fail(count: int, fatal: int = fatal) -> None:
            if count == fatal:
                world.instead = [error(401, "revoked")]

        world.before = fail
        if fatal % 7 == 0:
            reset(tables, ["messages"])
        with suppress(UserError):
            extracted(world, tables, full=bool(fatal % 2), rescan_days=20)
    world.before, world.instead, world.polls = (lambda _number: None), [], 1
    extracted(world, tables, full=True)
    assert rows(tables) == rows(whole)
    # and each entity is as large as its ledger says
    assert (
        tables.run(
            "select entity, count(*) from staging.customerio_api group by 1 "
            "except select replace(file, 'customerio_api:', ''), row_count from staging.landed_files"
        )
        == []
    )


@pytest.mark.integration
def test_killed_at_every_request_and_run_again(world: World, tmp_path: Path) -> None:
    """With -9, in a process of its own: each goes one request further than the last, and one ends."""
    world.most = 4
    world.messages = [message(number, days_ago=number / 10) for number in range(1, 13)]
    environment = settings(tmp_path) | {"CUSTOMERIO_APP_API_KEY": KEY}
    since = f"{datetime.fromtimestamp(NOW - 2 * DAY, UTC):%Y-%m-%d}"
    what = ("--what", "segments,segment_members,messages,customers", "--since", since, "--full")
    command = ("extract", *what, "--api-url", world.address, "--rate", "10000")
    with_all = {"segments": 3, "segment_members": 5, "messages": 12, "customers": 5}
    fatal, landed, states = 0, 0, set()
    while True:
        fatal += 1
        world.asked.clear()
        world.polls = 0
        running = start(tmp_path / f"{fatal}.log", environment, *command, folder=PROJECT)
        world.before = lambda count, fatal=fatal, run=running: run.kill() if count == fatal else None
        done = running.done()
        with duckdb.connect(environment["COPYMART_DUCKDB"]) as connection:
            found = rows(OnDuckDB(connection))
        # nothing that was landed is lost, and nothing is there twice
        assert len(found) == len({row[:2] for row in found}) >= landed
        landed = len(found)
        states.add(landed)
        if done.status != -signal.SIGKILL:
            break
    assert done.status == 0, done.output
    assert fatal > 10 and len(states) > 3
    assert {entity: sum(row[0] == entity for row in found) for entity in with_all} == with_all
