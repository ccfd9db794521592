"""The statements that set up a Snowflake account: roles, warehouse, database, stages and their grants."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from scripts.snowflake.account import Step
from scripts.snowflake.names import literal, quoted

# The layers of dbt_project.yml; staging also holds the landing tables and stages.
SCHEMAS = ("STAGING", "INTERMEDIATE", "MARTS", "MARTS_OUTBOUND", "AUDIT", "AUDIENCES", "SHARES")
READ_BY_ANALYSTS = ("MARTS", "AUDIT")
# For queries that people run as these users; the tags of copymart and dbt also name the verb.
QUERY_TAG = '{"app": "copymart"}'
ROLES = {
    "LOADER": "lands files: writes the landing tables, reads the landing stages",
    "TRANSFORMER": "runs dbt, unloads and sends: reads the landing tables, owns what dbt makes",
    "READER": "reads marts and audits",
    "SHARER": "owns the shares: sees the schema shares and nothing else",
}
# The role above each of ROLES, where it is not SYSADMIN.
_ABOVE = {"SHARER": "accountadmin"}

# The variable by which a verb of copymart takes its role.
VERBS_TAKE = {
    "SNOWFLAKE_ROLE": "TRANSFORMER",
    "COPYMART_LAND_ROLE": "LOADER",
    "COPYMART_SHARE_ROLE": "SHARER",
}


class Size(StrEnum):
    """Sizes of a warehouse; each costs twice the one before."""

    XSMALL = "xsmall"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    XLARGE = "xlarge"


@dataclass(frozen=True)
class Setup:
    """The settings of a set-up. Names are as Snowflake stores them; a location is `s3://bucket/path/`."""

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


def exports(setup: Setup) -> str:
    """The line of a shell that gives each verb its role: dbt and unload, land, share."""
    return "export " + " ".join(f"{variable}={role}" for variable, role in roles_of_verbs(setup).items())


def roles_of_verbs(setup: Setup) -> dict[str, str]:
    """The environment that gives each verb its role."""
    return {variable: f"{setup.prefix}_{name}" for variable, name in VERBS_TAKE.items()}


def setup_steps(setup: Setup) -> Iterator[Step]:
    """Yield the set-up in an order that Snowflake accepts, each step by the least privileged role."""
    yield from _roles(setup)
    yield from _warehouse(setup)
    yield from _database(setup)
    yield from _stages(setup)
    yield from _grants(setup)
    yield from _sharing(setup)
    if setup.snowpipe:
        yield from _pipe(setup)
    yield from _query_tags(setup)


def _roles(setup: Setup) -> Iterator[Step]:
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
        "Below SYSADMIN, as Snowflake advises, so that what they own can be managed; the sharer below\n"
        "ACCOUNTADMIN, because SYSADMIN could share every database of the account. And to the users named.",
        (
            *(f"grant role {setup.role(name)} to role {_ABOVE.get(name, 'sysadmin')}" for name in ROLES),
            *users,
        ),
    )


def _warehouse(setup: Setup) -> Iterator[Step]:
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


def _database(setup: Setup) -> Iterator[Step]:
    yield Step(
        "sysadmin",
        "The database, and a schema for each layer.",
        (
            f"create database if not exists {quoted(setup.database)}",
            *(f"create schema if not exists {setup.schema(name)}" for name in SCHEMAS),
        ),
    )


def _stages(setup: Setup) -> Iterator[Step]:
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


def _external(setup: Setup) -> dict[str, str | None]:
    return {"LANDING_S3": setup.landing, "UNLOAD_S3": setup.unload}


def _grants(setup: Setup) -> Iterator[Step]:
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
        landing += _use_of_stage(setup, "LANDING_S3", loader)
    yield Step(
        "securityadmin",
        "The loader: its tables in staging, and its stages. What a landing works with are temporary tables, "
        "which\n"
        "need no privilege. LIST and COPY on a stage with an integration need USAGE on both.",
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
        building += _use_of_stage(setup, "UNLOAD_S3", transformer)
    if setup.makes_schemas:
        building.append(f"grant create schema on database {database} to role {transformer}")
        if setup.landing:
            # a developer lands in a schema of their own, which has no stage: --stage names this one
            building += _use_of_stage(setup, "LANDING_S3", transformer)
    yield Step(
        "securityadmin",
        "The transformer: what dbt reads and makes, and the stage that it unloads through. COPY to a stage "
        "with an\n"
        "integration needs USAGE on both.",
        tuple(dict.fromkeys(building)),
    )
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


def _use_of_stage(setup: Setup, name: str, role: str) -> list[str]:
    """The grants without which a role can neither list nor copy what lies behind an external stage."""
    return [
        f"grant usage on stage {setup.stage(name)} to role {role}",
        f"grant usage on integration {setup.integration} to role {role}",
    ]


def _sharing(setup: Setup) -> Iterator[Step]:
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


def _pipe(setup: Setup) -> Iterator[Step]:
    table, pipe = quoted(setup.database, "STAGING", "SNOWPIPE_LINES"), setup.stage("SNOWPIPE_LINES")
    yield Step(
        "sysadmin",
        "Snowpipe: each line of each JSONL file as one text, with its file and line, for your own use: "
        "copymart land\n"
        "does not read it. `desc pipe` shows the queue to which the bucket must send its events. It costs "
        "beside\n"
        "the warehouse: no resource monitor bounds it.",
        (
            f"create table if not exists {table} (line varchar, source_file varchar, line_number number, "
            "landed_at timestamp_ltz)",
            f"create pipe if not exists {pipe} auto_ingest = true as copy into {table} from (select $1, "
            "metadata$filename, metadata$file_row_number, metadata$start_scan_time "
            f"from @{setup.stage('LANDING_S3')}) file_format = (type = csv field_delimiter = none "
            "escape_unenclosed_field = none)",
        ),
    )


def _query_tags(setup: Setup) -> Iterator[Step]:
    users = sorted({user for users in setup.users.values() for user in users})
    if users:
        yield Step(
            "accountadmin",
            "Every query of these users says so in the query history, where its cost can be read.",
            tuple(f"alter user {quoted(user)} set query_tag = {literal(QUERY_TAG)}" for user in users),
        )
