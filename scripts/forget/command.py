"""`copymart forget`: pseudonyms for a person's rows, now and whenever they land again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from scripts.console import SNOWFLAKE, WHAT, WHO, console, listed
from scripts.customerio.outbound.ledger import Where, opened
from scripts.errors import UserError
from scripts.forget.person import Person, find
from scripts.forget.rows import Count, count, forget_rows, known_of, remember
from scripts.forget.sent import count_sent, forget_sent
from scripts.land.api import Warehouse, place_of
from scripts.land.duckdb_api import open_duckdb
from scripts.land.forgotten import Known
from scripts.warehouse import ProfilesDir, ProjectDir, Target, connect, kind, production_schema

EXAMPLES = """
copymart forget --customer-id u-1001
copymart forget --email ann@example.com --dry-run
copymart forget --customer-id u-1001 --yes
"""

_NOT_REACHED = (
    "the files that the rows came from, the spools of `copymart receive`, `send` and `activate`, and "
    "Customer.io itself: what lands from there again gets the same pseudonyms, but the files stay",
    "exports of earlier unloads: `dbt build` and then `copymart unload` rewrite the hours that changed; "
    "versions that a bucket keeps stay",
    "reports, shares that others have copied, and audiences that were sent",
    "an identifier that comes later, such as a cio_id in the first export of the sync: what has it alone "
    "stays until it is forgotten too",
    "hashes of what a guess would have to hit as a whole: message_id of source calls that came without "
    "one, of files in staging.landed_files, of hours in _manifests/ of an export",
)
_NOT_REACHED_BY_ENGINE = {
    "duckdb": "free blocks of the DuckDB file, which hold the old rows until they are written again: to be "
    "rid of them, copy the database into a new file (`copy from database`)",
    "snowflake": "Time Travel and Fail-safe: the old rows can be read for the retention time of the tables "
    "(DATA_RETENTION_TIME_IN_DAYS), and by Snowflake's support for seven more days",
}


def forget(
    customer_id: Annotated[
        str | None,
        typer.Option(
            help="The person's id in Customer.io, which JustAI calls user_id; or `cio_` and Customer.io's "
            "own cio_id.",
            rich_help_panel=WHO,
        ),
    ] = None,
    email: Annotated[
        str | None,
        typer.Option(help="An address of the person, if only one person used it.", rich_help_panel=WHO),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan; change nothing.", rich_help_panel=WHAT),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.", rich_help_panel=WHAT)] = False,
    role: Annotated[
        str | None,
        typer.Option(
            help="Snowflake role that lands and owns the landing tables.",
            envvar="COPYMART_LAND_ROLE",
            show_default="the profile's role",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = None,
    project_dir: ProjectDir = Path("."),
    profiles_dir: ProfilesDir = None,
    target: Target = None,
) -> None:
    """Give the rows of one person pseudonyms in all landing tables, and whenever they land again.

    Prints a plan first: the rows of each table, and what it cannot reach. Ids, addresses and recipients
    become salted hashes, the same ones everywhere, so counts stay. Attributes, subjects, bodies and rejected
    lines are emptied.

    Run `dbt build` and `copymart unload` after it: until then the tables and exports hold the person. A run
    that was killed is completed by running it again.

    \f
    Raises:
        UserError: not one of the options is given, several people used the address, or the warehouse is
            missing or cannot be written.
    """
    if (customer_id is None) == (email is None):
        raise UserError("name one person: give --customer-id ID or --email ADDRESS, and not both")
    if not (customer_id or email or "").strip():
        raise UserError("--customer-id or --email is empty (is a shell variable unset?)")
    if email is not None and "@" not in email:
        raise UserError(f"--email {email} is no address: name an id with --customer-id")
    try:
        (customer_id or email or "").encode()
    except UnicodeEncodeError as error:
        raise UserError("the name of the person is no UTF-8: give it as it landed") from error
    engine = kind(project_dir, profiles_dir, target)
    with _open(engine, project_dir, profiles_dir, target, role) as warehouse:
        place = place_of(warehouse)
        person = find(place, customer_id, email)
        if not person.identifiers:
            raise UserError(
                f"{email} is an address of another person too: name the person with --customer-id"
            )
        known = known_of(place, person.identifiers)
        counts = count(place, known, person.identifiers)
    where = Where(project_dir, profiles_dir, target)
    with opened(where, "forget", read_only=True) as ledger:
        sent = count_sent(ledger, known, person.identifiers)
    _print_plan(person, counts + sent, engine)
    if dry_run or not (yes or typer.confirm("\nForget this person?")):
        console.print("nothing was changed")
        return
    # first of all, so that what a running send writes into the ledger from now on gets pseudonyms by itself
    with _open(engine, project_dir, profiles_dir, target, role) as warehouse:
        remember(warehouse, known)
    _forget_sent(where, known, person.identifiers)
    with _open(engine, project_dir, profiles_dir, target, role) as warehouse:
        forget_rows(warehouse, known, person.identifiers)
    # again, for a running send that had looked who is forgotten before this person was, and wrote after it
    _forget_sent(where, known, person.identifiers)
    console.print("forgotten; now run `dbt build`, then `copymart unload`")


def _forget_sent(where: Where, known: Known, identifiers: set[str]) -> None:
    """Forget the ledger's rows, before the landing tables, which alone say whose the identifiers are."""
    # counted again: a send may have written since the plan was shown
    with opened(where, "forget", read_only=True) as ledger:
        sent = count_sent(ledger, known, identifiers)
    if sent:
        with opened(where, "forget") as ledger:
            forget_sent(ledger, known, identifiers)


@contextmanager
def _open(
    engine: str, project_dir: Path, profiles_dir: Path | None, target: str | None, role: str | None
) -> Iterator[Warehouse]:
    if engine == "duckdb":
        # a file that is missing is most likely another one than was meant, and must not be made
        connect(project_dir, profiles_dir, target, read_only=True).close()
        with open_duckdb(project_dir, profiles_dir, target) as file:
            yield file
        return
    # imported here because the connector takes half a second, which DuckDB targets should not
    from scripts.land.snowflake.api import open_snowflake

    schema = production_schema(project_dir)
    with open_snowflake(project_dir, profiles_dir, target, schema, role, "forget") as session:
        yield session


def _print_plan(person: Person, counts: list[Count], engine: str) -> None:
    for name, values in (
        ("ids", person.customer_ids),
        ("cio_ids", person.cio_ids),
        ("addresses", person.emails),
    ):
        if values:
            console.print(Text(f"{name}: {listed(sorted(values))}"), soft_wrap=True)
    if person.shared:
        console.print(
            Text(
                f"also of another person, and so pseudonymised only in rows with an id of this one: "
                f"{listed(sorted(person.shared))}"
            ),
            soft_wrap=True,
        )
    if counts:
        table = Table("table of the schema staging", box=None, padding=(0, 2, 0, 0))
        for column in ("rows", "rejects"):
            table.add_column(column, justify="right")
        for each in counts:
            table.add_row(each.table, f"{each.rows:,}", f"{each.rejects:,}")
        console.print(table)
    else:
        console.print("nothing of this person has landed; what lands later gets pseudonyms")
    console.print("not reached:")
    for text in (*_NOT_REACHED, _NOT_REACHED_BY_ENGINE[engine]):
        console.print(Text(f"  - {text}"), soft_wrap=True)
