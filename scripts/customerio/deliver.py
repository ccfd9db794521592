"""Brings the receiver's closed segments to where `copymart land` reads them.

A file has one name and one content for ever: what is delivered again after a crash is byte for byte what
lies there, so landing sees neither half a file nor a changed one.
"""

import errno
import gzip
import hashlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenacity import RetryCallState, Retrying, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from scripts.customerio.spool import Segment, Spool, sync_folder

Put = Callable[[str, bytes], None]
log = logging.getLogger("copymart.receive")
# Some disks of a network, and folders that may be written and not read, are no folders to wait for.
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)


def name_of(receiver: str, segment: Segment, data: bytes) -> str:
    """Where a segment's file goes below the target: by its hour of arrival, as landing expects.

    The hash of its bytes is in it: a copy of this machine has the same receiver and the same numbers.
    """
    digest = hashlib.sha256(data).hexdigest()[:12]
    return f"{segment.hour:%Y/%m/%d/%H}/{receiver}-{segment.number:010}-{digest}.jsonl.gz"


def packed(segment: Segment) -> bytes:
    """The segment as gzip, the same bytes each time: without a time and a name in its header."""
    return gzip.compress(segment.path.read_bytes(), compresslevel=6, mtime=0)


def to_folder(folder: Path) -> Put:
    """Write files that are hidden until they are whole, and that are on the disk when they are written."""

    def put(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}")
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        # its name too, and those of the folders: the spool, perhaps on another disk, forgets the segment now
        for parent in path.relative_to(folder).parents:
            try:
                sync_folder(folder / parent)
            except OSError as error:
                if error.errno not in _NOT_FOR_FOLDERS:
                    raise

    return put


def to_s3(client: Any, bucket: str, prefix: str) -> Put:
    """Write objects, which S3 shows when they are whole."""

    def put(name: str, data: bytes) -> None:
        key = f"{prefix.rstrip('/')}/{name}" if prefix else name
        client.put_object(Bucket=bucket, Key=key, Body=data)

    return put


def deliver(spool: Spool, receiver: str, put: Put, stop: threading.Event, poll_seconds: float = 1) -> None:
    """Deliver closed segments in order until `stop` is set, and try again while the target is away."""
    while not stop.is_set():
        try:
            for segment in spool.closed():
                if stop.is_set():
                    return
                _deliver(spool, receiver, put, segment, stop)
        except OSError as error:
            # of the spool: without a courier it would fill, and nobody would know why
            log.warning("cannot read the spool, trying again: %s", error)
        stop.wait(poll_seconds)


def deliver_rest(spool: Spool, receiver: str, put: Put) -> int:
    """Deliver what is closed, each segment once; return how many stay for the next process."""
    for segment in spool.closed():
        try:
            data = packed(segment)
            put(name_of(receiver, segment, data), data)
            spool.delivered(segment)
        except Exception as error:
            log.warning("%s stays for the next start: %s", segment.path, error)
    return len(spool.closed())


def _deliver(spool: Spool, receiver: str, put: Put, segment: Segment, stop: threading.Event) -> None:
    data = packed(segment)
    name = name_of(receiver, segment, data)

    def attempt() -> bool:
        put(name, data)
        return True

    until_stopped = Retrying(
        wait=wait_exponential_jitter(initial=1, max=60),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=lambda state: log.warning("cannot deliver %s, trying again: %s", name, _error(state)),
        retry_error_callback=lambda _state: False,
    )
    if until_stopped(attempt):
        spool.delivered(segment)


def _error(state: RetryCallState) -> object:
    return state.outcome.exception() if state.outcome else None
