"""JustAI's two tables of a history: sends and variants land beside all else, are replaced and removed.

They draw by themselves, so that a plan's other steps stay what they were.
"""

from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from scripts.land.rules import SENDS, VARIANTS
from support.land import HOUR, land_path, send, variant, write

if TYPE_CHECKING:
    from support.replay.histories import History

FOLDERS = {SENDS.name: "justai/sends", VARIANTS.name: "justai/variants"}
DATASETS = (VARIANTS, SENDS)
# Few, so that sends and words meet: copies that no call has, hours, and seconds of sends.
COPIES = tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in range(3))
START = datetime(2026, 1, 3)
HOURS, SECONDS, JOURNEYS = 5, 12, 8


def land_two_tables(history: "History") -> None:
    """Mostly nothing; else a new file of sends or variants, or one in the place of another, or one less.

    At the end of a history what is there lands again, and nothing else.
    """
    if history.is_over:
        _land(history)
        return
    draw = Random(f"two tables {history.step} {len(history.tables)}")
    if draw.random() < 0.6:
        return
    table = draw.choice((SENDS.name, SENDS.name, VARIANTS.name))
    there = [path for path in sorted(history.tables) if history.tables[path] == table]
    what = draw.random() if there else 0.0
    if what < 0.6:
        hour = START + timedelta(hours=draw.randrange(HOURS))
        number = f"{history.step:04}-{len(history.tables):03}"
        path = history.folder / FOLDERS[table] / f"{hour:%Y/%m/%d/%H}" / f"{number}.jsonl"
        _write(history, path, table, draw)
    elif what < 0.8:
        _write(history, draw.choice(there), table, draw)
    else:
        path = draw.choice(there)
        path.unlink()
        del history.tables[path]
        hour = datetime(*map(int, path.parts[-5:-1]))  # type: ignore[arg-type]
        dataset = next(each for each in DATASETS if each.name == table)
        span = (hour, hour + timedelta(hours=1))
        land_path(history.connection, history.folder / FOLDERS[table], dataset, span, True)
    _land(history)


def _land(history: "History") -> None:
    for dataset in DATASETS:
        if dataset.name in history.tables.values():
            land_path(history.connection, history.folder / FOLDERS[dataset.name], dataset)


def _write(history: "History", path: Path, table: str, draw: Random) -> None:
    count = 1 + draw.randrange(6)
    if table == VARIANTS.name:
        words = (f"words {draw.randrange(3)}" for _ in range(count))
        records = [variant(text, draw.choice(COPIES), f"t{draw.randrange(2)}") for text in words]
    else:
        start = int((START - datetime(1970, 1, 1)).total_seconds()) - HOUR
        records = [
            send(
                start + draw.randrange(SECONDS) * HOURS * 300,
                draw.choice(COPIES),
                journey_id=f"of two tables {draw.randrange(JOURNEYS)}",
            )
            for _ in range(count)
        ]
    write(path, *records)
    history.tables[path] = table
