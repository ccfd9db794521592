"""An emulated Snowflake: fakesnow's server with patches, each for what it does otherwise than Snowflake.

python tests/python/fakesnow_patches.py -s -p PORT
"""

import re
import sys
from typing import Any

from emulated_unload import is_unload, unload
from fakesnow import transforms
from fakesnow.cli import main
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import Error, ProgrammingError
from sqlglot import exp, parse_one

_execute = FakeSnowflakeCursor.execute


def execute(self: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> FakeSnowflakeCursor:
    """Refuse what fails: the server answers other errors with status 500, which the connector tries again.

    And unload to stages, and know of queries that run.
    """
    try:
        if command.lower().startswith("copy into '@"):
            expression = parse_one(command, read="snowflake")
            command = unload(self, expression) if is_unload(expression) else command
        return _execute(self, running_queries(command), *args, **kwargs)
    except Error:
        raise
    except Exception as error:
        raise ProgrammingError(msg=f"{type(error).__name__}: {error}", errno=1, sqlstate="XX000") from error


# Queries that go on although their client is gone, by id, with their tags; tests make them by
# select 'left running', id, tag.
_running: dict[str, str] = {}


def running_queries(command: str) -> str:
    """Answer questions about queries that run, and cancel them."""
    texts = re.findall("'((?:[^']|'')*)'", command)
    if command.startswith("select 'left running'"):
        _running[texts[1]] = texts[2]
    elif "query_history_by_user" in command:
        found = [query for query, tag in _running.items() if tag == texts[0]]
        listed = " union all ".join(f"select '{query}' as query_id" for query in found)
        return listed or "select '' as query_id where false"
    elif command.startswith("select system$cancel_query("):
        state = "terminated" if _running.pop(texts[0], None) else "not running"
        return f"select 'query [{texts[0]}] {state}.' as status"
    return command


_transform = FakeSnowflakeCursor._transform


def transform(self: FakeSnowflakeCursor, expression: exp.Expression, *args: Any) -> exp.Expression:
    """Make a temporary table or view of a schema a lasting one: DuckDB has them in a catalog of their own.

    And drop a database: DuckDB detaches one, and not that of its own session.
    """
    if isinstance(expression, exp.Create) and expression.args.get("kind") in ("TABLE", "VIEW"):
        for temporary in list(expression.find_all(exp.TemporaryProperty)):
            temporary.pop()
    if isinstance(expression, exp.Drop) and expression.args.get("kind") == "DATABASE":
        name = next(expression.find_all(exp.Identifier)).name
        self._duck_conn.execute("use memory")
        self._duck_conn.execute(f"detach database if exists {name}")
        return parse_one("select 'successfully dropped' as status", read="duckdb")
    return _transform(self, expression.transform(text_in_a_format), *args).transform(md5_number_lower64)


_FORMATS = {"YYYY": "%Y", "MM": "%m", "DD": "%d", "HH24": "%H"}


def text_in_a_format(node: exp.Expression) -> exp.Expression:
    """Write a date or time in a format: sqlglot leaves the format out for DuckDB."""
    if not isinstance(node, exp.ToChar) or not node.args.get("format"):
        return node
    format = re.sub("|".join(_FORMATS), lambda found: _FORMATS[found[0]], node.args["format"].name)
    return exp.func("STRFTIME", node.this, exp.Literal.string(format))


def md5_number_lower64(node: exp.Expression) -> exp.Expression:
    """The lower half of the digest as a big-endian number: fakesnow hands the function's name to DuckDB."""
    if not isinstance(node, exp.MD5NumberLower64):
        return node
    text = node.this.sql(dialect="duckdb")
    return parse_one(f"cast('0x' || right(md5({text}), 16) as ubigint)", read="duckdb")


def whole_sums(node: exp.Expression) -> exp.Expression:
    """Leave what is summed as it is: fakesnow makes it a double, for the sake of text, and loses digits."""
    return node


_integer_precision = transforms.integer_precision


def whole_numbers(node: exp.Expression) -> exp.Expression:
    """Leave decimal(38, 0) as it is where it is written so: fakesnow makes a bigint of 19 digits of it."""
    if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.DECIMAL and node.expressions:
        return node
    return _integer_precision(node)


FakeSnowflakeCursor.execute = execute  # type: ignore[method-assign]
FakeSnowflakeCursor._transform = transform  # type: ignore[method-assign]
transforms.integer_precision = whole_numbers
transforms.numeric_agg_implicit_cast = whole_sums

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
