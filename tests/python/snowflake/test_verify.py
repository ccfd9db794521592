"""The parts of `make verify-snowflake`: what it runs, what it says and what it writes, whatever fails."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from scripts.cli import app
from scripts.errors import UserError
from scripts.snowflake import sides, verify
from scripts.snowflake.compare import as_text
from scripts.snowflake.sides import PROJECT, Side
from scripts.snowflake.statements import KINDS, count, kind_of, listed
from scripts.snowflake.throwaway import Place, throwaway_setup
from support.snowflake import empty_account
from support.strict_snowflake import StrictSnowflake

ROLE = "arn:aws:iam::123456789012:role/r"
PLACE = Place("s3://b/p/", ROLE, "id")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that it starts, which must be commands of copymart; a check of a share fails."""
    verbs: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    commands: list[tuple[str, ...]] = []

    def start(side: Side, program: str, verb: str, *options: object) -> Any:
        assert program == "copymart"
        verbs[verb].make_context(verb, [*map(str, options)])
        commands.append((side.name, verb, *map(str, options)))
        return subprocess.CompletedProcess([], int("--check" in options), "", "not as planned")

    monkeypatch.setattr(sides, "start", start)
    return commands


def side(name: str) -> Side:
    return Side(name, {}, Path(name), Path(name))


def test_the_export_is_read_by_both_sides(sent: list[tuple[str, ...]]) -> None:
    seen: list[str] = []
    verify._unload(side("duckdb"), side("snowflake"), Place("s3://b/p", None, None), seen)
    assert sent == []
    verify._unload(side("duckdb"), side("snowflake"), PLACE, seen)
    assert sorted(sent) == [(name, "verify", "s3://b/p/export", "--deep") for name in ("duckdb", "snowflake")]
    assert seen[0].startswith("SKIPPED: landing and unload through a stage")
    assert seen[1:] == ["unload: s3://b/p/export holds the rows of both warehouses"]


def test_both_stages_are_made_where_there_is_an_aws_role() -> None:
    setup = throwaway_setup(PLACE)
    assert (setup.landing, setup.unload) == ("s3://b/p/landing/", "s3://b/p/export/")
    assert (setup.storage_role, setup.external_id) == (ROLE, "id")
    bare = throwaway_setup(Place("s3://b/p", ROLE, None))
    assert (bare.landing, bare.unload, bare.storage_role, bare.external_id) == (None, None, None, None)


def test_every_verb_that_reads_runs_as_well(sent: list[tuple[str, ...]], tmp_path: Path) -> None:
    seen: list[str] = []
    verify._read(side("snowflake"), tmp_path, seen)
    assert [verb for _, verb, *_ in sent] == ["status", "report", "suggest-actions"]
    assert seen == ["status, report and suggest-actions: ran"]


def test_a_share_that_fails_is_dropped(sent: list[tuple[str, ...]]) -> None:
    seen: list[str] = []
    with pytest.raises(UserError, match="share failed:\nnot as planned"):
        verify._share(side("snowflake"), "COPYMART_VERIFY_1", seen)
    assert sent[-1][-2:] == ("--revoke", "--yes")
    assert seen == []


def test_what_failed_first_in_a_share_is_told_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The account drops the share with the rest, so a revoke that fails as well is only mentioned."""

    def start(side: Side, program: str, verb: str, *options: str) -> Any:
        failed = "--check" in options or "--revoke" in options
        return subprocess.CompletedProcess([], int(failed), "", f"refused {options[-1]}")

    monkeypatch.setattr(sides, "start", start)
    with pytest.raises(UserError, match="refused --check"):
        verify._share(side("snowflake"), "COPYMART_VERIFY_1", [])
    assert "refused --yes" in capsys.readouterr().err


@pytest.mark.parametrize("secondary", ["ALL", "NONE"])
def test_it_says_when_dbt_acted_as_other_roles_too(secondary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as one logs in, which need not be the name of the user
    monkeypatch.setenv("SNOWFLAKE_USER", "admin@example.com")
    account = empty_account()
    account.secondary = secondary
    account.users["ADMIN"].add("COPYMART_VERIFY_1_LOADER")
    account.roles.add("COPYMART_VERIFY_1_LOADER")
    said = verify.secondary_roles(StrictSnowflake(account))
    if secondary == "NONE":
        assert said == "roles: each verb acted as its own role and no other"
    else:
        assert said.startswith("roles: not shown for dbt, which also acted as COPYMART_VERIFY_1_LOADER.")
        assert 'alter user "ADMIN" set default_secondary_roles = ()' in said


def test_a_date_is_compared_whatever_format_the_account_has() -> None:
    """DATE_OUTPUT_FORMAT decides what a cast to text writes."""
    query = as_text("snowflake", "db.marts.t", {"metric_date": "DATE"})
    assert query == "select to_varchar(compared.metric_date, 'YYYY-MM-DD') as c0 from db.marts.t as compared"
    query = as_text("duckdb", "marts.t", {"metric_date": "DATE"})
    assert query == "select cast(compared.metric_date as varchar) as c0 from marts.t as compared"


def told(failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The report of a verification that sees something and then fails."""
    monkeypatch.setenv("SNOWFLAKE_ACCOUNT", "acme-prod")
    monkeypatch.setenv("SNOWFLAKE_USER", "admin")

    def half(*arguments: Any) -> bool:
        arguments[-1].append("build 1: 3 of 3 nodes passed")
        raise failure

    monkeypatch.setattr(verify, "_verify", half)
    command = typer.Typer()
    command.command()(verify.verify)
    done = CliRunner().invoke(command, ["--report", str(tmp_path / "data/seen.md")])
    assert done.exit_code != 0
    return (tmp_path / "data/seen.md").read_text()


def test_what_was_seen_before_a_failure_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = UserError("snowflake: copymart land failed:\nLanding 3 files\nerror: no such stage\n")
    lines = told(failure, tmp_path, monkeypatch).splitlines()
    assert "account acme-prod, copymart" in lines[0]
    assert lines[2:] == [
        "- build 1: 3 of 3 nodes passed",
        "- FAILED: snowflake: copymart land failed: … error: no such stage",
    ]


def test_what_was_seen_before_it_was_stopped_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(KeyboardInterrupt(), tmp_path, monkeypatch).endswith("- FAILED: KeyboardInterrupt\n")


def test_a_terminated_verification_still_drops_what_it_set_up(tmp_path: Path) -> None:
    """CI ends what takes too long by SIGTERM, by which Python leaves out every `finally`."""
    program = """
import os, signal, sys
from scripts.snowflake import verify

def half(*arguments):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("dropped")

verify._verify = half
verify.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "--report", str(tmp_path / "seen.md")],
        cwd=PROJECT,
        env={**os.environ, "SNOWFLAKE_ACCOUNT": "acme-prod", "SNOWFLAKE_USER": "admin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "dropped" in done.stdout, done.stderr
    assert done.returncode != 0
    assert (tmp_path / "seen.md").read_text().endswith("- FAILED: KeyboardInterrupt\n")


def test_make_writes_the_report_where_no_other_is_named() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    recipe = makefile.partition("\nverify-snowflake:")[2].partition("\n\n")[0]
    # the last of two options of one name counts
    assert "--report data/verified-on-snowflake.md $(VERIFY_OPTIONS)" in recipe


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (
            "select\n count(*) as failures, count(*) != 0 as should_warn from (…) dbt_internal_test",
            "data tests",
        ),
        ("select 'd' || to_varchar(min(metric_date), 'YYYY-MM-DD') from t", "questions of macros"),
        ("execute immediate $$\nbegin\n begin transaction;", "blocks"),
        ("create or replace temporary table a.b.c\n as (select 1)", "temporary tables"),
        ("create or replace transient table a.b.c\n as (select 1)", "tables"),
        ("create or replace   view a.b.c as (select 1)", "others"),
        ("create table if not exists a.b.c (model varchar)", "others"),
        ("show terse objects in a.b", "others"),
    ],
)
def test_statements_are_counted_by_kind(statement: str, kind: str, tmp_path: Path) -> None:
    comment = '/* {"app": "dbt"} */'
    assert kind_of(f"{statement} {comment}") == kind_of(f"-- a\n{statement}") == kind
    entries = [("SQLQuery", "ours"), ("SQLQuery", "theirs"), ("SQLQueryStatus", "ours")]
    log = tmp_path / "dbt.log"
    log.write_text(
        "".join(
            json.dumps({"info": {"name": name, "invocation_id": by}, "data": {"sql": statement}}) + "\n"
            for name, by in entries
        )
    )
    assert count(log, "ours") == {kind: 1}
    assert listed(count(log, "ours")).startswith("1 statements: ")
    assert set(listed(count(log, "ours")).replace(",", ":").split(": ")[1:]) == {
        f"{int(each == kind)} {each}" for each in KINDS
    }


def test_dbt_writes_the_whole_log_of_a_side_to_one_file(tmp_path: Path) -> None:
    """What dbt had moved to another file would not be counted."""
    side = sides.side_of(tmp_path, "snowflake", "COPYMART_VERIFY_1")
    assert side.environment["DBT_LOG_FORMAT_FILE"] == "json"
    assert side.environment["DBT_LOG_FILE_MAX_BYTES"] == "0"
    assert side.environment["DBT_LOG_PATH"] == str(side.log_path)
