"""Readers of what `copymart simulate` wrote."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from scripts.simulate import experiments, plan, tables, truth, world
from scripts.simulate.command import simulate

START = datetime(2026, 1, 1)
HOUR = re.compile(r"(\d{4})/(\d{2})/(\d{2})/(\d{2})/")


def make(out: Path, calls: int, days: int = 14, seed: int = 1, sync: bool = False) -> Path:
    simulate(out, calls, days, seed, START, sync)
    return out


def hashes(out: Path, folder: str = ".") -> dict[str, str]:
    """Hash of every file under a folder of the simulation."""
    files = (path for path in (out / folder).rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines(out: Path, dataset: str) -> Iterator[tuple[str, int, bytes]]:
    """File, line number and bytes of every line, in order."""
    for path in sorted((out / dataset).rglob("*.jsonl.gz")):
        text = gzip.decompress(path.read_bytes())
        assert text.endswith(b"\n")
        for number, line in enumerate(text[:-1].split(b"\n"), start=1):
            yield path.relative_to(out).as_posix(), number, line


@cache
def good(out: Path, dataset: str) -> list[tuple[str, dict]]:
    """File and record of every line that is neither blank nor meant to be rejected."""
    bad = set(rows(out, "select file, line from rejects"))
    return [
        (file, json.loads(line))
        for file, number, line in lines(out, dataset)
        if line.strip() and (file, number) not in bad
    ]


@cache
def truth_of(out: Path) -> duckdb.DuckDBPyConnection:
    """The truth tables of a simulation."""
    con = duckdb.connect()
    for path in (out / "truth").glob("*.parquet"):
        con.execute(f"create table {path.stem} as from '{path}'")
    return con


def rows(out: Path, query: str) -> list[tuple]:
    """Rows of a query over the truth tables."""
    return truth_of(out).execute(query).fetchall()


def value(out: Path, query: str) -> Any:
    """The one value of a query over the truth tables."""
    ((found,),) = rows(out, query)
    return found


def cases(out: Path) -> dict[str, int]:
    return dict(rows(out, "select name, cases from hard_cases"))


def as_map(given: object) -> str:
    """Canonical text of a map as a call may give it: object, JSON text, null or nothing."""
    parsed = json.loads(given) if isinstance(given, str) else given
    return world.canonical(parsed or {})


def whole(given: object) -> int | None:
    if given in (None, ""):
        return None
    return int(str(given)) if str(given).lstrip("-").isdigit() else int(float(str(given)))


def delivery_id(data: dict[str, Any]) -> str:
    """Where the data of an event say of which delivery it is; older events say it elsewhere."""
    older = (data.get("variables") or {}).get("delivery_id")
    return data.get("delivery_id") or older or data.get("email_id") or ""


def seconds(given: object) -> int:
    number = int(given)
    return number // 10**6 if number > 1e14 else number // 1000 if number > 1e11 else number


def opens_by_day(wanted: plan.Plan, template: str) -> tuple[np.ndarray, np.ndarray]:
    """Trials and opens by people of a template's deliveries, by (arm, day), from a plan without its files."""
    con = duckdb.connect()
    plan.macros(con, wanted)
    tables.load_world(con, wanted)
    free, total = plan.count_stories(con, wanted.calls)
    plan.plan_chunk(con, 0, total, free, total)
    for query in (truth.COUNTED, experiments.ARM_PARTS, experiments.UNITS):
        con.execute(query)
    found = con.execute(
        """
        select arm, unit.day - day_of(plan_start()) as day, count(*) as trials,
            count(*) filter (list_contains(outcomes, 'human_opened')) as opens
        from unit join copy using (copy_id)
        where template = $template and list_contains(outcomes, 'reached')
            and unit.day between day_of(plan_start()) and day_of(plan_start() + 86400 * (plan_days() - 1))
        group by all
        """,
        {"template": template},
    ).fetchall()
    trials, opens = np.zeros((2, world.TEMPLATE[template].arms, wanted.days))
    for arm, day, *counts in found:
        trials[arm, day], opens[arm, day] = counts
    return trials, opens
