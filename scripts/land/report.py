"""What a landing prints: what it removes, would do, and did."""

from collections import Counter

from rich.table import Table
from rich.text import Text

from scripts.console import console, error_console, listed
from scripts.land.plan import Plan, same_etag
from scripts.land.sources import Refused, SourceFile, open_file, printable
from scripts.land.transaction import Outcome

MOST_LINES = 10
_NAMED = "see staging.landed_files.unknown_fields"


def print_removals(plan: Plan) -> None:
    if plan.removed:
        console.print(
            f"{plan.dataset.name}: {len(plan.removed)} file(s) are gone, their rows will be removed:"
        )
        for uri in plan.removed:
            console.print(Text(f"  {uri}"), soft_wrap=True)


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
    summary = ", ".join(f"{action} {counts[action]}" for action in ("land", "replace", "refuse"))
    console.print(
        f"{plan.dataset.name}: would {summary}, remove {len(plan.removed)} file(s), "
        f"{counts['unchanged']} unchanged; nothing was changed"
    )


def _intention(plan: Plan, file: SourceFile) -> str:
    """What a landing would do with a file; this reads only a local file that landed before."""
    known = plan.known.get(file.uri)
    if file.format is None or (known and not file.etag):
        opened = open_file(file)
        opened.stream.close()
        return "unchanged" if known and known.digest == opened.digest else "replace"
    if not known:
        return "land"
    return "unchanged" if same_etag(plan, file) else "replace"


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
    for line in unknown_notes(outcome.unknown):
        console.print(Text(line), soft_wrap=True)
    if outcome.held_back:
        console.print(
            f"{outcome.dataset.name}: the rows of {outcome.held_back} file(s) that are gone were "
            "not removed, because a file was refused: fix it and run again",
            soft_wrap=True,
        )
    for uri, reason in outcome.refused:
        _print_refused(uri, reason)


def unknown_notes(unknown: dict[str, set[str]]) -> list[str]:
    """Lines that name the fields land ignored, from a mapping of file to fields: at most MOST_LINES.

    One line stands for all files with the same set of fields, the set of most files first.
    """
    files: dict[tuple[str, ...], list[str]] = {}
    for uri, names in sorted(unknown.items()):
        files.setdefault(tuple(sorted(names)), []).append(uri)
    ordered = sorted(files.items(), key=lambda item: (-len(item[1]), item[1][0]))
    whole = len(ordered) if len(ordered) <= MOST_LINES else MOST_LINES - 1
    notes = [
        f"ignored unknown field(s) {listed(list(names))} in "
        + (f"{len(uris):,} files, the first {uris[0]}; {_NAMED}" if len(uris) > 1 else uris[0])
        for names, uris in ordered[:whole]
    ]
    if rest := ordered[whole:]:
        others = sorted({name for names, _ in rest for name in names})
        count = sum(len(uris) for _, uris in rest)
        notes.append(f"ignored unknown field(s) {listed(others)} in {count:,} more files; {_NAMED}")
    return notes


def _print_refused(uri: str, reason: str) -> None:
    error_console.print(Text.assemble(("refused: ", "red"), f"{printable(uri)}: {reason}"), soft_wrap=True)
