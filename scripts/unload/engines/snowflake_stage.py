"""The external stage through which Snowflake writes to S3, and the folder of a place in it."""

import re
from dataclasses import dataclass
from typing import Any

from scripts.errors import UserError
from scripts.snowflake import account
from scripts.snowflake.names import identifier, literal, quoted
from scripts.unload.manifest import joined
from scripts.unload.places.base import Place

# The stage that `copymart bootstrap snowflake --unload` creates.
STAGE = "UNLOAD_S3"


@dataclass(frozen=True)
class Stage:
    """An external stage, by its quoted name, and the folder below its URL where the place begins."""

    name: str
    folder: str

    def address(self, *folders: str) -> str:
        """Return the SQL literal of a folder below the place."""
        return literal(f"@{self.name}/{joined(self.folder, *folders)}/")


def find_stage(session: Any, named: str, database: str, schema: str, place: Place) -> Stage:
    """Return the stage of a name, in this database and schema unless the name has its own.

    Raises:
        UserError: it is no name, the role sees no such stage, or the stage does not lead to the place.
    """
    name, address = account.find_stage(session, named, (identifier(database, "database"), schema))
    full_name = ".".join(name)
    if address is None:
        raise UserError(
            f"there is no stage {full_name}, or the role may not use it: `copymart bootstrap snowflake "
            f"--unload {place.uri}/ --storage-role-arn …` makes {STAGE} and grants it; --stage names another "
            "one"
        )
    # s3gov:// and s3china:// are AWS's other partitions, s3compat:// other servers; the rest is the same
    url = re.sub(r"^s3(gov|china|compat)?://", "", address).rstrip("/") + "/"
    to = place.uri.removeprefix("s3://") + "/"
    if not to.startswith(url):
        raise UserError(
            f"--to {place.uri} does not lie below the URL of the stage {full_name}, {address or 'none'}: "
            "give a place below it, name another stage with --stage, or move this one with `copymart "
            f"bootstrap snowflake --unload {place.uri}/`"
        )
    return Stage(quoted(*name), to.removeprefix(url).strip("/"))
