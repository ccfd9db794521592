"""JSON lines that an emulated Snowflake copies from its stages: the same tables as on DuckDB."""

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from snowflake.connector.cursor import SnowflakeCursor
from typer.testing import CliRunner

from scripts import s3
from scripts.cli import app
from scripts.dev.check_grammar import faults
from scripts.errors import UserError
from scripts.land.json_lines import lines_table
from scripts.land.rules import EVENTS
from scripts.land.snowflake import lines as land_lines
from scripts.land.snowflake.lines import Staged, lines_of
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.stage import Stage, find_stage
from scripts.land.snowflake.tables import make_tables
from scripts.land.sources import SourceFile
from support import s3_servers
from support.emulated_snowflake import PROFILE, connect, differences, everything, land_there
from support.formats import avro, parquet
from support.land import call, event, land_path, text, warehouse, write
from support.project import PROJECT
from support.snowflake import SETUP, statements

SPAN = (datetime(2026, 9, 1), datetime(2026, 9, 2))


@pytest.fixture
def session(port: int, request: pytest.FixtureRequest) -> Iterator[Session]:
    """An empty database of its own for a test."""
    connection = connect(port, "L" + "".join(filter(str.isalnum, request.node.name)))
    yield Session(connection, "STAGING")
    connection.close()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A client whose bucket of this test is empty: `store.bucket` names it."""
    for name in s3_servers.UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_servers.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    client = s3.client(endpoint_url=endpoint)
    client.bucket = f"lines-{request.node.name}".replace("_", "-")[:60].rstrip("-").lower()
    client.create_bucket(Bucket=client.bucket)
    return client


class NoRights:
    """An S3 client of a machine that may do nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"this machine asked S3 for {name}")


def stage(session: Session, store: Any, prefix: str = "landing/") -> None:
    """What `copymart bootstrap snowflake --landing` makes."""
    make_tables(session)
    everything(session, f"create stage STAGING.LANDING_S3 url = 's3://{store.bucket}/{prefix}'")


def put(store: Any, key: str, *records: dict[str, Any] | str) -> None:
    data = text(*records).encode()
    body = gzip.compress(data, mtime=0) if key.endswith(".gz") else data
    store.put_object(Bucket=store.bucket, Key=f"landing/{key}", Body=body)


def test_plain_lines_never_come_to_this_machine(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    came: list[str] = []
    monkeypatch.setattr(
        land_lines, "lines_of", lambda given: came.extend(line for _, _, line in given) or lines_of(given)
    )
    monkeypatch.setattr(
        land_lines, "read_chunks", lambda plan, _: iter(()) if not plan.files else pytest.fail()
    )
    odd = ["broken", text(call(copy_id="bad")).strip(), text(call(new=1)).strip()]
    write(tmp_path / "a.jsonl", *[call(user_id=f"{n}") for n in range(7)], *odd)
    write(tmp_path / "b.json.gz", *[call(user_id=f"b{n}") for n in range(5)])
    outcome = land_there(session, tmp_path)
    assert (outcome.files, outcome.rows, outcome.rejected.total(), outcome.refused) == (2, 13, 2, [])
    assert came == odd
    assert "justai_calls: Snowflake took 12 of 15 lines by itself" in capsys.readouterr().out
    assert outcome.unknown == {str(tmp_path / "a.jsonl"): {"new"}}
    connection = warehouse()
    land_path(connection, tmp_path)
    assert differences(connection, session) == {}
    assert (
        everything(
            session, "select table_name from information_schema.tables where table_name ilike '%lines%'"
        )
        == []
    )


def test_logs_with_numbers_are_rotated(session: Session, tmp_path: Path) -> None:
    lines = {name: [call(user_id=f"{name}-{n}") for n in range(3)] for name in "abc"}
    for name, path in (("b", "calls.jsonl"), ("a", "calls.1.jsonl")):
        write(tmp_path / path, *lines[name])
    assert land_there(session, tmp_path, copies=False).rows == 6
    (tmp_path / "calls.1.jsonl").rename(tmp_path / "calls.2.jsonl")
    (tmp_path / "calls.jsonl").rename(tmp_path / "calls.1.jsonl")
    write(tmp_path / "calls.jsonl", *lines["c"])
    outcome = land_there(session, tmp_path, copies=False)
    assert (outcome.copies, outcome.rows) == ([], 9)
    assert everything(session, "select count(distinct user_id) from STAGING.justai_calls") == [(9,)]


def test_lines_keep_their_physical_numbers(session: Session, tmp_path: Path) -> None:
    lines = [text(call(user_id=f"{n}")).strip() if n % 3 else f"broken {n}" for n in range(8)]
    for name, data in {
        "crlf.jsonl": "\r\n".join(lines) + "\r\n",
        "tail.jsonl": "\n".join(lines),
        "bom.jsonl": "\ufeff" + "\n".join([*lines[1:], ""]),
        "bom_odd.jsonl": "\ufeff" + "\n".join(lines),
        "spaces.jsonl": "\n".join([lines[1], "  ", lines[0], "\r", lines[2], "\x0b\t ", "\\N", lines[4]]),
        "blank.jsonl": "\n".join([lines[1], "", lines[0], "", "", lines[2], ""]),
        "long.jsonl": text(call(vars={"a": "x" * 1_000_001})) + lines[1] + "\n" + lines[0],
    }.items():
        (tmp_path / name).write_bytes(data.encode())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data.encode(), mtime=0))
    connection = warehouse()
    here, there = land_path(connection, tmp_path), land_there(session, tmp_path)
    assert (here.rows, here.rejected, here.files) == (there.rows, there.rejected, 14)
    assert differences(connection, session) == {}


def test_files_of_several_members_or_frames_land_whole(session: Session, tmp_path: Path) -> None:
    data = text(*(call(user_id=f"{n}") for n in range(9))).encode()
    parts = data[:700], data[700:]
    (tmp_path / "members.jsonl.gz").write_bytes(b"".join(gzip.compress(part, mtime=0) for part in parts))
    (tmp_path / "frames.jsonl.zst").write_bytes(b"".join(map(zstandard.compress, parts)))
    connection = warehouse()
    here, there = land_path(connection, tmp_path), land_there(session, tmp_path)
    assert here.rows == there.rows == 18
    assert differences(connection, session) == {}


def test_lines_come_back_as_a_file_would_give_them() -> None:
    given = ["\ufeff{}\r", "", " \t", "é\r\r", "\ufeff", "\r", "x"]
    table = lines_of((7, number, line) for number, line in enumerate(given, 1))
    direct, _ = lines_table("\n".join(given).removeprefix("\ufeff").encode(), 1)
    assert table.column("file_no").to_pylist() == [7] * len(table)
    for column in ("line", "size", "fault"):
        assert table.column(column).to_pylist() == direct.column(column).to_pylist()
    ours, theirs = (tables.column("raw").to_pylist() for tables in (table, direct))
    assert [raw.rstrip("\r\n") for raw in ours] == [raw.rstrip("\r\n") for raw in theirs]


def test_a_file_that_is_no_text_goes_the_other_way_and_no_other_with_it(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = text(*(call(user_id=f"{n}") for n in range(3))).encode()
    for name, data in {
        "a_good.jsonl": good,
        "b_utf8.jsonl": good + b'{"user_id":"\xff"}\n' + good,
        "c_cut.jsonl.gz": gzip.compress(good * 50, mtime=0)[:-20],
        "d_good.jsonl.gz": gzip.compress(good, mtime=0),
        "e_gzip.jsonl": gzip.compress(good * 2, mtime=0),
        "f_no_gzip.jsonl.gz": good * 2,
        "g_parquet.json": parquet([call()]),
        "h_avro.jsonl": avro([call()]),
        "i_hole.jsonl": b"\0" * 70_000 + good,
        "j_nul.jsonl": good + b"{\0}\n" + good,
        "k_utf16.jsonl": good.decode().encode("utf-16"),
        "l_text.jsonl": b"Obj\x01 is how Avro begins\n",
        "m_empty.jsonl": b"",
        "n_empty.jsonl.gz": b"",
        "o_nothing.jsonl.gz": gzip.compress(b"", mtime=0),
        "p_zstd.jsonl.zst": b"no zstd",
        "q_array.json": json.dumps([call(), call(copy_id="x")]).encode(),
        "r_pretty.json": json.dumps(call(), indent=1).encode(),
        "s_copy.jsonl": good,
        "t_table.json": b"a,b\n1,2\n",
        "u_unicode.jsonl": good.replace(b'"0"', b'"\\ud800"'),
    }.items():
        (tmp_path / name).write_bytes(data)
    connection = warehouse()
    here, there = land_path(connection, tmp_path, copies=False), land_there(session, tmp_path, copies=False)
    assert (here.rows, here.rejected, here.files) == (there.rows, there.rejected, there.files)
    assert sorted(here.refused) == sorted(there.refused)
    assert len(here.copies) == 1 and here.copies == there.copies
    assert len(here.refused) > 9 and here.files > 5
    assert differences(connection, session) == {}
    said = " ".join(capsys.readouterr().out.split())
    assert "justai_calls: Snowflake took 8 of 9 lines by itself" in said
    assert "Snowflake cannot copy 8 file(s) as lines, so this machine reads them" in said


def test_what_stands_on_s3_is_read_through_the_stage_without_rights_here(
    session: Session, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: set[str] = set()
    real = SnowflakeCursor.execute
    monkeypatch.setattr(
        SnowflakeCursor, "execute", lambda self, text, *more: sent.add(text) or real(self, text, *more)
    )
    stage(session, store)
    hours = ("2026/08/31/23", "2026/09/01/00", "2026/09/01/05")
    for hour in hours:
        put(
            store,
            f"calls/{hour}/it's a, b.jsonl.gz",
            call(user_id=hour),
            call(event_timestamp="soon"),
            "broken",
        )
    put(store, "calls/2026/09/01/00/b.jsonl", call(user_id="b"))
    put(store, "calls/2026/09/01/00/_SUCCESS")
    put(store, "calls_old/2026/09/01/00/a.jsonl", call())
    uri = f"s3://{store.bucket}/landing/calls"
    connection = warehouse()

    def both(**options: Any) -> tuple[int, ...]:
        here = land_path(connection, uri, store=store, **options)
        there = land_there(session, uri, store=NoRights(), **options)
        counts = [(o.files, o.rows, o.unchanged, o.replaced, o.removed) for o in (here, there)]
        assert counts[0] == counts[1]
        assert here.refused == there.refused == []
        # the ledger among them, so that an ETag is the same from either side
        assert differences(connection, session) == {}
        return counts[0]

    assert both() == (4, 4, 0, 0, 0)
    assert both() == (0, 0, 4, 0, 0)
    put(store, "calls/2026/09/01/05/it's a, b.jsonl.gz", call(user_id="new"))
    assert both() == (1, 1, 3, 1, 0)
    store.delete_object(Bucket=store.bucket, Key="landing/calls/2026/09/01/00/b.jsonl")
    assert both(span=SPAN) == (0, 0, 2, 0, 1)
    # once removed from the ledger it lands again, although Snowflake has copied it before
    put(store, "calls/2026/09/01/00/b.jsonl", call(user_id="b"))
    assert both() == (1, 1, 3, 0, 0)
    assert store.head_object(Bucket=store.bucket, Key="landing/calls/2026/09/01/00/b.jsonl")
    # others are those of local files (`test_every_statement_of_a_landing_is_snowflakes`)
    about_stages = [
        text for text in sent if text.startswith(("list ", "show ")) or "@STAGING.LANDING_S3" in text
    ]
    assert {text.split()[0] for text in about_stages} == {"list", "show", "copy"}
    # LIST: "If the stage name or path includes spaces or special characters, it must be enclosed in single
    # quotes", which sqlfluff takes without the spaces
    wrong = {
        text: faults(text.replace("it''s a, b", "x") if text[:4] == "list" else text) for text in about_stages
    }
    assert {text: refused for text, refused in wrong.items() if refused} == {}


def test_files_that_no_stage_may_copy_are_read_by_this_machine(
    session: Session, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(session, store, "landing/calls/")
    put(store, "calls/a.jsonl", call(), call(user_id="2"))
    store.put_object(Bucket=store.bucket, Key="landing/calls/b.parquet", Body=parquet([call()]))
    store.put_object(Bucket=store.bucket, Key="landing/calls/c.jsonl.gz", Body=b"\x1f\x8bcut")
    put(store, "events/a.jsonl", event())
    connection = warehouse()
    for folder, options in (("calls", {}), ("events", {"dataset": EVENTS})):
        uri = f"s3://{store.bucket}/landing/{folder}"
        here = land_path(connection, uri, store=store, **options)
        there = land_there(session, uri, store=store, **options)
        assert (here.files, here.rows, here.refused) == (there.files, there.rows, there.refused)
    assert differences(connection, session) == {}
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"Snowflake cannot copy 1 file(s) as lines, so this machine reads them; the first is s3://{store.bucket}"
        in said
    )
    assert (
        f"events: no stage of Snowflake covers it (STAGING.LANDING_S3 is s3://{store.bucket}/landing/calls/)"
        in said
    )


def test_an_object_that_changes_between_listing_and_copying_is_refused(
    session: Session, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(session, store)
    put(store, "calls/a.jsonl", call(user_id="old"))
    put(store, "calls/b.jsonl", call(user_id="b"))
    real = land_lines._copy

    def late(*arguments: Any) -> Any:
        put(store, "calls/a.jsonl", call(user_id="new"))
        return real(*arguments)

    monkeypatch.setattr(land_lines, "_copy", late)
    uri = f"s3://{store.bucket}/landing/calls/"
    outcome = land_there(session, uri)
    assert outcome.refused == [
        (f"{uri}a.jsonl", "the object changed while it was read: run the command again")
    ]
    assert everything(session, "select user_id from STAGING.justai_calls") == [("b",)]
    monkeypatch.setattr(land_lines, "_copy", real)
    assert land_there(session, uri).rows == 1


def test_a_local_file_that_changes_while_it_is_put_is_refused(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.jsonl", call())
    real = land_lines.execute

    def grown(where: Session, statement: str, *more: Any) -> Any:
        if statement.startswith("put "):
            with file.open("a") as stream:
                stream.write(text(call()))
        return real(where, statement, *more)

    monkeypatch.setattr(land_lines, "execute", grown)
    outcome = land_there(session, tmp_path)
    assert [reason.split(":")[0] for _, reason in outcome.refused] == ["it changed while it was read"]
    assert outcome.rows == 0


@pytest.mark.parametrize("lie", [lambda rows: rows + 1, lambda rows: rows - 1], ids=["more", "fewer"])
def test_lines_that_are_not_all_there_are_not_taken(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Any
) -> None:
    write(tmp_path / "a.jsonl", call(), call(user_id="2"))
    real = land_lines._copy
    monkeypatch.setattr(
        land_lines, "_copy", lambda *given: {uri: lie(rows) for uri, rows in real(*given).items()}
    )
    monkeypatch.setattr(land_lines, "_returned", lambda *_: pytest.fail("lines were taken"))
    assert land_there(session, tmp_path).rows == 2
    connection = warehouse()
    land_path(connection, tmp_path)
    assert differences(connection, session) == {}


def test_many_odd_lines_come_in_pieces_and_many_files_in_batches(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(land_lines, "PIECE_BYTES", 2_000)
    monkeypatch.setattr(land_lines, "BATCH_FILES", 3)
    sizes: list[int] = []
    monkeypatch.setattr(land_lines, "lines_of", lambda given: sizes.append(len(given)) or lines_of(given))
    for number in range(4):
        write(
            tmp_path / f"{number}.jsonl", *(call(new=n, user_id=f"{n}") for n in range(20)), call(), "broken"
        )
    connection = warehouse()
    here, there = land_path(connection, tmp_path), land_there(session, tmp_path)
    assert (here.files, here.rows, here.rejected) == (there.files, there.rows, there.rejected)
    assert differences(connection, session) == {}
    assert max(sizes) < 10 < len(sizes)
    assert everything(session, "select count(distinct batch_id) from STAGING.landed_files") == [(2,)]


def test_lists_of_long_names_are_cut_to_what_a_statement_may_hold(session: Session, tmp_path: Path) -> None:
    """The emulated Snowflake refuses a statement of more than 1 MB."""
    folder = tmp_path.joinpath(*["é" * 120] * 4)
    files = [write(folder / f"{number}.jsonl", call(user_id=f"{number}")) for number in range(350)]
    assert len(json.dumps([str(file) for file in files]).replace("\\", "\\\\")) > 1_048_576
    assert land_there(session, tmp_path).rows == len(files)
    for file in files:
        write(file, call(user_id="again", journey_id=file.stem))
    assert land_there(session, tmp_path).replaced == len(files)
    assert everything(session, "select count(*), count(distinct _file) from STAGING.justai_calls") == [
        (350, 350)
    ]


def test_what_was_landed_from_this_machine_before_is_known(session: Session, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", call(), "broken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(land_lines, "_copyable", lambda *_: False)
        assert land_there(session, tmp_path).files == 1
    assert land_there(session, tmp_path).unchanged == 1


def test_a_stage_that_is_not_meant_is_told(session: Session, store: Any) -> None:
    assert find_stage(session, None) is None
    assert (
        everything(session, "select 1 from information_schema.schemata where schema_name = 'STAGING'") == []
    )
    make_tables(session)
    assert find_stage(session, None) is None
    with pytest.raises(UserError, match=r"--stage lake: there is no stage STAGING\.LAKE"):
        find_stage(session, "lake")
    with pytest.raises(UserError, match="--stage landing is no stage on s3://"):
        find_stage(session, "landing")
    with pytest.raises(UserError, match="stage 'A B' is not a plain Snowflake name"):
        find_stage(session, "a b")
    everything(session, f"create stage PROD.SHORT url = 's3://{store.bucket}/x'")
    with pytest.raises(UserError, match=r"its address \(s3://.*/x\) has no slash at its end"):
        find_stage(session, "prod.short")
    everything(session, f"create stage PROD.LAKE url = 's3://{store.bucket}/x/'")
    found = find_stage(session, "prod.lake")
    assert found == Stage("PROD.LAKE", f"s3://{store.bucket}/x/")
    covered = {uri: found.covers(f"s3://{store.bucket}/{uri}") for uri in ("x", "x/y", "xy", "", "y/x")}
    assert covered == {"x": True, "x/y": True, "xy": False, "": False, "y/x": False}


def test_names_of_one_kind_are_told_apart() -> None:
    files = [SourceFile(f"s3://b/in/{key}", 1, "jsonl") for key in ("in/x", "x", "y")]
    staged = [land_lines._on_s3(file, Stage("S", "s3://b/in/")) for file in files]
    assert staged[0].names == ("in/x", "in/in/x", "s3://b/in/in/x")

    def meant(*names: str) -> list[Staged]:
        return [*land_lines._match_names(names, staged).values()]

    assert meant("in/x", "x") == staged[:2]
    assert meant("in/x", "in/y") == staged[1:]
    assert meant("s3://b/in/y") == staged[2:]
    assert meant("z") == []


def test_the_command_lands_through_a_stage(
    session: Session, store: Any, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(session, store)
    put(store, "calls/a.jsonl", call(), "broken")
    (tmp_path / "profiles.yml").write_text(PROFILE % port)
    monkeypatch.setenv("SNOWFLAKE_DATABASE", everything(session, "select current_database()")[0][0])
    monkeypatch.setenv("COPYMART_DUCKDB", os.devnull)
    command = ["land", "--calls", f"s3://{store.bucket}/landing/calls", "--project-dir", str(PROJECT)]
    command += ["--profiles-dir", str(tmp_path)]
    runner = CliRunner()
    done = runner.invoke(app, [*command, "--dry-run", "--stage", "landing_s3"])
    assert (done.exit_code, "would land 1" in done.output) == (0, True), done.output
    done = runner.invoke(app, command)
    assert (done.exit_code, "Snowflake took 1 of 2 lines by itself" in done.output) == (0, True), done.output
    assert everything(session, "select user_id from STAGING.justai_calls") == [("u-1001",)]
    done = runner.invoke(app, [*command, "--target", "duckdb", "--stage", "landing_s3"])
    assert isinstance(done.exception, UserError)
    assert "--stage belongs to a Snowflake target; the profile's is of type duckdb" in str(done.exception)


@pytest.mark.parametrize("makes_schemas", [True, False])
def test_a_developer_may_read_the_stage_where_they_may_make_a_schema_to_land_in(makes_schemas: bool) -> None:
    """The transformer's; the loader may anyway (`test_each_role_can_do_its_work_and_no_more`)."""
    wanted = 'grant usage on stage "COPYMART"."STAGING"."LANDING_S3" to role "COPYMART_TRANSFORMER"'
    assert (wanted in statements(replace(SETUP, makes_schemas=makes_schemas))) == makes_schemas
