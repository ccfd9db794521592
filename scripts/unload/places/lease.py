"""The lock of a place on S3: an object with a lease that its run renews, so that a dead run's lock expires.

Only the server's clock decides whether a lease has expired: its time of the last write, and its time now. The
holder uses its own clock only for how long ago it sent the last renewal.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from scripts.errors import UserError
from scripts.unload.places.base import LOCK, Changed, Read, Run, StillOurs

DEFAULT_SECONDS = 120
# After a renewal that failed.
_RETRY_SECONDS = 3
# Servers give times in whole seconds.
_GRAIN = 1
# The etag of no object that copymart writes.
_NO_ETAG = "0" * 32


class Store(Protocol):
    """What a lease needs of a place on S3; `Bucket` has it."""

    @property
    def uri(self) -> str:
        """The address as a user writes it."""

    @property
    def if_match(self) -> bool:
        """Whether the server knows If-Match on PUT."""

    def get(self, key: str) -> tuple[Read, dict[str, Any]] | None:
        """Return a small object and the response it came in; None when there is none."""

    def read(self, key: str) -> Read | None:
        """Return a small object; None when there is none."""

    def put(self, key: str, body: bytes, replaces: str | None) -> str:
        """Write a small object in place of the one with this etag, or of none; return its etag.

        Raises:
            Changed: another one is there, or none.
        """

    def delete_own(self, key: str, etag: str) -> None:
        """Delete an object if it has this etag."""


class _Lease:
    """This run's lease: its etag, and how long it is surely ours by our own clocks."""

    def __init__(self, store: Store, run: Run, seconds: int) -> None:
        self.store, self.run, self.seconds = store, run, seconds
        self.ended = threading.Event()
        self.taken = False
        self.etag = ""
        self.deadlines = (0.0, 0.0)

    def body(self) -> bytes:
        """The lock's text; its times are only for people."""
        expires = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return _text(self.run, self.seconds, expires.isoformat(timespec="seconds"))

    def take(self, replaces: str | None) -> None:
        """Write the lock.

        Raises:
            Changed: another one is there.
        """
        # taken before the request, because the server may have written at once
        deadlines = (time.monotonic() + self.seconds, time.time() + self.seconds)
        self.etag = self.store.put(LOCK, self.body(), replaces)
        self.deadlines = deadlines

    def renew_until_ended(self) -> None:
        """Renew at each third of the lease; while the server refuses or does not answer, again and again."""
        interval = pause = self.seconds / 3
        while not self.ended.wait(pause):
            pause = interval
            try:
                self.take(self.etag)
            except Changed:
                if not self.adopt():
                    self.taken = True
                    return
            except UserError:
                # soon, because nothing may be changed once the lease has ended
                pause = min(interval, _RETRY_SECONDS)

    def adopt(self) -> bool:
        """Take the etag of our lock: a renewal was written although its answer was lost."""
        with suppress(UserError):
            there = self.store.read(LOCK)
            if there and _holder(there.body).get("run_id") == self.run.run_id:
                self.etag = there.etag
                return True
        return False

    def left(self) -> float:
        """For how many seconds the lease is surely ours; a machine that slept may have lost it."""
        monotonic, wall = self.deadlines
        return 0.0 if self.taken else min(monotonic - time.monotonic(), wall - time.time())

    def require(self) -> None:
        """Raise UserError unless the lease is surely ours."""
        if self.left() <= 0:
            raise UserError(
                f"{self.store.uri}: this run lost its lock, because it could not renew it in time or "
                "another run took it over; nothing more was changed. Run the same command again"
            )

    def release(self) -> None:
        """Delete the lock if it is still ours, and will be for a while.

        A delete may arrive late, and not every server compares the etag, so it could delete the next holder's
        lock. A lock that is left expires by itself.
        """
        with suppress(UserError):
            there = self.store.read(LOCK)
            ours = there and _holder(there.body).get("run_id") == self.run.run_id
            if there and ours and self.left() >= self.seconds / 3:
                self.store.delete_own(LOCK, there.etag)


@contextmanager
def held(store: Store, run: Run, seconds: int) -> Iterator[StillOurs]:
    """Hold the lock of a place on S3; yield the function to call before every change.

    Raises:
        UserError: another run holds it; the message says who, since when and until when.
    """
    lease = _Lease(store, run, seconds)
    _acquire(lease)
    try:
        _require_conditions(store, lease.body())
    except UserError:
        lease.release()
        raise
    renewing = threading.Thread(target=lease.renew_until_ended, daemon=True)
    renewing.start()
    try:
        yield lease.require
    finally:
        lease.ended.set()
        renewing.join()
        lease.release()


def writer(store: Store) -> str | None:
    """Return who holds the lock of a place now; None when nobody does, or it cannot be told."""
    with suppress(UserError):
        there = store.get(LOCK)
        if there:
            holder = _holder(there[0].body)
            return _who(holder) if _seconds_left(holder, there[1]) > 0 else None
    return None


def _require_conditions(store: Store, body: bytes) -> None:
    """Raise UserError when the server does not know If-Match on PUT, or takes what it should refuse.

    Some servers ignore conditions in silence, and two runs would hold the lock at once.
    """
    if not store.if_match:
        return
    with suppress(Changed):
        store.put(LOCK, body, _NO_ETAG)
        raise UserError(
            f"{store.uri}: this S3 server ignores If-Match on PUT, which keeps two runs apart; give "
            "--no-if-match when only one run at a time writes there"
        )


def _acquire(lease: _Lease) -> None:
    for _ in range(3):
        with suppress(Changed):
            lease.take(None)
            return
        there = lease.store.get(LOCK)
        if there is None:
            continue
        read, response = there
        holder = _holder(read.body)
        left = _seconds_left(holder, response)
        if left > 0 or not lease.store.if_match:
            raise UserError(_held_by(lease.store, holder, left))
        with suppress(Changed):
            lease.take(read.etag)
            return
    raise UserError(f"{lease.store.uri}: other runs are taking the lock; try again in a minute")


def _seconds_left(holder: dict[str, Any], response: dict[str, Any]) -> float:
    """How long the lease lasts by the server's clock; an unreadable lock lasts the default time.

    If the server does not give its time, our clock may be wrong by up to the default time.
    """
    seconds = holder.get("lease_seconds")
    lasts = float(seconds if isinstance(seconds, int | float) else DEFAULT_SECONDS) + _GRAIN
    try:
        now = parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        now = datetime.now(UTC) - timedelta(seconds=DEFAULT_SECONDS)
    return lasts - (now - response["LastModified"]).total_seconds()


def _held_by(store: Store, holder: dict[str, Any], left: float) -> str:
    who = _who(holder)
    if left > 0:
        return (
            f"another unload is writing to {store.uri}: {who}. Its lock holds for {left:.0f} s more unless "
            "it is renewed; wait for it to end, or if it was killed run the same command again after that"
        )
    return (
        f"{store.uri} was locked by {who}, which did not renew it. Without If-Match the lock cannot be "
        f"taken over safely: make sure that this run is dead and delete {store.uri}/{LOCK}"
    )


def _who(holder: dict[str, Any]) -> str:
    return (
        f"run {holder.get('run_id', 'of an unknown kind')} on {holder.get('host', 'an unknown host')} "
        f"since {holder.get('started_at', 'an unknown time')}"
    )


def _holder(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body))
    except (ValueError, TypeError):
        return {}


def _text(run: Run, seconds: int, expires_at: str) -> bytes:
    said = {
        "run_id": run.run_id,
        "host": run.host,
        "started_at": run.started_at,
        "lease_seconds": seconds,
        "expires_at": expires_at,
    }
    # a new number in each renewal, because equal texts would have equal etags
    return (json.dumps(said | {"renewed_at": time.time_ns()}, indent=1) + "\n").encode()
