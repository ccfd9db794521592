"""The plan and the ledger on Snowflake, emulated: the same as on DuckDB, and statements of its grammar."""

import hashlib
import random
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import duckdb
import pytest
from snowflake.connector.cursor import SnowflakeCursor

from scripts.customerio.outbound import audiences, ledger, requests
from scripts.customerio.outbound.audiences import Tally
from scripts.customerio.outbound.ledger import MEMBERS, REQUESTS, OnDuckDB, OnSnowflake, Warehouse
from scripts.customerio.outbound.spool import Answered, Item
from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.forget.rows import Count
from scripts.forget.sent import count_sent, forget_sent
from scripts.land.forgotten import Known
from scripts.snowflake.throwaway import Place, set_up, throwaway_setup
from support.emulated_snowflake import connect
from support.outbound import T0, TABLE, Request, delete, event, identify, metric, rows

AT = "2026-03-02 00:00:00.123456"


@pytest.fixture
def here() -> Iterator[OnDuckDB]:
    with duckdb.connect() as connection:
        yield OnDuckDB(connection)


@pytest.fixture
def there(port: int) -> Iterator[OnSnowflake]:
    with closing(connect(port, "OUTBOUND")) as session:
        yield OnSnowflake(session, {"type": "snowflake", "schema": "PROD"}, "PROD")


def literal(value: Any, escaped: bool) -> str:
    if value is None or isinstance(value, bool | int):
        return {None: "null", True: "true", False: "false"}.get(value, str(value))
    text = str(value).replace("\\", "\\\\") if escaped else str(value)
    return "'" + text.replace("'", "''") + "'"


def build(warehouse: Warehouse, found: list[Request]) -> None:
    for schema in ("staging", "marts_outbound", "audiences"):
        warehouse.run(f"create schema if not exists {schema}")
    warehouse.run(TABLE.replace("timestamp", warehouse.timestamp))
    for table in ledger.TABLES:
        warehouse.run(f"drop table if exists staging.{table.name}")
    ledger._make_tables(warehouse, read_only=False)
    escaped = warehouse.engine == "snowflake"
    values = ", ".join(f"({', '.join(literal(value, escaped) for value in row)})" for row in rows(found))
    warehouse.run(f"insert into marts_outbound.outbound_requests values {values}")


def group(number: int, who: str) -> Request:
    item = {
        "type": "object",
        "action": "identify",
        "identifiers": {"object_type_id": "1", "object_id": "a'c\\me"},
        "cio_relationships": [{"identifiers": {"id": who}}],
    }
    return Request(f"m{number}", "create_or_update_object", number, item, who)


def related(number: int, who: str) -> Request:
    person = identify(number, who)
    relation = {"identifiers": {"object_type_id": "1", "object_id": "a'c\\me"}}
    return replace(person, item=person.item | {"cio_relationships": [relation]})


def some() -> list[Request]:
    chance = random.Random(2)
    makers = (identify, event, delete, group, related)
    made = [chance.choice(makers)(number, f"u{chance.randrange(6)}") for number in range(1, 80)]
    return [*made, metric(90), replace(identify(91, "u9"), held_back_reason="no_identifier")]


def steps(warehouse: Warehouse) -> list[Any]:
    """What a plan says, before and after parts of it were answered."""
    found = some()
    build(warehouse, found)
    wish = requests.Wish(requests.starts(warehouse, requests.ACTIONS, T0, T0)[0])
    said: list[Any] = [requests.counts(warehouse, wish), requests.samples(warehouse, wish)]
    items = list(requests.planned(warehouse, wish))
    said.append([(item.record[:5], item.keys, item.endpoint, item.text) for item in items])
    chance = random.Random(3)
    answers = [
        (item, Answered(0, *chance.choice([("acknowledged", None), ("refused", "x: 'y' \\ \n")]), AT))
        for item in items
        if chance.random() < 0.4
    ]
    for _ in range(2):
        ledger.write(warehouse, REQUESTS, "run1", answers)
    ledger_rows = "select * exclude (happened_at, acknowledged_at), cast(acknowledged_at as varchar) "
    said.append(
        [
            row[:7]
            for row in everything(
                warehouse, f"{ledger_rows} from staging.outbound_acknowledgements order by request_id"
            )
        ]
    )
    for resend in (False, True):
        again = requests.Wish(wish.starts, resend)
        said.append(requests.counts(warehouse, again))
        said.append([item.record[0] for item in requests.planned(warehouse, again)])
    later = {action: T0 + timedelta(seconds=40) for action in requests.ACTIONS}
    requests.keep_starts(warehouse, later, "run1")
    known, new = requests.starts(warehouse, requests.ACTIONS, None, T0)
    assert known == later and not new
    said.append(requests.counts(warehouse, requests.Wish(known)))
    return said


def test_a_payload_of_any_length_is_too_large(here: OnDuckDB, there: OnSnowflake) -> None:
    for warehouse in (here, there):
        build(warehouse, [event(1, "u1"), event(2, "u2")])
        text = """'"' || repeat('x', 9000000) || '"'"""
        warehouse.run(f"update marts_outbound.outbound_requests set payload = {text} where person_key = 'u1'")
        wish = requests.Wish(requests.starts(warehouse, requests.ACTIONS, T0, T0)[0])
        assert requests.counts(warehouse, wish) == [
            ("track_event", "item_too_large", 1),
            ("track_event", "send", 1),
        ]


def everything(warehouse: Warehouse, query: str) -> list[Any]:
    return [tuple(row) for page in warehouse.pages(query) for row in page]


def test_a_plan_is_that_of_duckdb(
    here: OnDuckDB, there: OnSnowflake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: set[str] = set()
    execute = SnowflakeCursor.execute

    def noted(self: SnowflakeCursor, statement: str, *given: Any, **options: Any) -> Any:
        sent.add(re.sub(r"'(?:[^'\\]|''|\\.)*'", "'x'", statement))
        return execute(self, statement, *given, **options)

    monkeypatch.setattr(SnowflakeCursor, "execute", noted)
    ours, theirs = steps(here), steps(there)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other
    verdicts = {verdict for _, verdict, _ in ours[-1] + ours[-3]}
    assert verdicts >= {"send", "late", "acknowledged", "refused", "before_first_run", "no_identifier"}
    assert members(here) == members(there)
    plans = sorted((each for each in sent if "judged as" in each), key=len)
    # all plans have the same long part, which takes seconds to check
    shapes = {plans[0], plans[-1]} | {
        each for each in sent if each.startswith(("insert into staging", "select"))
    }
    assert {each: refused for each in shapes if (refused := faults(each))} == {}


def members(warehouse: Warehouse) -> list[Any]:
    """Who is sent of an audience, before and after an answer."""
    columns = f"id varchar, seen_at {warehouse.timestamp}, score double"
    warehouse.run(f"create or replace table audiences.vip ({columns})")
    for who in ("'u''1'", "'u2'"):
        warehouse.run(f"insert into audiences.vip values ({who}, '2026-03-01 10:00:00', 1.5)")
    wish, tally = audiences.Wish("vip"), Tally()
    items: list[Item] = list(audiences.planned(warehouse, wish, tally))
    said: list[Any] = [[item.text for item in items]]
    ledger.write(
        warehouse, MEMBERS, "run1", [(item, Answered(0, "acknowledged", None, AT)) for item in items]
    )
    warehouse.run("delete from audiences.vip where id = 'u2'")
    warehouse.run("update audiences.vip set score = 3")
    said.append([(item.record, item.text) for item in audiences.planned(warehouse, wish, tally)])
    assert tally.sent == {"entered": 2, "changed": 1, "left": 1}
    return said


def test_a_person_is_forgotten_as_on_duckdb(here: OnDuckDB, there: OnSnowflake) -> None:
    known, said = Known("salt", frozenset()), []
    for warehouse in (here, there):
        build(warehouse, some())
        key = hashlib.md5(b"customer_id:u'1").hexdigest()
        rows_of = [("q1", "h", "track_event", key, None, AT, "refused", "bad u'1", AT, "r")]
        ledger.insert(warehouse, REQUESTS, [*rows_of, ("q2", *rows_of[0][1:3], "other", *rows_of[0][4:])])
        of_audience = ("vip", "id", "u'1", "h", True, "acknowledged", None, AT, "r")
        ledger.insert(warehouse, MEMBERS, [of_audience, ("vip", "id", "u2", *of_audience[3:])])
        counts = count_sent(warehouse, known, {"u'1", "u3"})
        forget_sent(warehouse, known, {"u'1", "u3"})
        query = "select {} from staging.{} order by 1, 2, 3"
        of_requests = query.format("person_key, reason, request_id", REQUESTS.name)
        of_members = query.format("identifier, reason, in_audience", MEMBERS.name)
        said.append([counts, everything(warehouse, of_requests), everything(warehouse, of_members)])
        assert count_sent(warehouse, known, {"u'1", "u3"}) == []
    assert said[0] == said[1]
    pseudonym = known.pseudonym("u'1")
    assert said[0] == [
        [Count("audience_acknowledgements", 1, 0), Count("outbound_acknowledgements", 1, 0)],
        [(pseudonym, "forgotten", "q1"), ("other", "bad u'1", "q2")],
        [(pseudonym, None, True), ("u2", None, True)],
    ]


def test_the_role_that_runs_dbt_sends_and_readers_see_nothing_of_it(port: int) -> None:
    setup = throwaway_setup(Place(None, None, None))
    settings = {"type": "snowflake", "schema": "PROD"}
    with closing(connect(port, "OTHER")) as administrator, set_up(administrator, setup):
        with closing(connect(port, setup.database, f"{setup.prefix}_TRANSFORMER")) as session:
            sender = OnSnowflake(session, settings, "PROD")
            sender.run("create or replace table audiences.vip as select 'u1' as id")
            ledger._make_tables(sender, read_only=False)
            (item,) = audiences.planned(sender, audiences.Wish("vip"), Tally())
            ledger.write(sender, MEMBERS, "run1", [(item, Answered(0, "acknowledged", None, AT))])
            assert list(audiences.planned(sender, audiences.Wish("vip"), Tally())) == []
        with closing(connect(port, setup.database, f"{setup.prefix}_READER")) as session:
            reader = OnSnowflake(session, settings, "PROD")
            for hidden in ("audiences.vip", "staging.audience_acknowledgements"):
                with pytest.raises(UserError, match="does not exist or not authorized"):
                    everything(reader, f"select * from {hidden}")


def test_what_is_not_there_says_what_to_do(there: OnSnowflake) -> None:
    there.run("drop table if exists marts_outbound.outbound_requests")
    there.run("drop table if exists audiences.vip")
    with pytest.raises(Exception, match=r"lacks MARTS_OUTBOUND\.outbound_requests: run `dbt build`"):
        requests.counts(there, requests.Wish({"track_event": T0}))
    with pytest.raises(Exception, match=r"write models/audiences/vip\.sql"):
        list(audiences.planned(there, audiences.Wish("vip"), Tally()))
