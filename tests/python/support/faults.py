"""A small warehouse in two states, and what a reader finds of it at a place on S3."""

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as parquet
from botocore.exceptions import ClientError

PREFIX = "out"
DATASET = "calls"
FIRST = 1_767_268_800  # 2026-01-01 12:00 UTC
COLUMNS = (
    *("event_timestamp", "user_id", "campaign_id", "action_id", "journey_id", "copy_id"),
    *("template_id", "vars", "attrs"),
)
PROFILE = """
copymart:
  target: duckdb
  outputs:
    duckdb: {{type: duckdb, path: '{file}', schema: main, threads: 1}}
"""
TABLES = """
create schema marts;
create schema intermediate;
create schema staging;
create table staging.consumed_batches (model varchar, batch_id varchar);
create table marts.fct_calls (
    event_timestamp bigint, user_id varchar, campaign_id bigint, action_id bigint, journey_id varchar,
    copy_id varchar, template_id varchar, vars varchar, attrs varchar);
create view intermediate.int_partition_contents as
select 'calls' as dataset, date_trunc('hour', make_timestamp(event_timestamp * 1000000)) as partition_hour,
    count(*) as row_count, cast(sum(md5_number_lower(to_json(calls)::varchar)) as decimal(38, 0)) as hash_sum
from marts.fct_calls as calls group by all;
"""

Row = tuple[Any, ...]
# Rows of each hour, by its folder; an hour without rows is not in it.
Hours = dict[str, tuple[Row, ...]]


@dataclass(frozen=True)
class World:
    """A warehouse with calls only, the folder of its project and profile, and the rows it holds."""

    folder: Path
    hours: Hours


def hour(number: int) -> str:
    """Return the folder of an hour, counted from the first."""
    days, hours = divmod(12 + number, 24)
    return f"2026/01/{1 + days:02d}/{hours:02d}"


def calls(number: int, rows: int, text: str = "", bytes_each: int = 20) -> tuple[Row, ...]:
    """Return the calls of an hour; another text makes other rows. Their attrs cannot be compressed much."""

    def noise(row: int) -> str:
        seed = f"{number}/{row}/{text}".encode()
        return hashlib.shake_256(seed).hexdigest(bytes_each // 2)

    start = FIRST + 3600 * number
    subject = f'{{"subject":"{text}"}}'
    return tuple(
        (start + row, f"u{row}", 7, 41, f"j{number}-{row}", "c", "t", subject, f'{{"noise":"{noise(row)}"}}')
        for row in range(rows)
    )


def make_world(folder: Path, rows_of: dict[int, tuple[Row, ...]]) -> World:
    """Make a warehouse that holds these calls, by number of the hour."""
    folder.mkdir()
    file = folder / "test.duckdb"
    (folder / "dbt_project.yml").write_text("name: copymart\nprofile: copymart\n")
    (folder / "profiles.yml").write_text(PROFILE.format(file=file))
    with duckdb.connect(str(file)) as connection:
        connection.execute(TABLES)
        rows = [list(row) for rows in rows_of.values() for row in rows]
        connection.execute(
            "insert into marts.fct_calls select unnest(x[1])::bigint, unnest(x[2]), 7, 41, unnest(x[3]), "
            "'c', 't', unnest(x[4]), unnest(x[5]) from (select ? as x)",
            [[[str(row[at]) for row in rows] for at in (0, 1, 4, 7, 8)]],
        )
    return World(folder, {hour(number): rows for number, rows in rows_of.items()})


def arguments(world: World, bucket: str, endpoint: str, *more: str) -> tuple[str, ...]:
    """Return the command line of an unload of this warehouse, one file at a time."""
    return (
        *("unload", "--dataset", DATASET, "--to", f"s3://{bucket}/{PREFIX}", "--endpoint-url", endpoint),
        *("--project-dir", str(world.folder), "--profiles-dir", str(world.folder)),
        *more,
    )


def rows_of(body: bytes) -> tuple[Row, ...]:
    """Return the rows of a Parquet file, in the order of their times."""
    table = parquet.read_table(io.BytesIO(body))
    assert tuple(table.column_names) == COLUMNS
    return tuple(sorted((tuple(row.values()) for row in table.to_pylist()), key=lambda row: row[:5]))


class Gone(Exception):
    """An object that a manifest names is not there; a reader reads the manifest again."""


class Place:
    """A reader of one bucket; of `objects` alone, the bodies by key, where those are given."""

    def __init__(self, client: Any, bucket: str, objects: dict[str, bytes] | None = None) -> None:
        self.client, self.bucket, self.objects = client, bucket, objects
        self.folder = f"{PREFIX}/{DATASET}/"

    def as_it_is(self) -> "Place":
        """Return the place as it is now, read once; nobody may be writing there."""
        return Place(self.client, self.bucket, {key: self.get(key) for key in self.listed()})

    def get(self, key: str) -> bytes:
        """Return an object's body.

        Raises:
            Gone: it is not there.
        """
        if self.objects is not None:
            if key not in self.objects:
                raise Gone(key)
            return self.objects[key]
        try:
            return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                raise Gone(key) from error
            raise

    def listed(self) -> list[str]:
        """Return all keys."""
        if self.objects is not None:
            return list(self.objects)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def manifest(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self.get(f"{self.folder}_manifest.json")))
        except Gone:
            return None

    def files(self, manifest: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
        """Return the files that a manifest names, by partition."""
        return {each["partition"]: each["files"] for each in (manifest or {"partitions": ()})["partitions"]}

    def partition(self, files: Iterable[dict[str, Any]]) -> tuple[Row, ...]:
        """Read the rows of a partition's files.

        Raises:
            Gone: one of them is not there.
        """
        rows = [row for each in files for row in rows_of(self.get(self.folder + each["key"]))]
        return tuple(sorted(rows, key=lambda row: row[:5]))

    def by_manifest(self) -> Hours:
        """Return all rows as a reader finds them who follows the manifest."""
        return {name: self.partition(files) for name, files in self.files(self.manifest()).items()}

    def by_listing(self) -> Hours:
        """Return all rows as a reader finds them who lists the prefix."""
        found = defaultdict(list)
        for key in self.listed():
            if key.endswith(".parquet"):
                partition = key.removeprefix(self.folder).rpartition("/")[0]
                found[partition] += rows_of(self.get(key))
        return {name: tuple(sorted(rows, key=lambda row: row[:5])) for name, rows in found.items()}


def require_right(place: Place, world: World) -> None:
    """Require that exactly the warehouse lies at the place, and nothing beside it."""
    place = place.as_it_is()
    assert place.by_manifest() == world.hours
    assert place.by_listing() == world.hours
    manifest = place.manifest()
    files = {file["key"]: file for each in place.files(manifest).values() for file in each}
    for key, file in files.items():
        body = place.get(place.folder + key)
        assert (file["bytes"], file["sha256"]) == (len(body), hashlib.sha256(body).hexdigest()), key
    named = {place.folder + key for key in files}
    others = [key for key in place.listed() if key not in named]
    ours = re.compile(rf"{place.folder}(_manifest\.json|_manifests/[0-9TZ]+-[0-9a-f]+\.json)")
    assert [key for key in others if not ours.fullmatch(key)] == []
    uploads = place.client.list_multipart_uploads(Bucket=place.bucket).get("Uploads", [])
    assert [each["Key"] for each in uploads] == []


def require_whole_hours(place: Place, before: World | None, after: World) -> None:
    """Require that a reader who follows the manifest as it is now finds each hour all old or all new."""
    found = place.by_manifest()
    old = before.hours if before else {}
    for name in {*found, *old, *after.hours}:
        assert found.get(name, ()) in (old.get(name, ()), after.hours.get(name, ())), name


def require_whole_hours_or_gone(place: Place, earlier: dict[str, Any], before: World, after: World) -> None:
    """Require of a reader who holds an earlier manifest that an hour he finds whole is all old or all new."""
    for name, files in place.files(earlier).items():
        try:
            found = place.partition(files)
        except Gone:
            continue
        assert found in (before.hours[name], after.hours.get(name, ())), name


def copy_objects(client: Any, source: str, target: str) -> None:
    """Make a bucket that holds what another one does."""
    client.create_bucket(Bucket=target)
    for each in client.list_objects_v2(Bucket=source).get("Contents", ()):
        client.copy_object(Bucket=target, Key=each["Key"], CopySource={"Bucket": source, "Key": each["Key"]})


def let_lease_run_out(client: Any, bucket: str) -> None:
    """Make the lock of a run that is dead a lock that has run out."""
    key = f"{PREFIX}/_lock"
    if key in Place(client, bucket).listed():
        lock = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        client.put_object(Bucket=bucket, Key=key, Body=json.dumps(lock | {"lease_seconds": -60}).encode())


def verify_arguments(world: World, bucket: str, endpoint: str) -> tuple[str, ...]:
    """Return the command line that compares every row at the place with this warehouse."""
    return (
        *("verify", f"s3://{bucket}/{PREFIX}", "--deep", "--endpoint-url", endpoint),
        *("--project-dir", str(world.folder), "--profiles-dir", str(world.folder)),
    )
