"""COPY INTO an external stage, as an emulated Snowflake does it: the query in its DuckDB, the files to S3.

Rules and names are those of docs.snowflake.com/en/sql-reference/sql/copy-into-location, quoted where one is
refused. The S3 server is the environment's AWS_ENDPOINT_URL. It writes Parquet only, and it was never
compared with an account.
"""

import io
import uuid
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as parquet
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

_PARTITIONED = "The following copy option values are not supported in combination with PARTITION BY"
_REFUSED = {"OVERWRITE": True, "SINGLE": True, "INCLUDE_QUERY_ID": False}
_COMPRESSION = {"AUTO": "snappy", "LZO": "snappy", "SNAPPY": "snappy", "NONE": "none"}
_LARGEST_FILE = 5_368_709_120


def is_unload(expression: exp.Expression) -> bool:
    """Tell whether it is a COPY INTO a stage."""
    return isinstance(expression, exp.Copy) and expression.this.name.startswith("@")


def unload(cursor: Any, copy: exp.Copy) -> str:
    """Write the files, and return the query, in Snowflake's SQL, of what COPY answers."""
    options = {param.name.upper(): param for param in copy.args["params"]}
    partition_by = options.pop("PARTITION BY", None)
    given = {name: param.expression.this for name, param in options.items() if param.args.get("expression")}
    _require_allowed(bool(partition_by), given)
    format = {
        each.name.upper(): each.args["value"].name.upper() for each in options["FILE_FORMAT"].expressions
    }
    if format["TYPE"] != "PARQUET" or format.get("COMPRESSION", "AUTO") not in _COMPRESSION:
        _refuse(f"{format}: COMPRESSION = AUTO | LZO | SNAPPY | NONE")
    (source,) = copy.args["files"]
    table, places = _rows(cursor, source.this, partition_by and partition_by.expression)
    names = (
        table.schema.names if given.get("HEADER") else [f"col{n}" for n in range(1, table.num_columns + 1)]
    )
    table = _as_unloaded(source.this, table).rename_columns(names)
    query_id = str(uuid.uuid4())
    with_id = f"{query_id}_" if partition_by or given.get("INCLUDE_QUERY_ID") else ""
    bucket, prefix = _place(cursor, copy.this.name)
    answers = []
    for number, place in enumerate(sorted(set(places))):
        rows = table.filter(pa.array([each == place for each in places]))
        pieces = _pieces(rows, format.get("COMPRESSION", "AUTO"), int(given.get("MAX_FILE_SIZE", 16_777_216)))
        for piece, (body, count) in enumerate(pieces):
            ending = "parquet" if format.get("COMPRESSION") == "NONE" else "snappy.parquet"
            name = f"{place}/data_{with_id}006_{number}_{piece}.{ending}".lstrip("/")
            boto3.client("s3").put_object(Bucket=bucket, Key=prefix + name, Body=body)
            answers.append((name, len(body), count))
    return _answer(answers, bool(given.get("DETAILED_OUTPUT")))


def _refuse(what: str) -> None:
    raise ProgrammingError(msg=f"SQL compilation error: {what}", errno=1, sqlstate="42000")


def _require_allowed(partitioned: bool, given: dict[str, Any]) -> None:
    for option, value in _REFUSED.items():
        if partitioned and given.get(option) is value:
            _refuse(f"{_PARTITIONED}: {option} = {value}")
        if option != "INCLUDE_QUERY_ID" and given.get(option) and given.get("INCLUDE_QUERY_ID"):
            _refuse(f"INCLUDE_QUERY_ID = TRUE is not supported when {option} = TRUE")
    if int(given.get("MAX_FILE_SIZE", 1)) > _LARGEST_FILE:
        _refuse("MAX_FILE_SIZE: Maximum: 5368709120 (5 GB)")


def _rows(cursor: Any, query: exp.Expression, partition: exp.Expression | None) -> tuple[pa.Table, list[str]]:
    """The rows of the query, and the folder of each: PARTITION BY sees what the query gives and no more."""
    place = partition.sql(dialect="snowflake") if partition else "''"
    whole = exp.maybe_parse(
        f'select unloaded.*, {place} as "_place" from ({query.sql(dialect="snowflake")}) as unloaded',
        dialect="snowflake",
    )
    sql = cursor._transform(whole, None).sql(dialect="duckdb")
    table = cursor._duck_conn.execute(sql).to_arrow_table()
    places = ["__NULL__" if each is None else each for each in table.column("_place").to_pylist()]
    return table.drop_columns(["_place"]), places


def _as_unloaded(query: exp.Expression, table: pa.Table) -> pa.Table:
    """Give columns the types of Snowflake's files: a number that is not cast is a DECIMAL, times have
    milliseconds."""
    columns = []
    for column, expression in zip(table.columns, query.expressions, strict=True):
        inner = expression.unalias()
        cast = inner.to.this if isinstance(inner, exp.Cast) else None
        if cast == exp.DataType.Type.VARCHAR and not inner.to.expressions:
            # data types: VARCHAR without length is 16 MB, and what is longer is cut or refused here
            _refuse("a VARCHAR without length holds 16 MB")
        if pa.types.is_timestamp(column.type):
            if column.type.tz:
                _refuse("Unloading TIMESTAMP_TZ or TIMESTAMP_LTZ data produces an error")
            column = column.cast(pa.timestamp("ms"))
        elif pa.types.is_integer(column.type) and cast != exp.DataType.Type.BIGINT:
            column = column.cast(pa.decimal128(38, 0))
        columns.append(column)
    return pa.table(columns, names=[str(number) for number in range(len(columns))])


def _pieces(table: pa.Table, compression: str, largest: int) -> list[tuple[bytes, int]]:
    """Parquet files of about equal rows, none larger than `largest` by the size of one."""
    whole = _parquet(table, compression)
    count = min(-(-len(whole) // largest), table.num_rows)
    if count <= 1:
        return [(whole, table.num_rows)]
    step = -(-table.num_rows // count)
    slices = [table.slice(start, step) for start in range(0, table.num_rows, step)]
    return [(_parquet(each, compression), each.num_rows) for each in slices]


def _parquet(table: pa.Table, compression: str) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression=_COMPRESSION[compression])
    return buffer.getvalue()


def _place(cursor: Any, address: str) -> tuple[str, str]:
    """Bucket and prefix of `@"DATABASE"."SCHEMA"."STAGE"/path/`."""
    stage, _, path = address.removeprefix("@").partition("/")
    database, schema, name = (part.strip('"') for part in stage.split("."))
    found = cursor._duck_conn.execute(
        "select url from _fs_global._fs_information_schema._fs_stages "
        "where database_name = ? and schema_name = ? and name = ?",
        [database, schema, name],
    ).fetchone()
    if not found:
        _refuse(f"Stage '{stage}' does not exist or not authorized.")
    bucket, _, prefix = found[0].removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/{path}".lstrip("/")


def _answer(files: list[tuple[str, int, int]], detailed: bool) -> str:
    if not detailed:
        rows, size = sum(file[2] for file in files), sum(file[1] for file in files)
        return f'select {rows} as "rows_unloaded", {size} as "input_bytes", {size} as "output_bytes"'
    selects = [
        f'select \'{name}\' as "FILE_NAME", {size} as "FILE_SIZE", {rows} as "ROW_COUNT"'
        for name, size, rows in files
    ]
    none = 'select \'\' as "FILE_NAME", 0 as "FILE_SIZE", 0 as "ROW_COUNT" where false'
    return " union all ".join(selects) or none
