"""Texts of copies, names and attributes are hostile: they show as text, run nothing and send nothing."""

import re
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, Page

from support.report import BARE_ID, HOSTILE, SECOND, Open, fill, opened, read_marts, write_page

TITLE = "Which copy wins · copymart"
# Each says whether what it tried has worked.
ATTEMPTS = {
    "another script": """() => {
        const script = document.createElement("script");
        script.textContent = "globalThis.ran = true";
        document.body.append(script);
        return globalThis.ran === true;
    }""",
    "code in an attribute": """() => {
        const image = document.createElement("div");
        image.setAttribute("onclick", "globalThis.clicked = true");
        image.click();
        return globalThis.clicked === true;
    }""",
    "a link that is code": """() => {
        const link = document.createElement("a");
        link.href = "javascript:void (globalThis.followed = true)";
        document.body.append(link);
        link.click();
        return new Promise((resolve) => setTimeout(() => resolve(globalThis.followed === true), 50));
    }""",
    # a debugger's own call may make code from text, what the page calls later may not
    "code from text": """() => new Promise((resolve) => setTimeout(() => {
        try {
            resolve(eval("1 + 1") === 2);
        } catch {
            resolve(false);
        }
    }))""",
    "text as a timer": """() => {
        setTimeout("globalThis.timed = true");
        return new Promise((resolve) => setTimeout(() => resolve(globalThis.timed === true), 50));
    }""",
    "a request": """() => fetch("data:text/plain,taken").then(() => true, () => false)""",
    "a style": """() => {
        const style = document.createElement("style");
        style.textContent = "h1 { display: none }";
        document.head.append(style);
        return getComputedStyle(document.querySelector("h1")).display === "none";
    }""",
}


@pytest.fixture(scope="module")
def guarded(browser: Browser, file: Path) -> Page:
    """The page, on which each attempt is made."""
    return opened(browser, file)[0]


@pytest.fixture(scope="module")
def unguarded(browser: Browser, file: Path) -> Page:
    """The page without its policy."""
    without = file.with_name("unguarded.html")
    found = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", file.read_text(encoding="utf-8"))
    without.write_text(found, encoding="utf-8")
    return opened(browser, without)[0]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_policy_forbids_what_the_page_does_not_need(attempt: str, guarded: Page, unguarded: Page) -> None:
    assert unguarded.evaluate(ATTEMPTS[attempt]) is True
    assert guarded.evaluate(ATTEMPTS[attempt]) is False


def test_a_text_that_is_a_script_shows_as_text(welcome: Page) -> None:
    tab = welcome
    tab.select_option("#against", "")
    card = tab.locator("article.text", has_text=SECOND)
    assert card.locator("dd").first.text_content() == HOSTILE
    tab.select_option("#against", "control")
    assert HOSTILE in without_removed(card.locator("dd").first.inner_html())
    assert tab.locator("#template img, #template script").count() == 0
    assert tab.title() == TITLE


def without_removed(html: str) -> str:
    """The new text of a difference."""
    text = re.sub(r"<[^>]*>", "", re.sub(r"<del>.*?</del>", "", html))
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_a_template_whose_name_is_a_script_shows_as_text_and_opens(open_page: Open) -> None:
    tab = open_page()
    link = tab.locator("#overview th a", has_text=BARE_ID)
    link.click()
    tab.wait_for_selector("#template:not([hidden])")
    assert tab.text_content("#template-title") == BARE_ID
    assert (
        tab.locator("#filter-template option", has_text="<b>Nudge</b>").text_content()
        == '<b>Nudge</b> & "quotes"'
    )
    assert tab.locator("main script, main b, main img").count() == 0
    assert tab.title() == TITLE


def test_a_template_whose_id_has_control_characters_opens(tmp_path: Path, open_page: Open) -> None:
    """HTML reads a carriage return as a line feed, and knows no character 0."""
    name = "wel\r\n\t\x01\x85come"
    with duckdb.connect(str(fill(tmp_path))) as connection:
        found = connection.execute(
            "select table_schema || '.' || table_name from information_schema.columns "
            "where column_name = 'template_id'"
        ).fetchall()
        for (table,) in found:
            connection.execute(
                f"update {table} set template_id = $name where template_id = 'welcome'", {"name": name}
            )
    file = tmp_path / "report.html"
    write_page(read_marts(tmp_path), file)
    tab = open_page(of=file)
    tab.locator("#overview th a", has_text="wel").click()
    tab.wait_for_selector("#template:not([hidden])")
    assert tab.input_value("#filter-template") == name
    assert tab.locator("article.text").count()


def test_tooltips_show_texts_as_text(welcome: Page) -> None:
    tab = welcome
    marks = tab.locator("#figure-forest .mark-symbol path, #figure-forest .mark-symbol")
    marks.locator("path").last.hover()
    tip = tab.locator("#vg-tooltip-element.visible")
    assert "</script><script>document.title" in (tip.text_content() or "")
    assert tip.locator("script, img").count() == 0
    assert tab.title() == TITLE


def test_an_attribute_that_is_a_script_shows_as_text(welcome: Page) -> None:
    tab = welcome
    if not tab.locator("#figure-segments table").count():
        tab.locator("#figure-segments summary").click()
    assert tab.locator("#figure-segments tbody th").nth(2).text_content() == f"persona: {HOSTILE}"
    assert tab.title() == TITLE
