"""The project under test: its folder and programs, environments to run them in, what a built one holds."""

import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import yaml

from support.warm import Done, start

TESTS = Path(__file__).parents[1]
PROJECT = TESTS.parents[1]
BIN = Path(sys.executable).parent
# Names the folder in which the workers of one run keep what dbt parsed: see parsed.py.
PARSED = "TEST_PARSED"
# dbt writes its manifest twice in each build, which takes a tenth of it.
NO_MANIFEST = {"DBT_WRITE_JSON": "false"}
# A build of what most tests look at; the other marts are built in the same way, and cost half of the time.
CORE = (
    *("build", "--resource-type", "seed", "--resource-type", "model"),
    *("--exclude", "path:models/*/experiments", "path:models/*/people", "path:models/*/outbound"),
    *("audit", "audiences", "shares"),
)


@dataclass(frozen=True)
class Built:
    """A simulation (`landing`, with its `truth`) and the warehouse that copymart and dbt made of it."""

    landing: Path
    warehouse: Path
    target: Path
    environment: dict[str, str]

    @property
    def truth(self) -> Path:
        return self.landing / "truth"

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.warehouse))


def settings(folder: Path) -> dict[str, str]:
    """The environment of a project whose profile, warehouse, target and logs lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "profiles.yml.example", folder / "profiles.yml")
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DBT_", "COPYMART_DUCKDB"))
        },
        "DBT_PROFILES_DIR": str(folder),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        # no test reads the log of debugging, which takes a tenth of a build
        "DBT_LOG_LEVEL_FILE": "none",
        "COPYMART_DUCKDB": str(folder / "warehouse.duckdb"),
        "COPYMART_SEEDS": "scripts/simulate/sample_seeds",
    }


def copy_of(built: Built, folder: Path) -> Built:
    """A warehouse in another folder, for builds without a manifest."""
    warehouse, target = folder / "warehouse.duckdb", folder / "target"
    shutil.copy(built.warehouse, warehouse)
    environment = {
        **built.environment,
        **NO_MANIFEST,
        "COPYMART_DUCKDB": str(warehouse),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(folder / "logs"),
    }
    return Built(built.landing, warehouse, target, environment)


def attempt(environment: dict[str, str], *command: str | Path, project: Path = PROJECT) -> Done:
    """Run `copymart` or `dbt` in the project to its end."""
    program, *arguments = map(str, command)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        return start(log, environment, *arguments, program=program, folder=project).done()


def run(environment: dict[str, str], *command: str | Path, project: Path = PROJECT) -> None:
    """Run `copymart` or `dbt` in the project; a failure's message holds its output."""
    done = attempt(environment, *command, project=project)
    assert done.status == 0, f"{' '.join(map(str, command))}\n{done.output}"


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, read by libyaml where it is there: ten times as fast."""
    return yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def models_in_order(target: Path) -> dict[str, tuple[str, str, str]]:
    """Models of a built project, parents first: name -> (relation, materialization, compiled SQL)."""
    nodes = {
        unique_id: node
        for unique_id, node in json.loads((target / "manifest.json").read_text())["nodes"].items()
        if node["resource_type"] == "model"
    }
    ordered: dict[str, tuple[str, str, str]] = {}
    waiting = dict(nodes)
    while waiting:
        ready = [
            unique_id
            for unique_id, node in waiting.items()
            if not any(parent in waiting for parent in node["depends_on"]["nodes"])
        ]
        for unique_id in ready:
            node = waiting.pop(unique_id)
            relation = f"{node['schema']}.{node['alias']}"
            ordered[node["name"]] = (relation, node["config"]["materialized"], node["compiled_code"])
    return ordered


def read_by(models: dict[str, tuple[str, str, str]], marts: Iterable[str]) -> set[str]:
    """These marts and the models that they read, directly or not."""
    wanted = set(marts)
    for name, (relation, *_) in reversed(models.items()):
        if any(_reads(models[reader][2], relation) for reader in wanted):
            wanted.add(name)
    return wanted


def rebuild(
    warehouse: duckdb.DuckDBPyConnection,
    models: dict[str, tuple[str, str, str]],
    marts: Iterable[str],
    changed: str,
    compiled: str,
) -> set[str]:
    """Build `changed` from other SQL and what of it these marts read, in dbt's order; return the names."""
    stale = {changed}
    wanted = read_by(models, marts)
    for name, (relation, materialized, own) in models.items():
        reads_stale = name in wanted and any(_reads(own, models[parent][0]) for parent in stale)
        if name == changed or reads_stale:
            stale.add(name)
            sql = compiled if name == changed else own
            kind = "view" if materialized == "view" else "table"
            warehouse.execute(f"create or replace {kind} {relation} as {sql}")
    return stale


@contextmanager
def broken(
    built: Built, marts: Collection[str], mutation: tuple[str, str, str]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, set[str]]]:
    """A warehouse whose models are built from a mutation, and the names of those that it changes.

    `mutation`: a model, a text of its compiled SQL, and what replaces it. Nothing of it is kept.
    """
    model, rule, other = mutation
    models = models_in_order(built.target)
    compiled = models[model][2]
    assert rule in compiled, f"{model} no longer holds {rule!r}"
    with built.connect() as warehouse:
        warehouse.execute("begin")
        yield warehouse, rebuild(warehouse, models, marts, model, compiled.replace(rule, other))
        warehouse.execute("rollback")


def _reads(sql: str, relation: str) -> bool:
    return '"' + relation.replace(".", '"."') + '"' in sql
