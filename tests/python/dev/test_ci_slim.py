"""make ci-slim, run for real on a git repository made from this checkout's files."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.dev import ci_slim
from support.project import PROJECT

pytestmark = pytest.mark.integration

# What a checkout has beside its sources; none of it is needed to build.
NOT_SOURCES = (
    ".git",
    ".venv",
    "data",
    "target",
    "logs",
    "*.duckdb*",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)


def git(repo: Path, *arguments: str) -> str:
    """Run git in the repository, as a committer of its own and far from any hook's GIT_DIR."""
    identity = {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.com"}
    identity |= {"GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.com"}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(repo), *arguments]
    done = subprocess.run(command, env=clean | identity, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(repo: Path, message: str) -> None:
    """Commit all that lies in the repository."""
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", message)


def slim(repo: Path, base: str) -> subprocess.CompletedProcess[str]:
    """Run ci-slim with this interpreter's packages, and see that it leaves nothing behind."""
    command = [sys.executable, "-m", "scripts.dev.ci_slim", "--base", base]
    temporary = repo.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = subprocess.run(command, cwd=repo, env=environment, text=True, capture_output=True, check=False)
    assert not list(temporary.glob("*"))
    assert git(repo, "worktree", "list").count("\n") == 0
    return done


# Of the models only those of staging, which dbt parses in a fraction of the time.
SMALL = ("intermediate", "marts", "audiences", "audit", "shares", "exposures.yml", "assertions", "python")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository, whose branch main has one commit with the sources of this checkout."""
    repo = tmp_path_factory.mktemp("small") / "repo"
    shutil.copytree(PROJECT, repo, ignore=shutil.ignore_patterns(*NOT_SOURCES, *SMALL))
    git(repo, "init", "--quiet", "--initial-branch", "main")
    commit(repo, "base")
    return repo


@pytest.fixture
def repo(origin: Path) -> Iterator[Path]:
    """The small repository on a branch of its own, which is left afterwards."""
    git(origin, "checkout", "--quiet", "-B", "change", "main")
    yield origin
    git(origin, "checkout", "--quiet", "--force", "main")


# Three models in a row and one beside them.
EXAMPLES = {
    "copies.sql": "select copy_id from {{ ref('stg_justai__calls') }}\n",
    "copies_counted.sql": "select count(*) as copies from {{ ref('copies') }}\n",
    "copies_shown.sql": "select copies from {{ ref('copies_counted') }}\n",
    "templates.sql": "select template_id from {{ ref('stg_justai__calls') }}\n",
    "examples.yml": "models: [{name: copies_shown, columns: [{name: copies, data_tests: [not_null]}]}]\n",
}


def test_only_the_changed_model_and_its_descendants_are_built(repo: Path) -> None:
    examples = repo / "models/examples"
    examples.mkdir()
    for name, text in EXAMPLES.items():
        (examples / name).write_text(text)
    commit(repo, "models")
    base = git(repo, "rev-parse", "HEAD")
    git(repo, "branch", "--force", "moving", base)
    changed = examples / "copies_counted.sql"
    changed.write_text(changed.read_text() + "-- changed\n")
    commit(repo, "a change to one model")
    # what the base does meanwhile is no change of this branch
    git(repo, "checkout", "--quiet", "moving")
    (examples / "templates.sql").unlink()
    commit(repo, "the base moves on")
    git(repo, "checkout", "--quiet", "change")
    done = slim(repo, "moving")
    assert done.returncode == 0, done.stdout + done.stderr
    built = re.search(r"Built (\d+): (.*); ran (\d+) tests\.", done.stdout)
    assert built, done.stdout
    assert (built[1], built[3]) == ("2", "1")
    assert set(built[2].split(", ")) == {"copies_counted", "copies_shown"}


def test_an_edited_seed_is_a_change(origin: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(origin, tree, ignore=shutil.ignore_patterns(".git"))
    ci_slim._profile(tmp_path, tree)
    parse = ci_slim._dbt("parse", "--target", "head", "--target-path", tmp_path / "state")
    ci_slim._run(tmp_path, tree, "base", "parse base", parse)
    assert ci_slim._changed(tmp_path, tree) == []
    with (tree / "seeds/template_actions.csv").open("a") as file:
        file.write("t,7,message,42\n")
    assert "template_actions" in ci_slim._changed(tmp_path, tree)


def test_a_change_beside_the_models_builds_nothing(repo: Path) -> None:
    (repo / "notes.md").write_text("nothing that dbt reads\n")
    commit(repo, "notes")
    done = slim(repo, "main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to build: no node differs from main." in done.stdout


def test_a_step_that_fails_shows_why(repo: Path) -> None:
    settings = (repo / "dbt_project.yml").read_text()
    (repo / "dbt_project.yml").write_text(settings + "no_such_setting: true\n")
    commit(repo, "a broken project")
    broken = git(repo, "rev-parse", "HEAD")
    (repo / "dbt_project.yml").write_text(settings)
    commit(repo, "mended")
    done = slim(repo, broken)
    assert done.returncode == 1
    assert "no_such_setting" in done.stdout + done.stderr
    assert "error: step 'parse base' failed on base (exit status 2)" in done.stderr


def test_the_base_itself_needs_no_build(repo: Path) -> None:
    done = slim(repo, "main")
    assert (done.returncode, done.stdout.startswith("Nothing to build: HEAD is main")) == (0, True)


@pytest.mark.parametrize(
    ("base", "message"), [("", "no base given"), ("no-such-branch", "'no-such-branch' is no commit")]
)
def test_a_base_that_is_none_is_told(repo: Path, base: str, message: str) -> None:
    done = slim(repo, base)
    assert done.returncode == 1
    assert message in done.stderr
