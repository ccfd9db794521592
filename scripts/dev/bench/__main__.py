"""`python -m scripts.dev.bench`: run from the checkout, as `make bench` does."""

import sys

import typer

from scripts.console import error_console
from scripts.dev.bench.run import bench
from scripts.errors import UserError


def main() -> None:
    """Run the benchmark; a UserError ends it with one line, not a traceback."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(bench)
    try:
        app()
    except UserError as error:
        error_console.print(f"error: {error}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
