"""People by an export of Customer.io: one job, polled until it is done, and its file."""

import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.customerio.app_api import Api, download, one, path_of
from scripts.customerio.records import text_of
from scripts.errors import UserError
from scripts.staging import staging_folder

EVERYBODY = {"attribute": {"field": "cio_id", "operator": "exists"}}
"""Everyone has a cio_id; a filter by id would leave out those known by their address alone."""

_LONGEST_PAUSE = 30.0
_LONGEST_JOB = 6 * 3_600
_LINKS = 3
_LONGEST_VALUE = 128 * 2**20


def exported_people(
    api: Api, filters: dict[str, Any] | None, attributes: tuple[str, ...]
) -> Iterator[dict[str, str]]:
    """Yield the people of an export: the values that are not empty. No attributes means all of them.

    Raises:
        UserError: the job fails, or its file holds fewer people than it says.
    """
    body: dict[str, Any] = {"filters": filters or EVERYBODY}
    if attributes:
        # the key of a person must be among the columns
        body["attributes"] = list(dict.fromkeys(("cio_id", *attributes)))
    export = _export(one(api, path_of("exports", "customers"), body))
    number = export.get("id")
    total = _finished(api, number)
    count = 0
    try:
        with staging_folder() as folder:
            file = folder / "people.csv"
            for _ in range(_LINKS):
                link = one(api, path_of("exports", number, "download")).get("url")
                if isinstance(link, str) and download(api, link, file):
                    break
            else:
                raise UserError(f"the links of export {number} had expired: run the command again")
            for person in _people_of(file):
                count += 1
                yield person
    except OSError as error:
        raise UserError(
            f"export {number} cannot be kept among the temporary files: {error.strerror or error}. Free some "
            "room, or name another folder with TMPDIR, and run the command again"
        ) from error
    if count < total:
        raise UserError(
            f"export {number} has {total:,} people and its file {count:,}: run the command again; nobody was "
            "taken for gone"
        )


def _finished(api: Api, number: Any) -> int:
    """Wait for the job; return how many people it has."""
    pause, until = api.pause, time.monotonic() + _LONGEST_JOB
    while True:
        export = _export(one(api, path_of("exports", number)))
        status = export.get("status")
        if status == "done":
            total = text_of(export, "total") or ""
            if not total.isdecimal():
                raise UserError(
                    f"export {number} does not say how many people it has, so that a file that is cut off "
                    "would not show: the API has changed; nobody was landed"
                )
            return int(total)
        if status == "failed" or export.get("failed") is True:
            raise UserError(
                f"export {number} failed at Customer.io: run the command again, or narrow the filter"
            )
        if time.monotonic() > until:
            raise UserError(f"export {number} is still {status}: run the command again later")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _export(body: dict[str, Any]) -> dict[str, Any]:
    export = body.get("export")
    if not isinstance(export, dict) or export.get("id") is None:
        raise UserError("Customer.io answered without an export: the API has changed")
    return export


def _people_of(file: Path) -> Iterator[dict[str, str]]:
    limit = csv.field_size_limit(_LONGEST_VALUE)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            if not {"cio_id", "id", "email"} & set(reader.fieldnames or ()):
                raise UserError("no column of the export's file names a person: the API has changed")
            for line in reader:
                yield {name: value for name, value in line.items() if name and value}
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the export's file is no CSV in UTF-8 ({error}): the API has changed") from error
    finally:
        # it is one for all of the process
        csv.field_size_limit(limit)
