"""Folders for files on their way, of which those of killed runs are deleted by the next run."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from scripts.unload.places.base import STAGING


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for files before their upload, and delete the unlocked ones of killed runs."""
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent.glob(f"{STAGING}unload-*"))
    with ExitStack() as held:
        folder = _held_folder(parent, held)
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def sweep(folders: Iterable[Path]) -> None:
    """Delete the folders that no run has locked."""
    for folder in folders:
        with suppress(OSError), _held(folder):
            shutil.rmtree(folder)


def _held_folder(parent: Path, held: ExitStack) -> Path:
    """Make a folder and lock it; until it is locked, another run may delete it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{STAGING}unload-", dir=parent))
        with suppress(FileNotFoundError, BlockingIOError):
            held.enter_context(_held(folder))
            folder.stat()
            return folder


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
