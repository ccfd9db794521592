"""The texts of copies side by side, and how they differ word by word."""

import re

import pytest
from playwright.sync_api import Locator, Page

from support.report import CONTROL, FIRST, LONG, SECOND


def card(tab: Page, copy_id: str) -> Locator:
    """The texts of a copy."""
    return tab.locator("article.text", has_text=copy_id)


def texts(tab: Page, copy_id: str) -> dict[str, str]:
    """The texts of a copy by name, removed words as [-words-] and added ones as {+words+}."""
    found = card(tab, copy_id).locator("dl").inner_html()
    marked = (
        found.replace("<del>", "[-").replace("</del>", "-]").replace("<ins>", "{+").replace("</ins>", "+}")
    )
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", marked, re.DOTALL)
    return {name: re.sub(r"<[^>]*>", "", text) for name, text in pairs}


def test_texts_stand_beside_those_of_control(welcome: Page) -> None:
    tab = welcome
    tab.select_option("#against", "control")
    found = texts(tab, FIRST)
    assert found["subject"] == "Hello [-there-]{+you+}"
    assert found["body"] == "Come and [-see-]{+visit+} us [-today-]{+tomorrow+}"
    assert texts(tab, CONTROL)["subject"] == "Hello there"
    assert texts(tab, SECOND)["count"] == "{+3+}"
    boxes = [card(tab, copy_id).bounding_box() for copy_id in (CONTROL, FIRST, SECOND)]
    assert len({box["y"] for box in boxes if box}) == 1


def test_a_version_stands_against_the_one_before(welcome: Page) -> None:
    tab = welcome
    tab.select_option("#against", "previous")
    found = texts(tab, FIRST)
    assert found["subject"] == "Hello you"
    assert found["body"] == "Come and [-see-]{+visit+} us [-today-]{+tomorrow+}"
    assert found["this version"] == (
        "2026-01-11 10:00 to now (UTC): served 800, opened by people 290, clicked by people 99, converted 12"
    )
    card(tab, FIRST).get_by_label("Version of copy 1").select_option("0")
    first = texts(tab, FIRST)
    assert (first["subject"], first["body"]) == ("Hello you", "Come and see us today")
    assert first["this version"].startswith("2026-01-01 09:00 to 2026-01-11 10:00 (UTC): served 900,")


def test_long_texts_are_cut_and_marked(welcome: Page) -> None:
    tab = welcome
    tab.select_option("#against", "")
    assert texts(tab, SECOND)["body"] == f"{LONG[:2000]} … cut here"
    assert card(tab, SECOND).locator("em").count() == 1
    assert card(tab, FIRST).locator("em").count() == 0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", []),
        ("a b", "a b", [["same", "a b"]]),
        ("", "new", [["added", "new"]]),
        ("old", "", [["removed", "old"]]),
        ("a b c d", "a c d e", [["same", "a "], ["removed", "b "], ["same", "c d"], ["added", " e"]]),
        ("x x x", "x x", [["same", "x x"], ["removed", " x"]]),
        (
            "Grüße, Zoë 🎉",
            "Grüße, Zoé 🎉",
            [["same", "Grüße, "], ["removed", "Zoë"], ["added", "Zoé"], ["same", " 🎉"]],
        ),
    ],
)
def test_a_difference_keeps_the_longest_common_words(
    bare_tab: Page, before: str, after: str, expected: list[list[str]]
) -> None:
    assert bare_tab.evaluate("([before, after]) => differences(before, after)", [before, after]) == expected


def test_no_word_of_either_text_is_lost(bare_tab: Page) -> None:
    before, after = (
        ("to be or not to be that is the question " * 40),
        ("to not be or be this is a question " * 45),
    )
    parts = bare_tab.evaluate("([before, after]) => differences(before, after)", [before, after])
    assert "".join(text for kind, text in parts if kind != "added") == before
    assert "".join(text for kind, text in parts if kind != "removed") == after
