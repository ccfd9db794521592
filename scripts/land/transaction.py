"""The transactions of a landing: whole files with rows, rejects and ledger, or nothing of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from scripts.console import progress
from scripts.errors import UserError
from scripts.land import chunks as sizes
from scripts.land import straight
from scripts.land.arrow_tables import registered
from scripts.land.checks import check_query, raw_query, repeated_keys_query
from scripts.land.chunks import Chunk, Skipped
from scripts.land.engine import Engine, Stamp, new_stamp
from scripts.land.kept_rows import keep_same_rows
from scripts.land.outcome import Outcome
from scripts.land.plan import Plan
from scripts.land.records import first_line
from scripts.land.rules import MACROS, Dataset, name, quoted
from scripts.land.sources import Opened
from scripts.land.tables import removed_keys
from scripts.land.tails import divided
from scripts.land.typed import TYPED_MACROS, typed_query, typed_raw_query


def run(engine: Engine, plan: Plan, bounds: tuple[int, int], store: Any = None) -> Outcome:
    """Land the files of a plan; each is committed whole, together with its row in the ledger.

    Then the rows of removed files are deleted, unless a file was refused or held back, because it may hold
    the same rows.
    `bounds`: the bounds [earliest, latest) of a record's time, in unix seconds. `store`: the S3 client.
    """
    started = perf_counter()
    outcome = Outcome(plan.dataset)
    engine.connection.execute(MACROS + TYPED_MACROS)
    # a time with a zone within a map or struct becomes a text of the session's zone
    engine.connection.execute("set TimeZone = 'UTC'")
    with (
        straight.ready(engine.connection),
        progress(f"landing {plan.dataset.name}", len(plan.files)) as advance,
    ):
        _land_files(engine, plan, bounds, engine.chunks(plan, bounds, store), outcome, advance)
    if outcome.refused or outcome.copies:
        outcome.held_back = len(plan.removed)
    elif plan.removed:
        _remove(engine, plan)
        outcome.removed = len(plan.removed)
    outcome.seconds = perf_counter() - started
    return outcome


def _land_files(
    engine: Engine,
    plan: Plan,
    bounds: tuple[int, int],
    chunks: Iterator[Chunk | Skipped],
    outcome: Outcome,
    advance: Callable[[int], None],
) -> None:
    batch: Batch | None = None
    broken: set[str] = set()
    try:
        for item in chunks:
            if isinstance(item, Skipped):
                advance(1)
                if item.breaks_off and batch:
                    engine.connection.rollback()
                    batch = None
                _count_skipped(item, outcome)
                continue
            if broken & item.uris():
                # the rest of a large file that is refused already
                continue
            batch = batch or Batch(engine, plan, bounds)
            try:
                batch.add(item)
                if item.closes:
                    batch.insert_waiting()
            except duckdb.Error as error:
                if plan.table:
                    raise UserError(
                        f"{plan.table.root}: DuckDB cannot read it ({first_line(error)}): land a view with "
                        "other types"
                    ) from error
                if not _is_of_a_file(error, item):
                    raise
                engine.connection.rollback()
                batch = None
                broken |= _land_one_by_one(engine, plan, bounds, item, outcome, error)
                advance(len(item.files))
                continue
            if item.closes:
                batch.commit(outcome)
                advance(len(batch.files))
                batch = None
    except BaseException:
        # if the rollback fails too (disk full, say), it must not hide the first error
        with suppress(duckdb.Error):
            if batch:
                engine.connection.rollback()
        raise


def _count_skipped(item: Skipped, outcome: Outcome) -> None:
    if item.other_name:
        outcome.copies.append((item.file.uri, item.other_name))
    elif item.refusal:
        outcome.refused.append((item.file.uri, str(item.refusal)))
    else:
        outcome.unchanged += 1


def _is_of_a_file(error: duckdb.Error, chunk: Chunk) -> bool:
    """Whether an error may come from what a file holds: columns have types and values of many writers."""
    general = (
        duckdb.IOException,
        duckdb.OutOfMemoryException,
        duckdb.TransactionException,
        duckdb.FatalException,
    )
    return (
        not isinstance(error, (*general, duckdb.InterruptException)) and "raw" not in chunk.table.column_names
    )


def _land_one_by_one(
    engine: Engine, plan: Plan, bounds: tuple[int, int], chunk: Chunk, outcome: Outcome, error: duckdb.Error
) -> set[str]:
    """Land each file of a chunk that failed in a transaction of its own; return those that are refused."""
    broken = set()
    for number, opened in chunk.files.items():
        uri = opened.file.uri
        if len(chunk.files) > 1:
            table = chunk.table.filter(pc.equal(chunk.table["file_no"], number))
            unknown = {uri: chunk.unknown[uri]} if uri in chunk.unknown else {}
            batch = Batch(engine, plan, bounds)
            try:
                batch.add(Chunk(table, {number: opened}, True, unknown))
                batch.insert_waiting()
                batch.commit(outcome)
                continue
            except duckdb.Error as other:
                if not _is_of_a_file(other, chunk):
                    raise
                engine.connection.rollback()
                error = other
        broken.add(uri)
        plan.keep(uri)
        outcome.refused.append(
            (uri, f"DuckDB cannot read it ({first_line(error)}): write it with other types")
        )
    return broken


def _begin(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> Stamp:
    """Begin a transaction that leaves a row in landed_batches if it is committed."""
    stamp = new_stamp()
    connection.begin()
    connection.execute(
        "insert into staging.landed_batches values (?, ?, ?)", [stamp.batch_id, dataset.name, stamp.landed_at]
    )
    return stamp


class Batch:
    """One transaction: some files whole, with their rows in the ledger."""

    def __init__(self, engine: Engine, plan: Plan, bounds: tuple[int, int]) -> None:
        self.engine, self.connection, self.plan, self.bounds = engine, engine.connection, plan, bounds
        self.files: dict[str, Opened] = {}
        self.counts: dict[str, Counter[str | None]] = {}
        self.unknown: dict[str, set[str]] = {}
        # parts that are checked, and bytes of those that wait for the INSERT
        self.part = self.waiting = 0
        # replaced parts of which rows that are there again stay as they are
        self.compared: list[str] = []
        self.lines = straight.Lines()
        self.checked = "checked_columns" if plan.dataset.typed else "checked"
        self.stamp = _begin(self.connection, plan.dataset)

    def add(self, chunk: Chunk) -> None:
        """Check the records of a chunk and insert them."""
        uris = {number: opened.file.uri for number, opened in chunk.files.items()}
        fresh = [uri for uri in uris.values() if uri not in self.files]
        self.files |= {opened.file.uri: opened for opened in chunk.files.values()}
        replaced = [uri for uri in fresh if uri in self.plan.known]
        if self.plan.keeps_rows:
            _delete_beside(self.connection, self.plan.dataset, replaced)
            self.compared += replaced
        else:
            _delete(self.connection, self.plan.dataset, replaced, self.stamp)
        for uri, names in chunk.unknown.items():
            self.unknown.setdefault(uri, set()).update(names)
        for uri, counts in chunk.copied.items():
            self.counts.setdefault(uri, Counter()).update(counts)
        if chunk.copied and not len(chunk.table):
            # Snowflake has checked all of it
            return
        table = divided(self.connection, self.plan.dataset, chunk.table, self.bounds) or chunk.table
        if straight.can_insert(self.plan.dataset, table.schema):
            if self.lines.tables and not self.lines.tables[0].schema.equals(table.schema, True):
                self._insert_lines()
            self.lines.add(table, uris)
            if self.lines.size >= sizes.TRANSACTION_BYTES:
                self._insert_lines()
            return
        self._check_first(table, uris)

    def _check_first(self, table: pa.Table, uris: dict[int, str]) -> None:
        """Check records in a temporary table, from which they are inserted."""
        with registered(self.connection, chunk=table):
            self._check(table.schema, uris)
            if self.plan.dataset.typed:
                self._insert()
        if not self.plan.dataset.typed:
            self.waiting += max(table.nbytes, 1)
        # what is checked lies in memory a second time
        if self.waiting >= sizes.TRANSACTION_BYTES // 2:
            self._insert()

    def insert_waiting(self) -> None:
        """Insert all that was added."""
        if self.lines.tables:
            self._insert_lines()
        if self.waiting:
            self._insert()

    def _insert_lines(self) -> None:
        """Insert the lines that wait."""
        lines, self.lines = self.lines, straight.Lines()
        landed = straight.insert(self.connection, self.plan.dataset, lines, self.bounds, self.stamp)
        for uri, counts in landed.counts.items():
            self.counts.setdefault(uri, Counter()).update(counts)
        for uri, names in landed.unknown.items():
            self.unknown.setdefault(uri, set()).update(names)
        if landed.left is not None:
            self._check_first(landed.left, lines.files)

    def _check(self, schema: pa.Schema, uris: dict[int, str]) -> None:
        """Add the records of the table `chunk` to what is checked, as one more part of it, and note its
        rejects. Typed columns are checked by a view of `chunk`.
        """
        execute, dataset = self.connection.execute, self.plan.dataset
        earliest, latest = self.bounds
        self.part += 1
        numbers = pa.array(uris.keys(), pa.int32())
        parts = pa.repeat(pa.scalar(self.part, pa.int32()), len(uris))
        names = pa.table({"part": parts, "file_no": numbers, "file": list(uris.values())})
        with registered(self.connection, names=names):
            self._keep("files", "from names")
        if dataset.typed:
            # two casts of a column take less time than a copy of the records
            query = typed_query(dataset, schema, earliest, latest)
            execute(
                f"create or replace temp view checked_columns as select {self.part} as part, * from ({query})"
            )
        else:
            checked = f"select {self.part} as part, * from ({check_query(dataset, schema)})"
            bounds = {"earliest": earliest, "latest": latest} if "$earliest" in checked else {}
            self._keep("checked", checked, bounds)
        if dataset.maps:
            self._reject_repeated_keys(dataset)
        mine = f"{self.checked} join files using (part, file_no) where part = {self.part}"
        counts = execute(f"select file, _reason, count(*) from {mine} group by all").fetchall()
        for uri, reason, count in counts:
            self.counts.setdefault(uri, Counter())[reason] += count
        if any(reason for _, reason, _ in counts):
            raw = typed_raw_query(schema) if dataset.typed else raw_query(dataset, schema)
            execute(
                f"insert into staging.{dataset.name}_rejects select file, line, raw, _reason, $landed_at "
                f"from ({raw}) join (select file_no, line, file, _reason from {mine}) "
                "using (file_no, line) where _reason is not null",
                {"landed_at": self.stamp.landed_at},
            )
        self._note_unknown_fields(dataset)

    def _keep(self, table: str, query: str, parameters: dict[str, int] | None = None) -> None:
        """Add rows to a temporary table, which the first ones of an INSERT make."""
        into = f"insert into {table}" if self.waiting else f"create or replace temp table {table} as"
        self.connection.execute(f"{into} {query}", parameters or {})

    def _insert(self) -> None:
        """Insert what is checked and good."""
        columns = ", ".join(name(column) for column, _, _ in self.plan.dataset.table)
        self.connection.execute(
            f"insert into staging.{self.plan.dataset.name} ({columns}, _file, _line, _loaded_at, _batch_id) "
            f"select {columns}, file, line, $landed_at, $batch_id "
            f"from {self.checked} join files using (part, file_no) where _reason is null",
            {"landed_at": self.stamp.landed_at, "batch_id": self.stamp.batch_id},
        )
        self.waiting = 0

    def _reject_repeated_keys(self, dataset: Dataset) -> None:
        execute = self.connection.execute
        execute(f"create or replace temp table repeated_keys as {repeated_keys_query(dataset, self.part)}")
        found = execute("select distinct field from repeated_keys").fetchall()
        for column in dataset.maps:
            if (column,) in found:
                execute(
                    f"update checked set _reason = 'duplicate_key_in_{column}' "
                    f"where part = {self.part} and _reason is null "
                    f"and {name(column)} in (select value from repeated_keys where field = '{column}')"
                )

    def _note_unknown_fields(self, dataset: Dataset) -> None:
        query = f"""
            select distinct file, unnest(keys) as key
            from (
                select distinct part, file_no, keys from {self.checked}
                where part = {self.part} and keys is not null
            )
            join files using (part, file_no)"""
        fields = ", ".join(quoted(column) for column in dataset.columns.fields)
        for file, key in self.connection.execute(f"from ({query}) where key not in ({fields})").fetchall():
            self.unknown.setdefault(file, set()).add(key)

    def commit(self, outcome: Outcome) -> None:
        """Write the ledger, end the transaction, and only then count its files in `outcome`."""
        self.insert_waiting()
        if self.compared:
            keep_same_rows(self.connection, self.plan.dataset, self.compared, self.stamp)
        rows = [(uri, opened, self.counts.get(uri, Counter())) for uri, opened in self.files.items()]
        ledger = pa.table(
            {
                "dataset": pa.array([self.plan.dataset.name] * len(rows), pa.string()),
                "file": pa.array([uri for uri, _, _ in rows], pa.string()),
                "path_hour": pa.array([opened.file.path_hour for _, opened, _ in rows], pa.timestamp("us")),
                "size_bytes": pa.array([opened.file.size for _, opened, _ in rows], pa.int64()),
                "content_hash": pa.array([opened.digest for _, opened, _ in rows], pa.string()),
                "row_count": pa.array([counts[None] for _, _, counts in rows], pa.int64()),
                "reject_count": pa.array(
                    [counts.total() - counts[None] for _, _, counts in rows], pa.int64()
                ),
                "loaded_at": pa.array([self.stamp.landed_at] * len(rows), pa.timestamp("us")),
                "batch_id": pa.array([self.stamp.batch_id] * len(rows), pa.string()),
                "unknown_fields": pa.array(
                    [
                        ",".join(sorted(names)) if (names := self.unknown.get(uri)) else None
                        for uri in self.files
                    ],
                    pa.string(),
                ),
            }
        )
        self.connection.register("ledger", ledger)
        self.connection.execute("insert into staging.landed_files by name from ledger")
        self.connection.unregister("ledger")
        outcome.forgotten += _end(self.engine, self.plan, self.stamp, self.files)

        outcome.files += len(rows)
        outcome.landed += self.files
        outcome.replaced += sum(uri in self.plan.known for uri in self.files)
        for _, _, counts in rows:
            outcome.rows += counts[None]
            outcome.rejected.update({reason: count for reason, count in counts.items() if reason})
        outcome.unknown |= self.unknown


def _end(engine: Engine, plan: Plan, stamp: Stamp, files: Iterable[str]) -> int:
    known = {file: plan.known.get(file) for file in files}
    before = {file: entry.digest if entry else None for file, entry in known.items()}
    return engine.commit(plan.dataset, stamp, before)


def _delete(connection: duckdb.DuckDBPyConnection, dataset: Dataset, uris: list[str], stamp: Stamp) -> None:
    """Delete the rows of files. Their keys stay, because models use them to find what to recompute."""
    if not uris:
        return
    connection.register("gone", pa.table({"file": pa.array(uris, pa.string())}))
    connection.execute(
        f"insert into staging.{dataset.name}_removed by name select distinct $batch_id as batch_id, "
        f"{removed_keys(dataset, 'staging')} where landed._file in (from gone)",
        {"batch_id": stamp.batch_id},
    )
    connection.execute(f"delete from staging.{dataset.name} where _file in (from gone)")
    connection.unregister("gone")
    _delete_beside(connection, dataset, uris)


def _delete_beside(connection: duckdb.DuckDBPyConnection, dataset: Dataset, uris: list[str]) -> None:
    """Delete the rejects of files and their rows in the ledger."""
    connection.register("gone", pa.table({"file": pa.array(uris, pa.string())}))
    connection.execute(f"delete from staging.{dataset.name}_rejects where _file in (from gone)")
    connection.execute(
        "delete from staging.landed_files where dataset = ? and file in (from gone)", [dataset.name]
    )
    connection.unregister("gone")


def _remove(engine: Engine, plan: Plan) -> None:
    stamp = _begin(engine.connection, plan.dataset)
    _delete(engine.connection, plan.dataset, plan.removed, stamp)
    _end(engine, plan, stamp, plan.removed)
