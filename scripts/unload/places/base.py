"""The destination of an unload: what a folder and a prefix on S3 must both do.

A key is the path of an object below the place, with slashes: `calls/2026/01/01/12/calls.parquet`. An etag is
a text that changes whenever the object is rewritten; only the place that gave it can interpret it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LOCK = "_lock"
# S3's limit: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
DELETES_PER_REQUEST = 1_000


class Changed(Exception):
    """A conditional write found another object than the one to replace, or a read none, or another one."""


@dataclass(frozen=True)
class Found:
    """An object of a listing."""

    key: str
    bytes: int
    etag: str


@dataclass(frozen=True)
class Read:
    """An object's whole content."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str


@dataclass(frozen=True)
class Run:
    """The writer, as the lock, the manifests and the names of parts show it. `run_id` sorts by time."""

    run_id: str
    host: str
    started_at: str


# Called before every change of the place; raises UserError if this run no longer holds the lock.
StillOurs = Callable[[], None]


class Place(Protocol):
    """A folder or a prefix on S3. Every function raises UserError when the place refuses."""

    @property
    def uri(self) -> str:
        """The address as a user writes it."""

    def list(self, prefix: str) -> list[Found]:
        """Return the objects whose key begins with the prefix, a folder with its slash."""

    def read(self, key: str) -> Read | None:
        """Return a small object; None when there is none."""

    def put(self, key: str, body: bytes, replaces: str | None) -> str:
        """Write a small object in place of the one with this etag, or of none; return its etag.

        Raises:
            Changed: another one is there, or none.
        """

    def put_file(self, key: str, path: Path, sha256: str) -> str:
        """Put a local file there, whole or not at all; the file may be gone afterwards. Return its etag."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; missing ones are ignored."""

    def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file.

        Raises:
            Changed: it was deleted, or replaced meanwhile.
        """

    def unfinished(self, prefix: str) -> Sequence[Upload]:
        """Return the unfinished multipart uploads below the prefix."""

    def abort(self, upload: Upload) -> None:
        """Drop an unfinished multipart upload and its parts."""

    def lock(self, run: Run, seconds: int) -> AbstractContextManager[StillOurs]:
        """Lock the place; a second run gets an error. `seconds`: how long the lock outlives a killed run."""

    def writer(self) -> str | None:
        """Return who is writing to the place now; None when nobody is, or it cannot be told."""

    def drafts(self) -> Path:
        """Return the folder for files before their upload, from which publishing is fastest."""
