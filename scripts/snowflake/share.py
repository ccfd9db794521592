"""copymart share: shares the reviewed views with other Snowflake accounts, by a plan that it then applies."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts import warehouse
from scripts.console import SNOWFLAKE, WHAT, WHERE_TO, console, progress
from scripts.errors import UserError
from scripts.snowflake import account as snowflake_account
from scripts.snowflake.account import Step
from scripts.snowflake.names import account, identifier, parts, quoted
from scripts.snowflake.share_plan import (
    Plan,
    State,
    View,
    Wanted,
    faults,
    plan_give,
    plan_revoke,
    read,
    require_consumers,
    what_is_left,
)

FOLDER = "shares"
ROLE = "COPYMART_SHARE_ROLE"


class Grant(StrEnum):
    """The named grants of models/shares/_shares.yml."""

    METRICS = "metrics"
    AGREEMENT = "agreement"


EXAMPLES = """
copymart share --account ACME.ANALYTICS --dry-run
copymart share --account ACME.ANALYTICS --check
copymart share --account ACME.ANALYTICS --revoke
"""


def share(
    account_names: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            help="Consumer's account, ORG.ACCOUNT or a locator; may be repeated. Without it, the share's "
            "grants are updated and its accounts stay.",
            rich_help_panel=WHERE_TO,
        ),
    ] = None,
    grant: Annotated[
        Grant,
        typer.Option(
            help="`metrics` gives counts and versions, no person and no words; `agreement` gives the calls, "
            "the nine fields of the vendor's record.",
            rich_help_panel=WHAT,
        ),
    ] = Grant.METRICS,
    revoke: Annotated[
        bool,
        typer.Option(
            "--revoke",
            help="Take the share from the named accounts, or from all and drop it.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Change nothing; exit status 1 when the share is not as it should be.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan; change nothing.", rich_help_panel=WHAT)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.", rich_help_panel=WHAT)] = False,
    share_name: Annotated[
        str | None,
        typer.Option(
            "--share",
            help="Name of the share.",
            show_default="COPYMART_ and the grant",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="Role that owns the share; `copymart bootstrap snowflake` creates one.",
            envvar=ROLE,
            show_default="the profile's role",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = None,
    lower_edition: Annotated[
        bool,
        typer.Option(
            "--lower-edition",
            help="Let a Business Critical account share with accounts of a lower edition "
            "(needs OVERRIDE SHARE RESTRICTIONS).",
            rich_help_panel=SNOWFLAKE,
        ),
    ] = False,
    project_dir: warehouse.ProjectDir = Path(),
    profiles_dir: warehouse.ProfilesDir = None,
    target: warehouse.Target = None,
) -> None:
    """Share the reviewed views with other Snowflake accounts, or take them away.

    Shows the plan first: unchanged (=), added (+), removed (-). Applying it again changes nothing. A rebuilt
    view may drop out of a share: `--check` finds that, and the same command puts the view back.

    Shares work within one region and cloud; elsewhere the consumer needs replication or a listing with
    auto-fulfilment.

    \f
    Raises:
        UserError: a name is no Snowflake name, the views are not there as reviewed, Snowflake refuses a
            statement, what was asked did not happen (an account does not exist, another role has granted what
            should go), or the role sees no share to revoke, or an account to revoke from does not have it.
    """
    if revoke and (check or lower_edition):
        raise UserError("--revoke goes with neither --check nor --lower-edition")
    accounts = [account(name) for name in account_names or []]
    named = role and identifier(role, "role")
    name = identifier(share_name or f"copymart_{grant}", "share")
    settings = warehouse.credentials(project_dir, profiles_dir, target)
    if settings["type"] != "snowflake":
        raise UserError(
            f"shares are Snowflake's; the profile's target is of type {settings['type']}: "
            "give --target snowflake"
        )
    owner = named or identifier(settings["role"] or "", "role of the profile")
    wanted = reviewed(_manifest(project_dir, profiles_dir, target), grant, name)
    session = warehouse.connect_snowflake(project_dir, profiles_dir, target, "share", as_role=False)
    try:
        snowflake_account.use_role(session, owner, ROLE)
        state = read(session, wanted)
        if revoke:
            require_consumers(wanted, state, accounts)
        else:
            _stop_on(faults(wanted, state), check)
        plan = _plan(wanted, state, accounts, revoke, lower_edition)
        _show(plan, wanted, state, owner)
        if check:
            _verdict(plan)
        elif plan.changes and dry_run:
            console.print("\nDry run: nothing was changed. These statements would run:\n")
            console.print(_script(plan, owner), end="", soft_wrap=True)
        elif plan.changes and (yes or typer.confirm("\nApply this plan?")):
            _apply(session, plan, owner)
            _stop_on_what_is_left(session, wanted, accounts, revoke, lower_edition)
        elif plan.changes:
            console.print("nothing was changed")
    finally:
        session.close()


def reviewed(manifest: Any, grant: Grant, share_name: str) -> Wanted:
    """Return what the grant holds, from dbt's manifest: the views of models/shares that name the grant.

    Raises:
        UserError: a model there names no grant, or the grant has no views, or they lie in several databases.
    """
    views = []
    references: set[str] = set()
    for node in manifest.nodes.values():
        if node.resource_type != "model" or node.fqn[1] != FOLDER:
            continue
        named = node.config.meta.get("grant")
        if named not in list(Grant):
            raise UserError(
                f"model {node.name} in models/{FOLDER} names no grant: set meta: grant: "
                f"{' or '.join(Grant)} in _shares.yml"
            )
        if named == grant:
            path = parts(node.relation_name)
            views.append(View(path, tuple(column.upper() for column in node.columns)))
            references |= _databases(manifest, node) - {path[0]}
    if len({view.path[0] for view in views}) != 1:
        raise UserError(
            f"the views of the grant {grant} lie in none or in several databases; a share has one"
        )
    return Wanted(
        share_name, grant, tuple(sorted(views, key=lambda view: view.path)), tuple(sorted(references))
    )


def _databases(manifest: Any, node: Any) -> set[str]:
    """Return the databases of everything that a view reads, also through other views."""
    found = set()
    for unique_id in node.depends_on.nodes:
        parent = manifest.nodes.get(unique_id) or manifest.sources[unique_id]
        if parent.resource_type == "model" and parent.config.materialized == "ephemeral":
            found |= _databases(manifest, parent)
            continue
        found.add(parts(parent.relation_name)[0])
        if parent.resource_type == "model" and parent.config.materialized == "view":
            found |= _databases(manifest, parent)
    return found


def _manifest(project_dir: Path, profiles_dir: Path | None, target: str | None) -> Any:
    """Let dbt parse the project for the target, whose macros decide the schema of a view. No connection.

    Raises:
        UserError: dbt cannot read it.
    """
    # Imported here because it takes seconds, which --help should not.
    from dbt.cli.main import dbtRunner

    arguments = ["--quiet", "parse", "--project-dir", str(project_dir)]
    arguments += ["--profiles-dir", str(profiles_dir)] if profiles_dir else []
    arguments += ["--target", target] if target else []
    with progress("read models/shares", None):
        result = dbtRunner().invoke(arguments)
    if not result.success:
        raise UserError(f"dbt cannot read the project: {result.exception or 'see the messages above'}")
    return result.result


def _plan(wanted: Wanted, state: State, accounts: list[str], revoke: bool, lower_edition: bool) -> Plan:
    if revoke:
        return plan_revoke(wanted, state, accounts)
    return plan_give(wanted, state, accounts, lower_edition)


def _script(plan: Plan, owner: str) -> str:
    return snowflake_account.script([_step(plan, owner)])


def _step(plan: Plan, owner: str) -> Step:
    return Step(quoted(owner), "copymart share", plan.statements)


def _show(plan: Plan, wanted: Wanted, state: State, owner: str) -> None:
    console.print(
        f"Share {wanted.share}, grant {wanted.grant}, by {owner} in {state.account} ({state.region})\n",
        soft_wrap=True,
    )
    colours = {"+": "green", "-": "red", "=": "dim"}
    for line in plan.lines:
        console.print(f"  {line.sign} {line.text}", style=colours[line.sign], soft_wrap=True)
    count = {sign: sum(line.sign == sign for line in plan.lines) for sign in colours}
    if plan.changes:
        console.print(f"\nPlan: {count['+']} to add, {count['-']} to remove, {count['=']} unchanged.")
    else:
        console.print("\nNo changes.")


def _stop_on(found: list[str], check: bool) -> None:
    if found:
        head = "the share is not as it should be" if check else "nothing was changed"
        raise UserError("\n  ".join([f"{head}:", *found]))


def _verdict(plan: Plan) -> None:
    if plan.changes:
        raise UserError(
            "the share is not as it should be, see + and - above; "
            "`copymart share` without --check puts it right"
        )


def _apply(session: Any, plan: Plan, owner: str) -> None:
    done = snowflake_account.run_steps(session, [_step(plan, owner)], "share")
    console.print(f"\nApplied: {done} statements.")


def _stop_on_what_is_left(
    session: Any, wanted: Wanted, accounts: list[str], revoke: bool, lower_edition: bool
) -> None:
    """Read the state again and raise UserError unless nothing is left to do."""
    state = read(session, wanted)
    if revoke and not state.exists:
        return
    left = what_is_left(_plan(wanted, state, accounts, revoke, lower_edition), state)
    if left:
        raise UserError(
            "\n  ".join(["Snowflake took every statement, and yet the share is not as planned:", *left])
        )
