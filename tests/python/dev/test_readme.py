"""The commands under "Your own files" in the README as a reader pastes them, then what operations do."""

import os
import re
import subprocess
from functools import partial
from pathlib import Path

import duckdb
import pytest

from support.project import BIN, PROJECT, run, settings

pytestmark = pytest.mark.integration


# What operations do now and then.
LATER = (
    "dbt --log-level warn docs generate",
    "copymart land --calls logs/justai/calls --backfill 2026-01-01 2026-01-08",
    "copymart unload --dataset calls --to export --start 2026-01-01 --end 2026-01-02",
)


def blocks(heading: str) -> list[str]:
    """The bash blocks of one section of the README."""
    (section,) = re.findall(rf"^## {heading}$(.*?)^## ", (PROJECT / "README.md").read_text(), re.M | re.S)
    return re.findall(r"^ *```bash\n(.*?)^ *```", section, re.M | re.S)


def test_your_own_files(clone: Path, tmp_path: Path) -> None:
    steps = blocks("Your own files")
    assert [sum(word in step for step in steps) for word in ("make venv", "land", "dbt build", "unload")] == [
        1
    ] * 4
    simulate = ("simulate", clone / "logs", "--calls", "2000", "--days", "7", "--seed", "1")
    run(settings(tmp_path / "simulation"), "copymart", *simulate)

    ours = re.compile("DBT_|COPYMART_|MAKE|MFLAGS|VIRTUAL_ENV|PYTHON|GIT_")
    environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
    path = [folder for folder in environment["PATH"].split(os.pathsep) if Path(folder) != BIN]
    environment |= {"PATH": os.pathsep.join(path), "PIP_NO_INDEX": "1"}
    # the settings of the templates that were simulated
    environment |= {"COPYMART_SEEDS": "scripts/simulate/sample_seeds"}
    shell = partial(subprocess.run, cwd=clone, env=environment, text=True, capture_output=True, check=False)
    done = shell(["bash", "-ec", "\n".join([*steps, *LATER])])
    assert done.returncode == 0, done.stdout + done.stderr
    # all has landed and was built
    daily = shell(["make", "daily", "LANDING=logs", "EXPORT=export"])
    assert daily.returncode == 0, daily.stdout + daily.stderr

    with duckdb.connect(str(clone / "warehouse.duckdb"), read_only=True) as warehouse:
        ((served,),) = warehouse.execute("select sum(served) from marts.copy_metrics_daily").fetchall()
        ((calls,),) = warehouse.execute("select count(*) from marts.fct_calls").fetchall()
        (way_back,) = re.findall(r"```sql\n(.*?)```", (PROJECT / "docs/architecture.md").read_text(), re.S)
        clicks = warehouse.execute(way_back).fetchall()
    assert served > 0
    # the query in docs/architecture.md finds the lines behind each click that a cell counts
    assert clicks
    assert {clicked for clicked, *_ in clicks} == {len({event_id for _, event_id, *_ in clicks})}
    files = f"{clone}/export/calls/*/*/*/*/*.parquet"
    assert duckdb.execute(f"select count(*) from '{files}'").fetchall() == [(calls,)]
