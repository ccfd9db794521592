"""An emulated Snowflake: fakesnow's server with patches, each for what it does otherwise than Snowflake.

In tests/python: python -m support.fakesnow_patches -s -p PORT
"""

import gzip
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import fakesnow
import pyarrow as pa
import zstandard
from fakesnow import copy_into, cursor, transforms
from fakesnow.cli import main
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.transforms import stage
from fakesnow.transforms.options import parse_options
from snowflake.connector.errors import Error, ProgrammingError
from sqlglot import exp, parse_one
from sqlglot.dialects import Snowflake
from sqlglot.helper import seq_get
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from support import emulated_account, emulated_speed, emulated_transactions
from support.emulated_unload import is_unload, unload

_execute = FakeSnowflakeCursor.execute
# the package has a function of the module's name, which is called, and asked for the module's app
_start = fakesnow.server
server = import_module("fakesnow.server")
_start.app = server.app  # type: ignore[attr-defined]
fakesnow.server = _start  # type: ignore[assignment]
_login_request = server.login_request

# user-guide/query-size-limits: the text of a statement has at most 1 MB
LONGEST_STATEMENT = 1_048_576


def execute(self: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> FakeSnowflakeCursor:
    """Refuse what fails: the server answers other errors with status 500, which the connector tries again.

    And unload to stages, and know of queries that run.
    """
    # dbt itself casts the rows of its unit tests to TIMESTAMP
    self.of_unit_test = '"node_id": "unit_test.' in command  # type: ignore[attr-defined]
    # copymart's own sessions say what the formats are
    self.of_dbt = '"app": "dbt"' in command and not self.of_unit_test  # type: ignore[attr-defined]
    try:
        if len(command.encode()) > LONGEST_STATEMENT:
            raise ProgrammingError(msg="SQL compilation error: the statement is longer than 1 MB", errno=1)
        if re.match(r"\s*alter table \S+ cluster by", command, re.IGNORECASE):
            # user-guide/tables-auto-reclustering: a table with a clustering key is reclustered, serverless
            raise ProgrammingError(msg="a clustering key starts Automatic Clustering", errno=1)
        if command.lower().startswith(("copy into '@", "list ")):
            emulated_account.answer(self, command)
        if command.lower().startswith("copy into '@"):
            expression = parse_one(command, read="snowflake")
            command = unload(self, expression) if is_unload(expression) else command
        command = list_s3(self, running_queries(command))
        return emulated_transactions.execute(self, command, checked, *args, **kwargs)
    except Error:
        raise
    except Exception as error:
        raise ProgrammingError(msg=f"{type(error).__name__}: {error}", errno=1, sqlstate="XX000") from error


def checked(self: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> FakeSnowflakeCursor:
    """Run a statement that the account lets the session's role run."""
    answered = emulated_account.answer(self, command)
    if answered is not None:
        command, args, kwargs = values(self._duck_conn, *answered), (), {}
    # fakesnow's stages know of no integration
    command = re.sub(r"^(create stage .*) storage_integration = \S+$", r"\1", command, flags=re.IGNORECASE)
    return _execute(self, command, *args, **kwargs)


async def login_request(request: Request) -> JSONResponse:
    """Begin a session as the role that the client names."""
    before = set(server.sessions)
    response = await _login_request(request)
    for token in set(server.sessions) - before:
        emulated_account.admit(server.sessions[token], request.query_params.get("roleName"))
    return response


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
    for kind in () if self.of_unit_test else expression.find_all(exp.DataType):
        if kind.this == exp.DataType.Type.TIMESTAMP:
            # parameters, TIMESTAMP_TYPE_MAPPING: an account or a user may make it one with a time zone
            raise ProgrammingError(msg="TIMESTAMP is what TIMESTAMP_TYPE_MAPPING says", errno=1)
    for cast in expression.find_all(exp.Cast) if self.of_dbt else ():
        if isinstance(cast.this, exp.Literal) and cast.to.this in exp.DataType.TEMPORAL_TYPES:
            # parameters, DATE_INPUT_FORMAT: an account or a user may change how a text is read
            raise ProgrammingError(
                msg="a text is a time by DATE_INPUT_FORMAT, TIMESTAMP_INPUT_FORMAT", errno=1
            )
    for function in expression.find_all(exp.Lambda):
        if column := function.this.find(exp.Column):
            # ibis-project/ibis#9178: it cannot refer to an outer scope; no page says that it can
            raise ProgrammingError(msg=f"invalid identifier '{column.sql('snowflake')}'", errno=904)
    for binary in list(expression.find_all(exp.ToBinary)):
        # data-types-text: a BINARY without a length holds 8 MB
        text = binary.this.sql(dialect="duckdb")
        long = "error('the text is too long for BINARY')"
        binary.set(
            "this",
            parse_one(f"case when strlen({text}) > 8388608 then {long} else {text} end", read="duckdb"),
        )
    for join in expression.find_all(exp.Join):
        outer_flatten(join)
    # in place: copies of the tree were two fifths of a statement's time
    for change in (
        text_in_a_format,
        kind_of_variant,
        text_of_variant,
        array_of_variant,
        try_parse_json,
        whole_seconds,
    ):
        expression = expression.transform(change, copy=False)
    return _transform(self, expression, *args).transform(md5_number_lower64, copy=False)


_FORMATS = {"YYYY": "%Y", "MM": "%m", "DD": "%d", "HH24": "%H"}


def text_in_a_format(node: exp.Expression) -> exp.Expression:
    """Write a date or time in a format: sqlglot leaves the format out for DuckDB."""
    if not isinstance(node, exp.ToChar) or not node.args.get("format"):
        return node
    format = re.sub("|".join(_FORMATS), lambda found: _FORMATS[found[0]], node.args["format"].name)
    return exp.func("STRFTIME", node.this, exp.Literal.string(format))


def whole_seconds(node: exp.Expression) -> exp.Expression:
    """DATE_PART(EPOCH_SECOND) cuts a fraction off, as functions/date_part says: sqlglot rounds it."""
    if not isinstance(node, exp.Extract) or node.name.upper() not in ("EPOCH_SECOND", "EPOCH"):
        return node
    moment = node.expression.transform(whole_seconds)
    return exp.cast(exp.Floor(this=exp.func("EPOCH", moment)), "bigint")


_KINDS = {
    **{kind: kind for kind in ("OBJECT", "ARRAY", "VARCHAR", "BOOLEAN", "DOUBLE")},
    "NULL": "NULL_VALUE",
}


def kind_of_variant(node: exp.Expression) -> exp.Expression:
    """What TYPEOF says of a VARIANT: DuckDB says JSON."""
    if not isinstance(node, exp.Typeof):
        return node
    # what replaces a node is not looked through again
    value = node.this.transform(kind_of_variant)
    kind = exp.func("JSON_TYPE", exp.cast(value, "json"))
    case = exp.Case(this=kind, default=exp.Literal.string("INTEGER"))
    for name, said in _KINDS.items():
        case = case.when(exp.Literal.string(name), exp.Literal.string(said), copy=False)
    return exp.Case().when(exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null())), case)


def text_of_variant(node: exp.Expression) -> exp.Expression:
    """AS_VARCHAR: the text of a VARIANT that holds one."""
    if not isinstance(node, exp.Anonymous) or str(node.this).upper() != "AS_VARCHAR":
        return node
    return parse_one(f"({node.expressions[0].sql(dialect='duckdb')})::json->>'$'", read="duckdb")


def array_of_variant(node: exp.Expression) -> exp.Expression:
    """AS_ARRAY: the array in a VARIANT that holds one."""
    if not isinstance(node, exp.Anonymous) or str(node.this).upper() != "AS_ARRAY":
        return node
    value = node.expressions[0].transform(try_parse_json)
    return exp.Anonymous(this="json_extract", expressions=[value, exp.Literal.string("$[*]")])


def outer_flatten(join: exp.Join) -> None:
    """FLATTEN with OUTER keeps a row without members, which fakesnow drops."""
    flatten = join.this.this if isinstance(join.this, exp.Lateral) else None
    options = flatten.expressions if isinstance(flatten, exp.Explode) else ()
    if any(option.name == "outer" and option.expression.this is True for option in options):
        join.set("side", "LEFT")
        join.set("on", exp.true())


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


_trim_cast_varchar = transforms.trim_cast_varchar


def trim_spaces(node: exp.Expression) -> exp.Expression:
    """Trim what the statement names, and spaces where it names nothing: fakesnow leaves it to DuckDB, which
    trims all white space then.
    """
    found = _trim_cast_varchar(node)
    if isinstance(node, exp.Trim):
        found.set("position", node.args.get("position"))
        found.set("expression", node.expression or exp.Literal.string(" "))
    return found


_regex_substr = transforms.regex_substr


def regex_substr(node: exp.Expression) -> exp.Expression:
    """Leave the backslashes of a pattern in $$: fakesnow halves them as if it stood in single quotes."""
    if isinstance(node, exp.RegexpExtract) and isinstance(node.expression, exp.RawString):
        node.expression.set("this", node.expression.this.replace("\\", "\\\\"))
    return _regex_substr(node)


# A number beyond a double or of more than 38 digits, the character \u0000, and objects within objects. What a
# number stands behind is in the pattern: an id such as 01KD7E5447 is none.
ONLY_DUCKDB = (
    r"regexp_matches({text}, '(^|[:, \[])-?([0-9]+(\.[0-9]+)?[eE][+]?[0-9]{{3}}|[0-9]{{39}})|\\u0000') "
    "or length({text}) - length(replace({text}, '{{', '')) >= 500"
)


def try_parse_json(node: exp.Expression) -> exp.Expression:
    """Refuse JSON with a duplicate key, at any depth: TRY_PARSE_JSON gives null, PARSE_JSON fails.

    TRY_PARSE_JSON also gives null for what only DuckDB is known to take, the worst that it may do.

    PARSE_JSON: "Don't allow duplicate keys in JSON objects (strict). This value is the default."; 'd' allows
    them. DuckDB takes them.
    """
    if not isinstance(node, exp.ParseJSON) or (
        isinstance(node.this, exp.Literal) and not node.args.get("safe")
    ):
        return node
    text = node.this.sql(dialect="duckdb")
    parsed = f"cast({text} as json)"
    if node.args.get("safe"):
        parsed = f"case when not ({ONLY_DUCKDB.format(text=text)}) then try_cast({text} as json) end"
    if node.args.get("expression"):
        return parse_one(parsed, read="duckdb")
    once = f"select count(*) = count(distinct fullkey) from json_tree({parsed})"
    other = "" if node.args.get("safe") else " else cast(error('duplicate object attribute') as json)"
    return parse_one(f"case when ({once}) then {parsed}{other} end", read="duckdb")


# sqlglot leaves out the parameter of TRY_PARSE_JSON.
Snowflake.Parser.FUNCTIONS["TRY_PARSE_JSON"] = lambda args: exp.ParseJSON(
    this=seq_get(args, 0), expression=seq_get(args, 1), safe=True
)


_copy_into = copy_into.copy_into


def copy_lines(
    connection: Any, database: str, schema: str, expression: exp.Copy, table_stages: Any, params: Any = None
) -> str:
    """Copy lines as text, which fakesnow's reader of CSV splits, trims and renumbers.

    COPY INTO <table>: "blank lines produce an end-of-record error"; without replace_invalid_characters "the
    load operation produces an error when invalid UTF-8 character encoding is detected"; `skip_file`: "Skip a
    file when an error is found". A file that is damaged below its text fails the statement, the worst it may
    do. One that was loaded into the table before is skipped. The page writes the status in lower case.
    """
    options = {param.this.name.lower(): param for param in expression.args["params"]}
    kind = parse_options(options["file_format"].expressions)
    if str(kind.get("FIELD_DELIMITER", "")).upper() != "NONE":
        if "NULL_IF" not in kind:
            null_texts(expression)
        return _copy_into(connection, database, schema, expression, table_stages, params)
    target = expression.this.this
    source = expression.args["files"][0].this.args["from_"].this.this.this
    place = copy_into.stage_url_from_var(source[1:], connection, database, schema, table_stages, target)
    listed = [name.name for name in options["files"].find_all(exp.Literal)]
    table = f"{target.db}.{target.name}"
    results = []
    for name in listed:
        shown = f"{place}{name}" if place.startswith("s3://") else stage.internal_file_name(f"{place}{name}")
        inside = shown.split("/", 3)[3] if shown.startswith("s3://") else shown.partition("/")[2]
        ((there,),) = connection.execute(f"select count(*) from {table} where file = ?", [inside]).fetchall()
        if there:
            results.append((shown, "load_skipped", 0, 0, 1, 1, "File was loaded before.", None, None, None))
            continue
        try:
            lines = list(read_lines(f"{place}{name}", kind["COMPRESSION"]))
        except ValueError as error:
            results.append((shown, "load_failed", 1, 0, 1, 1, str(error), 1, 1, None))
            continue
        rows = pa.table({"line": pa.array(range(1, len(lines) + 1)), "text": pa.array(lines, pa.string())})
        connection.register("_lines", rows)
        connection.execute(
            f"insert into {table} (file, line, text) select ?, line, text from _lines", [inside]
        )
        connection.unregister("_lines")
        results.append((shown, "loaded", len(lines), len(lines), 1, 0, None, None, None, None))
        if options["purge"].expression.name.lower() == "true" and not place.startswith("s3://"):
            Path(f"{place}{name}").unlink()
    columns = ["file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen", "first_error"]
    columns += ["first_error_line", "first_error_character", "first_error_column_name"]
    return values(connection, columns, results)


def null_texts(expression: exp.Copy) -> None:
    """COPY INTO <table>, NULL_IF: by default the text \\N becomes null, of Parquet too."""
    for text in list(expression.args["files"][0].find_all(exp.Cast)):
        if text.to.this in exp.DataType.TEXT_TYPES:
            text.replace(exp.func("NULLIF", text.copy(), exp.Literal.string("\\N")))


def read_lines(url: str, compression: str) -> Iterator[str]:
    """The lines of a file; ValueError for what is no text, any other error for what is no such file."""
    data = read_object(url) if url.startswith("s3://") else Path(url).read_bytes()
    if compression == "gzip":
        data = gzip.decompress(data)
    elif compression == "zstd":
        data = _of_zstd(data)
    text = data.decode().removeprefix("\ufeff")
    for line in text.removesuffix("\n").split("\n") if text else ():
        if not line:
            raise ValueError("End of record reached while expected to parse column")
        yield line


def _of_zstd(data: bytes) -> bytes:
    """All frames of a file, as of gzip all members."""
    parts = []
    while data:
        decoder = zstandard.ZstdDecompressor().decompressobj()
        parts.append(decoder.decompress(data))
        if not decoder.eof:
            raise EOFError("the zstd frame has no end")
        data = decoder.unused_data
    return b"".join(parts)


def read_object(url: str) -> bytes:
    """An object on the S3 server that the environment of this process names."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()


def list_s3(self: FakeSnowflakeCursor, command: str) -> str:
    """LIST of an external stage as a query of what the S3 server lists; fakesnow lists folders only."""
    given = re.fullmatch(r"list '@([^/']+)/(.*)'", command, re.DOTALL)
    if not given:
        return command
    names = stage.parts_from_var(given[1], self._conn.database, self._conn.schema)
    find = (
        "select url from _fs_global._fs_information_schema._fs_stages "
        "where database_name = ? and schema_name = ? and name = ?"
    )
    found = self._duck_conn.execute(find, names).fetchone()
    url = found and found[0]
    if not url:
        raise ProgrammingError(msg=f"Stage '{given[1]}' does not exist or not authorized.", errno=2003)
    bucket, _, prefix = f"{url}{given[2]}".replace("''", "'").removeprefix("s3://").partition("/")
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    rows = [
        (f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"].strip('"'), str(item["LastModified"]))
        for page in pages
        for item in page.get("Contents", ())
    ]
    return values(self._duck_conn, ["name", "size", "md5", "last_modified"], rows)


def values(connection: Any, columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """A query that gives these rows."""
    listed = [
        ", ".join("null" if cell is None else exp.convert(cell).sql("duckdb") for cell in row) for row in rows
    ] or [", ".join(["null"] * len(columns))]
    names = ", ".join(f'"{name}"' for name in columns)
    query = f"select * from (values {', '.join(f'({row})' for row in listed)}) as t ({names})"
    query += "" if rows else " where false"
    connection.execute(query)
    return query


FakeSnowflakeCursor.of_unit_test = False  # type: ignore[attr-defined]
FakeSnowflakeCursor.of_dbt = False  # type: ignore[attr-defined]
FakeSnowflakeCursor.execute = execute  # type: ignore[method-assign]
FakeSnowflakeCursor._transform = transform  # type: ignore[method-assign]
cursor.copy_into = copy_lines
for _number, _route in enumerate(server.app.router.routes):
    if getattr(_route, "endpoint", None) is _login_request:
        server.app.router.routes[_number] = Route(_route.path, login_request, methods=["POST"])  # type: ignore[attr-defined]
transforms.trim_cast_varchar = trim_spaces
transforms.regex_substr = regex_substr
transforms.integer_precision = whole_numbers
transforms.numeric_agg_implicit_cast = whole_sums

emulated_speed.install()

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
