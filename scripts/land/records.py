"""From the bytes of one file to Arrow tables of its records: numbered lines of JSON or rows of columns."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from scripts.land.sources import Opened, Refused

PIECE_BYTES = 32 * 2**20
"""Decompressed bytes of one piece of a file, which is what is held in memory at a time."""

MAX_LINE_BYTES = 512 * 2**20

LINES = pa.schema([("line", pa.int64()), ("raw", pa.string()), ("size", pa.int64()), ("fault", pa.string())])
"""One row per line that is not blank: its physical number from 1, its text (a line end may be included), its
size in bytes without line end, and why it is no text at all (`invalid_utf8`) or null."""

BLANK = b" \t\r\n\v\f"
"""What a line may hold and still be blank."""

_BOM = b"\xef\xbb\xbf"
_MAGIC = {
    b"\x1f\x8b": "gzip data (name it .gz)",
    b"\x28\xb5\x2f\xfd": "zstd data (name it .zst)",
    b"PAR1": "Parquet (name it .parquet)",
    b"Obj\x01": "Avro (name it .avro)",
    b"\xff\xfe": "UTF-16 text (save it as UTF-8)",
    b"\xfe\xff": "UTF-16 text (save it as UTF-8)",
}


@dataclass(frozen=True)
class Columns:
    """What land needs to know of a dataset: the fields it reads, and groups of which one must be there."""

    fields: tuple[str, ...]
    required: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Piece:
    """Some records of one file: a LINES table, or `line` and the file's own columns."""

    table: pa.Table
    is_lines: bool
    unknown: tuple[str, ...] = ()


def read_pieces(opened: Opened, columns: Columns) -> Iterator[Piece]:
    """Yield the records of a file in order, in one or more pieces of about PIECE_BYTES.

    Raises:
        Refused: the file as a whole is not what its extension says; earlier pieces may have been yielded.
    """
    readers = {"jsonl": _read_jsonl, "parquet": _read_parquet, "avro": _read_avro}
    empty = True
    try:
        for piece in readers[opened.file.format or ""](opened, columns):
            yield piece
            empty = False
        if empty:
            yield Piece(LINES.empty_table(), True)
        opened.check_unchanged()
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise Refused(f"it is truncated or damaged ({error}): copy it again from its source") from error
    except OSError as error:
        raise Refused(f"it cannot be read ({error}): check the disk and run the command again") from error
    finally:
        opened.stream.close()


def _read_jsonl(opened: Opened, columns: Columns) -> Iterator[Piece]:
    if opened.file.codec and opened.file.size == 0:
        raise Refused("it is empty (0 bytes), which no compressed file is: copy it again from its source")
    first_line, first = 1, True
    for block in _whole_lines(_blocks(opened)):
        if first:
            block = block.removeprefix(_BOM)
            _check_text(block)
            first = False
        table, count = lines_table(block, first_line)
        first_line += count
        yield Piece(table, True)


def _blocks(opened: Opened) -> Iterator[bytes]:
    """Decompressed bytes in blocks of at most about PIECE_BYTES; gzip members or zstd frames may be many."""
    if opened.file.codec == "zstd":
        yield from _zstd_blocks(opened.stream)
        return
    stream = gzip.GzipFile(fileobj=opened.stream, mode="rb") if opened.file.codec == "gzip" else opened.stream
    while block := stream.read(PIECE_BYTES):
        yield block


def _zstd_blocks(stream: BinaryIO) -> Iterator[bytes]:
    # zstandard's stream_reader ends a truncated file silently; a decompressobj knows whether its frame ended.
    decoder = None
    while data := stream.read(2**16):
        while data:
            decoder = decoder or zstandard.ZstdDecompressor().decompressobj()
            yield decoder.decompress(data)
            data = decoder.unused_data if decoder.eof else b""
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        raise EOFError("the last zstd frame has no end")


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size < PIECE_BYTES or b"\n" not in block:
            if size > MAX_LINE_BYTES:
                raise Refused(
                    f"it holds a line longer than {MAX_LINE_BYTES >> 20} MB: is it JSON lines at all?"
                )
            continue
        cut = block.rfind(b"\n") + 1
        held[-1] = block[:cut]
        yield b"".join(held)
        held, size = [block[cut:]], len(block) - cut
    if size:
        yield b"".join(held)


def _check_text(block: bytes) -> None:
    for magic, name in _MAGIC.items():
        if block.startswith(magic):
            raise Refused(f"it holds {name}, not JSON lines")
    head = block[: 2**16]
    # NUL bytes may be one damaged line of a log; without any line that looks like a record, it is no log.
    if b"\0" in head and not any(line[:1] == b"{" and b"\0" not in line for line in head.split(b"\n")):
        raise Refused("it holds binary data, not JSON lines: convert it, or leave it out")


def lines_table(block: bytes, first_line: int) -> tuple[pa.Table, int]:
    """Split whole lines into a LINES table without copying them; return it and the physical lines' count."""
    if not block:
        return LINES.empty_table(), 0
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    has_tail = not block.endswith(b"\n")
    bounds = np.zeros(len(ends) + 1 + has_tail, dtype=np.int32)
    bounds[1 : len(ends) + 1] = ends + 1
    bounds[-1] = len(block)
    starts, stops = bounds[:-1], bounds[1:].copy()
    stops[: len(ends)] -= 1
    stops -= ((stops > starts) & (data[np.maximum(stops - 1, 0)] == ord("\r"))).astype(np.int32)
    sizes = stops - starts
    blank = sizes == 0
    for number in np.flatnonzero(~blank & np.isin(data[starts], np.frombuffer(BLANK, dtype=np.uint8))):
        blank[number] = not block[starts[number] : stops[number]].strip(BLANK)

    count = len(sizes)
    raw = pa.StringArray.from_buffers(count, pa.py_buffer(np.ascontiguousarray(bounds)), pa.py_buffer(block))
    fault = pa.nulls(count, pa.string())
    try:
        raw.validate(full=True)
    except pa.ArrowInvalid:
        raw, fault = _mark_invalid(block, starts, stops)
    table = pa.Table.from_arrays(
        [pa.array(np.arange(first_line, first_line + count)), raw, pa.array(sizes.astype(np.int64)), fault],
        schema=LINES,
    )
    return (table.filter(pa.array(~blank)) if blank.any() else table), count


def _mark_invalid(block: bytes, starts: np.ndarray, stops: np.ndarray) -> tuple[pa.Array, pa.Array]:
    texts: list[str] = []
    faults: list[str | None] = []
    for start, stop in zip(starts, stops, strict=True):
        line = block[start:stop]
        try:
            texts.append(line.decode())
            faults.append(None)
        except UnicodeDecodeError:
            texts.append(line.decode(errors="backslashreplace"))
            faults.append("invalid_utf8")
    return pa.array(texts, pa.string()), pa.array(faults, pa.string())


def _read_parquet(opened: Opened, columns: Columns) -> Iterator[Piece]:
    try:
        source = pq.ParquetFile(opened.stream)
        names = source.schema_arrow.names
        known = _check_columns(names, columns)
        unknown = tuple(sorted(set(names) - set(known)))
        first_row = 1
        for batch in _parquet_pieces(source, known):
            numbers = pa.array(np.arange(first_row, first_row + len(batch)))
            first_row += len(batch)
            yield Piece(_readable(batch).add_column(0, "line", numbers), False, unknown)
    except pa.ArrowException as error:
        raise Refused(
            f"it is no readable Parquet ({_first_line(error)}): copy it again from its source"
        ) from error


def _parquet_pieces(source: pq.ParquetFile, names: list[str]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in source.iter_batches(batch_size=16_384, columns=names):
        held.append(batch)
        size += batch.nbytes
        if size >= PIECE_BYTES:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _check_columns(names: list[str], columns: Columns) -> list[str]:
    missing = [" or ".join(group) for group in columns.required if not set(group) & set(names)]
    if missing:
        raise Refused(
            f"it lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
            f"(it has {', '.join(names) or 'none'}): is it the right data set?"
        )
    double = sorted({name for name in columns.fields if names.count(name) > 1})
    if double:
        raise Refused(
            f"it has the column {', '.join(double)} more than once: write it again with each name once"
        )
    return [name for name in columns.fields if name in names]


def _readable(table: pa.Table) -> pa.Table:
    """Cast what DuckDB would not accept as it is: maps (a duplicate key fails), bytes, nanoseconds."""
    for number, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_map(kind):
            if _has_map(kind.item_type):
                raise Refused(f"its column {field.name} holds maps within maps: write it as JSON text")
            entry = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
            kind = pa.list_(entry)
        elif _has_map(kind):
            raise Refused(f"its column {field.name} holds a map below the top: write it as JSON text")
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            kind = pa.string()
        elif pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", kind.tz)
        elif pa.types.is_fixed_size_binary(kind):
            raise Refused(f"its column {field.name} holds bytes of an unknown meaning: write it as text")
        if kind != field.type:
            # unsafe: nanoseconds are cut to microseconds, of which seconds are kept
            table = table.set_column(number, field.name, table.column(number).cast(kind, safe=False))
    return table


def _has_map(kind: pa.DataType) -> bool:
    return pa.types.is_map(kind) or any(_has_map(kind.field(i).type) for i in range(kind.num_fields))


def _read_avro(opened: Opened, columns: Columns) -> Iterator[Piece]:
    # fastavro makes one Python object per record anyway, so they become JSON lines like all others
    first_row = 1
    try:
        source = fastavro.reader(opened.stream)
        schema = source.writer_schema
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise Refused("its top level is no record")
        _check_columns([field["name"] for field in schema["fields"]], columns)
        held: list[str] = []
        size = 0
        for record in source:
            held.append(
                json.dumps(_present(record), ensure_ascii=False, default=_plain, separators=(",", ":"))
            )
            size += len(held[-1])
            if size >= PIECE_BYTES:
                yield _json_piece(held, first_row)
                first_row += len(held)
                held, size = [], 0
        if held:
            yield _json_piece(held, first_row)
    except Refused:
        raise
    except (EOFError, zlib.error, OSError):
        raise
    except Exception as error:  # fastavro passes on any error of its decoders in a damaged file
        raise Refused(
            f"it is no readable Avro ({_first_line(error)}): copy it again from its source"
        ) from error


def _json_piece(lines: list[str], first_row: int) -> Piece:
    raw = pa.array(lines, pa.string())
    numbers = pa.array(np.arange(first_row, first_row + len(lines)))
    sizes = pc.binary_length(raw).cast(pa.int64())
    return Piece(
        pa.Table.from_arrays([numbers, raw, sizes, pa.nulls(len(lines), pa.string())], schema=LINES), True
    )


def _present(record: Any) -> dict[str, Any]:
    """Drop null fields and null members: in Avro, as in a Parquet STRUCT, they mean absent keys."""
    members = ((key, _drop_nulls(value)) for key, value in record.items())
    return {key: value for key, value in members if value is not None}


def _drop_nulls(value: Any) -> Any:
    return (
        {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
    )


def _plain(value: Any) -> Any:
    """JSON for Avro's logical types; a timestamp becomes unix seconds."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() // 1)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, UUID | date | time):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
