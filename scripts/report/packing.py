"""Tables as the page's script reads them: columns of small whole numbers, compressed, in harmless letters."""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import pyarrow
import pyarrow.compute as compute

# Per cent with one decimal place, with two, and a p value with four: what the page shows, and no more.
LIFT, RATE, P_VALUE, WHOLE = 1_000, 10_000, 10_000, 1
# Intervals of a few trials reach to e^20, more than 30 bits hold; the page writes "> +1000 %" for far less.
_MOST = 10**8


def whole_numbers(values: pyarrow.ChunkedArray, scale: int) -> pyarrow.ChunkedArray:
    """Return `scale` times each value as a whole number; null and what is not finite stay out, as null.

    A share above _MOST becomes _MOST: the page shows both as "> +1000 %".
    """
    numbers = values.cast(pyarrow.float64())
    finite = compute.if_else(compute.is_finite(numbers), numbers, None)
    times = compute.multiply(finite, float(scale))
    if scale != WHOLE:
        times = compute.min_element_wise(times, float(_MOST), skip_nulls=False)
    return compute.round(times).cast(pyarrow.int64())


@dataclass(frozen=True)
class Number:
    """How a column of numbers is packed: times `scale`, and less the column `beside`, which is near it.

    The upper bound of an interval lies nearly as far above `beside` as the lower one, `mirrored`, below it.
    """

    scale: int
    beside: str = ""
    mirrored: str = ""


class Numbers:
    """The whole numbers of one packed part, in the order in which they are added."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._length = 0

    def add(self, values: pyarrow.ChunkedArray | pyarrow.Array) -> dict[str, Any]:
        """Add whole numbers of less than 30 bits, and return where they lie and how they are written.

        Each is written as the number and 1, null as 0; where some are negative, they are folded first: 0, -1,
        1, -2 become 0, 1, 2, 3.
        """
        folded = (compute.min(values).as_py() or 0) < 0
        if folded:
            doubled = compute.multiply(values, 2)
            values = compute.if_else(compute.less(values, 0), compute.subtract(-1, doubled), doubled)
        part = planes(compute.fill_null(compute.add(values, 1), 0).to_numpy())
        place = {"offset": self._length, **({"folded": True} if folded else {})}
        self.parts.append(part)
        self._length += len(part)
        return place


def columns(table: pyarrow.Table, kinds: Mapping[str, Number], numbers: Numbers) -> dict[str, Any]:
    """Return a table's columns as {"length", "values": texts by name, "numbers": where they lie by name}.

    Args:
        table: its columns of `kinds` are whole numbers already (`scaled`); the others hold text.
        numbers: gets the columns of numbers.
    """
    found: dict[str, Any] = {"length": table.num_rows, "values": {}, "numbers": {}}
    for name in table.column_names:
        if name not in kinds:
            found["values"][name] = table[name].to_pylist()
            continue
        kind, values = kinds[name], table[name]
        if kind.beside:
            values = compute.subtract(values, table[kind.beside])
        if kind.mirrored:
            values = compute.subtract(values, compute.subtract(table[kind.beside], table[kind.mirrored]))
        described = {
            "scale": kind.scale,
            **({"beside": kind.beside} if kind.beside else {}),
            **({"mirrored": kind.mirrored} if kind.mirrored else {}),
        }
        found["numbers"][name] = {**numbers.add(values), **described}
    return found


def scaled(table: pyarrow.Table, kinds: Mapping[str, Number]) -> pyarrow.Table:
    """Return the table with the columns that `kinds` names as whole numbers."""
    for name, kind in kinds.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, whole_numbers(table[name], kind.scale))
    return table


def groups(table: pyarrow.Table, key: str) -> Iterator[tuple[str, pyarrow.Table]]:
    """Yield each value of a text column with its rows, in order of the values."""
    if not table.num_rows:
        return
    table = table.sort_by(key).combine_chunks()
    keys = table[key].combine_chunks().dictionary_encode()
    codes = keys.indices.to_numpy(zero_copy_only=False)
    starts = numpy.flatnonzero(numpy.diff(codes, prepend=-1))
    ends = numpy.append(starts[1:], len(codes))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield keys.dictionary[codes[start]].as_py(), table.slice(start, end - start)


def planes(numbers: numpy.ndarray[Any, Any]) -> bytes:
    """Return whole numbers of 32 bits as four runs of bytes, the lowest bytes first.

    The high bytes are nearly all zero and compress to nothing; text of the same numbers takes twice the room.
    """
    return numpy.ascontiguousarray(numbers, dtype="<i4").view("u1").reshape(-1, 4).T.tobytes()


def packed(contents: Mapping[str, Any], numbers: Numbers | None = None) -> str:
    """Return contents and numbers as text: base 85 of the zlib of the JSON's length (4 bytes), JSON, numbers.

    Base 85 takes a quarter more room than the bytes, base 64 a third. Its letters include no slash, so no tag
    can end in it, and here no <, so none can begin.
    """
    text = json.dumps(contents, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    compressor = zlib.compressobj(9)
    found = [compressor.compress(len(text).to_bytes(4, "little") + text)]
    for part in numbers.parts if numbers else ():
        # each column gets codes for its own numbers
        found += [compressor.flush(zlib.Z_SYNC_FLUSH), compressor.compress(part)]
    found.append(compressor.flush())
    return base64.b85encode(b"".join(found)).decode().replace("<", "[")


def unpacked(text: str) -> tuple[dict[str, Any], bytes]:
    """Return what `packed` was given."""
    whole = zlib.decompress(base64.b85decode(text.replace("[", "<")))
    end = 4 + int.from_bytes(whole[:4], "little")
    return json.loads(whole[4:end]), whole[end:]
