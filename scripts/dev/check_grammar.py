"""Parses compiled SQL with sqlfluff's Snowflake grammar, the strictest check that needs no account.

`make parse` runs this over what dbt compiled, both branches of incremental models.
"""

import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Annotated

import sqlglot
import typer
from sqlfluff.core import FluffConfig, Linter
from sqlfluff.core.types import ConfigMappingType
from sqlglot import exp

from scripts.console import console, error_console, progress

# What sqlfluff refuses and Snowflake allows, and what it parses in its place.
EXCEPTIONS: dict[str, str] = {
    # sql/create-file-format: an empty list is none, as the provider of Terraform tests it on an account
    # (snowflakedb/terraform-provider-snowflake#5077); sqlfluff knows it of CSV alone
    "parquet null_if = ()": "parquet null_if = ('none')",
}


# By DATE_INPUT_FORMAT and TIMESTAMP_INPUT_FORMAT, which an account or a user may change.
_TIME_FROM_TEXT = re.compile(
    r"cast\('[^']*' as (?:date|time)\w*\)|\b(?:date|timestamp\w*) '[^']*'|'[^']*'::(?:date|time)\w*",
    re.IGNORECASE,
)


@cache
def _linter() -> Linter:
    overrides: ConfigMappingType = {
        "dialect": "snowflake",
        "templater": "raw",
        "large_file_skip_byte_limit": 0,
    }
    return Linter(config=FluffConfig(overrides=overrides))


def faults(sql: str) -> list[str]:
    """What sqlfluff's Snowflake grammar refuses in a statement, one text per place; empty when it parses."""
    for excepted, same in EXCEPTIONS.items():
        sql = sql.replace(excepted, same)
    parsed = _linter().parse_string(sql)
    return [f"line {fault.line_no}: {fault.desc()}" for fault in parsed.violations]


def times_from_text(sql: str) -> list[str]:
    """Texts that a statement reads as a date or time: what they mean depends on an account's parameters."""
    return _TIME_FROM_TEXT.findall(sql)


def subqueries_in_values(sql: str) -> list[str]:
    """`in (select …)` and `exists (…)` that are no condition: Snowflake's page on subqueries has none."""
    found = []
    for statement in sqlglot.parse(sql, read="snowflake"):
        for operator in statement.find_all(exp.In, exp.Exists) if statement else ():
            if isinstance(operator, exp.In) and not operator.args.get("query"):
                continue
            part = operator.find_ancestor(exp.Where, exp.Having, exp.Qualify, exp.Join, exp.Select)
            if isinstance(part, exp.Select):
                found.append(operator.sql("snowflake"))
    return found


def subqueries_beside_or(sql: str) -> list[str]:
    """`in (select …)` that is an argument of OR: Snowflake's page on subquery operators forbids it of ANY."""
    found = []
    for statement in sqlglot.parse(sql, read="snowflake"):
        for operator in statement.find_all(exp.In, exp.Any, exp.All) if statement else ():
            if isinstance(operator, exp.In) and not operator.args.get("query"):
                continue
            if isinstance(operator.find_ancestor(exp.Or, exp.Select), exp.Or):
                found.append(operator.sql("snowflake"))
    return found


def columns_in_lambdas(sql: str) -> list[str]:
    """Columns that the lambda of TRANSFORM, FILTER or REDUCE reads, beside what it is given.

    It could not in May 2024 (ibis-project/ibis#9178), and Snowflake's pages do not say that it can.
    """
    return [
        column.sql("snowflake")
        for statement in sqlglot.parse(sql, read="snowflake")
        for function in (statement.find_all(exp.Lambda) if statement else ())
        for column in function.this.find_all(exp.Column)
    ]


def _wrong(sql: str) -> list[str]:
    refused = faults(sql)
    refused += [f"{found} is read as an account's parameters say" for found in times_from_text(sql)]
    refused += [f"{found} may stand in a condition alone" for found in subqueries_in_values(sql)]
    refused += [f"{found} may not stand beside OR" for found in subqueries_beside_or(sql)]
    return refused + [f"a lambda cannot read {found}" for found in columns_in_lambdas(sql)]


def check(
    folders: Annotated[list[Path], typer.Argument(help="Folders of compiled SQL, such as target/compiled.")],
) -> None:
    """Parse every SQL file under the folders; exit status 1 when one is refused, or there is none.

    One that reads a time from text is refused too, and one with a subquery or a column where Snowflake
    takes none, such as a subquery beside OR.
    """
    # both ways compile a view to the same text: parse each text once
    texts: dict[str, Path] = {}
    for path in sorted(path for folder in folders for path in folder.glob("**/*.sql")):
        texts.setdefault(path.read_text(), path)
    if not texts:
        error_console.print(f"error: no SQL under {', '.join(map(str, folders))}")
        raise typer.Exit(1)
    wrong = 0
    with (
        ProcessPoolExecutor(max_workers=2) as pool,
        progress("parsing", len(texts)) as advance,
    ):
        found: Iterable[list[str]] = pool.map(_wrong, texts, chunksize=4)
        for path, refused in zip(texts.values(), found, strict=True):
            advance(1)
            for fault in refused:
                wrong += 1
                error_console.print(f"{path}: {fault}", soft_wrap=True)
    if wrong:
        raise typer.Exit(1)
    console.print(f"{len(texts)} statements parse as Snowflake SQL")


if __name__ == "__main__":
    typer.run(check)
