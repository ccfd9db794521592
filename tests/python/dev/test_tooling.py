"""The Makefile, the choice of Python, the workflows, and what the documents say about commands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from scripts.cli import app
from support.project import PROJECT

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("**/*.md"))]
MAKEFILE = (PROJECT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def code(document: Path) -> list[str]:
    """Return the lines of fenced blocks, continued lines joined, and the inline code of a document."""
    text = document.read_text()
    fence = re.compile(r"^ *```.*?\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    fenced = fence.findall(text)
    inline = re.findall(r"`([^`\n]+)`", fence.sub("", text))
    return [line for block in fenced for line in block.replace("\\\n", " ").splitlines()] + inline


def commands(document: Path, program: str) -> list[list[str]]:
    """Return the arguments of each call of a program in a document's code."""
    calls = []
    for line in code(document):
        for part in re.split(r"&&|\|\||[;|]|\s#", line):
            words = part.replace("'", "").replace('"', "").split()
            # settings such as DBT_TARGET=duckdb may stand before the program
            while words and re.fullmatch(r"[A-Z_]+=\S*|\$", words[0]):
                words.pop(0)
            if words and words[0].rsplit("/", 1)[-1] == program:
                calls.append(words[1:])
    return calls


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_make_targets_that_exist(document: Path) -> None:
    named = {
        word for call in commands(document, "make") for word in call if re.fullmatch(r"[a-z][a-z-]*", word)
    }
    assert named <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_verbs_and_options_that_exist(document: Path) -> None:
    verbs: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for verb, *arguments in filter(None, commands(document, "copymart")):
        if verb in ("--help", "...", "…"):
            continue
        assert verb in verbs
        known = {name for option in verbs[verb].params for name in (*option.opts, *option.secondary_opts)}
        used = {word.split("=")[0] for word in arguments if word.startswith("--")}
        assert used <= known | {"--help"}, f"copymart {verb}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def test_the_readme_shows_both_commands() -> None:
    calls = [call for call in commands(PROJECT / "README.md", "make") if call]
    assert {"run", "test"} <= {call[0] for call in calls}


def make(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in the project, without the flags of a make that runs these tests."""
    clean = {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=clean | environment,
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
    )


def test_plain_make_lists_the_targets() -> None:
    done = make()
    assert done.returncode == 0
    for target in TARGETS:
        assert re.search(rf"^  {target} ", done.stdout, re.MULTILINE), target


# each of their steps is another target
STEPS = set(re.findall(r"^([a-z-]+):.*\n\t\$\(call steps,", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("target", sorted(TARGETS - STEPS))
def test_the_shell_reads_what_each_target_runs(target: str) -> None:
    """Some take minutes, so no test runs them: a comma in what `say` gets once broke one of these."""
    shown = make("-n", target, "LANDING=logs")
    assert shown.returncode == 0, shown.stderr
    read = subprocess.run(["sh", "-n"], input=shown.stdout, text=True, capture_output=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def test_make_keeps_the_users_dbt_settings_away() -> None:
    script = "include Makefile\nshow:\n\t@env\n\t@$(RUN) env\n"
    users = {
        "DBT_PROFILES_DIR": "theirs",
        "DBT_ENGINE_TARGET_PATH": "theirs",
        "DBT_FULL_REFRESH": "theirs",
        "COPYMART_DUCKDB": "theirs",
        "PYTHONPATH": "theirs",
        "COPYMART_MEMORY_LIMIT": "2GB",
    }
    done = make("-f", "-", "show", stdin=script, **users)
    assert done.returncode == 0, done.stderr
    assert "=theirs" not in done.stdout
    assert done.stdout.count("COPYMART_MEMORY_LIMIT=2GB") == 2
    assert f"DBT_PROFILES_DIR={PROJECT}/data/profiles" in done.stdout
    assert f"COPYMART_DUCKDB={PROJECT}/data/demo.duckdb" in done.stdout
    own = make("-f", "-", "show", "LANDING=/mine", stdin=script, **users)
    assert f"COPYMART_DUCKDB={PROJECT}/data/own.duckdb" in own.stdout


def test_the_makefile_needs_no_newer_make_than_macos_has() -> None:
    assert not re.search(
        r"\.ONESHELL|\.SHELLFLAGS|!=|\$\(file |\$\(guile |::=|^\s*undefine", MAKEFILE, re.MULTILINE
    )


# A Python that says it is another version or lacks a module, and only notes that it was asked to make a venv.
FAKE = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then echo "$0" >"{note}"; exit 3; fi
if [ "$1" = "-c" ]; then code=$2; else code=$(cat); fi
exec "{real}" -c 'import sys
sys.version_info = type("Info", (tuple,), {{}})({version})
sys.modules.update({{name: None for name in {missing}}})
sys.argv = sys.argv[1:]
exec(sys.argv.pop(0))' "$code" "$@"
"""
TOOLS = ("sh", "cat", "cksum", "dirname", "grep", "rm", "tr")


class Shelf:
    """A folder that is all of PATH, with the tools the script needs and made-up Pythons."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.note = folder / "asked"
        self.venv = folder / "venv"
        for tool in TOOLS:
            places = [Path(place) / tool for place in os.environ["PATH"].split(os.pathsep)]
            (self.bin / tool).symlink_to(next(place for place in places if place.exists()))

    def add(self, name: str, version: tuple[int, ...], *missing: str) -> Path:
        """Put a made-up Python on the shelf."""
        path = self.bin / name
        path.write_text(
            FAKE.format(real=sys.executable, note=self.note, version=version, missing=json.dumps(missing))
        )
        path.chmod(0o755)
        return path

    def choose(self, python: str | Path = "") -> subprocess.CompletedProcess[str]:
        """Run the script; it ends where it would make the venv."""
        command = [
            str(self.bin / "sh"),
            "scripts/dev/make_venv.sh",
            str(self.venv),
            "requirements.lock",
            str(python),
        ]
        environment = {"PATH": str(self.bin)}
        return subprocess.run(
            command, cwd=PROJECT, env=environment, text=True, capture_output=True, check=False
        )

    def chosen(self) -> str:
        """Return the name of the Python that was asked to make the venv."""
        return Path(self.note.read_text().strip()).name


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A shelf without any Python."""
    return Shelf(tmp_path)


def test_the_newest_suitable_python_is_chosen(shelf: Shelf) -> None:
    shelf.add("python3", (3, 10, 9))
    shelf.add("python3.11", (3, 11, 2))
    shelf.add("python3.13", (3, 13, 1))
    shelf.add("python3.14", (3, 14, 0), "ensurepip")
    shelf.choose()
    assert shelf.chosen() == "python3.13"


def test_plain_python3_will_do(shelf: Shelf) -> None:
    shelf.add("python3", (3, 12, 4))
    # as pyenv's shims are for a version that is not active
    (shelf.bin / "python3.13").write_text(
        "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n"
    )
    (shelf.bin / "python3.13").chmod(0o755)
    shelf.choose()
    assert shelf.chosen() == "python3"


def test_python_can_be_named(shelf: Shelf) -> None:
    shelf.add("python3.13", (3, 13, 1))
    named = shelf.add("my-python", (3, 11, 9))
    shelf.choose(named)
    assert shelf.chosen() == "my-python"


def test_without_a_suitable_python_it_says_what_to_install(shelf: Shelf) -> None:
    nothing = shelf.choose()
    assert nothing.returncode == 1
    assert "error: no suitable Python found (CPython 3.11 to 3.14 with venv is needed)" in nothing.stderr
    assert "apt install python3 python3-venv" in nothing.stderr
    shelf.add("python3", (3, 9, 2))
    shelf.add("python3.12", (3, 12, 3), "ensurepip")
    shelf.add("python", (3, 15, 0))
    done = shelf.choose()
    assert done.returncode == 1
    assert "python3: is Python 3.9.2" in done.stderr
    assert "python: is Python 3.15.0" in done.stderr
    assert "python3.12: is Python 3.12.3 without its module ensurepip" in done.stderr
    assert "apt install python3.12-venv" in done.stderr
    assert not shelf.note.exists()
    assert not shelf.venv.exists()


def test_an_unsuitable_named_python_is_refused(shelf: Shelf) -> None:
    old = shelf.add("old", (3, 9, 2))
    done = shelf.choose(old)
    assert done.returncode == 1
    assert f"PYTHON={old} cannot be used. {old}: is Python 3.9.2" in done.stderr
    missing = make("venv", "PYTHON=/nonexistent/python")
    assert missing.returncode != 0
    assert "PYTHON=/nonexistent/python cannot be used. /nonexistent/python: not found" in missing.stderr


WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.y*ml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pin_their_actions_and_need_no_secret(path: Path) -> None:
    text = path.read_text()
    actions = re.findall(r"uses:\s*(.*)", text)
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", action), action
    assert "secrets." not in text
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                words = shlex.split(line)
                assert words[0] == ".ci/run" or (words[0] == "make" and words[1] in TARGETS), line


def test_ci_runs_what_a_developer_runs() -> None:
    script = PROJECT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"
