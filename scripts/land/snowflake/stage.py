"""The external stage through which Snowflake reads S3."""

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from scripts.console import console
from scripts.errors import UserError
from scripts.land.snowflake.session import Session
from scripts.land.snowflake.tables import has_schema
from scripts.land.sources import Location, SourceFile, list_files, listed_files, prefix_address
from scripts.snowflake.account import find_stage as find_named
from scripts.snowflake.account import rows
from scripts.snowflake.names import literal

EXTERNAL_STAGE = "LANDING_S3"
"""External stage of the staging schema that `copymart bootstrap snowflake --landing` makes."""


@dataclass(frozen=True)
class Stage:
    """An external stage: its name in a statement, and its s3:// address with a slash at its end."""

    name: str
    url: str

    def covers(self, uri: str) -> bool:
        """Whether an address on S3 is in the stage, or is its beginning."""
        return f"{uri}/".startswith(self.url)


def find_stage(session: Session, named: str | None) -> Stage | None:
    """The external stage to read S3 through: the one that is named, else LANDING_S3 of the staging schema.

    Raises:
        UserError: the role does not see the named stage, or it is no stage on S3.
    """
    if named is None and not has_schema(session):
        return None
    name, url = find_named(session.connection, named or EXTERNAL_STAGE, (session.schema.upper(),))
    full_name = ".".join(name)
    # COPY appends the names of files to the address as it is
    if url and url.startswith("s3://") and url.endswith("/"):
        return Stage(full_name, url)
    if named is None:
        return None
    if url is not None:
        raise UserError(
            f"--stage {named} is no stage on s3://, or its address ({url or 'none'}) has no slash at its end"
        )
    raise UserError(
        f"--stage {named}: there is no stage {full_name}, or the role may not see it: check its name, or "
        f"grant usage on stage {full_name} to the role"
    )


def list_through(session: Session, stage: Stage | None, location: Location, store: Any) -> list[SourceFile]:
    """List a location: on S3 through the stage that covers it, else by this machine's rights."""
    if stage and stage.covers(location.root):
        return listed_files(location, stage_objects(session, stage, prefix_address(location)))
    if location.is_s3:
        known = f"{stage.name} is {stage.url}" if stage else "see --stage"
        console.print(
            Text(f"{location.given}: no stage of Snowflake covers it ({known}); this machine reads it"),
            soft_wrap=True,
        )
    return list_files(location, store)


def stage_objects(session: Session, stage: Stage, address: str) -> list[tuple[str, int, str]]:
    """Address, size and ETag of the objects of a stage whose addresses begin with this one."""
    listed = rows(session.connection, f"list {literal(f'@{stage.name}/{address.removeprefix(stage.url)}')}")
    strange = [row["name"] for row in listed if not row["name"].startswith(stage.url)]
    if strange:
        raise UserError(f"LIST @{stage.name} names {strange[0]}, which does not lie in {stage.url}")
    return [(row["name"], int(row["size"]), (row["md5"] or "").strip('"')) for row in listed]
