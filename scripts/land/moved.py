"""`--moved OLD NEW`: files that lie elsewhere now keep their rows, under their new names."""

import os

from scripts.errors import UserError
from scripts.land.datasets import DATASETS
from scripts.land.engine import Engine, Move, new_stamp
from scripts.land.plan import ledger
from scripts.land.rules import Dataset
from scripts.land.sources import path_hour
from scripts.land.table_names import is_table


def identity(uri: str) -> str:
    """The name that a file or folder has in the ledger, whether it exists or not.

    Raises:
        UserError: the address is empty.
    """
    if not uri.strip():
        raise UserError("--moved: an address is empty (is a shell variable unset?)")
    if uri.startswith("s3://") or is_table(uri):
        return uri.removesuffix("/")
    return os.path.realpath(os.path.expanduser(uri.removeprefix("file://")))


def plan_moves(engine: Engine, old: str, new: str) -> dict[Dataset, list[Move]]:
    """The files of each dataset whose name is OLD or lies below it, with the names they will have.

    Raises:
        UserError: the ledger has no such file, or has a file of a new name already, or NEW is missing on
            this machine.
    """
    before, after = identity(old), identity(new)
    moves: dict[Dataset, list[Move]] = {}
    for dataset in DATASETS:
        known = ledger(engine.connection, dataset)
        moved = [name for name in known if name == before or name.startswith(f"{before}/")]
        for name in moved:
            target = after + name.removeprefix(before)
            if target in known:
                raise UserError(
                    f"--moved: {target} is in the ledger already, with rows of its own: name what moved "
                    "there more narrowly, or remove one of the two by a --backfill of its hours"
                )
            moves.setdefault(dataset, []).append(
                (name, target, path_hour(f"{target}/" if is_table(target) else target))
            )
    if not moves:
        raise UserError(
            f"--moved: the ledger has no file {before}, nor one below it: see staging.landed_files"
        )
    # a misspelt NEW would hold back every file in the next run; on S3 and of tables only that run can see it
    if not after.startswith("s3://") and not is_table(after) and not os.path.exists(after):
        raise UserError(f"--moved: {after} does not exist: move the files first, or name where they are now")
    return moves


def move(engine: Engine, moves: dict[Dataset, list[Move]]) -> int:
    """Rename files in the ledger and in their rows, a transaction per dataset; return how many.

    The rows belong to a new batch, because the name of a row's file decides between equals (docs/decisions).
    """
    for dataset, files in moves.items():
        engine.rename(dataset, new_stamp(), files)
    return sum(map(len, moves.values()))
