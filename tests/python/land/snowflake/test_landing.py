"""The Snowflake target, on an emulated Snowflake: the same tables as on DuckDB, whatever lands, and how."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pytest
import zstandard
from jinja2 import Environment
from snowflake.connector import Error
from snowflake.connector.cursor import SnowflakeCursor
from snowflake.connector.errors import ProgrammingError

from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.land.duckdb import DuckDB
from scripts.land.moved import move, plan_moves
from scripts.land.rules import CALLS, EVENTS, Dataset, member_columns
from scripts.land.snowflake import engine as land_engine
from scripts.land.snowflake import lines as land_lines
from scripts.land.snowflake import tables, transaction
from scripts.land.snowflake.engine import Snowflake, scratch
from scripts.land.snowflake.session import PlainLines, Session, open_session
from scripts.land.snowflake.tables import make_tables
from scripts.land.sources import list_files, locate
from scripts.land.sync import by_table
from scripts.land.tables import fill_columns
from scripts.snowflake import sides, statements
from scripts.snowflake.compare import columns_of
from scripts.snowflake.sides import Side
from scripts.snowflake.throwaway import Place, set_up, throwaway_setup
from scripts.snowflake.verify import SKIPPED, main
from scripts.staging import staging_folder
from scripts.warehouse import layer_schema
from support.emulated_snowflake import PROFILE, connect, differences, everything, land_there
from support.event_lines import EVENT_LINES
from support.formats import avro, parquet
from support.land import HOURS, SPAN, call, event, hourly, land_path, text, warehouse, write
from support.project import PROJECT, read_yaml
from support.s3_servers import aws, environment
from support.sync import TABLES, delivery, moment, write_export
from support.warm import start


@pytest.fixture
def session(port: int, request: pytest.FixtureRequest) -> Iterator[Session]:
    """An empty database of its own for a test."""
    name = "T" + re.sub(r"\W", "_", request.node.name)
    connection = connect(port, name)
    yield Session(connection, "STAGING")
    connection.close()


LINES: list[dict[str, Any] | str] = [
    call(),
    call(vars={"price": 1}, attrs={"n": None}),
    '{"event_timestamp":1767268801,"copy_id":"3F0C9B52-6A1E-4D0B-9A43-5F0B8C2D7E11","template_id":"t",'
    '"vars":{"a":41.50,"b":-0,"c":1e2,"d":"it\'s \\\\ \\u00e9\\n$$"},"attrs":"{\\"x\\":1.0}"}',
    call(copy_id="bad"),
    call(event_timestamp="1767268801000"),
    "broken '$$ \\",
    "\\N",
    "",
    '{"event_timestamp":1767268801,"event_timestamp":2}',
    "[1]",
    call(template_id=...),
]


def test_every_kind_of_line_and_file_lands_as_on_duckdb(session: Session, tmp_path: Path) -> None:
    write(tmp_path / "2026/09/01/00/it's.jsonl", *LINES)
    write(tmp_path / "b.jsonl.gz", *LINES[::-1])
    (tmp_path / "c.jsonl.zst").write_bytes(
        zstandard.compress(b"\xef\xbb\xbf" + text(*LINES).encode() + b"\xff\n")
    )
    (tmp_path / "d.parquet").write_bytes(parquet([call(user_id=f"p{n}") for n in range(3)]))
    (tmp_path / "e.avro").write_bytes(avro([call(user_id=f"a{n}") for n in range(3)]))
    (tmp_path / "f.jsonl.gz").write_bytes(b"")
    (tmp_path / "g.jsonl").write_bytes(b"")
    connection = warehouse()
    here, there = land_path(connection, tmp_path), land_there(session, tmp_path)
    assert here.rows > 10
    assert (here.rows, here.rejected, here.files) == (there.rows, there.rejected, there.files)
    assert here.refused == there.refused != []
    assert differences(connection, session) == {}


def test_the_rows_that_a_killed_landing_checked_here_go_with_the_next_one(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie in a DuckDB, and as Parquet on their way to Snowflake."""
    write(tmp_path / "a.jsonl", *LINES)
    scratched = tmp_path / "scratch"
    scratched.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratched))
    # a kill is what removes nothing
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        land_there(session, tmp_path / "a.jsonl")
    # beside folders of the connector, which PUT empties as it goes
    left = {path.suffix for path in scratched.rglob("*.*") if path.is_file()}
    assert left >= {".duckdb", ".parquet", ".jsonl"}
    with staging_folder() as held:
        land_there(session, tmp_path / "a.jsonl")
        assert held.is_dir()
    assert not [path for path in scratched.rglob("*.*") if path.is_file()]
    assert not list(scratched.glob(".staging-*"))


def test_events_land_as_on_duckdb(session: Session, tmp_path: Path) -> None:
    write(
        tmp_path / "events.jsonl",
        event(),
        event(object_type=..., metric=..., event_type="email_opened"),
        event(data={"delivery_id": "", "journey_id": 15, "content": 'say "hi" \\ it\'s', "x": [1.50]}),
        event(event_id=...),
        "nothing",
    )
    connection = warehouse()
    land_path(connection, tmp_path, EVENTS)
    land_there(session, tmp_path, EVENTS)
    assert differences(connection, session) == {}


def test_the_warehouse_sync_lands_as_on_duckdb(session: Session, tmp_path: Path) -> None:
    """Every table of it, in odd types, with rejects, unknown columns, and a file that is replaced."""
    connection = warehouse()
    for table, dataset in TABLES.items():
        fields = {
            field: {"int": 7, "text": "it's \\ a", "time": moment(1_767_268_801), "flag": True}[kind]
            for _, kind, field in dataset.typed
        }
        bare = {field: fields[field] for (field,) in dataset.columns.required}
        others = {"new": pa.array([1, None, 3]), "Sequence": pa.array(["a", 'say "hi"', None])}
        write_export(tmp_path / f"{table}_v4_1_5.parquet", dataset, [fields, bare, {}], others=others)
        write_export(
            tmp_path / f"{table}_v4_1_6.parquet",
            dataset,
            [fields],
            dict.fromkeys((field for _, kind, field in dataset.typed if kind in ("time", "flag")), "text"),
        )
    location = locate(str(tmp_path))
    tables, _ = by_table(location, list_files(location))
    assert len(tables) == len(TABLES)
    for dataset, files in tables.items():
        for file in files:
            land_path(connection, file.uri, dataset)
            land_there(session, file.uri, dataset)
    assert differences(connection, session) == {}
    path = tmp_path / "deliveries_v4_1_5.parquet"
    write_export(path, TABLES["deliveries"], [delivery(1)])
    here, there = (
        land_path(connection, path, TABLES["deliveries"]),
        land_there(session, path, TABLES["deliveries"]),
    )
    assert here.replaced == there.replaced == 1
    assert differences(connection, session) == {}
    # tables of an earlier version
    for column in ("proxied", "mx_host"):
        everything(session, f"alter table STAGING.customerio_metrics drop column {column}")
        connection.execute(f"alter table staging.customerio_metrics drop column {column}")
    fill_columns(connection)
    make_tables(session)
    assert differences(connection, session) == {}
    assert {"proxied", "mx_host"} <= set(columns_of(connection, "staging.customerio_metrics"))
    (tmp_path / "people_v4_1_7.jsonl").write_text('{"internal_customer_id": "p"}\n')
    refused = land_there(session, tmp_path / "people_v4_1_7.jsonl", TABLES["people"]).refused
    assert "writes Parquet" in refused[0][1]


def test_rows_of_an_earlier_version_get_what_they_would_get_today(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "events.jsonl", *EVENT_LINES)
    connection = warehouse()
    land_path(connection, tmp_path, EVENTS)
    land_there(session, tmp_path, EVENTS)
    assert differences(connection, session) == {}
    types = [row[:2] for row in everything(session, "describe table STAGING.customerio_events")]
    for column in member_columns(EVENTS):
        everything(session, f"alter table STAGING.customerio_events drop column {column}")
    narrow = everything(session, "select * from STAGING.customerio_events order by _line")

    real = tables.fill_query
    monkeypatch.setattr(tables, "fill_query", lambda *given: real(*given) + " where no_such_column = 1")
    with pytest.raises(Error):
        make_tables(session)
    assert everything(session, "select * from STAGING.customerio_events order by _line") == narrow
    monkeypatch.setattr(tables, "fill_query", real)
    capsys.readouterr()
    assert land_there(session, tmp_path, EVENTS).unchanged == 1
    assert (
        f"an earlier version landed its {len(EVENT_LINES)} rows. Reading delivery_id"
        in capsys.readouterr().out
    )
    assert [row[:2] for row in everything(session, "describe table STAGING.customerio_events")] == types
    assert differences(connection, session) == {}
    make_tables(session)
    assert capsys.readouterr().out == ""


def test_the_fill_is_a_statement_of_snowflake() -> None:
    assert faults(tables.fill_query("S", EVENTS)) == []


@pytest.mark.parametrize("dataset", [CALLS, EVENTS], ids=lambda dataset: dataset.name)
def test_files_are_skipped_replaced_and_removed_as_on_duckdb(
    session: Session, tmp_path: Path, dataset: Dataset
) -> None:
    record = call if dataset is CALLS else event
    files = hourly(tmp_path, *HOURS)
    for number, file in enumerate(files):
        write(
            file, *(record(journey_id=f"{number}", data={"journey_id": f"{n}"}) for n in range(3)), "broken"
        )
    connection = warehouse()

    def both(**options: Any) -> tuple[int, ...]:
        outcomes = [
            land_path(connection, tmp_path, dataset, **options),
            land_there(session, tmp_path, dataset, **options),
        ]
        counts = [
            (outcome.files, outcome.rows, outcome.unchanged, outcome.replaced, outcome.removed)
            for outcome in outcomes
        ]
        assert counts[0] == counts[1]
        assert differences(connection, session) == {}
        return counts[0]

    assert both() == (4, 12, 0, 0, 0)
    assert both() == (0, 0, 4, 0, 0)
    write(files[1], record(journey_id="new"))
    assert both() == (1, 1, 3, 1, 0)
    files[2].unlink()
    assert both(span=SPAN, allow_empty=True) == (0, 0, 1, 0, 1)
    assert len(everything(session, f"select * from STAGING.{dataset.name}_removed")) > 1


def test_a_file_that_another_process_landed_meanwhile_does_not_land_twice(
    session: Session, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "calls.jsonl", call())
    land_there(session, tmp_path / "calls.jsonl", EVENTS)
    other = Session(connect(port, everything(session, "select current_database()")[0][0]), "STAGING")
    real = transaction._stage

    def while_staging(*arguments: Any) -> dict[str, int]:
        monkeypatch.setattr(transaction, "_stage", real)
        land_there(other, tmp_path)
        return real(*arguments)

    monkeypatch.setattr(transaction, "_stage", while_staging)
    with pytest.raises(UserError, match=r"calls\.jsonl was landed by another process meanwhile"):
        land_there(session, tmp_path)
    assert everything(session, "select count(*) from STAGING.justai_calls") == [(1,)]
    assert everything(
        session, "select count(*) from STAGING.landed_batches where dataset = 'justai_calls'"
    ) == [(1,)]
    assert land_there(session, tmp_path).unchanged == 1


def test_a_landing_waits_until_the_one_before_it_can_be_seen(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of Snowflake may not see at once what another has committed."""
    land_there(session, write(tmp_path / "a.jsonl", call()))
    ((first,),) = everything(session, "select batch_id from STAGING.landed_batches")
    real, blind = transaction.execute, [2]

    def late(session: Session, statement: str, parameters: Any = None) -> list[Any]:
        if parameters == (first,) and blind[0]:
            blind[0] -= 1
            return [(0,)]
        return real(session, statement, parameters)

    monkeypatch.setattr(transaction, "execute", late)
    monkeypatch.setattr(transaction, "_PAUSE_SECONDS", 0)
    assert land_there(session, write(tmp_path / "b.jsonl", call(user_id="2"))).rows == 1
    assert blind == [0]
    blind[0], last = 1_000, "select split_part(batch_id, ' ', 1) from STAGING.landing_lock where dataset = %s"
    with session.connection.cursor() as cursor:
        ((first,),) = cursor.execute(last, ("justai_calls",)).fetchall()
    monkeypatch.setattr(transaction, "_VISIBLE_SECONDS", 0)
    with pytest.raises(UserError, match=f"batch {first}, is not seen"):
        land_there(session, write(tmp_path / "c.jsonl", call(user_id="3")))
    assert everything(session, "select count(*) from STAGING.justai_calls") == [(2,)]


def test_a_lock_that_another_landing_holds_is_told(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = transaction.execute

    def held(session: Session, statement: str, parameters: Any = None) -> list[Any]:
        if statement.startswith("update STAGING.landing_lock"):
            raise ProgrammingError(msg="this lock has not yet been released", errno=625)
        return real(session, statement, parameters)

    monkeypatch.setattr(transaction, "execute", held)
    with pytest.raises(
        UserError, match=r"another landing of justai_calls may hold its lock.*not yet been released"
    ):
        land_there(session, write(tmp_path / "a.jsonl", call()))


def test_a_landing_waits_half_an_hour_for_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOCK_TIMEOUT, which is twelve hours by default."""
    given: dict[str, Any] = {}

    def connect(*_: Any, **options: Any) -> None:
        given.update(options)
        raise ConnectionError

    monkeypatch.setattr(land_engine, "connect_snowflake", connect)
    with (
        pytest.raises(ConnectionError),
        land_engine.open_snowflake({}, PROJECT, None, None, False, "PROD", None, None),
    ):
        pass
    assert given["parameters"] == {"LOCK_TIMEOUT": 1_800}


@pytest.mark.parametrize("step", ["_check_ledger", "_delete", "_copy", "_insert_plain"])
def test_a_landing_that_breaks_off_leaves_nothing_of_its_batch(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file = write(tmp_path / "calls.jsonl", call(), call(user_id="2"))
    connection = warehouse()
    land_path(connection, tmp_path)
    land_there(session, tmp_path)
    write(file, call(user_id="3"))
    real = getattr(transaction, step)

    def broken(*arguments: Any) -> None:
        real(*arguments)
        raise ConnectionError("cut")

    monkeypatch.setattr(transaction, step, broken)
    with pytest.raises(ConnectionError):
        land_there(session, tmp_path)
    assert differences(connection, session) == {}
    monkeypatch.setattr(transaction, step, real)
    land_path(connection, tmp_path)
    land_there(session, tmp_path)
    assert differences(connection, session) == {}


def test_moved_files_are_renamed_as_on_duckdb(session: Session, tmp_path: Path) -> None:
    hourly(tmp_path / "old", *HOURS)
    connection = warehouse()
    land_path(connection, tmp_path / "old")
    land_there(session, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    addresses = (str(tmp_path / "old"), str(tmp_path / "new"))
    with scratch(session) as copied:
        for engine in (DuckDB(connection), Snowflake(copied, session, None)):
            assert move(engine, plan_moves(engine, *addresses)) == len(HOURS)
    assert differences(connection, session) == {}
    removed = "select count(*), count(distinct batch_id) from staging.justai_calls_removed"
    assert everything(session, removed) == connection.execute(removed).fetchall()
    assert land_there(session, tmp_path / "new", copies=False).unchanged == len(HOURS)


def test_a_name_that_another_process_landed_meanwhile_is_given_to_no_other_file(
    session: Session, tmp_path: Path
) -> None:
    write(tmp_path / "old.jsonl", call())
    write(tmp_path / "new.jsonl", call(user_id="another"))
    land_there(session, tmp_path / "old.jsonl")
    with scratch(session) as copied:
        engine = Snowflake(copied, session, None)
        moves = plan_moves(engine, str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl"))
        land_there(session, tmp_path / "new.jsonl")
        with pytest.raises(UserError, match=r"new\.jsonl was landed by another process meanwhile"):
            move(engine, moves)
    files = everything(session, "select _file from STAGING.justai_calls order by _file")
    assert files == [(str(tmp_path / name),) for name in ("new.jsonl", "old.jsonl")]


def test_other_counts_than_staged_undo_the_batch(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "calls.jsonl", call())
    real = transaction._stage
    monkeypatch.setattr(
        transaction,
        "_stage",
        lambda *arguments: {name: rows + 1 for name, rows in real(*arguments).items()},
    )
    with pytest.raises(UserError, match=r"Snowflake loaded 1 of 2 rows into STAGING\.landed_files"):
        land_there(session, tmp_path)
    monkeypatch.setattr(transaction, "_stage", real)
    monkeypatch.setattr(land_lines, "PlainLines", lambda table, name, rows: PlainLines(table, name, rows + 1))
    with pytest.raises(UserError, match=r"Snowflake inserted 1 of 2 plain lines into STAGING\.justai_calls"):
        land_there(session, tmp_path)
    for table in ("justai_calls", "landed_files", "landed_batches"):
        assert everything(session, f"select * from STAGING.{table}") == []


def test_a_refusal_of_snowflake_is_told_in_words(session: Session) -> None:
    settings = {"type": "snowflake", "schema": "PROD"}
    with (
        pytest.raises(UserError, match=r"Snowflake refused a statement: .*NO_SUCH_TABLE"),
        open_session(session.connection, settings, "PROD") as opened,
    ):
        everything(opened, "select * from staging.no_such_table")


@pytest.mark.parametrize("schema", ["my schema", 'a"; drop table x; --', "1st"])
def test_a_schema_that_is_no_plain_name_is_refused(session: Session, schema: str) -> None:
    with (
        pytest.raises(UserError, match="is no plain name"),
        open_session(session.connection, {"type": "snowflake", "schema": schema}, "PROD"),
    ):
        pass


def test_every_statement_of_a_landing_is_snowflakes(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    real = SnowflakeCursor.execute

    def recorded(cursor: Any, statement: str, parameters: Any = None, *more: Any, **options: Any) -> Any:
        bound = cursor.connection._process_params_pyformat(parameters, cursor)
        sent.append(statement % bound if parameters else statement)
        return real(cursor, statement, parameters, *more, **options)

    monkeypatch.setattr(SnowflakeCursor, "execute", recorded)
    files = hourly(tmp_path, *HOURS)
    write(files[0], call(), "broken")
    land_there(session, tmp_path)
    write(files[1], call(user_id="new's"))
    files[2].unlink()
    land_there(session, tmp_path, span=SPAN, allow_empty=True)
    words = {statement.split()[0] for statement in sent}
    assert words == {
        "create",
        "show",
        "insert",
        "select",
        "update",
        "delete",
        "drop",
        "put",
        "copy",
        "begin",
        "commit",
    }
    # sqlfluff knows no PUT of a file name in quotes, which the documentation asks for where it holds a space
    wrong = {statement: faults(statement) for statement in sent if not statement.startswith("put ")}
    assert {statement: refused for statement, refused in wrong.items() if refused} == {}
    assert faults("copy into STAGING.t (a) from (select $1:a:varchar from @s) file_format (type = parquet)")


TEXTS = (
    '{"b":41.50,"a":"x 1, 2","C":"-0","n":null,"e":"1E+2","big":18446744073709551615}',
    '{ "s" : "say \\"1.5\\" \\\\" , "t":"\\u00e9\\n", "l" : [1.0, {"y":0.10}], "o":{"x":true} }',
    '{"subject":"no number","empty":""}',
    "{}",
    '{"a":""}',
    '{"41":41}',
)


def test_json_is_read_alike(session: Session) -> None:
    """Canonical form and members keep strings and whole numbers on both engines."""
    macros = Environment(extensions=["jinja2.ext.do"]).from_string(
        (PROJECT / "macros/dialect/json.sql").read_text()
    )
    macros = macros.module  # type: ignore[assignment]
    keys = ("a", "b", "C", "n", "e", "big", "s", "t", "l", "o", "subject", "empty", "41")
    literals = ", ".join(
        "(" + str(number) + ", '" + line.replace("\\", "\\\\").replace("'", "''") + "')"
        for number, line in enumerate(TEXTS)
    )
    results = []
    for engine in ("duckdb", "snowflake"):
        members = ", ".join(getattr(macros, f"{engine}__json_member")("v", key) for key in keys)
        objects = getattr(macros, f"{engine}__canonical_objects")("t", ["n", "v"], "v", "canonical")
        query = f"select canonical, {members} from ({objects}) as written order by n"
        if engine == "snowflake":
            results.append(everything(session, f"with t (n, v) as (values {literals}) {query}"))
        else:
            connection = duckdb.connect()
            connection.execute("create table t (n int, v varchar)")
            connection.executemany("insert into t values (?, ?)", [*enumerate(TEXTS)])
            results.append(connection.execute(query).fetchall())
    assert results[0] == results[1]
    canonical = '{"C":"-0","a":"x 1, 2","b":41.5,"big":18446744073709551615,"e":"1E+2"}'
    assert results[0][0][0] == canonical


# JSON of which Snowflake's documentation does not say that its parser takes it, as DuckDB's does.
ODD = {
    "a number beyond a double": "1e999",
    "a whole number of 60 digits": "1" * 60,
    "the character that ends a string in C": '"\\u0000"',
    "500 objects in each other": '{"a":' * 500 + "1" + "}" * 500,
}


# Landed text that one of the two parsers may not take.
READ_ON_ONE_ENGINE_ONLY = (
    '{"a":1,"a":2}',
    '{"a":{"b":1,"b":2}}',
    "broken",
    "",
    *(f'{{"a":{odd}}}' for odd in ODD.values()),
)


def test_odd_values_land_alike_and_pass_through_this_machine(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        text(call(user_id=name, attrs=...)).strip()[:-1] + f', "attrs": {{"x": {odd}}}}}'
        for name, odd in ODD.items()
    ]
    write(tmp_path / "odd.jsonl", *lines)
    connection = warehouse()
    land_path(connection, tmp_path)
    land_there(session, tmp_path)
    assert differences(connection, session) == {}
    landed = {user for (user,) in everything(session, "select user_id from STAGING.justai_calls")}
    assert landed == set(ODD)
    assert "took 0 of 4 lines by itself" in capsys.readouterr().out


def test_no_text_stops_a_query_that_reads_it(session: Session) -> None:
    """What the parser refuses stays as it is, without members; of a key twice it takes one."""
    macros: Any = Environment(extensions=["jinja2.ext.do"]).from_string(
        (PROJECT / "macros/dialect/json.sql").read_text()
    )
    macros = macros.module
    escaped = (text.replace("\\", "\\\\") for text in READ_ON_ONE_ENGINE_ONLY)
    listed = ", ".join(f"('{text}')" for text in escaped)
    texts = f"(select column1 as v from values {listed}) as t"
    with pytest.raises(ProgrammingError, match="duplicate object attribute"):
        everything(session, f"select parse_json(v) from {texts} where v = '{READ_ON_ONE_ENGINE_ONLY[1]}'")
    read = (
        f"with t as (select * from {texts}) select v, canonical, {macros.snowflake__json_member('v', 'a')} "
        f"from ({macros.snowflake__canonical_objects('t', ['v'], 'v', 'canonical')}) as written"
    )
    found = {text: (written, member) for text, written, member in everything(session, read)}
    for unread in READ_ON_ONE_ENGINE_ONLY[2:]:
        assert found[unread] == (unread, None), unread
    assert set(found) == set(READ_ON_ONE_ENGINE_ONLY)


def test_developers_have_schemas_of_their_own() -> None:
    """The macro, the sources' YAML and the scripts name the same schema."""
    cases = {"PROD": "staging", "prod": "staging", "ANNA": "ANNA_staging"}
    macro = (PROJECT / "macros/project/generate_schema_name.sql").read_text()
    sources = [
        source["schema"]
        for path in (PROJECT / "models").glob("**/_*.yml")
        for source in read_yaml(path).get("sources", ())
    ]
    assert len(sources) == 6
    for own, expected in cases.items():
        context = {
            "target": SimpleNamespace(type="snowflake", schema=own),
            "var": {"production_schema": "PROD"}.__getitem__,
            "return": lambda value: value,
        }
        environment = Environment()
        environment.globals |= context
        module: Any = environment.from_string(macro).module
        assert module.snowflake__layer_schema("staging").strip() == expected
        assert module.duckdb__layer_schema("staging").strip() == "staging"
        assert {environment.from_string(source).render() for source in sources} == {expected}
        assert layer_schema({"type": "snowflake", "schema": own}, "staging", "PROD") == expected
    assert layer_schema({"type": "duckdb", "schema": "main"}, "staging", "PROD") == "staging"


def verify(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SNOWFLAKE_", "DBT_"))}
    return subprocess.run(
        [sys.executable, "-m", "scripts.snowflake.verify", *options],
        cwd=PROJECT,
        env=clean | environment,
        text=True,
        capture_output=True,
        check=False,
    )


def test_without_credentials_the_verification_is_skipped_and_does_not_pass() -> None:
    done = verify({})
    assert done.returncode == SKIPPED != 0
    assert done.stderr.startswith("SKIPPED")
    assert "pass" not in done.stdout + done.stderr


def test_the_emulated_snowflake_checks_what_the_roles_of_bootstrap_do(port: int) -> None:
    """Without this the whole way below would prove nothing about roles."""
    setup = throwaway_setup(Place(None, None, None))
    administrator = connect(port, "OTHER")
    staging = f"{setup.database}.STAGING"

    def refused(role: str, statement: str) -> str:
        other = connect(port, setup.database, f"{setup.prefix}_{role}")
        try:
            everything(Session(other, "STAGING"), statement)
        except ProgrammingError as error:
            return str(error.msg)
        finally:
            other.close()
        return ""

    with set_up(administrator, setup):
        assert refused("LOADER", f"create table {staging}.landed (a varchar(134217728))") == ""
        assert refused("LOADER", f"insert into {staging}.landed (a) select 'x'") == ""
        assert "CREATE TABLE" in refused("READER", f"create table {setup.database}.MARTS.mine (a int)")
        assert refused("TRANSFORMER", f"select * from {staging}.landed") == ""
        assert "INSERT" in refused("TRANSFORMER", f"insert into {staging}.landed (a) select 'y'")
        assert "full control" in refused(
            "TRANSFORMER", f"create or replace table {staging}.landed as (select 1 as a)"
        )
        assert "CREATE STAGE" in refused("TRANSFORMER", f"create stage {staging}.more")
        assert "does not exist or not authorized" in refused("SHARER", f"select * from {staging}.landed")
        with administrator.cursor() as cursor:
            assert "LANDED" in str(cursor.execute(f"show tables in schema {staging}").fetchall())
    assert "does not exist or not authorized" in refused_now(administrator, setup.database)
    administrator.close()


def refused_now(session: Any, database: str) -> str:
    """What the account says of a share of a database that was dropped."""
    with session.cursor() as cursor:
        cursor.execute("use role accountadmin")
        cursor.execute(f"create share {database}")
        with pytest.raises(ProgrammingError) as refused:
            cursor.execute(f"grant usage on database {database} to share {database}")
        cursor.execute(f"drop share {database}")
    return str(refused.value.msg)


def documented_statements() -> dict[str, int]:
    """The number of statements of each kind that a day's build sends, by docs/snowflake.md."""
    page = (PROJECT / "docs/snowflake.md").read_text()
    rows = page.partition("| Statements | One day |")[2].partition("\n\n")[0].splitlines()[2:]
    return dict(zip((*statements.KINDS, "all"), (int(row.split(" | ")[1]) for row in rows), strict=True))


@contextmanager
def forked_commands(folder: Path, variables: dict[str, str], *options: str) -> Iterator[None]:
    """Let a verification of this process fork its commands, which saves each the time of its imports."""
    begin, numbers = sides.start, count()

    def begin_warm(side: Side, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        if program == "make":
            return begin(side, program, *arguments)
        log = folder / f"log-{next(numbers)}"
        running = start(log, side.environment, *map(str, arguments), program=program, folder=PROJECT)
        done = running.done()
        return subprocess.CompletedProcess([], done.status, "", done.output)

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SNOWFLAKE_", "DBT_"))}
    with pytest.MonkeyPatch.context() as patches, patch.dict(os.environ, clean | variables, clear=True):
        patches.setattr(sides, "start", begin_warm)
        patches.setattr(sys, "argv", ["verify", *options])
        patches.chdir(PROJECT)
        yield


def test_the_whole_way_is_the_same_on_both_engines(
    port: int, endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make verify-snowflake` against the emulated Snowflake: each verb as its own role, a bucket on moto.

    The second build is that of `make daily`.
    """
    (tmp_path / "profiles.yml").write_text(PROFILE % port)
    storage = environment(AWS_ENDPOINT_URL=endpoint)
    aws("s3", endpoint, "testing", "testing").create_bucket(Bucket="verified")
    options = (
        *("--calls", "150", "--profiles-dir", str(tmp_path), "--report", str(tmp_path / "seen.md")),
        *("--unload-to", "s3://verified/all", "--external-id", "id"),
        *("--storage-role-arn", "arn:aws:iam::123456789012:role/copymart"),
    )
    variables = storage | {"SNOWFLAKE_ACCOUNT": "emulated", "SNOWFLAKE_USER": "someone"}
    with forked_commands(tmp_path, variables, *options), pytest.raises(SystemExit) as ended:
        main()
    done = capsys.readouterr()
    assert ended.value.code == 0, done.out + done.err
    builds = re.findall(r"^(build|make daily).*: (\d+) of (\d+) nodes passed$", done.out, re.MULTILINE)
    assert [what for what, *_ in builds] == ["build", "make daily"], done.out
    passed = [int(number) for _, *found in builds for number in found]
    assert passed[0] == passed[1] > passed[2] == passed[3] > 200
    compared = re.search(r"^(\d+) of (\d+) relations equal row for row$", done.out, re.MULTILINE)
    assert compared and int(compared[1]) == int(compared[2]) > 40
    for line in (
        "roles: each verb acted as its own role and no other",
        *("status, report and suggest-actions: ran", "unload: s3://verified/all/export holds the rows"),
        *("share: made, checked and dropped", "not shown: a share that four accounts have"),
    ):
        assert line in done.out
        assert f"- {line}" in (tmp_path / "seen.md").read_text()
    sent = re.search(r"^make daily.*: (\d+) statements: (.+)$", done.out, re.MULTILINE)
    assert sent, done.out
    numbers = map(int, re.findall(r"\d+", f"{sent[2]} {sent[1]}"))
    counted = dict(zip((*statements.KINDS, "all"), numbers, strict=True))
    documented = documented_statements()
    for kind in (statements.DATA_TESTS, statements.BLOCKS, statements.TEMPORARY, statements.TABLES):
        assert counted[kind] == documented[kind], (counted, documented)
    for kind in (statements.QUESTIONS, statements.OTHERS, "all"):
        # two threads may ask the same at once
        assert abs(counted[kind] - documented[kind]) <= 0.03 * documented[kind], (counted, documented)
    landed = aws("s3", endpoint, "testing", "testing").list_objects_v2(
        Bucket="verified", Prefix="all/landing"
    )
    assert landed["KeyCount"] > 10
    assert "landed s3://verified/all/landing through a stage" in done.out
    assert "Drop these yourself" not in done.err
    # the throwaway database is gone
    databases = everything(Session(connect(port, "OTHER"), "STAGING"), "show databases")
    assert "COPYMART_VERIFY" not in json.dumps(databases, default=str)
