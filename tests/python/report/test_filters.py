"""The filters, which live in the fragment of the page's address."""

import pytest
from playwright.sync_api import Page, expect

from support.report import BARE_ID, Open, choose

METRIC = "#overview tr[data-template] .metric"


def lines(tab: Page) -> list[str]:
    """The names of the templates that the first screen shows."""
    return [
        text.strip() for text in tab.locator("#overview tr[data-template]:visible th a").all_inner_texts()
    ]


def address(tab: Page) -> str:
    """The fragment."""
    return str(tab.evaluate("location.hash"))


def test_a_filter_changes_the_page_and_its_address(open_page: Open) -> None:
    tab = open_page()
    assert len(lines(tab)) == 3
    assert tab.locator("#overview .copies:visible").count() == 3
    assert set(tab.locator(METRIC).all_inner_texts()) == {"clicked by people", "converted"}

    choose(tab, "metric", "opened", "metric=opened")
    assert address(tab) == "#metric=opened"
    assert set(tab.locator(METRIC).all_inner_texts()) == {"opened"}

    choose(tab, "window", "7_days", "window=7_days&metric=opened")
    assert tab.locator("#overview .copies:visible").count() == 0
    assert "Trend of the last 7 days, no verdict." in tab.locator("#overview .sentence").all_inner_texts()

    choose(tab, "template", "welcome", "template=welcome&window=7_days&metric=opened")
    assert lines(tab) == ["Welcome email"]
    assert tab.inner_text("#template-title") == "Welcome email"
    assert "Lift against control: opened" in tab.locator("#template h3").all_inner_texts()
    assert tab.inner_text("#status") == "Shown: Welcome email, last 7 days, opened"


def test_going_back_shows_what_was_there(open_page: Open) -> None:
    tab = open_page("#metric=opened")
    choose(tab, "template", "welcome", "template=welcome&metric=opened")
    tab.go_back()
    tab.wait_for_selector('html[data-shown="metric=opened"]')
    assert len(lines(tab)) == 3
    assert tab.input_value("#filter-template") == ""
    assert tab.locator("#template").is_hidden()
    tab.go_forward()
    tab.wait_for_selector('html[data-shown="template=welcome&metric=opened"]')
    assert lines(tab) == ["Welcome email"]


def test_an_address_that_was_sent_opens_the_same_view(open_page: Open) -> None:
    tab = open_page("#template=nudge&window=28_days&metric=clicked")
    assert lines(tab) == ['<b>Nudge</b> & "quotes"']
    assert [tab.input_value(f"#filter-{name}") for name in ("template", "window", "metric")] == [
        "nudge",
        "28_days",
        "clicked",
    ]


@pytest.mark.parametrize(
    ("fragment", "shown"),
    [
        ("#template=gone&window=1_day&metric=%3Cscript%3E", "all"),
        ("#template=welcome&window=constructor", "template=welcome"),
        ("#metric=opened&more=1", "metric=opened"),
        ("#%E0%A4%A", "all"),
    ],
)
def test_what_the_page_does_not_know_in_its_address_is_ignored(
    open_page: Open, fragment: str, shown: str
) -> None:
    tab = open_page(fragment)
    assert tab.get_attribute("html", "data-shown") == shown
    assert len(lines(tab)) == (1 if "template=welcome" in fragment else 3)


def test_links_keep_the_other_filters(open_page: Open) -> None:
    tab = open_page("#window=28_days&metric=opened")
    tab.locator("#overview th a", has_text="Welcome").click()
    tab.wait_for_selector("#template:not([hidden])")
    assert address(tab) == "#template=welcome&window=28_days&metric=opened"


def test_a_copy_is_left_out_of_the_plots(open_page: Open) -> None:
    tab = open_page("#template=welcome")
    marks = tab.locator("#figure-forest .mark-symbol path")
    assert marks.count() == 2
    legend = tab.locator(".legend")
    legend.get_by_label("copy 1").uncheck()
    expect(tab.locator("#figure-forest .mark-symbol path")).to_have_count(1)
    tab.locator("#figure-trend summary").click()
    tab.wait_for_selector("#figure-trend table")
    copies = set(tab.locator("#figure-trend tbody th").all_inner_texts())
    assert not any(copy.startswith("copy 1") for copy in copies) and len(copies) == 2
    legend.get_by_label("copy 1").check()
    expect(tab.locator("#figure-forest .mark-symbol path")).to_have_count(2)


def test_a_template_without_control_and_without_texts(open_page: Open) -> None:
    tab = open_page()
    choose(
        tab,
        "template",
        BARE_ID,
        tab.evaluate("id => new URLSearchParams({ template: id }).toString()", BARE_ID),
    )
    assert tab.inner_text("#figure-forest p") == "Nothing to show."
    assert tab.locator("#figure-trend svg, #figure-traffic svg").count() == 2
    assert "no key metric" in tab.inner_text("#template .copies")
    assert tab.locator("#against option").all_inner_texts() == ["the version before", "nothing"]
    assert tab.locator("#template-health tbody tr").count() == 0
