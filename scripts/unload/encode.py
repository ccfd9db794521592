"""Rows of the warehouse to files: DuckDB writes Parquet by partition; Avro is converted from that."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as parquet

from scripts.errors import UserError
from scripts.unload.datasets import Dataset, Format, Layout
from scripts.unload.dialects import DUCKDB
from scripts.unload.publish import Contents

# One COPY with PARTITION_BY over everything spills: at 10 M rows it cost 3.4 times a plain COPY. Small chunks
# take less memory (0.7 GB, large ones 1.9), but each reads again the rows that are not in order of time: 10 M
# rows in random order cost 2.8 times a plain COPY in chunks of 250 k, 2.0 times in chunks of 1 M.
_LEAST_CHUNK, _MOST_CHUNK = 250_000, 1_000_000
_BATCH_ROWS = 10_000


class Compression(StrEnum):
    """How files are compressed inside."""

    ZSTD = "zstd"
    SNAPPY = "snappy"
    GZIP = "gzip"
    NONE = "none"


# DuckDB's name; pyarrow uses those of Compression.
_DUCKDB = {Compression.NONE: "uncompressed"}
# For files of some thousand rows, level 1 takes a sixth less processor time than DuckDB's 3, and fewer bytes.
_ZSTD_LEVEL = 1
# Every Avro reader knows deflate and null; for snappy and zstd fastavro needs another package each.
_AVRO = {Compression.GZIP: "deflate", Compression.NONE: "null"}
DEFAULT_COMPRESSION = {Format.PARQUET: Compression.ZSTD, Format.AVRO: Compression.GZIP}


@dataclass(frozen=True)
class Encoded:
    """A Parquet file with its rows and its least and greatest event_timestamp (None without that column)."""

    path: Path
    rows: int
    times: tuple[int | None, int | None]


def compression_for(format: Format, named: Compression | None) -> Compression:
    """Return the compression to use.

    Raises:
        UserError: the format does not have it.
    """
    chosen = named or DEFAULT_COMPRESSION[format]
    if format is Format.AVRO and chosen not in _AVRO:
        raise UserError(f"--compression {chosen}: Avro takes {', '.join(_AVRO)}")
    return chosen


def chunk_rows(total: int) -> int:
    """Return how many rows to encode at once, given the number of all rows."""
    return min(max(total // 10, _LEAST_CHUNK), _MOST_CHUNK)


def chunks(
    write: Mapping[str, Contents], most_rows: int, most_partitions: int = sys.maxsize
) -> Iterator[dict[str, Contents]]:
    """Split partitions, in order of time, into groups of at most that many rows, or of one partition."""
    chunk: dict[str, Contents] = {}
    rows = 0
    for name, held in write.items():
        if chunk and (rows + held.rows > most_rows or len(chunk) == most_partitions):
            yield chunk
            chunk, rows = {}, 0
        chunk[name] = held
        rows += held.rows
    if chunk:
        yield chunk


def encode(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    layout: Layout,
    compression: Compression,
    chunk: Mapping[str, Contents],
    staging: Path,
) -> dict[str, Encoded]:
    """Write a chunk's partitions as one Parquet file each below `staging`, and return the files.

    DuckDB keeps no order of rows inside a file; sorting 1 M rows first takes 1.3 times as long.

    Raises:
        UserError: a file has other rows than the warehouse says.
    """
    # a relative name with a quote in it must not end the literal
    place = str(staging.absolute()).replace("'", "''")
    options = f"format parquet, compression {_DUCKDB.get(compression, compression.value)}"
    if compression is Compression.ZSTD:
        options += f", compression_level {_ZSTD_LEVEL}"
    if len(chunk) == 1:
        (name,) = chunk
        query = DUCKDB.rows(dataset, layout, [name])
        connection.execute(f"copy ({query}) to '{place}/data_0.parquet' ({options})")
        written = {name: staging / "data_0.parquet"}
    else:
        query = DUCKDB.rows(dataset, layout, list(chunk), f", {DUCKDB.start(dataset)} as _moment")
        assert dataset.period is not None
        connection.execute(
            f"copy ({query}) to '{place}' ({options}, partition_by (_moment), "
            f"partition_path (strftime(_moment, '{dataset.period.folders}')))"
        )
        written = {
            path.parent.relative_to(staging).as_posix(): path for path in staging.glob("**/data_0.parquet")
        }
    encoded = {name: described(path) for name, path in written.items()}
    rows = {name: each.rows for name, each in encoded.items()}
    expected = {name: held.rows for name, held in chunk.items()}
    if rows != expected:
        off = sorted(set(rows.items()) ^ set(expected.items()))[:3]
        raise UserError(
            f"{dataset.name}: the files written have other rows than the warehouse (e.g. {off}); none of "
            "them was published. Run `dbt build` and unload again; when it happens again, it is a fault of "
            "copymart"
        )
    return encoded


def split(encoded: Encoded, parts: int, compression: Compression) -> list[Encoded]:
    """Split a Parquet file into that many with about equal rows; return it unsplit if it has too few."""
    path, total = encoded.path, encoded.rows
    per_part = -(-total // parts)
    if per_part >= total:
        return [encoded]
    source = parquet.ParquetFile(path)
    written = []
    batches = _sliced(source.iter_batches(_BATCH_ROWS), per_part)
    for number in range(-(-total // per_part)):
        target = path.with_name(f"{path.stem}-{number}.parquet")
        with parquet.ParquetWriter(target, source.schema_arrow, compression=compression.value) as writer:
            left = per_part
            for batch in batches:
                writer.write_batch(batch)
                left -= batch.num_rows
                if not left:
                    break
        written.append(described(target))
    return written


def _sliced(batches: Iterator[Any], per_part: int) -> Iterator[Any]:
    """Cut batches so that none crosses a multiple of `per_part` rows."""
    left = per_part
    for batch in batches:
        at = 0
        while at < batch.num_rows:
            piece = batch.slice(at, min(left, batch.num_rows - at))
            yield piece
            at += piece.num_rows
            left = left - piece.num_rows or per_part


def described(path: Path) -> Encoded:
    """Return what a Parquet file's footer says of it."""
    metadata = parquet.read_metadata(path)
    names = metadata.schema.names
    if "event_timestamp" not in names:
        return Encoded(path, metadata.num_rows, (None, None))
    column = names.index("event_timestamp")
    groups = [metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups)]
    if all(group is not None and group.has_min_max for group in groups):
        limits = [limit for group in groups for limit in (group.min, group.max)]
    else:
        # statistics are optional
        limits = parquet.read_table(path, columns=["event_timestamp"]).column(0).to_pylist()
    return Encoded(path, metadata.num_rows, (int(min(limits)), int(max(limits))))


# The vendor's record says that vars and attrs are maps of text to text; Parquet carries them as JSON text.
_MAPS = ("vars", "attrs")


def to_avro(path: Path, name: str, compression: Compression) -> Path:
    """Write a Parquet file's rows as Avro beside it, and return that file."""
    target = path.with_suffix(".avro")
    source = parquet.ParquetFile(path)
    with target.open("wb") as file:
        fastavro.writer(
            file, avro_schema(name, source.schema_arrow), avro_rows(source), codec=_AVRO[compression]
        )
    return target


def avro_rows(source: Any) -> Iterator[dict[str, Any]]:
    """Return the rows of an open Parquet file as Avro takes them."""
    zoned = [field.name for field in source.schema_arrow if pa.types.is_timestamp(field.type)]
    maps = [field.name for field in source.schema_arrow if field.name in _MAPS]
    for batch in source.iter_batches(_BATCH_ROWS):
        for position, name in enumerate(batch.schema.names):
            if name in zoned:
                # fastavro reads a time without zone in the machine's time zone
                column = batch.column(position).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
                batch = batch.set_column(position, name, column)
        for row in batch.to_pylist():
            for name in maps:
                row[name] = text_map(row[name])
            yield row


def text_map(json_text: str | None) -> dict[str, str] | None:
    """Return a JSON object as a map of texts; what is no text keeps its JSON text."""
    if json_text is None:
        return None
    members = json.loads(json_text)
    if all(isinstance(value, str) for value in members.values()):
        return dict(members)
    decoder = json.JSONDecoder()
    found = {}
    at = 1
    # canonical JSON has no white space
    while json_text[at] != "}":
        key, at = decoder.raw_decode(json_text, at + (json_text[at] == ","))
        value, end = decoder.raw_decode(json_text, at + 1)
        found[key] = value if isinstance(value, str) else json_text[at + 1 : end]
        at = end
    return found


def avro_schema(name: str, schema: Any) -> dict[str, Any]:
    """Return the Avro schema of an Arrow one; every field may be null, as in Parquet."""
    fields = [{"name": field.name, "type": ["null", _avro_type(field)], "default": None} for field in schema]
    return fastavro.parse_schema({"type": "record", "name": name, "namespace": "copymart", "fields": fields})  # type: ignore[return-value]


def _avro_type(field: Any) -> Any:
    kind = field.type
    if field.name in _MAPS:
        return {"type": "map", "values": "string"}
    for test, avro in (
        (pa.types.is_string, "string"),
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_int32, "int"),
        (pa.types.is_integer, "long"),
        (pa.types.is_float32, "float"),
        (pa.types.is_floating, "double"),
        (pa.types.is_date, {"type": "int", "logicalType": "date"}),
        (pa.types.is_timestamp, {"type": "long", "logicalType": "timestamp-micros"}),
    ):
        if test(kind):
            return avro
    if pa.types.is_decimal(kind):
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    raise UserError(f"column {field.name} of type {kind} has no form in Avro: unload it as Parquet")
