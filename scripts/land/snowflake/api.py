"""Landing what an API returned on Snowflake: rows pass through the internal stage."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scripts.land.engine import Stamp
from scripts.land.snowflake.session import Session, execute, open_session
from scripts.land.snowflake.tables import LONG, PARQUET, STAGE, make_tables
from scripts.land.snowflake.transaction import transaction
from scripts.land.tables import API
from scripts.snowflake.names import literal
from scripts.staging import staging_folder
from scripts.warehouse import connect_snowflake, credentials

_PARAMETERS = {"LOCK_TIMEOUT": 1_800}


class OnSnowflake:
    """The tables of API in a Snowflake schema."""

    timestamp = "timestamp_ntz"

    def __init__(self, session: Session) -> None:
        self.session = session
        self.schema = self.work = session.schema

    def run(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Run a statement and return its rows."""
        return execute(self.session, statement, parameters or None)

    def load(self, table: str, rows: pa.Table) -> None:
        """Make a temporary table of these rows. DDL ends a transaction, so it is made before one begins."""
        columns = [
            (field.name, "bigint" if pa.types.is_integer(field.type) else LONG) for field in rows.schema
        ]
        listed = ", ".join(f"{name} {kind}" for name, kind in columns)
        self.run(f"create or replace temporary table {self.schema}.{table} ({listed})")
        if not rows.num_rows:
            return
        place = f"@{self.schema}.{STAGE}/{table}-{token_hex(8)}/"
        with staging_folder() as folder:
            file = folder / "rows.parquet"
            pq.write_table(rows, file)
            self.run(f"put {literal(f'file://{file.as_posix()}')} {place} auto_compress = false")
        names = ", ".join(name for name, _ in columns)
        values = ", ".join(f"$1:{name}::{kind}" for name, kind in columns)
        self.run(
            f"copy into {self.schema}.{table} ({names}) from (select {values} from {place}) "
            f"{PARQUET} purge = true"
        )

    def transaction(self, stamp: Stamp, dataset: str = API) -> AbstractContextManager[None]:
        """One transaction, after those of other extracts or landings of the dataset; it is a batch."""
        return transaction(self.session, dataset, stamp)


@contextmanager
def open_snowflake(
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    production_schema: str,
    role: str | None,
    verb: str = "extract",
) -> Iterator[OnSnowflake]:
    """Open a session of the Snowflake target with the role that lands, and create missing landing tables.

    Raises:
        UserError: the session cannot be used, or Snowflake refuses a statement.
    """
    profile = credentials(project_dir, profiles_dir, target)
    connection = connect_snowflake(project_dir, profiles_dir, target, verb, parameters=_PARAMETERS, role=role)
    with open_session(connection, profile, production_schema) as session:
        make_tables(session)
        yield OnSnowflake(session)
