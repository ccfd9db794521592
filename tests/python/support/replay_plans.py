"""Random histories of a warehouse: what lands when, in which files, what the owner edits, when dbt builds."""

import csv
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import duckdb
from hypothesis import strategies as st

from scripts.land.command import ddl
from scripts.land.rules import CALLS, EVENTS
from scripts.simulate import command as simulate
from scripts.simulate.plan import Plan as SimulationPlan
from support.land import land_path
from support.replay import (
    SAMPLE_SEEDS,
    WAREHOUSE,
    Builder,
    Death,
    Died,
    Recorded,
    attach,
    copy_landing,
    differences,
)
from support.replay_cases import Watch

WORLDS = 3
CALLS_OF_WORLD = 300
DAYS_OF_WORLD = 24
START = datetime(2026, 1, 1)
DAY = 86_400
WEEKS = 14 * DAY
# Few, so that an hour often has several files.
HOURS = tuple(START + timedelta(hours=37 * number) for number in range(8))
FOLDERS = {CALLS.name: "justai/calls", EVENTS.name: "customerio/events"}
DATASETS = {CALLS.name: CALLS, EVENTS.name: EVENTS}

Record = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A line of a file; `record` is None when it is no JSON object. `at` is its time in unix seconds."""

    dataset: str
    text: str
    record: Record | None
    at: int

    @property
    def data(self) -> Record:
        """The fields beside the envelope: those of `data` in an event."""
        record = self.record or {}
        inner = record if self.dataset == CALLS.name else record.get("data")
        return inner if isinstance(inner, dict) else {}


def line_of(dataset: str, content: str | Record) -> Line:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    try:
        record = json.loads(text)
    except json.JSONDecodeError:
        record = None
    if not isinstance(record, dict):
        return Line(dataset, text, None, 0)
    return Line(dataset, text, record, _seconds(record.get(TIME[dataset])))


NEEDED = {CALLS.name: ("copy_id", "template_id"), EVENTS.name: ("event_id", "metric")}
TIME = {CALLS.name: "event_timestamp", EVENTS.name: "timestamp"}


def _seconds(value: object) -> int:
    """Unix seconds of a time in seconds, milliseconds or microseconds."""
    try:
        number = float(str(value))
    except ValueError:
        return 0
    while number > 1e11:
        number /= 1000
    return int(number)


@cache
def world(number: int) -> tuple[Line, ...]:
    """The lines of a small simulated world."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name in ("truth", ".work"):
            (out / name).mkdir()
        start = int(START.replace(tzinfo=UTC).timestamp())
        simulate.run(SimulationPlan(CALLS_OF_WORLD, DAYS_OF_WORLD, number + 1, start), out)
        return tuple(
            line_of(dataset, line)
            for dataset, place in FOLDERS.items()
            for path in sorted((out / place).rglob("*.gz"))
            for line in _texts(path)
        )


def _texts(path: Path) -> Iterator[str]:
    """The lines of a file, but for those that would have landing refuse the whole file."""
    for raw in gzip.decompress(path.read_bytes()).split(b"\n"):
        if raw.strip() and b"\0" not in raw and raw == raw.decode(errors="ignore").encode():
            yield raw.decode()


@dataclass(frozen=True)
class Step:
    """Something that happens to the warehouse; `seed` decides the details."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """A history: `journeys` of the world land, a share `start` of the lines before the first build.

    `in_order`: lines land by time, some of them late. `bare`: the owner has written nothing in the seeds yet.
    """

    world: int
    seed: int
    journeys: int
    in_order: bool
    start: float
    steps: tuple[Step, ...]
    bare: bool = False


@dataclass
class History:
    """A warehouse with the folder that it is landed from, which holds the owner's seeds too.

    `settings`: the rows of the seeds by name. `earlier`: rows that a seed had before each time it was saved.
    """

    connection: duckdb.DuckDBPyConnection
    folder: Path
    left: list[Line] = field(default_factory=list)
    files: dict[Path, list[Line]] = field(default_factory=dict)
    settings: dict[str, list[Record]] = field(default_factory=dict)
    earlier: list[tuple[str, list[Record]]] = field(default_factory=list)
    builder: Builder | None = None
    step: int = 0

    def __post_init__(self) -> None:
        self.watch = Watch(self.connection)
        if not self.seeds.exists():
            shutil.copytree(SAMPLE_SEEDS, self.seeds)
        for seed in self.seeds.glob("*.csv"):
            with seed.open() as file:
                self.settings[seed.stem] = list(csv.DictReader(file))

    @property
    def seeds(self) -> Path:
        return self.folder / "seeds"

    def landed(self, dataset: str) -> list[Line]:
        """The lines of the files now there that are calls or events with a sensible time."""
        wanted = NEEDED[dataset]
        earliest = int(START.replace(tzinfo=UTC).timestamp()) - 90 * DAY
        return [
            line
            for path, lines in self.files.items()
            if self.dataset_of(path) == dataset
            for line in lines
            if earliest < line.at < earliest + 400 * DAY
            if line.data and all((line.record or {}).get(name) for name in wanted)
        ]

    def dataset_of(self, path: Path) -> str:
        return next(name for name, place in FOLDERS.items() if path.is_relative_to(self.folder / place))

    def write(self, path: Path, lines: list[Line]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line.text + "\n" for line in lines))
        self.files[path] = lines

    def add(self, draw: Random, dataset: str, lines: list[Line], hour: datetime | None = None) -> None:
        """Write a new file."""
        self.step += 1
        folder = self.folder / FOLDERS[dataset] / f"{hour or draw.choice(HOURS):%Y/%m/%d/%H}"
        self.write(folder / f"{self.step:04}-{draw.randrange(1000):03}.jsonl", lines)

    def remove(self, path: Path) -> list[Line]:
        path.unlink()
        return self.files.pop(path)

    def land(self, draw: Random, dataset: str | None = None) -> None:
        """Land what is new in the folders, of both data sets in any order or of one."""
        for name in [dataset] if dataset else draw.sample(sorted(FOLDERS), 2):
            if any(self.dataset_of(path) == name for path in self.files):
                land_path(self.connection, self.folder / FOLDERS[name], DATASETS[name])

    def backfill(self, dataset: str, hour: datetime) -> None:
        span = (hour, hour + timedelta(hours=1))
        land_path(self.connection, self.folder / FOLDERS[dataset], DATASETS[dataset], span, True)

    def save(self, seed: str) -> None:
        """Write a seed as it is in `settings` now."""
        path = self.seeds / f"{seed}.csv"
        with path.open() as file:
            self.earlier.append((seed, list(csv.DictReader(file))))
        names = path.read_text().splitlines()[0].split(",")
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.settings[seed])

    def build(self, **options: Any) -> None:
        assert self.builder
        try:
            self.builder.build(**options)
        except Died:
            self.watch.died()
        else:
            if options.get("select") is None:
                self.watch.done(refresh=options.get("refresh", False))


def land_some(history: History, draw: Random, share: float | None = None) -> None:
    """Land the next lines, in one to four files per data set, some lines and files twice."""
    count = int(len(history.left) * share) if share is not None else 1 + draw.randrange(120)
    taken, history.left = history.left[:count], history.left[count:]
    for dataset in FOLDERS:
        lines = [line for line in taken if line.dataset == dataset]
        draw.shuffle(lines)
        number = draw.randint(1, 4)
        for part in range(number):
            some = lines[part::number]
            if some and draw.random() < 0.3:
                some = some + draw.choices(some, k=3)
            if some:
                history.add(draw, dataset, some)
            if some and draw.random() < 0.15:
                history.add(draw, dataset, some)
    history.land(draw)


def land_again(history: History, draw: Random) -> None:
    """Land lines that are there already in a file of their own, in another order."""
    dataset = draw.choice((EVENTS.name, EVENTS.name, CALLS.name))
    lines = history.landed(dataset)
    if len(lines) > 1:
        again = draw.sample(lines, min(len(lines), 2 + draw.randrange(40)))
        changed = draw.choice((0.0, 0.0, 0.3))
        history.add(
            draw,
            dataset,
            [edited(history, draw, line) if draw.random() < changed else line for line in again],
        )
        history.land(draw)


def land_shorter(history: History, draw: Random) -> None:
    """Replace a file by one with fewer of its lines."""
    if history.files:
        path = draw.choice(sorted(history.files))
        lines = history.files[path]
        history.write(path, draw.sample(lines, draw.randrange(len(lines)) if lines else 0))
        history.land(draw)


def land_edited(history: History, draw: Random) -> None:
    """Replace a file by one with the same lines, some of them edited."""
    if history.files:
        path = draw.choice(sorted(history.files))
        lines = [edited(history, draw, line) if draw.random() < 0.3 else line for line in history.files[path]]
        history.write(path, lines)
        history.land(draw)


def land_moved(history: History, draw: Random) -> None:
    """An event again, a second younger and of another message."""
    lines = history.landed(EVENTS.name)
    if lines:
        line, other = draw.choice(lines), draw.choice(lines)
        record = json.loads(json.dumps(line.record))
        record["timestamp"] = line.at + 1
        for name in ("delivery_id", "journey_id"):
            record["data"][name] = other.data.get(name)
        history.add(draw, EVENTS.name, [line_of(EVENTS.name, record)])
        history.land(draw, EVENTS.name)


def edited(history: History, draw: Random, line: Line) -> Line:
    """The line with another value of one field, mostly that of another line."""
    others = history.landed(line.dataset)
    if not line.data or not others:
        return line
    other = draw.choice(others)
    record: Record = json.loads(json.dumps(line.record))
    if draw.random() < 0.3:
        record[TIME[line.dataset]] = line.at + draw.randint(-3 * DAY, 3 * DAY)
    elif line.dataset == CALLS.name:
        _edit_call(draw, record, other.data)
    else:
        _edit_event(draw, record, other)
    return line_of(line.dataset, record)


def _edit_call(draw: Random, record: Record, other: Record) -> None:
    fields = draw.choice(
        (
            *(("copy_id", "template_id", "vars"), ("copy_id",), ("vars",), ("journey_id",)),
            *(("journey_id", "action_id"), ("attrs",), ("user_id",), ("campaign_id",)),
        )
    )
    record.update({name: other.get(name) for name in fields})
    if "journey_id" in fields and draw.random() < 0.2:
        record["journey_id"] = None


def _edit_event(draw: Random, record: Record, other: Line) -> None:
    match draw.randrange(5):
        case 0:
            record.update({name: (other.record or {}).get(name) for name in ("object_type", "metric")})
        case 1:
            record["object_type"] = "webhook"
        case 2:
            name = draw.choice(("prefetched", "machine", "synthetic"))
            record["data"][name] = not record["data"].get(name)
        case _:
            names = (
                "delivery_id",
                "delivery_id",
                "journey_id",
                "action_id",
                "parent_action_id",
                "campaign_id",
            )
            name = draw.choice(names)
            record["data"][name] = other.data.get(name) if draw.random() < 0.8 else None


def land_gone(history: History, draw: Random) -> None:
    """Remove one file or all of an hour, by a backfill; sometimes their lines come in another file."""
    if history.files:
        path = draw.choice(sorted(history.files))
        dataset = history.dataset_of(path)
        alike = [other for other in history.files if other.parent == path.parent]
        gone = [line for file in (alike if draw.random() < 0.7 else [path]) for line in history.remove(file)]
        history.backfill(dataset, hour_of(path))
        if draw.random() < 0.3:
            history.add(draw, dataset, gone)
            history.land(draw, dataset)


def land_undone(history: History, draw: Random) -> None:
    """Remove one of the files that came last, alone, by a backfill."""
    if history.files:
        path = draw.choice(sorted(history.files, key=lambda path: path.name)[-3:])
        dataset = history.dataset_of(path)
        history.remove(path)
        history.backfill(dataset, hour_of(path))


def hour_of(path: Path) -> datetime:
    year, month, day, hour = map(int, path.parts[-5:-1])
    return datetime(year, month, day, hour)


def land_late_edit(history: History, draw: Random) -> None:
    """Weeks late, a call with another content between two calls of its copy."""
    calls = sorted(history.landed(CALLS.name), key=lambda line: line.at)
    copies: dict[str, list[Line]] = {}
    for call in calls:
        copies.setdefault(str(call.data["copy_id"]).lower(), []).append(call)
    gaps = [
        (one, two)
        for lines in copies.values()
        for one, two in pairwise(lines)
        if one.at + 1 < min(two.at, calls[-1].at - WEEKS)
    ]
    if gaps:
        one, two = draw.choice(gaps)
        at = draw.randrange(one.at + 1, min(two.at, calls[-1].at - WEEKS))
        changes = {"event_timestamp": at, "vars": {"subject": f"an edit {draw.randrange(3)}"}}
        if draw.random() < 0.5:
            changes["journey_id"] = f"late {draw.randrange(1000)}"
        history.add(draw, CALLS.name, [line_of(CALLS.name, {**one.data, **changes})])
        history.land(draw, CALLS.name)


def land_retry(history: History, draw: Random) -> None:
    """On the next day a call for the same delivery, with another copy."""
    calls = history.landed(CALLS.name)
    retried = [line for line in calls if line.data.get("journey_id") and line.data.get("action_id")]
    if retried:
        latest: dict[tuple[object, object], Line] = {}
        for call in sorted(retried, key=lambda line: line.at):
            latest[call.data["journey_id"], call.data["action_id"]] = call
        call, other = draw.choice(list(latest.values())), draw.choice(calls)
        copy = {name: other.data.get(name) for name in ("copy_id", "template_id", "vars")}
        retry = {**call.data, **copy, "event_timestamp": call.at + DAY}
        history.add(draw, CALLS.name, [line_of(CALLS.name, retry)])
        history.land(draw, CALLS.name)


def land_earlier_open(history: History, draw: Random) -> None:
    """An open of a message that lies one to three days before one that has landed."""
    opens = [
        line
        for line in history.landed(EVENTS.name)
        if str((line.record or {}).get("metric")).endswith("opened")
    ]
    if opens:
        line = draw.choice(opens)
        at = line.at - draw.randint(DAY, 3 * DAY)
        earlier = {**(line.record or {}), "event_id": f"earlier {draw.randrange(10**6)}", "timestamp": at}
        history.add(draw, EVENTS.name, [line_of(EVENTS.name, earlier)])
        history.land(draw, EVENTS.name)


def _journey(line: Line) -> str:
    return str(line.data.get("journey_id") or "")


def edit_control(history: History, draw: Random) -> None:
    """The owner names a template's control copy, another one or none."""
    calls = [line.data for line in history.landed(CALLS.name)]
    mapped = {row["template_id"] for row in history.settings["template_actions"]}
    # a change of these touches no message, so nothing else leads to the dates of their events
    unmapped = [call for call in calls if call["template_id"] not in mapped]
    if calls:
        call = draw.choice(unmapped if unmapped and draw.random() < 0.4 else calls)
        copy = str(call["copy_id"]).lower() if draw.random() < 0.7 else ""
        rows = history.settings["template_settings"]
        row = next((row for row in rows if row["template_id"] == call["template_id"]), None)
        if row is None:
            row = {"template_id": call["template_id"], "name": call["template_id"], "min_sends": "1"}
            rows.append(row)
        row["control_copy_id"] = copy
        history.save("template_settings")


def edit_actions(history: History, draw: Random) -> None:
    """The owner maps a message's action to the template of a call, unmaps it, or takes the sample's map."""
    rows = history.settings["template_actions"]
    calls = {journey: line.data for line in history.landed(CALLS.name) if (journey := _journey(line))}
    pairs = [
        (calls[_journey(line)], line.data)
        for line in history.landed(EVENTS.name)
        if line.data.get("action_id") and _journey(line) in calls
        if line.data["action_id"] != calls[_journey(line)].get("action_id")
    ]
    if pairs and draw.random() < 0.8:
        row, campaign = _mapping(draw, pairs)
        others = [other for other in rows if row.items() <= other.items()]
        for other in others:
            rows.remove(other)
        if not others:
            rows.append({**row, "campaign_id": campaign})
    else:
        with (SAMPLE_SEEDS / "template_actions.csv").open() as file:
            rows[:] = csv.DictReader(file)
    history.save("template_actions")


def edit_back(history: History, draw: Random) -> None:
    """The owner takes a change of a seed back: it is as it was before one of the last changes."""
    if history.earlier:
        seed, rows = draw.choice(history.earlier[-3:])
        history.settings[seed][:] = [dict(row) for row in rows]
        history.save(seed)


def _mapping(draw: Random, pairs: list[tuple[Record, Record]]) -> tuple[Record, object]:
    """A row of the action map for one of the pairs of call and event, and its campaign."""
    with_parent = [pair for pair in pairs if pair[1].get("parent_action_id")]
    by_parent = with_parent and draw.random() < 0.3
    call, event = draw.choice(with_parent if by_parent else pairs)
    role = draw.choice(("message", "message", "message", "message", "message", "webhook", "control"))
    acted = call if role == "webhook" and call.get("action_id") else event
    action = acted["parent_action_id" if by_parent and acted is event else "action_id"]
    row = {"template_id": call["template_id"], "role": role, "action_id": str(action)}
    return row, draw.choice(("", acted.get("campaign_id")))


def build(history: History, draw: Random) -> None:
    """`dbt build`."""
    history.build()


def build_refresh(history: History, draw: Random) -> None:
    """`dbt build --full-refresh`."""
    history.build(refresh=True)


def build_dies(history: History, draw: Random) -> None:
    """A build that breaks off somewhere, as a whole or with one model; sometimes it is a full refresh."""
    history.build(death=Death(draw.random(), draw.random() < 0.5), refresh=draw.random() < 0.2)


def build_while_landing(history: History, draw: Random) -> None:
    """A build during which something lands, as it can on a warehouse with several writers."""
    landing = draw.choice((land_some, land_again, land_shorter, land_edited, land_gone))
    history.build(meanwhile=lambda: landing(history, draw), at=draw.random())


def build_part(history: History, draw: Random) -> None:
    """`dbt build --select +model`, or @model, sometimes as a full refresh."""
    assert history.builder
    recorded = history.builder.recorded
    model = draw.choice(sorted(recorded.models))
    wanted = recorded.below(model) if draw.random() < 0.5 else {model}
    history.build(select=recorded.above(*wanted), refresh=draw.random() < 0.3)


def build_mended(history: History, draw: Random) -> None:
    """`dbt build --full-refresh --select model+` or model, as after somebody changed a table by hand."""
    assert history.builder
    recorded = history.builder.recorded
    tables = [name for name, model in recorded.models.items() if model.materialized == "incremental"]
    model = draw.choice(sorted(tables))
    history.build(select=recorded.below(model) if draw.random() < 0.7 else {model}, refresh=True)


Act = Callable[[History, Random], None]
# What happens between builds, and how a build goes; the numbers weigh how often.
LANDINGS: dict[Act, int] = {
    land_some: 8,
    land_again: 3,
    land_shorter: 3,
    land_edited: 3,
    land_moved: 3,
    land_gone: 3,
    land_undone: 3,
    land_late_edit: 5,
    land_retry: 4,
    land_earlier_open: 3,
    edit_control: 3,
    edit_actions: 6,
    edit_back: 5,
}
BUILDS: dict[Act, int] = {
    build: 13,
    build_dies: 5,
    build_while_landing: 2,
    build_part: 4,
    build_mended: 6,
    build_refresh: 1,
}
STEPS = {act.__name__: act for act in (*LANDINGS, *BUILDS)}


def plan_of(number: int) -> Plan:
    """The plan of a number: three to six builds, before each none to four landings or edits of seeds."""
    draw = Random(number)
    acts = [
        act
        for _ in range(draw.randint(3, 6))
        for act in (
            *draw.choices(list(LANDINGS), list(LANDINGS.values()), k=draw.choice((0, 1, 1, 2, 2, 3, 4))),
            *draw.choices(list(BUILDS), list(BUILDS.values())),
        )
    ]
    plan = Plan(
        world=draw.randrange(WORLDS),
        seed=draw.randrange(10**6),
        journeys=draw.choice((40, 80, 160, 300)),
        in_order=draw.random() < 0.5,
        start=draw.choice((0.0, 0.3, 0.5, 0.5, 0.7, 0.9)),
        steps=tuple(Step(act.__name__, draw.randrange(10**6)) for act in acts),
        bare=draw.random() < 0.1,
    )
    if draw.random() < 0.5:
        return plan
    # what one act left undone is often mended by the next one, so some plans end with one act
    last = draw.choices(list(LANDINGS), list(LANDINGS.values()))
    ends = tuple(Step(act.__name__, draw.randrange(10**6)) for act in (build, *last))
    return replace(plan, steps=plan.steps + ends)


# Drawn as one number: hypothesis makes most lists short and alike, and few of them would meet a hard case.
plans = st.integers(0, 2**64 - 1).map(plan_of)


def reduced(plan: Plan, is_wanted: Callable[[Plan], bool]) -> Plan:
    """The plan without the steps and journeys that it does not take to be as wanted."""
    for step in plan.steps:
        fewer = replace(plan, steps=tuple(other for other in plan.steps if other is not step))
        plan = fewer if is_wanted(fewer) else plan
    for journeys in (5, 10, 20, 40, 80):
        if journeys < plan.journeys and is_wanted(replace(plan, journeys=journeys)):
            return replace(plan, journeys=journeys)
    return plan


def lines_of(plan: Plan) -> list[Line]:
    """The lines of a plan in the order of their arrival: by time, some weeks late, or in any order."""
    draw = Random(plan.seed)
    lines = world(plan.world)
    journeys = sorted({_journey(line) for line in lines} - {""})
    chosen = set(draw.sample(journeys, min(plan.journeys, len(journeys))))
    kept = [
        line
        for line in lines
        if _journey(line) in chosen or (not _journey(line) and draw.random() * CALLS_OF_WORLD < plan.journeys)
    ]
    late = [draw.choice((0, 0, 0, 0, 0, 2, 10, 20)) * DAY for _ in kept]
    arrivals = [
        (line.at + delay if plan.in_order else draw.random(), number)
        for number, (line, delay) in enumerate(zip(kept, late, strict=True))
    ]
    return [kept[number] for _, number in sorted(arrivals)]


@contextmanager
def history_of(plan: Plan, recorded: Recorded) -> Iterator[History]:
    """Play a plan and a last build."""
    with tempfile.TemporaryDirectory() as name, duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        empty_warehouse(connection, WAREHOUSE)
        history = History(connection, Path(name).resolve(), lines_of(plan))
        history.builder = Builder(recorded, connection, WAREHOUSE, history.seeds)
        if plan.bare:
            for seed in ("template_settings", "template_actions"):
                history.settings[seed].clear()
                history.save(seed)
        if plan.start:
            land_some(history, Random(plan.seed), plan.start)
        history.build()
        for step in plan.steps:
            STEPS[step.kind](history, Random(step.seed))
        history.build()
        yield history


def empty_warehouse(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Add a warehouse with empty landing tables and make it the one that unqualified names mean."""
    attach(connection, name)
    connection.execute(f"use {name}")
    for statement in ddl():
        connection.execute(statement)


@dataclass(frozen=True)
class Played:
    """The cases that a plan met, and the models that differ from a full build.

    `unequal`: of the same landing tables. `unequal_anew`: of the same files landed anew.
    """

    unequal: dict[str, Any]
    unequal_anew: dict[str, Any]
    cases: frozenset[str]


def play(plan: Plan, recorded: Recorded) -> Played:
    """Play a plan with incremental builds and compare its end with full builds."""
    with history_of(plan, recorded) as history:
        connection, models = history.connection, recorded.compared()
        unequal = unequal_to_full(history, recorded)
        empty_warehouse(connection, "anew")
        history.land(Random(plan.seed))
        Builder(recorded, connection, "anew", history.seeds).build()
        tables = [model for model in models if model.schema in ("intermediate", "marts")]
        return Played(unequal, differences(connection, tables, WAREHOUSE, "anew"), history.watch.seen)


def is_noticed(plan: Plan, recorded: Recorded, mutated: Recorded) -> bool:
    """Whether a plan shows that `mutated` does not build what `recorded` builds."""
    with history_of(plan, mutated) as history:
        return bool(unequal_to_full(history, recorded))


def unequal_to_full(history: History, recorded: Recorded) -> dict[str, Any]:
    """Compare with a full build of the same landing tables, in another warehouse."""
    connection = history.connection
    attach(connection, "complete")
    copy_landing(connection, WAREHOUSE, "complete")
    Builder(recorded, connection, "complete", history.seeds).build()
    try:
        return differences(connection, recorded.compared(), WAREHOUSE, "complete")
    finally:
        connection.execute("detach complete")
