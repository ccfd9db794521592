"""`table:DATABASE.SCHEMA.NAME`, or a schema with the tables of a sync, as it is given to land."""

import re

from scripts.errors import UserError

TABLE = "table"
"""Format of a part of a table among files, and the scheme of its address."""

_PART = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*)')


def is_table(uri: str) -> bool:
    """Whether an address names a table."""
    return uri.startswith(f"{TABLE}:")


def table_parts(uri: str, of_schema: bool = False) -> list[tuple[str, bool]]:
    """The three parts of a table's name, or the two of a schema's, each with whether it was quoted.

    Raises:
        UserError: it is not DATABASE.SCHEMA.NAME, or DATABASE.SCHEMA.
    """
    wanted = ["DATABASE", "SCHEMA"] if of_schema else ["DATABASE", "SCHEMA", "NAME"]
    rest = uri.removeprefix(f"{TABLE}:")
    found: list[tuple[str, bool]] = []
    while match := _PART.match(rest):
        quoted, plain = match.groups()
        found.append((plain or quoted.replace('""', '"'), plain is None))
        rest = rest[match.end() :]
        if not rest.startswith("."):
            break
        rest = rest[1:]
    if rest or len(found) != len(wanted):
        raise UserError(
            f"{uri}: write table:{'.'.join(wanted)}; a part with other characters than letters, digits and "
            'underscores stands in double quotes: "my db"'
        )
    return found


def table_root(parts: tuple[str, ...] | list[str]) -> str:
    """The name of a table in the ledger."""
    return f"{TABLE}:{'.'.join(parts)}"


def table_address(parts: tuple[str, ...] | list[str]) -> str:
    """The address of a table whose name is spelled as it was made."""
    return f"{TABLE}:{'.'.join(_quoted(part) for part in parts)}"


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"'
