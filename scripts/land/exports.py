"""copymart's own exports among the files to land: what they hold has landed before.

`<dataset>/_manifest.json` beside `<dataset>/_manifests/` is the sign of one (docs/s3.md). An export of whole
calls is the vendor's record, and lands when its folder is named.
"""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

EXPORT = "export"
"""Format of a listed manifest that stands for all files of its export."""

MANIFEST = "_manifest.json"
_RUNS = "_manifests"

Read = Callable[[str], bytes]
"""Gives the bytes of an address, or fails with OSError."""


def exports(addresses: list[str]) -> list[str]:
    """The folders of exports among the addresses of all files, hidden ones too."""
    with_runs = {address.rpartition(f"/{_RUNS}/")[0] for address in addresses if f"/{_RUNS}/" in address}
    return sorted(
        address.removesuffix(f"/{MANIFEST}")
        for address in addresses
        if address.endswith(f"/{MANIFEST}") and address.removesuffix(f"/{MANIFEST}") in with_runs
    )


def export_above(path: str) -> str | None:
    """The local folder, this one or one above it, that is an export."""
    folders = [Path(path), *Path(path).parents]
    return next((str(folder) for folder in folders if is_export(folder)), None)


def is_export(folder: Path) -> bool:
    """Whether a local folder is an export."""
    return (folder / MANIFEST).is_file() and (folder / _RUNS).is_dir()


def export_above_prefix(root: str, read: Read) -> str | None:
    """The folder above an s3:// prefix that is an export: a listing of the prefix does not show its manifest.

    An export's files lie at most five levels below it, in folders YYYY/MM/DD/HH.
    """
    parts = root.removeprefix("s3://").split("/")
    folders = ("s3://" + "/".join(parts[:count]) for count in range(len(parts) - 1, 1, -1))
    return next((folder for folder in islice(folders, 5) if "manifest_version" in _said(folder, read)), None)


def holds_whole_calls(folder: str, read: Read) -> bool:
    """Whether an export holds whole calls."""
    said = _said(folder, read)
    return (said.get("dataset"), said.get("layout")) == ("calls", "full")


def _said(folder: str, read: Read) -> dict[str, Any]:
    """What the manifest of a folder says; nothing if it has none."""
    try:
        said = json.loads(read(f"{folder}/{MANIFEST}"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def read_local(path: str) -> bytes:
    """The bytes of a local file."""
    return Path(path).read_bytes()
