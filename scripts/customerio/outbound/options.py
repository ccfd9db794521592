"""The options that `copymart send` and `copymart activate` share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts.console import WHERE_TO


class Region(StrEnum):
    """Customer.io's data centres; a workspace lies in one of them."""

    US = "us"
    EU = "eu"


RegionOption = Annotated[
    Region,
    typer.Option(help="Data centre of the workspace.", envvar="CUSTOMERIO_REGION", rich_help_panel=WHERE_TO),
]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        help="Address of the Track API, for a proxy; https only.",
        show_default="that of the region",
        rich_help_panel=WHERE_TO,
    ),
]
Rate = Annotated[
    float,
    typer.Option(
        help="Most HTTP requests per second, retries included. A request has up to 500 kB of items.",
        min=0.1,
        max=10_000,
        rich_help_panel=WHERE_TO,
    ),
]
Spool = Annotated[
    Path,
    typer.Option(
        help="Folder on a disk of this machine, for the plan and the journal of a run. Keep it: after a kill "
        "it says what was acknowledged.",
        envvar="COPYMART_OUTBOUND_SPOOL",
        rich_help_panel=WHERE_TO,
    ),
]
DEFAULT_SPOOL = Path("data/own-outbound")
DEFAULT_RATE = 100.0
