"""What `--help` of each command says, and where `copymart` and `make` alone tell a reader to begin."""

import inspect
import os
import re
import shlex
import subprocess
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from scripts.cli import app
from support.project import PROJECT

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
VERBS = sorted(COMMANDS)
FIRST_STEPS = (
    *("make run", "copymart simulate", "copymart land", "dbt build", "copymart report"),
    "copymart unload",
)


def shown(*arguments: str, width: int = 100) -> str:
    """Return what copymart prints on a terminal of so many columns."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)}).output


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_a_verb_does_and_how_in_whole_sentences(verb: str) -> None:
    text = shown(verb, "--help", width=2000)
    assert "Raises" not in text
    lines = [line.strip() for line in text.splitlines()]
    said, *_ = inspect.cleandoc(COMMANDS[verb].help).split("\f")
    prose = re.sub(r"```.*?```", "", said, flags=re.DOTALL)
    paragraphs = [" ".join(part.split()).replace("`", "") for part in prose.split("\n\n") if part.strip()]
    assert len(paragraphs) > 1
    for paragraph in paragraphs:
        assert paragraph in lines


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_that_it_would_take(verb: str) -> None:
    text = shown(verb, "--help")
    assert "Examples" in text
    (block,) = re.findall(r"```text\n(.*?)```", COMMANDS[verb].epilog, re.DOTALL)
    examples = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    assert examples
    known = {option for parameter in COMMANDS[verb].params for option in parameter.opts}
    for program, named, *arguments in examples:
        assert (program, named) == ("copymart", verb)
        assert {word for word in arguments if word.startswith("--")} <= known
    for line in block.splitlines():
        assert line.strip() in text and len(line) <= 76, "broken on a terminal of 80 columns"


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_panel_and_a_text_that_shows_whole(verb: str) -> None:
    text = " ".join(re.sub(r"[│\s]+", " ", shown(verb, "--help", width=2000)).split())
    for parameter in COMMANDS[verb].params:
        if parameter.name == "help":
            continue
        assert parameter.rich_help_panel or parameter.param_type_name == "argument", parameter.name
        # what looks like HTML or emphasis, Markdown would leave out
        assert " ".join(parameter.help.replace("`", "").split()) in text


def first_steps(text: str) -> list[str]:
    """Return the steps that a text names under "Where to begin", in its order."""
    begin = text[text.index("Where to begin") :]
    return sorted((step for step in FIRST_STEPS if step in begin), key=begin.index)


def test_copymart_alone_says_where_to_begin() -> None:
    assert first_steps(shown()) == list(FIRST_STEPS)


def test_make_alone_says_where_to_begin() -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=PROJECT, env=clean, text=True, capture_output=True, check=True
    )
    assert first_steps(done.stdout) == list(FIRST_STEPS)
