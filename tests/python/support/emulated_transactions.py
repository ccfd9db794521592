"""Transactions of an emulated Snowflake, by the rules of docs.snowflake.com/en/sql-reference/transactions.

- A statement that fails does not end its transaction, and what stood before it in there stays: DuckDB gives
  up the transaction instead.
- DDL, CREATE TABLE AS among it, commits the transaction that is open. BEGIN in an open one does nothing.
- A block of EXECUTE IMMEDIATE is a scope: it may not end a transaction that began outside, and one that began
  in it and is open at its end is rolled back. Its handler sees errors, and nothing of a cancelled block.
"""

import re
from collections.abc import Callable
from io import StringIO
from typing import Any

from snowflake.connector.errors import Error, ProgrammingError
from snowflake.connector.util_text import split_statements

CANCELLED = 604
"""SQL execution canceled."""

_BEGIN = re.compile(r"(begin|start)(\s+(work|transaction))?$", re.IGNORECASE)
_END = re.compile(r"(commit|rollback)(\s+work)?$", re.IGNORECASE)
_DDL = ("create", "drop", "alter")
_DML = ("insert", "update", "delete", "merge")
# The one form of a block that this emulation knows. Two dollars end its text, wherever they stand.
_BLOCK = re.compile(
    r"execute immediate \$\$\s*begin\s+begin transaction;((?:(?!\$\$).)*);\s*commit;\s*"
    r"exception\s+when other then\s+rollback;\s+raise;\s+end;?\s*\$\$",
    re.IGNORECASE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_LAST_COMMENT = re.compile(r"/\*[^*]*\*/\s*;?\s*$")

Run = Callable[..., Any]
"""Runs a statement in a cursor: run(cursor, command, …)."""


def execute(cursor: Any, command: str, run: Run, *arguments: Any, **options: Any) -> Any:
    """Run a statement by `run(cursor, command, …)` in the transaction that it belongs to."""
    if block := _BLOCK.fullmatch(_LAST_COMMENT.sub("", command).strip(" \n;")):
        return _block(cursor, block[1], run)
    if "execute immediate $$" in command.lower():
        raise ProgrammingError(
            msg="SQL compilation error: the block has no end", errno=1003, sqlstate="42000"
        )
    if "/* cancelled */" in command:
        raise ProgrammingError(msg="SQL execution canceled", errno=CANCELLED, sqlstate="57014")
    bare = _COMMENT.sub("", command).strip(" \n;")
    connection = cursor._conn
    held: list[Any] | None = getattr(connection, "held", None)
    word = bare.split(maxsplit=1)[0].lower() if bare else ""
    if _BEGIN.match(bare):
        if held is not None:
            return run(cursor, "select 'Statement executed successfully.' as status")
        connection.held = []
    elif _END.match(bare):
        connection.held = None
    elif held is not None and word in _DDL:
        run(cursor, "commit")
        connection.held = None
    elif held is not None:
        try:
            done = run(cursor, command, *arguments, **options)
        except Exception:
            _restore(cursor, held, run)
            raise
        if word in _DML:
            held.append((command, arguments, options))
        return done
    return run(cursor, command, *arguments, **options)


def _restore(cursor: Any, held: list[Any], run: Run) -> None:
    """Open the transaction again, with what it had done before the statement that failed."""
    run(cursor, "rollback")
    run(cursor, "begin")
    for command, arguments, options in held:
        run(cursor, command, *arguments, **options)


def _block(cursor: Any, body: str, run: Run) -> Any:
    if getattr(cursor._conn, "held", None) is not None:
        raise ProgrammingError(
            msg="Modifying a transaction that has started at a different scope is not allowed.", errno=90232
        )
    execute(cursor, "begin", run)
    try:
        for statement, _ in split_statements(StringIO(body)):
            if statement.strip(" ;\n"):
                execute(cursor, statement.rstrip().rstrip(";"), run)
    except Error:
        # by the handler, or at the end of the scope
        execute(cursor, "rollback", run)
        raise
    execute(cursor, "commit", run)
    return run(cursor, 'select null as "anonymous block"')
