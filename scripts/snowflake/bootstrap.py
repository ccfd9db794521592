"""copymart bootstrap: what must be in a Snowflake account before dbt and copymart can work there."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts import warehouse
from scripts.console import console
from scripts.errors import UserError
from scripts.snowflake import account as snowflake_account
from scripts.snowflake.account import Step
from scripts.snowflake.names import identifier, literal, quoted
from scripts.unload.policy import ROLE_ARN

# The layers of dbt_project.yml; staging holds the landing tables and stages too.
SCHEMAS = ("STAGING", "INTERMEDIATE", "MARTS", "AUDIT", "SHARES")
READ_BY_ANALYSTS = ("MARTS", "AUDIT")
# Of queries that people run as these users; copymart's own and dbt's say more.
QUERY_TAG = '{"app": "copymart"}'
ROLES = {
    "LOADER": "lands files: writes the landing tables, reads the landing stages",
    "TRANSFORMER": "runs dbt and unloads: reads the landing tables, owns what dbt makes",
    "READER": "reads marts and audits",
    "SHARER": "owns the shares: sees the schema shares and nothing else",
}


class Platform(StrEnum):
    """What can be set up."""

    SNOWFLAKE = "snowflake"


class Size(StrEnum):
    """Sizes of a warehouse; each costs twice the one before."""

    XSMALL = "xsmall"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    XLARGE = "xlarge"


@dataclass(frozen=True)
class Account:
    """All that a set-up depends on. Names are as Snowflake stores them; a location is `s3://bucket/path/`."""

    database: str = "COPYMART"
    warehouse: str = "COPYMART_WH"
    prefix: str = "COPYMART"
    size: Size = Size.XSMALL
    auto_suspend: int = 60
    credit_quota: int = 50
    users: dict[str, list[str]] = field(default_factory=dict)
    landing: str | None = None
    unload: str | None = None
    storage_role: str | None = None
    external_id: str | None = None
    makes_schemas: bool = False
    snowpipe: bool = False

    def role(self, name: str) -> str:
        """The quoted name of one of ROLES."""
        return quoted(f"{self.prefix}_{name}")

    def schema(self, name: str) -> str:
        """The quoted name of a schema."""
        return quoted(self.database, name)

    def stage(self, name: str) -> str:
        """The quoted name of a stage."""
        return quoted(self.database, "STAGING", name)

    @property
    def integration(self) -> str:
        """The quoted name of the storage integration."""
        return quoted(f"{self.prefix}_S3")

    @property
    def monitor(self) -> str:
        """The quoted name of the resource monitor."""
        return quoted(f"{self.warehouse}_MONITOR")


def bootstrap(
    platform: Annotated[Platform, typer.Argument(help="What to set up.")],
    apply: Annotated[
        bool, typer.Option("--apply", help="Run it with the profile's user, who needs ACCOUNTADMIN.")
    ] = False,
    database: Annotated[str, typer.Option(help="Database.")] = "COPYMART",
    warehouse_name: Annotated[str, typer.Option("--warehouse", help="Warehouse.")] = "COPYMART_WH",
    warehouse_size: Annotated[Size, typer.Option(help="Its size.")] = Size.XSMALL,
    auto_suspend: Annotated[
        int,
        typer.Option(min=30, help="Seconds without a query after which it stops; Snowflake looks every 30."),
    ] = 60,
    credit_quota: Annotated[
        int,
        typer.Option(min=1, help="Credits a month; 80 % notifies, 100 % stops the warehouse, 110 % at once."),
    ] = 50,
    role_prefix: Annotated[
        str, typer.Option(help="Roles are named PREFIX_LOADER and so on, the integration PREFIX_S3.")
    ] = "COPYMART",
    loader_user: Annotated[
        list[str] | None, typer.Option(help="User who gets the role; several times.")
    ] = None,
    transformer_user: Annotated[
        list[str] | None, typer.Option(help="User who gets the role; several times.")
    ] = None,
    reader_user: Annotated[
        list[str] | None, typer.Option(help="User who gets the role; several times.")
    ] = None,
    sharer_user: Annotated[
        list[str] | None, typer.Option(help="User who gets the role; several times.")
    ] = None,
    landing: Annotated[
        str | None, typer.Option(help="s3://bucket/prefix/ to land from: makes an external stage.")
    ] = None,
    unload: Annotated[
        str | None, typer.Option(help="s3://bucket/prefix/ to unload to: makes an external stage.")
    ] = None,
    storage_role_arn: Annotated[
        str | None, typer.Option(help="AWS role that Snowflake assumes for those places.")
    ] = None,
    external_id: Annotated[
        str | None,
        typer.Option(help="External id that the AWS role asks for.", show_default="Snowflake makes one"),
    ] = None,
    snowpipe: Annotated[
        bool,
        typer.Option(
            "--snowpipe", help="Also a pipe that keeps raw lines, which copymart land does not read."
        ),
    ] = False,
    makes_schemas: Annotated[
        bool,
        typer.Option(
            "--makes-schemas",
            help="Let the transformer make schemas: for a database of developers, where dbt prefixes them.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --apply: do not ask.")] = False,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Print, or apply, the SQL that sets up roles, warehouse, database, schemas and stages: least privilege.

    Running it again changes nothing, except that the options of the warehouse, its monitor and the stages
    take effect: the integration allows exactly the places that are named, so name all of them each time.
    Nothing is dropped.

    Raises:
        UserError: a name is no plain Snowflake name, a place is no s3://, or Snowflake refuses a statement.
    """
    named = {
        "LOADER": loader_user,
        "TRANSFORMER": transformer_user,
        "READER": reader_user,
        "SHARER": sharer_user,
    }
    setup = Account(
        database=identifier(database, "database"),
        warehouse=identifier(warehouse_name, "warehouse"),
        prefix=identifier(role_prefix, "role prefix"),
        size=warehouse_size,
        auto_suspend=auto_suspend,
        credit_quota=credit_quota,
        users={role: [identifier(user, "user") for user in users or []] for role, users in named.items()},
        landing=_location(landing, "--landing"),
        unload=_location(unload, "--unload"),
        storage_role=_storage_role(storage_role_arn, landing, unload),
        external_id=external_id,
        makes_schemas=makes_schemas,
        snowpipe=snowpipe,
    )
    if snowpipe and not landing:
        raise UserError("--snowpipe needs the place that it loads from: give --landing s3://bucket/prefix/")
    steps = list(snowflake_steps(setup))
    if not apply:
        print(snowflake_account.script(steps), end="")
        return
    settings = warehouse.credentials(project_dir, profiles_dir, target)
    session = warehouse.connect_snowflake(project_dir, profiles_dir, target, "bootstrap", as_role=False)
    try:
        count = sum(len(step.statements) for step in steps)
        if not yes:
            console.print(snowflake_account.script(steps), soft_wrap=True)
            typer.confirm(f"Run these {count} statements in account {settings['account']}?", abort=True)
        snowflake_account.run_steps(session, steps, "bootstrap")
        console.print(f"Applied: {count} statements in account {settings['account']}.", soft_wrap=True)
    finally:
        session.close()


def _location(uri: str | None, option: str) -> str | None:
    """Return the place with a slash at its end: without, it would also cover `prefix-of-somebody-else`."""
    if uri is None:
        return None
    if not uri.startswith("s3://") or not uri.removeprefix("s3://").split("/")[0]:
        raise UserError(f"{option} {uri!r} is no s3://bucket/prefix/")
    return uri.rstrip("/") + "/"


def _storage_role(arn: str | None, landing: str | None, unload: str | None) -> str | None:
    if (landing or unload) and not arn:
        raise UserError(
            "--landing and --unload need the AWS role that Snowflake assumes: give --storage-role-arn"
        )
    if arn and not ROLE_ARN.fullmatch(arn):
        raise UserError(
            f"--storage-role-arn {arn!r} is no role; it looks like arn:aws:iam::123456789012:role/name"
        )
    return arn


def snowflake_steps(setup: Account) -> Iterator[Step]:
    """Yield the set-up in an order that Snowflake takes, each step as the least of its own roles that may."""
    yield from _roles(setup)
    yield from _warehouse(setup)
    yield from _database(setup)
    yield from _stages(setup)
    yield from _grants(setup)
    yield from _sharing(setup)
    if setup.snowpipe:
        yield from _pipe(setup)
    yield from _query_tags(setup)


def _roles(setup: Account) -> Iterator[Step]:
    yield Step(
        "useradmin",
        "Roles. USERADMIN is the least role that may make them.",
        tuple(
            f"create role if not exists {setup.role(name)} comment = {literal('copymart: ' + what)}"
            for name, what in ROLES.items()
        ),
    )
    users = [
        f"grant role {setup.role(name)} to user {quoted(user)}"
        for name in ROLES
        for user in setup.users.get(name, [])
    ]
    yield Step(
        "securityadmin",
        "Below SYSADMIN, as Snowflake advises, so that what they own can be managed; and to the users named.",
        (*(f"grant role {setup.role(name)} to role sysadmin" for name in ROLES), *users),
    )


def _warehouse(setup: Account) -> Iterator[Step]:
    name = quoted(setup.warehouse)
    triggers = "on 80 percent do notify on 100 percent do suspend on 110 percent do suspend_immediate"
    size = f"warehouse_size = {setup.size} auto_suspend = {setup.auto_suspend} auto_resume = true"
    yield Step(
        "sysadmin",
        "One warehouse for all roles: small, stopped when idle, and stopped now.",
        (
            f"create warehouse if not exists {name} with {size} initially_suspended = true",
            f"alter warehouse {name} set {size}",
        ),
    )
    yield Step(
        "accountadmin",
        "A limit to what it may cost. Only ACCOUNTADMIN may make a resource monitor and assign a warehouse "
        "to it.",
        (
            f"create resource monitor if not exists {setup.monitor} with credit_quota = {setup.credit_quota} "
            f"frequency = monthly start_timestamp = immediately triggers {triggers}",
            f"alter resource monitor {setup.monitor} set credit_quota = {setup.credit_quota}",
            f"alter warehouse {name} set resource_monitor = {setup.monitor}",
        ),
    )


def _database(setup: Account) -> Iterator[Step]:
    yield Step(
        "sysadmin",
        "The database, and a schema for each layer.",
        (
            f"create database if not exists {quoted(setup.database)}",
            *(f"create schema if not exists {setup.schema(name)}" for name in SCHEMAS),
        ),
    )


def _stages(setup: Account) -> Iterator[Step]:
    external = {name: place for name, place in _external(setup).items() if place}
    if external:
        allowed = ", ".join(literal(place) for place in external.values())
        properties = f"storage_aws_role_arn = {literal(setup.storage_role or '')}"
        if setup.external_id:
            properties += f" storage_aws_external_id = {literal(setup.external_id)}"
        yield Step(
            "accountadmin",
            "Access to S3 without keys: Snowflake assumes the AWS role, whose trust policy must name the\n"
            f"user and external id that `desc storage integration {setup.integration}` shows.\n"
            "Only ACCOUNTADMIN may make an integration; SYSADMIN needs USAGE to make stages.\n"
            "It allows exactly these places: name all of them each time.",
            (
                f"create storage integration if not exists {setup.integration} type = external_stage "
                f"storage_provider = 'S3' enabled = true {properties} storage_allowed_locations = "
                f"({allowed})",
                f"alter storage integration {setup.integration} set {properties} "
                f"storage_allowed_locations = ({allowed})",
                f"grant usage on integration {setup.integration} to role sysadmin",
            ),
        )
    statements = [f"create stage if not exists {setup.stage('LANDING')}"]
    for name, place in external.items():
        location = f"url = {literal(place)} storage_integration = {setup.integration}"
        statements.append(f"create stage if not exists {setup.stage(name)} {location}")
        statements.append(f"alter stage {setup.stage(name)} set {location}")
    yield Step(
        "sysadmin",
        "Stages: LANDING takes local files by PUT; the others are places on S3.",
        tuple(statements),
    )


def _external(setup: Account) -> dict[str, str | None]:
    return {"LANDING_S3": setup.landing, "UNLOAD_S3": setup.unload}


def _grants(setup: Account) -> Iterator[Step]:
    loader, transformer, reader = setup.role("LOADER"), setup.role("TRANSFORMER"), setup.role("READER")
    database, staging = quoted(setup.database), setup.schema("STAGING")
    workers = (loader, transformer, reader)
    yield Step(
        "securityadmin",
        "Who works: on the warehouse and in the database. SECURITYADMIN may grant what it does not own.",
        tuple(
            statement
            for role in workers
            for statement in (
                f"grant usage on warehouse {quoted(setup.warehouse)} to role {role}",
                f"grant usage on database {database} to role {role}",
            )
        ),
    )
    landing = [
        f"grant usage, create table on schema {staging} to role {loader}",
        f"grant read on stage {setup.stage('LANDING')} to role {loader}",
        f"grant write on stage {setup.stage('LANDING')} to role {loader}",
    ]
    if setup.landing:
        landing.append(f"grant usage on stage {setup.stage('LANDING_S3')} to role {loader}")
    yield Step(
        "securityadmin",
        "The loader: its tables in staging, and its stages. What a landing works with are temporary tables, "
        "which\n"
        "need no privilege; nor does it need one on the integration, for which the stage stands.",
        tuple(landing),
    )
    building = [
        f"grant usage, create table, create view on schema {setup.schema(name)} to role {transformer}"
        for name in SCHEMAS
    ]
    building += [
        f"grant select on all tables in schema {staging} to role {transformer}",
        f"grant select on future tables in schema {staging} to role {transformer}",
    ]
    if setup.unload:
        building.append(f"grant usage on stage {setup.stage('UNLOAD_S3')} to role {transformer}")
    if setup.makes_schemas:
        building.append(f"grant create schema on database {database} to role {transformer}")
        if setup.landing:
            # a developer lands in a schema of their own, which has no stage: --stage names this one
            building.append(f"grant usage on stage {setup.stage('LANDING_S3')} to role {transformer}")
    yield Step("securityadmin", "The transformer: what dbt reads and makes.", tuple(building))
    yield Step(
        "securityadmin",
        "The reader: marts and audits, those that are there and those that will be.",
        tuple(
            statement
            for name in READ_BY_ANALYSTS
            for statement in (
                f"grant usage on schema {setup.schema(name)} to role {reader}",
                *(
                    f"grant select on {which} {kind} in schema {setup.schema(name)} to role {reader}"
                    for which in ("all", "future")
                    for kind in ("tables", "views")
                ),
            )
        ),
    )


def _sharing(setup: Account) -> Iterator[Step]:
    sharer, shares = setup.role("SHARER"), setup.schema("SHARES")
    yield Step(
        "securityadmin",
        "The sharer may pass on USAGE and SELECT, which is what a grant to a share is, for the schema shares "
        "only.",
        (
            f"grant usage on database {quoted(setup.database)} to role {sharer} with grant option",
            f"grant usage on schema {shares} to role {sharer} with grant option",
            f"grant select on all views in schema {shares} to role {sharer} with grant option",
            f"grant select on future views in schema {shares} to role {sharer} with grant option",
        ),
    )
    yield Step(
        "accountadmin",
        "Making shares and naming their consumers are two privileges, and only ACCOUNTADMIN has them.",
        (
            f"grant create share on account to role {sharer}",
            f"grant manage share target on account to role {sharer}",
        ),
    )


def _pipe(setup: Account) -> Iterator[Step]:
    table, pipe = quoted(setup.database, "STAGING", "SNOWPIPE_LINES"), setup.stage("SNOWPIPE_LINES")
    yield Step(
        "sysadmin",
        "Snowpipe: each line of each JSONL file as one text, with its file and line, for your own use: "
        "copymart land\n"
        "does not read it. `desc pipe` shows the queue to which the bucket must send its events.",
        (
            f"create table if not exists {table} (line varchar, source_file varchar, line_number number, "
            "landed_at timestamp_ltz)",
            f"create pipe if not exists {pipe} auto_ingest = true as copy into {table} from (select $1, "
            "metadata$filename, metadata$file_row_number, metadata$start_scan_time "
            f"from @{setup.stage('LANDING_S3')}) file_format = (type = csv field_delimiter = none "
            "escape_unenclosed_field = none)",
        ),
    )


def _query_tags(setup: Account) -> Iterator[Step]:
    users = sorted({user for users in setup.users.values() for user in users})
    if users:
        yield Step(
            "accountadmin",
            "Every query of these users says so in the query history, where its cost can be read.",
            tuple(f"alter user {quoted(user)} set query_tag = {literal(QUERY_TAG)}" for user in users),
        )
