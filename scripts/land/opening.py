"""Files opened one after the other, the next ones read ahead: whole in memory, or on the disk if large."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from scripts.land.exports import EXPORT
from scripts.land.sources import BROKEN_OFF, FORMATS_TEXT, Opened, Refused, SourceFile, file_stamp, printable
from scripts.s3 import FAILURES, explain

IN_MEMORY = 64 * 2**20
"""Bytes of one file that are held in memory; a larger file is read from disk."""

_READ_AHEAD = 2 * IN_MEMORY
_GET_ATTEMPTS = 5


def open_files(files: list[SourceFile], s3: Any = None) -> Iterator[Opened | tuple[SourceFile, Refused]]:
    """Open files in the order given, reading ahead in threads; a refused one comes with its reason."""
    waiting = deque(files)
    running: deque[tuple[SourceFile, Future[Opened]]] = deque()
    ahead = 0
    with ThreadPoolExecutor(max_workers=8) as pool:
        try:
            while waiting or running:
                while waiting and (
                    not running or (ahead + waiting[0].size <= _READ_AHEAD and len(running) < 64)
                ):
                    file = waiting.popleft()
                    ahead += file.size
                    running.append((file, pool.submit(open_file, file, s3)))
                file, future = running.popleft()
                try:
                    yield future.result()
                except Refused as refusal:
                    yield file, refusal
                ahead -= file.size
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def open_file(file: SourceFile, s3: Any = None) -> Opened:
    """Open one file and compute its digest.

    Raises:
        Refused: it cannot be read, or land does not read its extension.
    """
    if file.format == EXPORT:
        raise Refused(
            "its folder is an export of copymart, whose rows would count again: leave it out (an export of "
            "calls with --layout full lands when its own folder is named)"
        )
    if file.format is None:
        raise Refused(f"its extension is none that land reads ({FORMATS_TEXT}): convert it, or leave it out")
    if file.uri.startswith("s3://"):
        return Opened(file, _download(file, s3), file.etag or "")
    if not os.path.isfile(file.uri):
        raise Refused("it is gone, or a link to nowhere, or no regular file")
    if file.uri != printable(file.uri):
        raise Refused("its name is no UTF-8: rename it")
    try:
        stream = open(file.uri, "rb")  # noqa: SIM115  the caller reads on and closes it
        stamp = file_stamp(stream.fileno())
        if file.size <= IN_MEMORY:
            with stream:
                data = stream.read()
            # it may have grown since it was listed, and a copy is known by content and size
            file = replace(file, size=len(data))
            return Opened(file, BytesIO(data), hashlib.sha256(data).hexdigest())
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        return Opened(replace(file, size=stamp[0]), stream, digest, stamp)
    except OSError as error:
        raise Refused(
            f"it cannot be read ({error.strerror}): check that it is there and its permissions"
        ) from error


def _download(file: SourceFile, s3: Any) -> BinaryIO:
    bucket, _, key = file.uri.removeprefix("s3://").partition("/")
    target = cast(BinaryIO, SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115
    for attempt in range(1, _GET_ATTEMPTS + 1):
        done = target.tell()
        wanted = {"Range": f"bytes={done}-"} if done else {}
        try:
            body = s3.get_object(Bucket=bucket, Key=key, IfMatch=file.etag, **wanted)["Body"]
            for part in body.iter_chunks(2**20):
                target.write(part)
            if target.tell() != file.size:  # what an error response would do
                raise Refused(f"{target.tell()} of {file.size} bytes came: run the command again")
            target.seek(0)
            return target
        except BROKEN_OFF as error:
            # boto3 retries the request but not a body that breaks off: continue where it stopped.
            if attempt == _GET_ATTEMPTS:
                raise Refused(f"it cannot be read: {explain(error)}") from error
        except FAILURES as error:
            raise Refused(explain(error)) from error
    raise AssertionError("unreachable")
