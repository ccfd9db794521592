"""`table:DATABASE.SCHEMA.NAME`, as it is given to land."""

import re

from scripts.errors import UserError

TABLE = "table"
"""Format of a part of a table among files, and the scheme of its address."""

_PART = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*)')


def is_table(uri: str) -> bool:
    """Whether an address names a table."""
    return uri.startswith(f"{TABLE}:")


def table_parts(uri: str) -> list[tuple[str, bool]]:
    """The three parts of a table's name, each with whether it was quoted.

    Raises:
        UserError: it is not DATABASE.SCHEMA.NAME.
    """
    rest = uri.removeprefix(f"{TABLE}:")
    found: list[tuple[str, bool]] = []
    while match := _PART.match(rest):
        quoted, plain = match.groups()
        found.append((plain or quoted.replace('""', '"'), plain is None))
        rest = rest[match.end() :]
        if not rest.startswith("."):
            break
        rest = rest[1:]
    if rest or len(found) != 3:
        raise UserError(
            f"{uri}: write table:DATABASE.SCHEMA.NAME; a part with other characters than letters, digits and "
            'underscores stands in double quotes: "my db"'
        )
    return found


def table_root(parts: tuple[str, ...] | list[str]) -> str:
    """The name of a table in the ledger."""
    return f"{TABLE}:{'.'.join(parts)}"
