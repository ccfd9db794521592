"""Names and text for Snowflake statements: checked first, then quoted."""

import re

from scripts.errors import UserError

# What Snowflake accepts without quotes and folds to upper case. Names that need quotes are refused, so that a
# name means the same here and in dbt, which does not quote.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}")
_ORGANIZATION_ACCOUNT = re.compile(r"[A-Za-z][A-Za-z0-9]*\.[A-Za-z][A-Za-z0-9_]*")
_LOCATOR = re.compile(r"[A-Za-z]{1,6}[0-9]{3,8}")


def identifier(name: str, what: str) -> str:
    """Return a plain name as Snowflake stores it, in upper case; `what` names the thing in the error.

    Raises:
        UserError: the name would need quotes.
    """
    if not _PLAIN.fullmatch(name):
        raise UserError(
            f"{what} {name!r} is not a plain Snowflake name: "
            "it may hold letters, digits, _ and $, and must start with a letter or _"
        )
    return name.upper()


def quoted(*parts: str) -> str:
    """Return the parts of a stored name as one quoted name, `"COPYMART"."SHARES"`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def parts(name: str) -> tuple[str, ...]:
    """Return the parts of a name as SHOW and dbt print it; unquoted parts are folded to upper case."""
    found = re.findall(r'"((?:[^"]|"")*)"|([^".]+)', name)
    return tuple(inner.replace('""', '"') if inner else plain.upper() for inner, plain in found)


def literal(text: str) -> str:
    """Return a string literal; Snowflake also escapes by backslash."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def account(name: str) -> str:
    """Return a consumer's account, `ORG.ACCOUNT` or a locator such as `XY12345`, in upper case.

    Both forms are those of ALTER SHARE's documentation. Statements contain it without quotes, which is safe
    because it has only letters, digits, _ and one dot.

    Raises:
        UserError: it is neither.
    """
    if not (_ORGANIZATION_ACCOUNT.fullmatch(name) or _LOCATOR.fullmatch(name)):
        hint = f"; did you mean {name.replace('-', '.', 1)}" if re.fullmatch(r"\w+-\w+", name) else ""
        raise UserError(
            f"account {name!r} is neither ORG.ACCOUNT nor an account locator such as XY12345{hint}. "
            "The consumer finds it with `select current_organization_name() || '.' || current_account_name()`"
        )
    return name.upper()
