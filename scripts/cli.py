"""The copymart program: one command per verb."""

import os
import sys
from io import TextIOWrapper

import duckdb
import typer
from rich.text import Text

from scripts.console import error_console
from scripts.customerio import activate, extract, receive, send, suggest_actions
from scripts.errors import UserError
from scripts.forget import command as forget
from scripts.land import command as land
from scripts.report import command as report
from scripts.simulate import command as simulate
from scripts.snowflake import bootstrap, share
from scripts.status import command as status
from scripts.unload import command as unload
from scripts.unload import policy, verify
from scripts.warehouse import full

_BEGIN = """
**Where to begin.** `make run` shows everything on sample logs. On your own, in the order of the data:

```text
copymart simulate logs
copymart land --calls logs/justai/calls --events logs/customerio/events
dbt build
copymart report --to report.html
copymart unload --to export
```

Each command explains itself: `copymart land --help`.
"""

app = typer.Typer(
    help="Moves files into and out of the copy warehouse, whose tables `dbt build` builds.",
    epilog=_BEGIN,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb, examples in (
    (simulate.simulate, simulate.EXAMPLES),
    (land.land, land.EXAMPLES),
    (receive.receive, receive.EXAMPLES),
    (extract.extract, extract.EXAMPLES),
    (suggest_actions.suggest_actions, suggest_actions.EXAMPLES),
    (send.send, send.EXAMPLES),
    (activate.activate, activate.EXAMPLES),
    (status.status, status.EXAMPLES),
    (report.report, report.EXAMPLES),
    (unload.unload, unload.EXAMPLES),
    (verify.verify, verify.EXAMPLES),
    (policy.policy, policy.EXAMPLES),
    (forget.forget, forget.EXAMPLES),
    (share.share, share.EXAMPLES),
    (bootstrap.bootstrap, bootstrap.EXAMPLES),
):
    app.command(epilog=f"**Examples**\n\n```text{examples}```")(verb)


def main() -> None:
    """Run the program; a UserError ends it with its message and exit status 1."""
    _use_utf_8()
    try:
        app()
    except UserError as error:
        message = str(error)
    except duckdb.OutOfMemoryException as error:
        message = str(full(error))
    except PermissionError as error:
        # each command names what it cannot read or write; this is for the folders above
        message = f"{error.filename}: {error.strerror}"
    else:
        return
    error_console.print(Text.assemble(("error: ", "red"), message), soft_wrap=True)
    sys.exit(1)


def _use_utf_8() -> None:
    """Start again in Python's UTF-8 mode where the locale is another: DuckDB takes no other names of files.

    What the terminal cannot show is escaped.
    """
    if sys.getfilesystemencoding() != "utf-8":
        environment = {**os.environ, "PYTHONUTF8": "1"}
        os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
