"""The numbers on the page equal those of the marts, as far as the page shows their places."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pyarrow.compute as compute
import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.report.marts import Marts
from support.report import CONTROL, FIRST, SECOND, Open, write_page

COPIES = {"control": CONTROL, "copy 1": FIRST, "copy 2": SECOND}


def ask(folder: Path, query: str) -> list[dict[str, Any]]:
    """Ask the hand-made warehouse."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.sql(query)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def table(tab: Page, inside: str) -> list[dict[str, str]]:
    """The rows of a table, by heading; one that is behind a plot is opened."""
    closed = tab.locator(f"{inside} details:not([open]) summary")
    if closed.count():
        closed.click()
    found = tab.locator(f"{inside} table")
    found.wait_for()
    texts: list[list[str]] = found.evaluate(
        "table => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    plain = [[text.replace("\u00a0", " ") for text in row] for row in texts]
    return [dict(zip(plain[0], row, strict=True)) for row in plain[1:]]


def signed(share: float | None) -> str:
    """A share of one per cent and more, as the page writes it."""
    return "–" if share is None else f"{share * 100:+.1f} %".replace("-", "−")


def between(low: float | None, high: float | None) -> str:
    """An interval, as the page writes it."""
    return "" if low is None else f"{signed(low)} to {signed(high)}"


def share(part: float | None, places: int = 1) -> str:
    """A rate, as the page writes it."""
    return "–" if part is None else f"{part * 100:.{places}f} %"


@pytest.mark.parametrize(
    ("fragment", "window", "metric"),
    [("", "all", None), ("#window=7_days", "7_days", None), ("#metric=unsubscribed", "all", "unsubscribed")],
)
def test_the_first_screen(
    open_page: Open, folder: Path, fragment: str, window: str, metric: str | None
) -> None:
    tab = open_page(fragment)
    shown = (
        f"metric = '{metric}'"
        if metric
        else "(is_key_metric or metric = 'human_clicked' and template_id like '%script%')"
    )
    rows = ask(folder, f"from marts.template_performance where time_window = '{window}' and {shown}")
    assert len(rows) == 3
    for row in rows:
        name = {"welcome": "Welcome email", "nudge": "Nudge"}.get(row["template_id"], row["template_id"])
        line = tab.locator("#overview tbody tr", has_text=name)

        def text(selector: str) -> str:
            return (line.locator(selector).text_content() or "").replace("\u00a0", " ")  # noqa: B023

        lift, low, high = (
            row[column]
            for column in (
                ("verdict_lift", "lift_low_anytime", "lift_high_anytime")
                if window == "all"
                else ("lift", "lift_low", "lift_high")
            )
        )
        assert text(".lift") == signed(lift)
        assert text(".bounds") == between(low, high)
        trials, control = row["trials"], row["control_trials"] or 0
        assert text(".trials") == f"{trials + control:,}"
        assert text(".share") == share(control / (trials + control))
        if window == "all":
            assert text(".sentence") == row["verdict_sentence"]
        assert line.locator(".bar circle").count() == (0 if lift is None else 1)


@pytest.mark.parametrize("scripts", [True, False])
def test_an_interval_beyond_the_small_axis_goes_on_by_an_arrow(
    browser: Browser, marts: Marts, tmp_path: Path, scripts: bool
) -> None:
    """A wide interval must not look like a point, nor a large lift like the end of the axis."""
    estimates = {
        "welcome": {"lift_low_anytime": 0.528, "verdict_lift": 2.05, "lift_high_anytime": 5.087},
        "nudge": {"lift_low_anytime": -0.7, "verdict_lift": 0.1, "lift_high_anytime": 0.4},
    }
    rows = [row | estimates.get(row["template_id"], {}) for row in marts.templates.to_pylist()]
    file = tmp_path / "report.html"
    write_page(replace(marts, templates=pyarrow.Table.from_pylist(rows, marts.templates.schema)), file)
    tab = browser.new_context(java_script_enabled=scripts).new_page()
    tab.goto(file.as_uri())
    if scripts:
        tab.wait_for_selector("html[data-shown]")
    found = {
        name: [
            tab.locator("#overview tbody tr", has_text=name).locator(f".bar {mark}").count()
            for mark in ("circle", "[d^='M6']", "[d^='M94']")
        ]
        for name in ("Welcome email", "Nudge")
    }
    tab.context.close()
    assert found == {"Welcome email": [0, 0, 1], "Nudge": [1, 1, 0]}


@pytest.mark.parametrize("window", ["all", "28_days"])
def test_the_copies_of_a_template(open_page: Open, folder: Path, window: str) -> None:
    tab = open_page(f"#template=welcome&window={window}")
    rows = ask(
        folder,
        f"""
        select *, units / sum(units) over () as traffic_share, successes / trials as rate
        from marts.variant_performance
        where template_id = 'welcome' and metric = 'human_clicked' and time_window = '{window}'
        """,
    )
    found = {row["Copy"].split(" · ")[0]: row for row in table(tab, "#template .copies")}
    assert set(found) == set(COPIES)
    named = {row["copy_id"]: row for row in rows}
    is_all = window == "all"
    for name, cells in found.items():
        row = named[COPIES[name]]
        assert cells["Successes"] == f"{row['successes']:,}"
        assert cells["Trials"] == f"{row['trials']:,}"
        assert cells["Share of traffic"] == share(row["traffic_share"])
        assert cells["Own rate"] == share(row["rate"], 2)
        assert cells["Comparable rate"] == share(row["comparable_rate"], 2)
        assert cells["Is best"] == share(row["probability_best"])
        assert cells["Rank"] == str(row["lift_rank"])
        if name == "control":
            continue
        assert cells["Lift"] == signed(row["verdict_lift" if is_all else "lift"])
        bounds = ("lift_low_anytime", "lift_high_anytime") if is_all else ("lift_low", "lift_high")
        assert cells["95 % interval"] == between(*(row[bound] for bound in bounds))
        assert cells["p (Holm)"] == ("0.0001" if is_all else "0.0642")
        assert cells["Beats control"] == share(row["probability_beats_control"])
        assert cells["Pooled lift"] == signed(row["pooled_lift"])
        assert cells["Days of the verdict"] == ("2026-01-12 to 2026-01-17" if is_all else "–")
        assert cells["Verdict"] == (row["verdict"].replace("_", " ") if is_all else "trend")
    sentences = tab.locator(".sentences li").all_inner_texts()
    for row in rows:
        assert row["is_control"] or not is_all or any(row["verdict_sentence"] in text for text in sentences)


def test_the_tables_behind_forest_and_trend(welcome: Page, folder: Path) -> None:
    tab = welcome
    forest = {row["Copy"].split(" · ")[0]: row for row in table(tab, "#figure-forest")}
    assert forest["copy 1"]["Lift"] == "+30.0 %" and forest["copy 1"]["95 % interval"] == "+10.0 % to +55.0 %"
    assert forest["copy 2"]["Lift"] == "−20.0 %" and forest["copy 2"]["Verdict"] == "no difference yet"
    rows = ask(folder, "from marts.variant_trend where template_id = 'welcome' and metric = 'human_clicked'")
    names = {copy_id: name for name, copy_id in COPIES.items()}
    expected = {
        (names[row["copy_id"]], str(row["period_start"])): (
            share(row["comparable_rate"], 2),
            f"{share(row['comparable_rate_low'], 2)} to {share(row['comparable_rate_high'], 2)}",
        )
        for row in rows
    }
    found = {
        (row["Copy"].split(" · ")[0], row["From"]): (row["Comparable rate"], row["95 % interval"])
        for row in table(tab, "#figure-trend")
    }
    assert found == expected
    assert tab.locator("#figure-trend .mark-text.role-mark text").all_text_contents() == ["✎"]


def test_what_would_flatten_a_plot_is_cut_and_whole_in_the_table(open_page: Open) -> None:
    tab = open_page("#template=nudge")
    assert "Cut at +300.0 %: the table has the whole." in tab.inner_text("#figure-forest figcaption").replace(
        "\u00a0", " "
    )
    (row,) = table(tab, "#figure-forest")
    assert row["95 % interval"] == "−10.0 % to > +1000 %"
    rows = table(tab, "#figure-trend")
    assert {row["95 % interval"].split(" to ")[1] for row in rows if row["From"] == "2026-01-20"} == {
        "90.00 %"
    }
    assert "Periods of a few trials are in the table only." in tab.inner_text("#figure-trend figcaption")
    assert tab.locator("#figure-trend .mark-symbol.role-mark path").count() == len(rows) - 2


def test_the_days_behind_the_traffic(open_page: Open, folder: Path) -> None:
    tab = open_page("#template=welcome&window=7_days")
    days = ask(
        folder,
        """
        select copy_id, experiment_date, any_value(trials) as trials,
            sum(successes) filter (metric = 'human_clicked') as people,
            sum(successes) filter (metric = 'clicked') as anyone
        from marts.experiment_daily
        where
            template_id = 'welcome' and metric in ('clicked', 'human_clicked')
            and experiment_date >= '2026-01-14'
        group by all
        """,
    )
    names = {copy_id: name for name, copy_id in COPIES.items()}
    expected = {
        (names[row["copy_id"]], str(row["experiment_date"])): tuple(
            f"{row[name]:,}" for name in ("trials", "people", "anyone")
        )
        for row in days
    }
    found = {
        (row["Copy"].split(" · ")[0], row["Day"]): (row["Trials"], row["clicked by people"], row["clicked"])
        for row in table(tab, "#figure-traffic")
    }
    assert found == expected and len(found) == 21


def days_of(tab: Page, figure: str) -> list[str]:
    """The days that the axis of a plot names."""
    labels = tab.locator(f"#figure-{figure} .role-axis-label text").all_text_contents()
    return [text for text in labels if re.fullmatch(r"\d{4}-\d\d-\d\d", text)]


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Auckland"])
def test_plots_show_the_days_of_the_marts_in_every_time_zone(open_page: Open, zone: str) -> None:
    tab = open_page("#template=welcome&window=7_days", timezone_id=zone)
    week = [f"2026-01-{day}" for day in range(14, 21)]
    # a day ends where the next one begins
    assert (days_of(tab, "trend"), days_of(tab, "traffic")) == (week, [*week, "2026-01-21"])
    # a day is a hundred wide
    for mark, where in (("trend .mark-symbol.role-mark", None), ("traffic .mark-area", {"x": 95, "y": 9})):
        tab.locator(f"#figure-{mark} path").first.hover(force=True, position=where)
        assert "2026-01-14" in (tab.locator("#vg-tooltip-element.visible").text_content() or "")


def test_the_traffic_of_a_single_day_is_drawn(marts: Marts, tmp_path: Path, open_page: Open) -> None:
    def newest(table: pyarrow.Table, column: str) -> pyarrow.Table:
        return table.filter(compute.equal(table[column], date(2026, 1, 20)))

    file = tmp_path / "report.html"
    one_day = {
        "days": newest(marts.days, "experiment_date"),
        "trends": newest(marts.trends, "period_start"),
    }
    write_page(replace(marts, **one_day), file)
    tab = open_page("#template=welcome&window=7_days", of=file)
    assert days_of(tab, "trend") == ["2026-01-20"]
    assert days_of(tab, "traffic") == ["2026-01-20", "2026-01-21"]
    box = tab.locator("#figure-traffic .mark-area path").first.bounding_box()
    assert box and box["width"] > 700


def test_the_funnel(welcome: Page, folder: Path) -> None:
    tab = welcome
    rows = ask(folder, "from marts.sums where template_id = 'welcome' and time_window = 'all'")
    of = {(row["copy_id"], row["metric"]): row for row in rows}
    found = {(row["Copy"], row["Stage"]): row for row in table(tab, "#figure-funnel")}
    assert len(found) == 3 * 6
    for name, copy_id in COPIES.items():
        served, sent = (of[copy_id, "delivered"][column] for column in ("units", "trials"))
        expected = {"served": served, "sent": sent, "delivered": of[copy_id, "delivered"]["successes"]}
        expected |= {
            metric: of[copy_id, metric]["successes"] for metric in ("opened", "clicked", "converted")
        }
        for stage, number in expected.items():
            assert found[name, stage]["Number"] == f"{number:,}"
            assert found[name, stage]["Share of served"] == share(number / served)
        for stage in ("opened", "clicked"):
            people = of[copy_id, f"human_{stage}"]["successes"]
            assert found[name, stage]["By people"] == f"{people:,}"
        assert found[name, "converted"]["By people"] == "–"


def test_the_segments(open_page: Open, folder: Path) -> None:
    tab = open_page("#template=welcome")
    none, first, second = table(tab, "#figure-segments")
    assert [none["Segment"], none["Lift"], none["Trials"]] == ["age: (none)", "–", "400"]
    assert tab.locator("#figure-segments .mark-symbol.role-mark path").count() == 2
    assert [first["Segment"], first["Lift"], first["95 % interval"], first["q"]] == [
        "persona: planner",
        "+25.0 %",
        "+5.0 % to +50.0 %",
        "0.0100",
    ]
    assert [second["Successes"], second["Trials"], second["Trials of control"]] == ["40", "500", "200"]
    tab.locator("#figure-segments select").select_option(
        label=tab.locator("#figure-segments option").nth(1).inner_text()
    )
    expect(tab.locator("#figure-segments .mark-symbol path")).to_have_count(1)
    (only,) = table(tab, "#figure-segments")
    assert (only["Lift"], only["q"], only["Trials"]) == ("+10.0 %", "0.6000", "300")


def test_segments_of_which_none_has_a_lift_are_a_table_only(
    marts: Marts, tmp_path: Path, open_page: Open
) -> None:
    file = tmp_path / "report.html"
    without = marts.segments.filter(compute.is_null(marts.segments["lift"]))
    write_page(replace(marts, segments=without), file)
    tab = open_page("#template=welcome", of=file)
    assert tab.inner_text("#figure-segments > p") == "Nothing to draw."
    assert tab.locator("#figure-segments .plot").count() == 0
    (row,) = table(tab, "#figure-segments")
    assert (row["Segment"], row["Lift"], row["Trials"]) == ("age: (none)", "–", "400")


def test_an_outside_control_has_no_segments_and_says_so(open_page: Open) -> None:
    tab = open_page("#template=nudge")
    assert "There are none" in tab.inner_text("#figure-segments figcaption")
    assert tab.locator("#figure-segments svg, #figure-segments select").count() == 0


def test_a_template_of_which_only_the_control_was_served_is_named(
    marts: Marts, tmp_path: Path, open_page: Open
) -> None:
    file = tmp_path / "report.html"
    alone = pyarrow.Table.from_pylist([{"template_id": "lonely"}], schema=marts.health.schema)
    write_page(replace(marts, health=pyarrow.concat_tables([marts.health, alone])), file)
    said = "Only the control of these templates was served, so there is nothing to compare: lonely."
    assert said in open_page(of=file).inner_text("#overview")
    none = {name: getattr(marts, name).slice(0, 0) for name in ("templates", "copies", "days", "trends")}
    write_page(replace(marts, **none, health=alone), file)
    overview = open_page(of=file).inner_text("#overview")
    assert said in overview and "No template has been served yet." not in overview


def test_the_health_of_a_template_and_of_the_data(open_page: Open) -> None:
    tab = open_page("#template=nudge")
    checks = {row["Check"]: row for row in table(tab, "#template-health")}
    assert checks["Match rate"]["Result"] == "61.0 %"
    assert checks["Split"]["Result"] == "broken"
    assert "30.0 % of 5,000; planned 10.0 %; p < 0.0001" in checks["Split"]["Meaning"]
    assert (checks["Crossover"]["Result"], checks["Days without control"]["Result"]) == ("15.0 %", "3")
    alerts = tab.locator("#overview tr:visible .alerts li").all_inner_texts()
    assert [text.replace("\u00a0", " ") for text in alerts] == [
        "The split is not as planned: 30.0 % in control instead of 10.0 %.",
        "15.0 % of the people got several copies.",
        "Customer.io reports a message for only 61.0 % of what was served.",
    ]
    calls = tab.locator("#data-health tr", has_text="JustAI calls").inner_text().replace("\u00a0", " ")
    assert (
        "2026-02-01 04:00" in calls and "2,000" in calls and "10 (0.5 %)" in calls and "not_json 10" in calls
    )
    assert "under 1 hour 75.0 %, 1 to 2 days 25.0 %" in calls
    tab.locator("#data-health summary").click()
    campaigns = tab.locator("#data-health details tbody tr").all_inner_texts()
    assert [text.replace("\u00a0", " ").split("\t") for text in campaigns] == [
        ["102", "2,000", "60.0 %"],
        ["101", "3,000", "98.0 %"],
    ]
