"""Errors of the file system and of DuckDB, in one line that says what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from scripts.errors import UserError
from scripts.warehouse import full


@contextmanager
def explained(verb: str, uri: str, staging: Path, room: str, after: str) -> Iterator[None]:
    """Turn errors of the file system and of DuckDB into a UserError.

    `verb`: read or write, what is done with the place at `uri`. `staging`: the folder of files before their
    upload; `room`: what helps when its disk is full. `after`: the state now, and what to do next.
    """
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or uri
        if error.errno == errno.ENOSPC:
            raise UserError(f"no space left on the disk of {where}: {room}. {after}") from error
        raise UserError(f"cannot {verb} {where}: {error.strerror or error}. {after}") from error
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise UserError(f"no space left on the disk of {staging}: {room}. {after}") from error
        if reason := full(error):
            raise UserError(f"{reason}. {after}") from error
        raise UserError(f"cannot {verb} {uri}, run the same command again: {error}") from error
    except RuntimeError as error:
        # what DuckDB raises on a signal during a query
        if "interrupted" not in str(error).lower():
            raise
        raise UserError(f"stopped by a signal while it was to {verb} {uri}. {after}") from error
