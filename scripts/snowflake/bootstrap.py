"""copymart bootstrap: sets up a Snowflake account for dbt and copymart."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scripts import warehouse
from scripts.console import S3, SNOWFLAKE, WHAT, WHO, console
from scripts.errors import UserError
from scripts.s3 import ROLE_ARN
from scripts.snowflake import account
from scripts.snowflake.bootstrap_plan import Setup, Size, exports, setup_steps
from scripts.snowflake.names import identifier


class Platform(StrEnum):
    """What can be set up."""

    SNOWFLAKE = "snowflake"


NEXT = "Then give each verb its role, in the shell that runs copymart and dbt:"
EXAMPLES = """
copymart bootstrap snowflake --transformer-user DBT --loader-user LOADER
copymart bootstrap snowflake --transformer-user DBT --loader-user LOADER \\
    --landing s3://acme/landing/ --unload s3://acme/export/ \\
    --storage-role-arn arn:aws:iam::123456789012:role/copymart --apply
"""


def bootstrap(
    platform: Annotated[Platform, typer.Argument(help="What to set up.")],
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", help="Run the SQL as the profile's user, who needs ACCOUNTADMIN.", rich_help_panel=WHAT
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With `--apply`: do not ask.", rich_help_panel=WHAT)
    ] = False,
    loader_user: Annotated[
        list[str] | None,
        typer.Option(help="User who gets the role LOADER; may be repeated.", rich_help_panel=WHO),
    ] = None,
    transformer_user: Annotated[
        list[str] | None,
        typer.Option(help="User who gets the role TRANSFORMER; may be repeated.", rich_help_panel=WHO),
    ] = None,
    reader_user: Annotated[
        list[str] | None,
        typer.Option(help="User who gets the role READER; may be repeated.", rich_help_panel=WHO),
    ] = None,
    sharer_user: Annotated[
        list[str] | None,
        typer.Option(help="User who gets the role SHARER; may be repeated.", rich_help_panel=WHO),
    ] = None,
    database: Annotated[str, typer.Option(help="Database.", rich_help_panel=SNOWFLAKE)] = "COPYMART",
    warehouse_name: Annotated[
        str, typer.Option("--warehouse", help="Warehouse.", rich_help_panel=SNOWFLAKE)
    ] = "COPYMART_WH",
    warehouse_size: Annotated[
        Size, typer.Option(help="Size of the warehouse.", rich_help_panel=SNOWFLAKE)
    ] = Size.XSMALL,
    auto_suspend: Annotated[
        int,
        typer.Option(
            min=30,
            help="Seconds without a query after which the warehouse stops; Snowflake checks every 30.",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = 60,
    credit_quota: Annotated[
        int,
        typer.Option(
            min=1,
            help="Credits a month: 80 % notifies, 100 % stops the warehouse, 110 % stops running queries.",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = 50,
    role_prefix: Annotated[
        str,
        typer.Option(
            help="Roles are named PREFIX_LOADER and so on, the integration PREFIX_S3.",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = "COPYMART",
    makes_schemas: Annotated[
        bool,
        typer.Option(
            "--makes-schemas",
            help="Let the transformer create schemas: for a developers' database, where dbt prefixes them.",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = False,
    snowpipe: Annotated[
        bool,
        typer.Option(
            "--snowpipe",
            help="Also create a pipe that keeps raw lines; `copymart land` does not read them. Serverless: "
            "the credit quota does not bound it.",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = False,
    landing: Annotated[
        str | None,
        typer.Option(
            help="`s3://bucket/prefix/` to land from: creates an external stage.", rich_help_panel=S3
        ),
    ] = None,
    unload: Annotated[
        str | None,
        typer.Option(
            help="`s3://bucket/prefix/` to unload to: creates an external stage.", rich_help_panel=S3
        ),
    ] = None,
    storage_role_arn: Annotated[
        str | None,
        typer.Option(help="AWS role that Snowflake assumes for these places.", rich_help_panel=S3),
    ] = None,
    external_id: Annotated[
        str | None,
        typer.Option(
            help="External id that the AWS role requires.",
            show_default="Snowflake makes one",
            rich_help_panel=S3,
        ),
    ] = None,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Print, or apply, the SQL that sets up a Snowflake account with least privilege.

    Creates roles, warehouse, database, schemas and stages, and drops nothing. A second run changes nothing,
    except that other options of the warehouse, its monitor and the stages take effect. The integration
    allows exactly the named places, so name all of them each time.

    \f
    Raises:
        UserError: a name is no plain Snowflake name, a place is no s3://, or Snowflake refuses a statement.
    """
    named = {
        "LOADER": loader_user,
        "TRANSFORMER": transformer_user,
        "READER": reader_user,
        "SHARER": sharer_user,
    }
    setup = Setup(
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
    steps = list(setup_steps(setup))
    if not apply:
        print(account.script(steps), end="")
        print(f"\n-- {NEXT}\n-- {exports(setup)}")
        return
    settings = warehouse.credentials(project_dir, profiles_dir, target)
    session = warehouse.connect_snowflake(project_dir, profiles_dir, target, "bootstrap", as_role=False)
    try:
        count = sum(len(step.statements) for step in steps)
        if not yes:
            console.print(account.script(steps), soft_wrap=True)
            typer.confirm(f"Run these {count} statements in account {settings['account']}?", abort=True)
        account.run_steps(session, steps, "bootstrap")
        console.print(f"Applied: {count} statements in account {settings['account']}.", soft_wrap=True)
        console.print(f"{NEXT}\n{exports(setup)}", soft_wrap=True)
    finally:
        session.close()


def _location(uri: str | None, option: str) -> str | None:
    """Return the place with a slash at its end; without it, it would also cover `prefix-of-somebody-else`."""
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
    if not arn:
        return None
    role = ROLE_ARN.fullmatch(arn)
    if not role:
        raise UserError(
            f"--storage-role-arn {arn!r} is no role; it looks like arn:aws:iam::123456789012:role/name"
        )
    if role[1] != "aws":
        raise UserError(
            f"--storage-role-arn {arn}: Snowflake reaches buckets of the partition {role[1]} by other "
            "addresses than s3://, which copymart does not set up: give no --landing and no --unload"
        )
    return arn
