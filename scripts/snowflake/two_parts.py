"""Logs in two parts: most files land early; then some are replaced and removed, and the others land late."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from scripts.errors import UserError
from scripts.s3 import FAILURES, client, explain

_SPLIT = 3
"""One file in so many lands late."""


def copy_early(sample: Path, landing: Path) -> list[Path]:
    """Copy most of the sample's files; return the paths of the others within it, which land late."""
    late = []
    for number, file in enumerate(sorted(path for path in sample.glob("*/*/**/*") if path.is_file())):
        path = file.relative_to(sample)
        if path.parts[0] == "truth":
            continue
        if number % _SPLIT == 0:
            late.append(path)
            continue
        (landing / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, landing / path)
    return late


def replace_and_remove(landing: Path) -> list[Path]:
    """Replace a landed file of each dataset and remove one of events; return those that are gone."""
    kinds = ("justai", "customerio", "pipelines")
    landed = {kind: sorted((landing / kind).glob("**/*.jsonl*")) for kind in kinds}
    for files in landed.values():
        # another file's lines: some are repeats, and the rows of the old content must go
        if files:
            shutil.copy(files[-1], files[len(files) // 2])
    gone = landed["customerio"][len(landed["customerio"]) // 3]
    gone.unlink()
    return [gone]


def add_late(sample: Path, late: list[Path], place: str) -> None:
    """Copy the late files to a folder or s3://bucket/prefix, in which they keep their paths.

    Raises:
        UserError: S3 refuses one.
    """
    if not place.startswith("s3://"):
        for path in late:
            (Path(place) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sample / path, Path(place) / path)
        return
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    store = client()
    for path in late:
        try:
            store.put_object(Bucket=bucket, Key=f"{prefix}/{path}", Body=(sample / path).read_bytes())
        except FAILURES as error:
            raise UserError(f"{place}/{path}: {explain(error)}") from error


def hour_of(path: Path) -> tuple[str, str]:
    """The beginning and the end of the hour that a file's folder names, as --backfill takes them."""
    hour = datetime.strptime("/".join(path.parent.parts[-4:]), "%Y/%m/%d/%H")
    return f"{hour:%Y-%m-%dT%H}", f"{hour + timedelta(hours=1):%Y-%m-%dT%H}"
