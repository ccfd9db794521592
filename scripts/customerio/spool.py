"""The receiver's log on its own disk: what is acknowledged is there, whatever happens to the process.

One thread writes. It takes all lines that wait, writes them, and waits for the disk once for all of them
(group commit), because an fsync takes about 4 ms whether for one line or for a thousand. A segment holds the
lines of one hour of arrival; it is closed when it is large or old, and a closed one never changes.
"""

import asyncio
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts.errors import UserError

SEGMENT_BYTES = 64 << 20
SEGMENT_SECONDS = 300
_SEGMENT = re.compile(r"(\d{10})-(\d{10})\.(open|closed)")
# a writer that waits still looks whether its segment has become old
_TICK_SECONDS = 0.25
# more than an event has
_PROBE = bytes(64 << 10)
log = logging.getLogger("copymart.receive")


class Full(Exception):
    """The log takes no more: its disk is full or fails, or what waits has reached its bound."""


@dataclass(frozen=True, order=True)
class Segment:
    """A closed file of the log; `hour` is the UTC hour in which its lines arrived."""

    number: int
    hour: datetime
    path: Path


class Spool:
    """The log. `append` is called by the thread of an event loop, and a thread of the log's own writes."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        segment_seconds: float = SEGMENT_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_waiting_bytes: int = 256 << 20,
    ) -> None:
        """Take over what an earlier process left in the folder: its last segment is closed, without a line
        that was cut off, because nobody acknowledged that one.

        Raises:
            UserError: the folder cannot be made, or another process writes there.
        """
        self.folder, self.max_bytes, self.now = folder, max_bytes, now
        self.segment_bytes, self.segment_seconds = segment_bytes, segment_seconds
        self.max_waiting_bytes, self.waiting_bytes = max_waiting_bytes, 0
        self.syncs = 0
        self._failure: Full | None = None
        self._lock = _locked(folder)
        for path in sorted(folder.glob("*.open")):
            _cut_partial_line(path)
            _close(path)
        self._number = max([segment.number for segment in self.closed()] + [_last_number(folder)])
        self._bytes = sum(segment.path.stat().st_size for segment in self.closed())
        self._handle: int | None = None
        self._path = folder
        self._opened, self._size = 0.0, 0
        # segments that are over and not closed yet, with the bytes in them that are acknowledged
        self._ended: list[tuple[Path, int]] = []
        self._queue: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="spool", daemon=True)
        self._thread.start()

    def append(self, line: bytes, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Write a line, without its line feed; the loop's future is done once the line is on the disk.

        Raises:
            Full: the log holds as much as it may, on disk or in memory. The future may have it too.
        """
        with self._counting:
            if self._bytes + self.waiting_bytes + len(line) >= self.max_bytes:
                raise Full(f"{self.folder} holds {self._bytes:,} bytes that have not been delivered")
            if self.waiting_bytes + len(line) > self.max_waiting_bytes:
                raise Full("too many events wait for the disk")
            self.waiting_bytes += len(line)
        future = loop.create_future()
        self._queue.put((line + b"\n", future))
        return future

    @property
    def size(self) -> int:
        """Bytes on the disk that have not been delivered."""
        return self._bytes

    @property
    def refusal(self) -> str | None:
        """Why nothing is taken now; None while events are taken."""
        if self._failure:
            return str(self._failure)
        if self._bytes + self.waiting_bytes >= self.max_bytes:
            return "full"
        return "too many events wait for the disk" if self.waiting_bytes >= self.max_waiting_bytes else None

    def closed(self) -> list[Segment]:
        """The segments that are ready to be delivered, in order."""
        found = (_SEGMENT.fullmatch(path.name) for path in self.folder.glob("*.closed"))
        return sorted(
            Segment(
                int(match[1]),
                datetime.strptime(match[2], "%Y%m%d%H").replace(tzinfo=UTC),
                self.folder / match[0],
            )
            for match in found
            if match
        )

    def delivered(self, segment: Segment) -> None:
        """Forget a segment that lies at its target."""
        size = segment.path.stat().st_size
        segment.path.unlink()
        with self._counting:
            self._bytes -= size

    def close(self) -> None:
        """Write what waits, and close the segment. The folder stays this process's until `release`."""
        self._queue.put(None)
        self._thread.join()

    def release(self) -> None:
        """Let another process take over the folder, once nothing of it is delivered here any more."""
        os.close(self._lock)

    def _write_all(self) -> None:
        for batch in self._batches():
            if batch:
                self._commit(batch)
            elif self._failure:
                self._probe()
            if self._handle is not None and self._is_over():
                self._end_segment()
            self._mend()
        if self._handle is not None:
            self._end_segment()
        self._mend()

    def _batches(self) -> Iterator[list[tuple[bytes, "asyncio.Future[None]"]]]:
        """All that waits, again and again; empty from time to time; ends with close()."""
        while True:
            batch: list[tuple[bytes, asyncio.Future[None]]] = []
            try:
                item = self._queue.get(timeout=_TICK_SECONDS)
                while True:
                    if item is None:
                        yield batch
                        return
                    batch.append(item)
                    item = self._queue.get_nowait()
            except queue.Empty:
                yield batch

    def _commit(self, batch: list[tuple[bytes, "asyncio.Future[None]"]]) -> None:
        data = b"".join(line for line, _ in batch)
        try:
            if self._handle is not None and self._is_over():
                self._end_segment()
            if self._handle is None:
                self._begin_segment()
            assert self._handle is not None
            _write(self._handle, data)
            os.fsync(self._handle)
        except OSError as error:
            # what a failed write or fsync left is uncertain, so nothing more goes into this file
            self._end_segment(is_whole=False)
            failure: Full | None = Full(f"{self.folder}: {error.strerror or error}")
        else:
            self.syncs += 1
            self._size += len(data)
            with self._counting:
                self._bytes += len(data)
            failure = None
        self._failure = failure
        with self._counting:
            self.waiting_bytes -= len(data) - len(batch)
        futures = [future for _, future in batch]
        # the loop is woken once for all: once for each took a fifth of the time
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waits
            futures[0].get_loop().call_soon_threadsafe(_settle, futures, failure)

    def _probe(self) -> None:
        """Look whether the disk that failed takes something again: until /health says so, none may come."""
        path = self.folder / "probe"
        with suppress(OSError):
            write_whole(path, _PROBE)
            self._failure = None
        for left in (path, path.with_suffix(".new")):
            with suppress(OSError):
                left.unlink(missing_ok=True)

    def _begin_segment(self) -> None:
        number = self._number + 1
        # before the segment, so that a number is used once even when its file is delivered and gone
        write_whole(self.folder / "last", str(number).encode())
        path = self.folder / f"{number:010}-{self.now():%Y%m%d%H}.open"
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._number, self._path = number, path
        self._opened, self._size = time.monotonic(), 0
        sync_folder(self.folder)

    def _is_over(self) -> bool:
        hour = self._path.name.split("-")[1][:10]
        return (
            self._size >= self.segment_bytes
            or time.monotonic() - self._opened >= self.segment_seconds
            or hour != f"{self.now():%Y%m%d%H}"
        )

    def _end_segment(self, is_whole: bool = True) -> None:
        if self._handle is None:
            return
        # a network's disk may say here that it failed; what was acknowledged was waited for
        with suppress(OSError):
            os.close(self._handle)
        self._handle = None
        self._ended.append((self._path, self._size))
        if is_whole:
            self._mend()

    def _mend(self) -> None:
        """Close the segments that are over, with exactly their acknowledged lines, once the disk lets it."""
        while self._ended:
            path, size = self._ended[0]
            try:
                with path.open("r+b") as file:
                    if file.seek(0, os.SEEK_END) != size:
                        file.truncate(size)
                        os.fsync(file.fileno())
                _close(path)
            except FileNotFoundError:
                log.error("%s was removed before it was delivered", path)
            except OSError:
                return
            self._ended.pop(0)


def _settle(futures: list["asyncio.Future[None]"], failure: Full | None) -> None:
    for future in futures:
        # the sender may have gone, which cancels it
        if future.done():
            continue
        if failure:
            future.set_exception(failure)
        else:
            future.set_result(None)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _locked(folder: Path) -> int:
    # imported here because Windows has none, and all other commands work there
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"--spool {folder}: {error.strerror}: name a folder that can be written") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UserError(f"another receiver writes to {folder}: give each one a --spool of its own") from error
    return handle


def _cut_partial_line(path: Path) -> None:
    with path.open("r+b") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
        os.fsync(file.fileno())


def _close(path: Path) -> None:
    """Make an open segment a closed one, or remove it if nothing is in it."""
    if path.stat().st_size:
        path.rename(path.with_suffix(".closed"))
    else:
        path.unlink()
    # a power loss may take the new name back: the next start closes the segment then
    with suppress(OSError):
        sync_folder(path.parent)


def _last_number(folder: Path) -> int:
    path = folder / "last"
    try:
        return int(path.read_bytes())
    except FileNotFoundError:
        return 0
    except ValueError:
        # files at the target may have any number that was given; none was as high as the seconds of now
        number = int(time.time())
        log.warning("%s holds no number, as after a power loss: numbers go on from %d", path, number)
        return number


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file whole, and wait for the disk."""
    beside = path.with_suffix(".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
