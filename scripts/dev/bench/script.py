"""Runs a SQL script of the benchmark, or one plain COPY, on the profile's warehouse.

`python -m scripts.dev.bench.script baseline.sql` prints the seconds of each step as JSON on its last line.
"""

import json
import os
import re
import sys
from pathlib import Path
from time import monotonic

from scripts.unload.datasets import DATASETS, Layout
from scripts.unload.dialects import DUCKDB
from scripts.warehouse import connect

HERE = Path(__file__).parent
UNCOMPRESSED = "using compression uncompressed"


def run_script(name: str, seeds: str, id_storage: str) -> dict[str, float]:
    """Run the script and return the seconds of its steps, which `-- step: NAME` begins."""
    text = (HERE / name).read_text(encoding="utf-8")
    text = text.replace("$seeds", seeds).replace("$id_storage", id_storage)
    connection = connect(Path("."), Path(os.environ["DBT_PROFILES_DIR"]))
    seconds = {}
    try:
        for step in re.split(r"^-- step: ", text, flags=re.MULTILINE)[1:]:
            title, statements = step.split("\n", 1)
            began = monotonic()
            for statement in connection.extract_statements(statements):
                connection.execute(statement)
            seconds[title.strip()] = monotonic() - began
        began = monotonic()
        connection.execute("checkpoint")
        seconds["checkpoint"] = monotonic() - began
    finally:
        connection.close()
    return seconds


def copy_once(target: str) -> None:
    """Write the rows that `copymart unload --dataset deliveries` writes to one Parquet file."""
    deliveries = DATASETS["deliveries"]
    connection = connect(Path("."), Path(os.environ["DBT_PROFILES_DIR"]), read_only=True)
    try:
        connection.execute(
            f"copy ({DUCKDB.whole(deliveries, Layout.FULL)}) to '{target}' (format parquet, compression zstd)"
        )
    finally:
        connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "copy":
        copy_once(sys.argv[2])
    else:
        print(json.dumps(run_script(*sys.argv[1:])))
