"""Incremental builds equal a full refresh, whatever landed in whatever order, and whatever broke off.

`make replay EXAMPLES=300` plays many random histories; without EXAMPLES a few that never change are played.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from scripts.forget.person import find
from scripts.forget.rows import forget_rows, known_of
from scripts.land.api import place_of
from scripts.land.duckdb_api import OnDuckDB
from scripts.land.rules import CALLS, EVENTS, SENDS, VARIANTS
from support.land import SPAN, event, land_path, send, variant, warehouse, write
from support.project import NO_MANIFEST, PROJECT
from support.project import settings as environment_of
from support.replay.builds import (
    FOUND,
    WAREHOUSE,
    Builder,
    Death,
    Recorded,
    attach,
    copy_landing,
    dbt_build,
    differences,
    models_of,
)
from support.replay.cases import ALL_CASES
from support.replay.exports import whole_way
from support.replay.histories import HOURS, History, Line, Plan, Step, line_of
from support.replay.mutations import MUTATIONS, NEEDED
from support.replay.plans import (
    check,
    empty_warehouse,
    history_of,
    is_noticed,
    lines_of,
    plan_of,
    plans,
    play,
    unequal,
    unequal_to_full,
)
from support.replay.source_calls import say
from support.replay.steps import (
    edit_actions,
    edit_control,
    hour_of,
    land_edited,
    land_gone,
    land_late_edit,
    land_moved,
    land_retry,
    land_shorter,
    land_some,
    land_sync,
)
from support.sync import delivery, metric

EXAMPLES = int(os.environ.get("COPYMART_REPLAY_EXAMPLES", "0"))
SEED = int(os.environ.get("COPYMART_REPLAY_SEED") or time.time())
USUAL_FEEDS = "webhooks, sync"
FEEDS = os.environ.get("COPYMART_REPLAY_FEEDS") or USUAL_FEEDS
# Of so many examples each case must be met by a tenth, but for those that take two edits of one template: the
# second is met by 2 %, and test_a_control_template_acts_on_history plays it.
ENOUGH = 100
SHARES = {
    "a control template is named later": 0.05,
    "a full refresh in between": 0.05,
    "a control template is taken back": 0.0,
    "the webhooks count what the sync had counted": 0.05,
    "the sync counts again what the webhooks lost": 0.01,
    "the feeds of a day share too few, and enough again": 0.02,
}
MAPS = ("template_actions", "template_settings")
# Together they meet every case.
SHORT = (11, 17)
# Mutations of the short form, and the numbers of plans that notice them. A number is another plan when models
# are added, so that the next ones are tried as well.
TRIED = 10
SHORT_MUTATIONS = {
    "calls that landed": 11,
    "events that landed": 11,
    "calls that were removed": 9,
    "sends whose variant landed or went": 2,
    "events of the sync whose messages the webhooks touched": 5,
}


@dataclass(frozen=True)
class Example:
    """A warehouse as dbt built it first, and as it did after more had landed: folders with their seeds."""

    recorded: Recorded
    states: tuple[Path, Path]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("replay").resolve()
    environment = environment_of(folder)
    # a project of its own: dbt wants the seeds, which the example edits, inside
    project = folder / "project"
    project.mkdir()
    settings_of_project = (PROJECT / "dbt_project.yml").read_text()
    # days that begin at a quarter to another hour of UTC, and not at the same one all year
    (project / "dbt_project.yml").write_text(
        settings_of_project.replace("reporting_timezone: UTC", "reporting_timezone: Pacific/Chatham").replace(
            f"engagement_feeds: [{USUAL_FEEDS}]", f"engagement_feeds: [{FEEDS}]"
        )
    )
    for part in ("models", "macros", "tests/generic", "tests/assertions"):
        shutil.copytree(PROJECT / part, project / part)
    environment["COPYMART_SEEDS"] = "seeds"
    path = folder / f"{WAREHOUSE}.duckdb"
    draw = Random(1)

    connection = warehouse(path)
    history = History(connection, project, lines_of(Plan(0, 1, 160, True, 0.0, ())))
    land_some(history, draw, 0.6)
    connection.close()
    first = dbt_build(project, environment | NO_MANIFEST, folder / "first")
    states = [keep(path, history.seeds, folder / "state_first")]
    refresh = dbt_build(project, environment | NO_MANIFEST, folder / "refresh", "--full-refresh")

    history.connection = warehouse(path)
    for act in (
        land_some,
        land_sync,
        land_late_edit,
        land_edited,
        land_shorter,
        land_gone,
        edit_control,
        edit_actions,
    ):
        act(history, draw)
    history.connection.close()
    later = dbt_build(project, environment, folder / "later")
    states.append(keep(path, history.seeds, folder / "state_later"))

    recorded = Recorded(first, later, refresh, history.seeds, models_of(folder / "target"))
    yield Example(recorded, (states[0], states[1]))
    shutil.rmtree(folder, ignore_errors=True)


def keep(path: Path, seeds: Path, state: Path) -> Path:
    """Copy a warehouse and its seeds to a folder; return the folder."""
    shutil.copytree(seeds, state / "seeds")
    shutil.copy(path, state)
    return state


def test_a_fast_build_is_what_dbt_builds(example: Example) -> None:
    recorded = example.recorded
    # queues say when they were made
    tables = [
        model
        for model in recorded.models.values()
        if model.materialized != "view" and model.name not in FOUND
    ]
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        attach(connection, WAREHOUSE)
        for state in example.states:
            connection.execute(f"attach '{state}/{WAREHOUSE}.duckdb' as {state.name} (read_only)")
            copy_landing(connection, state.name, WAREHOUSE)
            Builder(recorded, connection, WAREHOUSE, state / "seeds").build()
            assert differences(connection, tables, state.name, WAREHOUSE) == {}


def test_incremental_builds_equal_a_full_refresh(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    plans = drawn(EXAMPLES) if EXAMPLES else [plan_of(number) for number in SHORT]
    met = Counter(case for cases in on_all_cores(partial(check, example.recorded), plans) for case in cases)
    examples = len(plans)
    with capsys.disabled():
        print(f"\n{examples} histories in {time.monotonic() - began:.0f} s, seed {SEED}: none unequal")
        for case in ALL_CASES:
            print(f"{met[case]:6} {met[case] / examples:6.1%}  {case}")
    rare = [
        case
        for case in ALL_CASES
        if met[case] < (SHARES.get(case, 0.1) * examples if examples >= ENOUGH else 1)
    ]
    # some cases are of what only the usual feed counts
    assert FEEDS != USUAL_FEEDS or (EXAMPLES and examples < ENOUGH) or not rare, f"too rare: {rare}"


def edit_settings(history: History, template: str, control: str) -> None:
    row = next(row for row in history.settings["template_settings"] if row["template_id"] == template)
    row["control_copy_id"] = control
    history.save("template_settings")
    history.build(refresh=not control)


def test_variants_that_land_before_a_refresh_of_some_models_count(example: Example) -> None:
    """A random history that once ended unequal: calls were built from the variants of an earlier build."""
    recorded = example.recorded
    with history_of(Plan(0, 777226, 160, False, 0.5, ()), recorded) as history:
        land_some(history, Random(927323))
        land_some(history, Random(903209))
        land_late_edit(history, Random(737761))
        variants = "select count(*) from staging.justai_variants"
        assert history.connection.execute(variants).fetchone() != (0,)
        history.build(select=recorded.below("int_settings_changes"), refresh=True)
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_a_variant_that_comes_back_brings_its_calls_back(example: Example) -> None:
    """It says what all models have read, but one has read since that it was gone."""
    recorded = example.recorded.core("int_distinct_calls")
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        sends, variants = history.folder / "justai/sends", history.folder / "justai/variants"
        write(sends / "2026/09/01/00/sends.jsonl", send(60))
        land_path(history.connection, sends, SENDS)
        for unread in (set(), {"dim_copy_variants"}, set()):
            path = variants / "2026/09/01/00/variants.jsonl"
            if path.exists():
                path.unlink()
            else:
                write(path, variant("words"))
            land_path(history.connection, variants, VARIANTS, SPAN, True)
            history.build(select=recorded.models.keys() - unread)
        history.build()
        assert history.connection.execute("select count(*) from marts.fct_calls").fetchone() == (1,)
        assert unequal_to_full(history, recorded) == {}


def part_the_feeds(history: History) -> None:
    """Build a day of the sync, and land messages of that day by webhook which the sync does not have."""
    land_sent(history, "sync", "s1", "s2", "s3", "s4")
    history.build()
    land_sent(history, "webhooks", "w1", "w2")


def test_a_day_of_feeds_that_share_too_few_is_seen_after_a_refresh_of_some_models(example: Example) -> None:
    """`dbt build --exclude a+`, then `dbt build --full-refresh --select b+`, where b reads the older a."""
    recorded = example.recorded.core("int_events")
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        part_the_feeds(history)
        history.build(select=recorded.models.keys() - recorded.below("int_feed_day_changes"))
        history.build(select=recorded.below("int_events"), refresh=True)
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_a_day_logged_in_a_refresh_is_read_whatever_else_landed(example: Example) -> None:
    """Nothing waits for what `copymart extract` landed last: a change under its batch would not be read."""
    recorded = example.recorded.core("int_events")
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        part_the_feeds(history)
        extracted = "insert into staging.landed_batches values ('30000101T', 'customerio_api', now())"
        history.connection.execute(extracted)
        history.build(select=recorded.models.keys() - recorded.below("int_feed_day_changes"))
        history.build(select={"int_feed_day_changes"}, refresh=True)
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_a_day_is_logged_under_a_batch_that_no_later_model_has_read(example: Example) -> None:
    """A change of settings waits for one model, and is read by it in a build that breaks off."""
    recorded = example.recorded.core("int_events")
    waits = "select min(batch_id) > '3' from intermediate.int_landed_batches where is_pending"
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        land_sent(history, "sync", "s1", "s2", "s3", "s4")
        history.build()
        history.settings["template_settings"][0]["min_sends"] = "7"
        history.save("template_settings")
        history.build(select=recorded.models.keys() - {"dim_copy_variants"})
        # and so it is greater than what lands next
        assert history.connection.execute(waits).fetchall() == [(True,)]
        land_sent(history, "webhooks", "w1", "w2")
        history.build(select=recorded.models.keys() - recorded.below("int_message_ids"))
        history.build()
        assert unequal_to_full(history, recorded) == {}


def of_people(recorded: Recorded) -> Recorded:
    """What counts people, and what a history looks at."""
    return recorded.only(
        *("int_person_sums", "dim_copy_variants", "copy_cohort_metrics_daily", "control_metrics_daily")
    )


def land_events(history: History, *records: dict[str, Any]) -> None:
    history.add(Random(1), EVENTS.name, [line_of(EVENTS.name, record) for record in records])
    history.land(Random(1), EVENTS.name)


def export_sync(history: History, number: int, **tables: list[dict[str, Any]]) -> None:
    for table, rows in tables.items():
        path = history.folder / f"customerio/sync/{table}/{table}_v4_1_{number}.parquet"
        history.export(path, table, rows)
    history.land_exports()


def of_message(number: int, message: str, day: float, **changes: Any) -> dict[str, Any]:
    """An event of a message to u-1, so many days after the first of January at noon."""
    data = {"journey_id": f"j-{message}", "action_id": 42, "delivery_id": message, "customer_id": "u-1"}
    at = 1_767_268_800 + int(86_400 * day)
    return event(event_id=f"e{number}", timestamp=at, data=data, **changes)


def test_a_line_that_is_no_engagement_takes_nobody_from_its_day(example: Example) -> None:
    """Once the first message is touched again, not every line of it is of a day that is built again."""
    recorded = of_people(example.recorded)
    unsubscribed = {"metric": "unsubscribed", "object_type": "customer"}
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        land_events(history, of_message(1, "m1", 0), of_message(2, "m1", 10, **unsubscribed))
        land_events(history, of_message(3, "m2", 10))
        history.build()
        land_events(history, of_message(4, "m1", 0.1, metric="opened"))
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_a_replaced_line_of_another_day_takes_nobody_from_that_day(example: Example) -> None:
    """Of one day in UTC, but of two in the reporting time zone, whose day begins at a quarter past ten."""
    recorded = of_people(example.recorded)
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        land_events(history, of_message(1, "m1", -0.1))
        history.build()
        land_events(history, of_message(1, "m1", 0), of_message(2, "m2", -0.1))
        history.build()
        land_events(history, of_message(3, "m1", 5, metric="opened"))
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_a_metric_that_moved_takes_nobody_from_the_day_that_it_left(example: Example) -> None:
    recorded = of_people(example.recorded)
    first, second = (delivery(number, internal_customer_id="c") for number in (1, 2))
    sent = [metric(number, metric="sent") for number in (1, 2)]
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        export_sync(history, 1, metrics=sent, deliveries=[first, second])
        history.build()
        export_sync(history, 2, metrics=[sent[0] | {"created_at": datetime(2026, 1, 6), "seq_num": 3}])
        history.build()
        opened = metric(4, delivery_id="d1", created_at=datetime(2026, 1, 9))
        export_sync(history, 3, metrics=[opened])
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_somebody_forgotten_whose_metric_is_gone_is_not_counted_by_name(example: Example) -> None:
    recorded = of_people(example.recorded)
    sent = [metric(1, metric="sent"), metric(2, metric="sent", created_at=datetime(2026, 1, 6))]
    with history_of(Plan(0, 1, 5, True, 0.0, ()), recorded) as history:
        export_sync(history, 1, metrics=sent, deliveries=[delivery(1), delivery(2)])
        history.build()
        tables = OnDuckDB(history.connection)
        forget_rows(tables, known_of(place_of(tables), {"c1"}), {"c1"})
        export_sync(history, 1, metrics=sent[1:])
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_settings_that_return_after_a_full_refresh_apply(example: Example) -> None:
    with history_of(Plan(0, 1, 80, True, 0.9, ()), example.recorded) as history:
        call = next(line for line in history.landed(CALLS.name) if line.data["template_id"] == "plan-nudge")
        for control in (call.data["copy_id"], "", call.data["copy_id"]):
            edit_settings(history, "plan-nudge", control)
        assert unequal_to_full(history, example.recorded) == {}


def test_a_control_template_acts_on_history(example: Example) -> None:
    """Named, replaced by another one, and taken back, it moves the deliveries of all days."""
    count = "select sum(sent) from marts.control_metrics_daily where template_id = 'feature-inapp'"
    with history_of(Plan(0, 1, 160, True, 0.9, ()), example.recorded) as history:
        rows = history.settings["template_settings"]
        row = next(row for row in rows if row["template_id"] == "feature-inapp")
        counts = []
        for control in ("welcome-email", "cart-push", ""):
            row["control_template_id"] = control
            history.save("template_settings")
            history.build()
            counts += history.connection.execute(count).fetchall()
            assert unequal_to_full(history, example.recorded) == {}
    assert counts[0] != counts[1] and counts[2] == (None,)


def land_sent(history: History, feed: str, *deliveries: str) -> None:
    """Land sent messages of one day, as a feed has them."""
    if feed == "sync":
        folder = history.folder / "customerio/sync"
        sent = [metric(number, delivery_id=name, metric="sent") for number, name in enumerate(deliveries)]
        history.export(folder / "metrics/metrics_v4_1_1.parquet", "metrics", sent)
        of_sync = [delivery(number, delivery_id=name) for number, name in enumerate(deliveries)]
        history.export(folder / "deliveries/deliveries_v4_1_1.parquet", "deliveries", of_sync)
        history.land_exports()
        return
    data = {"journey_id": "j", "action_id": 42}
    records = [event(event_id=f"e{name}", data={**data, "delivery_id": name}) for name in deliveries]
    history.add(Random(1), EVENTS.name, [line_of(EVENTS.name, record) for record in records])
    history.land(Random(1), EVENTS.name)


@pytest.mark.parametrize("mutation", [None, "messages of days whose feeds share too few"])
def test_where_the_feeds_of_a_day_share_too_few_the_first_counts(
    example: Example, mutation: str | None
) -> None:
    """The sync's messages count, not when others come by webhook, and again when more are shared."""
    recorded = example.recorded.core("int_touched_messages")
    runs = MUTATIONS[mutation].apply(recorded) if mutation else recorded
    counted = "select count(*) from marts.fct_engagement_events where feed = 'sync' and uncounted_reason "
    counted += "is distinct from 'in_other_feed'"
    with history_of(Plan(0, 1, 5, True, 0.0, ()), runs) as history:
        land_sent(history, "sync", "s1", "s2", "s3", "s4")
        history.build()
        found, equal = [], []
        for deliveries in ((), ("w1", "w2"), ("s1", "s2")):
            if deliveries:
                land_sent(history, "webhooks", *deliveries)
                history.build()
            found += history.connection.execute(counted).fetchall()
            equal.append(unequal_to_full(history, recorded) == {})
    if mutation:
        assert not all(equal)
    else:
        assert (found, equal) == ([(4,), (0,), (2,)], [True] * 3)


def test_a_full_refresh_that_dies_forgets_no_action(example: Example) -> None:
    with history_of(Plan(0, 1, 80, True, 0.9, ()), example.recorded) as history:
        rows = history.settings["template_actions"]
        rows[:] = [row for row in rows if row["template_id"] != "welcome-email"]
        history.save("template_actions")
        history.build(refresh=True, death=Death(0.3))
        history.build()
        assert unequal_to_full(history, example.recorded) == {}


@pytest.mark.parametrize("model", ["int_message_matches", "fct_deliveries", "copy_cohort_metrics_daily"])
def test_settings_that_return_after_a_refresh_of_some_models_apply(example: Example, model: str) -> None:
    """`dbt build --full-refresh --select model+` does not log what the seeds say: it must not read them."""
    recorded = example.recorded
    with history_of(Plan(0, 1, 80, True, 0.9, ()), recorded) as history:
        kept = {seed: [dict(row) for row in history.settings[seed]] for seed in MAPS}
        for seed in MAPS:
            history.settings[seed].clear()
            history.save(seed)
        history.build(select=recorded.below(model), refresh=True)
        for seed in MAPS:
            history.settings[seed][:] = kept[seed]
            history.save(seed)
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_an_action_map_that_goes_back_after_a_refresh_of_some_models_applies(example: Example) -> None:
    """A random history that once ended unequal, reduced to the steps that it takes."""
    recorded = example.recorded
    with history_of(Plan(0, 591598, 160, False, 0.9, ()), recorded) as history:
        land_retry(history, Random(414263))
        edit_actions(history, Random(540359))
        land_retry(history, Random(453661))
        history.build(select=recorded.below("int_message_matches"), refresh=True)
        land_moved(history, Random(287964))
        edit_actions(history, Random(70602))
        history.build()
        assert unequal_to_full(history, recorded) == {}


def test_the_whole_way_from_files_to_an_export_and_back(example: Example, tmp_path: Path) -> None:
    plans = drawn(EXAMPLES) if EXAMPLES else [plan_of(SHORT[0])]
    on_all_cores(partial(whole_way, example.recorded, tmp_path), plans)


def test_a_removed_event_takes_the_message_that_its_older_fields_name(example: Example) -> None:
    with history_of(Plan(0, 1, 80, True, 0.9, ()), example.recorded) as history:
        texts = ({"email_id": "by email"}, {"variables": {"delivery_id": "by variables"}})
        older = [
            line_of(
                EVENTS.name,
                {
                    "event_id": f"older {data}",
                    "event_type": "email_opened",
                    "timestamp": 1767268801,
                    "data": data,
                },
            )
            for data in texts
        ]
        history.add(Random(1), EVENTS.name, older, HOURS[0])
        history.land(Random(1))
        history.build()
        messages = "select count(*) from intermediate.int_messages where delivery_id like 'by %'"
        assert history.connection.execute(messages).fetchone() == (2,)
        path = next(path for path, lines in history.files.items() if lines == older)
        history.remove(path)
        history.backfill(EVENTS.name, hour_of(path))
        history.build()
        assert history.connection.execute(messages).fetchone() == (0,)
        assert unequal_to_full(history, example.recorded) == {}


def test_a_click_whose_link_changed_counts_for_the_new_link(example: Example) -> None:
    def edited(line: Line) -> Line:
        record = line.record or {}
        if not line.data.get("href"):
            return line
        return line_of(
            EVENTS.name, {**record, "data": {**line.data, "href": "https://example.com/new?u=1#top"}}
        )

    with history_of(Plan(0, 1, 300, True, 0.9, ()), example.recorded) as history:
        for path, lines in [*history.files.items()]:
            if history.dataset_of(path) == EVENTS.name:
                history.write(path, [edited(line) for line in lines])
        history.land(Random(1))
        history.build()
        links = "select distinct href from marts.link_clicks_daily where href is not null"
        assert history.connection.execute(links).fetchall() == [("https://example.com/new",)]
        assert unequal_to_full(history, example.recorded) == {}


def identify(message_id: str, who: str, **traits: str) -> dict[str, object]:
    return {"type": "identify", "messageId": message_id, "userId": who, "traits": traits}


@pytest.mark.parametrize(
    ("mutation", "unread"),
    [
        (None, ()),
        (None, ("int_person_timeline", "int_object_timeline", "dim_people", "dim_objects")),
        (None, ("dim_people", "dim_objects", "bridge_relationships")),
        ("people whom calls named before", ()),
        ("people whose names were linked otherwise", ()),
        ("people that a build which broke off has not read", ("dim_people",)),
        ("objects that calls named before", ()),
        ("objects of people", ()),
        ("objects that a build which broke off has not read", ("bridge_relationships",)),
    ],
)
def test_who_is_no_longer_one_person_is_built_again(
    example: Example, mutation: str | None, unread: tuple[str, ...], tmp_path: Path
) -> None:
    """A merge is taken back, and calls name others; `unread` fail in the build that finds it.

    Without a part of the queues the tables must differ from those of a full build.
    """
    recorded = example.recorded.only("outbound_requests", "dim_people", "dim_devices", "bridge_relationships")
    mutated = MUTATIONS[mutation].apply(recorded) if mutation else recorded
    group = {"type": "group", "messageId": "g-1", "anonymousId": "a-1"}
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        empty_warehouse(connection, WAREHOUSE)
        history = History(connection, tmp_path)
        builder = Builder(mutated, connection, WAREHOUSE, history.seeds)
        say(history, 1, identify("l-1", "lead-1", objectId="acme"), identify("u-1", "u-1", objectId="acme"))
        say(history, 2, {"type": "alias", "messageId": "m-1", "userId": "u-1", "previousId": "lead-1"})
        say(history, 3, identify("u-2", "u-2", plan="team"), group | {"groupId": "old"})
        builder.build()
        say(history, 2)
        say(history, 3, identify("u-2", "u-3", plan="team"), group | {"groupId": "new"})
        builder.build(select=mutated.models.keys() - set(unread))
        builder.build()
        assert bool(unequal_to_full(history, recorded)) == bool(mutation)
        people = "select count(*) from marts_outbound.dim_people"
        assert mutation or connection.execute(people).fetchone() == (3,)


@pytest.mark.parametrize("with_queue", [False, True])
@pytest.mark.parametrize("queue", FOUND)
def test_who_is_unread_when_a_table_is_rebuilt_is_built_with_its_queue(
    example: Example, queue: str, with_queue: bool, tmp_path: Path
) -> None:
    """Calls name others, a build breaks off before the queue, and the table that it compares is rebuilt.

    Without the queue, which dbt refuses, the new table does not show whom the others still have.
    """
    recorded = example.recorded.only(
        *("outbound_requests", "dim_people", "dim_devices", "dim_objects", "bridge_relationships")
    )
    group = {"type": "group", "messageId": "g-1", "anonymousId": "a-1"}
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        empty_warehouse(connection, WAREHOUSE)
        history = History(connection, tmp_path)
        builder = Builder(recorded, connection, WAREHOUSE, history.seeds)
        say(history, 3, identify("u-2", "u-2", plan="team"), group | {"groupId": "old"})
        builder.build()
        say(history, 3, identify("u-2", "u-3", plan="team"), group | {"groupId": "new"})
        builder.build(select=recorded.models.keys() - recorded.below(queue))
        builder.build(select={FOUND[queue]} | ({queue} if with_queue else set()), refresh=True)
        builder.build()
        assert (unequal_to_full(history, recorded) == {}) == with_queue


def cells_of(connection: duckdb.DuckDBPyConnection, names: list[str]) -> list[tuple[str, str]]:
    """Columns of all tables and views, with the text of cells that are or hold one of the names."""
    found = []
    for schema, table, columns in connection.execute(
        f"select table_schema, table_name, list(column_name) from information_schema.columns "
        f"where table_catalog = '{WAREHOUSE}' and data_type in ('VARCHAR', 'JSON') group by all"
    ).fetchall():
        wanted = " or ".join(["cell = ? or contains(cell, ?) or contains(cell, ?)"] * len(names))
        forms = [form for name in names for form in (name, f'"{name}"', f":{name}")]
        cells = ", ".join(f'cast("{column}" as varchar)' for column in columns)
        query = f"select unnest(?) as name, unnest([{cells}]) as cell from {schema}.{table}"
        texts = connection.execute(f"select name, cell from ({query}) where {wanted}", [columns, *forms])
        found += [(f"{schema}.{table}.{column}", text) for column, text in texts.fetchall()]
    return found


def test_forgetting_takes_names_away_and_changes_no_count(example: Example) -> None:
    """Of a person whom an alias call merged with somebody by that one's cio_id."""
    counts = "select * from marts.copy_metrics_daily order by all"
    people = "select events, copies_received from marts.customer_engagement_profiles order by all"
    with history_of(Plan(0, 1, 160, True, 0.9, ()), example.recorded) as history:
        land_sync(history, Random(1))
        history.build()
        connection = history.connection
        tables = OnDuckDB(connection)
        # of the longest ids none is the beginning of another
        (named, _), (_, merged) = connection.execute(
            "select customer_id, cio_id from intermediate.int_person_sums "
            "where cio_id is not null and customer_id is not null "
            "order by length(customer_id) desc, events_counted desc, customer_id limit 2"
        ).fetchall()
        say(history, 1, {"type": "alias", "messageId": "m-1", "userId": named, "previousId": f"cio_{merged}"})
        alone = len(connection.execute(people).fetchall())
        history.build()
        assert len(connection.execute(people).fetchall()) == alone - 1
        person = find(place_of(tables), named, None)
        names = sorted(person.identifiers)
        assert len(names) >= 6
        assert len(cells_of(connection, names)) > 20
        before = [connection.execute(query).fetchall() for query in (counts, people)]
        forget_rows(tables, known_of(place_of(tables), person.identifiers), person.identifiers)
        history.build()
        assert cells_of(connection, names) == []
        assert [connection.execute(query).fetchall() for query in (counts, people)] == before
        assert unequal_to_full(history, example.recorded) == {}


def test_what_lands_after_a_build_of_nothing_is_built(example: Example) -> None:
    steps = (Step("land_some", 1), Step("build", 1))
    assert not unequal(play(Plan(0, 1, 80, True, 0.0, steps, bare=True), example.recorded))


def drawn(examples: int) -> list[Plan]:
    """Random plans of this run's seed."""
    found: list[Plan] = []

    def keep_it(plan: Plan) -> None:
        found.append(plan)

    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(SEED)(quiet(given(plans)(keep_it)))()
    return found


def on_all_cores(work: Callable[[Plan], Any], plans: list[Plan]) -> list[Any]:
    """What `work` makes of each plan; of many, as many at once as there are processors."""
    try:
        if len(plans) <= len(SHORT):
            return list(map(work, plans))
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            try:
                return list(pool.map(work, plans))
            finally:
                pool.shutdown(cancel_futures=True)
    except AssertionError as failure:
        if EXAMPLES:
            failure.add_note(f"make replay EXAMPLES={EXAMPLES} SEED={SEED} plays this run again")
        raise


def unlike(plan: Plan) -> None:
    """What a check of a wrong model does."""
    raise AssertionError(f"{plan}")


@pytest.mark.parametrize("number", [1, len(SHORT) + 1])
def test_a_failing_history_names_the_seed_of_its_run(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one given, it is the time at which the run began."""
    monkeypatch.setitem(globals(), "EXAMPLES", 300)
    plan = Plan(0, 1, 160, True, 0.0, ())
    with pytest.raises(AssertionError, match=r"Plan\(") as failure:
        on_all_cores(unlike, [plan] * number)
    assert failure.value.__notes__ == [f"make replay EXAMPLES=300 SEED={SEED} plays this run again"]


def test_every_mutation_finds_its_text(example: Example) -> None:
    """Most are played in the long form only, which learns late that a model has changed."""
    for mutation in MUTATIONS.values():
        assert mutation.apply(example.recorded) != example.recorded


@pytest.mark.parametrize("mutation", MUTATIONS if EXAMPLES else SHORT_MUTATIONS)
def test_following_the_clock_is_noticed(
    example: Example, mutation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = example.recorded.core(MUTATIONS[mutation].model)
    mutated = MUTATIONS[mutation].apply(recorded)
    tried = 0
    for plan in likely(mutation) if EXAMPLES else few(SHORT_MUTATIONS[mutation]):
        tried += 1
        if is_noticed(plan, recorded, mutated):
            with capsys.disabled():
                print(f"\nnoticed by history {tried}: {mutation}")
            return
    pytest.fail(f"{mutation}: a 3-day lookback made no difference in {tried} histories")


def few(number: int) -> Iterator[Plan]:
    """The plan of a number and those of the next ones."""
    return map(plan_of, range(number, number + TRIED))


def likely(mutation: str) -> list[Plan]:
    """The plans of the long form, first those with what the mutation needs, many journeys and few steps."""
    needed = NEEDED.get(mutation, set())
    return sorted(
        drawn(EXAMPLES),
        key=lambda plan: (
            bool(needed) and plan.steps[-1].kind not in needed,
            bool(needed - {step.kind for step in plan.steps}),
            -plan.journeys,
            len(plan.steps),
        ),
    )
