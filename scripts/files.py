"""Files that a command writes: those that --to names."""

from pathlib import Path

from scripts.errors import UserError


def replaceable(to: str | Path, example: str) -> Path:
    """The file that --to names, itself where the name is a link to it. `example`: the name of such a file.

    Raises:
        UserError: it is a folder, or a device such as /dev/null, which the file would replace, or its name is
            too long or lies in a folder that may not be read.
    """
    named = Path(to)
    try:
        is_folder, is_other = named.is_dir(), named.exists() and not named.is_file()
    except OSError as error:
        raise UserError(f"cannot write {to}: {error.strerror}: name another file with --to") from error
    if not str(to).strip() or is_folder:
        raise UserError(f"--to {str(to)!r} is a folder: name a file in it, such as {named / example}")
    if is_other:
        raise UserError(f"--to {to} is no file that can be replaced: name another one")
    return named.resolve()
