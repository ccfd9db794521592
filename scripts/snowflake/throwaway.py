"""A part of a Snowflake account that `copymart bootstrap` sets up for a while, and that is dropped again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import typer

from scripts.console import console, error_console
from scripts.errors import UserError
from scripts.snowflake.account import Step, execute, rows, rows_if_there, run_steps
from scripts.snowflake.bootstrap_plan import ROLES, VERBS_TAKE, Setup, setup_steps
from scripts.snowflake.names import quoted


@dataclass(frozen=True)
class Place:
    """Where to land from and to unload to through stages, and the AWS role that Snowflake assumes for it."""

    uri: str | None
    role_arn: str | None
    external_id: str | None

    @property
    def landing(self) -> str | None:
        """From where to land through a stage; None where none can be made."""
        return self._within("landing")

    @property
    def export(self) -> str | None:
        """Whereto to unload through a stage; None where none can be made."""
        return self._within("export")

    def _within(self, folder: str) -> str | None:
        complete = self.uri and self.role_arn and self.external_id
        return f"{self.uri.rstrip('/')}/{folder}" if self.uri and complete else None


def throwaway_setup(place: Place) -> Setup:
    """A set-up whose names no other has."""
    name = f"COPYMART_VERIFY_{token_hex(4).upper()}"
    return Setup(
        database=name,
        warehouse=f"{name}_WH",
        prefix=name,
        landing=f"{place.landing}/" if place.landing else None,
        unload=f"{place.export}/" if place.export else None,
        storage_role=place.role_arn if place.export else None,
        external_id=place.external_id if place.export else None,
    )


def current_user(session: Any) -> str:
    """The quoted name of the session's user, which need not be the name that they log in with."""
    (found,) = rows(session, "select current_user() as name")
    return quoted(found["name"])


@contextmanager
def set_up(session: Any, setup: Setup) -> Iterator[None]:
    """Run bootstrap and give the session's user the roles of all verbs; at the end drop it all, also after a
    failure.

    Raises:
        UserError: Snowflake refused a statement.
        typer.Exit: something of it could not be dropped.
    """
    # granted here, because `--loader-user` and its like would also set the user's query tag
    user = current_user(session)
    users = (f"grant role {setup.role(role)} to user {user}" for role in VERBS_TAKE.values())
    try:
        steps = [*setup_steps(setup), Step("securityadmin", "To whom verifies.", tuple(users))]
        run_steps(session, steps, "bootstrap")
        console.print(f"Set up {setup.database}: roles, warehouse, database")
        yield
    finally:
        dropped = _drop(session, setup)
    if not dropped:
        raise typer.Exit(1)


def _drop(session: Any, setup: Setup) -> bool:
    """Drop what bootstrap made, and say what is left where Snowflake refuses; return whether nothing is."""
    left = []
    for statement in dropping(setup):
        try:
            # DROP SHARE has no IF EXISTS
            if statement.startswith("drop share "):
                rows_if_there(session, statement)
            else:
                execute(session, statement)
        except UserError as error:
            left.append(f"{statement}: {error}")
    if left:
        error_console.print("\n".join(["Drop these yourself, as ACCOUNTADMIN:", *left]), soft_wrap=True)
    else:
        console.print(f"Dropped {setup.database}")
    return not left


def dropping(setup: Setup) -> list[str]:
    """The statements that take a set-up away again, with what was built in it, and a share of its name."""
    external = [f"drop integration if exists {setup.integration}"] if setup.storage_role else []
    return [
        "use role accountadmin",
        f"drop share {quoted(setup.database)}",
        f"drop database if exists {quoted(setup.database)}",
        f"drop warehouse if exists {quoted(setup.warehouse)}",
        f"drop resource monitor if exists {setup.monitor}",
        *external,
        *(f"drop role if exists {setup.role(role)}" for role in ROLES),
    ]
