"""Arrow tables that SQL reads by a name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa


class _Holder:
    """Hands out a table as long as it has one: what DuckDB registers is this object, and not the table."""

    def __init__(self, table: pa.Table) -> None:
        self.table: pa.Table | None = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        assert self.table is not None
        return self.table.__arrow_c_stream__(requested_schema)


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Let SQL read each table by its name, within the block.

    Until a transaction ends, DuckDB 2.0 keeps all that was registered in it, also what was unregistered
    since. One file is one transaction, so the pieces of a file of 10 million calls held 3 GB, which no limit
    of memory bounds.
    """
    holders = {name: _Holder(table) for name, table in tables.items()}
    for name, holder in holders.items():
        connection.register(name, holder)
    try:
        yield
        # not after an error, which may have ended the transaction that knows the names
        for name in holders:
            connection.unregister(name)
    finally:
        for holder in holders.values():
            holder.table = None
