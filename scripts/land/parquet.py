"""Parquet as Arrow tables that DuckDB can scan: types that it knows, and text that is UTF-8."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scripts.land import records
from scripts.land.maps import KEYS_ONCE, json_of_maps
from scripts.land.records import OTHER, Columns, Piece, check_columns, first_line
from scripts.land.sources import Opened, Refused

Mask = np.ndarray
"""One boolean per value of an array: whether it holds bytes that are no text."""

_INFINITE = 2**63 - 1
"""What DuckDB takes for a time without end; its negative, for one without beginning."""

_TEXTS = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
)
_LISTS = (
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)


def read_parquet(opened: Opened, columns: Columns) -> Iterator[Piece]:
    """Yield the rows of a Parquet file.

    Raises:
        Refused: it is damaged, lacks a column, or a column has a type without a meaning here.
    """
    try:
        # of INT96, Arrow makes nanoseconds, in which a year before 1678 or after 2262 becomes another
        source = pq.ParquetFile(opened.stream, coerce_int96_timestamp_unit="us")
        names = source.schema_arrow.names
        labels = _labels(names, columns)
        known = check_columns([labels[name] for name in names], columns)
        unknown = tuple(name for name in sorted(set(names)) if labels[name] not in known)
        wanted = names if columns.of_name else known
        of_name = columns.of_name(opened.file.uri) if columns.of_name else {}
        first_row = 1
        most_bytes = records.PIECE_BYTES * (records.TYPED_PIECES if columns.of_name else 1)
        for table in _pieces(source, wanted, most_bytes):
            numbers = pa.array(np.arange(first_row, first_row + len(table)))
            first_row += len(table)
            table = readable(table.rename_columns([labels[name] for name in table.schema.names]))
            for name, number in of_name.items():
                table = table.append_column(name, pa.repeat(pa.scalar(number, pa.int64()), len(table)))
            yield Piece(table.add_column(0, "line", numbers), False, unknown)
    except UnicodeDecodeError as error:
        raise Refused("the name of a column is no UTF-8: write it again with another name") from error
    except pa.ArrowException as error:
        raise Refused(
            f"it is no readable Parquet ({first_line(error)}): copy it again from its source"
        ) from error


def _labels(names: list[str], columns: Columns) -> dict[str, str]:
    """What each column of a file is called in a piece.

    Raises:
        Refused: of a file whose unknown columns are kept, two have one name in another case.
    """
    if not columns.of_name:
        return {name: name for name in names}
    if double := sorted(
        {name for name in names if [other.lower() for other in names].count(name.lower()) > 1}
    ):
        raise Refused(
            f"it has the column {', '.join(double)} more than once: write it again with each name once"
        )
    return {name: name.lower() if name.lower() in columns.fields else f"{OTHER}{name}" for name in names}


def _pieces(source: pq.ParquetFile, names: list[str], most_bytes: int) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in source.iter_batches(batch_size=16_384, columns=names):
        held.append(batch)
        size += batch.nbytes
        if size >= most_bytes:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)
    elif not source.metadata.num_rows:
        yield source.schema_arrow.empty_table().select(names)


def readable(table: pa.Table) -> pa.Table:
    """The columns with types that DuckDB scans, and `fault`: why a row is no text (`invalid_utf8`), or null.

    A byte that is no text becomes `\\xNN`, as in a line. A map becomes a dictionary of JSON objects, or a
    list of {key, value}, because DuckDB would fail at a key that occurs twice.

    Raises:
        Refused: the type of a column has no meaning here.
    """
    broken = np.zeros(len(table), dtype=bool)
    arrays, fields = [], []
    for number, field in enumerate(table.schema):
        # an array for the whole column, also of a table without rows
        column = _plain(table.column(number).combine_chunks())
        if pa.types.is_map(column.type):
            array, faults, once = _map(column, field.name)
        else:
            array, faults, once = *_readable(column, field.name), False
        arrays.append(array)
        fields.append(pa.field(field.name, array.type, metadata=KEYS_ONCE if once else None))
        broken |= faults
    fault = pc.if_else(pa.array(broken), "invalid_utf8", pa.scalar(None, pa.string()))
    return pa.table([*arrays, fault], pa.schema([*fields, pa.field("fault", pa.string())]))


def _map(array: pa.Array, path: str) -> tuple[pa.Array, Mask, bool]:
    """A map, and whether each key is known to occur once."""
    kind = array.type
    entry = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
    entries, faults = _list(array.cast(pa.list_(entry)), path)
    found, once = json_of_maps(entries) or (entries, False)
    return found, faults, once


def _plain(array: pa.Array) -> pa.Array:
    """The values themselves, of a dictionary or an extension type."""
    if pa.types.is_dictionary(array.type):
        return _plain(array.dictionary_decode())
    if isinstance(array.type, pa.BaseExtensionType) and not isinstance(array.type, pa.UuidType):
        return _plain(array.storage)
    return array


def _readable(array: pa.Array, path: str) -> tuple[pa.Array, Mask]:
    array = _plain(array)
    kind = array.type
    if any(is_text(kind) for is_text in _TEXTS):
        return _text(array)
    if pa.types.is_map(kind):
        raise Refused(f"its column {path} is a map below the top: write it as JSON text")
    if any(is_list(kind) for is_list in _LISTS):
        return _list(array, path)
    if pa.types.is_struct(kind) and kind.num_fields:
        return _struct(array, path)
    return _number_or_time(array, path), np.zeros(len(array), dtype=bool)


def _text(array: pa.Array) -> tuple[pa.Array, Mask]:
    data = array.cast(pa.binary())
    try:
        # this cast reads every byte, unlike the check of a string column that Parquet's reader leaves out
        return data.cast(pa.string()), np.zeros(len(array), dtype=bool)
    except pa.ArrowInvalid:
        texts = [
            None if value is None else value.decode(errors="backslashreplace") for value in data.to_pylist()
        ]
        same = pc.equal(pa.array(texts, pa.string()).cast(pa.binary()), data).fill_null(True)
        return pa.array(texts, pa.string()), ~same.to_numpy(zero_copy_only=False)


def _struct(array: pa.Array, path: str) -> tuple[pa.Array, Mask]:
    names = [array.type.field(number).name for number in range(array.type.num_fields)]
    if names[:2] == ["metadata", "value"] and pa.types.is_binary(array.type.field(0).type):
        raise Refused(f"its column {path} is of type VARIANT: write it as MAP, STRUCT or JSON text")
    faults = np.zeros(len(array), dtype=bool)
    members = []
    for name, member in zip(names, array.flatten(), strict=True):
        values, broken = _readable(member, f"{path}.{name}")
        members.append(values)
        faults |= broken
    return pa.StructArray.from_arrays(members, names, mask=array.is_null()), faults


def _list(array: pa.Array, path: str) -> tuple[pa.Array, Mask]:
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    values, broken = _readable(array.flatten(), path)
    counts = np.concatenate(([0], np.cumsum(broken)))
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=array.is_null())
    return lists, counts[ends[1:]] > counts[ends[:-1]]


def _number_or_time(array: pa.Array, path: str) -> pa.Array:
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _microseconds(array)
    if pa.types.is_float16(kind):
        return array.cast(pa.float32())
    if pa.types.is_decimal256(kind):
        try:
            return array.cast(pa.decimal128(38, kind.scale))
        except pa.ArrowInvalid as error:
            raise Refused(
                f"its column {path} of type {kind} holds more than 38 digits: write it as text"
            ) from error
    if pa.types.is_fixed_size_binary(kind):
        raise Refused(f"its column {path} of type {kind} holds bytes of an unknown meaning: write it as text")
    return array


def _microseconds(array: pa.Array) -> pa.Array:
    """Times in microseconds: of nanoseconds the rest is cut, and one that 64 bits do not hold is infinite."""
    unit, wanted = array.type.unit, pa.timestamp("us", array.type.tz)
    if unit == "ns":
        units = array.cast(pa.int64())
        # of a time before 1970 too the earlier one; a division alone cuts towards zero
        cut = [pc.divide(units, 1_000), pc.bit_wise_not(pc.divide(pc.bit_wise_not(units), 1_000))]
        return pc.if_else(pc.less(units, 0), cut[1], cut[0]).cast(wanted)
    try:
        return array.cast(wanted)
    except pa.ArrowInvalid:
        per_unit = 10**6 if unit == "s" else 10**3
        units, most = array.cast(pa.int64()), _INFINITE // per_unit
        late, early = pc.greater(units, most), pc.less(units, -most)
        micros = pc.multiply(pc.if_else(pc.or_(late, early), 0, units), per_unit)
        return pc.if_else(early, -_INFINITE, pc.if_else(late, _INFINITE, micros)).cast(wanted)
