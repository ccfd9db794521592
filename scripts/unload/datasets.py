"""What can be unloaded: the datasets, the time one partition covers, and the range of a run.

The SQL here runs on all engines; what they write differently is in scripts/unload/dialects.py.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from scripts.errors import UserError

# Raise it when a column of a dataset is renamed, retyped or removed; readers find it in the manifest.
SCHEMA_VERSION = 1


class Layout(StrEnum):
    """Whether calls and deliveries carry the copy's text or leave it to copy_variants."""

    FULL = "full"
    SPLIT = "split"


class Format(StrEnum):
    """How rows are written; also the extension of the files."""

    PARQUET = "parquet"
    AVRO = "avro"


@dataclass(frozen=True)
class Period:
    """The time one partition covers: the folders of a moment, and the step to the next."""

    folders: str
    step: timedelta

    def floor(self, moment: datetime) -> datetime:
        """Return the start of the period that holds the moment."""
        return moment - (moment - datetime.min) % self.step

    def ceiling(self, moment: datetime) -> datetime:
        """Return the moment itself if a period ends there, else the end of the period that holds it."""
        return -(-(moment - datetime.min) // self.step) * self.step + datetime.min

    def start(self, partition: str) -> datetime:
        """Return the first moment of a partition.

        Raises:
            ValueError: the text names no moment, such as 2026/13/45/99.
        """
        return datetime.strptime(partition, self.folders)


HOUR = Period("%Y/%m/%d/%H", timedelta(hours=1))
DAY = Period("%Y/%m/%d", timedelta(days=1))

# The partition of a dataset without period: no name, no time.
WHOLE = ""


class Seconds(NamedTuple):
    """A column of a file: a stored timestamp as unix seconds."""

    column: str
    name: str


@dataclass(frozen=True)
class Dataset:
    """A relation to unload.

    `moment`: a stored timestamp or date, or with `in_seconds` unix seconds. Without period, all rows are one
    partition. `model`: the incremental model whose rows dbt counts in CONTENTS. Relations are named by their
    layer: marts.fct_calls.
    """

    name: str
    mart: str
    period: Period | None
    moment: str
    columns: tuple[str | Seconds, ...]
    joined: str = ""
    text_columns: tuple[str, ...] = ()
    in_seconds: bool = False
    model: str = ""

    @property
    def relations(self) -> list[str]:
        """Every relation that is read, as layer.table."""
        kept = [CONTENTS, CONSUMED] if self.period is HOUR else []
        return [self.mart, *re.findall(r"(?:marts|intermediate)\.\w+", self.joined), *kept]

    def columns_of(self, layout: Layout) -> list[str | Seconds]:
        """Return the columns of a file."""
        dropped = self.text_columns if layout is Layout.SPLIT else ()
        return [column for column in self.columns if column not in dropped]


# Rows and hash sum of each hour of calls and deliveries, kept by dbt so that no run scans history.
CONTENTS = "intermediate.int_partition_contents"
# Which batches each incremental model has read, also kept by dbt.
CONSUMED = "staging.consumed_batches"
LEDGER = "staging.landed_files"

DATASETS = {
    dataset.name: dataset
    for dataset in (
        # Exactly the vendor's record: the agreement fixes names, order and types.
        Dataset(
            "calls",
            "marts.fct_calls",
            HOUR,
            "mart.event_timestamp",
            (
                *("event_timestamp", "user_id", "campaign_id", "action_id", "journey_id", "copy_id"),
                *("template_id", "vars", "attrs"),
            ),
            text_columns=("vars",),
            in_seconds=True,
            model="int_distinct_calls",
        ),
        Dataset(
            "deliveries",
            "marts.fct_deliveries",
            HOUR,
            "mart.last_called_at",
            (
                *(Seconds("mart.last_called_at", "event_timestamp"), "mart.user_id", "mart.campaign_id"),
                *("mart.action_id", "mart.journey_id", "mart.copy_id", "mart.template_id", "contents.vars"),
                *("mart.attrs", "mart.delivery_key", "mart.content_hash", "mart.delivery_date"),
                *("mart.first_called_at", "mart.last_called_at", "mart.call_count", "mart.copy_conflict"),
            ),
            joined="left join intermediate.int_copy_contents as contents using (content_hash)",
            text_columns=("contents.vars",),
            model="fct_deliveries",
        ),
        Dataset(
            "copy_variants",
            "marts.dim_copy_variants",
            None,
            "mart.valid_from",
            (
                *("version_key", "copy_id", "version_number", "template_id", "content_hash", "subject"),
                *("preheader", "body", "vars", "change_type", Seconds("valid_from", "valid_from")),
                *(Seconds("valid_to", "valid_to"), "is_current"),
            ),
        ),
        Dataset("copy_metrics_daily", "marts.copy_metrics_daily", DAY, "mart.metric_date", ("mart.*",)),
        Dataset(
            "copy_cohort_metrics_daily",
            "marts.copy_cohort_metrics_daily",
            DAY,
            "mart.delivery_date",
            ("mart.*",),
        ),
    )
}


@dataclass(frozen=True)
class Span:
    """Whole UTC hours from start to before end; None is open."""

    start: datetime | None
    end: datetime | None

    def of(self, period: Period | None) -> "Span":
        """Return the span widened to whole periods, because a partition is only written as a whole."""
        if period is None:
            return EVERYTHING
        start = period.floor(self.start) if self.start else None
        return Span(start, period.ceiling(self.end) if self.end else None)

    def holds(self, period: Period | None, partition: str) -> bool:
        """Return whether the partition begins in the span."""
        if period is None:
            return True
        moment = period.start(partition)
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)


EVERYTHING = Span(None, None)


def chosen_datasets(names: list[str] | None) -> list[Dataset]:
    """Return the datasets of these names, all without names.

    Raises:
        UserError: there is no dataset of a name.
    """
    unknown = [name for name in names or () if name not in DATASETS]
    if unknown:
        raise UserError(f"unknown dataset {', '.join(unknown)}; there are {', '.join(DATASETS)}")
    return [DATASETS[name] for name in dict.fromkeys(names or DATASETS)]


def parse_span(start: str | None, end: str | None) -> Span:
    """Return the span of --start and --end.

    Raises:
        UserError: one is no whole UTC hour, or they make no range.
    """
    span = Span(_hour("--start", start), _hour("--end", end))
    if span.start and span.end and span.start >= span.end:
        raise UserError(f"--start {start} is not before --end {end}; the range is [start, end)")
    return span


def _hour(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text} is no time; write 2026-09-01T05 or 2026-09-01 (UTC)") from None
    try:
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        inside = 1970 <= moment.year < 9999
    except OverflowError:
        inside = False
    if not inside:
        raise UserError(f"{option} {text} lies outside the years 1970 to 9998")
    if moment != HOUR.floor(moment):
        raise UserError(f"{option} {text} is not a whole UTC hour; write 2026-09-01T05 or 2026-09-01")
    return moment
