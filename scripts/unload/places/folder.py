"""A local folder as a place to unload to."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts.errors import UserError
from scripts.unload.places.base import STAGING, Changed, Found, Read, Run, StillOurs, Upload


class Folder:
    """A local folder. The lock is flock's, which the kernel takes back from a run that dies."""

    def __init__(self, to: str) -> None:
        try:
            self.path = Path(to).expanduser()
            for path in (self.path, *self.path.parents):
                if path.exists() and not path.is_dir():
                    raise UserError(f"{to}: {path} is a file; name a folder")
        except (OSError, RuntimeError) as error:
            # a name that is too long, a home of nobody
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
        """Write a file under a draft's name and move it over the old one."""
        there = self.read(key)
        if (there.etag if there else None) != replaces:
            raise Changed(key)
        with tempfile.NamedTemporaryFile(prefix=STAGING, dir=self.path, delete=False) as draft:
            draft.write(body)
            draft.flush()
            # An empty manifest after a loss of power would have all written anew. Files of data go without:
            # there are thousands, and one that was lost has another size than its manifest says.
            os.fsync(draft.fileno())
        return self._move(Path(draft.name), key)

    def put_file(self, key: str, path: Path, sha256: str) -> str:
        """Move the file over the old one; from another file system it is copied first."""
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
        # drafts are made for their owner only
        path.chmod(0o666 & ~_UMASK)
        os.replace(path, target)
        return _size_and_etag(target)[1]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files, and the folders that get empty by it."""
        for key in keys:
            path = self.path / key
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.path or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()

    def fetch(self, key: str, path: Path) -> None:
        """Copy a file."""
        shutil.copyfile(self.path / key, path)

    def unfinished(self, prefix: str) -> Sequence[Upload]:
        """Return nothing: a file is moved into place at once."""
        return ()

    def abort(self, upload: Upload) -> None:
        """Do nothing."""

    @contextmanager
    def lock(self, run: Run, seconds: int) -> Iterator[StillOurs]:
        """Hold the folder for this run, and sweep the drafts of runs that were killed."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another unload is writing to {self.uri}; wait for it to end") from None
            for draft in self.path.glob(f"{STAGING}*"):
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
            yield lambda: None
        finally:
            os.close(handle)

    def drafts(self) -> Path:
        """Return the folder itself: from the same file system a file is moved, not copied."""
        return self.path


def _require_missing(error: OSError) -> None:
    """What may not be read must not count as gone."""
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
