"""The landing tables of Snowflake, and the stage that batches pass through."""

from scripts.land.datasets import DATASETS
from scripts.land.forgotten import COLUMNS as FORGOTTEN_COLUMNS
from scripts.land.forgotten import TABLE as FORGOTTEN
from scripts.land.rules import Dataset
from scripts.land.snowflake.members import MEMBERS
from scripts.land.snowflake.session import Session, execute
from scripts.land.tables import API, API_TABLES, REMOVED_SINCE, TRACE, say_filling
from scripts.snowflake.names import literal

STAGE = "landing"
"""Internal stage of the staging schema that batches pass through; `copymart bootstrap` makes it too."""

# COPY INTO <table>, NULL_IF: by default the text \N becomes null, in Parquet too; a rejected line may be that
PARQUET = "file_format = (type = parquet null_if = ())"

# a line may be long: VARCHAR alone holds 16 MB, and 128 MB is the most that it can be declared with
LONG = "varchar(134217728)"
TYPES = {"json": LONG, "text": LONG, "timestamp": "timestamp_ntz"}
_REJECT = (
    ("_file", "varchar"),
    ("_line", "bigint"),
    ("raw", "text"),
    ("reason", "varchar"),
    ("_loaded_at", "timestamp"),
)
_LEDGER = (
    ("dataset", "varchar"),
    ("file", "varchar"),
    ("path_hour", "timestamp"),
    ("size_bytes", "bigint"),
    ("content_hash", "varchar"),
    ("row_count", "bigint"),
    ("reject_count", "bigint"),
    ("loaded_at", "timestamp"),
    ("batch_id", "varchar"),
    ("unknown_fields", "varchar"),
)
_BATCHES = (("batch_id", "varchar"), ("dataset", "varchar"), ("landed_at", "timestamp"))
_LOCK = (("dataset", "varchar"), ("batch_id", "varchar"))

Columns = tuple[tuple[str, str], ...]


def landing_tables() -> dict[str, Columns]:
    """Name and columns (name, DuckDB type) of each landing table; long text is `text` or `json`."""
    tables = {"landed_files": _LEDGER, "landed_batches": _BATCHES, "landing_lock": _LOCK}
    tables[FORGOTTEN] = tuple(FORGOTTEN_COLUMNS.items())
    for table, columns in API_TABLES.items():
        tables[table] = tuple(columns.items())
    for dataset in DATASETS:
        types = dataset.types()
        tables[dataset.name] = (*types.items(), *TRACE.items())
        tables[f"{dataset.name}_rejects"] = _REJECT
        tables[f"{dataset.name}_removed"] = (("batch_id", "varchar"), *dataset.removed().items())
    return tables


def ddl(schema: str) -> list[str]:
    """Statements that make the landing tables.

    Names are not quoted, as in dbt: Snowflake makes them upper case.
    """
    statements = []
    for table, columns in landing_tables().items():
        statements.append(f"create table if not exists {schema}.{table} ({_listed(columns)})")
    locked = [*(dataset.name for dataset in DATASETS), API]
    statements.append(
        f"insert into {schema}.landing_lock (dataset, batch_id) select column1, null "
        f"from values {', '.join(f'({literal(name)})' for name in locked)} "
        f"where column1 not in (select dataset from {schema}.landing_lock)"
    )
    return statements


def _listed(columns: Columns) -> str:
    return ", ".join(f"{column} {column_type(kind)}" for column, kind in columns)


def fill_query(schema: str, dataset: Dataset) -> str:
    """Statement that gives the rows of a table of an earlier version the columns read out of `data` today."""
    read = MEMBERS[dataset.name]
    columns = landing_tables()[dataset.name]
    values = ", ".join(f"{read[column]} as {column}" if column in read else column for column, _ in columns)
    # 'd' accepts duplicate keys, as DuckDB does
    return (
        f"create or replace table {schema}.{dataset.name} ({_listed(columns)}) copy grants as "
        f"select {values} "
        f"from (select *, try_parse_json(data, 'd') as d from {schema}.{dataset.name}) as landed"
    )


def column_type(kind: str) -> str:
    """Return Snowflake's type for a DuckDB type of a landing table."""
    return TYPES.get(kind, kind)


def make_tables(session: Session) -> None:
    """Create what is missing: Snowflake demands the right to create even if the object exists."""
    if not has_schema(session):
        execute(session, f"create schema if not exists {session.schema}")
    if not existing_tables(session) >= {table.upper() for table in landing_tables()}:
        for statement in ddl(session.schema):
            execute(session, statement)
    _fill_columns(session)
    # a row of SHOW begins with the time of creation, then the name
    stages = {row[1] for row in execute(session, f"show stages in schema {session.schema}")}
    if STAGE.upper() not in stages:
        execute(session, f"create stage if not exists {session.schema}.{STAGE}")


def _fill_columns(session: Session) -> None:
    query = "select table_name, column_name from information_schema.columns where table_schema = %s"
    there = {(table, column) for table, column in execute(session, query, (session.schema.upper(),))}
    for name, columns in REMOVED_SINCE.items():
        for column, kind in columns.items():
            if (f"{name}_REMOVED".upper(), column.upper()) not in there:
                added = f"add column {column} {column_type(kind)}"
                execute(session, f"alter table {session.schema}.{name}_removed {added}")
    for dataset in DATASETS:
        table = dataset.name.upper()
        missing = [column for column in dataset.types() if (table, column.upper()) not in there]
        if dataset.typed and missing:
            added = ", ".join(f"{column} {column_type(dataset.types()[column])}" for column in missing)
            execute(session, f"alter table {session.schema}.{dataset.name} add column {added}")
        if dataset.typed or not missing:
            continue
        ((count,),) = execute(session, f"select count(*) from {session.schema}.{dataset.name}")
        say_filling(dataset, int(count))
        execute(session, fill_query(session.schema, dataset))


def has_schema(session: Session) -> bool:
    """Whether this role sees the schema of the landing tables."""
    query = "select 1 from information_schema.schemata where schema_name = %s"
    return bool(execute(session, query, (session.schema.upper(),)))


def existing_tables(session: Session) -> set[str]:
    """Return the names of the tables in the schema of the landing tables, in upper case."""
    query = "select table_name from information_schema.tables where table_schema = %s"
    return {name for (name,) in execute(session, query, (session.schema.upper(),))}
