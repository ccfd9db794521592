"""JSON lines that Snowflake copies and checks: what it inserts itself, and the lines that it returns.

A batch of files is copied as text, one row per line, into a temporary table of the session: local files are
PUT as they are, files on S3 are read from an external stage. One statement then separates the plain lines
(`plain_lines`) from the others. The others come to this machine, a piece at a time, and are checked like all
lines; plain lines never leave Snowflake. A file that COPY cannot read as text, or that may be no file of
lines, is left to the reader of files, which reports what is wrong with it.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field, replace
from io import BytesIO
from secrets import token_hex
from typing import Any

import pyarrow as pa
from rich.text import Text
from snowflake.connector.errors import ProgrammingError

from scripts.console import console
from scripts.land.chunks import Chunk, Skipped, prefetched, read_chunks
from scripts.land.plan import Plan, same_etag
from scripts.land.records import BLANK, LINES, PIECE_BYTES
from scripts.land.snowflake.plain_lines import FIELDS, classify_query
from scripts.land.snowflake.session import PlainLines, Session, execute, pieces
from scripts.land.snowflake.stage import Stage, stage_objects
from scripts.land.snowflake.tables import LONG, STAGE
from scripts.land.sources import Opened, Refused, SourceFile, printable
from scripts.snowflake.names import literal
from scripts.staging import staging_folder

BATCH_BYTES = 512 * 2**20
"""Size of the files of one batch, compressed as they are: what one COPY reads and one transaction lands."""

BATCH_FILES = 1_000
"""COPY INTO <table>, FILES: "The maximum number of files names that can be specified is 1000."."""

SHORTEST = 64
"""Bytes that a compressed file with one valid record has at least: a copy_id alone takes 36."""

# COPY INTO <table>, formatTypeOptions of CSV, where another value would change a line or lose one:
# field_delimiter: "Also accepts a value of NONE": the line is one field, $1.
# escape_unenclosed_field: by default the backslash: "if a row in a data file ends in the backslash (\)
#   character, this character escapes the newline"; "To avoid this issue, set the value to NONE".
# null_if: by default a line \N is NULL; empty_field_as_null: by default an empty field is.
# skip_blank_lines: true might number lines otherwise than the file does; by false "blank lines produce an
#   end-of-record error", and this machine reads the file.
# replace_invalid_characters: false "produces an error when invalid UTF-8 character encoding is detected".
# multi_line: false lets large files be scanned in parallel; row numbers are then undocumented.
# compression: named, so that a file whose name is wrong fails, as it does on DuckDB.
_FORMAT = (
    "type = csv compression = {} record_delimiter = '\\n' field_delimiter = none multi_line = true "
    "escape = none escape_unenclosed_field = none field_optionally_enclosed_by = none trim_space = false "
    "skip_header = 0 skip_blank_lines = false null_if = () empty_field_as_null = false "
    "replace_invalid_characters = false skip_byte_order_mark = true encoding = 'UTF8'"
)
_COMPRESSIONS = {"": ("none", ".jsonl"), "gzip": ("gzip", ".jsonl.gz"), "zstd": ("zstd", ".jsonl.zst")}

# no right, no such object, no warehouse, no session: these fail for every file
_NOT_OF_A_FILE = {3001, 2003, 606, 390111, 390114}


@dataclass(frozen=True)
class Staged:
    """A file of a batch and its digest as the ledger keeps it.

    `names`: how Snowflake may name it, first as FILES wants it, below the place that COPY reads from.
    """

    file: SourceFile
    digest: str
    names: tuple[str, ...]


@dataclass
class Summary:
    """Counts for the end of the run: lines in all, lines that came back, files not copied and why."""

    lines: int = 0
    returned: int = 0
    unread: dict[str, str] = field(default_factory=dict)


def staged_chunks(
    session: Session, stage: Stage | None, plan: Plan, bounds: tuple[int, int], store: Any
) -> Iterator[Chunk | Skipped]:
    """Yield the lines that Snowflake returns of a plan's files, batch by batch, and then the other files.

    Until the next item is asked for, `session.plain` holds the plain lines of the files of the batch, which
    the transaction inserts (`transaction.publish`). Nothing here is prefetched: both use one session.
    """
    mine: list[SourceFile] = []
    rest: list[SourceFile] = []
    listed = {file.uri for file in plan.files}
    for file in plan.files:
        if same_etag(plan, file):
            yield Skipped(file)
        elif file.etag and (other := plan.other_name(file, file.etag)):
            if other in listed:
                # that one may have changed: the reader of files comes after all others
                rest.append(file)
            else:
                yield Skipped(file, other_name=other)
        elif plan.dataset.name in FIELDS and _copyable(file, stage):
            if file.etag:
                _take(plan, file, file.etag)
            mine.append(file)
        else:
            rest.append(file)
    summary = Summary()
    for batch in _batches(mine):
        for item in _batch_chunks(session, stage, plan, bounds, batch, summary):
            if isinstance(item, SourceFile):
                rest.append(item)
            else:
                yield item
    _print_summary(plan, summary)
    # not by replace, which would hold back again what is free by now
    reading = copy(plan)
    reading.files = rest
    yield from prefetched(read_chunks(reading, store))


def _take(plan: Plan, file: SourceFile, digest: str) -> None:
    # what is shorter than a record may be empty in many hours, and doubles nothing
    if file.size >= SHORTEST:
        plan.take(file, digest)


def _copyable(file: SourceFile, stage: Stage | None) -> bool:
    # COPY loads nothing from an empty file, and only some files may be empty
    if file.format != "jsonl" or not file.size:
        return False
    return not file.uri.startswith("s3://") or bool(stage and stage.covers(file.uri))


def _batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    """Cut the files so that one statement may name those of a batch, and one transaction holds them."""
    by_uri = {file.uri: file for file in files}
    for named in pieces(list(by_uri)):
        held: list[SourceFile] = []
        size = 0
        for file in map(by_uri.__getitem__, named):
            if held and (size + file.size > BATCH_BYTES or len(held) == BATCH_FILES):
                yield held
                held, size = [], 0
            held.append(file)
            size += file.size
        yield held


def _batch_chunks(
    session: Session,
    stage: Stage | None,
    plan: Plan,
    bounds: tuple[int, int],
    files: list[SourceFile],
    summary: Summary,
) -> Iterator[Chunk | Skipped | SourceFile]:
    """Yield the chunks of a batch; a SourceFile is one that the reader of files must read."""
    # a name of its own: a temporary table hides one of the schema, and load history a file of the same name
    tag = token_hex(4)
    staged: list[Staged] = []
    if stage and files[0].uri.startswith("s3://"):
        place, purge = f"@{stage.name}/", "false"
        staged = [_on_s3(file, stage) for file in files]
    else:
        place, purge = f"@{session.schema}.{STAGE}/{tag}/lines/", "true"
        for item in _put(session, plan, files, place):
            if isinstance(item, Staged):
                staged.append(item)
            else:
                yield item
    if not staged:
        return
    lines, classified = (f"{session.schema}.landing_{what}_{tag}" for what in ("lines", "classified"))
    execute(session, f"create or replace temporary table {lines} (file varchar, line bigint, text {LONG})")
    loaded = _copy(session, lines, place, staged, summary, purge)
    changed = _changed(session, stage, staged) if stage and files[0].uri.startswith("s3://") else []
    for item in changed:
        loaded.pop(item.file.uri, None)
    query = classify_query(plan.dataset, lines, *bounds)
    execute(session, f"create or replace temporary table {classified} as {query}")
    good = _complete(session, classified, staged, loaded, summary)
    for item in staged:
        if item in changed:
            refusal = Refused("the object changed while it was read: run the command again")
            yield Skipped(item.file, refusal)
        elif item not in good:
            yield item.file
    if good:
        session.plain.update({item.file.uri: ready for item, ready in good.items()})
        try:
            yield from _returned(session, classified, good)
        finally:
            session.plain.clear()
    # they end with the session anyway, even if it breaks off
    for table in (lines, classified):
        execute(session, f"drop table if exists {table}")


def _on_s3(file: SourceFile, stage: Stage) -> Staged:
    # METADATA$FILENAME "includes the full path to the data file", which is the key; COPY gives the address
    _, _, key = file.uri.removeprefix("s3://").partition("/")
    return Staged(file, file.etag or "", (file.uri.removeprefix(stage.url), key, file.uri))


def _changed(session: Session, stage: Stage, staged: list[Staged]) -> list[Staged]:
    """Files that changed since they were listed: COPY reads what is there at its time."""
    common = os.path.commonprefix([item.file.uri for item in staged])  # noqa: RUF071  LIST takes any beginning
    there = {uri: (size, etag) for uri, size, etag in stage_objects(session, stage, common)}
    return [item for item in staged if there.get(item.file.uri) != (item.file.size, item.digest)]


def _put(
    session: Session, plan: Plan, files: list[SourceFile], place: str
) -> Iterator[Staged | Skipped | SourceFile]:
    """PUT as they are, in one statement, the local files of a batch that are not what the ledger knows."""
    put: list[tuple[Staged, tuple[int, int]]] = []
    listed = {file.uri for file in plan.files}
    with staging_folder() as folder, ThreadPoolExecutor(8) as pool:
        for number, (file, found) in enumerate(zip(files, pool.map(_hashed, files), strict=True)):
            known = plan.known.get(file.uri)
            if found is None:
                yield file
            elif known and known.digest == found[0]:
                yield Skipped(file)
            elif other := plan.other_name(file := replace(file, size=found[1][0]), found[0]):
                if other in listed:
                    yield file
                else:
                    yield Skipped(file, other_name=other)
            else:
                _take(plan, file, found[0])
                name = f"{number:04d}{_COMPRESSIONS[file.codec][1]}"
                (folder / name).symlink_to(file.uri)
                path = place.partition("/")[2] + name
                put.append((Staged(file, found[0], (name, path, f"{STAGE}/{path}")), found[1]))
        if put:
            execute(session, f"put {literal(f'file://{folder}/*')} {place} auto_compress = false")
    for item, stamp in put:
        if _stamp(item.file) == stamp:
            yield item
        else:
            refusal = Refused("it changed while it was read: run the command again when its writer is done")
            yield Skipped(item.file, refusal)


def _hashed(file: SourceFile) -> tuple[str, tuple[int, int]] | None:
    """Digest and stamp of a local file; None where the reader of files must say what is wrong with it."""
    stamp = _stamp(file)
    if stamp is None or not os.path.isfile(file.uri) or file.uri != printable(file.uri):
        return None
    try:
        with open(file.uri, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), stamp
    except OSError:
        return None


def _stamp(file: SourceFile) -> tuple[int, int] | None:
    try:
        status = os.stat(file.uri)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _copy(
    session: Session, table: str, place: str, staged: list[Staged], summary: Summary, purge: str
) -> dict[str, int]:
    """COPY files as lines, a statement per compression; return the rows of each file that was loaded."""
    loaded: dict[str, int] = {}
    for codec, (compression, _) in _COMPRESSIONS.items():
        some = [item for item in staged if item.file.codec == codec]
        before = (
            f"copy into {table} (file, line, text) from "
            f"(select metadata$filename, metadata$file_row_number, $1 from {place}) files = "
        )
        after = f" file_format = ({_FORMAT.format(compression)}) on_error = skip_file purge = {purge}"
        if some:
            loaded |= _copy_some(session, some, before, after, summary)
    return loaded


def _copy_some(
    session: Session, staged: list[Staged], before: str, after: str, summary: Summary
) -> dict[str, int]:
    """Run a COPY for these files; where the statement fails as a whole, for each half of them."""
    listed = ", ".join(literal(item.names[0]) for item in staged)
    try:
        results = execute(session, f"{before}({listed}){after}")
    except ProgrammingError as error:
        if error.errno in _NOT_OF_A_FILE:
            raise
        if len(staged) == 1:
            summary.unread[staged[0].file.uri] = " ".join(str(error.msg).split())
            return {}
        middle = len(staged) // 2
        halves = (staged[:middle], staged[middle:])
        first, second = (_copy_some(session, half, before, after, summary) for half in halves)
        return first | second
    # a row per file: file, status, rows parsed, rows loaded, …, first error; without files, one row of text
    by_name = {row[0]: (row[1], int(row[3]), row[6]) for row in results if len(row) > 6}
    loaded = {}
    for name, item in _match_names(by_name, staged).items():
        status, count, message = by_name[name]
        # the page of COPY writes it in lower case, its examples in upper case
        if status.upper() == "LOADED":
            loaded[item.file.uri] = count
        else:
            summary.unread[item.file.uri] = message or status
    return loaded


def _match_names(given: Iterable[str], staged: list[Staged]) -> dict[str, Staged]:
    """Which file each name means: all of them are names of one kind."""
    names = set(given)
    for kind in zip(*(item.names for item in staged), strict=True):
        if names <= set(kind):
            return {name: item for name, item in zip(kind, staged, strict=True) if name in names}
    return {}


def _complete(
    session: Session, classified: str, staged: list[Staged], loaded: dict[str, int], summary: Summary
) -> dict[Staged, PlainLines]:
    """The files whose lines are complete, numbered from 1, and nothing but lines."""
    found = execute(
        session,
        "select file, count(*), min(line), max(line), count_if(plain), count_if(odd) "
        f"from {classified} group by file",
    )
    numbers = {name: tuple(map(int, counts)) for name, *counts in found}
    good = {}
    for name, item in _match_names(numbers, staged).items():
        count, first, last, plain, odd = numbers[name]
        expected = loaded.get(item.file.uri)
        if expected is not None and (count, first, last) != (expected, 1, expected):
            summary.unread[item.file.uri] = f"{count:,} of {expected:,} lines, numbered {first} to {last}"
        elif expected is not None and not odd:
            good[item] = PlainLines(classified, name, plain)
            summary.lines += count
            summary.returned += count - plain
    return good


def _returned(session: Session, classified: str, good: dict[Staged, PlainLines]) -> Iterator[Chunk]:
    """Yield the lines of good files that are not plain; the last chunk closes the transaction."""
    files = {number: Opened(item.file, BytesIO(), item.digest) for number, item in enumerate(good)}
    numbers = {ready.name: number for number, ready in enumerate(good.values())}
    taken: dict[str, Counter[str | None]] = {
        item.file.uri: Counter({None: ready.rows}) for item, ready in good.items()
    }
    held: list[tuple[int, int, str]] = []
    size = 0
    with session.connection.cursor() as cursor:
        for name, line, text in cursor.execute(f"select file, line, text from {classified} where not plain"):
            if name not in numbers:
                continue
            if size >= PIECE_BYTES:
                yield Chunk(lines_of(held), files, False, {}, taken)
                held, size, taken = [], 0, {}
            held.append((numbers[name], int(line), text))
            size += len(text)
    yield Chunk(lines_of(held), files, True, {}, taken)


def lines_of(given: Iterable[tuple[int, int, str]]) -> pa.Table:
    """Lines (number of the file, physical line, text) as `records.LINES` has them, after the number."""
    kept = []
    for number, line, text in given:
        # as in a file: a byte order mark may stand before the first line, a carriage return after each
        raw = (text.removeprefix("\ufeff") if line == 1 else text).removesuffix("\r")
        if raw.strip(BLANK.decode()):
            kept.append((number, line, raw, len(raw.encode()), None))
    schema = pa.schema([pa.field("file_no", pa.int32()), *LINES])
    columns = list(zip(*kept, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema
    )


def _print_summary(plan: Plan, summary: Summary) -> None:
    if summary.lines:
        console.print(
            f"{plan.dataset.name}: Snowflake took {summary.lines - summary.returned:,} of "
            f"{summary.lines:,} lines by itself",
            soft_wrap=True,
        )
    if summary.unread:
        uri, reason = next(iter(summary.unread.items()))
        console.print(
            Text(
                f"{plan.dataset.name}: Snowflake cannot copy {len(summary.unread)} file(s) as lines, so this "
                f"machine reads them; the first is {uri} ({reason})"
            ),
            soft_wrap=True,
        )
