"""copymart extract: what Customer.io's App API knows, into the landing table customerio_api."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scripts import warehouse
from scripts.console import SNOWFLAKE, WHAT, WHERE_TO, console
from scripts.customerio import wish as wishes
from scripts.customerio.credentials import credential
from scripts.errors import UserError
from scripts.land.api import Counts, Warehouse, reset
from scripts.land.duckdb_api import open_duckdb

EXAMPLES = """
copymart extract --what campaigns,actions,newsletters,segments,messages
copymart extract --what all --region eu
copymart extract --what messages --message-types email,push --rescan-days 30
copymart extract --what customers --attributes plan,city \\
    --customers-filter '{"segment": {"id": 7}}'
copymart extract --reset-state messages
"""

KEY = "CUSTOMERIO_APP_API_KEY"


class Region(StrEnum):
    """Customer.io's data centres; a key is good in one of them."""

    US = "us"
    EU = "eu"


def extract(
    what: Annotated[
        str | None,
        typer.Option(
            help=f"What to read, with commas between: {', '.join(wishes.ENTITIES)}, or all.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Remove the rows of what is no longer there, and read messages from the beginning. Without "
            "it, rows are added and replaced by key, and stay when Customer.io deletes them.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Read messages created from here on (UTC). Customer.io serves six months.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            show_default="where the last run ended",
            rich_help_panel=WHAT,
        ),
    ] = None,
    rescan_days: Annotated[
        int,
        typer.Option(
            help="Days before the last run that are read again, because messages are opened, clicked and "
            "converted long after they are sent. Customer.io's conversion goals may be open for 90.",
            min=0,
            rich_help_panel=WHAT,
        ),
    ] = 90,
    message_types: Annotated[
        str | None,
        typer.Option(
            help="Only messages of these types: email, push, sms (or twilio), in_app, webhook, slack, "
            "whatsapp, live_notification.",
            show_default="all",
            rich_help_panel=WHAT,
        ),
    ] = None,
    activity_types: Annotated[
        str | None,
        typer.Option(
            help="Only activities of these types, such as event, page, attribute_change, opened_email.",
            show_default="all",
            rich_help_panel=WHAT,
        ),
    ] = None,
    deleted_people: Annotated[
        bool,
        typer.Option(
            "--deleted-people", help="Also activities of people who were deleted.", rich_help_panel=WHAT
        ),
    ] = False,
    customers_filter: Annotated[
        str | None,
        typer.Option(
            help="Which customers, as JSON in Customer.io's filter language.",
            show_default="everybody",
            rich_help_panel=WHAT,
        ),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            help="Attributes of customers, with commas between.", show_default="all", rich_help_panel=WHAT
        ),
    ] = None,
    reset_state: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Forget how far messages (or all) have been read, so that the next run reads them from the "
            "beginning. Rows stay.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what would be read, and from when; ask Customer.io nothing and change nothing.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    region: Annotated[
        Region,
        typer.Option(
            help="Data centre of the workspace.", envvar="CUSTOMERIO_REGION", rich_help_panel=WHERE_TO
        ),
    ] = Region.US,
    api_url: Annotated[
        str | None,
        typer.Option(
            help="Address of the API, for a proxy.",
            show_default="that of the region",
            rich_help_panel=WHERE_TO,
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            help="Most requests per second. Customer.io allows a workspace 10; leave some to others.",
            min=0.1,
            max=10_000,
            rich_help_panel=WHERE_TO,
        ),
    ] = 10,
    role: Annotated[
        str | None,
        typer.Option(
            help="Snowflake role that lands; `copymart bootstrap snowflake` creates one.",
            envvar="COPYMART_LAND_ROLE",
            show_default="the profile's role",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = None,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Read Customer.io's App API into the landing table customerio_api, whose rows staging makes into views.

    The environment variable CUSTOMERIO_APP_API_KEY has an App API key with read access. Killed at any moment
    and run again, nothing is lost or doubled. Only what changed is written.

    Customers come from an export, which shows in Customer.io under your name. Activities are those of the
    last 30 days; there is no filter by time, so name types.

    \f
    Raises:
        UserError: an option, the key or the warehouse cannot be used, or Customer.io refuses a request.
    """
    # imported here because dlt takes half a second, which --help should not
    from scripts.customerio.app_api import HOSTS, open_api
    from scripts.customerio.entities import Reading, read

    wanted = wishes.entities(what, "--what") if what is not None else ()
    forgotten = _forgotten(reset_state)
    if not wanted and not forgotten:
        raise UserError(f"nothing to read: give --what with some of {', '.join(wishes.ENTITIES)}, or all")
    if since and since.replace(tzinfo=UTC) > datetime.now(UTC):
        raise UserError(
            f"--since {since:%Y-%m-%dT%H:%M:%S} is later than now (UTC): no message was created from then on"
        )
    wish = wishes.Wish(
        full=full,
        since=int(since.replace(tzinfo=UTC).timestamp()) if since else None,
        rescan_days=rescan_days,
        message_types=wishes.message_types(message_types),
        activity_types=wishes.names(activity_types),
        deleted_people=deleted_people,
        people_filter=wishes.people_filter(customers_filter) if customers_filter is not None else None,
        attributes=wishes.names(attributes),
    )
    if dry_run:
        _show_plan(wanted, forgotten, wish)
        return
    key = credential(KEY, "make an App API key in Customer.io and copy it into it") if wanted else ""
    with _opened(project_dir, profiles_dir, target, role) as tables:
        if forgotten:
            count = reset(tables, forgotten)
            console.print(f"forgot {count} positions of {', '.join(forgotten)}; rows stay")
        if wanted:
            api = open_api(api_url or HOSTS[region], key, rate)
            _read(read(Reading(api, wish), wanted, tables))


def _forgotten(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if text.strip() == wishes.ALL:
        return wishes.CONTINUED
    found = wishes.entities(text, "--reset-state")
    for name in found:
        if name not in wishes.CONTINUED:
            raise UserError(
                f"--reset-state {name}: only {', '.join(wishes.CONTINUED)} are continued; all others are "
                "read whole each time"
            )
    return found


@contextmanager
def _opened(
    project_dir: Path, profiles_dir: Path | None, target: str | None, role: str | None
) -> Iterator[Warehouse]:
    """The warehouse of the profile's target, with the role that lands."""
    if warehouse.kind(project_dir, profiles_dir, target) != "snowflake":
        with open_duckdb(project_dir, profiles_dir, target) as tables:
            yield tables
        return
    # imported here because the connector takes half a second, which DuckDB targets should not
    from scripts.land.snowflake.api import open_snowflake

    production = warehouse.production_schema(project_dir)
    with open_snowflake(project_dir, profiles_dir, target, production, role) as there:
        yield there


def _read(readings: Iterator[tuple[str, Counts, float]]) -> None:
    table = Table(title="Landed from the App API", title_justify="left")
    for heading in ("what", "new", "changed", "removed", "rejected", "seconds"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    try:
        for entity, counts, seconds in readings:
            figures = (counts.new, counts.changed, counts.removed, counts.rejected)
            table.add_row(entity, *(f"{count:,}" for count in figures), f"{seconds:.1f}")
    finally:
        # what was landed before an error is there
        if table.row_count:
            console.print(table)


def _show_plan(wanted: tuple[str, ...], forgotten: tuple[str, ...], wish: wishes.Wish) -> None:
    for name in forgotten:
        console.print(f"would forget how far {name} were read")
    for entity in wanted:
        begin = f"; {_beginning(wish)}" if entity in wishes.CONTINUED else ""
        console.print(f"would read {entity} {_load(entity, wish)}{begin}", soft_wrap=True)


def _load(entity: str, wish: wishes.Wish) -> str:
    by_key = "by key: rows are added and replaced"
    if entity == "customers" and wish.full and wish.people_filter:
        return f"{by_key}; with a filter nobody is taken for gone"
    if wish.full:
        return "in full: rows of what has gone are removed"
    if entity == "segment_members":
        return "in full: rows of who has left are removed"
    return by_key


def _beginning(wish: wishes.Wish) -> str:
    if wish.since is not None:
        return f"from {datetime.fromtimestamp(wish.since, UTC):%Y-%m-%d %H:%M} on"
    if wish.full:
        return f"those of {wishes.MESSAGES_DAYS} days"
    first = f"in the first run those of {wishes.MESSAGES_DAYS} days"
    return f"from {wish.rescan_days} days before the end of the last run on, {first}"
