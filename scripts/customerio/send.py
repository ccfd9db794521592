"""copymart send: the requests that dbt built go to Customer.io."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scripts import warehouse
from scripts.console import WHAT, console
from scripts.customerio.outbound import ledger, requests
from scripts.customerio.outbound.ledger import REQUESTS, Warehouse, Where
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
from scripts.errors import UserError

MOST_MEMORY = 400
"""MiB for the plan's joins, which spill beyond them: Python has the rest of a GiB."""

EXAMPLES = """
copymart send --dry-run
copymart send --region eu
copymart send --actions create_or_update_person,track_event \\
    --since 2026-11-01
"""


def send(
    actions: Annotated[
        str | None,
        typer.Option(
            help="Which actions to send, with commas between, such as create_or_update_person.",
            show_default="all",
            rich_help_panel=WHAT,
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Send what happened from here on (UTC), now and in later runs.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            show_default="the first run of each action",
            rich_help_panel=WHAT,
        ),
    ] = None,
    resend: Annotated[
        bool,
        typer.Option(
            "--resend",
            help="Also send what was acknowledged or refused before, such as after a change of settings.",
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
    region: RegionOption = Region.US,
    api_url: ApiUrl = None,
    rate: Rate = DEFAULT_RATE,
    spool: Spool = DEFAULT_SPOOL,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Send the requests of the model outbound_requests to Customer.io, in their order, each once.

    The environment variables CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY have the credentials of the
    Track API. What Customer.io acknowledged is in staging.outbound_acknowledgements and is not sent again,
    whatever changes in the warehouse. An action sends nothing that happened before its first run, unless
    --since says so.

    Killed at any moment and run again, nothing is lost: what was acknowledged comes into the ledger, and
    what was in flight is counted and sent again. The plan is printed first, with what is held back and why.

    \f
    Raises:
        UserError: an option, the key or the warehouse cannot be used, or Customer.io takes nothing.
    """
    wanted = _actions(actions)
    if since and since > utc_now():
        raise UserError(
            f"--since {since:%Y-%m-%dT%H:%M:%S} is later than now (UTC): what happens before then would be "
            "sent by no run"
        )
    where = Where(project_dir, profiles_dir, target)
    run = Run("send", spool / "send", where, REQUESTS)
    if dry_run:
        with ledger.opened(where, "send", read_only=True, most_memory=MOST_MEMORY) as there:
            found, _ = requests.starts(there, wanted, since, utc_now())
            wish = requests.Wish(found, resend)
            show_plan(requests.counts(there, wish))
            _show_samples(requests.samples(there, wish))
        leftovers(run)
        return
    way = Way(region.value, api_url, rate, *credentials())
    with began(run):
        now = utc_now()
        with ledger.opened(where, "send", most_memory=MOST_MEMORY) as there:
            run_id = new_run_id(there, run, now)
            count = _planned(there, run, run_id, wanted, since, now, resend)
        deliver(run, run_id, count, way)


def _planned(
    there: Warehouse,
    run: Run,
    run_id: str,
    wanted: tuple[str, ...],
    since: datetime | None,
    now: datetime,
    resend: bool,
) -> int:
    """Show the plan and write it to this machine's disk, so that the warehouse is free while it is sent."""
    found, new = requests.starts(there, wanted, since, now)
    wish = requests.Wish(found, resend)
    counts = requests.counts(there, wish)
    show_plan(counts)
    requests.keep_starts(there, new, run_id)
    if not any(verdict == requests.SEND for _, verdict, _ in counts):
        return 0
    return spooled(run, run_id, requests.planned(there, wish))


def _actions(text: str | None) -> tuple[str, ...]:
    if text is None:
        return requests.ACTIONS
    found = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    unknown = [name for name in found if name not in requests.ACTIONS]
    if unknown or not found:
        raise UserError(
            f"--actions {text!r}: {f'{unknown[0]} is no action' if unknown else 'it is empty'}; choose of "
            f"{', '.join(requests.ACTIONS)}"
        )
    return found


def show_plan(counts: list[tuple[str, str, int]]) -> None:
    """Show how many requests of each action are sent, and why others are not."""
    by_action: dict[str, Counter[str]] = {}
    for action, verdict, count in counts:
        by_action.setdefault(action, Counter())[verdict] += count
    table = Table(title="Requests", title_justify="left")
    for heading in ("action", "to send", "sent before", "held back"):
        table.add_column(heading, justify="left" if heading in ("action", "held back") else "right")
    for action, verdicts in sorted(by_action.items()):
        before = verdicts.pop(requests.ACKNOWLEDGED, 0) + (changed := verdicts.pop(requests.CHANGED, 0))
        to_send = verdicts.pop(requests.SEND, 0)
        why = [f"{reason} {count:,}" for reason, count in verdicts.most_common()]
        if changed:
            why.append(f"(sent before with other content: {changed:,})")
        table.add_row(action, f"{to_send:,}", f"{before:,}", ", ".join(why))
    console.print(table if by_action else "there are no requests of these actions")


def _show_samples(samples: list[tuple[str, str]]) -> None:
    for action, text in samples:
        console.print(f"{action}: {outline(text)}", soft_wrap=True)
