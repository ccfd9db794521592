"""copymart suggest-actions: rows for template_actions.csv, from what messages followed JustAI's calls.

JustAI logs the id of the webhook action that called it, and Customer.io's events carry the id of the message
action behind it. Which of them belong together stands nowhere, but the next message of the same journey
shows it.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scripts import warehouse
from scripts.answers import answers
from scripts.console import WHAT, console
from scripts.errors import UserError

COLUMNS = ("template_id", "campaign_id", "role", "action_id")
SEED = "template_actions.csv"

_QUERY = """
    select template_id, campaign_id, webhook_action_id, message_action_id, delivery_count, followed_count
    from {audit}.audit_suggested_actions
"""

EXAMPLES = """
copymart suggest-actions
copymart suggest-actions --min-share 0.8 --write
"""


@dataclass(frozen=True, order=True)
class Pair:
    """A message action that followed calls of a webhook action.

    `deliveries` of the webhook action were followed by this message action first, of `followed` that were
    followed by any message.
    """

    template_id: str
    campaign_id: int
    webhook_action_id: int
    message_action_id: int
    deliveries: int
    followed: int

    @property
    def share(self) -> float:
        """How many of the deliveries that a message followed agree, 0 to 1."""
        return self.deliveries / self.followed


@dataclass(frozen=True)
class Row:
    """A row of template_actions.csv; an empty campaign holds for all."""

    template_id: str
    campaign_id: str
    role: str
    action_id: str


@dataclass(frozen=True)
class Suggestion:
    """A row that the file lacks, with the pair that speaks for it."""

    row: Row
    pair: Pair


def suggest_actions(
    min_share: Annotated[
        float,
        typer.Option(
            help="Least share of the deliveries followed by a message in which it was this action's. A "
            "journey that goes on by two ways has two message actions, each with a part.",
            min=0,
            max=1,
            rich_help_panel=WHAT,
        ),
    ] = 0.3,
    min_deliveries: Annotated[
        int, typer.Option(help="Least number of such deliveries.", min=1, rich_help_panel=WHAT)
    ] = 10,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Add the suggested rows to template_actions.csv; rows that are there stay as they are.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Suggest rows for template_actions.csv: which message action follows which webhook action.

    Reads the deliveries and messages that `dbt build` made. A call's message is the first one of the same
    journey after it and before the next call. Templates whose calls carry the message's own action need no
    row, and the actions of a control arm look like any other messages: those are yours to name.

    After --write, `dbt build` matches history by the new rows.

    \f
    Raises:
        UserError: the warehouse lacks the view, or the file cannot be read or written.
    """
    seed = project_dir / os.environ.get("COPYMART_SEEDS", "seeds") / SEED
    there = rows_of(seed)
    pairs = [pair for pair in read(project_dir, profiles_dir, target) if pair.deliveries >= min_deliveries]
    found = suggestions((pair for pair in pairs if pair.share >= min_share), there)
    if not found:
        console.print(f"{seed} has all that {len(pairs)} pairs of actions suggest")
        return
    console.print(_table(found))
    if write:
        add(seed, [suggestion.row for suggestion in found])
        console.print(f"added {len(found)} rows to {seed}: run `dbt build`")
    else:
        console.print(f"--write adds these {len(found)} rows to {seed}")


def read(project_dir: Path, profiles_dir: Path | None, target: str | None) -> list[Pair]:
    """Read the pairs of actions from the profile's warehouse.

    Raises:
        UserError: it cannot be opened, or lacks the view.
    """
    with answers(project_dir, profiles_dir, target, "suggest-actions") as answer:
        rows = answer(_QUERY).to_pylist()
    # a call without a campaign says nothing that those with one do not
    return sorted(Pair(*row.values()) for row in rows if row["campaign_id"] is not None)


def suggestions(pairs: Iterable[Pair], there: list[Row]) -> list[Suggestion]:
    """The rows that the pairs speak for and the file lacks.

    Without webhook rows a template accepts every action that is logged, so a template whose owner named only
    message actions gets no webhook row: it would narrow what the owner wanted.
    """
    named = {row.template_id for row in there}
    narrowed = {row.template_id for row in there if row.role == "webhook"}
    kept = list(there)
    found: list[Suggestion] = []
    for pair in sorted(pairs, key=lambda pair: (pair.template_id, pair.campaign_id, -pair.deliveries)):
        for role, action in (("webhook", pair.webhook_action_id), ("message", pair.message_action_id)):
            if role == "webhook" and pair.template_id in named - narrowed:
                continue
            row = Row(pair.template_id, str(pair.campaign_id), role, str(action))
            if not any(_covers(other, row) for other in kept):
                kept.append(row)
                found.append(Suggestion(row, pair))
    return found


def _covers(other: Row, row: Row) -> bool:
    return (other.template_id, other.role, other.action_id) == (
        row.template_id,
        row.role,
        row.action_id,
    ) and other.campaign_id in ("", row.campaign_id)


def rows_of(seed: Path) -> list[Row]:
    """The rows of the owner's file.

    Raises:
        UserError: it cannot be read, or lacks a column.
    """
    return [Row(*(_plain(line.get(name)) for name in COLUMNS)) for line in csv.DictReader(_lines(seed))]


def _plain(value: str | None) -> str:
    """A value as loading reads it: trimmed, `null` is empty, 1010.0 is 1010."""
    text = (value or "").strip()
    return "" if text.lower() == "null" else re.sub(r"(?<=\d)\.0+$", "", text)


def _lines(seed: Path) -> Iterator[str]:
    """The file's lines, with names of columns in lower case."""
    try:
        text = seed.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{seed} cannot be read: {error}. Save it as CSV in UTF-8") from error
    lines = io.StringIO(text, newline="")
    header = [name.strip().lower() for name in next(csv.reader(lines), [])]
    lacking = [name for name in COLUMNS if name not in header]
    if lacking:
        raise UserError(f"{seed} lacks the columns {', '.join(lacking)}: line 1 names {', '.join(header)}")
    yield ",".join(header) + "\n"
    yield from lines


def add(seed: Path, rows: list[Row]) -> None:
    """Append rows to the file, in the order of its columns; what is there stays byte for byte.

    Raises:
        UserError: the file cannot be written.
    """
    header = csv.DictReader(_lines(seed)).fieldnames or COLUMNS
    old = seed.read_bytes()
    line_end = "\r\n" if b"\r\n" in old else "\n"
    written = io.StringIO()
    writer = csv.DictWriter(written, header, restval="", lineterminator=line_end)
    writer.writerows(dict(zip(COLUMNS, vars(row).values(), strict=True)) for row in rows)
    gap = "" if old.endswith(b"\n") else line_end
    beside = seed.with_name(f".{seed.name}.{os.getpid()}")
    try:
        beside.write_bytes(old + (gap + written.getvalue()).encode())
        beside.replace(seed)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(f"cannot write {seed}: {error.strerror or error}") from error


def _table(found: list[Suggestion]) -> Table:
    table = Table(title=f"Rows that {SEED} lacks", title_justify="left")
    for heading in (*COLUMNS, "because"):
        table.add_column(heading, no_wrap=heading != "because")
    for suggestion in found:
        row, pair = suggestion.row, suggestion.pair
        table.add_row(
            *(row.template_id, row.campaign_id, row.role, row.action_id),
            f"{pair.message_action_id} came next after {pair.deliveries:,} of {pair.followed:,} calls of "
            f"{pair.webhook_action_id} ({pair.share:.0%})",
        )
    return table
