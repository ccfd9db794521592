"""The hand-made warehouse, the page of it, and one Chromium for all tests that open it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from scripts.report.marts import Marts
from support.project import PROJECT
from support.report import Open, chromium, fill, opened, read_marts, write_page

DIFFERENCES = PROJECT / "scripts/report/differences.js"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dbt project, its profile and the hand-made warehouse; tests only read it."""
    made = tmp_path_factory.mktemp("report")
    fill(made)
    return made


@pytest.fixture(scope="session")
def marts(folder: Path) -> Marts:
    """What the report reads of it."""
    return read_marts(folder)


@pytest.fixture(scope="session")
def file(marts: Marts, folder: Path) -> Path:
    """The page of the hand-made warehouse."""
    to = folder / "report.html"
    write_page(marts, to)
    return to


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, file: Path) -> Iterator[Open]:
    """A function that opens the page; none may have said anything on its console or asked for anything.

    Its options are those of a browser context, such as color_scheme="dark".
    """
    tabs: list[tuple[Page, list[str]]] = []

    def open_one(fragment: str = "", of: Path = file, **options: Any) -> Page:
        tab, said = opened(browser, of, fragment, **options)
        tabs.append((tab, said))
        return tab

    yield open_one
    for tab, said in tabs:
        tab.context.close()
        assert said == []


@pytest.fixture(scope="session")
def welcome(browser: Browser, file: Path) -> Iterator[Page]:
    """The page with one template opened, for tests that change nothing others read."""
    tab, said = opened(browser, file, "#template=welcome")
    yield tab
    assert said == []


@pytest.fixture(scope="session")
def bare_tab(browser: Browser) -> Page:
    """A page with nothing but the script that compares texts."""
    tab = browser.new_page()
    tab.add_script_tag(content=DIFFERENCES.read_text(encoding="utf-8"))
    return tab
