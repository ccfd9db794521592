"""Terminal output shared by the verbs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Without a terminal rich assumes 80 columns and cuts tables; a log file has room.
_LOG_WIDTH = None if sys.stdout.isatty() else 140

# Texts hold names and paths of others: brackets and colons in them are no markup. Colours are given by style.
console = Console(highlight=False, markup=False, emoji=False, width=_LOG_WIDTH)
error_console = Console(stderr=True, highlight=False, markup=False, emoji=False)

# Panels of --help, the same for every verb.
WHAT, WHERE_TO, WHO, S3, SNOWFLAKE, DBT = "What", "Where to", "Who", "S3", "Snowflake", "dbt"


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a bar of `total` steps; the bar shows only when stderr is a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=error_console, transient=True, disable=not error_console.is_terminal
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.update(task, advance=steps)


def listed(texts: list[str], most: int = 10) -> str:
    """Return the first `most` texts with commas between, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")
