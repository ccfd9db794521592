"""copymart suggest-actions: rows for template_actions.csv, from what messages followed JustAI's calls.

JustAI logs the id of the webhook action that called it, and Customer.io's events carry the id of the message
action behind it. Which of them belong together shows in the next message of the same journey, and in the
actions themselves where `copymart extract` has read them.
"""

import csv
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from scripts import warehouse
from scripts.answers import answers
from scripts.console import WHAT, console, listed
from scripts.customerio.action_map import Action, Calls, Claim, claims
from scripts.errors import UserError

COLUMNS = ("template_id", "campaign_id", "role", "action_id")
SEED = "template_actions.csv"

_QUERY = """
    select template_id, campaign_id, webhook_action_id, message_action_id, delivery_count, followed_count
    from {audit}.audit_suggested_actions
"""

# Only actions that call JustAI or write an answer of it: bodies are long.
_TEXTS = ("url", "subject", "preheader", "body")
_ACTIONS = """
    select campaign_id, action_id, url, subject, preheader, body
    from {staging}.stg_customerio_api__actions
    where
        campaign_id is not null
        and action_id is not null
        and (
            url like '%/api/generate%' or url like '%/api/batch-generate%'
            or subject like '%jw%' or preheader like '%jw%' or body like '%jw%'
        )
"""
_CALLS = """
    select template_id, campaign_id, action_id, count(*) as delivery_count
    from {marts}.fct_deliveries
    where campaign_id is not null and action_id is not null
    group by template_id, campaign_id, action_id
"""
_HAS_ACTIONS = """
    select count(*) as view_count
    from information_schema.tables
    where upper(table_schema) = upper('{staging}') and upper(table_name) = 'STG_CUSTOMERIO_API__ACTIONS'
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
    """A row that the file lacks, with what speaks for it and how much of what is known agrees, 0 to 1."""

    row: Row
    because: str
    share: float


def suggest_actions(
    min_share: Annotated[
        float,
        typer.Option(
            help="Least share of the deliveries followed by a message in which it was this action's, or of "
            "what else is known of an action. A journey that goes on by two ways has two message actions, "
            "each with a part.",
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
            help="Add the rows with that share to template_actions.csv; rows that are there stay as they "
            "are.",
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
    row, and the actions of a control arm look like any other messages: those are yours to name. What the file
    names as control is not suggested as a message.

    After `copymart extract --what campaigns,actions`, it also reads what the actions say: a webhook to JustAI
    and the messages that write its answer (`jw_<template>`) belong together. Their rows show before anything
    was sent, with the share of calls and messages that agree once there are some.

    After --write, `dbt build` matches history by the new rows.

    \f
    Raises:
        UserError: the warehouse lacks the view, or the file cannot be read or written.
    """
    seed = project_dir / (os.environ.get("COPYMART_SEEDS") or "seeds") / SEED
    there = rows_of(seed)
    known = read(project_dir, profiles_dir, target)
    pairs = [pair for pair in known if pair.deliveries >= min_deliveries]
    by_data = suggestions((pair for pair in pairs if pair.share >= min_share), there)
    said, calls = read_claims(project_dir, profiles_dir, target, known)
    kept = [*there, *(suggestion.row for suggestion in by_data)]
    found = [*by_data, *suggested_by_actions(said, calls, kept, there)]
    if not found:
        console.print(f"{seed} has all that {len(pairs)} pairs of actions and {len(said)} actions suggest")
        return
    console.print(_table(found, min_share))
    sure = [suggestion.row for suggestion in found if suggestion.share >= min_share]
    if not sure:
        console.print(f"none of them has a share of {min_share * 100:g}%")
    elif write:
        console.print(f"added {add(seed, sure)} rows to {seed}: run `dbt build`")
    else:
        console.print(f"--write adds these {len(sure)} rows to {seed}")


def read(project_dir: Path, profiles_dir: Path | None, target: str | None) -> list[Pair]:
    """Read the pairs of actions from the profile's warehouse.

    Raises:
        UserError: it cannot be opened, or lacks the view.
    """
    with answers(project_dir, profiles_dir, target, "suggest-actions") as answer:
        return named_pairs(answer(_QUERY).to_pylist())


def named_pairs(rows: Iterable[dict[str, Any]]) -> list[Pair]:
    """The pairs in the rows of the view, with templates as the file can name them."""
    named = ({**row, "template_id": _loaded(row["template_id"])} for row in rows)
    # a call without a campaign says nothing that those with one do not
    return sorted(
        Pair(*row.values()) for row in named if row["campaign_id"] is not None and row["template_id"]
    )


def read_claims(
    project_dir: Path, profiles_dir: Path | None, target: str | None, pairs: list[Pair]
) -> tuple[list[Claim], Calls]:
    """What the actions of campaigns say, and which actions calls carry; nothing where none were extracted.

    Raises:
        UserError: the profile's warehouse cannot be opened, or lacks a table.
    """
    calls: dict[tuple[str, int], Counter[int]] = {}
    with answers(project_dir, profiles_dir, target, "suggest-actions") as answer:
        if not answer(_HAS_ACTIONS).to_pylist()[0]["view_count"]:
            return [], calls
        actions = [
            Action(row["campaign_id"], row["action_id"], *(row[name] or "" for name in _TEXTS))
            for row in answer(_ACTIONS).to_pylist()
        ]
        for row in answer(_CALLS).to_pylist() if actions else ():
            if template := _loaded(row["template_id"]):
                of_template = calls.setdefault((template, row["campaign_id"]), Counter())
                of_template[row["action_id"]] += row["delivery_count"]
    followed = {
        (pair.template_id, pair.campaign_id, pair.webhook_action_id, pair.message_action_id): (
            pair.deliveries,
            pair.followed,
        )
        for pair in pairs
    }
    return claims(actions, calls, followed), calls


def suggested_by_actions(
    said: list[Claim], calls: Calls, kept: list[Row], there: list[Row]
) -> list[Suggestion]:
    """The rows that actions speak for and that are not kept, by the owner (`there`) or by what the data say.

    The first webhook row of a template shuts out all actions that no webhook row names, so it must not leave
    out an action that calls carry.
    """
    found: list[Suggestion] = []
    for claim in said:
        row = Row(claim.template_id, str(claim.campaign_id), claim.role, str(claim.action_id))
        covered = any(_covers(other, row) for other in (*kept, *(suggestion.row for suggestion in found)))
        if covered or _narrows(row, there) or _is_control(claim.campaign_id, claim.action_id, there):
            continue
        lost = _shut_out(row, said, calls, kept)
        if lost:
            because = f"{claim.because}; but calls carry {listed(lost)}, which it would shut out"
            found.append(Suggestion(row, because, 0.0))
        else:
            found.append(Suggestion(row, claim.because, claim.share))
    return found


def _shut_out(row: Row, said: list[Claim], calls: Calls, kept: list[Row]) -> list[str]:
    """The actions that calls of the template carry and that no webhook row would name."""
    of_template = [other for other in kept if (other.template_id, other.role) == (row.template_id, "webhook")]
    if row.role != "webhook" or of_template:
        return []
    named = {
        (claim.campaign_id, claim.action_id)
        for claim in said
        if (claim.template_id, claim.role) == (row.template_id, "webhook")
    }
    return [
        f"{action} in campaign {campaign}"
        for (template, campaign), actions in sorted(calls.items())
        for action in sorted(actions)
        if template == row.template_id and (campaign, action) not in named
    ]


def suggestions(pairs: Iterable[Pair], there: list[Row]) -> list[Suggestion]:
    """The rows that the pairs speak for and the file lacks."""
    kept = list(there)
    found: list[Suggestion] = []
    for pair in sorted(pairs, key=lambda pair: (pair.template_id, pair.campaign_id, -pair.deliveries)):
        if _is_control(pair.campaign_id, pair.message_action_id, there):
            continue
        for role, action in (("webhook", pair.webhook_action_id), ("message", pair.message_action_id)):
            row = Row(pair.template_id, str(pair.campaign_id), role, str(action))
            if not any(_covers(other, row) for other in kept) and not _narrows(row, there):
                kept.append(row)
                found.append(Suggestion(row, _because(pair), pair.share))
    return found


def _because(pair: Pair) -> str:
    # rounded down: 29.96% must not show as the 30% that it is below
    return (
        f"{pair.message_action_id} came next after {pair.deliveries:,} of {pair.followed:,} calls of "
        f"{pair.webhook_action_id} ({pair.deliveries * 1000 // pair.followed / 10:g}%)"
    )


def _narrows(row: Row, there: list[Row]) -> bool:
    """Whether a row would narrow what the owner wanted.

    Without webhook rows a template accepts every action that is logged, so a template whose owner named only
    message actions gets no webhook row.
    """
    roles = {other.role for other in there if other.template_id == row.template_id}
    return row.role == "webhook" and bool(roles) and "webhook" not in roles


def _is_control(campaign_id: int, action_id: int, there: list[Row]) -> bool:
    """Whether the owner says that an action sends no copy of JustAI, whose messages would count as copies."""
    return any(
        (other.role, other.action_id) == ("control", str(action_id))
        and other.campaign_id in ("", str(campaign_id))
        for other in there
    )


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
    _, rows = _parsed(seed, _contents(seed))
    return rows


def _contents(seed: Path) -> bytes:
    try:
        return seed.read_bytes()
    except FileNotFoundError as error:
        if not seed.parent.is_dir():
            raise UserError(
                f"the folder {seed.parent} does not exist: make it with a copy of each file in seeds, or let "
                "COPYMART_SEEDS name another folder of the project"
            ) from error
        raise UserError(
            f"{seed} cannot be read: there is no such file. Make it with the line {','.join(COLUMNS)}"
        ) from error
    except OSError as error:
        raise UserError(f"{seed} cannot be read: {error.strerror or error}") from error


def _parsed(seed: Path, contents: bytes) -> tuple[list[str], list[Row]]:
    """The names of the file's columns in lower case, and its rows.

    Raises:
        UserError: it is no CSV in UTF-8, or lacks a column.
    """
    try:
        lines = csv.reader(io.StringIO(contents.decode("utf-8-sig"), newline=""))
        header = [name.strip().lower() for name in next(lines, [])]
        values = [dict(zip(header, line, strict=False)) for line in lines if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{seed} cannot be read: {error}. Save it as CSV in UTF-8") from error
    lacking = [name for name in COLUMNS if name not in header]
    if lacking:
        raise UserError(f"{seed} lacks the columns {', '.join(lacking)}: line 1 names {', '.join(header)}")
    return header, [_row(line) for line in values]


def _row(line: dict[str, str]) -> Row:
    """A row as loading reads it: trimmed, `null` is empty, and of numbers 007 and 7.0 are 7."""
    plain = {name: _loaded(line.get(name)) for name in COLUMNS}
    for name in ("campaign_id", "action_id"):
        if found := re.fullmatch(r"(-?)0*(\d+)(?:\.0*)?", plain[name], re.ASCII):
            plain[name] = f"{found[1]}{found[2]}"
    return Row(**plain)


def _loaded(text: str | None) -> str:
    plain = (text or "").strip()
    return "" if plain.lower() == "null" else plain


def add(seed: Path, rows: list[Row]) -> int:
    """Append rows to the file, in the order of its columns, and return how many it did not have.

    What is there stays byte for byte, and the file keeps its rights.

    Raises:
        UserError: the file cannot be read or written.
    """
    # the file itself where the name is a link to it
    seed = seed.resolve()
    old = _contents(seed)
    header, there = _parsed(seed, old)
    # another run may have written since the rows were looked for
    new = [row for row in rows if not any(_covers(other, row) for other in there)]
    line_end = "\r\n" if b"\r\n" in old else "\n"
    written = io.StringIO()
    writer = csv.DictWriter(written, header, restval="", lineterminator=line_end)
    writer.writerows(vars(row) for row in new)
    gap = "" if old.endswith(b"\n") else line_end
    contents = old + (gap + written.getvalue()).encode()
    if len(_parsed(seed, contents)[1]) != len(there) + len(new):
        raise UserError(
            f'{seed} has a value that begins with " and does not end with one, which would take in what is '
            "added: close it"
        )
    if new:
        _replace(seed, old, contents)
    return len(new)


def _replace(seed: Path, old: bytes, contents: bytes) -> None:
    """Replace the file, whole or not at all."""
    beside = seed.with_name(f".{seed.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(seed, beside)
        if seed.read_bytes() != old:
            raise UserError(f"{seed} was changed meanwhile: run the command again")
        beside.replace(seed)
    except OSError as error:
        raise UserError(f"cannot write {seed}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _table(found: list[Suggestion], min_share: float) -> Table:
    table = Table(title=f"Rows that {SEED} lacks", title_justify="left")
    for heading in (*COLUMNS, "because"):
        table.add_column(heading, no_wrap=heading != "because")
    for suggestion in found:
        row = suggestion.row
        unsure = "" if suggestion.share >= min_share else f" — not added: below {min_share * 100:g}%"
        table.add_row(
            *(row.template_id, row.campaign_id, row.role, row.action_id), f"{suggestion.because}{unsure}"
        )
    return table
