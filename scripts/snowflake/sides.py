"""The two warehouses of a verification, and the commands that run in each."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.console import console
from scripts.errors import UserError

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """One of the two warehouses: the environment and the dbt target of its commands."""

    name: str
    environment: dict[str, str]
    target_path: Path
    log_path: Path


def side_of(work: Path, target: str, database: str) -> Side:
    """The side of a dbt target, whose files lie in `work`."""
    target_path, log_path = work / f"target-{target}", work / f"logs-{target}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DBT_")},
        "SNOWFLAKE_DATABASE": database,
        "DBT_PROFILES_DIR": str(work / "profiles"),
        "DBT_TARGET": target,
        "DBT_TARGET_PATH": str(target_path),
        "DBT_LOG_PATH": str(log_path),
        # statements are counted in it
        "DBT_LOG_FORMAT_FILE": "json",
        # no second file after 10 MB
        "DBT_LOG_FILE_MAX_BYTES": "0",
        "COPYMART_DUCKDB": str(work / "warehouse.duckdb"),
        "COPYMART_SEEDS": "scripts/simulate/sample_seeds",
    }
    return Side(target, environment, target_path, log_path)


def run(side: Side, program: str, *arguments: object) -> None:
    """Run a command to its end.

    Raises:
        UserError: it failed; its output is in the message.
    """
    done = start(side, program, *arguments)
    if done.returncode != 0:
        raise UserError(f"{side.name}: {program} {arguments[0]} failed:\n{done.stdout}{done.stderr}")


def start(side: Side, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is."""
    console.print(f"{side.name}: {program} {arguments[0]}")
    ours = Path(sys.executable).parent / program
    command = [str(ours) if ours.exists() else program, *map(str, arguments)]
    return subprocess.run(
        command, cwd=PROJECT, env=side.environment, text=True, capture_output=True, check=False
    )
