"""Everybody can read the page: by keyboard, with a screen reader, in the dark, on paper, without scripts."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.report.charts import CONTROL, PALETTE
from scripts.report.marts import Marts
from support.report import Open, opened, write_page


def focused(tab: Page) -> str:
    """What has the keyboard, in a word."""
    return str(
        tab.evaluate(
            """() => {
                const it = document.activeElement;
                return it.id || it.closest("figure, [id]")?.id + " " + it.tagName.toLowerCase();
            }"""
        )
    )


def test_the_keyboard_reaches_everything_in_the_order_of_reading(open_page: Open) -> None:
    tab = open_page()
    reached = []
    for _ in range(8):
        tab.keyboard.press("Tab")
        reached.append(focused(tab))
    assert reached[1:6] == ["filter-template", "filter-window", "filter-metric", "theme", "overview div"]
    assert reached[6] == "overview a"
    tab.keyboard.press("Enter")
    tab.wait_for_selector("html:not([data-shown=all])")

    tab = open_page("#template=welcome")
    tab.locator(".legend input").last.focus()
    order = []
    while (at := focused(tab)) != "against":
        order.append(at)
        tab.keyboard.press("Tab")
        assert len(order) < 30
    figures = [name for name in order if name.startswith("figure-")]
    assert list(dict.fromkeys(name.split()[0] for name in figures)) == [
        f"figure-{name}" for name in ("forest", "trend", "traffic", "funnel", "segments")
    ]
    assert "figure-forest summary" in figures and "figure-segments select" in figures


def test_the_skip_link_leads_past_the_filters_and_leaves_them(open_page: Open) -> None:
    tab = open_page("#metric=opened")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert focused(tab) == "overview"
    assert tab.evaluate("location.hash") == "#metric=opened"


def test_a_screen_reader_has_a_name_for_all_and_a_table_for_each_plot(open_page: Open) -> None:
    tab = open_page("#template=welcome")
    for name in ("Template", "Window", "Metric", "Differences against", "Version of copy 1"):
        assert tab.get_by_label(name, exact=False).first.is_visible()
    assert tab.get_by_role("status").inner_text() == "Shown: Welcome email, all days"
    assert tab.locator("#overview caption").count() == 1
    plots = tab.get_by_role("img")
    assert plots.count() == 5
    for place in range(5):
        label = plots.nth(place).get_attribute("aria-label") or ""
        assert label.endswith("The table below has its numbers.")
        assert plots.nth(place).locator("> div").get_attribute("aria-hidden") == "true"
    for summary in tab.locator("figure summary").all():
        summary.click()
    expect(tab.locator("figure table")).to_have_count(5)
    captions = tab.locator("figure caption").all_inner_texts()
    assert captions == tab.locator("figure h3").all_inner_texts()
    levels = [
        int(tag[1])
        for tag in tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.tagName)")
    ]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = (
        "(all) => all.filter((it) => !it.ariaLabel && !it.labels?.length && !it.textContent.trim()).length"
    )
    assert tab.locator("button, select, input, a").evaluate_all(unnamed) == 0
    assert tab.get_attribute("html", "lang") == "en"


def luminance(colour: str) -> float:
    """Relative luminance of rgb(…) or #…, by the Web Content Accessibility Guidelines 2.2."""
    numbers = (
        [int(part, 16) for part in re.findall("..", colour[1:])]
        if colour[0] == "#"
        else [int(n) for n in re.findall(r"\d+", colour)[:3]]
    )
    parts = [number / 255 for number in numbers]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def require_readable(tab: Page) -> None:
    """Texts stand out by 4.5 to 1, lines of plots by 2 to 1."""
    paper = colour(tab, "body", "backgroundColor")
    for selector in ("h1", "caption", "#overview th a", ".alerts li", "#status", "#figure-trend svg text"):
        assert contrast(colour(tab, selector, "fill" if "svg" in selector else "color"), paper) >= 4.5, (
            selector
        )
    for line in (*PALETTE, CONTROL):
        assert contrast(line, paper) >= 2, line


def colour(tab: Page, selector: str, name: str) -> str:
    """A computed colour."""
    return str(tab.locator(selector).first.evaluate("(it, name) => getComputedStyle(it)[name]", name))


def test_light_and_dark_can_be_read(open_page: Open) -> None:
    for scheme, is_dark in (("light", False), ("dark", True)):
        tab = open_page("#template=nudge", color_scheme=scheme)
        assert (luminance(colour(tab, "body", "backgroundColor")) < 0.1) is is_dark
        require_readable(tab)
        assert tab.get_attribute("#theme", "aria-pressed") == str(is_dark).lower()
        tab.click("#theme")
        assert (luminance(colour(tab, "body", "backgroundColor")) < 0.1) is not is_dark
        require_readable(tab)


def test_the_button_follows_a_system_that_turns_dark(open_page: Open) -> None:
    tab = open_page(color_scheme="light")
    tab.emulate_media(color_scheme="dark")
    expect(tab.locator("#theme")).to_have_attribute("aria-pressed", "true")
    tab.click("#theme")
    assert luminance(colour(tab, "body", "backgroundColor")) > 0.9


def test_a_print_is_black_on_white_without_what_cannot_be_clicked(open_page: Open) -> None:
    tab = open_page("#template=welcome", color_scheme="dark")
    tab.emulate_media(media="print")
    assert colour(tab, "body", "backgroundColor") == "rgb(255, 255, 255)"
    assert colour(tab, "h1", "color") == "rgb(0, 0, 0)"
    assert tab.locator("#theme").is_hidden()
    assert colour(tab, ".text dd", "maxHeight") == "none"
    assert tab.pdf(format="A4")[:5] == b"%PDF-"


@pytest.mark.parametrize("width", [1280, 360])
def test_a_long_name_without_spaces_is_broken(
    browser: Browser, marts: Marts, tmp_path: Path, width: int
) -> None:
    names = [row | {"name": "a_long_name_" * 16} for row in marts.names.to_pylist()]
    file = tmp_path / "report.html"
    write_page(replace(marts, names=pyarrow.Table.from_pylist(names, marts.names.schema)), file)
    tab, said = opened(browser, file, "#template=welcome", viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.locator("#overview tbody th").first.evaluate("cell => cell.offsetWidth") < 400
    tab.context.close()
    assert said == []


def test_a_print_on_a4_holds_all_columns(open_page: Open) -> None:
    # A4 less the margins of Chromium
    tab = open_page("#template=welcome", viewport={"width": 718, "height": 1000})
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.scrollWidth") == 718


def test_without_scripts_the_verdicts_are_there(browser: Browser, file: Any) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(file.as_uri())
    assert "All copies of welcome, human_clicked." in tab.inner_text("#overview")
    assert "+4.6" in tab.inner_text("#overview .lift >> nth=0")
    assert "Without scripts" in tab.inner_text("noscript")
    tab.context.close()
