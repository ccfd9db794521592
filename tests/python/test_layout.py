"""The rooms of scripts/: who may import whom. Imports within functions and for types alone count too."""

import ast
from collections.abc import Iterator

import pytest

from support.project import PROJECT, TESTS

VERBS = ("land", "report", "unload", "snowflake", "simulate", "customerio", "status", "forget")
# Only cli.py imports these. Each holds one verb with its options.
COMMANDS = {
    "customerio.activate",
    "customerio.extract",
    "customerio.receive",
    "customerio.send",
    "customerio.suggest_actions",
    "forget.command",
    "land.command",
    "report.command",
    "simulate.command",
    "snowflake.bootstrap",
    "snowflake.share",
    "status.command",
    "unload.command",
    "unload.policy",
    "unload.verify",
}
# What verbs share beyond the files beside their folders: the statements and names of a Snowflake account, and
# the landing of what comes from an API, the landing tables with what of them is personal, and the ledger and
# the spool of what was sent.
SHARED_IN_ROOMS = {
    *("customerio.outbound.ledger", "customerio.outbound.options", "customerio.outbound.spool"),
    *("land.api", "land.duckdb_api", "land.snowflake.api", "snowflake.account", "snowflake.names"),
    *("land.datasets", "land.engine", "land.forgetting", "land.forgotten", "land.rules", "land.tables"),
}
# Imported within a function, because they import the Snowflake connector, altair or dlt, which take half a
# second.
SLOW = {
    *("customerio.app_api", "customerio.entities", "customerio.webhook", "customerio.outbound.track"),
    *("land.snowflake.api", "land.snowflake.engine", "report.page"),
}
MOST_LINES = 450

SCRIPTS = PROJECT / "scripts"
FILES = {
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SCRIPTS.rglob("*.py"))
}
MODULES = {name: path for name, path in FILES.items() if path.name != "__init__.py"}


def imports(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Yield the modules of scripts/ that a file imports anywhere, as names below `scripts`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            # `from scripts.land import plan` names a module, `from scripts.land.plan import Plan` does not
            named = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in named:
            if name.startswith("scripts.") and name.removeprefix("scripts.") in modules:
                yield name.removeprefix("scripts.")


GRAPH = {
    name: sorted(set(imports(ast.parse(path.read_text(encoding="utf-8")), set(MODULES))))
    for name, path in MODULES.items()
}


def room(module: str) -> str:
    """Return the folder of scripts/ that a module lies in, "" for a file beside the folders."""
    return module.partition(".")[0] if "." in module else ""


def fault(importer: str, imported: str) -> str | None:
    """Say what is wrong with one import; None when it is allowed."""
    if importer == "cli":
        return None
    if imported in COMMANDS:
        return "only cli.py imports a command"
    if imported == "cli":
        return "nothing imports cli.py"
    if imported in SHARED_IN_ROOMS or room(imported) in ("", room(importer)):
        return None
    if room(importer) == "":
        return "what all verbs share imports no verb"
    if room(importer) == "dev":
        return None
    return f"{room(importer)} imports {room(imported)}: move what both need below them"


def circles(graph: dict[str, list[str]]) -> list[list[str]]:
    """Return the import circles, each as the path that leads back to its first module."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for imported in graph[module]:
                visit(imported, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def test_every_folder_is_a_known_room() -> None:
    assert {room(module) for module in MODULES} == {"", "dev", *VERBS}
    assert set(MODULES) >= COMMANDS | SHARED_IN_ROOMS
    assert {imported for imported in GRAPH["cli"] if room(imported)} == COMMANDS


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    assert {imported: why for imported in GRAPH[module] if (why := fault(module, imported))} == {}


def test_there_is_no_import_circle() -> None:
    assert circles(GRAPH) == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top_unless_they_are_slow(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    late = [
        imported
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
        for imported in imports(node, set(MODULES))
    ]
    assert set(late) <= SLOW
    assert "TYPE_CHECKING" not in text


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_too_long_to_read(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_imports_are_found_wherever_they_stand() -> None:
    text = """
from typing import TYPE_CHECKING

import scripts.console
from scripts import errors
if TYPE_CHECKING:
    from scripts.land.plan import Plan

def late():
    from scripts.unload import manifest, command
"""
    assert set(imports(ast.parse(text), set(MODULES))) == {
        "console",
        "errors",
        "land.plan",
        "unload.manifest",
        "unload.command",
    }


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("land.plan", "unload.manifest"),
        ("land.plan", "snowflake.share_plan"),
        ("unload.run", "land.sources"),
        ("unload.verify", "unload.command"),
        ("dev.bench.run", "land.command"),
        ("warehouse", "land.plan"),
        ("land.plan", "dev.summary"),
        ("dev.summary", "cli"),
    ],
)
def test_what_crosses_rooms_is_a_fault(importer: str, imported: str) -> None:
    assert fault(importer, imported)


def test_circles_are_found() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}
    assert circles(graph) == [["b", "c", "b"]]


@pytest.mark.parametrize("folder", ["dev", *VERBS])
def test_tests_mirror_the_rooms(folder: str) -> None:
    assert list((TESTS / folder).glob("**/test_*.py"))
