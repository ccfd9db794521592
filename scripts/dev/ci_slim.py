"""Build only what a change touches: the base's tables are attached read-only and replace everything else.

`make ci-slim BASE=ref` runs this. The sample is made once, with the base's simulator, so that both sides read
the same files; each side lands them with its own code.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from scripts.console import console, error_console
from scripts.errors import UserError

SAMPLE = ("--calls", "600", "--days", "2", "--seed", "1")
BUILT = ("model", "seed", "snapshot")


def slim(
    base: Annotated[str, typer.Option(help="Branch or commit to compare with.")],
    repo: Annotated[Path, typer.Option(help="The git checkout.")] = Path(),
) -> None:
    """Build HEAD's changed nodes and everything downstream, with tests, on top of the base's tables.

    \f
    Raises:
        UserError: no base is given, it is no commit, or a step on either side failed.
    """
    if not base:
        raise UserError("no base given: make ci-slim BASE=origin/main")
    head_commit = _commit(repo, "HEAD")
    base_commit = _fork_point(repo, _commit(repo, base), head_commit)
    if _git(repo, "status", "--porcelain", "--untracked-files=no"):
        error_console.print("note: uncommitted changes are left out; HEAD is what is built")
    if base_commit == head_commit:
        console.print(f"Nothing to build: HEAD is {base} ({head_commit[:10]}).")
        return
    with _scratch(repo) as scratch:
        console.print(f"base {base_commit[:10]} ({base}), head {head_commit[:10]}")
        base_tree, head_tree = (
            _worktree(repo, scratch, "base", base_commit),
            _worktree(repo, scratch, "head", head_commit),
        )
        _profile(scratch, head_tree)
        _run(
            scratch,
            base_tree,
            "base",
            "parse base",
            _dbt("parse", "--target", "head", "--target-path", scratch / "state"),
        )
        changed = _changed(scratch, head_tree)
        if not changed:
            console.print(f"Nothing to build: no node differs from {base}.")
            return
        _build_base(scratch, base_tree)
        _land(scratch, head_tree, "head")
        _build_head(scratch, head_tree)
        _report(scratch / "head-target")


def _build_base(scratch: Path, tree: Path) -> None:
    _run(scratch, tree, "base", "simulate", _copymart("simulate", scratch / "sample", *SAMPLE))
    _land(scratch, tree, "base")
    build = _dbt(
        "build", "--exclude-resource-type", "test", "unit_test", "--target-path", scratch / "base-target"
    )
    _run(scratch, tree, "base", "build base", build)


def _build_head(scratch: Path, tree: Path) -> None:
    # Two manifests: the one parsed under head's own target shows what differs, because sources compare by the
    # name of their database; the one that base was built with shows where a deferred table is.
    build = _dbt(
        *("--log-level", "warn", "build", "--select", "state:modified+", "--state", scratch / "state"),
        *("--defer", "--defer-state", scratch / "base-target", "--target", "head"),
        # tests that also read what did not change: base's tables have it
        *("--indirect-selection", "eager", "--target-path", scratch / "head-target"),
    )
    _run(scratch, tree, "head", "build head", build, show=True)


def _changed(scratch: Path, tree: Path) -> list[str]:
    listing = _dbt(
        *("--quiet", "ls", "--select", "state:modified+", "--state", scratch / "state", "--output", "name"),
        *("--target", "head", "--target-path", scratch / "head-target"),
    )
    return _run(scratch, tree, "head", "compare", listing).split()


def _land(scratch: Path, tree: Path, side: str) -> None:
    sample = scratch / "sample"
    verb = _copymart("land", "--calls", sample / "justai/calls", "--events", sample / "customerio/events")
    _run(scratch, tree, side, f"land {side}", verb)


def _report(target: Path) -> None:
    """Print the nodes that the last build made, and its tests by outcome."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    nodes = [result["unique_id"].split(".") for result in results]
    built = sorted(node[2] for node in nodes if node[0] in BUILT)
    tests = sum(node[0] in ("test", "unit_test") for node in nodes)
    console.print(f"Built {len(built)}: {', '.join(built) or 'no table'}; ran {tests} tests.", soft_wrap=True)


def _profile(scratch: Path, tree: Path) -> None:
    """Write profiles.yml with targets base and head; head's builds see base's file as database base."""
    example = yaml.safe_load((tree / "profiles.yml.example").read_text())
    name = yaml.safe_load((tree / "dbt_project.yml").read_text())["profile"]
    duckdb: dict[str, Any] = example[name]["outputs"]["duckdb"]
    base, head = ({**duckdb, "path": str(scratch / f"{side}.duckdb")} for side in ("base", "head"))
    head["attach"] = [{"path": base["path"], "alias": "base", "read_only": True}]
    profile = {name: {"target": "{{ env_var('DBT_TARGET') }}", "outputs": {"base": base, "head": head}}}
    (scratch / "profiles").mkdir()
    (scratch / "profiles/profiles.yml").write_text(yaml.safe_dump(profile))


def _copymart(*arguments: object) -> list[str]:
    # -c puts the worktree first on the path, before the installed link to the caller's checkout.
    return [sys.executable, "-c", "from scripts.cli import main; main()", *map(str, arguments)]


def _dbt(*arguments: object) -> list[str]:
    # an edited seed is a change too: dbt_project.yml has dbt hash none
    dbt = (str(Path(sys.executable).parent / "dbt"), "--maximum-seed-size-mib", "0")
    return [*dbt, *map(str, arguments)]


def _run(scratch: Path, tree: Path, side: str, step: str, command: list[str], show: bool = False) -> str:
    """Run one step of a side in its worktree and return its output; show a failure in full."""
    settings = {
        "DBT_PROFILES_DIR": scratch / "profiles",
        "DBT_TARGET": side,
        "DBT_LOG_PATH": scratch / "logs",
        "COPYMART_DUCKDB": scratch / f"{side}.duckdb",
        "PYTHONPATH": tree,
        "DO_NOT_TRACK": 1,
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DBT_", "GIT_"))}
    environment = clean | {key: str(value) for key, value in settings.items()}
    error_console.print(f"… {step}")
    done = subprocess.run(command, cwd=tree, env=environment, text=True, capture_output=True, check=False)
    if show or done.returncode:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr, flush=True)
        raise UserError(
            f"step '{step}' failed on {side} (exit status {done.returncode}); its output stands above"
        )
    return done.stdout


@contextmanager
def _scratch(repo: Path) -> Iterator[Path]:
    """Yield a folder that is deleted at the end, with the worktrees in it."""
    folder = Path(tempfile.mkdtemp(prefix="copymart-ci-slim-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(repo, "worktree", "prune")


def _worktree(repo: Path, scratch: Path, side: str, commit: str) -> Path:
    tree = scratch / "trees" / side
    _git(repo, "worktree", "add", "--quiet", "--detach", str(tree), commit)
    return tree


def _commit(repo: Path, ref: str) -> str:
    commit = _try_git(repo, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if not commit:
        raise UserError(f"'{ref}' is no commit of this repository: fetch it first, or give another BASE")
    return commit


def _fork_point(repo: Path, base: str, head: str) -> str:
    """Return the merge base, so that later commits of base are no changes of head."""
    return _try_git(repo, "merge-base", base, head) or base


def _git(repo: Path, *arguments: str) -> str:
    done = _call_git(repo, *arguments)
    if done.returncode:
        raise UserError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _try_git(repo: Path, *arguments: str) -> str:
    done = _call_git(repo, *arguments)
    return "" if done.returncode else done.stdout.strip()


def _call_git(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Inside a git hook GIT_DIR would name another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(repo), *arguments]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def main() -> None:
    """Run slim(); a UserError ends it with its message and exit status 1."""
    try:
        typer.run(slim)
    except UserError as error:
        error_console.print(f"error: {error}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
