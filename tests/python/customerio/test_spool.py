"""The receiver's log: what is acknowledged is in exactly one segment, and a segment is delivered whole."""

import asyncio
import errno
import gzip
import hashlib
import hmac
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts.customerio.deliver import deliver, deliver_rest, name_of, packed, to_folder
from scripts.customerio.receive import receiver_id
from scripts.customerio.spool import Full, Segment, Spool, sync_folder
from scripts.customerio.webhook import as_line, is_recent, webhooks
from scripts.errors import UserError

HOUR = datetime(2026, 9, 1, 10, tzinfo=UTC)


@contextmanager
def spooling(folder: Path, **options: Any) -> Iterator[Spool]:
    spool = Spool(folder / "spool", **{"max_bytes": 1 << 30, **options})
    try:
        yield spool
    finally:
        spool.close()
        spool.release()


def in_a_loop(work: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: the browser's driver leaves a loop running in that of the tests."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def append(spool: Spool, *lines: bytes) -> None:
    """Append lines, each once the one before is on the disk."""

    async def each() -> None:
        for line in lines:
            await asyncio.wait_for(spool.append(line, asyncio.get_running_loop()), 30)

    in_a_loop(each())


def append_together(spool: Spool, *lines: bytes) -> None:
    async def together() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(asyncio.gather(*(spool.append(line, loop) for line in lines)), 30)

    in_a_loop(together())


def contents(spool: Spool) -> list[tuple[int, bytes]]:
    return [(segment.number, segment.path.read_bytes()) for segment in spool.closed()]


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_segment_ends_when_it_is_large_or_old_or_its_hour_is_over(tmp_path: Path) -> None:
    clock = [HOUR]
    with spooling(tmp_path, segment_bytes=10, segment_seconds=1000, now=lambda: clock[0]) as spool:
        append(spool, b"0123456789", b"next")
        wait_for(lambda: len(spool.closed()) == 1)
        clock[0] += timedelta(hours=1)
        wait_for(lambda: len(spool.closed()) == 2)
        append(spool, b"later")
    assert [(segment.number, segment.hour) for segment in spool.closed()] == [
        (1, HOUR),
        (2, HOUR),
        (3, HOUR + timedelta(hours=1)),
    ]
    with spooling(tmp_path, segment_seconds=0.1) as again:
        append(again, b"old soon")
        wait_for(lambda: len(again.closed()) == 4)


def test_lines_that_wait_together_wait_for_the_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (time.sleep(0.05), slow(handle)))
    with spooling(tmp_path) as spool:
        append_together(spool, *(b"%d" % number for number in range(500)))
        assert spool.syncs <= 10
        assert spool.waiting_bytes == 0
    assert contents(spool)[0][1].splitlines() == [b"%d" % number for number in range(500)]


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_a_disk_that_fails_acknowledges_nothing_and_keeps_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    works = getattr(os, failing)
    fails = threading.Event()

    def failing_call(handle: int, *data: Any) -> Any:
        if fails.is_set():
            if data:
                works(handle, data[0][:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return works(handle, *data)

    monkeypatch.setattr(os, failing, failing_call)
    with spooling(tmp_path) as spool:
        append(spool, b"before")
        fails.set()
        with pytest.raises(Full, match="No space left"):
            append(spool, b"refused")
        fails.clear()
        append(spool, b"after")
        assert spool.size == len(b"before\nafter\n")
    assert b"".join(data for _, data in contents(spool)) == b"before\nafter\n"


def health(spool: Spool) -> tuple[int, str]:
    """What GET /health answers."""
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        answers.append(message)

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "query_string": b""}
        await webhooks(spool, [b"key"], None, lambda: 0)(scope, receive, send)

    in_a_loop(ask())
    return answers[0]["status"], answers[1]["body"].decode()


def test_health_says_that_the_disk_fails_until_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may send no event until it is well again, so it does not wait for one."""
    works, fails = os.fsync, threading.Event()

    def failing_call(handle: int) -> None:
        if fails.is_set():
            raise OSError(errno.EIO, "Input/output error")
        works(handle)

    monkeypatch.setattr(os, "fsync", failing_call)
    with spooling(tmp_path) as spool:
        append(spool, b"before")
        assert health(spool) == (200, "ok\n")
        fails.set()
        with pytest.raises(Full):
            append(spool, b"refused")
        assert health(spool) == (503, f"{spool.folder}: Input/output error\n")
        fails.clear()
        wait_for(lambda: health(spool) == (200, "ok\n"))
        assert not list(spool.folder.glob("probe*"))


def test_a_server_that_has_ended_leaves_a_whole_segment(tmp_path: Path) -> None:
    """What it waited for no more is written, and the segment is closed behind it."""
    with spooling(tmp_path) as spool:
        append(spool, b"acknowledged")
        loop = asyncio.new_event_loop()
        future = spool.append(b"late", loop)
        loop.close()
    assert contents(spool) == [(1, b"acknowledged\nlate\n")]
    assert not future.done()


def test_a_segment_that_somebody_removed_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [HOUR]
    with spooling(tmp_path, now=lambda: clock[0]) as spool:
        append(spool, b"removed")
        next((tmp_path / "spool").glob("*.open")).unlink()
        clock[0] += timedelta(hours=1)
        wait_for(lambda: "was removed before it was delivered" in caplog.text)
        append(spool, b"next")
    assert [data for _, data in contents(spool)] == [b"next\n"]


def test_a_line_that_was_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "0000000007-2026090110.open").write_bytes(b"whole\ncut o")
    (folder / "0000000008-2026090110.open").write_bytes(b"cut")
    (folder / "last").write_text("8")
    with spooling(tmp_path) as spool:
        append(spool, b"new")
    assert contents(spool) == [(7, b"whole\n"), (9, b"new\n")]


def test_numbers_are_used_once_even_after_all_was_delivered(tmp_path: Path) -> None:
    for number in (1, 2):
        with spooling(tmp_path) as spool:
            append(spool, b"line")
        assert [segment.number for segment in spool.closed()] == [number]
        assert deliver_rest(spool, "r", to_folder(tmp_path / "out")) == 0
        assert spool.size == 0
    assert len(list((tmp_path / "out").glob("**/*.gz"))) == 2


@pytest.mark.parametrize("left", [b"", b"\0\0", b"\xff"])
def test_numbers_are_used_once_even_after_the_last_one_was_lost(tmp_path: Path, left: bytes) -> None:
    """A file with a number that was used would take the place of one at the target."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/last").write_bytes(left)
    began = int(time.time())
    with spooling(tmp_path) as spool:
        append(spool, b"line")
    with spooling(tmp_path) as spool:
        append(spool, b"next")
    first, second = (segment.number for segment in spool.closed())
    assert began < first < second == first + 1


def test_a_full_spool_takes_nothing_until_something_is_delivered(tmp_path: Path) -> None:
    with spooling(tmp_path, max_bytes=20, segment_bytes=1) as spool:
        append(spool, b"0123456789")
        with pytest.raises(Full, match="have not been delivered"):
            append(spool, b"0123456789")
        wait_for(spool.closed)
        spool.delivered(spool.closed()[0])
        append(spool, b"0123456789")
    with spooling(tmp_path, max_waiting_bytes=5) as busy, pytest.raises(Full, match="wait for the disk"):
        append(busy, b"123456")


def test_a_closed_segment_whose_name_was_not_waited_for_is_not_called_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, fails = [HOUR], [0]

    def failing(folder: Path) -> None:
        # only what closes a segment: the one before made its number known
        if list(folder.glob("*.closed")):
            fails[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        sync_folder(folder)

    with spooling(tmp_path, now=lambda: clock[0]) as spool:
        append(spool, b"line")
        monkeypatch.setattr("scripts.customerio.spool.sync_folder", failing)
        clock[0] += timedelta(hours=1)
        wait_for(lambda: fails[0])
    assert "removed" not in caplog.text
    assert [data for _, data in contents(spool)] == [b"line\n"]


def test_two_receivers_do_not_share_a_spool(tmp_path: Path) -> None:
    with spooling(tmp_path), pytest.raises(UserError, match=r"another receiver .* --spool of its own"):
        Spool(tmp_path / "spool", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name a folder that can be written"):
        Spool(tmp_path / "file/spool", 1)


def test_a_spool_is_held_until_its_rest_is_delivered(tmp_path: Path) -> None:
    """A receiver that starts meanwhile would deliver the same segments, and miss those that went."""
    spool = Spool(tmp_path / "spool", 1 << 30)
    spool.close()
    with pytest.raises(UserError, match="--spool of its own"):
        Spool(tmp_path / "spool", 1)
    spool.release()
    with spooling(tmp_path):
        pass


def test_a_receiver_has_a_name_also_after_its_file_was_cut_off(tmp_path: Path) -> None:
    """Files of two receivers without a name would replace each other."""
    for left in (b"", b"\0" * 20, b"\xff"):
        (tmp_path / "id").write_bytes(left)
        name = receiver_id(tmp_path)
        assert len(name) > 8 and name.isprintable() and receiver_id(tmp_path) == name


def test_receivers_with_one_name_replace_nothing_of_each_other(tmp_path: Path) -> None:
    """A copied machine, or a volume that was put back, has a name and numbers that are used."""
    (tmp_path / "here/spool").mkdir(parents=True)
    name = receiver_id(tmp_path / "here/spool")
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    assert receiver_id(tmp_path / "copy/spool") == name
    for folder, line in (("here", b"one"), ("copy", b"two")):
        with spooling(tmp_path / folder, now=lambda: HOUR) as spool:
            append(spool, line)
        assert deliver_rest(spool, name, to_folder(tmp_path / "out")) == 0
    landed = (tmp_path / "out/2026/09/01/10").iterdir()
    assert sorted(gzip.decompress(path.read_bytes()) for path in landed) == [b"one\n", b"two\n"]


def test_a_target_that_is_away_gets_each_segment_once_it_is_back(tmp_path: Path) -> None:
    put, tries, stop = to_folder(tmp_path / "out"), [0], threading.Event()

    def away_at_first(name: str, data: bytes) -> None:
        tries[0] += 1
        if tries[0] == 1:
            raise ConnectionError("away")
        put(name, data)

    with spooling(tmp_path, segment_bytes=1, now=lambda: HOUR) as spool:
        courier = threading.Thread(target=deliver, args=(spool, "r", away_at_first, stop, 0.01))
        courier.start()
        append(spool, b"first")
        append(spool, b"second")
        wait_for(lambda: len(list((tmp_path / "out").glob("**/[!.]*"))) >= 6 and not spool.closed())
        stop.set()
        courier.join()
    folder = tmp_path / "out/2026/09/01/10"
    assert {path.name[:12]: gzip.decompress(path.read_bytes()) for path in folder.iterdir()} == {
        "r-0000000001": b"first\n",
        "r-0000000002": b"second\n",
    }


def test_a_spool_that_cannot_be_read_for_a_while_is_delivered_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Many slow senders may take all files that a process may open."""
    reads, stop = [0], threading.Event()

    def none_left(segment: Segment) -> bytes:
        reads[0] += 1
        if reads[0] == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return packed(segment)

    monkeypatch.setattr("scripts.customerio.deliver.packed", none_left)
    with spooling(tmp_path, segment_bytes=1) as spool:
        put = to_folder(tmp_path / "out")
        courier = threading.Thread(target=deliver, args=(spool, "r", put, stop, 0.01), daemon=True)
        courier.start()
        append(spool, b"first")
        wait_for(lambda: reads[0])
        # its file goes first, then its bytes are free
        wait_for(lambda: not courier.is_alive() or not spool.size)
        assert courier.is_alive() and not spool.closed()
        stop.set()
        courier.join()
    assert "cannot read the spool, trying again: [Errno 24] Too many open files" in caplog.text


def test_a_segment_whose_file_is_closed_with_an_error_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network's disk says it; the thread that writes must not end with it."""
    closes = os.close
    with spooling(tmp_path, segment_bytes=1) as spool:

        def fails(handle: int) -> None:
            closes(handle)
            if handle == spool._handle:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "close", fails)
        append(spool, b"first", b"second")
        assert spool._thread.is_alive()
    assert b"".join(data for _, data in contents(spool)) == b"first\nsecond\n"


def test_a_file_and_its_folders_are_on_the_disk_before_the_spool_forgets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    really = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (waited.append(os.fstat(handle).st_ino), really(handle)))
    to_folder(tmp_path / "out")("2026/09/01/10/r-1.jsonl.gz", b"x")
    file, *folders = waited
    hour = tmp_path / "out/2026/09/01/10"
    assert file == (hour / "r-1.jsonl.gz").stat().st_ino
    assert folders == [folder.stat().st_ino for folder in (hour, *hour.parents[:4])]

    def not_for_folders(handle: int) -> None:
        raise OSError(errno.EINVAL if stat.S_ISDIR(os.fstat(handle).st_mode) else errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", not_for_folders)
    with pytest.raises(OSError, match="no"):
        to_folder(tmp_path / "out")("2026/09/01/10/r-2.jsonl.gz", b"x")
    monkeypatch.setattr(
        os, "fsync", lambda handle: stat.S_ISDIR(os.fstat(handle).st_mode) and not_for_folders(handle)
    )
    to_folder(tmp_path / "out")("2026/09/01/10/r-2.jsonl.gz", b"x")


def test_large_bodies_have_a_bound_before_their_signatures_are_known(tmp_path: Path) -> None:
    """Anybody can send them, as slowly as they like; events are small, and are taken meanwhile."""
    large, small = b"x" * 300_000, b"{}"

    async def posted(app: Any, body: bytes, end: asyncio.Event | None = None) -> int:
        digest = hmac.new(b"key", b"v0:1:" + body, hashlib.sha256).hexdigest().encode()
        headers = [(b"x-cio-timestamp", b"1"), (b"x-cio-signature", digest)]
        parts = [body[place : place + 65_536] for place in range(0, len(body), 65_536)]
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            part = parts.pop(0)
            if not parts and end:
                await end.wait()
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            answers.append(message)

        await app({"type": "http", "method": "POST", "headers": headers}, receive, send)
        return int(answers[0]["status"])

    async def check() -> None:
        with spooling(tmp_path) as spool:
            app = webhooks(spool, [b"key"], None, lambda: 0, max_large_bytes=400_000)
            end = asyncio.Event()
            slow = asyncio.create_task(posted(app, large, end))
            await asyncio.sleep(0)
            assert await posted(app, large) == 503
            assert await posted(app, small) == 200
            end.set()
            assert await slow == 200
            assert [await posted(app, large) for _ in range(3)] == [200] * 3

    in_a_loop(check())


def test_what_cannot_be_delivered_at_the_end_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def away(name: str, data: bytes) -> None:
        raise ConnectionError("away")

    with spooling(tmp_path) as spool:
        append(spool, b"line")
    assert deliver_rest(spool, "r", away) == 1
    assert "stays for the next start: away" in caplog.text
    (segment,) = spool.closed()
    assert packed(segment) == packed(segment)
    time.sleep(1.1)
    # no time of the clock in it
    assert packed(segment)[4:8] == b"\0\0\0\0"
    assert re.search(r"/r-0000000001-[0-9a-f]{12}\.jsonl\.gz$", name_of("r", segment, packed(segment)))


def test_a_body_becomes_one_line() -> None:
    assert as_line(b'{\r\n"a":\n1}') == b'{  "a": 1}'
    assert as_line(b"") == b" "


def test_signatures_may_have_an_age() -> None:
    now = int(time.time())
    assert is_recent(str(now - 100), 101) and not is_recent(str(now - 102), 100)
    assert not is_recent(str(now + 200), 100)
    assert not any(is_recent(stamp, 1e12) for stamp in ("", "x", "1.5", "\u0661"))
