"""What a landing did."""

from collections import Counter
from dataclasses import dataclass, field

from scripts.land.rules import Dataset


@dataclass
class Outcome:
    """What one run did for one dataset.

    `landed` are its files that were landed. `unknown` maps a file to the fields in it that land ignored, or
    kept in `other`. `copies` are the files that were held back
    because the ledger has their content under another name, with that name. `held_back` are the files that
    are gone but whose rows a backfill did not remove, because a file was refused or held back. `forgotten`
    counts the rows and rejects of forgotten people, which got pseudonyms.
    """

    dataset: Dataset
    files: int = 0
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0
    replaced: int = 0
    removed: int = 0
    held_back: int = 0
    forgotten: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    landed: list[str] = field(default_factory=list)
    unknown: dict[str, set[str]] = field(default_factory=dict)
    seconds: float = 0.0
