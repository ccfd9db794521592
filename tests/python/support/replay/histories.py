"""A history: simulated lines that land in files, edits of them and of the seeds, and builds."""

import csv
import gzip
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from scripts.land.rules import CALLS, EVENTS
from scripts.simulate import command as simulate
from scripts.simulate.plan import Plan as SimulationPlan
from support.land import land_path
from support.replay.builds import (
    SAMPLE_SEEDS,
    Builder,
    Died,
)
from support.replay.cases import Watch
from support.replay.source_calls import land_source_calls
from support.replay.two_tables import land_two_tables
from support.sync import TABLES, write_export

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


def rows_of(seed: Path) -> list[Record]:
    """The rows of a seed's file."""
    with seed.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


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

    `exports`: files of the warehouse sync, with their table and rows. `calls`: files of source calls.
    `tables`: files of JustAI's two tables, with which of them each is.
    `settings`: the rows of the seeds by name. `earlier`: rows that a seed had before each time it was saved.
    `is_over`: what is there lands again, and nothing new.
    """

    connection: duckdb.DuckDBPyConnection
    folder: Path
    left: list[Line] = field(default_factory=list)
    files: dict[Path, list[Line]] = field(default_factory=dict)
    exports: dict[Path, tuple[str, list[Record]]] = field(default_factory=dict)
    calls: dict[Path, datetime] = field(default_factory=dict)
    tables: dict[Path, str] = field(default_factory=dict)
    settings: dict[str, list[Record]] = field(default_factory=dict)
    earlier: list[tuple[str, list[Record]]] = field(default_factory=list)
    builder: Builder | None = None
    step: int = 0
    is_over: bool = False

    def __post_init__(self) -> None:
        self.watch = Watch(self.connection)
        if not self.seeds.exists():
            shutil.copytree(SAMPLE_SEEDS, self.seeds)
        for seed in self.seeds.glob("*.csv"):
            self.settings[seed.stem] = rows_of(seed)

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
        if not dataset:
            self.land_exports()
        land_source_calls(self)
        land_two_tables(self)

    def export(self, path: Path, table: str, rows: list[Record]) -> None:
        """Write a file of a table of the warehouse sync."""
        write_export(path, TABLES[table], rows)
        self.exports[path] = (table, rows)

    def land_exports(self) -> None:
        """Land what is new of the warehouse sync."""
        for table in sorted({table for table, _ in self.exports.values()}):
            land_path(self.connection, self.folder / "customerio/sync" / table, TABLES[table])

    def backfill(self, dataset: str, hour: datetime) -> None:
        span = (hour, hour + timedelta(hours=1))
        land_path(self.connection, self.folder / FOLDERS[dataset], DATASETS[dataset], span, True)

    def save(self, seed: str) -> None:
        """Write a seed as it is in `settings` now, like a spreadsheet: byte order mark, CRLF, all quoted."""
        path = self.seeds / f"{seed}.csv"
        self.earlier.append((seed, rows_of(path)))
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file))
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL)
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
