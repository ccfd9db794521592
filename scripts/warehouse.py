"""The warehouse that a dbt profile names, so that connection settings are in one place."""

import json
import os
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
import yaml

from scripts.console import DBT
from scripts.errors import UserError
from scripts.plain_profile import plain_target

# What a text is as a time, what TIMESTAMP is, which column a quoted name means, and how many rows an answer
# has, must not depend on an account's or a user's settings: docs.snowflake.com/en/sql-reference/parameters
_FIXED: dict[str, Any] = {
    "DATE_INPUT_FORMAT": "AUTO",
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    # no maximum; with one, lines that come back to be checked would be lost
    "ROWS_PER_RESULTSET": 0,
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "TIMEZONE": "UTC",
}

ProjectDir = Annotated[
    Path,
    typer.Option(
        help="Folder of `dbt_project.yml`.",
        envvar="DBT_PROJECT_DIR",
        show_default="this folder",
        rich_help_panel=DBT,
    ),
]
ProfilesDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of `profiles.yml`.",
        envvar="DBT_PROFILES_DIR",
        show_default="the project folder, then ~/.dbt",
        rich_help_panel=DBT,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(help="Target of the dbt profile.", show_default="the profile's own", rich_help_panel=DBT),
]


def credentials(project_dir: Path, profiles_dir: Path | None, target: str | None) -> dict[str, Any]:
    """Return the connection settings of the profile's target, rendered as dbt does (`env_var` included).

    Raises:
        UserError: no project or profile is found, or dbt cannot render it.
    """
    settings, _ = _credentials(project_dir, profiles_dir, target)
    return settings


def kind(project_dir: Path, profiles_dir: Path | None, target: str | None) -> str:
    """Return the type of the profile's target, duckdb or snowflake.

    Raises:
        UserError: the profile cannot be read, or the target is of another type.
    """
    found = str(credentials(project_dir, profiles_dir, target)["type"])
    if found not in ("duckdb", "snowflake"):
        raise UserError(
            f"this command works on DuckDB and Snowflake; the profile's target is of type {found}: give "
            "--target"
        )
    return found


def _credentials(
    project_dir: Path, profiles_dir: Path | None, target: str | None
) -> tuple[dict[str, Any], Any]:
    """The settings of the profile's target, and the object of the adapter's own class unless dbt need not
    read the profile: a DuckDB file that attaches nothing.
    """
    settings = project(project_dir)
    folder = profiles_dir or (
        project_dir if (project_dir / "profiles.yml").exists() else Path.home() / ".dbt"
    )
    if not (folder / "profiles.yml").exists():
        raise UserError(
            f"no profiles.yml in {folder}: copy profiles.yml.example to {project_dir / 'profiles.yml'}, "
            "or name its folder with --profiles-dir"
        )
    if plain := plain_target(folder, settings, target):
        return plain, None
    found = _by_dbt(project_dir, folder, target)
    return {"type": found.type, **found.to_dict()}, found


def _by_dbt(project_dir: Path, folder: Path, target: str | None) -> Any:
    # imported here because dbt takes seconds, which --help should not
    from dbt.config.runtime import load_profile
    from dbt.flags import set_from_args
    from dbt_common.clients.system import get_env
    from dbt_common.context import set_invocation_context
    from dbt_common.exceptions import DbtBaseException

    set_invocation_context(get_env())
    set_from_args(Namespace(PROFILES_DIR=str(folder), PROJECT_DIR=str(project_dir)), None)
    try:
        profile = load_profile(str(project_dir), {}, target_override=target)
    except DbtBaseException as error:
        # dbt writes the kinds of the error and its text on lines of their own
        text = ": ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"{folder / 'profiles.yml'}: {text}") from error
    return profile.credentials


def project(project_dir: Path) -> dict[str, Any]:
    """Return dbt_project.yml as a mapping.

    Raises:
        UserError: there is no dbt_project.yml in `project_dir`, or it is no YAML.
    """
    path = project_dir / "dbt_project.yml"
    if not path.exists():
        raise UserError(
            f"no dbt_project.yml in {project_dir.resolve()}: run copymart in the project, "
            "or name it with --project-dir"
        )
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    # a date that no calendar has is a ValueError
    except (yaml.YAMLError, ValueError) as error:
        text = ", ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"{path}: {text}. Correct it there, or write the value in quotes") from error


def project_vars(project_dir: Path) -> dict[str, Any]:
    """Return the `vars` of dbt_project.yml.

    Raises:
        UserError: it cannot be read, or has none.
    """
    found = project(project_dir).get("vars")
    if not isinstance(found, dict):
        raise UserError(
            f"{project_dir / 'dbt_project.yml'} has no vars: put them back as the project brings them"
        )
    return found


def production_schema(project_dir: Path) -> str:
    """Return the schema that has no prefix before its layers, var `production_schema`.

    Raises:
        UserError: dbt_project.yml cannot be read, or the var is missing or no text.
    """
    found = project_vars(project_dir).get("production_schema")
    if not isinstance(found, str) or not found.strip():
        raise UserError(
            f"{project_dir / 'dbt_project.yml'}: the var production_schema is missing or no text: set it to "
            "the schema of production's dbt target, as the project brings it"
        )
    return found


def full(error: Exception) -> UserError | None:
    """What was full, memory or a disk, and what helps; None for other errors."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""
    file = re.search(r'write file "([^"]+)": No space left', text)
    # what DuckDB spills has names of its own; any other file is the warehouse or what it keeps beside it
    if file and not Path(file[1]).name.startswith("duckdb_temp"):
        return UserError(
            f"the disk of {file[1]} is full ({text}): make room there, or move the DuckDB file to another "
            "disk and set COPYMART_DUCKDB to it"
        )
    if "No space left" in text or "max_temp_directory_size" in text or "offload" in text:
        return UserError(
            f"the disk that DuckDB spills to is full ({text}): make room there, or set "
            "COPYMART_SPILL_FOLDER to a folder on another disk"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return UserError(
            f"DuckDB needs more memory than it may use ({text}): raise COPYMART_MEMORY_LIMIT, or the "
            "memory_limit of the profile's target"
        )
    return None


def connect(
    project_dir: Path, profiles_dir: Path | None = None, target: str | None = None, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open the DuckDB file of the profile's target, with the profile's settings and what it attaches.

    Raises:
        UserError: the target is not DuckDB, its file is missing (if `read_only`), in use or unreadable, a
            setting has a value that DuckDB does not accept, or a database cannot be attached.
    """
    settings, found = _credentials(project_dir, profiles_dir, target)
    if settings["type"] != "duckdb":
        raise UserError(
            f"this command works on a DuckDB target; the profile's target is of type {settings['type']}"
        )
    # As in dbt, a relative path starts at the current folder.
    path = Path(settings["path"])
    if settings["path"] == ":memory:":
        raise UserError(
            "the profile's target is a DuckDB in memory, which keeps nothing: set COPYMART_DUCKDB to a "
            "file, or the path of the profile's target"
        )
    _check_access(path, read_only)
    limit = str((settings.get("settings") or {}).get("memory_limit", "")).strip()
    # DuckDB takes these for no limit at all, and then the system ends the process
    if limit.startswith("-") or limit.lower() in ("none", "null"):
        raise UserError(f"the memory limit is {limit}: set COPYMART_MEMORY_LIMIT to an amount such as 3500MB")
    try:
        connection = duckdb.connect(
            str(path), read_only=read_only, config=settings.get("config_options") or {}
        )
        for name, value in (settings.get("settings") or {}).items():
            connection.execute(f"set {name} = {_literal(value)}")
    except duckdb.IOException as error:
        raise _in_use(path, error) or UserError(f"cannot open {path.resolve()}: {error}") from error
    except duckdb.Error as error:
        raise UserError(
            "DuckDB does not take the settings of the profile's target, of which COPYMART_MEMORY_LIMIT is "
            f"one: {error}"
        ) from error
    _attach(connection, found, read_only)
    return connection


def connect_nowhere(
    project_dir: Path, profiles_dir: Path | None = None, target: str | None = None
) -> duckdb.DuckDBPyConnection:
    """Open an empty DuckDB in memory with what the profile's target attaches.

    Raises:
        UserError: a database cannot be attached.
    """
    connection = duckdb.connect()
    _, found = _credentials(project_dir, profiles_dir, target)
    _attach(connection, found, read_only=True)
    return connection


def _attach(connection: duckdb.DuckDBPyConnection, profile: Any, read_only: bool) -> None:
    """Attach the databases of the profile's target as dbt does, after the extensions and secrets for them."""
    if not profile or not profile.attach:
        return
    try:
        for extension in profile.extensions or ():
            named = extension if isinstance(extension, str) else extension["name"]
            source = "" if isinstance(extension, str) else f" from {extension['repo']}"
            connection.execute(f"install {named}{source}")
            connection.load_extension(named)
        for statement in profile.secrets_sql():
            connection.execute(statement)
    except duckdb.Error as error:
        raise UserError(
            f"DuckDB does not take the extensions or secrets of the profile's target: {error}"
        ) from error
    for attachment in profile.attach:
        # a file of DuckDB that is only read may be open elsewhere too; of other types some know no READ_ONLY
        own = read_only and attachment.type in (None, "duckdb") and not (attachment.options or {})
        try:
            connection.execute((replace(attachment, read_only=True) if own else attachment).to_sql())
        except duckdb.Error as error:
            if used := _in_use(Path(attachment.path), error):
                raise used from error
            raise UserError(
                f"the profile's target attaches {attachment.path}, which DuckDB cannot open: {error}"
            ) from error


def connect_snowflake(
    project_dir: Path,
    profiles_dir: Path | None = None,
    target: str | None = None,
    verb: str = "",
    tags: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    as_role: bool = True,
    role: str | None = None,
    alone: bool = True,
) -> Any:
    """Open a session of the Snowflake target, with the profile's settings as dbt reads them: key pair, single
    sign-on, OAuth, host and port. Returns a `SnowflakeConnection` that commits each statement by itself. Its
    queries are tagged with the verb, by which their cost can be found, and with `tags`. `parameters`: session
    parameters. `role`: the role of the session instead of the profile's. Without `as_role` the session begins
    with the user's default role, because the profile's role need not exist yet. The session acts as that
    role alone: with all roles of the user, which is Snowflake's default, what a role may not do would be seen
    only by a user who has no other. Without `alone` it has what the user has, as dbt's sessions do.

    Raises:
        UserError: the target is not Snowflake, or its session cannot be opened.
    """
    given, settings = _credentials(project_dir, profiles_dir, target)
    if given["type"] != "snowflake":
        raise UserError(
            f"this needs a Snowflake target; the profile's target is of type {given['type']}: give --target"
        )
    # imported here because it takes half a second, which DuckDB targets should not
    import snowflake.connector
    from dbt_common.exceptions import DbtBaseException

    try:
        session = snowflake.connector.connect(
            account=settings.account,
            database=settings.database,
            schema=settings.schema,
            warehouse=settings.warehouse,
            role=(role or settings.role) if as_role else None,
            autocommit=True,
            application="copymart",
            client_session_keep_alive=True,
            # as dbt does: asking the clouds' metadata servers takes seconds where there are none
            platform_detection_timeout_seconds=settings.platform_detection_timeout_seconds,
            session_parameters={**_FIXED, **(parameters or {}), "QUERY_TAG": query_tag(verb, tags)},
            **settings.auth_args(),
        )
        if alone:
            with session.cursor() as cursor:
                cursor.execute("use secondary roles none")
        return session
    except (snowflake.connector.errors.Error, DbtBaseException, ValueError, OSError) as error:
        raise UserError(
            f"no session on the Snowflake account {settings.account} as {settings.user}"
            f"{f' with the role {role}' if role else ''}: {error}. Check account, user, role and key of the "
            "profile's target; `dbt debug` tries the same"
        ) from error


def query_tag(verb: str, tags: Mapping[str, str] | None = None) -> str:
    """Return the tag that a verb's queries have in Snowflake's query history."""
    return json.dumps({"app": "copymart", "verb": verb, **(tags or {})})


def layer_schema(settings: dict[str, Any], layer: str, production_schema: str) -> str:
    """The schema of a layer such as staging, by the rule of macros/project/generate_schema_name.sql."""
    own = settings["schema"]
    if settings["type"] == "duckdb" or own.upper() == production_schema.upper():
        return layer
    return f"{own}_{layer}"


def _in_use(path: Path, error: duckdb.Error) -> UserError | None:
    """What to do about a file that another process has open; None for other errors."""
    if "Could not set lock on file" not in str(error):
        return None
    holder = re.search(r"held in (\S.*?\(PID \d+\))", str(error))
    return UserError(
        f"another process has {path.resolve()} open{f': {holder[1]}' if holder else ''}. DuckDB lets one "
        "process write or several read: wait until it ends, or close it, and run this again"
    )


def _check_access(path: Path, read_only: bool) -> None:
    folder = path.absolute().parent
    if read_only and not path.exists():
        raise UserError(f"{path.resolve()} does not exist: run `copymart land` and `dbt build` first")
    if not folder.is_dir():
        raise UserError(f"folder {folder} does not exist: make it, or set COPYMART_DUCKDB to another file")
    if path.exists() and not os.access(path, os.R_OK if read_only else os.W_OK):
        raise UserError(f"no permission to {'read' if read_only else 'write'} {path.resolve()}")
    # DuckDB writes a log beside the file, but opens the file without checking that it can.
    if not read_only and not os.access(path.resolve().parent, os.W_OK | os.X_OK):
        raise UserError(f"no permission to write in {path.resolve().parent}, where DuckDB keeps its log")


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
