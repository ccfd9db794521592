"""A session in a Snowflake account, and statements whose refusal a person can mend."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from scripts.console import progress
from scripts.errors import UserError

# Shown in Snowflake's query history, so that these statements are told from dbt's.
QUERY_TAG = '{"app": "copymart"}'
# Of a statement that was refused so many characters are shown.
_TOLD = 1_000


def connect(settings: dict[str, Any]) -> Any:
    """Open a session with the settings of a dbt profile's target, with the user's default role.

    `settings` is what `warehouse.credentials` returns. dbt's own class reads the key file and knows the
    ways of signing in. Nothing of it is logged.

    Raises:
        UserError: the target is not Snowflake, or Snowflake refuses the session.
    """
    if settings["type"] != "snowflake":
        raise UserError(
            f"this command works on Snowflake; the profile's target is of type {settings['type']}: give "
            "--target"
        )
    # Imported here because they take seconds, which --help should not.
    from dbt.adapters.snowflake.connections import SnowflakeCredentials
    from snowflake import connector

    credentials: Any = SnowflakeCredentials.from_dict(
        {key: settings[key] for key in settings if key != "type"}
    )
    place = {
        name: getattr(credentials, name)
        for name in ("host", "port", "protocol")
        if getattr(credentials, name, None)
    }
    try:
        return connector.connect(
            account=credentials.account,
            database=credentials.database,
            warehouse=credentials.warehouse,
            session_parameters={"QUERY_TAG": QUERY_TAG},
            application="copymart",
            **place,
            **credentials.auth_args(),
        )
    except (connector.errors.Error, ValueError, OSError) as error:
        raise UserError(
            f"no session in Snowflake account {credentials.account} as {credentials.user}: {_words(error)}. "
            "`dbt debug --target snowflake` tells which setting of the profile is meant"
        ) from error


@dataclass(frozen=True)
class Step:
    """Statements that one role runs, and why they are there. A role of Snowflake's own needs no quotes."""

    role: str
    why: str
    statements: tuple[str, ...]


def script(steps: Iterable[Step]) -> str:
    """Return the steps as SQL to read, to keep, or to run in a worksheet."""
    blocks = []
    role = None
    for step in steps:
        lines = [f"-- {line}" for line in step.why.splitlines()]
        if step.role != role:
            lines.append(f"use role {step.role};")
            role = step.role
        lines.extend(f"{statement};" for statement in step.statements)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def run_steps(session: Any, steps: list[Step], description: str) -> int:
    """Run the steps in order and return the number of statements.

    Raises:
        UserError: Snowflake refused one; those before it stand, since each of them commits by itself.
    """
    done = 0
    total = sum(len(step.statements) for step in steps)
    with progress(description, total) as advance:
        for step in steps:
            for statement in (f"use role {step.role}", *step.statements):
                try:
                    execute(session, statement)
                except UserError as error:
                    raise UserError(
                        f"{error}\n{done} of {total} statements were done and stand; mend this and run the "
                        "same command again, it goes on from there"
                    ) from error
                if statement in step.statements:
                    done += 1
                    advance(1)
    return done


def execute(session: Any, statement: str) -> None:
    """Run one statement.

    Raises:
        UserError: Snowflake refused it.
    """
    rows(session, statement)


def rows(session: Any, statement: str) -> list[dict[str, Any]]:
    """Run one statement and return its rows by column name in lower case, as SHOW names them.

    Raises:
        UserError: Snowflake refused it.
    """
    with refusals(statement), closing(session.cursor()) as cursor:
        cursor.execute(statement)
        names = [column[0].lower() for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def refusals(statement: str) -> Iterator[None]:
    """Say which statement Snowflake refused, and why; a long one by its beginning.

    Raises:
        UserError: Snowflake refused it.
    """
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        told = statement if len(statement) <= _TOLD else f"{statement[:_TOLD]} …"
        raise UserError(f"Snowflake refused `{told}`: {_words(error)}") from error


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "msg", None) or error).split())
