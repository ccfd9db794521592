"""dbt builds without dbt: the statements that dbt sent in real runs, sent again with other landing tables."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from support.project import PROJECT, run

WAREHOUSE = "warehouse"
SAMPLE_SEEDS = PROJECT / "scripts/simulate/sample_seeds"
SEEDS = ("destination_actions", "engagement_metrics", "template_actions", "template_settings")

# What tells an incremental run what to do differs from that of a full one by nature.
BOOKKEEPING = (
    "int_landed_batches",
    "int_touched_calls",
    "int_touched_sends",
    "int_touched_events",
    "int_touched_sync_events",
    "int_touched_messages",
    "int_touched_people",
    "int_touched_everybody",
    "int_touched_pipeline_calls",
    "int_touched_dates",
    "int_touched_hours",
    "int_touched_journeys",
    "int_touched_templates",
    "int_touched_request_people",
    "int_touched_request_objects",
    "int_rewritten_messages",
    "int_settings_changes",
    "int_trigger_changes",
    "int_feed_day_changes",
)

# A model that a later run looks at before it builds it again; without it that run is like the first.
FOUND = {
    "int_touched_request_people": "int_person_timeline",
    "int_touched_request_objects": "int_object_timeline",
}

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_TEMPORARY = re.compile(r'create temporary table\s+("[^"]+")')
_INSERTED = re.compile(r"(insert into \S+) \(.*", re.DOTALL)
# The id of a run of dbt, which the table of batches has and models compare with.
_MAKER = re.compile(r"'([0-9a-f-]{36})' as invocation_id")
_COMPARED = re.compile(r"(invocation_id = )'[0-9a-f-]{36}'")
_READS = ("select", "describe", "with")
_WRITES = (*("begin", "commit", "create", "alter", "drop", "delete", "insert", "update", "truncate", "copy"),)


@dataclass(frozen=True)
class Node:
    """A node of a dbt run with the statements that it sent, but for those that only read."""

    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """What dbt's manifest says of a model; `path` begins below `models/`."""

    name: str
    path: str
    schema: str
    materialized: str
    ancestors: frozenset[str]

    @property
    def relation(self) -> str:
        return f'"{self.schema}"."{self.name}"'


@dataclass(frozen=True)
class Recorded:
    """Runs of dbt, nodes in the order in which they began.

    `first`: nothing was there. `later`: all was there, so incremental models ran their incremental branch.
    `refresh`: all was there, with --full-refresh. `seeds`: the folder that the owner's seeds were in.
    """

    first: tuple[Node, ...]
    later: tuple[Node, ...]
    refresh: tuple[Node, ...]
    seeds: Path
    models: Mapping[str, Model]

    def above(self, *names: str) -> set[str]:
        """Models with all that they need."""
        return {*names, *(name for each in names for name in self.models[each].ancestors)}

    def below(self, name: str) -> set[str]:
        """A model and all that follows from it."""
        return {name, *(model.name for model in self.models.values() if name in model.ancestors)}

    def compared(self) -> list[Model]:
        """The models of which incremental runs must make what a full one makes."""
        return [model for model in self.models.values() if model.name not in BOOKKEEPING]

    def tables(self) -> list[Model]:
        """Those of them that hold rows.

        The views of two warehouses with the same landing tables are equal where the tables are: a view is the
        same query on both sides.
        """
        return [model for model in self.compared() if model.materialized != "view"]

    def core(self, wanted: str) -> "Recorded":
        """The same runs without experiments, people, what goes out, audits and shares, which no other reads.

        They are the whole runs if `wanted` is a model of those, or says what only those read.
        """
        left_out = {
            model.name
            for model in self.models.values()
            if model.path.startswith(("audit/", "shares/", "audiences/"))
            or any(f"/{room}/" in model.path for room in ("experiments", "people", "outbound"))
        }
        if wanted in left_out or (wanted in BOOKKEEPING and self.below(wanted) - {wanted} <= left_out):
            return self
        models = {name: model for name, model in self.models.items() if name not in left_out}
        assert not left_out & {name for model in models.values() for name in model.ancestors}
        first, later, refresh = (
            tuple(node for node in run if node.name not in left_out)
            for run in (self.first, self.later, self.refresh)
        )
        return replace(self, first=first, later=later, refresh=refresh, models=models)

    def only(self, *names: str) -> "Recorded":
        """The same runs with these models and what they need."""
        wanted = self.above(*names)
        models = {name: model for name, model in self.models.items() if name in wanted}
        first, later, refresh = (
            tuple(node for node in run if node.name in models or node.name not in self.models)
            for run in (self.first, self.later, self.refresh)
        )
        return replace(self, first=first, later=later, refresh=refresh, models=models)

    def changed(self, name: str, change: Callable[[Node], Node]) -> "Recorded":
        """The same runs with another node in the later one."""
        return replace(self, later=tuple(change(node) if node.name == name else node for node in self.later))


def dbt_build(project: Path, environment: dict[str, str], log: Path, *options: str) -> tuple[Node, ...]:
    """Run `dbt build` without data tests and return what it sent to the warehouse; its log goes to `log`."""
    run(
        environment,
        *("dbt", "--log-format-file", "json", "--log-level-file", "debug", "--log-path", log),
        *("build", "--resource-type", "seed", "--resource-type", "model", *options),
        project=project,
    )
    return tuple(nodes_of(log / "dbt.log", project / environment["COPYMART_SEEDS"]))


def nodes_of(log: Path, seeds: Path) -> Iterator[Node]:
    """The nodes of a run with their statements, from dbt's debug log in JSON.

    A seed's rows come from its file in `seeds`: dbt does not log them.
    """
    statements: dict[str, list[str]] = {"schemas": []}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["info"]["name"] != "SQLQuery":
            continue
        statement = entry["data"]["sql"].rstrip()
        word = _COMMENT.sub("", statement).split(maxsplit=1)[0].lower()
        assert word in _READS + _WRITES, f"is this a statement that only reads?\n{statement}"
        if word in _READS:
            continue
        node = (entry["data"].get("node_info") or {}).get("unique_id")
        if node:
            name = node.rsplit(".", 1)[-1]
            if name in SEEDS and word == "insert":
                statement = _INSERTED.sub(
                    rf"\1 by name from read_csv('{seeds}/{name}.csv', header = true, all_varchar = true)",
                    statement,
                )
            statements.setdefault(name, []).append(statement)
        elif "create schema" in statement:
            statements["schemas"].append(statement)
    for node, sent in statements.items():
        temporary = [name for statement in sent for name in _TEMPORARY.findall(statement)]
        yield Node(node, (*sent, *(f"drop table temp.{name}" for name in temporary)))


def models_of(target: Path) -> dict[str, Model]:
    """The models in a manifest."""
    manifest = json.loads((target / "manifest.json").read_text())
    parents = manifest["parent_map"]

    def ancestors(unique_id: str) -> frozenset[str]:
        above = parents.get(unique_id, [])
        return frozenset(above).union(*map(ancestors, above))

    return {
        node["name"]: Model(
            node["name"],
            node["path"],
            node["schema"],
            node["config"]["materialized"],
            frozenset(ancestor.rsplit(".", 1)[-1] for ancestor in ancestors(unique_id)),
        )
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
    }


class Died(Exception):
    """The build was made to break off."""


@dataclass(frozen=True)
class Death:
    """A build breaks off at a share (0 to 1) of its statements.

    `alone`: only that node fails, as when its SQL is wrong, and those that do not need it are still built.
    """

    share: float
    alone: bool = False


class Builder:
    """A warehouse in memory that holds what dbt would make of the landing tables in it."""

    def __init__(
        self, recorded: Recorded, connection: duckdb.DuckDBPyConnection, name: str, seeds: Path
    ) -> None:
        self.recorded, self.connection, self.name, self.seeds = recorded, connection, name, seeds
        self.run = ""

    def build(
        self,
        refresh: bool = False,
        death: Death | None = None,
        meanwhile: Callable[[], Any] | None = None,
        at: float = 0.5,
        select: Collection[str] | None = None,
    ) -> None:
        """Do what `dbt build` does.

        `meanwhile` is called before the node at the share `at` of all. `select` names the only models that
        are built, as with `--select`; seeds are loaded always.

        Raises:
            Died: the build broke off, as `death` wanted.
        """
        nodes = self._nodes(refresh)
        if select is not None:
            others = self.recorded.models.keys() - set(select)
            nodes = [node for node in nodes if node.name not in others]
        self.run = self._run_of(nodes)
        dies_at = int(death.share * sum(len(node.statements) for node in nodes)) if death else None
        failed: set[str] = set()
        sent = 0
        for place, node in enumerate(nodes):
            if meanwhile and place == int(at * len(nodes)):
                meanwhile()
            model = self.recorded.models.get(node.name)
            if failed and model and failed & model.ancestors:
                continue
            before = dies_at - sent if dies_at is not None and dies_at >= sent else None
            sent += len(node.statements)
            if before is None or before >= len(node.statements):
                self._send(node.statements)
                continue
            self._break_off(node.statements[:before])
            failed.add(node.name)
            if not (death and death.alone):
                break
        if failed:
            raise Died

    def _run_of(self, nodes: Sequence[Node]) -> str:
        """The id of the run that makes the table of batches, or that made the one that is there.

        Statements of several recorded runs are sent as one run. And a rebuild without that table compares
        nothing, unlike the recorded one.
        """
        for node in nodes:
            if node.name == "int_landed_batches":
                return next(found[1] for text in node.statements if (found := _MAKER.search(text)))
        query = f"select any_value(invocation_id) from {self.name}.intermediate.int_landed_batches"
        with suppress(duckdb.CatalogException):
            return str(self.connection.execute(query).fetchall()[0][0])
        return ""

    def _nodes(self, refresh: bool) -> list[Node]:
        """What is there already is built as a later run does, the rest as the first did."""
        there = self._tidied()
        first = {node.name: node for node in self.recorded.first}
        known = self.recorded.models.keys() | set(SEEDS)
        views = {model.name for model in self.recorded.models.values() if model.materialized == "view"}
        # making a view again that is there changes nothing and takes half of the time
        return [
            node
            if {node.name, FOUND.get(node.name, node.name)} <= there or node.name not in known
            else first[node.name]
            for node in (self.recorded.refresh if refresh else self.recorded.later)
            if not (node.name in views and node.name in there)
        ]

    def _tidied(self) -> set[str]:
        """Names of the tables and views; what a build that died left behind is dropped, as dbt does."""
        there = set()
        for schema, name, kind in self.connection.execute(
            "select schema_name, table_name, 'table' from duckdb_tables() where database_name = $1 union all "
            "select schema_name, view_name, 'view' from duckdb_views() where database_name = $1",
            [self.name],
        ).fetchall():
            if name.endswith(("__dbt_tmp", "__dbt_backup")):
                self.connection.execute(f'drop {kind} {self.name}."{schema}"."{name}"')
            else:
                there.add(name)
        return there

    def _send(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self.connection.execute(self._here(statement))

    def _here(self, statement: str) -> str:
        own = _COMPARED.sub(rf"\1'{self.run}'", statement).replace(f'"{WAREHOUSE}"', f'"{self.name}"')
        return own.replace(str(self.recorded.seeds), str(self.seeds))

    def _break_off(self, statements: Sequence[str]) -> None:
        self._send(statements)
        with suppress(duckdb.TransactionException):
            self.connection.rollback()
        for statement in statements:
            for name in _TEMPORARY.findall(statement):
                self.connection.execute(f"drop table if exists temp.{name}")


def attach(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Add an empty warehouse to the connection."""
    connection.execute(f"attach ':memory:' as {name}")


def copy_landing(connection: duckdb.DuckDBPyConnection, source: str, target: str) -> None:
    """Copy what landing wrote from one warehouse to another one."""
    tables = connection.execute(
        "select table_name from duckdb_tables() where database_name = ? and schema_name = 'staging'",
        [source],
    ).fetchall()
    connection.execute(f"create schema if not exists {target}.staging")
    for (table,) in tables:
        if table not in (*SEEDS, "consumed_batches", "built_with"):
            connection.execute(
                f"create or replace table {target}.staging.{table} as from {source}.staging.{table}"
            )


def differences(
    connection: duckdb.DuckDBPyConnection, models: Sequence[Model], left: str, right: str
) -> dict[str, tuple[list[Any], list[Any]]]:
    """Models that differ between two warehouses: up to five rows that only one has, the left one first.

    The order of columns may differ, their names may not. Equal sums of hashes mean equal tables.
    """
    found = {}
    for model in models:
        names = [
            [name for name, *_ in connection.execute(f"describe from {side}.{model.relation}").fetchall()]
            for side in (left, right)
        ]
        assert sorted(names[0]) == sorted(names[1]), model.name
        columns = ", ".join(f'"{name}"' for name in names[0])
        sides = [f"(select {columns} from {side}.{model.relation})" for side in (left, right)]
        sums = [
            connection.execute(f"select count(*), sum(hash({columns})) from {side}").fetchone()
            for side in sides
        ]
        if sums[0] == sums[1]:
            continue
        only = [
            connection.execute(f"{one} except all {other} order by all limit 5").fetchall()
            for one, other in (sides, sides[::-1])
        ]
        found[model.name] = (only[0], only[1])
    return found
