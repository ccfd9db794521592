"""copymart verify: compare a place with its manifests and the warehouse."""

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import duckdb
import fastavro
import pyarrow
import pyarrow.parquet as parquet
import typer
from rich.table import Table

from scripts import s3, warehouse
from scripts.console import WHAT, console, progress
from scripts.errors import UserError
from scripts.staging import staging_folder
from scripts.unload import encode
from scripts.unload.contents import contents_of, require_relations
from scripts.unload.datasets import DATASETS, EVERYTHING, HOUR, Dataset, Format, Layout, chosen_datasets
from scripts.unload.engines.base import Engine
from scripts.unload.engines.open import open_engine
from scripts.unload.failures import explained
from scripts.unload.manifest import MANIFEST, DataFile, Partition, State, joined, read_state
from scripts.unload.places.base import Changed, Place
from scripts.unload.places.open import open_place
from scripts.unload.publish import Contents, unfinished

# Messages identify a row by those of these columns that it has: no personal data.
_KEYS = ("delivery_key", "version_key", "event_timestamp", "metric_date", "delivery_date", "copy_id")
# How often a dataset is compared while runs change it.
_TIMES = 3
_AGAIN = "Nothing was changed; fix the cause and run the same command again"
# A row: the text of each value, by column.
Row = dict[str, str]


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
    upload lacks a manifest entry; and that rows and hash sum of each partition equal the warehouse's. A
    difference to the warehouse may only mean that it was built since the last unload. Says so if an unload
    was writing there meanwhile. Changes nothing.

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
    found = _against_listing(place, dataset, state, partitions)
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
                if deep and engine and not wrong and len(paths) == len(partition.files):
                    found += _against_rows(engine, dataset, partition, paths)
                shutil.rmtree(folder)
                advance(1)
    if state.manifest.expired:
        console.print(f"{dataset.name}: {len(state.manifest.expired):,} partitions have expired there")
    if engine is not None:
        known = [*partitions, *state.manifest.expired.values()]
        found += _against_contents(dataset, known, contents_of(engine, dataset, EVERYTHING), engine.name)
    return found


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
    dataset: Dataset, partitions: Iterable[Partition], contents: dict[str, Contents], engine: str
) -> list[Difference]:
    """Compare rows and hash sums. Those that dbt keeps for hours are equal on all engines, the others not."""
    found = []
    left = dict(contents)
    for each in partitions:
        where = joined(dataset.name, each.partition)
        held = left.pop(each.partition, None)
        if held is None:
            found.append(Difference(where, f"has {each.rows:,} rows, the warehouse none"))
        elif held.rows != each.rows:
            found.append(Difference(where, f"has {each.rows:,} rows, the warehouse {held.rows:,}"))
        elif held.hash_sum != each.hash_sum and (dataset.period is HOUR or each.shape.engine == engine):
            found.append(Difference(where, f"has {each.rows:,} rows, of which the warehouse has others"))
    return found + [
        Difference(joined(dataset.name, name), f"is not there; the warehouse has {held.rows:,} rows")
        for name, held in left.items()
    ]


def _against_rows(
    engine: Engine,
    dataset: Dataset,
    partition: Partition,
    paths: list[Path],
) -> list[Difference]:
    """Compare every row of a partition with the warehouse, including how often it occurs."""
    where = joined(dataset.name, partition.partition)
    layout = Layout(partition.shape.layout)
    is_parquet = partition.shape.format == Format.PARQUET.value
    compare = _parquet_differences if is_parquet else _avro_differences
    try:
        with engine.rows(dataset, layout, partition.partition) as (connection, rows):
            only_there, only_here = compare(connection, rows, paths)
    except duckdb.ConversionException:
        # its message contains a value
        return [Difference(where, "cannot be compared: a column has another type than in the warehouse")]
    except (duckdb.Error, ValueError, EOFError) as error:
        return [Difference(where, f"cannot be compared: {error}")]
    if not (only_there or only_here):
        return []
    counts = f"{len(only_there):,} rows only there, {len(only_here):,} only in the warehouse"
    return [Difference(where, f"{counts}; {_example(only_there, only_here)}")]


def _example(only_there: list[Row], only_here: list[Row]) -> str:
    """Describe one difference by key and column names; values may be personal data."""
    row, others = (only_there[0], only_here) if only_there else (only_here[0], only_there)
    names = [name for name in _KEYS if name in row]
    if names[0].endswith("_key"):
        names = names[:1]
    key = ", ".join(f"{name} {row[name]}" for name in names)
    same_key = (other for other in others if all(other[name] == row[name] for name in names))
    differing = [", ".join(name for name in row if other.get(name) != row[name]) for other in same_key]
    if not differing:
        return f"e.g. {key}: only {'there' if only_there else 'in the warehouse'}"
    return f"e.g. {key}: another {min(differing, key=len)}"


def _parquet_differences(
    connection: duckdb.DuckDBPyConnection, rows: str, paths: list[Path]
) -> tuple[list[Row], list[Row]]:
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    # DuckDB would make a column of a folder above them that is named a=b
    files = f"select * from read_parquet([{listed}], hive_partitioning = false)"
    names = [column[0] for column in connection.execute(f"describe {rows}").fetchall()]

    def only(query: str) -> list[Row]:
        found = connection.execute(query).fetchall()
        return [dict(_text(dict(zip(names, row, strict=True)))) for row in found]

    return only(f"{files} except all ({rows})"), only(f"({rows}) except all ({files})")


def _avro_differences(
    connection: duckdb.DuckDBPyConnection, rows: str, paths: list[Path]
) -> tuple[list[Row], list[Row]]:
    with staging_folder() as folder:
        expected = folder / "rows.parquet"
        connection.execute(f"copy ({rows}) to '{expected}' (format parquet)")
        here = Counter(_text(row) for row in encode.avro_rows(parquet.ParquetFile(expected)))
    there: Counter[tuple[tuple[str, str], ...]] = Counter()
    for path in paths:
        with path.open("rb") as stream:
            there.update(_text(dict(row)) for row in fastavro.reader(stream))  # type: ignore[arg-type]
    return list(map(dict, (there - here).elements())), list(map(dict, (here - there).elements()))


def _text(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """A row as texts, without the order of a map's keys and without the library's own UTC object."""
    return tuple((name, repr(_plain(value))) for name, value in row.items())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(value.items())
    return value.isoformat() if isinstance(value, date) else value
