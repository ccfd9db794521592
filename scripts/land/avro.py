"""Avro as numbered lines: fastavro makes one Python object per record, which becomes a line of JSON."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
from fastavro.read import LOGICAL_READERS

from scripts.land import records
from scripts.land.records import Columns, Piece, check_columns, first_line, lines_of_texts
from scripts.land.sources import Opened, Refused

_CODECS = ("null", "deflate", "snappy", "zstandard", "bzip2", "xz", "lz4")
_EPOCH = date(1970, 1, 1)


def _date(days: int, *_: Any) -> str | int:
    try:
        return str(_EPOCH + timedelta(days))
    except OverflowError:
        return days


def _seconds(value: int, per_second: int) -> int:
    return min(value // per_second, records.MOST_SECONDS)


def _iso(value: int, per_second: int) -> str:
    try:
        return str(datetime(1970, 1, 1) + timedelta(microseconds=value * 10**6 // per_second))
    except OverflowError:
        return "infinity" if value > 0 else "-infinity"


# An error in one value would end the file. So a time is the file's number in whole seconds, or ISO 8601 where
# the dataset has such times, and one beyond Python's years reaches the rules. fastavro has no reader for a
# uuid of 16 bytes (Avro 1.12).
_UNITS = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
_TYPES = {
    "int-date": _date,
    "fixed-uuid": lambda value, *_: str(UUID(bytes=value)),
    "string-uuid": lambda value, *_: value,
}


def _times(iso_times: bool) -> dict[str, Any]:
    read = _iso if iso_times else _seconds
    return {
        f"long-{local}timestamp-{unit}": lambda value, *_, by=by: read(value, by)
        for local in ("", "local-")
        for unit, by in _UNITS.items()
    }


@contextmanager
def _readers_of_types(iso_times: bool) -> Iterator[None]:
    """Let fastavro read logical types as land does; its readers are those of the whole process."""
    before = dict(LOGICAL_READERS)
    LOGICAL_READERS.update(_TYPES | _times(iso_times))
    try:
        yield
    finally:
        LOGICAL_READERS.clear()
        LOGICAL_READERS.update(before)


def read_avro(opened: Opened, columns: Columns) -> Iterator[Piece]:
    """Yield the records of an Avro file.

    Raises:
        Refused: it is damaged, or its schema is not that of records with the columns of the dataset.
    """
    with _readers_of_types(columns.iso_times):
        yield from _pieces(opened, columns)


def _pieces(opened: Opened, columns: Columns) -> Iterator[Piece]:
    first = 1
    try:
        # with surrogateescape, bytes that are no text are seen in the record that has them
        source = fastavro.reader(opened.stream, handle_unicode_errors="surrogateescape")
        if source.codec not in _CODECS:
            raise Refused(f"its codec {source.codec} is not read: write it with one of {', '.join(_CODECS)}")
        schema = source.writer_schema
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise Refused("its top level is no record")
        check_columns([field["name"] for field in schema["fields"]], columns)
        held: list[str] = []
        size = 0
        for record in source:
            held.append(
                json.dumps(_present(record), ensure_ascii=False, default=_plain, separators=(",", ":"))
            )
            size += len(held[-1])
            if size >= records.PIECE_BYTES:
                yield Piece(lines_of_texts(held, first), True)
                first += len(held)
                held, size = [], 0
        if held:
            yield Piece(lines_of_texts(held, first), True)
    except Refused:
        raise
    except (EOFError, zlib.error, OSError):
        raise
    except Exception as error:  # fastavro passes on any error of its decoders in a damaged file
        raise Refused(
            f"it is no readable Avro ({first_line(error)}): copy it again from its source"
        ) from error


def _present(record: Any) -> dict[str, Any]:
    """Drop null members at every depth: in Avro, as in a Parquet STRUCT, they mean absent keys."""
    return {key: _drop_nulls(value) for key, value in record.items() if value is not None}


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return _present(value)
    if isinstance(value, list):
        return [_drop_nulls(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """JSON for the values that it has no type for."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        # text where a double, which the engine's JSON makes of a number, would lose digits
        return float(value) if Decimal(repr(float(value))) == value else format(value, "f")
    if isinstance(value, time | UUID):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")
