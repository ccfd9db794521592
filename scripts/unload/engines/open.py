"""The engine to unload from: DuckDB or Snowflake, as the profile's target says."""

from pathlib import Path

from scripts import warehouse
from scripts.unload.engines.base import Engine
from scripts.unload.engines.duckdb import DuckDB
from scripts.unload.engines.snowflake import open_snowflake
from scripts.unload.places.base import Place


def open_engine(
    project_dir: Path,
    profiles_dir: Path | None,
    target: str | None,
    place: Place | None = None,
    stage: str | None = None,
) -> Engine:
    """Open the warehouse of the profile's target.

    `place`, `stage`: of an unload; on Snowflake the stage must lead there.

    Raises:
        UserError: the target cannot be opened, or the stage cannot be used.
    """
    if warehouse.kind(project_dir, profiles_dir, target) == "snowflake":
        return open_snowflake(project_dir, profiles_dir, target, place, stage)
    return DuckDB(warehouse.connect(project_dir, profiles_dir, target, read_only=True))
