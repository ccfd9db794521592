"""Credentials of Customer.io's APIs, which environment variables have."""

import os

from scripts.errors import UserError


def credential(name: str, where: str) -> str:
    """What an environment variable has. `where`: where in Customer.io a user finds it.

    Raises:
        UserError: it is not set, or no request can carry it.
    """
    found = os.environ.get(name, "").strip()
    if not found:
        raise UserError(f"{name} is not set: {where}")
    if not found.isascii() or not found.isprintable() or " " in found:
        raise UserError(
            f"{name} has characters that no key has, such as the dots in place of a hidden one, or a line "
            f"break: {where}"
        )
    return found
