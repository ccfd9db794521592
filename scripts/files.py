"""Files that a command writes: those that --to names."""

from pathlib import Path

from scripts.errors import UserError


def replaceable(to: str | Path, example: str) -> Path:
    """The file that --to names, itself where the name is a link to it. `example`: the name of such a file.

    Raises:
        UserError: it is a folder, or a device such as /dev/null, which the file would replace.
    """
    named = Path(to)
    if not str(to).strip() or named.is_dir():
        raise UserError(f"--to {str(to)!r} is a folder: name a file in it, such as {named / example}")
    if named.exists() and not named.is_file():
        raise UserError(f"--to {to} is no file that can be replaced: name another one")
    return named.resolve()
