"""The transaction of a batch on Snowflake.

What this machine checked is PUT as Parquet and loaded by COPY INTO the landing tables, together with the
plain lines that Snowflake has copied itself. All of a batch, ledger included, is one transaction.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
from snowflake.connector.errors import Error, ProgrammingError

from scripts.errors import UserError
from scripts.land import forgetting
from scripts.land.engine import Move, Stamp
from scripts.land.rules import Dataset
from scripts.land.snowflake.session import PlainLines, Session, execute, pieces
from scripts.land.snowflake.tables import PARQUET, STAGE, TYPES, column_type, landing_tables
from scripts.land.tables import removed_keys
from scripts.snowflake.names import literal
from scripts.staging import staging_folder

PART_BYTES = 128 * 2**20
"""Size of one staged file; Snowflake advises 100 to 250 MB compressed."""


# How long another session's commit may take to be seen here, and how often this one looks.
_VISIBLE_SECONDS = 60
_PAUSE_SECONDS = 0.5


def publish(
    session: Session,
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    stamp: Stamp,
    before: dict[str, str | None],
) -> int:
    """Load what the open transaction of `connection` holds, in one transaction of Snowflake.

    `before` maps each file of the batch to its content by the ledger, None for a new file; the rows that a
    known file had before are deleted. Returns how many rows and rejects are of forgotten people.

    Raises:
        UserError: another landing has landed one of the files meanwhile, or Snowflake loaded other counts.
    """
    with staging_folder() as folder:
        staged = _stage(session, connection, dataset, stamp, folder)
    with transaction(session, dataset.name, stamp):
        _check_ledger(session, dataset, before)
        replaced = [file for file, digest in before.items() if digest is not None]
        kept = _checked_of(session, dataset)
        for some in pieces(replaced):
            _delete(session, dataset, some, stamp, kept)
        for table, count in staged.items():
            _copy(session, table, count, stamp)
        _insert_plain(
            session, dataset, stamp, {file: session.plain[file] for file in before if file in session.plain}
        )
        return forgetting.apply(on_snowflake(session), dataset.name, stamp)


def on_snowflake(session: Session) -> forgetting.Place:
    """The landing tables of a session, for pseudonyms."""

    def run(statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        return execute(session, statement, parameters or None)

    return forgetting.Place(run, session.schema, is_snowflake=True)


def rename_files(session: Session, dataset: Dataset, stamp: Stamp, moves: list[Move]) -> None:
    """Give landed files other names, in one transaction; their rows then belong to this batch.

    Raises:
        UserError: another landing has landed a file of a new name meanwhile.
    """
    table, files = f"{session.schema}.{dataset.name}", f"{session.schema}.landed_files"
    with transaction(session, dataset.name, stamp):
        _check_ledger(session, dataset, {new: None for _, new, _ in moves})
        for some in pieces(moves):
            _note_removed(session, dataset, json.dumps([old for old, _, _ in some]), stamp)
            listed = json.dumps(
                [
                    {"old": old, "new": new, "hour": hour and hour.isoformat(sep=" ")}
                    for old, new, hour in some
                ]
            )
            execute(
                session,
                f"update {table} set _file = new_name, _batch_id = %s, _loaded_at = to_timestamp_ntz(%s) "
                f"from {_MOVES} where _file = old_name",
                (stamp.batch_id, stamp.landed_at.isoformat(sep=" "), listed),
            )
            execute(
                session,
                f"update {table}_rejects set _file = new_name from {_MOVES} where _file = old_name",
                (listed,),
            )
            execute(
                session,
                f"update {files} set file = new_name, path_hour = new_hour, batch_id = %s "
                f"from {_MOVES} where file = old_name and dataset = %s",
                (stamp.batch_id, listed, dataset.name),
            )


def change_hashes(session: Session, dataset: Dataset, stamp: Stamp, hashes: dict[str, str]) -> None:
    """Change the hashes of landed parts in the ledger, in one transaction; the batch holds nothing."""
    with transaction(session, dataset.name, stamp):
        for some in pieces(list(hashes.items())):
            listed = json.dumps([{"part": part, "hash": found} for part, found in some])
            execute(
                session,
                f"update {session.schema}.landed_files set content_hash = hash from "
                "(select value:part::varchar as part, value:hash::varchar as hash "
                "from table(flatten(input => parse_json(%s)))) as hashes where file = part and dataset = %s",
                (listed, dataset.name),
            )


@contextmanager
def transaction(session: Session, dataset: str, stamp: Stamp) -> Iterator[None]:
    """One transaction of a landing, after those of other landings of the dataset; it is a batch."""
    execute(session, "begin")
    try:
        _lock(session, dataset, stamp)
        execute(
            session,
            f"insert into {session.schema}.landed_batches (batch_id, dataset, landed_at) "
            "select %s, %s, to_timestamp_ntz(%s)",
            (stamp.batch_id, dataset, stamp.landed_at.isoformat(sep=" ")),
        )
        yield
        execute(session, "commit")
    except BaseException:
        # a lost session has rolled back; its error must not hide the first one
        with suppress(Error):
            execute(session, "rollback")
        raise


def _lock(session: Session, dataset: str, stamp: Stamp) -> None:
    """Wait for other landings of the dataset, and then until what the last of them committed can be read.

    On Snowflake, inserts alone never wait for each other, and a session may not see at once what another has
    just committed. So the row of the lock says whose batch came before.

    Raises:
        UserError: another landing holds the lock, or its batch does not appear.
    """
    lock = f"{session.schema}.landing_lock"
    try:
        execute(
            session,
            f"update {lock} set batch_id = %s || split_part(coalesce(batch_id, ''), ' ', 1) "
            "where dataset = %s",
            (f"{stamp.batch_id} ", dataset),
        )
    except ProgrammingError as error:
        raise UserError(
            f"another landing of {dataset} may hold its lock, {lock}: {error.msg}. Run it again "
            "when that is done; Snowflake frees the lock of a landing that has been idle for five minutes"
        ) from error
    ((held,),) = execute(session, f"select batch_id from {lock} where dataset = %s", (dataset,))
    before = str(held).partition(" ")[2]
    until = time.monotonic() + _VISIBLE_SECONDS
    seen = f"select count(*) from {session.schema}.landed_batches where batch_id = %s"
    while before and not execute(session, seen, (before,))[0][0]:
        if time.monotonic() > until:
            raise UserError(
                f"the landing of {dataset} that ended before this one, batch {before}, is not seen "
                f"after {_VISIBLE_SECONDS} seconds: run the command again"
            )
        time.sleep(_PAUSE_SECONDS)


def _stage(
    session: Session,
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    stamp: Stamp,
    folder: Path,
) -> dict[str, int]:
    """PUT the batch's rows, rejects and ledger as Parquet; return the rows of each table that has any."""
    counts = {}
    for table in (dataset.name, f"{dataset.name}_rejects", "landed_files"):
        columns = ", ".join(
            # times as text, because readers interpret Parquet's logical types differently
            f'cast("{column}" as {"varchar" if kind in TYPES else kind}) as "{column}"'
            for column, kind in landing_tables()[table]
        )
        mine = f" where batch_id = {literal(stamp.batch_id)}" if table == "landed_files" else ""
        ((count,),) = connection.execute(f"select count(*) from staging.{table}{mine}").fetchall()
        if not count:
            continue
        counts[table] = count
        place = folder / table
        connection.execute(
            f"copy (select {columns} from staging.{table}{mine}) to {literal(str(place))} "
            f"(format parquet, compression snappy, file_size_bytes {PART_BYTES})"
        )
        for path in sorted(place.glob("*.parquet") if place.is_dir() else [place]):
            file = literal(f"file://{path.as_posix()}")
            execute(session, f"put {file} {_place(session, table, stamp)} auto_compress = false")
    return counts


def _place(session: Session, table: str, stamp: Stamp) -> str:
    # a folder per batch: load history would skip a file whose name it knows
    return f"@{session.schema}.{STAGE}/{stamp.batch_id}/{table}/"


def _check_ledger(session: Session, dataset: Dataset, before: dict[str, str | None]) -> None:
    """Stop where another landing has landed one of the files meanwhile."""
    for some in pieces(list(before)):
        found = dict(
            execute(
                session,
                f"select file, coalesce(content_hash, '') from {session.schema}.landed_files "
                f"where dataset = %s and file in ({_FILES})",
                (dataset.name, json.dumps(some)),
            )
        )
        changed = [file for file in some if found.get(file) != before[file]]
        if changed:
            raise UserError(
                f"{changed[0]} was landed by another process meanwhile ({len(changed)} such file(s)); "
                "what this run landed before is complete: run the command again when the other is done"
            )


_FILES = "select value::varchar from table(flatten(input => parse_json(%s)))"
_MOVES = (
    "(select value:old::varchar as old_name, value:new::varchar as new_name, "
    "to_timestamp_ntz(value:hour::varchar) as new_hour from table(flatten(input => parse_json(%s)))) as moves"
)


def _checked_of(session: Session, dataset: Dataset) -> str | None:
    """The temporary table of parts of a table of the sync, whose rows that are there again stay."""
    tables = {part.table for uri, part in session.plain.items() if dataset.typed and part.name == uri}
    return next(iter(tables), None)


def _delete(
    session: Session, dataset: Dataset, files: list[str], stamp: Stamp, kept: str | None = None
) -> None:
    """Delete what files brought, but for rows that are in `kept` too."""
    schema = session.schema
    listed = json.dumps(files)
    is_gone = f" and (_file, _line) not in (select file, line from {kept} where plain)" if kept else ""
    _note_removed(session, dataset, listed, stamp, is_gone)
    execute(session, f"delete from {schema}.{dataset.name} where _file in ({_FILES}){is_gone}", (listed,))
    execute(session, f"delete from {schema}.{dataset.name}_rejects where _file in ({_FILES})", (listed,))
    execute(
        session,
        f"delete from {schema}.landed_files where dataset = %s and file in ({_FILES})",
        (dataset.name, listed),
    )


def _note_removed(session: Session, dataset: Dataset, files: str, stamp: Stamp, is_gone: str = "") -> None:
    """Keep the keys of the rows of files (a JSON list): models find by them what to recompute."""
    table = f"{session.schema}.{dataset.name}"
    execute(
        session,
        f"insert into {table}_removed (batch_id, {', '.join(dataset.removed())}) select distinct %s, "
        f"{removed_keys(dataset, session.schema)} where landed._file in ({_FILES}){is_gone}",
        (stamp.batch_id, files),
    )


def _insert_plain(session: Session, dataset: Dataset, stamp: Stamp, plain: dict[str, PlainLines]) -> None:
    """Insert the plain lines of files, or the rows and rejects of parts of a table."""
    if plain and all(file.name == uri for uri, file in plain.items()):
        _insert_parts(session, dataset, stamp, list(plain.values()))
        return
    expected = sum(file.rows for file in plain.values())
    if not expected:
        return
    columns = ", ".join(column for column, _, _ in dataset.table)
    (table,) = {file.table for file in plain.values()}
    files = json.dumps([{"name": file.name, "uri": uri} for uri, file in plain.items()])
    result = execute(
        session,
        f"insert into {session.schema}.{dataset.name} ({columns}, _file, _line, _loaded_at, _batch_id) "
        f"select {columns}, files.uri, line, to_timestamp_ntz(%s), %s from {table} inner join "
        "(select value:name::varchar as name, value:uri::varchar as uri "
        "from table(flatten(input => parse_json(%s)))) as files on file = files.name where plain",
        (stamp.landed_at.isoformat(sep=" "), stamp.batch_id, files),
    )
    if int(result[0][0]) != expected:
        raise UserError(
            f"Snowflake inserted {result[0][0]} of {expected} plain lines into "
            f"{session.schema}.{dataset.name}; the batch was undone: run the command again"
        )


def _insert_parts(session: Session, dataset: Dataset, stamp: Stamp, parts: list[PlainLines]) -> None:
    """Insert what Snowflake checked of parts of a table, which are all of a temporary table."""
    (table,) = {part.table for part in parts}
    columns = ", ".join(column for column, _, _ in dataset.table)
    target, landed_at = f"{session.schema}.{dataset.name}", stamp.landed_at.isoformat(sep=" ")
    rows = sum(part.rows for part in parts)
    is_new = ""
    if dataset.typed:
        of_parts = f"select _file, _line from {target} where _file in (select distinct file from {table})"
        ((kept,),) = execute(session, f"select count(*) from ({of_parts}) as kept")
        rows -= int(kept)
        is_new = f" and (file, line) not in ({of_parts})"
    for expected, statement, parameters in (
        (
            rows,
            f"insert into {target} ({columns}, _file, _line, _loaded_at, _batch_id) "
            f"select {columns}, file, line, to_timestamp_ntz(%s), %s from {table} where plain{is_new}",
            (landed_at, stamp.batch_id),
        ),
        (
            sum(part.rejects for part in parts),
            f"insert into {target}_rejects (_file, _line, raw, reason, _loaded_at) "
            f"select file, line, raw, reason, to_timestamp_ntz(%s) from {table} where not plain",
            (landed_at,),
        ),
    ):
        if expected and int(execute(session, statement, parameters)[0][0]) != expected:
            raise UserError(
                f"Snowflake inserted another number of rows into {target} than the {expected} it checked; "
                "the batch was undone: run the command again"
            )


def _copy(session: Session, table: str, count: int, stamp: Stamp) -> None:
    columns = landing_tables()[table]
    names = ", ".join(column for column, _ in columns)
    values = ", ".join(f"$1:{column}::{column_type(kind)}" for column, kind in columns)
    loaded = execute(
        session,
        f"copy into {session.schema}.{table} ({names}) from (select {values} "
        f"from {_place(session, table, stamp)}) {PARQUET} purge = true",
    )
    # a row per file: name, status, rows parsed, rows loaded; one row of text if there was no file
    rows = sum(int(row[3]) for row in loaded if len(row) > 3)
    if rows != count:
        raise UserError(
            f"Snowflake loaded {rows} of {count} rows into {session.schema}.{table}; the batch was undone: "
            "run the command again"
        )
