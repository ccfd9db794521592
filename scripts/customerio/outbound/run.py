"""A run of `copymart send` or `copymart activate`, from the plan to the ledger."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from scripts.console import console, listed, progress
from scripts.customerio.credentials import credential
from scripts.customerio.outbound import ledger
from scripts.customerio.outbound.ledger import Table, Warehouse, Where
from scripts.customerio.outbound.outcomes import UNANSWERED
from scripts.customerio.outbound.pace import Pace
from scripts.customerio.outbound.sending import Totals, send_all
from scripts.customerio.outbound.spool import (
    RUN_TIME,
    Answered,
    Item,
    Journal,
    forget,
    left_over,
    locked,
    read_plan,
    write_plan,
)
from scripts.errors import UserError

SITE_ID, API_KEY = "CUSTOMERIO_SITE_ID", "CUSTOMERIO_TRACK_API_KEY"
BACKOFF = 1.0
"""Seconds before the first retry."""


@dataclass(frozen=True)
class Way:
    """How it goes out: region of the workspace, another address than the region's, requests per second."""

    region: str
    api_url: str | None
    rate: float
    site_id: str
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Run:
    """A run: its verb, the folder of plan and journal, the warehouse, and the ledger's table."""

    verb: str
    folder: Path
    where: Where
    table: Table


def credentials() -> tuple[str, str]:
    """The Track API's credentials.

    Raises:
        UserError: one is not set, or is none.
    """
    where = "Customer.io shows the Site ID and Track API key of a workspace under its API credentials"
    return credential(SITE_ID, where), credential(API_KEY, where)


def new_run_id(there: Warehouse, run: Run, now: datetime) -> str:
    """An id by which runs sort in their order, also where this clock is behind that of the last run."""
    if (last := ledger.last_run(there, run.table)) is not None:
        with suppress(ValueError):
            now = max(now, datetime.strptime(last.partition("-")[0], RUN_TIME) + timedelta(microseconds=1))
    return f"{now:{RUN_TIME}}-{secrets.token_hex(4)}"


@contextmanager
def began(run: Run) -> Iterator[None]:
    """Hold the spool for one run, and first bring what a killed one left into the ledger.

    Raises:
        UserError: another run holds it, the ledger cannot be written, or it is that of another warehouse.
    """
    # one lock for all verbs: two at once would not keep the order of one person's requests
    with locked(run.folder.parent, run.folder.name):
        run.folder.mkdir(exist_ok=True, mode=0o700)
        _recover(run)
        yield


def _recover(run: Run) -> None:
    found = left_over(run.folder)
    if found is None:
        forget(run.folder)
        return
    if found.source not in ("", str(run.where)):
        raise UserError(
            f"{run.folder} keeps what a run left that did not end. It sent from {found.source}; this is "
            f"{run.where}. Run the command there first, whose ledger lacks the answers, or name another "
            "--spool"
        )
    answers = {answer.number: answer for answer in found.answers}
    if run.table is ledger.MEMBERS:
        # a member is compared with what Customer.io holds, which is not known of these
        at = utc_now().isoformat(sep=" ")
        answers |= {number: Answered(number, UNANSWERED, None, at) for number in found.in_flight}
    if answers:
        rows = [(item, answers[item.number]) for item in read_plan(run.folder) if item.number in answers]
        with ledger.opened(run.where, run.verb) as there:
            ledger.write(there, run.table, found.run_id, rows)
    console.print(_said_of_the_last(len(found.answers), found.unanswered), soft_wrap=True)
    forget(run.folder)


def _said_of_the_last(answers: int, unanswered: int) -> str:
    said = "the last run did not end"
    if answers:
        said += f"; {answers:,} of its answers came into the ledger only now"
    if unanswered:
        return (
            f"{said}; {unanswered:,} requests were in flight: whether Customer.io took them is not known. "
            "They count as not sent, unless an earlier run had sent them"
        )
    return f"{said}; nothing was in flight"


def leftovers(run: Run) -> None:
    """For a plan that changes nothing: say what a killed run left."""
    found = left_over(run.folder)
    if found is not None:
        console.print(
            f"the last run did not end: {len(found.answers):,} of its answers are not in the ledger yet, and "
            f"{found.unanswered:,} requests were in flight. The next run begins with them; this plan does "
            "not know them",
            soft_wrap=True,
        )


def spooled(run: Run, run_id: str, items: Iterator[Item]) -> int:
    """Write the plan to this machine's disk; return how many items it has."""
    return write_plan(run.folder, run_id, items, str(run.where))


def deliver(run: Run, run_id: str, count: int, way: Way) -> None:
    """Send the plan that is spooled, and say what came of it.

    Raises:
        UserError: Customer.io takes nothing more, or the ledger cannot be written.
    """
    if not count:
        forget(run.folder)
        return
    # imported here because it takes a quarter of a second, which --help should not
    from scripts.customerio.outbound.track import Track

    pace = Pace(way.rate, BACKOFF)
    journal = Journal(run.folder)
    with ExitStack() as stack, progress(f"{run.verb}", count) as advance:
        lock = Lock()
        stack.callback(journal.close)

        def open_sender() -> Track:
            track = Track(way.region, way.site_id, way.api_key, way.api_url)
            with lock:
                stack.callback(track.close)
            return track

        pace.sent(open_sender().check)
        totals = send_all(read_plan(run.folder), open_sender, pace, journal, _writer(run, run_id), advance)
    _say(totals)
    if totals.unwritten:
        raise UserError(
            f"{totals.unwritten}. Customer.io acknowledged what the ledger lacks; {run.folder} keeps it: run "
            "the command again, which writes it first"
        )
    forget(run.folder)


def _writer(run: Run, run_id: str) -> Callable[[list[tuple[Item, Answered]]], None]:
    def write(answers: list[tuple[Item, Answered]]) -> None:
        with ledger.opened(run.where, run.verb) as there:
            ledger.write(there, run.table, run_id, answers)

    return write


def _say(totals: Totals) -> None:
    console.print(f"acknowledged {totals.acknowledged:,} in {totals.requests:,} HTTP requests")
    if totals.refused:
        why = listed([f"{reason} {count:,}" for reason, count in totals.refused.most_common()])
        console.print(
            f"refused {totals.refused.total():,}: {why}. The ledger has Customer.io's words; they are sent "
            "again when their content changes"
        )


def utc_now() -> datetime:
    """This moment, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)
