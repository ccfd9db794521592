"""What a landing prints: what it removes, would do, and did."""

from collections import Counter

from rich.table import Table
from rich.text import Text

from scripts.console import console, error_console, listed
from scripts.land.engine import Move
from scripts.land.exports import EXPORT
from scripts.land.opening import open_file
from scripts.land.outcome import Outcome
from scripts.land.plan import Plan, same_etag
from scripts.land.rules import Dataset
from scripts.land.sources import Refused, SourceFile, printable
from scripts.land.sync import SYNC, unknown_versions

MOST_LINES = 10
_NAMED = "see staging.landed_files.unknown_fields"


def print_removals(plan: Plan) -> None:
    if plan.removed:
        console.print(
            f"{plan.dataset.name}: {len(plan.removed)} file(s) are gone, their rows will be removed:"
        )
        for uri in plan.removed:
            console.print(Text(f"  {uri}"), soft_wrap=True)


def print_moves(moves: dict[Dataset, list[Move]], dry_run: bool) -> None:
    for dataset, files in moves.items():
        old, new, _ = files[0]
        does = (
            "would be renamed in the ledger; nothing was changed" if dry_run else "are renamed in the ledger"
        )
        console.print(f"{dataset.name}: {len(files):,} file(s) {does}, the first:")
        console.print(Text(f"  {printable(old)}\n  {printable(new)}"), soft_wrap=True)


def print_dry_run(plan: Plan) -> None:
    counts: Counter[str] = Counter()
    for file in plan.files:
        try:
            action = _intention(plan, file)
        except Refused as refusal:
            action = "refuse"
            _print_refused(file.uri, str(refusal))
        counts[action] += 1
        if action in ("land", "replace"):
            console.print(Text(f"would {action} {file.uri}"), soft_wrap=True)
    summary = ", ".join(f"{action} {counts[action]}" for action in ("land", "replace", "hold back", "refuse"))
    console.print(
        f"{plan.dataset.name}: would {summary}, remove {len(plan.removed)} file(s), "
        f"{counts['unchanged']} unchanged; nothing was changed"
    )


def _intention(plan: Plan, file: SourceFile) -> str:
    """What a landing would do with a file: by its ETag on S3, by the hash of its bytes on this machine."""
    known = plan.known.get(file.uri)
    if file.etag and file.format not in (None, EXPORT):
        digest = file.etag
        same = same_etag(plan, file)
    else:
        opened = open_file(file)
        opened.stream.close()
        digest = opened.digest
        same = bool(known and known.digest == digest)
    if same:
        return "unchanged"
    if other := plan.other_name(file, digest):
        _print_copies([(file.uri, other)])
        return "hold back"
    plan.take(file, digest)
    return "replace" if known else "land"


def print_left_out(files: list[SourceFile]) -> None:
    """Name the files below a sync that are of no table, or no format, that land reads."""
    for file in files[:MOST_LINES]:
        console.print(Text(f"left out: {printable(file.uri)}"), soft_wrap=True)
    if len(files) > MOST_LINES:
        console.print(f"left out: {len(files) - MOST_LINES:,} more such files", soft_wrap=True)
    if files:
        tables = ", ".join(dataset.name.removeprefix("customerio_") for dataset in SYNC)
        console.print(f"  not Parquet of a table of the sync that land reads: {tables}", soft_wrap=True)


def print_outcomes(outcomes: list[Outcome]) -> None:
    table = Table("data set", box=None, padding=(0, 2, 0, 0))
    counts = ("files", "rows", "rejected", "unchanged", "replaced", "removed", "refused", "seconds", "rows/s")
    for column in counts:
        table.add_column(column, justify="right")
    for outcome in outcomes:
        numbers = (
            *(outcome.files, outcome.rows, outcome.rejected.total(), outcome.unchanged, outcome.replaced),
            *(outcome.removed, len(outcome.refused)),
        )
        rate = outcome.rows / outcome.seconds if outcome.seconds else 0
        table.add_row(
            outcome.dataset.name,
            *(f"{number:,}" for number in numbers),
            f"{outcome.seconds:.1f}",
            f"{rate:,.0f}",
        )
    console.print(table, width=max(console.width, 110), no_wrap=True)
    for outcome in outcomes:
        _print_notes(outcome)


def _print_notes(outcome: Outcome) -> None:
    if outcome.rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in outcome.rejected.most_common())
        console.print(f"{outcome.dataset.name} rejected: {reasons}", soft_wrap=True)
        console.print(f"  see: select * from staging.{outcome.dataset.name}_rejects", soft_wrap=True)
    if outcome.forgotten:
        console.print(
            f"{outcome.dataset.name}: {outcome.forgotten:,} row(s) and reject(s) are of forgotten "
            "people and got pseudonyms",
            soft_wrap=True,
        )
    what = "kept in the column other:" if outcome.dataset.typed else "ignored unknown field(s)"
    for line in unknown_notes(outcome.unknown, what):
        console.print(Text(line), soft_wrap=True)
    for version, uris in (unknown_versions(outcome.landed) if outcome.dataset.typed else {}).items():
        console.print(
            Text(
                f"{outcome.dataset.name}: {len(uris):,} file(s) have schema version {version}, which this "
                f"copymart does not know; they landed by the names of their columns; the first is {uris[0]}"
            ),
            soft_wrap=True,
        )
    if outcome.held_back:
        console.print(
            f"{outcome.dataset.name}: the rows of {outcome.held_back} file(s) that are gone were "
            "not removed, because a file was refused or held back: see below, and run again",
            soft_wrap=True,
        )
    for uri, reason in outcome.refused:
        _print_refused(uri, reason)
    _print_copies(outcome.copies)


def unknown_notes(unknown: dict[str, set[str]], what: str = "ignored unknown field(s)") -> list[str]:
    """Lines that name the fields land ignored or kept aside, from a mapping of file to fields.

    There are at most MOST_LINES. One line stands for all files with the same set of fields, the set of most
    files first.
    """
    files: dict[tuple[str, ...], list[str]] = {}
    for uri, names in sorted(unknown.items()):
        files.setdefault(tuple(sorted(names)), []).append(uri)
    ordered = sorted(files.items(), key=lambda item: (-len(item[1]), item[1][0]))
    whole = len(ordered) if len(ordered) <= MOST_LINES else MOST_LINES - 1
    notes = [
        f"{what} {listed(list(names))} in "
        + (f"{len(uris):,} files, the first {uris[0]}; {_NAMED}" if len(uris) > 1 else uris[0])
        for names, uris in ordered[:whole]
    ]
    if rest := ordered[whole:]:
        others = sorted({name for names, _ in rest for name in names})
        count = sum(len(uris) for _, uris in rest)
        notes.append(f"{what} {listed(others)} in {count:,} more files; {_NAMED}")
    return notes


def _print_copies(copies: list[tuple[str, str]]) -> None:
    """Name the files that were held back because their content has landed under another name."""
    for uri, other in copies[:MOST_LINES]:
        error_console.print(
            Text.assemble(("held back: ", "red"), f"{printable(uri)} has the content of {printable(other)}"),
            soft_wrap=True,
        )
    if len(copies) > MOST_LINES:
        error_console.print(f"held back: {len(copies) - MOST_LINES:,} more such files", soft_wrap=True)
    if copies:
        error_console.print(
            "  its rows would be there twice: if the file or its folder moved, "
            "`copymart land --moved OLD NEW` renames it; --copies lands it all the same",
            soft_wrap=True,
        )


def _print_refused(uri: str, reason: str) -> None:
    error_console.print(Text.assemble(("refused: ", "red"), f"{printable(uri)}: {reason}"), soft_wrap=True)
