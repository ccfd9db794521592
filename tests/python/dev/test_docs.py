"""What the documents say: links lead somewhere, and every decision names a test that exists."""

import re
from functools import cache
from pathlib import Path

import pytest

from support.project import PROJECT, TESTS, read_yaml

DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("**/*.md"))]
DECISIONS = [page for page in sorted((PROJECT / "docs/decisions").glob("*.md")) if page.name != "README.md"]


def name(path: Path) -> str:
    """Return a document's path within the project, as the name of a test case."""
    return path.relative_to(PROJECT).as_posix()


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", document.read_text(encoding="utf-8"))
    for link, anchor in links:
        target = document.parent / link if link else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_and_folders_of_the_project_exist(document: Path) -> None:
    named = re.findall(r"`((?:scripts|tests|models|macros|seeds|docs)/[\w./-]*)`", document.read_text())
    # the decisions name tests by their path below tests/python
    assert [path for path in named if not ((PROJECT / path).exists() or (TESTS / path).exists())] == []


@cache
def known_tests() -> set[str]:
    """Return the names of Python tests and their files, dbt unit tests, assertions and make targets."""
    files = sorted(TESTS.glob("**/test_*.py"))
    known = {file.relative_to(TESTS).as_posix() for file in files} | {
        found
        for file in files
        for found in re.findall(r"^\s*def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    known |= {file.stem for file in (PROJECT / "tests/assertions").glob("*.sql")}
    for file in (PROJECT / "models").glob("**/*.yml"):
        known |= {test["name"] for test in read_yaml(file).get("unit_tests", ())}
    targets = re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    return known | {f"make {target}" for target in targets}


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_every_decision_names_tests_that_exist_or_says_it_has_none(page: Path) -> None:
    known = known_tests()
    paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    decisions = [paragraph for paragraph in paragraphs if paragraph.startswith("**")]
    assert decisions
    for decision in decisions:
        before, *after = re.split(r"\bTest:\s", decision)
        assert bool(after) != ("No test" in before), decision
        for tests in after:
            named = re.findall(r"`([^`]+)`", tests)
            assert set(named) <= known, decision
            assert named or re.search(r"\b(truth|replay)\b", tests), decision
