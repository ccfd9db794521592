"""Where landed files come from: folders, globs, single files and S3 prefixes."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import HTTPClientError, IncompleteReadError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from scripts.errors import UserError
from scripts.land.exports import (
    EXPORT,
    MANIFEST,
    Read,
    export_above,
    export_above_prefix,
    exports,
    holds_whole_calls,
    is_export,
    read_local,
)
from scripts.land.table_names import is_table, table_parts
from scripts.s3 import FAILURES, explain

BROKEN_OFF = (
    *(BotoConnectionError, HTTPClientError, IncompleteReadError),
    *(ResponseParserError, HTTPError, OSError),
)
_FORMATS = {
    f".{name}{suffix}": ("jsonl", codec)
    for name in ("jsonl", "ndjson", "json")
    for suffix, codec in (("", ""), (".gz", "gzip"), (".zst", "zstd"))
} | {".parquet": ("parquet", ""), ".avro": ("avro", "")}
FORMATS_TEXT = ".jsonl, .json or .ndjson (plain, .gz, .zst), .parquet, .avro"
_HOUR = re.compile(r"/(\d{4})/(\d{2})/(\d{2})/(\d{2})(?=/)")
_MAGIC = re.compile(r"[*?\[]")


class Refused(Exception):
    """A file that cannot be landed as a whole; the text says why and what to do."""


@dataclass(frozen=True)
class SourceFile:
    """One listed file. `format` is None when land does not read its extension; `etag` is S3's.

    Of a part of a table, `rows` are the rows it had when it was counted, and `etag` is its hash.
    """

    uri: str
    size: int
    format: str | None
    codec: str = ""
    etag: str | None = None
    path_hour: datetime | None = None
    rows: int = 0


@dataclass(frozen=True)
class Location:
    """What the user named: `root` is an absolute path or s3:// address without a slash at its end.

    `literal`: the s3:// address as it was given, if it also reads as a glob.
    """

    given: str
    root: str
    pattern: re.Pattern[str] | None = None
    literal: str | None = None

    @property
    def is_s3(self) -> bool:
        """Whether it is on S3; otherwise it is on a local disk."""
        return self.root.startswith("s3://")

    @property
    def is_table(self) -> bool:
        """Whether it is a table of the warehouse."""
        return is_table(self.root)

    def covers(self, uri: str) -> bool:
        """Whether a file with this URI belongs to this location."""
        if self._is_literal(uri):
            return True
        if not _is_at(uri, self.root):
            return False
        return self.pattern is None or bool(self.pattern.fullmatch(uri))

    def narrowed(self, uris: Iterable[str]) -> "Location":
        """The location whose address is no glob, if one of these files lies there."""
        found = self.literal and any(map(self._is_literal, uris))
        return Location(self.given, self.literal) if self.literal and found else self

    def _is_literal(self, uri: str) -> bool:
        return self.literal is not None and _is_at(uri, self.literal)


def _is_at(uri: str, root: str) -> bool:
    """Whether an address is a root or lies below it; a key on S3 may hold an empty folder name."""
    return uri == root or uri.startswith(_inside(root))


def _inside(root: str) -> str:
    """How the addresses begin that lie below a root."""
    return root if root == "/" else root + "/"


@dataclass
class Opened:
    """A file ready to be read. `digest` is sha256 of the bytes, or S3's etag."""

    file: SourceFile
    stream: BinaryIO
    digest: str
    stamp: tuple[int, int] | None = None

    def check_unchanged(self) -> None:
        """Raise Refused when a local file was written to after it was hashed."""
        if self.stamp and file_stamp(self.stream.fileno()) != self.stamp:
            raise Refused("it changed while it was read: run the command again when its writer is done")


def locate(uri: str, of_schema: bool = False) -> Location:
    """Turn a folder, glob, file, s3:// prefix or table into a Location; `of_schema`: a schema stands for a
    table.

    Raises:
        UserError: it is empty or names no bucket or table, the scheme is not read, or the local path does not
            exist.
    """
    if not uri.removeprefix("file://").strip():
        raise UserError(f"the address {uri!r} is empty: give a folder, glob, file or s3://BUCKET/PREFIX")
    if uri.startswith("s3://"):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not bucket.strip():
            raise UserError(f"{uri} names no bucket (an unset variable?): give s3://BUCKET/PREFIX")
        if _MAGIC.search(bucket):
            raise UserError(f"{uri}: no glob may stand in the bucket's name; give s3://BUCKET/PREFIX")
        # each slash counts in a key; the one at the end only says that a folder is meant
        location = _location(uri, f"s3://{bucket}", key.removesuffix("/").split("/") if key else [])
        return replace(location, literal=uri.removesuffix("/")) if location.pattern else location
    if is_table(uri):
        table_parts(uri, of_schema)
        return Location(uri, uri)
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(f"{uri}: land reads local paths and s3://, not {uri.partition('://')[0]}://")
    path = Path(uri.removeprefix("file://")).expanduser()
    if path.exists():
        return Location(uri, os.path.realpath(path))
    if not _MAGIC.search(str(path)):
        raise UserError(f"{path.absolute()} does not exist")
    parts = path.absolute().parts
    plain = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    folder = Path(*parts[:plain])
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist (from {uri})")
    return _location(uri, os.path.realpath(folder), list(parts[plain:]))


def _location(given: str, root: str, parts: list[str]) -> Location:
    plain = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    base = "/".join([root.rstrip("/"), *parts[:plain]]) or "/"
    if plain == len(parts):
        return Location(given, base)
    return Location(given, base, re.compile(re.escape(_inside(base)) + _glob("/".join(parts[plain:]))))


def _glob(pattern: str) -> str:
    """Regular expression of a glob; everything below a matching folder matches too."""
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", pattern, re.DOTALL)
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    classes = (token.replace("[!", "[^") if len(token) > 2 and token[0] == "[" else "" for token in tokens)
    found = (
        meaning.get(token) or klass or re.escape(token) for token, klass in zip(tokens, classes, strict=True)
    )
    return "".join(found) + "(?:/.*)?"


def list_files(location: Location, s3: Any = None) -> list[SourceFile]:
    """List the files of a location, ordered by identity; hidden files, markers and manifests are left out.

    Raises:
        UserError: a folder or bucket cannot be listed.
    """
    if location.is_s3:
        return listed_files(location, _objects(location, s3), lambda address: _object_bytes(address, s3))
    # a path of several names is one file
    found = {
        file.uri: file
        for path, file in _list_local(location)
        if file.format == EXPORT or location.covers(path)
    }
    return sorted(found.values(), key=lambda file: file.uri)


def listed_files(
    location: Location, objects: Iterable[tuple[str, int, str]], read: Read = read_local
) -> list[SourceFile]:
    """The files among listed objects (address, size, ETag), as `list_files` gives them.

    `read` gives the bytes of an object.
    """
    above = export_above_prefix(location.root, read)
    if above and not holds_whole_calls(above, read):
        return [_export(above)]
    there = [found for found in objects if location.covers(found[0])]
    narrowed = location.narrowed(uri for uri, _, _ in there)
    closed = [
        folder
        for folder in exports([uri for uri, _, _ in there])
        if not (_is_at(narrowed.root, folder) and holds_whole_calls(folder, read))
    ]
    found = [_export(folder) for folder in closed]
    for uri, size, etag in there:
        hidden = uri.endswith("/") or any(map(_hidden, uri.removeprefix(location.root).split("/")[1:]))
        if narrowed.covers(uri) and not hidden and not any(_is_at(uri, folder) for folder in closed):
            found.append(_source(uri, size, etag))
    return sorted(found, key=lambda file: file.uri)


def _export(folder: str) -> SourceFile:
    return SourceFile(f"{folder}/{MANIFEST}", 0, EXPORT)


def _object_bytes(address: str, s3: Any) -> bytes:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    try:
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (*FAILURES, *BROKEN_OFF) as error:
        raise OSError(explain(error)) from error


def _list_local(location: Location) -> Iterator[tuple[str, SourceFile]]:
    """Yield files by the path of the walk; what identifies a file is its path without symbolic links."""
    own = export_above(location.root)
    if own and not holds_whole_calls(own, read_local):
        yield location.root, _export(own)
        return
    if not os.path.isdir(location.root):
        yield location.root, _source(location.root, os.stat(location.root).st_size)
        return

    def fail(error: OSError) -> None:
        raise UserError(
            f"{error.filename}: cannot be listed ({error.strerror}); nothing was landed"
        ) from error

    seen: set[str] = set()
    for folder, children, names in os.walk(location.root, followlinks=True, onerror=fail):
        real = os.path.realpath(folder)
        if folder != location.root and real not in seen and is_export(Path(folder)):
            children[:] = []
            below = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
            if any(map(location.covers, below)):
                yield folder, _export(real)
            continue
        children[:] = [] if real in seen else sorted(name for name in children if not _hidden(name))
        for name in names if real not in seen else ():
            if not _hidden(name):
                path = os.path.join(folder, name)
                # A dangling link is listed, so that it is refused by name instead of silently missing.
                there = os.path.exists(path)
                file = os.path.join(real, name) if not os.path.islink(path) else os.path.realpath(path)
                yield (
                    path,
                    replace(
                        _source(path, os.stat(path).st_size if there else 0), uri=file if there else path
                    ),
                )
        seen.add(real)


def prefix_address(location: Location) -> str:
    """The s3:// address with which the names of all objects of a location begin.

    A prefix is a folder: s3://b/calls must not read (nor list) s3://b/calls_old.
    """
    _, _, key = location.root.removeprefix("s3://").partition("/")
    return location.root if key and _source(key, 0).format else location.root + "/"


def _objects(location: Location, s3: Any) -> Iterator[tuple[str, int, str]]:
    bucket, _, prefix = prefix_address(location).removeprefix("s3://").partition("/")
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield f"s3://{bucket}/{found['Key']}", found["Size"], found["ETag"].strip('"')
    except FAILURES as error:
        raise UserError(f"{location.given}: {explain(error)}") from error


def _hidden(name: str) -> bool:
    return (
        name.startswith((".", "_"))
        or name.split(".")[0] == "manifest"
        or name.endswith((".crc", ".manifest", "_$folder$"))
    )


def _source(uri: str, size: int, etag: str | None = None) -> SourceFile:
    lower = uri.lower()
    kind = next((kind for extension, kind in _FORMATS.items() if lower.endswith(extension)), (None, ""))
    return SourceFile(uri, size, kind[0], kind[1], etag, path_hour(uri))


def printable(uri: str) -> str:
    """The address, with bytes of a name that are not UTF-8 escaped."""
    return uri.encode(errors="backslashreplace").decode()


def path_hour(uri: str) -> datetime | None:
    """Return the UTC hour (naive) that the folders YYYY/MM/DD/HH of an address name, the last if several."""
    for parts in reversed(_HOUR.findall(uri)):
        try:
            return datetime.strptime("/".join(parts), "%Y/%m/%d/%H")
        except ValueError:
            continue
    return None


def file_stamp(descriptor: int) -> tuple[int, int]:
    """Size and time of the last change of an open file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
