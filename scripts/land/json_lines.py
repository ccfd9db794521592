"""JSON lines as numbered lines; a file that is one JSON array gives one line per element."""

import json
from collections.abc import Iterator
from contextlib import suppress
from io import SEEK_END
from itertools import chain
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import zstandard
from isal import igzip

from scripts.land import records
from scripts.land.records import BLANK, LINES, Columns, Piece, lines_of_texts
from scripts.land.sources import Opened, Refused

MAX_LINE_BYTES = 512 * 2**20
MAX_ARRAY_BYTES = 512 * 2**20
MOST_LINES = 2**20
"""Lines of one piece: of short ones, such as {}, numbers and reasons take far more memory than the text."""

_LEAST_READ = 2**18

_BOM = b"\xef\xbb\xbf"
_MAGIC = {
    b"\x1f\x8b": ("gzip data", ".gz"),
    b"\x28\xb5\x2f\xfd": ("zstd data", ".zst"),
    b"PAR1": ("Parquet", ".parquet"),
    b"Obj\x01": ("Avro", ".avro"),
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# what zstd --long=31 needs; by default, decoders refuse more than 128 MB
_ZSTD_WINDOW = 2**31
# given a piece, zstd gives all that it holds, up to 32,768 bytes of one
_ZSTD_READ = 2**10
_IS_BLANK = np.isin(np.arange(256), np.frombuffer(BLANK, dtype=np.uint8))
_ONE_PER_LINE = "write one record per line (jq -c does)"


def read_json_lines(opened: Opened, columns: Columns) -> Iterator[Piece]:
    """Yield the lines of a file, or the elements of the one array in it.

    Raises:
        Refused: it holds other data, or JSON that is neither lines nor an array.
    """
    if opened.file.codec and opened.file.size == 0:
        raise Refused("it is empty (0 bytes), which no compressed file is: copy it again from its source")
    blocks = _whole_lines(_blocks(opened))
    first = next(blocks, b"").removeprefix(_BOM)
    _check_text(first, opened.file.codec)
    blocks = chain((first,), blocks)
    starts_array = first.lstrip(BLANK).startswith(b"[")
    if starts_array and (_is_of_array(first) or not _has_record(first)):
        yield from _array(blocks)
        return
    if first.strip(BLANK) and not _has_record(first):
        _check_records(first)
    number = 1
    for block in chain.from_iterable(map(_parts, blocks)):
        table, count = lines_table(block, number)
        number += count
        yield Piece(table, True)


def _blocks(opened: Opened) -> Iterator[bytes]:
    """Decompressed bytes in blocks of at most about PIECE_BYTES; gzip members or zstd frames may be many."""
    if opened.file.codec == "zstd":
        yield from _zstd_blocks(opened.stream)
        return
    stream, size = opened.stream, records.PIECE_BYTES
    if opened.file.codec == "gzip":
        size = min(size, _unpacked_size(stream))
        stream = igzip.IGzipFile(fileobj=stream, mode="rb")
    while block := stream.read(size):
        yield block


def _unpacked_size(stream: BinaryIO) -> int:
    """About how many bytes a gzip file holds, so that no more memory is taken; several members hold more."""
    stream.seek(-min(4, stream.seek(0, SEEK_END)), SEEK_END)
    size = int.from_bytes(stream.read(4), "little")
    stream.seek(0)
    return max(size + 1, _LEAST_READ)


def _zstd_blocks(stream: BinaryIO) -> Iterator[bytes]:
    # zstandard's stream_reader ends a truncated file silently; a decompressobj knows whether its frame ended.
    decoder = None
    while data := stream.read(2**16):
        at = 0
        while at < len(data):
            decoder = decoder or zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
            some = data[at : at + _ZSTD_READ]
            yield decoder.decompress(some)
            at += len(some) - len(decoder.unused_data)
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        raise EOFError("the last zstd frame has no end")


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size < records.PIECE_BYTES or b"\n" not in block:
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


def _parts(block: bytes) -> Iterator[bytes]:
    """A block in parts of at most MOST_LINES lines."""
    if block.count(b"\n") <= MOST_LINES:
        yield block
        return
    middle = len(block) // 2
    cut = (block.rfind(b"\n", 0, middle) + 1) or (block.find(b"\n", middle) + 1)
    yield from _parts(block[:cut])
    yield from _parts(block[cut:])


def _check_text(block: bytes, codec: str) -> None:
    for magic, (name, extension) in _MAGIC.items():
        if block.startswith(magic) and codec:
            raise Refused(f"it holds {name} within {codec} data: decompress it once")
        if block.startswith(magic):
            raise Refused(f"it holds {name}, not JSON lines: name it {extension}")
    if block.startswith(_UTF_16):
        raise Refused("it holds UTF-16 text, not JSON lines: save it as UTF-8")
    head = block[: 2**16]
    # NUL bytes may be one damaged line of a log; without any line that looks like a record, it is no log.
    if b"\0" in head and not any(line[:1] == b"{" and b"\0" not in line for line in head.split(b"\n")):
        raise Refused("it holds binary data, not JSON lines: convert it, or leave it out")


def _has_record(block: bytes) -> bool:
    """Whether a line is a JSON object; most files say so with their first one."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start) + 1 or len(block)
        line = block[start:end].strip(BLANK)
        start = end
        if line.startswith(b"{") and line.endswith(b"}"):
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                continue
            return True
    return False


def _is_of_array(block: bytes) -> bool:
    """Whether lines are those of one array, with an element beyond the first line: the last of its elements
    is a record on a line of its own where each has one.
    """
    text = block.decode(errors="surrogateescape").strip(BLANK.decode())
    first_line = text.find("\n")
    decoder = json.JSONDecoder(strict=False)
    at = _skip(text, 1)
    with suppress(ValueError, RecursionError):
        while True:
            _, end = decoder.raw_decode(text, at)
            at = _skip(text, end)
            if not text.startswith(",", at):
                return text[at:] == "]" and first_line in range(at)
            if first_line in range(end):
                return True
            at = _skip(text, at + 1)
    return False


def _check_records(block: bytes) -> None:
    """Refuse a file without any record that is clearly no log; broken records are rejects, line by line."""
    text = block.decode(errors="replace").lstrip(BLANK.decode())
    if not any(line.lstrip(BLANK).startswith(b"{") for line in block.split(b"\n")):
        raise Refused(f"none of its lines is a JSON object: {_ONE_PER_LINE}, or leave it out")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        end = 0
    if "\n" in text[:end] or text.partition("\n")[0].strip() == "{":
        raise Refused(f"its records span several lines, as pretty-printed JSON does: {_ONE_PER_LINE}")


def _array(blocks: Iterator[bytes]) -> Iterator[Piece]:
    """Yield the elements of one JSON array as lines, numbered from 1."""
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > MAX_ARRAY_BYTES:
            raise Refused(f"it is a JSON array of more than {MAX_ARRAY_BYTES >> 20} MB: {_ONE_PER_LINE}")
    text = bytes(data).decode(errors="surrogateescape").strip(BLANK.decode())
    held: list[str] = []
    first, size = 1, 0
    for element in _elements(text):
        held.append(element)
        size += len(element)
        if size >= records.PIECE_BYTES:
            yield Piece(lines_of_texts(held, first), True)
            first += len(held)
            held, size = [], 0
    yield Piece(lines_of_texts(held, first), True)


def _elements(text: str) -> Iterator[str]:
    """The text of each element of a JSON array, as it stands there."""
    decoder = json.JSONDecoder(strict=False)
    at = _skip(text, 1)
    while not text.startswith("]", at) or at == len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _broken_array(text, at) from error
        yield text[at:end]
        at = _skip(text, end)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith("]", at):
            raise _broken_array(text, at)
    if at + 1 != len(text):
        raise _broken_array(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _broken_array(text: str, at: int) -> Refused:
    line, character = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return Refused(
        f"it begins as a JSON array, but is none from line {line}, character {character}: "
        f"copy it again from its source, or {_ONE_PER_LINE}"
    )


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
    for number in np.flatnonzero(~blank & _IS_BLANK[data[starts]]):
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
