"""copymart verify: compare a place with its manifests and the warehouse."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated

import fastavro
import pyarrow
import pyarrow.parquet as parquet
import typer
from rich.table import Table

from scripts import s3, warehouse
from scripts.console import WHAT, console, progress
from scripts.errors import UserError
from scripts.staging import staging_folder
from scripts.unload.contents import contents_of, require_relations
from scripts.unload.datasets import (
    DATASETS,
    EVERYTHING,
    SCHEMA_VERSION,
    Dataset,
    Format,
    Layout,
    chosen_datasets,
)
from scripts.unload.engines.base import Engine
from scripts.unload.engines.open import open_engine
from scripts.unload.failures import explained
from scripts.unload.manifest import (
    MANIFEST,
    DataFile,
    Partition,
    Shape,
    State,
    joined,
    read_state,
    shape_of,
    sums_compare,
)
from scripts.unload.places.base import Changed, Place
from scripts.unload.places.open import open_place
from scripts.unload.publish import Contents, unfinished
from scripts.unload.rows import row_differences

# How often a dataset is compared while runs change it.
_TIMES = 3
_AGAIN = "Nothing was changed; fix the cause and run the same command again"


@dataclass(frozen=True)
class Difference:
    """Something that is not as it should be; `where` is a key below the place."""

    where: str
    what: str


EXAMPLES = """
copymart verify export
copymart verify s3://acme/export --deep \\
    --role-arn arn:aws:iam::123456789012:role/unloader
"""


def verify(
    place_uri: Annotated[
        str,
        typer.Argument(metavar="PLACE", help="Folder or `s3://bucket/prefix` that was unloaded to."),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(f'`{name}`' for name in DATASETS)}; may be repeated.",
            show_default="those that have a folder there",
            rich_help_panel=WHAT,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Compare every row with the warehouse, not only counts and hash sums.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    with_warehouse: Annotated[
        bool,
        typer.Option("--warehouse/--no-warehouse", help="Compare with the warehouse.", rich_help_panel=WHAT),
    ] = True,
    concurrency: Annotated[
        int, typer.Option(min=1, max=32, help="Objects read at once.", rich_help_panel=WHAT)
    ] = 8,
    role_arn: s3.RoleArn = None,
    external_id: s3.ExternalId = None,
    session_name: s3.SessionName = None,
    endpoint_url: s3.EndpointUrl = None,
    region: s3.Region = None,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Read an unload back and compare it with its manifests and the warehouse.

    Checks that each object exists with its bytes, SHA-256 and rows; that no file of data and no unfinished
    upload lacks a manifest entry; and that columns, rows and hash sum of each partition equal the
    warehouse's. A difference to the warehouse may only mean that it was built since the last unload. Says so
    if an unload was writing there meanwhile. Changes nothing.

    Exit status 1 when anything differs.

    \f
    Raises:
        UserError: PLACE cannot be read, nothing was unloaded there, or the warehouse cannot be used.
    """
    if deep and not with_warehouse:
        raise UserError("--deep compares with the warehouse: leave out --no-warehouse")
    place = open_place(
        place_uri, "PLACE", lambda: s3.client(role_arn, external_id, endpoint_url, region, session_name)
    )
    scratch = Path(tempfile.gettempdir())
    room = "make room, or set TMPDIR to another folder"
    with (
        explained("read", place.uri, scratch, room, _AGAIN),
        _warehouse(with_warehouse, project_dir, profiles_dir, target) as engine,
    ):
        states = _states(place, chosen_datasets(dataset), named=bool(dataset))
        table = Table("dataset")
        for name in ("partitions", "objects", "rows", "bytes", "differences"):
            table.add_column(name, justify="right")
        differences: list[Difference] = []
        writers: list[str] = []
        for each, before in states:
            state, found, writer = _settled(place, each, before, engine, deep, concurrency)
            writers += [writer] if writer else []
            partitions = state.manifest.partitions.values() if state.manifest else ()
            files = [file for partition in partitions for file in partition.files]
            counts = (len(partitions), len(files), sum(file.rows for file in files))
            sizes = (sum(file.bytes for file in files), len(found))
            table.add_row(each.name, *(f"{count:,}" for count in (*counts, *sizes)))
            differences += found
    console.print(table)
    if not differences:
        console.print(
            f"{place.uri} is as its manifests say{' and as the warehouse' if with_warehouse else ''}"
        )
        return
    wrong = Table("where", "what is wrong")
    for difference in differences:
        wrong.add_row(difference.where, difference.what)
    console.print(wrong)
    if not writers:
        console.print(
            f"copymart unload --to {place.uri} writes again what is damaged or behind and deletes what no "
            "manifest names; what it keeps, --backfill with --start and --end writes again. Files that are "
            "not copymart's are yours to delete",
            soft_wrap=True,
        )
    for writer in dict.fromkeys(writers):
        console.print(
            f"{writer} was writing to {place.uri} meanwhile: what differs may be its work. Verify again when "
            "it has ended",
            soft_wrap=True,
        )
    raise typer.Exit(1)


@contextmanager
def _warehouse(
    wanted: bool, project_dir: Path, profiles_dir: Path | None, target: str | None
) -> Iterator[Engine | None]:
    if not wanted:
        yield None
        return
    engine = open_engine(project_dir, profiles_dir, target)
    try:
        yield engine
    finally:
        engine.close()


def _states(place: Place, chosen: list[Dataset], named: bool) -> list[tuple[Dataset, State]]:
    states = [(each, read_state(place, each)) for each in chosen]
    there = [(each, state) for each, state in states if named or state.was_written]
    if not there:
        raise UserError(f"{place.uri} holds no dataset: is it what `copymart unload --to` was given?")
    return there


def _settled(
    place: Place, dataset: Dataset, state: State, engine: Engine | None, deep: bool, concurrency: int
) -> tuple[State, list[Difference], str | None]:
    """Compare, and again if a run changed the place meanwhile.

    Also return who still writes there while something differs.
    """
    for _ in range(_TIMES):
        found = _differences(place, dataset, state, engine, deep, concurrency)
        if not found:
            return state, found, None
        # asked first: what a run did that has ended by now, the state shows
        writer = place.writer()
        now = read_state(place, dataset)
        if now == state:
            return state, found, writer
        state = now
    return state, found, writer or "a run that has ended"


def _differences(
    place: Place,
    dataset: Dataset,
    state: State,
    engine: Engine | None,
    deep: bool,
    concurrency: int,
) -> list[Difference]:
    manifest_key = joined(dataset.name, MANIFEST)
    if state.manifest is None:
        what = "is missing" if state.etag is None else "cannot be read; unload all of it again"
        return [Difference(manifest_key, what)]
    if engine is not None:
        require_relations(engine, [dataset])
    partitions = list(state.manifest.partitions.values())
    known = [*partitions, *state.manifest.expired.values()]
    shapes = _shapes(engine, dataset, known) if engine else {}
    # the types of two engines' files differ anyway
    changed = {
        each.partition
        for each in partitions
        if engine and each.shape != shapes[each.partition] and each.shape.engine == engine.name
    }
    found = _against_listing(place, dataset, state, partitions)
    found += _against_files(dataset, partitions)
    if changed:
        text = (
            f"{len(changed):,} partitions have other columns or another schema version than the warehouse "
            f"(e.g. {min(changed) or dataset.name}): unload all of it again"
        )
        found.append(Difference(manifest_key, text))
    with (
        staging_folder() as scratch,
        ThreadPoolExecutor(concurrency) as pool,
        progress(f"verify {dataset.name}", len(partitions)) as advance,
    ):

        def check(partition: Partition) -> tuple[Path, list[Difference]]:
            folder = Path(tempfile.mkdtemp(dir=scratch))
            wrong = []
            for number, file in enumerate(partition.files):
                if file.key in state.objects:
                    path = folder / f"{number}.{partition.shape.format}"
                    try:
                        place.fetch(joined(dataset.name, file.key), path)
                    except Changed:
                        what = "was deleted or replaced while it was read"
                        wrong.append(Difference(joined(dataset.name, file.key), what))
                        continue
                    wrong += _against_manifest(dataset, file, path)
                    if not deep:
                        path.unlink()
            return folder, wrong

        # a few at once, to need little disk
        every = iter(partitions)
        while some := list(islice(every, concurrency)):
            for partition, (folder, wrong) in zip(some, pool.map(check, some), strict=True):
                found += wrong
                paths = sorted(folder.iterdir())
                whole = paths and not wrong and len(paths) == len(partition.files)
                if deep and engine and whole and partition.partition not in changed:
                    where = joined(dataset.name, partition.partition)
                    texts = row_differences(engine, dataset, partition, paths)
                    found += [Difference(where, text) for text in texts]
                shutil.rmtree(folder)
                advance(1)
    if state.manifest.expired:
        console.print(f"{dataset.name}: {len(state.manifest.expired):,} partitions have expired there")
    if engine is not None:
        found += _against_contents(dataset, known, contents_of(engine, dataset, EVERYTHING), shapes)
    return found


def _shapes(engine: Engine, dataset: Dataset, partitions: Iterable[Partition]) -> dict[str, Shape]:
    """Return the shape in which an unload of the same layout and format would write each partition now."""

    @cache
    def now(layout: Layout, format: Format) -> Shape:
        columns = engine.describe(engine.dialect.whole(dataset, layout))
        return shape_of(dataset, layout, format, columns, SCHEMA_VERSION, engine.name)

    return {each.partition: now(Layout(each.shape.layout), Format(each.shape.format)) for each in partitions}


def _against_files(dataset: Dataset, partitions: Iterable[Partition]) -> list[Difference]:
    return [
        Difference(
            joined(dataset.name, each.partition),
            f"has {each.rows:,} rows, its files have {each.file_rows:,}, both by the manifest",
        )
        for each in partitions
        if each.file_rows != each.rows
    ]


def _against_listing(
    place: Place, dataset: Dataset, state: State, partitions: Iterable[Partition]
) -> list[Difference]:
    named = {file.key for partition in partitions for file in partition.files}
    found = [
        Difference(joined(dataset.name, key), "is in the manifest and not there")
        for key in sorted(named - state.objects.keys())
    ]
    found += [
        Difference(joined(dataset.name, key), "is in no manifest: left by a run that was killed, or foreign")
        for key in sorted(state.objects.keys() - named)
    ]
    found += [
        Difference(joined(dataset.name, key), "is not copymart's: who reads the listing takes it for data")
        for key in state.foreign
    ]
    return found + [
        Difference(upload.key, f"has an unfinished multipart upload, {upload.upload_id}")
        for upload in unfinished(place, dataset)
    ]


def _against_manifest(dataset: Dataset, file: DataFile, path: Path) -> list[Difference]:
    where = joined(dataset.name, file.key)
    size = path.stat().st_size
    if size != file.bytes:
        return [Difference(where, f"has {size:,} bytes, the manifest says {file.bytes:,}")]
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != file.sha256:
        return [Difference(where, f"has SHA-256 {sha256}, the manifest says {file.sha256}")]
    try:
        rows = _row_count(path)
    except (pyarrow.ArrowInvalid, ValueError, EOFError) as error:
        return [Difference(where, f"cannot be read: {error}")]
    if rows != file.rows:
        return [Difference(where, f"has {rows:,} rows, the manifest says {file.rows:,}")]
    return []


def _row_count(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(parquet.read_metadata(path).num_rows)
    with path.open("rb") as stream:
        return sum(block.num_records for block in fastavro.block_reader(stream))


def _against_contents(
    dataset: Dataset,
    partitions: Iterable[Partition],
    contents: dict[str, Contents],
    shapes: Mapping[str, Shape],
) -> list[Difference]:
    """Compare rows and hash sums; `shapes`: that of each partition if it were written now."""
    found = []
    left = dict(contents)
    for each in partitions:
        where = joined(dataset.name, each.partition)
        held = left.pop(each.partition, None)
        if held is None:
            found.append(Difference(where, f"has {each.rows:,} rows, the warehouse none"))
        elif held.rows != each.rows:
            found.append(Difference(where, f"has {each.rows:,} rows, the warehouse {held.rows:,}"))
        elif held.hash_sum != each.hash_sum and sums_compare(dataset, each.shape, shapes[each.partition]):
            found.append(Difference(where, f"has {each.rows:,} rows, of which the warehouse has others"))
    return found + [
        Difference(joined(dataset.name, name), f"is not there; the warehouse has {held.rows:,} rows")
        for name, held in left.items()
    ]
