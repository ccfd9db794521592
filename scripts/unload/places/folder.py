"""A local folder as a place to unload to."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts.errors import UserError
from scripts.staging import STAGING, sweep
from scripts.unload.places.base import Changed, Found, Read, Run, StillOurs, Upload


class Folder:
    """A local folder. The lock is a flock, which the kernel releases when a run dies."""

    def __init__(self, to: str) -> None:
        try:
            self.path = Path(to).expanduser()
            for path in (self.path, *self.path.parents):
                if path.exists() and not path.is_dir():
                    raise UserError(f"{to}: {path} is a file; name a folder")
        except (OSError, RuntimeError) as error:
            # a name that is too long, or the home of an unknown user
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"{to}: {reason}; name another folder") from error

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self.path)

    def list(self, prefix: str) -> list[Found]:
        """Return the files below a folder of the place, sorted by key."""
        found = []
        for folder, _, names in os.walk(self.path / prefix, onerror=_require_missing):
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    found.append(Found(path.relative_to(self.path).as_posix(), *_size_and_etag(path)))
        return sorted(found, key=lambda each: each.key)

    def read(self, key: str) -> Read | None:
        """Return a file; None when there is none."""
        try:
            return Read((self.path / key).read_bytes(), _size_and_etag(self.path / key)[1])
        except FileNotFoundError:
            return None

    def put(self, key: str, body: bytes, replaces: str | None) -> str:
        """Write a draft and move it over the old file."""
        there = self.read(key)
        if (there.etag if there else None) != replaces:
            raise Changed(key)
        with tempfile.NamedTemporaryFile(prefix=STAGING, dir=self.path, delete=False) as draft:
            draft.write(body)
            draft.flush()
            # An empty manifest after a power loss would make the next run rewrite everything. Data files are
            # not synced: there are thousands, and a lost one has another size than its manifest says.
            os.fsync(draft.fileno())
        return self._move(Path(draft.name), key)

    def put_file(self, key: str, path: Path, sha256: str) -> str:
        """Move the file over the old one; on another file system, copy it first."""
        try:
            return self._move(path, key)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        with tempfile.NamedTemporaryFile(prefix=STAGING, dir=self.path, delete=False) as draft:
            pass
        shutil.copyfile(path, draft.name)
        return self._move(Path(draft.name), key)

    def _move(self, path: Path, key: str) -> str:
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        # only their owner may read drafts
        path.chmod(0o666 & ~_UMASK)
        os.replace(path, target)
        return _size_and_etag(target)[1]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files, and folders that become empty."""
        for key in keys:
            path = self.path / key
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.path or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()

    def fetch(self, key: str, path: Path) -> None:
        """Copy a file."""
        try:
            shutil.copyfile(self.path / key, path)
        except FileNotFoundError as error:
            raise Changed(key) from error

    def unfinished(self, prefix: str) -> Sequence[Upload]:
        """Return nothing: a file is moved into place atomically."""
        return ()

    def abort(self, upload: Upload) -> None:
        """Do nothing."""

    @contextmanager
    def lock(self, run: Run, seconds: int) -> Iterator[StillOurs]:
        """Lock the folder for this run, and delete the drafts of killed runs to it."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            if not _locked(handle, fcntl.LOCK_EX):
                raise UserError(f"another unload is writing to {self.uri}; wait for it to end")
            # a folder may be that of a run to another place, which --staging names: it has locked it
            drafts = list(self.path.glob(f"{STAGING}*"))
            for file in (draft for draft in drafts if not draft.is_dir()):
                file.unlink()
            sweep(draft for draft in drafts if draft.is_dir())
            yield lambda: None
        finally:
            os.close(handle)

    def writer(self) -> str | None:
        """Return words for the run that holds the lock; a flock does not name it."""
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except OSError:
            return None
        try:
            return None if _locked(handle, fcntl.LOCK_SH) else "a run on this machine"
        finally:
            os.close(handle)

    def drafts(self) -> Path:
        """Return the folder itself: within one file system a file is moved, not copied."""
        return self.path


def _locked(handle: int, kind: int) -> bool:
    """Lock a folder; False when a run holds it. `writer` locks it too, but only for a moment."""
    for _ in range(3):
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def _require_missing(error: OSError) -> None:
    """A folder without permission must not count as missing."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()


def _size_and_etag(path: Path) -> tuple[int, str]:
    status = path.stat()
    return status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}"
