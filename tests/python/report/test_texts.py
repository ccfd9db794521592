"""The texts of copies side by side, and how they differ word by word."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from playwright.sync_api import Locator, Page

from scripts.report.marts import Marts
from support.report import CONTROL, FIRST, LONG, SECOND, Open, write_page


def card(tab: Page, copy_id: str) -> Locator:
    """The texts of a copy."""
    return tab.locator("article.text", has_text=copy_id)


def texts(tab: Page, copy_id: str) -> dict[str, str]:
    """The texts of a copy by name, removed words as [-words-] and added ones as {+words+}."""
    found = card(tab, copy_id).locator("dl").inner_html()
    marked = (
        found.replace("<del>", "[-").replace("</del>", "-]").replace("<ins>", "{+").replace("</ins>", "+}")
    )
    pairs = re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", marked, re.DOTALL)
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


def with_texts(marts: Marts, copy_id: str, **named: str) -> Marts:
    """The marts with other texts in all versions of a copy."""
    rows = marts.versions.to_pylist()
    for row in rows:
        if row["copy_id"] == copy_id:
            row["vars"] = json.dumps(named)
    return replace(marts, versions=pyarrow.Table.from_pylist(rows, schema=marts.versions.schema))


def test_texts_with_the_names_of_what_all_objects_have(marts: Marts, tmp_path: Path, open_page: Open) -> None:
    file = tmp_path / "report.html"
    names = ("constructor", "toString", "__proto__")
    write_page(with_texts(marts, SECOND, **dict.fromkeys(names, "new")), file)
    found = texts(open_page("#template=welcome", of=file), SECOND)
    assert {name: found[name] for name in names} == dict.fromkeys(names, "{+new+}")


def test_a_label_is_cut_between_characters(marts: Marts, tmp_path: Path, open_page: Open) -> None:
    file = tmp_path / "report.html"
    family, accent = "👨‍👩‍👧", "e\u0301"
    write_page(with_texts(marts, SECOND, subject=(family + accent) * 30), file)
    label = open_page("#template=welcome", of=file).locator(".legend li").last.inner_text()
    assert label == f"copy 2 · {(family + accent) * 17}{family}…"


def test_texts_are_read_in_their_own_direction(marts: Marts, tmp_path: Path, open_page: Open) -> None:
    file = tmp_path / "report.html"
    write_page(with_texts(marts, SECOND, subject="\u202eשלם!"), file)
    tab = open_page("#template=welcome", of=file)
    assert tab.locator(".sentences bdi").last.text_content() == "copy 2 · \u202eשלם!"
    assert card(tab, SECOND).locator("dd").first.get_attribute("dir") == "auto"


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
