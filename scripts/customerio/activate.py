"""copymart activate: the members of an audience go to Customer.io."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from scripts import warehouse
from scripts.console import WHAT, WHERE_TO, console, listed
from scripts.customerio.outbound import audiences, ledger
from scripts.customerio.outbound.audiences import Tally, Wish
from scripts.customerio.outbound.ledger import MEMBERS, Where
from scripts.customerio.outbound.options import (
    DEFAULT_RATE,
    DEFAULT_SPOOL,
    ApiUrl,
    Rate,
    Region,
    RegionOption,
    Spool,
)
from scripts.customerio.outbound.run import (
    Run,
    Way,
    began,
    credentials,
    deliver,
    leftovers,
    new_run_id,
    spooled,
    utc_now,
)
from scripts.customerio.outbound.samples import outline
from scripts.customerio.outbound.spool import Item
from scripts.errors import UserError
from scripts.files import replaceable

CUSTOMERIO = "customerio"
SAMPLES = 10

EXAMPLES = """
copymart activate winning_copy --dry-run
copymart activate winning_copy --region eu
copymart activate winning_copy --existing --to members.jsonl
"""


def activate(
    audience: Annotated[str, typer.Argument(help="Name of a model in models/audiences.", show_default=False)],
    existing: Annotated[
        bool,
        typer.Option(
            "--existing",
            help="Also send members whose last acknowledged state is the present one.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    create: Annotated[
        bool,
        typer.Option(
            "--create",
            help="Let Customer.io create people that it does not know. Without it, requests carry `_update`, "
            "which asks it not to.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Let all members leave where the audience names nobody any more.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the plan, with samples that show no values, and send nothing.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    to: Annotated[
        str,
        typer.Option(
            help="`customerio`, or a file for the requests as JSON lines, which counts as sent to nobody.",
            rich_help_panel=WHERE_TO,
        ),
    ] = CUSTOMERIO,
    region: RegionOption = Region.US,
    api_url: ApiUrl = None,
    rate: Rate = DEFAULT_RATE,
    spool: Spool = DEFAULT_SPOOL,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Send Customer.io the people who entered an audience, changed in it and left it.

    An audience is a model with a column id or email; its other columns become attributes, and
    copymart_AUDIENCE is true for members and false for those who left. Members are compared with the last
    state that Customer.io acknowledged, in staging.audience_acknowledgements.

    The environment variables CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY have the credentials of the
    Track API. Killed at any moment and run again, nothing is lost.

    \f
    Raises:
        UserError: an option, the key, the audience or the warehouse cannot be used, or Customer.io takes
            nothing.
    """
    wish = Wish(audiences.name_of(audience), existing, create, allow_empty)
    where = Where(project_dir, profiles_dir, target)
    run = Run("activate", spool / f"activate-{audience}", where, MEMBERS)
    if dry_run or to != CUSTOMERIO:
        _only_planned(where, wish, None if dry_run else replaceable(to, "members.jsonl"))
        leftovers(run)
        return
    way = Way(region.value, api_url, rate, *credentials())
    with began(run):
        tally = Tally()
        with ledger.opened(where, "activate") as there:
            run_id = new_run_id(there, run, utc_now())
            count = spooled(run, run_id, audiences.planned(there, wish, tally))
        _show(wish, tally)
        deliver(run, run_id, count, way)


def _only_planned(where: Where, wish: Wish, file: Path | None) -> None:
    """Show the plan, or write it to a file; the ledger stays as it is."""
    tally, samples = Tally(), list[str]()

    def noted() -> Iterator[str]:
        for item in items:
            if len(samples) < SAMPLES:
                samples.append(item.text)
            yield item.text

    with ledger.opened(where, "activate", read_only=True) as there:
        items: Iterator[Item] = audiences.planned(there, wish, tally)
        count = _written(file, noted()) if file else sum(1 for _ in noted())
    _show(wish, tally)
    if file:
        console.print(f"wrote {count:,} requests to {file}; Customer.io was sent nothing", soft_wrap=True)
        return
    for text in samples:
        console.print(outline(text), soft_wrap=True)


def _written(file: Path, texts: Iterator[str]) -> int:
    """Write the lines of a file, whole or not at all; return how many."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    count = 0
    try:
        with open(
            beside, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
        ) as lines:
            for text in texts:
                lines.write(text + "\n")
                count += 1
        beside.replace(file)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return count


def _show(wish: Wish, tally: Tally) -> None:
    sent = ", ".join(f"{what} {count:,}" for what, count in tally.sent.most_common()) or "nobody"
    console.print(f"{wish.audience}: to send {sent}; unchanged {tally.unchanged:,}", soft_wrap=True)
    if tally.held_back:
        why = listed([f"{reason} {count:,}" for reason, count in tally.held_back.most_common()])
        console.print(f"held back {tally.held_back.total():,}: {why}", soft_wrap=True)
