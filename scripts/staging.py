"""Folders for files on their way, of which those of killed runs are deleted by the next run."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# Prefix of a run's drafts, which readers ignore.
STAGING = ".staging-"
_FOLDER = f"{STAGING}copymart-"


@contextmanager
def staging_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for files on their way, and delete the unlocked ones of killed runs of any command.

    It is made in `parent`, or among the system's temporary files.
    """
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent.glob(f"{_FOLDER}*"))
    with ExitStack() as held:
        folder = _held_folder(parent, held)
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def sweep(folders: Iterable[Path]) -> None:
    """Delete the folders that no run has locked; without locks nobody knows which these are."""
    for folder in folders:
        with suppress(OSError, ImportError), _held(folder):
            shutil.rmtree(folder)


def _held_folder(parent: Path, held: ExitStack) -> Path:
    """Make a folder and lock it; until it is locked, another run may delete it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=parent))
        try:
            held.enter_context(_held(folder))
            folder.stat()
        except (FileNotFoundError, BlockingIOError):
            continue
        except (OSError, ImportError):
            # Windows and some network disks cannot lock a folder: no run deletes another one's there
            pass
        return folder


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    # of another kind than a folder, such as a pipe that somebody made, nobody waits
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        # imported here because Windows has none
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
