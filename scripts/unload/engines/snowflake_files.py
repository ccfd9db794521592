"""The files that Snowflake says it wrote: checked at the place and read back before a manifest names them."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

from scripts.errors import UserError
from scripts.staging import staging_folder
from scripts.unload import encode
from scripts.unload.datasets import Dataset
from scripts.unload.engines.base import Work, arrive
from scripts.unload.manifest import DataFile, Partition, joined, partition_of, query_of
from scripts.unload.places.base import Changed, Found
from scripts.unload.publish import Contents


@dataclass(frozen=True)
class Written:
    """A file that Snowflake says it wrote: its key below the dataset's folder, and its rows."""

    key: str
    rows: int


def written_of(dataset: Dataset, answer: Sequence[Mapping[str, Any]]) -> list[Written]:
    """Return the files in the answer of a COPY with DETAILED_OUTPUT.

    Their names are paths, and the documentation does not say relative to what, so only their end is used.

    Raises:
        UserError: the answer has other columns.
    """
    depth = len(dataset.period.folders.split("/")) if dataset.period else 0
    try:
        return [
            Written("/".join(file["file_name"].split("/")[-1 - depth :]), int(file["row_count"]))
            for file in answer
        ]
    except KeyError as error:
        raise UserError(
            f"COPY INTO answered without {error.args[0]}, with {', '.join(answer[0])}: this copymart does "
            "not know the answer. The next run deletes what it wrote"
        ) from error


def checked(work: Work, chunk: Mapping[str, Contents], written: Sequence[Written]) -> dict[str, Found]:
    """Return the objects below the dataset's folder, by key; all that Snowflake says it wrote are among them.

    Raises:
        UserError: partitions have other rows than the warehouse, or a file is not at the place.
    """
    dataset, place = work.plan.dataset, work.place
    rows: Counter[str | None] = Counter()
    for file in written:
        rows[partition_of(dataset, file.key)] += file.rows
    expected = {name: held.rows for name, held in chunk.items()}
    if rows != expected:
        off = sorted(set(map(str, rows.items())) ^ set(map(str, expected.items())))[:3]
        raise UserError(
            f"{dataset.name}: the files that Snowflake wrote have other rows than the warehouse had (e.g. "
            f"{', '.join(off)}); they were deleted and none was published. Was there a `dbt build` meanwhile?"
            " Unload again when it is done; when it happens without, it is a fault of copymart"
        )
    folder = f"{dataset.name}/"
    there = {found.key.removeprefix(folder): found for found in place.list(folder)}
    for file in written:
        if file.key not in there:
            raise UserError(
                f"Snowflake says that it wrote {folder}{file.key}, and it is not at {place.uri}: does the "
                "stage lead to another server than --endpoint-url, or did somebody delete it?"
            )
    return there


def read_back(
    work: Work, chunk: Mapping[str, Contents], written: Sequence[Written], there: Mapping[str, Found]
) -> None:
    """Read every file as its readers will, and add the partitions to the publisher."""
    files: dict[str, list[Written]] = {name: [] for name in chunk}
    for file in sorted(written, key=lambda each: each.key):
        files[str(partition_of(work.plan.dataset, file.key))].append(file)
    with staging_folder(work.options.staging) as folder, ThreadPoolExecutor(work.options.concurrency) as pool:
        try:
            on_their_way = [
                pool.submit(_partition, name, held, files[name], there, work, folder)
                for name, held in chunk.items()
            ]
            for future in on_their_way:
                future.add_done_callback(lambda _: work.advance(1))
            arrive(on_their_way, work.publisher)
        finally:
            pool.shutdown(cancel_futures=True)


def _partition(
    name: str,
    held: Contents,
    files: Sequence[Written],
    there: Mapping[str, Found],
    work: Work,
    folder: Path,
) -> Partition:
    return Partition(
        name,
        held.rows,
        held.hash_sum,
        work.plan.shape,
        work.run.run_id,
        tuple(_data_file(file, there[file.key], work, folder) for file in files),
    )


def _data_file(file: Written, found: Found, work: Work, folder: Path) -> DataFile:
    where = joined(work.plan.dataset.name, file.key)
    uri = f"{work.place.uri}/{where}"
    path = folder / file.key.replace("/", "-")
    try:
        work.place.fetch(where, path)
    except Changed:
        raise UserError(
            f"{uri}, which Snowflake wrote, was deleted or replaced before it was read back: find out who "
            "writes there, then run the same command again"
        ) from None
    try:
        names = parquet.read_schema(path).names
        encoded = encode.described(path)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{uri}, which Snowflake wrote, cannot be read: {error}") from error
    expected = [name for name, _ in work.plan.columns]
    if names != expected or encoded.rows != file.rows:
        raise UserError(
            f"{uri}, which Snowflake wrote, has {encoded.rows:,} rows of the columns {', '.join(names)}; it "
            f"should have {file.rows:,} of {', '.join(expected)}. It was deleted; run the same command again"
        )
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    size = path.stat().st_size
    path.unlink()
    return DataFile(file.key, file.rows, size, sha256, found.etag, *encoded.times)


def delete_unpublished(work: Work, written: Sequence[Written]) -> None:
    """Delete what the queries of these files wrote, in any folder, except partitions already added."""
    publisher = work.publisher
    noted = {file.key for each in (*publisher.waiting, *publisher.outcome.written) for file in each.files}
    queries = {query_of(file.key.rpartition("/")[2]) for file in written} - {None}
    folder = f"{work.plan.dataset.name}/"
    work.place.delete(
        [
            found.key
            for found in work.place.list(folder)
            if query_of(found.key.rpartition("/")[2]) in queries
            and found.key.removeprefix(folder) not in noted
        ]
    )
