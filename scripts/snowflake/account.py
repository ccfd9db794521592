"""Run statements in a Snowflake account, with refusals in words a person can act on."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from scripts.console import progress
from scripts.errors import UserError
from scripts.snowflake.names import identifier, parts, quoted

# How many characters of a refused statement are shown.
_SHOWN = 1_000
# "… does not exist or not authorized", and "Object does not exist, or operation cannot be performed"
_NOT_THERE = (2003, 2043)


@dataclass(frozen=True)
class Step:
    """Statements that one role runs, with the reason for them. Snowflake's own roles need no quotes."""

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
        UserError: Snowflake refused one; earlier ones have taken effect, because each commits by itself.
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
                        f"{error}\n{done} of {total} statements took effect; fix the cause and run the same "
                        "command again: it continues from there"
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
    with explained(statement), closing(session.cursor()) as cursor:
        cursor.execute(statement)
        names = [column[0].lower() for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def rows_if_there(session: Any, statement: str) -> list[dict[str, Any]] | None:
    """Run a question about an object; None where there is none, or where the role may not know of it.

    Snowflake does not tell the two apart, so None never proves that the object is gone.

    Raises:
        UserError: Snowflake refused it for another reason.
    """
    try:
        return rows(session, statement)
    except UserError as error:
        if getattr(error.__cause__, "errno", None) in _NOT_THERE:
            return None
        raise


def use_role(session: Any, role: str, variable: str) -> None:
    """Let the session act as a role; `variable` is the environment's name for it.

    Raises:
        UserError: the role does not exist, or the user does not have it.
    """
    try:
        execute(session, f"use role {quoted(role)}")
    except UserError as error:
        raise UserError(
            f"{error}. Grant the role {role} to the user (`copymart bootstrap snowflake` prints how), or "
            f"name another with {variable}"
        ) from error


@contextmanager
def explained(statement: str) -> Iterator[None]:
    """Say which statement Snowflake refused (the beginning of a long one), and why.

    Raises:
        UserError: Snowflake refused it.
    """
    # imported here because the connector takes half a second, which DuckDB targets should not
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        shown = statement if len(statement) <= _SHOWN else f"{statement[:_SHOWN]} …"
        raise UserError(f"Snowflake refused `{shown}`: {_words(error)}") from error


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "msg", None) or error).split())


def find_stage(session: Any, named: str, within: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the whole name of a stage, and its URL: empty for an internal one, None where there is none.

    `within`: the schema, or database and schema, of a name without them.

    Raises:
        UserError: it is no name of a stage, or there is no such schema.
    """
    given = tuple(identifier(part, "stage") for part in parts(named))
    if not 1 <= len(given) <= 3:
        raise UserError(f"--stage {named}: write NAME, SCHEMA.NAME or DATABASE.SCHEMA.NAME")
    name = (*within[: max(0, len(within) + 1 - len(given))], *given)
    for row in rows(session, f"show stages in schema {quoted(*name[:-1])}"):
        if row["name"] == name[-1]:
            return name, str(row["url"] or "")
    return name, None
