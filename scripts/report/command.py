"""`copymart report`: one HTML page that says which copy wins, and how sure that is."""

import os
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from scripts import warehouse
from scripts.console import WHERE_TO, console, progress
from scripts.errors import UserError
from scripts.files import replaceable
from scripts.report.marts import Marts, read

EXAMPLES = """
copymart report --to report.html
copymart report --to report.html --target snowflake
"""


def report(
    to: Annotated[
        Path,
        typer.Option(help="HTML file to write; one that is there is replaced.", rich_help_panel=WHERE_TO),
    ],
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Write one HTML page: which copy wins, how sure that is, and whether the data can be trusted.

    The page reads the marts that `dbt build` made, changes nothing, and opens in a browser without network.
    It holds verdicts, lifts, rates by day, funnels, segments and the texts of the copies, and no person:
    segments are counts of at least the people that the var `min_segment_people` says.

    \f
    Raises:
        UserError: the warehouse cannot be opened or lacks a mart, the var `min_match_rate` is no share, or
            the file cannot be written.
    """
    # imported here because it imports altair, which takes a second that --help should not
    from scripts.report.page import page

    require_writable(to)
    began = time.monotonic()
    min_match_rate = _min_match_rate(project_dir)
    with progress("reading", len(fields(Marts))) as advance:
        marts = read(project_dir, profiles_dir, target, advance)
    templates = len(marts.templates["template_id"].unique())
    with progress("writing", templates) as advance:
        html = page(marts, datetime.now(UTC), min_match_rate, advance)
    size = write(to, html)
    console.print(
        f"{templates:,} {'template' if templates == 1 else 'templates'} in {to}, {size / 1e6:.1f} MB, "
        f"{time.monotonic() - began:.1f} s"
    )


def _min_match_rate(project_dir: Path) -> float:
    found = warehouse.project_vars(project_dir).get("min_match_rate")
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise UserError(
            f"the var min_match_rate in {project_dir / 'dbt_project.yml'} is {found!r}: "
            "write a number from 0 to 1"
        )
    return found


def require_writable(to: Path) -> None:
    """Raise UserError if `to` cannot be the page's file: better now than after the marts are read."""
    replaceable(to, "report.html")
    if not to.absolute().parent.is_dir():
        raise UserError(
            f"folder {to.absolute().parent} does not exist: make it, or name another file with --to"
        )
    if not os.access(to.absolute().parent, os.W_OK):
        raise UserError(f"no permission to write in {to.absolute().parent}: name another file with --to")


def write(to: Path, html: str) -> int:
    """Write the page and return its bytes; a run that is killed leaves the page that was there.

    Raises:
        UserError: the file cannot be written.
    """
    contents = html.encode()
    to = replaceable(to, "report.html")
    beside = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        beside.write_bytes(contents)
        beside.replace(to)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(f"cannot write {to}: {error.strerror or error}") from error
    return len(contents)
