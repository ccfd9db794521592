"""The two locks: what users run, and what tests add."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from support.project import PROJECT

# A Python whose pip installs nothing: it notes the venvs it makes and the last word of every pip command.
INSTALLER = """#!/bin/sh
case "$1 $2" in
"-m venv") echo venv >>{note}; mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ;;
"-m pip") for word; do :; done; echo "$word" >>{note}; exit ;;
esac
exec {real} "$@"
"""


def test_tests_add_to_what_users_run_and_nothing_is_installed_twice(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock", "scripts/dev/make_venv.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    note = tmp_path / "note"
    python = tmp_path / "python3"
    python.write_text(INSTALLER.format(note=note, real=sys.executable))
    python.chmod(0o755)

    def install(lock: str) -> list[str]:
        note.write_text("")
        command = ["sh", "scripts/dev/make_venv.sh", "venv", lock, str(python)]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return note.read_text().split()

    def change(name: str) -> None:
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")

    users, tests = "requirements.lock", "requirements-dev.lock"
    assert install(users) == ["venv", users, "."]
    assert install(users) == []
    assert install(tests) == [tests, "."]
    assert install(tests) == install(users) == []
    change("pyproject.toml")
    assert install(users) == [users, "."]
    assert install(tests) == []
    change(tests)
    assert install(users) == []
    assert install(tests) == ["venv", tests, "."]
    change(users)
    assert install(users) == ["venv", users, "."]
    assert install(tests) == [tests, "."]
    (tmp_path / "venv/.installed").unlink()
    assert install(tests) == [tests, "."]


LOCKS = [PROJECT / "requirements.lock", PROJECT / "requirements-dev.lock"]
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)


def pins(lock: Path) -> list[tuple[str, str, str]]:
    """Return name, version and marker of every line of a lock; a package may have one per platform."""
    found = [
        re.match(r"([A-Za-z0-9._-]+)==(\S+)(?: ; (.*?))? \\$", line) for line in lock.read_text().splitlines()
    ]
    return [(canonical(match[1]), match[2], match[3] or "") for match in found if match]


def canonical(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> dict[str, str]:
    """Return what this interpreter installs from a lock: name -> version."""
    return {name: version for name, version, marker in pins(lock) if not marker or Marker(marker).evaluate()}


PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
GROUPS = PYPROJECT["dependency-groups"]
USERS_WANT = [*PYPROJECT["project"]["dependencies"], *GROUPS["build"]]
TESTS_WANT = [requirement for requirement in GROUPS["dev"] if isinstance(requirement, str)]


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [(LOCKS[0], USERS_WANT), (LOCKS[1], USERS_WANT + TESTS_WANT)],
    ids=["requirements.lock", "requirements-dev.lock"],
)
def test_a_lock_pins_every_dependency_within_its_bounds(lock: Path, wanted: list[str]) -> None:
    # A direct dependency without a marker is needed on every platform.
    versions = locked(lock)
    for requirement in map(Requirement, wanted):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = versions[canonical(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: {version}"
    for excluded in PYPROJECT["tool"]["uv"]["exclude-dependencies"]:
        assert canonical(excluded) not in {name for name, _, _ in pins(lock)}


@each_lock
def test_a_lock_is_pinned_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)
    requirements = re.split(r"\n(?=[A-Za-z0-9])", "\n".join(lines))
    assert len(requirements) == len(pins(lock))
    for requirement in requirements:
        assert "--hash=sha256:" in requirement, requirement.splitlines()[0]


def test_tests_run_on_the_versions_that_users_run() -> None:
    users, tests = ({(name, version) for name, version, _ in pins(lock)} for lock in LOCKS)
    assert users <= tests
    assert not {"fakesnow", "moto", "pytest", "sqlfluff"} & {name for name, _ in users}


def imports(module: Path) -> set[str]:
    """Return the packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_what_users_run_imports_only_what_they_install() -> None:
    installed = locked(LOCKS[0]).keys()
    distributions = packages_distributions()
    own = sys.stdlib_module_names | {"scripts"}
    # check_grammar is a linter, run by `make grammar` only
    modules = [path for path in (PROJECT / "scripts").rglob("*.py") if path.name != "check_grammar.py"]
    missing = {
        (module.relative_to(PROJECT).as_posix(), name)
        for module in modules
        for name in imports(module) - own
        if not {canonical(owner) for owner in distributions[name]} & installed
    }
    assert missing == set()
