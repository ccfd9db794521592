"""Files of Customer.io's warehouse sync, in the types of several writers."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.land.rules import Dataset
from scripts.land.sync import SYNC

TABLES: dict[str, Dataset] = {dataset.name.removeprefix("customerio_"): dataset for dataset in SYNC}

EPOCH = datetime(1970, 1, 1)


def moment(seconds: int) -> datetime:
    """A time in UTC, without a zone as land gives it."""
    return EPOCH + timedelta(seconds=seconds)


def _texts(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _clock(values: Sequence[Any], form: str) -> pa.Array:
    return pa.array([None if value is None else value.strftime(form) for value in values], pa.string())


def _ticks(values: Sequence[Any], unit: str) -> pa.Array:
    kind = pa.timestamp(unit.partition(" ")[0], unit.partition(" ")[2] or None)
    return (
        pa.array(
            [None if value is None else value.replace(tzinfo=UTC) for value in values],
            pa.timestamp("us", "UTC"),
        )
        .cast(pa.timestamp(kind.unit, "UTC"))
        .cast(kind)
        if kind.tz
        else pa.array(values, pa.timestamp("us")).cast(kind)
    )


WRITERS = {
    "int": {
        "int64": lambda values: pa.array(values, pa.int64()),
        "int32": lambda values: pa.array(values, pa.int32()),
        "double": lambda values: pa.array(
            [math.nan if value is None else float(value) for value in values], pa.float64()
        ),
        "decimal": lambda values: pa.array(values, pa.decimal128(20, 0)),
        "text": _texts,
    },
    "text": {
        "string": lambda values: pa.array(values, pa.string()),
        "large string": lambda values: pa.array(values, pa.large_string()),
        "dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
        "binary": lambda values: pa.array(
            [None if value is None else value.encode() for value in values], pa.binary()
        ),
        "empty for null": lambda values: pa.array([value or "" for value in values], pa.string()),
    },
    "time": {
        "us": lambda values: _ticks(values, "us"),
        "ms": lambda values: _ticks(values, "ms"),
        "ns UTC": lambda values: _ticks(values, "ns UTC"),
        "us Asia/Tokyo": lambda values: _ticks(values, "us Asia/Tokyo"),
        "epoch for null": lambda values: _ticks([value or EPOCH for value in values], "us"),
        "text": lambda values: _clock(values, "%Y-%m-%d %H:%M:%S"),
        "text, epoch for null": lambda values: _clock(
            [value or EPOCH for value in values], "%Y-%m-%d %H:%M:%S"
        ),
        "iso": lambda values: _clock(values, "%Y-%m-%dT%H:%M:%SZ"),
        "zone": lambda values: _clock(
            [value and value + timedelta(hours=5, minutes=30) for value in values], "%Y-%m-%d %H:%M:%S+05:30"
        ),
        "seconds": lambda values: pa.array(
            [None if value is None else int(value.replace(tzinfo=UTC).timestamp()) for value in values],
            pa.int64(),
        ),
        "milliseconds": lambda values: pa.array(
            [
                None if value is None else int(value.replace(tzinfo=UTC).timestamp()) * 1000
                for value in values
            ],
            pa.int64(),
        ),
    },
    "flag": {
        "boolean": lambda values: pa.array(values, pa.bool_()),
        "text": lambda values: pa.array(
            [None if value is None else str(value).lower() for value in values], pa.string()
        ),
        "number": lambda values: pa.array(values, pa.bool_()).cast(pa.int8()),
    },
}
"""Per kind of a field, the ways in which a writer may give values that land reads alike."""

TYPED = {"int": "int64", "text": "string", "time": "us", "flag": "boolean"}


def write_export(
    path: Path,
    dataset: Dataset,
    rows: Sequence[dict[str, Any]],
    writers: dict[str, str] | None = None,
    order: Sequence[str] | None = None,
    others: dict[str, pa.Array] | None = None,
    **options: Any,
) -> Path:
    """Write rows, of values by field, as a file of a table of the sync.

    `writers`: the way of a field's kind that is not the usual one. `order`: the fields, in their order; by
    default those that any row has. `others`: columns that land does not know.
    """
    kinds = {field: kind for _, kind, field in dataset.typed}
    fields = order or [field for field in kinds if any(field in row for row in rows)]
    columns = {}
    for field in fields:
        label = (writers or {}).get(field, TYPED[kinds[field]])
        columns[field] = WRITERS[kinds[field]][label]([row.get(field) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | (others or {})), path, **options)
    return path


def metric(number: int, **changes: Any) -> dict[str, Any]:
    """A row of metrics."""
    row = {
        "event_id": f"e{number}",
        "workspace_id": 111528,
        "delivery_id": f"d{number}",
        "metric": "opened",
        "created_at": moment(1_767_268_801 + number),
        "seq_num": number,
    }
    return row | changes


def delivery(number: int, **changes: Any) -> dict[str, Any]:
    """A row of deliveries."""
    row = {
        "delivery_id": f"d{number}",
        "internal_customer_id": f"c{number}",
        "subject_id": f"j{number}",
        "delivery_type": "email",
        "campaign_id": 7,
        "action_id": 42,
        "created_at": moment(1_767_268_800 + number),
        "seq_num": number,
    }
    return row | changes


VALUES_OF_KINDS = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "text": st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9
    ).filter(lambda text: text.strip(" ")),
    "time": st.integers(946_684_800, 4_102_444_799).map(moment),
    "flag": st.booleans(),
}
OTHER_COLUMNS = {
    "a": pa.int64(),
    'say "b"\\': pa.string(),
    "line": pa.float64(),
    "Sequence": pa.list_(pa.string()),
    "fault": pa.timestamp("us", "UTC"),
}
VALUES_OF_OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "a": st.integers(-9, 9),
    'say "b"\\': st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    "line": st.sampled_from([0.5, -2.25]),
    "Sequence": st.lists(st.sampled_from(["x", 'y"']), max_size=2),
    "fault": st.just(moment(1_767_268_801)),
}


@st.composite
def exports(draw: st.DrawFn) -> tuple[Dataset, list[dict[str, Any]], dict[str, Any]]:
    """A table of the sync, rows for it, and how a writer gives them."""
    dataset = draw(st.sampled_from(list(TABLES.values())))
    required = {field for (field,) in dataset.columns.required}
    kinds = {field: kind for _, kind, field in dataset.typed}
    optional = [field for field in kinds if field not in required]
    there = [*required, *(draw(st.lists(st.sampled_from(optional), unique=True)) if optional else [])]
    order = draw(st.permutations(sorted(there)))
    row = st.fixed_dictionaries(
        {
            field: VALUES_OF_KINDS[kinds[field]]
            if field in required
            else st.none() | VALUES_OF_KINDS[kinds[field]]
            for field in order
        }
    )
    given_rows = draw(st.lists(row, max_size=5))
    writers = {field: draw(st.sampled_from(list(WRITERS[kinds[field]]))) for field in order}
    others = {
        name: draw(
            st.lists(st.none() | VALUES_OF_OTHERS[name], min_size=len(given_rows), max_size=len(given_rows))
        )
        for name in draw(st.lists(st.sampled_from(list(OTHER_COLUMNS)), unique=True))
    }
    return dataset, given_rows, {"order": order, "writers": writers, "others": others}
