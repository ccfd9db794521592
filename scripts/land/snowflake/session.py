"""The session of a landing on Snowflake."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from snowflake.connector.errors import Error

from scripts.errors import UserError
from scripts.warehouse import layer_schema

LISTED_BYTES = 200_000
"""JSON of names in a statement, whose text has at most 1 MB and holds backslashes, and some names, twice."""

Listed = TypeVar("Listed")


@dataclass(frozen=True)
class PlainLines:
    """Lines of a file that wait in Snowflake: their table, the file's name there, and how many are plain.

    `rejects`: how many of them Snowflake rejects by itself; only rows of tables.
    """

    table: str
    name: str
    rows: int
    rejects: int = 0


@dataclass(frozen=True)
class Session:
    """An open connection and the schema of the landing tables.

    `plain` maps the files of the current batch that Snowflake has copied to the lines that it inserts itself.
    """

    connection: Any
    schema: str
    plain: dict[str, PlainLines] = field(default_factory=dict)


@contextmanager
def open_session(connection: Any, settings: dict[str, Any], production_schema: str) -> Iterator[Session]:
    """Yield the session of a connection, which is closed at the end.

    Raises:
        UserError: the profile's schema is no plain name, or Snowflake refuses a statement.
    """
    schema = layer_schema(settings, "staging", production_schema)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", schema):
        raise UserError(
            f"the schema {schema} of the profile is no plain name: use letters, digits and underscores"
        )
    try:
        yield Session(connection, schema)
    except Error as error:
        raise UserError(
            f"Snowflake refused a statement: {error.msg}. Files landed before this one are complete; "
            "check the rights of the role (COPYMART_LAND_ROLE, else the profile's) and run the command again"
        ) from error
    finally:
        connection.close()


def pieces(listed: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Cut a list for statements that hold it as JSON."""
    held: list[Listed] = []
    size = 0
    for item in listed:
        more = len(json.dumps(item, default=str))
        if held and size + more > LISTED_BYTES:
            yield held
            held, size = [], 0
        held.append(item)
        size += more
    if held:
        yield held


def execute(session: Session, statement: str, parameters: tuple[Any, ...] | None = None) -> list[Any]:
    """Run one statement in the session of a landing and return its rows."""
    with session.connection.cursor() as cursor:
        return list(cursor.execute(statement, parameters).fetchall())
