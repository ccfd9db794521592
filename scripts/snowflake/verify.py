"""Lands, builds, unloads and shares on Snowflake, and compares with DuckDB, each verb as its own role.

`make verify-snowflake` runs this on a real account, the tests on an emulated one. Sample logs land in two
parts, the second with files replaced and removed, with a build after each; then every relation is compared.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.console import console, error_console
from scripts.errors import UserError
from scripts.snowflake import sides
from scripts.snowflake.account import rows
from scripts.snowflake.bootstrap_plan import roles_of_verbs
from scripts.snowflake.compare import differences_of, relations_of
from scripts.snowflake.sides import PROJECT, Side, run, side_of
from scripts.snowflake.statements import count, listed
from scripts.snowflake.throwaway import Place, current_user, set_up, throwaway_setup
from scripts.snowflake.two_parts import add_late, copy_early, hour_of, replace_and_remove
from scripts.warehouse import connect_snowflake

SKIPPED = 3
"""Exit status when there are no credentials: neither passed (0) nor failed (1)."""

_PASSED = {"success", "pass", "warn", "no-op"}


def verify(
    calls: Annotated[int, typer.Option(help="Simulated calls.", min=50)] = 2000,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Logs to land, in the folders of `copymart land --landing`, instead of simulated ones."
        ),
    ] = None,
    profiles_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a profiles.yml whose target snowflake takes its database from "
            "SNOWFLAKE_DATABASE.",
            show_default="profiles.yml.example",
        ),
    ] = None,
    unload_to: Annotated[
        str | None,
        typer.Option(
            help="s3://bucket/prefix, an empty place: the second part of the logs lies in landing/ there, "
            "and the second build is that of `make daily`, which lands it and unloads to export/, both "
            "through stages; every row of the files is compared with both warehouses. The files stay."
        ),
    ] = None,
    storage_role_arn: Annotated[
        str | None,
        typer.Option(
            help="AWS role for --unload-to, whose trust names the account's Snowflake user and --external-id."
        ),
    ] = None,
    external_id: Annotated[str | None, typer.Option(help="External id that the AWS role requires.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="File to write what was seen, as docs/verified-on-snowflake.md has it, also after a failure."
        ),
    ] = None,
) -> None:
    """Set up a throwaway part of an account, land and build there twice, unload, share, compare with DuckDB.

    Runs `copymart bootstrap` with names of its own, each verb as its own role, and drops all of it at the
    end, also after a failure. Needs SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER (with ACCOUNTADMIN), and a key or
    another way to log in.

    Exit status 0 when everything is equal, 1 when it is not, 3 when there are no credentials.
    """
    if not (os.environ.get("SNOWFLAKE_ACCOUNT") and os.environ.get("SNOWFLAKE_USER")):
        error_console.print(
            "SKIPPED: SNOWFLAKE_ACCOUNT and SNOWFLAKE_USER are not set, so nothing was verified on Snowflake"
        )
        raise typer.Exit(SKIPPED)
    seen: list[str] = []
    equal = False
    try:
        place = Place(unload_to, storage_role_arn, external_id)
        equal = _verify(place, sample, calls, profiles_dir, seen)
    except BaseException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        # what a command printed stands between its name and its error
        seen.append("FAILED: " + " … ".join(dict.fromkeys((lines[0], lines[-1]))))
        raise
    finally:
        if report:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(page(seen))
            console.print(f"Wrote {report}")
    if not equal:
        raise typer.Exit(1)


def _verify(
    place: Place, sample: Path | None, calls: int, profiles_dir: Path | None, seen: list[str]
) -> bool:
    """Do all of it, and add what was seen as it is; return whether everything passed and is equal."""
    with tempfile.TemporaryDirectory(prefix="copymart-verify-") as folder:
        work = Path(folder).resolve()
        profile = profiles_dir / "profiles.yml" if profiles_dir else PROJECT / "profiles.yml.example"
        (work / "profiles").mkdir()
        shutil.copy(profile, work / "profiles/profiles.yml")
        with _throwaway(work, place) as name:
            duck, snow = side_of(work, "duckdb", name), side_of(work, "snowflake", name)
            _say(secondary_roles(_session(work, alone=False)), seen)
            logs = sample or _simulate(work, duck, calls)
            passed = _play(work, duck, snow, logs, place, seen)
            equal = _compare(work, duck, name, seen)
            _read(snow, work, seen)
            _unload(duck, snow, place, seen)
            _share(snow, name, seen)
    return equal and passed


@contextmanager
def _throwaway(work: Path, place: Place) -> Iterator[str]:
    """Set up roles, warehouse and database of one name for all commands, and drop them at the end."""
    setup = throwaway_setup(place)
    os.environ |= {"SNOWFLAKE_DATABASE": setup.database, "SNOWFLAKE_SCHEMA": "PROD", "DO_NOT_TRACK": "1"}
    os.environ |= {"SNOWFLAKE_WAREHOUSE": setup.warehouse, **roles_of_verbs(setup)}
    session = _session(work, as_role=False)
    try:
        with set_up(session, setup):
            yield setup.database
    finally:
        session.close()


def _session(work: Path, as_role: bool = True, alone: bool = True) -> Any:
    return connect_snowflake(
        PROJECT, work / "profiles", "snowflake", verb="verify", as_role=as_role, alone=alone
    )


def secondary_roles(session: Any) -> str:
    """What a session like those of dbt says of the roles that it acts as, beside its own; it is closed."""
    with closing(session):
        (found,) = rows(session, "select current_secondary_roles() as active")
        user = current_user(session)
    active = json.loads(found["active"] or "{}").get("roles")
    if not active:
        return "roles: each verb acted as its own role and no other"
    return (
        f"roles: not shown for dbt, which also acted as {active}. Run `alter user {user} set "
        "default_secondary_roles = ()` and verify again; copymart's own sessions had none"
    )


def _simulate(work: Path, duck: Side, calls: int) -> Path:
    run(duck, "copymart", "simulate", work / "sample", "--calls", calls, "--days", 5, "--seed", 11)
    return work / "sample"


def _play(work: Path, duck: Side, snow: Side, sample: Path, place: Place, seen: list[str]) -> bool:
    """Land and build twice on both sides; return whether all nodes of both builds passed on Snowflake.

    With a place on S3, the late files lie there, and the second time on Snowflake is `make daily`, which
    lands them through a stage and also unloads through one.
    """
    landing = work / "landing"
    late = copy_early(sample, landing)
    passed = []
    for number in (1, 2):
        removed = replace_and_remove(landing) if number == 2 else []
        far = place.landing if number == 2 else None
        if number == 2:
            add_late(sample, late, far or str(landing))
        # side by side: most of the time the one computes and the other waits for an account
        with ThreadPoolExecutor(1) as beside:
            done = beside.submit(_land_and_build, duck, landing, far, removed)
            _land(snow, str(landing), removed)
            passed.append(_daily(snow, far, place, seen) if far else _build(snow, number, seen))
            done.result()
    return all(passed)


def _land_and_build(duck: Side, landing: Path, far: str | None, removed: list[Path]) -> None:
    _land(duck, str(landing), removed)
    if far:
        _land(duck, far, [])
    run(duck, "dbt", "build", "--resource-type", "seed", "--resource-type", "model")


def _land(side: Side, landing: str, removed: list[Path]) -> None:
    """Land a folder or s3://bucket/prefix, then the hours of files that are gone."""
    done = sides.start(side, "copymart", "land", "--landing", landing, "--copies")
    # landing refuses some files of the sample as a whole, which is exit status 1
    if "error:" in done.stderr or done.returncode > 1:
        raise UserError(f"{side.name}: copymart land failed:\n{done.stdout}{done.stderr}")
    for path in removed:
        events = ("--events", f"{landing}/customerio/events")
        run(side, "copymart", "land", *events, "--backfill", *hour_of(path), "--allow-empty")


def _build(snow: Side, number: int, seen: list[str]) -> bool:
    """Build on Snowflake with all tests; return whether all nodes passed.

    Unit tests run once: they do not see what landed.
    """
    once = () if number == 1 else ("--exclude-resource-type", "unit_test")
    return _nodes(snow, f"build {number}", seen, "dbt", "build", *once)


def _daily(snow: Side, landing: str, place: Place, seen: list[str]) -> bool:
    """Do what a scheduler does on Snowflake, as one user whose verbs have a role each."""
    options = (f"LANDING={landing}", f"EXPORT={place.export}", "LAND_OPTIONS=--copies")
    return _nodes(
        snow, f"make daily, which landed {landing} through a stage", seen, "make", "daily", *options
    )


def _nodes(snow: Side, what: str, seen: list[str], *command: str) -> bool:
    """Run a command that builds, and say how many nodes passed; return whether all did."""
    results = snow.target_path / "run_results.json"
    results.unlink(missing_ok=True)
    done = sides.start(snow, *command)
    # the files that landing refuses hold up nothing
    refused_only = "all else landed, was built and unloaded" in done.stderr
    if command[0] == "make" and done.returncode != 0 and not refused_only:
        raise UserError(f"snowflake: make daily failed:\n{done.stdout}{done.stderr}")
    if not results.exists():
        raise UserError(f"snowflake: dbt build did not begin:\n{done.stdout}{done.stderr}")
    written = json.loads(results.read_text())
    nodes = written["results"]
    for node in nodes:
        if node["status"] not in _PASSED | {"skipped"}:
            error_console.print(f"{node['unique_id']}: {node['message']}", soft_wrap=True)
    passed = sum(node["status"] in _PASSED for node in nodes)
    _say(f"{what}: {passed} of {len(nodes)} nodes passed", seen)
    sent = count(snow.log_path / "dbt.log", written["metadata"]["invocation_id"])
    _say(f"{what}: {listed(sent)}", seen)
    return passed == len(nodes)


def _read(snow: Side, work: Path, seen: list[str]) -> None:
    """Run the verbs that only read, as the role that dbt has."""
    run(snow, "copymart", "status")
    run(snow, "copymart", "report", "--to", work / "report.html")
    run(snow, "copymart", "suggest-actions")
    _say("status, report and suggest-actions: ran", seen)


def _unload(duck: Side, snow: Side, place: Place, seen: list[str]) -> None:
    """Compare the files that Snowflake unloaded with its own rows and with DuckDB's."""
    if not place.export:
        _say(
            "SKIPPED: landing and unload through a stage, because --unload-to, --storage-role-arn and "
            "--external-id are not given",
            seen,
        )
        return
    with ThreadPoolExecutor(2) as beside:
        for done in [
            beside.submit(run, side, "copymart", "verify", place.export, "--deep") for side in (snow, duck)
        ]:
            done.result()
    _say(f"unload: {place.export} holds the rows of both warehouses", seen)


def _share(snow: Side, name: str, seen: list[str]) -> None:
    """Create a share without accounts, check it, and drop it."""
    share = ("copymart", "share", "--share", name)
    try:
        run(snow, *share, "--yes")
        run(snow, *share, "--check")
    except UserError:
        # the set-up is dropped with a share of its name, if this fails too
        revoked = sides.start(snow, *share, "--revoke", "--yes")
        if revoked.returncode:
            error_console.print(f"{revoked.stdout}{revoked.stderr}", soft_wrap=True)
        raise
    run(snow, *share, "--revoke", "--yes")
    _say("share: made, checked and dropped", seen)
    _say("not shown: a share that four accounts have, and what they can read", seen)


def _say(text: str, seen: list[str]) -> None:
    console.print(text, soft_wrap=True)
    seen.append(text)


def _compare(work: Path, duck: Side, database: str, seen: list[str]) -> bool:
    """Compare every relation as a set of rows of text; return whether all are equal."""
    relations = relations_of(duck.target_path / "manifest.json")
    with closing(_session(work)) as session:
        differences = differences_of(duck.environment["COPYMART_DUCKDB"], session, database, relations)
    for difference in differences:
        for side, only in (("DuckDB", difference.only_duckdb), ("Snowflake", difference.only_snowflake)):
            error_console.print(
                f"{difference.relation}: {len(only)} rows only on {side}, such as {only[:2]}",
                soft_wrap=True,
            )
    different = f": not {', '.join(each.relation for each in differences)}" if differences else ""
    equal = len(relations) - len(differences)
    _say(f"{equal} of {len(relations)} relations equal row for row{different}", seen)
    return not differences


def page(seen: list[str]) -> str:
    """What was seen, in the form of docs/verified-on-snowflake.md."""
    account = os.environ.get("SNOWFLAKE_ACCOUNT", "")
    lines = "\n".join(f"- {line}" for line in seen)
    return f"{datetime.now():%Y-%m-%d}, account {account}, copymart {version('copymart')}:\n\n{lines}\n"


def main() -> None:
    """Run the command; a UserError ends it with its message and exit status 1."""
    # as Ctrl-C, so that what was set up is dropped
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        typer.run(verify)
    except UserError as error:
        error_console.print(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
