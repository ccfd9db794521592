"""The copymart program: one command per verb."""

import sys

import typer
from rich.text import Text

from scripts.console import error_console
from scripts.errors import UserError
from scripts.land.command import land
from scripts.simulate.command import simulate
from scripts.snowflake.bootstrap import bootstrap
from scripts.snowflake.share import share
from scripts.unload.command import unload
from scripts.unload.policy import policy
from scripts.unload.verify import verify

app = typer.Typer(
    help="Moves files in and out of the copy warehouse; `dbt build` makes its tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (simulate, land, unload, verify, policy, share, bootstrap):
    app.command()(verb)


def main() -> None:
    """Run the program; an error that a person can mend ends it with its message and exit status 1."""
    try:
        app()
    except UserError as error:
        message = str(error)
    except PermissionError as error:
        # each command says what it may not read or write; this is for folders on the way there
        message = f"{error.filename}: {error.strerror}"
    else:
        return
    error_console.print(Text.assemble(("error: ", "red"), message), soft_wrap=True)
    sys.exit(1)
