"""Measures landing and a first build of impressions: one call per journey, many copies, few events.

The other benchmark's traffic has retries, repeats and three events a call. Here nothing repeats, so what
costs is the number of calls, of texts and of ids.
"""

from dataclasses import replace
from pathlib import Path

import duckdb

from scripts.console import progress
from scripts.dev.bench.landing import BIN
from scripts.dev.bench.measure import Cost, measured
from scripts.errors import UserError

COPIES = 22_666
DAYS = 30
CLICKED = 67
"""One call in so many has a click: 1.2 million of 81 million."""

_PER_FILE = 10_000_000
# 2025-01-01
_FIRST_SECOND = 20_089 * 86_400
_CALLS = f"""
copy (
    select
        {_FIRST_SECOND} + number * {DAYS * 86_400} // $calls as event_timestamp,
        'u' || hash(number, 'user') % 20000000 as user_id,
        100 + number % 7 as campaign_id,
        1000 + number % 7 as action_id,
        'J' || lpad(to_base(number, 32), 12, '0') || upper(substr(md5('j' || number), 1, 13)) as journey_id,
        md5('copy' || copy)[:8] || '-0000-4000-8000-' || md5('copy' || copy)[9:20] as copy_id,
        'template-' || copy % 50 as template_id,
        map {{
            'subject': 'Offer ' || copy || ' for you',
            'preheader': 'Only today, ' || copy || ' of {COPIES}',
            'body': repeat('Your plan saves in one click. ', 5 + copy % 7)
        }} as vars,
        map {{
            'plan': ['free', 'basic', 'pro', 'team'][number % 4 + 1],
            'country': ['DE', 'FR', 'US', 'GB', 'ES'][number % 5 + 1],
            'visits': cast(hash(number, 'visits') % 100 as varchar)
        }} as attrs
    from (
        select number, cast(hash(number, 'copy') % {COPIES} as int) as copy
        from range($first, $last) as numbers (number)
    )
) to $path (format parquet, compression zstd)"""
_EVENTS = f"""
copy (
    select
        'E' || lpad(to_base(number, 32), 12, '0') || upper(substr(md5('e' || number), 1, 13)) as event_id,
        'email' as object_type,
        'clicked' as metric,
        {_FIRST_SECOND} + number * {DAYS * 86_400} // $calls + 60 as timestamp,
        {{
            'delivery_id': md5('d' || number),
            'journey_id':
                'J' || lpad(to_base(number, 32), 12, '0') || upper(substr(md5('j' || number), 1, 13)),
            'campaign_id': 100 + number % 7,
            'action_id': 1000 + number % 7,
            'href': 'https://www.example.com/offer/' || number % 50,
            'machine': number % 11 = 0
        }} as data
    from range(0, $calls, {CLICKED}) as numbers (number)
) to $path (format parquet, compression zstd)"""


def bench_impressions(calls: int, folder: Path, environment: dict[str, str]) -> str:
    """Land so many impressions from Parquet and build all models; return Markdown.

    The files are made once per number of calls and kept below the folder. `environment`: that of the
    commands, whose warehouse is one of its own here.

    Raises:
        UserError: the marts do not hold every call and every click.
    """
    database = folder / "impressions.duckdb"
    environment = environment | {"COPYMART_DUCKDB": str(database)}
    made = files(folder / f"impressions_{calls}", calls)
    land = ["land", "--calls", str(made / "calls"), "--events", str(made / "events.parquet")]
    commands = {
        "land": [str(BIN / "copymart"), *land],
        "dbt seed": [str(BIN / "dbt"), "--log-level", "warn", "seed", "--full-refresh"],
        "dbt run": [str(BIN / "dbt"), "--log-level", "warn", "run"],
    }
    _remove(database)
    costs: dict[str, Cost] = {}
    with progress("bench impressions", len(commands)) as advance:
        for what, command in commands.items():
            cost, _ = measured(command, environment, database)
            costs[what] = replace(cost, work=database.stat().st_size)
            advance(1)
    require_all(database, calls)
    _remove(database)
    return _markdown(calls, costs)


def files(folder: Path, calls: int) -> Path:
    """Make `calls` as Parquet files and `events.parquet` in the folder, unless they are there; return it."""
    complete = folder / "complete"
    if not complete.exists():
        (folder / "calls").mkdir(parents=True, exist_ok=True)
        starts = range(0, calls, _PER_FILE)
        with duckdb.connect() as connection, progress("impressions", len(starts) + 1) as advance:
            connection.execute("set memory_limit = '3500MB'")
            for number, first in enumerate(starts):
                path = folder / f"calls/calls_{number:03}.parquet"
                span = {"calls": calls, "first": first, "last": min(first + _PER_FILE, calls)}
                connection.execute(_CALLS.replace("$path", f"'{path}'"), span)
                advance(1)
            connection.execute(_EVENTS.replace("$path", f"'{folder / 'events.parquet'}'"), {"calls": calls})
        complete.touch()
    return folder


def require_all(database: Path, calls: int) -> None:
    """Compare the marts' counts with what the files hold.

    Raises:
        UserError: calls, deliveries or clicks are missing, or there are too many.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(
            """
            select
                (select count(*) from marts.fct_calls),
                (select count(*) from marts.fct_deliveries),
                (select sum(clicked) from marts.copy_cohort_metrics_daily)
            """
        ).fetchall()[0]
    expected = (calls, calls, -(-calls // CLICKED))
    if found != expected:
        raise UserError(f"the marts hold (calls, deliveries, clicks) {found}, and the files {expected}")


def _markdown(calls: int, costs: dict[str, Cost]) -> str:
    lines = [
        "| impressions | what | wall s | processor s | peak memory GiB | temporary disk GiB "
        "| file MB per million |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    gib = 1 << 30
    lines += [
        f"| {calls:,} | {what} | {cost.wall:.1f} | {cost.processor:.1f} | {cost.memory / gib:.2f} "
        f"| {cost.temporary / gib:.2f} | {cost.work / calls:.0f} |"
        for what, cost in costs.items()
    ]
    return "\n".join(lines) + "\n"


def _remove(database: Path) -> None:
    for suffix in ("", ".wal"):
        Path(str(database) + suffix).unlink(missing_ok=True)
