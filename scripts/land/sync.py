"""The tables of Customer.io's warehouse sync, and which one a file belongs to.

The vendor writes a Parquet file per table and export, `<table>_v<schema>_<workspace>_<sequence>.parquet`,
with the rows that changed since the export before. Its schema versions differ in columns. Column lists are
those of public loaders, because the vendor's page names the tables alone.
"""

import re
from dataclasses import dataclass

from scripts.land.exports import EXPORT
from scripts.land.records import Columns
from scripts.land.rules import Dataset
from scripts.land.sources import Location, SourceFile
from scripts.land.table_names import is_table

KNOWN_VERSIONS = (4, 5)
"""Schema versions whose columns are below: 4 as file names have it, 5 with the newer columns of metrics."""

_KINDS = {"int": "bigint", "text": "varchar", "time": "timestamp", "flag": "boolean"}


@dataclass(frozen=True)
class _Table:
    """A table of the sync: fields by kind, the fields that no row may lack, keys for models.

    `key`: what the vendor re-exports a row by. `moment`: the field that says when it happened, which has
    bounds as the time of an event has.
    """

    key: tuple[str, ...]
    ints: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    moment: str | None = None
    keys: tuple[str, ...] = ()


_TABLES = {
    "deliveries": _Table(
        key=("delivery_id",),
        ints=(
            *("campaign_id", "action_id", "newsletter_id", "content_id"),
            *("trigger_id", "transactional_message_id"),
        ),
        texts=("delivery_id", "internal_customer_id", "subject_id", "event_id", "delivery_type"),
        times=("created_at",),
        keys=("subject_id", "internal_customer_id"),
    ),
    "metrics": _Table(
        key=("event_id",),
        ints=("link_id",),
        texts=(
            *("event_id", "delivery_id", "metric", "reason", "link_url"),
            *("user_agent", "email_client", "inbox_domain", "inbox_provider", "mx_host"),
        ),
        times=("created_at",),
        flags=("proxied", "prefetched", "machine"),
        required=("delivery_id", "metric"),
        moment="created_at",
        keys=("delivery_id", "created_at"),
    ),
    "subjects": _Table(
        key=("subject_name",),
        ints=("campaign_id", "trigger_id"),
        texts=("subject_name", "internal_customer_id", "campaign_type", "event_id"),
        times=("created_at", "started_campaign_at"),
        keys=("internal_customer_id",),
    ),
    "outputs": _Table(
        key=("output_id",),
        ints=("action_id", "manual_segment_id", "split_test_index", "branch_index"),
        texts=("output_id", "subject_name", "output_type", "explanation", "delivery_id"),
        times=("delay_ends_at", "created_at"),
        flags=("draft", "link_tracked", "add_to_manual_segment"),
        keys=("subject_name", "delivery_id"),
    ),
    "people": _Table(
        key=("internal_customer_id",),
        texts=("internal_customer_id", "customer_id", "email_addr"),
        times=("created_at", "updated_at"),
        flags=("deleted", "suppressed"),
        keys=("customer_id",),
    ),
    "attributes": _Table(
        key=("internal_customer_id", "attribute_name", "timestamp"),
        texts=("internal_customer_id", "attribute_name", "attribute_value"),
        times=("timestamp",),
        moment="timestamp",
    ),
    "delivery_content": _Table(
        key=("delivery_id",),
        ints=("campaign_id", "action_id", "newsletter_id", "content_id"),
        texts=(
            *("delivery_id", "from", "reply_to", "bcc", "recipient", "subject", "body", "body_amp"),
            *("body_plain", "preheader", "url", "method", "headers", "type"),
        ),
    ),
    "campaigns": _Table(
        key=("campaign_id",),
        ints=("campaign_id", "version"),
        texts=("name", "topic_names"),
        times=("created_at", "updated_at"),
    ),
    "broadcasts": _Table(
        key=("broadcast_id",),
        ints=("broadcast_id",),
        texts=("name", "topic_names"),
        times=("created_at", "updated_at"),
    ),
}
# names of columns where the vendor's is a word of SQL
_RENAMED = {"from": "from_address"}
_SPELLINGS = {**{table: table for table in _TABLES}, "delivery_contents": "delivery_content"}

_VERSIONED = re.compile(r"(?P<table>.+?)_v(?P<version>\d+)(?:_(?P<rest>.*))?", re.DOTALL | re.IGNORECASE)
_PLAIN = re.compile(r"(?P<table>[a-z_]+?)(?:[-_.]\d.*)?", re.DOTALL | re.IGNORECASE)


def _dataset(table: str, spec: _Table) -> Dataset:
    fields = {
        **dict.fromkeys(("workspace_id", *spec.ints, "seq_num"), "int"),
        **dict.fromkeys(spec.texts, "text"),
        **dict.fromkeys(spec.times, "time"),
        **dict.fromkeys(spec.flags, "flag"),
    }
    typed = tuple((_RENAMED.get(field, field), kind, field) for field, kind in fields.items())
    required = tuple(dict.fromkeys((*spec.key, *spec.required, *filter(None, (spec.moment,)))))
    reasons = []
    for field in required:
        reasons += [(f"bad_{field}", f"u_{field}"), (f"missing_{field}", f"v_{field} is null")]
    if spec.moment:
        bounded = f"epoch_us(v_{spec.moment}) // 1000000 between $earliest and $latest - 1"
        reasons.append((f"{spec.moment}_out_of_bounds", f"not {bounded}"))
    return Dataset(
        name=f"customerio_{table}",
        columns=Columns(tuple(fields), tuple((field,) for field in required), versions),
        table=(
            *((column, _KINDS[kind], f"v_{column}") for column, kind, _ in typed),
            ("other", "json", "d_other"),
            ("schema_version", "bigint", "schema_version"),
            ("sequence", "bigint", "sequence"),
            ("content_hash", "bigint", "d_content_hash"),
        ),
        reasons=tuple(reasons),
        keys=(*spec.key, *spec.keys),
        typed=typed,
    )


def versions(uri: str) -> dict[str, int | None]:
    """The schema version and the sequence number in the name of a file or table, null where it has none."""
    found = _VERSIONED.fullmatch(_stem(uri))
    if not found:
        return {"schema_version": None, "sequence": None}
    # of <workspace>_<sequence>, not of a workspace alone
    sequence = re.search(r"_(\d+)$", found["rest"] or "")
    return {"schema_version": _int64(found["version"]), "sequence": _int64(sequence[1]) if sequence else None}


def _int64(digits: str) -> int | None:
    number = int(digits)
    return number if number < 2**63 else None


def _stem(uri: str) -> str:
    if is_table(uri):
        # of the part of a table, or of a table
        return re.split(r"[.:]", uri.partition("/")[0])[-1]
    return re.sub(r"(?:\.[A-Za-z]+)+$", "", uri.rpartition("/")[2])


def table_of(uri: str, root: str) -> Dataset | None:
    """The table that a file below `root` belongs to: by what its name begins with before `_v<digits>_`, else
    by a name that is a table's, else by the nearest folder that is. None: of no table that land reads.

    A table of a warehouse has no folders.
    """
    stem = _stem(uri).lower()
    if found := _VERSIONED.fullmatch(stem):
        return _BY_SPELLING.get(found["table"])
    if (found := _PLAIN.fullmatch(stem)) and found["table"] in _BY_SPELLING:
        return _BY_SPELLING[found["table"]]
    if is_table(uri):
        return None
    inside = uri.removeprefix(root).split("/")[:-1]
    folders = [folder.lower() for folder in (root.rpartition("/")[2], *inside)]
    return next((_BY_SPELLING[folder] for folder in reversed(folders) if folder in _BY_SPELLING), None)


def by_table(
    location: Location, files: list[SourceFile]
) -> tuple[dict[Dataset, list[SourceFile]], list[SourceFile]]:
    """The files of each table of the sync, and the others: of a table or a format that land does not read."""
    tables: dict[Dataset, list[SourceFile]] = {}
    others = []
    for file in files:
        dataset = table_of(file.uri, location.root)
        if dataset and file.format not in (None, EXPORT):
            tables.setdefault(dataset, []).append(file)
        else:
            others.append(file)
    return {dataset: tables[dataset] for dataset in SYNC if dataset in tables}, others


def unknown_versions(uris: list[str]) -> dict[int, list[str]]:
    """The files whose schema version is none of KNOWN_VERSIONS, by version."""
    found: dict[int, list[str]] = {}
    for uri in uris:
        version = versions(uri)["schema_version"]
        if version is not None and version not in KNOWN_VERSIONS:
            found.setdefault(version, []).append(uri)
    return dict(sorted(found.items()))


SYNC = tuple(_dataset(table, spec) for table, spec in _TABLES.items())
"""The datasets of the sync, one per table."""

_BY_SPELLING = {
    spelling: dataset
    for spelling, table in _SPELLINGS.items()
    for dataset in SYNC
    if dataset.name == f"customerio_{table}"
}
