"""A small warehouse made by hand, with hostile texts, and the Chromium that opens the report on it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.report.marts import Marts, read
from scripts.report.page import page

# Opens the page at a fragment of its address, with options of a browser context.
Open = Callable[..., Page]

HOSTILE = '</script><script>document.title = "stolen"</script><img src="x" onerror="document.title = 1">'
LONG = "word " * 500
MADE_AT = datetime(2026, 2, 1, 12, tzinfo=UTC)
# The control and the two copies of welcome, the copy of nudge, the copy of the hostile template.
CONTROL, FIRST, SECOND, NUDGE, BARE = (
    f"{number}0000000-0000-4000-8000-000000000000" for number in range(1, 6)
)
BARE_ID = '"><script>document.title = "stolen"</script>'

# What dbt would have built: each relation with the columns that the report reads, and no more.
TABLES = f"""
create schema staging;
create schema marts;
create schema audit;

create table marts.dim_templates as
from (values ('welcome', 'Welcome email'), ('nudge', '<b>Nudge</b> & "quotes"')) t (template_id, name);

create table staging.landed_files as
from (values
    ('justai_calls', 990::bigint, 10::bigint, timestamp '2026-01-31 04:00:00'),
    ('justai_calls', 1000, 0, timestamp '2026-02-01 04:00:00'),
    ('customerio_events', 5000, 0, timestamp '2026-02-01 05:00:00')
) t (dataset, row_count, reject_count, loaded_at);
create table audit.audit_rejects as
from (values ('justai_calls', 'not_json', 10::bigint)) t (dataset, reason, reject_count);
create table audit.audit_arrival_lag as
from (values
    ('justai_calls', 1::bigint, 'under 1 hour', 1500::bigint), ('justai_calls', 4, '1 to 2 days', 500),
    ('customerio_events', 1, 'under 1 hour', 5000)
) t (dataset, bucket_number, arrival_lag, row_count);
create table audit.audit_match_rate as
from (values
    (101::bigint, 3000::bigint, 0.98::double, true), (102, 1000, 0.5, true), (102, 1000, 0.7, true),
    (999, 9, 0.0, false)
) t (campaign_id, event_count, match_rate, is_expected);

create table marts.dim_copy_variants as
select
    template_id, copy_id, version_number::bigint as version_number, vars::varchar as vars, change_type,
    valid_from::timestamp as valid_from, valid_to::timestamp as valid_to
from (values
    ('welcome', '{CONTROL}', 1, json_object('subject', 'Hello there', 'body', 'Come and see us today'),
        'created', '2026-01-01 08:00', null),
    ('welcome', '{FIRST}', 1, json_object('subject', 'Hello you', 'body', 'Come and see us today'),
        'created', '2026-01-01 09:00', '2026-01-11 10:00'),
    ('welcome', '{FIRST}', 2, json_object('subject', 'Hello you', 'body', 'Come and visit us tomorrow'),
        'edited', '2026-01-11 10:00', null),
    ('welcome', '{SECOND}', 1, json_object('subject', $${HOSTILE}$$, 'body', '{LONG}', 'count', 3),
        'created', '2026-01-01 10:00', null),
    ('nudge', '{NUDGE}', 1, json_object('title', 'A nudge'), 'created', '2026-01-02 08:00', null),
    ($${BARE_ID}$$, '{BARE}', 1, json_object(), 'created', '2026-01-03 08:00', null)
) t (template_id, copy_id, version_number, vars, change_type, valid_from, valid_to);
create table marts.copy_version_metrics as
from (values
    ('{FIRST}', 1::bigint, date '2026-01-01', 400::bigint, 100::bigint, 30::bigint, 4::bigint),
    ('{FIRST}', 1, '2026-01-02', 500, 200, 50, 5), ('{FIRST}', 2, '2026-01-11', 800, 290, 99, 12),
    ('{FIRST}', null, '2026-01-11', 7, 7, 7, 7)
) t (copy_id, version_number, delivery_date, served, human_opened, human_clicked, converted);

create table marts.variant_health as
from (values
    ('welcome', 'inside', 0.3::double, 900::bigint, 280::bigint, 0.311::double, 0.6::double, 'as_planned',
        900::bigint, 0.02::double, 'reported', 1::bigint, 0::bigint, 0.97::double, 0::bigint),
    ('nudge', 'outside', 0.1, 5000, 1500, 0.3, 0.0000001, 'broken', 800, 0.15, 'flagged', 0, 2, 0.61, 3)
) t (
    template_id, control_split, control_share, split_units, split_control_units, observed_control_share,
    split_p_value_anytime, split_status, people_sampled, crossover_share, crossover_status,
    edits_while_serving, versions_under_an_hour, match_rate, days_without_control
);

create table marts.arms as
select *, row_number() over () as arm
from (values
    ('welcome', '{CONTROL}', true, 'human_clicked', 1.0), ('welcome', '{FIRST}', false, 'human_clicked', 1.3),
    ('welcome', '{SECOND}', false, 'human_clicked', 0.8), ('nudge', null, true, 'converted', 1.0),
    ('nudge', '{NUDGE}', false, 'converted', 1.1), ($${BARE_ID}$$, '{BARE}', false, null, 1.0)
) t (template_id, copy_id, is_control, key_metric, better);
create table marts.metrics as
from (values
    ('delivered', 0.98), ('opened', 0.5), ('human_opened', 0.3), ('clicked', 0.12), ('human_clicked', 0.1),
    ('converted', 0.02), ('unsubscribed', 0.004)
) t (metric, base);

create table marts.experiment_daily as
select
    template_id, copy_id, is_control, metric, date '2026-01-01' + day::int as experiment_date,
    100 + arm * day as units,
    100 + arm * day - day % 4 as trials,
    floor((100 + arm * day) * case metric when 'delivered' then 0.9 else base * better end)::bigint
        as successes
from marts.arms, marts.metrics, range(20) t (day)
where not (day = 7 and template_id = 'nudge' and is_control);

create table marts.variant_trend as
select
    template_id, copy_id, is_control, metric, experiment_date as period_start, 1::bigint as period_days,
    successes / trials as comparable_rate, successes / trials * 0.8 as comparable_rate_low,
    case
        when template_id = 'nudge' and experiment_date = '2026-01-20' then 0.9 else successes / trials * 1.25
    end as comparable_rate_high
from marts.experiment_daily;

create table marts.sums as
select
    template_id, copy_id, is_control, metric, time_window, sum(units)::bigint as units,
    sum(trials)::bigint as trials,
    sum(successes)::bigint as successes
from marts.experiment_daily, (values ('all', 1000), ('28_days', 28), ('7_days', 7)) t (time_window, days)
where experiment_date > date '2026-01-20' - days::int
group by all;
create table marts.variant_performance as
with compared as (
    select
        sums.*, arms.better - 1 as lift, controls.trials is not null and not sums.is_control as has_lift,
        sums.time_window = 'all' as is_all, arms.key_metric is not distinct from sums.metric as is_key
    from marts.sums as sums
    inner join marts.arms as arms
        on sums.template_id = arms.template_id and sums.copy_id is not distinct from arms.copy_id
    left join marts.sums as controls
        on
            sums.template_id = controls.template_id and sums.metric = controls.metric
            and sums.time_window = controls.time_window and controls.is_control
)
select
    template_id, copy_id, is_control, metric, time_window, units, trials, successes,
    case when has_lift then 0.0987 * (1 + lift) when is_control then 0.0987 end as comparable_rate,
    case when has_lift then lift + 0.0004 when is_control then 0 end as lift,
    case when has_lift then lift - 0.1 end as lift_low, case when has_lift then lift + 0.15 end as lift_high,
    case when has_lift then 0.0321 end as p_value, case when has_lift then 0.0642 end as p_value_holm,
    case when has_lift or is_control
        then row_number() over (partition by template_id, metric, time_window order by lift desc)
    end as lift_rank,
    case when has_lift then lift * 2 end as pooled_lift,
    case when has_lift then 0.987 end as probability_beats_control,
    case when has_lift and is_all and is_key then 0.9 end as probability_best,
    case when not has_lift and not is_control then 'no_control' end as reason,
    case
        when not is_all then null when is_control then 'control'
        when template_id = 'nudge' then 'split_broken'
        when not has_lift then 'no_key_metric' when lift > 0.2 then 'better' else 'no_difference_yet'
    end as verdict,
    case when is_all then 'Sentence of ' || coalesce(copy_id, 'control') || ', ' || metric || '.'
    end as verdict_sentence,
    case when has_lift and is_all then lift end as verdict_lift,
    case when has_lift and is_all then lift - 0.2 end as lift_low_anytime,
    case when has_lift and is_all then case template_id when 'nudge' then 50 else lift + 0.25 end end
        as lift_high_anytime,
    case when has_lift and is_all then 0.00004 end as p_value_anytime,
    case when has_lift and is_all then 0.00008 end as p_value_anytime_holm,
    case when has_lift and is_all then date '2026-01-12' end as verdict_from,
    case when has_lift and is_all then date '2026-01-17' end as verdict_through
from compared;

create table marts.template_performance as
with copies as (
    select template_id, metric, time_window, sum(trials)::bigint as trials, min(verdict) as verdict,
    min(reason) as reason
    from marts.variant_performance
    where not is_control
    group by all
)
select
    copies.template_id, copies.metric, copies.time_window, copies.trials, controls.trials as control_trials,
    exists (
        from marts.arms where arms.template_id = copies.template_id and arms.key_metric = copies.metric
    ) as is_key_metric,
    case when controls.trials > 0 then -0.0123 end as lift,
    case when controls.trials > 0 then -0.1 end as lift_low,
    case when controls.trials > 0 then 0.2 end as lift_high,
    case when controls.trials > 0 then 0.5 end as p_value,
    copies.reason, copies.verdict,
    case when copies.time_window = 'all' then 'All copies of ' || copies.template_id || ', ' || copies.metric
        || '.' end as verdict_sentence,
    case when copies.time_window = 'all' and controls.trials > 0 then 0.0456 end as verdict_lift,
    case when copies.time_window = 'all' and controls.trials > 0 then -0.0789 end as lift_low_anytime,
    case when copies.time_window = 'all' and controls.trials > 0 then 0.9 end as lift_high_anytime,
    case when copies.time_window = 'all' and controls.trials > 0 then 0.4 end as p_value_anytime
from copies
left join marts.sums as controls
    on
        copies.template_id = controls.template_id and copies.metric = controls.metric
        and copies.time_window = controls.time_window and controls.is_control;

create table marts.segment_performance as
select
    'welcome' as template_id, copy_id, segment_key, segment_value, metric, trials::bigint as trials,
    successes::bigint as successes, control_trials::bigint as control_trials, lift::double as lift,
    lift_low::double as lift_low, lift_high::double as lift_high, q_value::double as q_value
from (values
    ('{FIRST}', 'persona', 'planner', 'human_clicked', 700, 70, 300, 0.25, 0.05, 0.5, 0.01),
    ('{FIRST}', 'persona', '{HOSTILE}', 'human_clicked', 500, 40, 200, -0.1, -0.3, 0.2, 0.4),
    ('{FIRST}', 'age', '(none)', 'human_clicked', 400, 0, 100, null, null, null, null),
    ('{SECOND}', 'persona', 'planner', 'human_clicked', 300, 30, 300, 0.1, -0.2, 0.3, 0.6),
    ('{SECOND}', 'persona', 'planner', 'opened', 300, 30, 300, 0.1, -0.2, 0.3, 0.6)
) t (copy_id, segment_key, segment_value, metric, trials, successes, control_trials, lift,
    lift_low, lift_high, q_value)
union all
select 'nudge', '{NUDGE}', null, null, 'converted', 5000, 70, null, null, null, null, null;
"""

PROFILE = (
    "copymart: {{target: duckdb, outputs: {{duckdb: {{type: duckdb, path: '{file}', schema: main}}}}}}\n"
)
PROJECT_FILE = "name: copymart\nprofile: copymart\nvars: {min_match_rate: 0.9, production_schema: PROD}\n"


def fill(folder: Path) -> Path:
    """Make the warehouse, its dbt project and its profile in a folder, and return the warehouse's file."""
    file = folder / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(TABLES)
    (folder / "dbt_project.yml").write_text(PROJECT_FILE)
    (folder / "profiles.yml").write_text(PROFILE.format(file=file))
    return file


def read_marts(folder: Path) -> Marts:
    """Read the marts of a folder that `fill` made."""
    return read(folder, folder, None, lambda steps: None)


def write_page(marts: Marts, to: Path) -> str:
    """Write the page of the marts, and return it."""
    html = page(marts, MADE_AT, 0.9, lambda steps: None)
    to.write_text(html, encoding="utf-8")
    return html


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium that the machine has.

    Raises:
        AssertionError: it has none; the tests that need one must not pass unseen.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, (
        "these tests open the report in Chromium: install chromium, chromium-browser or google-chrome"
    )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def opened(browser: Browser, file: Path, fragment: str = "", **options: Any) -> tuple[Page, list[str]]:
    """Open a page and wait until it is drawn; also returns what its console says and what it fails with."""
    said: list[str] = []
    tab = browser.new_context(**options).new_page()
    tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"error: {error}"))
    tab.on(
        "request",
        lambda request: said.append(f"request: {request.url[:80]}") if not local(request.url) else None,
    )
    tab.goto(f"{file.as_uri()}{fragment}")
    tab.wait_for_selector("html[data-shown]")
    return tab, said


def local(url: str) -> bool:
    """Whether a request stays in the page's own file."""
    return url.startswith(("file:", "data:"))


def choose(tab: Page, name: str, value: str, shown: str) -> None:
    """Set a filter, and wait until the page shows the state of that fragment."""
    tab.select_option(f"#filter-{name}", value)
    tab.wait_for_selector(f'html[data-shown="{shown}"]')
