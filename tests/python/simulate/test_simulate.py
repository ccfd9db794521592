"""The simulator: its arguments decide every byte, its hard cases are there, and its truth agrees with itself.

That the warehouse makes of the files what the truth says is tested in test_truth.py.
"""

import csv
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.errors import UserError
from scripts.simulate import command as simulator
from scripts.simulate import world
from scripts.simulate.command import simulate
from scripts.simulate.scenarios import scenarios
from support.project import PROJECT

START = datetime(2026, 1, 1)
HOUR = re.compile(r"(\d{4})/(\d{2})/(\d{2})/(\d{2})/")


def make(out: Path, calls: int, days: int = 14, seed: int = 1) -> Path:
    simulate(out, calls, days, seed, START)
    return out


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("large"), 20_000)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("small"), 2_000)


def hashes(out: Path, folder: str = ".") -> dict[str, str]:
    """Hash of every file under a folder of the simulation."""
    files = (path for path in (out / folder).rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines(out: Path, dataset: str) -> Iterator[tuple[str, int, bytes]]:
    """File, line number and bytes of every line, in order."""
    for path in sorted((out / dataset).rglob("*.jsonl.gz")):
        text = gzip.decompress(path.read_bytes())
        assert text.endswith(b"\n")
        for number, line in enumerate(text[:-1].split(b"\n"), start=1):
            yield path.relative_to(out).as_posix(), number, line


@cache
def good(out: Path, dataset: str) -> list[tuple[str, dict]]:
    """File and record of every line that is neither blank nor meant to be rejected."""
    bad = set(rows(out, "select file, line from rejects"))
    return [
        (file, json.loads(line))
        for file, number, line in lines(out, dataset)
        if line.strip() and (file, number) not in bad
    ]


@cache
def truth(out: Path) -> duckdb.DuckDBPyConnection:
    """The truth tables of a simulation."""
    con = duckdb.connect()
    for path in (out / "truth").glob("*.parquet"):
        con.execute(f"create table {path.stem} as from '{path}'")
    return con


def rows(out: Path, query: str) -> list[tuple]:
    """Rows of a query over the truth tables."""
    return truth(out).execute(query).fetchall()


def value(out: Path, query: str) -> Any:
    """The one value of a query over the truth tables."""
    ((found,),) = rows(out, query)
    return found


def cases(out: Path) -> dict[str, int]:
    return dict(rows(out, "select name, cases from hard_cases"))


def as_map(given: object) -> str:
    """Canonical text of a map as a call may give it: object, JSON text, null or nothing."""
    parsed = json.loads(given) if isinstance(given, str) else given
    return world.canonical(parsed or {})


def whole(given: object) -> int | None:
    return None if given in (None, "") else int(float(given))


def seconds(given: object) -> int:
    number = int(given)
    return number // 10**6 if number > 1e14 else number // 1000 if number > 1e11 else number


# --- arguments ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny"), 400)


def test_same_arguments_same_bytes(tmp_path: Path, tiny: Path) -> None:
    again = make(tmp_path / "again", 400)
    other = make(tmp_path / "other", 400, seed=2)
    assert hashes(again) == hashes(tiny)
    for folder in ("justai", "customerio"):
        assert hashes(other, folder) != hashes(tiny, folder)


def test_work_in_pieces_makes_one_world(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "STORIES_AT_ONCE", 130)
    monkeypatch.setattr(simulator.files, "LINES_AT_ONCE", 200)
    pieces = make(tmp_path / "pieces", 400)
    for folder in ("justai", "customerio"):
        assert hashes(pieces, folder) == hashes(tiny, folder)
    for path in (tiny / "truth").glob("*.parquet"):
        whole_rows, rows_of_pieces = (rows(out, f"from {path.stem} order by all") for out in (tiny, pieces))
        assert whole_rows == rows_of_pieces, path.stem


@pytest.mark.parametrize(("calls", "days"), [(1, 1), (2, 30), (17, 3), (501, 1)])
def test_there_are_as_many_distinct_calls_as_asked_for(tmp_path: Path, calls: int, days: int) -> None:
    out = make(tmp_path / "out", calls, days)
    assert value(out, "select count(*) from (select distinct * from fct_calls)") == calls
    assert value(out, "select count(*) from fct_calls") == calls


def test_calls_lie_in_the_days_asked_for(large: Path) -> None:
    first = value(large, "select min(first_called_at)::date from fct_deliveries")
    last = value(large, "select max(last_called_at)::date from fct_deliveries")
    assert str(first) >= "2025-12-31"
    late = (
        "select count(*) filter (event_timestamp >= epoch(timestamp '2026-01-15')) / count(*) from fct_calls"
    )
    assert value(large, late) < 0.02
    assert str(last) > "2026-01-14"


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="did not write"):
        make(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="is a file"):
        make(tmp_path / "mine.txt", 10)


def test_a_former_simulation_is_replaced(tmp_path: Path) -> None:
    make(tmp_path, 200, days=3, seed=5)
    stale = tmp_path / "justai/calls/1999/01/01/00/calls.jsonl.gz"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    make(tmp_path, 100, days=2)
    fresh = make(tmp_path.with_name("fresh"), 100, days=2)
    assert hashes(tmp_path) == hashes(fresh)


def test_a_run_cut_short_is_marked_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simulator.truth, "finish", cut)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, 100)
    assert (tmp_path / simulator.MARKER).read_text() == simulator.UNFINISHED
    make(tmp_path, 100)
    assert "calls 100" in (tmp_path / simulator.MARKER).read_text()
    assert not (tmp_path / ".work").exists()


@pytest.mark.parametrize("start", [datetime(1999, 12, 31), datetime(2098, 12, 30)])
def test_days_that_landing_would_reject_are_refused(tmp_path: Path, start: datetime) -> None:
    with pytest.raises(UserError, match="must lie between"):
        simulate(tmp_path / "out", 10, 14, 1, start)
    assert not (tmp_path / "out").exists()


# --- the world ------------------------------------------------------------------------------------


def test_the_sample_seeds_are_the_simulated_templates() -> None:
    def seed(name: str) -> list[list[str]]:
        with (PROJECT / f"scripts/simulate/sample_seeds/{name}.csv").open(newline="") as file:
            return list(csv.reader(file))[1:]

    assert seed("template_settings") == [[str(field) for field in row] for row in world.settings_rows()]
    actions = [["" if field is None else str(field) for field in row] for row in world.ACTIONS]
    assert seed("template_actions") == actions


def test_every_scenario_says_which_call_counts() -> None:
    for scenario in scenarios():
        for number in range(len(scenario.deliveries)):
            calls = [call for call in scenario.calls if call.delivery == number]
            final = [call for call in calls if call.final]
            assert final, scenario.name
            assert len(final) == 1 or all(call.tie for call in final), scenario.name
            assert len({(call.lo, call.hi) for call in final}) == 1, scenario.name
            assert all(call.hi < final[0].lo for call in calls if not call.final), scenario.name
        for message in scenario.messages:
            told = [message.owner is not None, message.control is not None, message.reason is not None]
            assert sum(told) == 1, scenario.name
            assert (message.method is None) == (message.owner is None), scenario.name


def test_the_bandit_moves_traffic_and_leaves_control_its_share(large: Path) -> None:
    share = """
        select sum(api_calls) filter (copy_id = (
            select copy_id from dim_copy_variants_current where subject like 'Warm%welcome%'))
            / sum(api_calls),
            sum(api_calls) filter (is_control) / sum(api_calls)
        from copy_metrics_daily where template_id = 'welcome-email' and metric_date between {} and {}
    """
    best_before, control_before = rows(large, share.format("'2026-01-01'", "'2026-01-03'"))[0]
    best_after, control_after = rows(large, share.format("'2026-01-12'", "'2026-01-14'"))[0]
    assert best_after > 2 * best_before
    assert 0.1 < control_before < 0.25 and 0.1 < control_after < 0.25


def test_better_copies_do_better(large: Path) -> None:
    treatment, control = rows(large, """
        select sum(human_opened) / sum(reached) from copy_cohort_metrics_daily
        where template_id = 'welcome-email' group by is_control order by is_control
    """)  # fmt: skip
    assert treatment[0] > 1.1 * control[0]


def test_rates_are_plausible(large: Path) -> None:
    delivered, opened, machine, clicked, converted = rows(large, """
        select sum(delivered) / sum(sent), sum(human_opened) / sum(delivered),
            (sum(opened) - sum(human_opened)) / sum(delivered), sum(human_clicked) / sum(delivered),
            sum(converted) / sum(delivered)
        from copy_cohort_metrics_daily where template_id in ('welcome-email', 'plan-nudge')
    """)[0]  # fmt: skip
    assert 0.94 < delivered < 0.99
    assert 0.25 < opened < 0.45
    assert 0.08 < machine < 0.3
    assert 0.02 < clicked < 0.08
    assert 0.01 < converted < 0.05
    events, calls = rows(large, "select lines from lines order by dataset")
    assert 2 < events[0] / calls[0] < 3


# --- hard cases -----------------------------------------------------------------------------------

METHODS = ("direct", "action_map", "parent_direct", "parent_map", "delivery_id", "control")
REASONS = (
    *("no_journey_id", "no_action_id", "no_call_in_journey"),
    *("call_out_of_range", "action_not_mapped", "map_disagrees"),
)
JUNK = [
    f"junk {dataset} {reason or 'blank'}"
    for dataset, kinds in simulator.junk.JUNK.items()
    for _, reason in kinds
]
PLANNED = {
    **dict.fromkeys((scenario.name for scenario in scenarios()), 10),
    **{f"tie_{kind}": 24 for kind in ("copy", "twin", "attrs", "user", "campaign", "late", "three")},
    **dict.fromkeys(("shared_message_tie", "reentry_same_second", "edit_instant", "stray_content"), 24),
    "rival accused": 12,
    "rival denied": 12,
    "call delivered again": 100,
    "call delivered again in its hour": 30,
    "call weeks late": 100,
    "event delivered again": 400,
    "event contradicted": 100,
    "event weeks late": 300,
    "event of a webhook": 1_000,
    "event of a person": 15,
    "event of a customer": 60,
    "event of a legacy": 40,
    "event of a newsletter": 100,
    "event of a transactional": 100,
    "event of a broadcast": 100,
    "events strip_first": 100,
    "events strip_later": 100,
    "events campaign_first": 100,
    "events wrong_action_first": 100,
    "events wrong_campaign_first": 30,
    "outside_window": 100,
    "second_day": 15,
    "metric email forwarded": 10,
    "metric slack opened": 1,
    "metric email drafted": 10,
    "metric email suppressed": 10,
    "version created": 40,
    "version edited": 10,
    "version reverted": 8,
    **dict.fromkeys(("method " + name for name in METHODS), 100),
    **dict.fromkeys(("method " + name for name in REASONS), 40),
    **dict.fromkeys(JUNK, 3),
}


def test_every_hard_case_is_there(large: Path) -> None:
    found = cases(large)
    assert {name: found.get(name, 0) for name, least in PLANNED.items() if found.get(name, 0) < least} == {}


def test_most_hard_cases_are_there_in_a_small_world(small: Path) -> None:
    found = cases(small)
    missing = [name for name in PLANNED if not found.get(name)]
    assert len(missing) < 0.03 * len(PLANNED), missing


# least number of lines with such text among those of 20,000 calls
SPELLED = {
    "justai/calls": {
        r'"event_timestamp": ?\d{10}[ ,}]': 15_000,
        r'"event_timestamp": ?\d{13}[ ,}]': 300,
        r'"event_timestamp": ?\d{16}[ ,}]': 100,
        r'"event_timestamp": ?"\d{10}"': 300,
        r'"action_id":"\d+"': 50,
        r'"action_id":\d+\.0': 20,
        r'"user_id":null': 30,
        r'"user_id":""': 30,
        r'"journey_id":null': 30,
        r'"journey_id":"flow \\"a,': 20,
        r'"campaign_id":""': 10,
        r'"copy_id" ?: ?"[0-9A-F-]{36}"': 200,
        r'"vars":null': 5,
        r'"vars":"\{': 300,
        r'"vars": \{': 300,
        r'"attrs":\{ \}': 5,
        r'"attrs":null': 5,
        r"\\u00e4": 100,
        r"<\\/p>": 300,
        r'"preheader":""': 1_000,
        r'"tracking_id"': 300,
        "\u2028": 100,
    },
    "customerio/events": {
        r'"object_type":"in-app"': 100,
        r'"object_type":"twilio"': 100,
        r'"object_type":"EMAIL"': 50,
        r'^\{"event_id":"[^"]+","event_type":"email_': 100,
        r'"data":\{"event_type":"': 100,
        r'"metric":"email_opened"': 20,
        r'"object_type_type"': 10,
        r'"timestamp": "\d{10}"': 300,
        r'"timestamp":\d{13},': 50,
        r'"prefetched":true': 1_000,
        r'"proxied":true,"prefetched":false': 100,
        r'"synthetic":true': 50,
        r'"machine":true': 100,
        r'"machine":null': 20,
        r'"journey_id":9\d{8}': 20,
        r'"delivery_id":""': 3,
        r'"newsletter_id"': 100,
        r'"transactional_message_id"': 100,
        r'"broadcast_id"': 100,
        r'"email_id"': 40,
        r"\}\r$": 50,
        r"^\{ ": 300,
    },
}


@pytest.mark.parametrize("dataset", SPELLED)
def test_the_lines_are_spelled_in_many_ways(large: Path, dataset: str) -> None:
    text = [line.decode(errors="replace") for _, _, line in lines(large, dataset)]
    found = {pattern: sum(1 for line in text if re.search(pattern, line)) for pattern in SPELLED[dataset]}
    assert {pattern: n for pattern, n in found.items() if n < SPELLED[dataset][pattern]} == {}


def test_files_lie_under_the_hour_of_arrival(large: Path) -> None:
    late: Counter[str] = Counter()
    for dataset, field in (("justai/calls", "event_timestamp"), ("customerio/events", "timestamp")):
        for file, record in good(large, dataset):
            year, month, day, hour = map(int, HOUR.search(file).groups())
            arrived = datetime(year, month, day, hour)
            happened = datetime.fromtimestamp(seconds(record[field]) // 3600 * 3600)
            assert arrived >= happened
            late[dataset, (arrived - happened).days >= 12] += 1
    for dataset in ("justai/calls", "customerio/events"):
        assert late[dataset, True] > 100 < late[dataset, False]


def test_lines_of_a_file_are_in_no_order(large: Path) -> None:
    times = [
        [seconds(record["event_timestamp"]) for _, record in group]
        for _, group in groupby(good(large, "justai/calls"), key=lambda pair: pair[0])
    ]
    assert sum(1 for within in times if within != sorted(within)) > 100


# --- truth ----------------------------------------------------------------------------------------


def test_the_calls_of_the_files_are_those_of_the_truth(small: Path) -> None:
    found = {
        (
            seconds(record["event_timestamp"]),
            record.get("user_id") or None,
            whole(record.get("campaign_id")),
            whole(record.get("action_id")),
            *(record.get("journey_id") or None, record["copy_id"].lower(), record["template_id"]),
            *(as_map(record.get("vars")), as_map(record.get("attrs"))),
        )
        for _, record in good(small, "justai/calls")
    }  # fmt: skip
    nine = "event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, template_id, vars, attrs"
    assert found == set(rows(small, f"select {nine} from fct_calls"))


def test_the_events_of_the_files_are_those_of_the_truth(small: Path) -> None:
    def is_about_message(record: dict) -> bool:
        data = record["data"]
        name = record.get("object_type") or record.get("event_type") or data.get("event_type") or ""
        return bool(data.get("delivery_id")) and not name.lower().startswith(("webhook", "customer"))

    found = {
        (record["event_id"], seconds(record["timestamp"]) // 86_400, record["data"]["delivery_id"])
        for _, record in good(small, "customerio/events")
        if is_about_message(record)
    }
    keys = "select event_id, (epoch(event_date) // 86400)::bigint, delivery_id from fct_engagement_events"
    assert found == set(rows(small, keys))


def test_rejects_are_lines_that_nobody_could_land(large: Path) -> None:
    told = {(file, line): (raw, reason) for file, line, raw, reason in rows(
        large, "select file, line, raw, reason from rejects")}  # fmt: skip
    blank = 0
    for dataset in ("justai/calls", "customerio/events"):
        for file, number, line in lines(large, dataset):
            raw, reason = told.pop((file, number), (None, None))
            blank += not line.strip()
            if reason == "invalid_utf8":
                assert raw is None
                with pytest.raises(UnicodeDecodeError):
                    line.decode()
            elif reason:
                assert line.decode() == raw
    assert told == {}
    assert blank > 10


def test_content_hashes_and_keys_are_as_defined(small: Path) -> None:
    for template, text, digest in rows(
        small, "select distinct template_id, vars, content_hash from fct_calls"
    ):
        assert hashlib.md5(f"{template}\n{text}".encode()).hexdigest() == digest
        assert world.canonical(json.loads(text)) == text
    ids = "select journey_id, action_id, delivery_key from fct_deliveries"
    for journey, action, key in rows(small, f"{ids} where journey_id is not null and action_id is not null"):
        quoted = journey.replace("\\", "\\\\").replace('"', '\\"')
        assert hashlib.md5(f'"{quoted}","{action}"'.encode()).hexdigest() == key


def test_a_delivery_ends_with_its_last_call(large: Path) -> None:
    """R2 by another way than the plan's: sort the calls of each delivery by the rule."""
    disagreeing = value(large, """
        select count(*) from fct_deliveries d join (
            select * from fct_calls where journey_id is not null and action_id is not null
            qualify row_number() over (
                partition by journey_id, action_id
                order by event_timestamp desc, content_hash desc, copy_id desc, attrs desc,
                    user_id desc nulls last, campaign_id desc nulls last) = 1
        ) c using (journey_id, action_id)
        where (d.copy_id, d.content_hash, d.attrs) <> (c.copy_id, c.content_hash, c.attrs)
            or d.user_id is distinct from c.user_id or d.campaign_id is distinct from c.campaign_id
            or epoch(d.last_called_at) <> c.event_timestamp
    """)  # fmt: skip
    assert disagreeing == 0
    assert value(large, "select count(*) from fct_deliveries where copy_conflict") > 500


def test_versions_are_chained_and_hold_what_was_called(large: Path) -> None:
    broken = value(large, """
        select count(*) from (
            select *, lead(valid_from) over w as next_from, lead(content_hash) over w as next_hash,
                row_number() over w as place
            from dim_copy_variants window w as (partition by copy_id order by version_number)
        )
        where valid_to is distinct from next_from or valid_to <= valid_from or content_hash = next_hash
            or place <> version_number or is_current <> (valid_to is null)
    """)  # fmt: skip
    assert broken == 0
    strays = value(large, """
        select count(*) from fct_calls c join dim_copy_variants v on v.copy_id = c.copy_id
            and epoch(v.valid_from) <= c.event_timestamp
            and (v.valid_to is null or c.event_timestamp < epoch(v.valid_to))
        where v.content_hash <> c.content_hash
    """)  # fmt: skip
    assert 0 < strays <= cases(large)["stray_content"] * 2
    assert value(large, "select count(*) from dim_copy_variants_current") == value(
        large, "select count(distinct copy_id) from fct_calls"
    )


def test_sums_agree(large: Path) -> None:
    daily, cohort = "copy_metrics_daily", "copy_cohort_metrics_daily"
    for mart in (daily, cohort):
        assert value(large, f"select sum(served) from {mart}") == value(
            large, "select count(*) from fct_deliveries"
        )
        assert value(large, f"select sum(api_calls) from {mart}") == 20_000
    columns = ", ".join(f"sum({m}), sum({m}_events)" for m in world.METRICS)
    assert rows(
        large, f"select copy_id, sum(served), {columns} from {daily} group by all order by all"
    ) == rows(large, f"select copy_id, sum(served), {columns} from {cohort} group by all order by all")
    for metric in world.METRICS:
        named = metric.removeprefix("human_")
        which = f"counts and counts_as = '{named}'" + (" and not is_machine" if metric != named else "")
        for mart, where in (
            (daily, "delivery_key is not null"),
            ("control_metrics_daily", "match_method = 'control'"),
        ):
            facts = f"select count(*) from fct_engagement_events where {which} and {where}"
            assert value(large, f"select sum({metric}_events) from {mart}") == value(large, facts), (
                mart,
                metric,
            )
            assert value(large, f"select bool_and({metric} <= {metric}_events) from {mart}"), (mart, metric)
        together = f"select count(distinct delivery_key) from fct_engagement_events where {which}"
        assert value(large, f"select sum({metric}) from {cohort}") == value(large, together)


def test_why_an_event_does_not_count_is_always_said(large: Path) -> None:
    wrong = """
        select count(*) from fct_engagement_events
        where counts <> (uncounted_reason is null)
            or (match_method is null) <> (unmatched_reason is not null)
            or coalesce(uncounted_reason = 'unmatched', false) <> (match_method is null)
            or (match_method = 'control') <> (control_template_id is not null)
            or (delivery_key is null) <> (copy_id is null)
            or counts and counts_as is null
    """
    assert value(large, wrong) == 0
    assert value(large, "select count(*) from fct_engagement_events") == value(
        large, "select count(*) from (select distinct event_id, event_date from fct_engagement_events)"
    )
