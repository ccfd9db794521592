"""A strict account after `copymart bootstrap` and `dbt build`, for the tests of share and bootstrap."""

import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.snowflake import account as snowflake_account
from scripts.snowflake import share
from scripts.snowflake.bootstrap_plan import Setup, setup_steps
from scripts.snowflake.names import quoted
from scripts.snowflake.share_plan import View, Wanted
from support.project import PROJECT, settings
from support.strict_account import Account
from support.strict_snowflake import StrictSnowflake, run_all

CONSUMER = "JUSTAI.ANALYTICS"
SETUP = Setup(
    users={"LOADER": ["LAND"], "TRANSFORMER": ["DBT"], "READER": [], "SHARER": ["ADMIN"]},
    landing="s3://acme-copy/landing/",
    unload="s3://acme-copy/export/",
    storage_role="arn:aws:iam::123456789012:role/copymart",
    snowpipe=True,
    makes_schemas=True,
)


def dbt_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands of this process read the project for Snowflake; nothing connects with these settings."""
    for name, value in settings(folder).items():
        if name.startswith(("DBT_", "COPYMART_")):
            monkeypatch.setenv(name, value)
    for name in ("ACCOUNT", "USER", "PRIVATE_KEY_PATH"):
        monkeypatch.setenv(f"SNOWFLAKE_{name}", "none")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.chdir(PROJECT)
    # dbt takes a run with these for one of its own
    monkeypatch.setattr(sys, "argv", ["copymart"])


def read_manifest(folder: Path) -> Any:
    """dbt's manifest of this project for the target snowflake."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        dbt_environment(folder, monkeypatch)
        return share._manifest(PROJECT, folder, "snowflake")


def empty_account() -> Account:
    """An account with the users that SETUP names and nothing else."""
    # the sessions of copymart have no secondary roles
    account = Account(secondary="NONE")
    account.users |= {"LAND": set(), "DBT": set()}
    return account


def statements(setup: Setup = SETUP) -> list[str]:
    """The statements of bootstrap, `use role` among them."""
    return [
        statement for step in setup_steps(setup) for statement in (f"use role {step.role}", *step.statements)
    ]


def view_statement(view: View, source: str, secure: bool = True, copy_grants: bool = True) -> str:
    """What dbt makes of a model of models/shares: see its view materialization."""
    columns = ", ".join(quoted(column) for column in view.columns)
    return (
        f"create or replace {'secure ' if secure else ''}view {quoted(*view.path)} ({columns})"
        f"{' copy grants' if copy_grants else ''} as select {columns} from {source}"
    )


def build(session: StrictSnowflake, *all_wanted: Wanted, source: str = '"COPYMART"."MARTS"."FACTS"') -> None:
    """Make the views of the grants as dbt would, above one table that stands for all marts."""
    run_all(
        session,
        ['use role "COPYMART_TRANSFORMER"', 'create table if not exists "COPYMART"."MARTS"."FACTS" (a int)'],
    )
    for wanted in all_wanted:
        run_all(session, [view_statement(view, source) for view in wanted.views])


def built(*all_wanted: Wanted) -> StrictSnowflake:
    """The administrator's session after bootstrap and a build of the views."""
    session = StrictSnowflake(empty_account())
    snowflake_account.run_steps(session, list(setup_steps(SETUP)), "bootstrap")
    build(session, *all_wanted)
    session.log.clear()
    return session
