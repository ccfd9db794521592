"""The SQL of an unload, and the few things in it that the engines write differently."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from scripts.unload.datasets import CONTENTS, DAY, HOUR, Dataset, Layout, Period, Span


@dataclass(frozen=True)
class Dialect:
    """What an engine writes in its own way; `{}` stands for the operand.

    `seconds`: a timestamp as unix seconds. `timestamp`: unix seconds as a timestamp. `cast`: a date or
    timestamp as a timestamp. `constant`: the timestamp of a text. `text`: a timestamp in a format. `formats`:
    the folders of a partition. `schema`: the name of a layer's schema. `row_hash`: a whole number that
    identifies a row's values, from the table's alias and the names and types of its columns.
    """

    seconds: str
    timestamp: str
    cast: str
    constant: str
    text: str
    formats: Mapping[Period, str]
    schema: Callable[[str], str]
    row_hash: Callable[[str, Sequence[tuple[str, str]]], str]

    def relation(self, name: str) -> str:
        """Return a relation, `marts.fct_calls`, as the engine knows it."""
        layer, table = name.split(".")
        return f"{self.schema(layer)}.{table}"

    def source(self, dataset: Dataset) -> str:
        """Return the from clause of a dataset's rows."""
        joined = dataset.joined
        for name in dataset.relations:
            joined = joined.replace(name, self.relation(name))
        return f"from {self.relation(dataset.mart)} as mart {joined}".rstrip()

    def select(self, dataset: Dataset, layout: Layout) -> str:
        """Return the columns of a file as a select list."""
        return ", ".join(
            column if isinstance(column, str) else f"{self.seconds.format(column.column)} as {column.name}"
            for column in dataset.columns_of(layout)
        )

    def moment(self, dataset: Dataset, column: str | None = None) -> str:
        """Return the timestamp that decides a row's partition; `column` replaces the stored one."""
        return (self.timestamp if dataset.in_seconds else self.cast).format(column or dataset.moment)

    def folders(self, dataset: Dataset, column: str | None = None) -> str:
        """Return the name of a row's partition; the dataset has a period."""
        assert dataset.period is not None
        return self.text.format(self.moment(dataset, column), self.formats[dataset.period])

    def start(self, dataset: Dataset) -> str:
        """Return the start of a row's partition; the dataset has a period."""
        unit = "hour" if dataset.period is HOUR else "day"
        return f"date_trunc('{unit}', {self.moment(dataset)})"

    def bounds(self, dataset: Dataset, start: datetime, end: datetime) -> str:
        """Return [start, end) as a condition on a stored column, so that engines skip other data."""
        if dataset.in_seconds:
            limits = [str(int(each.replace(tzinfo=UTC).timestamp())) for each in (start, end)]
        else:
            limits = [self.constant.format(each) for each in (start, end)]
        return f"{dataset.moment} >= {limits[0]} and {dataset.moment} < {limits[1]}"

    def within(self, span: Span, moment: str) -> str:
        """Return the span as a condition on a timestamp."""
        bounds = ((">=", span.start), ("<", span.end))
        tests = [f"{moment} {sign} {self.constant.format(bound)}" for sign, bound in bounds if bound]
        return " and ".join(tests) or "true"

    def whole(self, dataset: Dataset, layout: Layout, more: str = "") -> str:
        """Return the query of all rows as files hold them; `more`: further columns, with a comma before."""
        return f"select {self.select(dataset, layout)}{more} {self.source(dataset)}"

    def rows(self, dataset: Dataset, layout: Layout, partitions: Sequence[str], more: str = "") -> str:
        """Return the query of the rows of partitions, in order of time, as their files hold them."""
        query = self.whole(dataset, layout, more)
        if dataset.period is None:
            return query
        period = dataset.period
        starts = [period.start(name) for name in partitions]
        end = starts[-1] + period.step
        query = f"{query} where {self.bounds(dataset, starts[0], end)}"
        if len(starts) * period.step == end - starts[0]:
            return query
        listed = ", ".join(self.constant.format(start) for start in starts)
        return f"{query} and {self.start(dataset)} in ({listed})"

    def contents(self, dataset: Dataset, span: Span, columns: Sequence[tuple[str, str]]) -> str:
        """Return the query of each partition's name, rows and hash sum, in order of time.

        `columns`: names and types of the mart; only for datasets whose hashes dbt does not keep.
        """
        if dataset.period is HOUR:
            return (
                f"select {self.text.format('partition_hour', self.formats[HOUR])}, row_count, hash_sum "
                f"from {self.relation(CONTENTS)} where dataset = '{dataset.name}' "
                f"and {self.within(span, 'partition_hour')} order by partition_hour"
            )
        name = self.folders(dataset) if dataset.period else "''"
        rows = (
            f"select {name} as partition_name, {self.row_hash('mart', columns)} as row_hash "
            f"from {self.relation(dataset.mart)} as mart "
            f"where {self.within(span.of(dataset.period), self.moment(dataset))}"
        )
        return (
            f"select partition_name, count(*), sum(row_hash) from ({rows}) group by partition_name "
            "order by partition_name"
        )


def _duckdb_row_hash(alias: str, columns: Sequence[tuple[str, str]]) -> str:
    # to_json writes null unlike any text
    return f"md5_number_lower(cast(to_json({alias}) as varchar))"


DUCKDB = Dialect(
    seconds="cast(epoch({}) as bigint)",
    timestamp="make_timestamp({} * 1000000)",
    cast="cast({} as timestamp)",
    constant="timestamp '{}'",
    text="strftime({}, '{}')",
    formats={period: period.folders for period in (HOUR, DAY)},
    schema=str,
    row_hash=_duckdb_row_hash,
)


def _snowflake_row_hash(alias: str, columns: Sequence[tuple[str, str]]) -> str:
    """Like macros/dialect/row_hash.sql: each value has its length, so that no two rows give one text.

    Times and dates have a fixed format, because the account's parameters change the default.
    """
    texts = {
        "TIMESTAMP_NTZ": "to_varchar(date_part(epoch_microsecond, {}))",
        "DATE": "to_varchar({}, 'YYYY-MM-DD')",
    }
    parts = []
    for name, kind in columns:
        text = texts.get(kind, "to_varchar({})").format(f"{alias}.{name}")
        parts.append(f"coalesce(length({text}) || ':' || {text}, '')")
    listed = " || ',' || ".join(parts)
    return f"md5_number_lower64({listed})"


def snowflake(schema: Callable[[str], str]) -> Dialect:
    """Return Snowflake's dialect for a target whose layers lie in these schemas."""
    return Dialect(
        seconds="date_part(epoch_second, {})",
        timestamp="to_timestamp_ntz({})",
        # the account's TIMESTAMP_TYPE_MAPPING decides what a bare TIMESTAMP is
        cast="cast({} as timestamp_ntz)",
        constant="cast('{}' as timestamp_ntz)",
        text="to_varchar({}, '{}')",
        formats={HOUR: "YYYY/MM/DD/HH24", DAY: "YYYY/MM/DD"},
        schema=schema,
        row_hash=_snowflake_row_hash,
    )
