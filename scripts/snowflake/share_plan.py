"""What a Snowflake share holds, what it should hold, and the statements that lead from one to the other.

Nothing here changes anything: `read` asks, `plan_give` and `plan_revoke` compare. The order follows
Snowflake's rules: a container before its objects, REFERENCE_USAGE before SELECT, all grants before the first
account (GRANT <privilege> … TO SHARE; Create and configure shares).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scripts.errors import UserError
from scripts.snowflake.account import rows, rows_if_there
from scripts.snowflake.names import literal, parts, quoted


@dataclass(frozen=True)
class View:
    """A view of the reviewed list: its stored name and exactly the columns that may leave."""

    path: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a share should hold. `references` are the other databases whose tables the views read."""

    share: str
    grant: str
    views: tuple[View, ...]
    references: tuple[str, ...] = ()

    @property
    def database(self) -> str:
        """The one database a share may have USAGE on."""
        return self.views[0].path[0]

    @property
    def schemas(self) -> list[tuple[str, ...]]:
        """The schemas of the views."""
        return sorted({view.path[:2] for view in self.views})


@dataclass(frozen=True, order=True)
class Privilege:
    """One grant to a share; `kind` is Snowflake's name of the kind of object, `path` its stored name."""

    name: str
    kind: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        """`select on view COPYMART.SHARES.CALLS`."""
        return f"{self.name.lower()} on {self.kind.lower()} {'.'.join(self.path)}"

    def sql(self) -> str:
        """The same, quoted for a statement."""
        return f"{self.name.lower()} on {self.kind.lower()} {quoted(*self.path)}"


@dataclass(frozen=True)
class State:
    """What exists in the account: the share with its grants and consumers, and the views in its schemas.

    `exists`: the role sees the share; where it does not, there may be one that another role owns. `grantors`:
    the role that granted each privilege, where Snowflake says it.
    """

    account: str
    region: str
    exists: bool
    accounts: tuple[str, ...]
    grantors: dict[Privilege, str]
    secure: dict[tuple[str, ...], bool]
    columns: dict[tuple[str, ...], tuple[str, ...]]

    @property
    def privileges(self) -> frozenset[Privilege]:
        """What is granted to the share."""
        return frozenset(self.grantors)

    @property
    def database(self) -> str | None:
        """The one database that the share has USAGE on, if it has one yet."""
        found = (held.path[0] for held in self.grantors if (held.name, held.kind) == ("USAGE", "DATABASE"))
        return next(found, None)


@dataclass(frozen=True)
class Change:
    """One line of a plan: `+` added, `-` removed, `=` unchanged. A change has its statement."""

    sign: str
    text: str
    statement: str | None = None


@dataclass(frozen=True)
class Plan:
    """Every line of a plan in the order in which its statements run."""

    lines: tuple[Change, ...] = field(default=())

    @property
    def changes(self) -> list[Change]:
        """The lines that change something."""
        return [line for line in self.lines if line.sign != "="]

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements to run; accounts of one statement are several lines."""
        return tuple(dict.fromkeys(line.statement for line in self.lines if line.statement))


def read(session: Any, wanted: Wanted) -> State:
    """Ask the account for everything that a plan depends on.

    Not by SHOW SHARES: it is empty for a role without IMPORT SHARE, and names at most three accounts. SHOW
    GRANTS fails for a share that the role does not see. It calls a view a table in some accounts (behaviour
    change 2371 makes it VIEW); SHOW VIEWS shows which it is. A schema that was dropped has no views, and must
    not keep a share from being taken away.

    Raises:
        UserError: Snowflake refused to answer.
    """
    (context,) = rows(
        session,
        "select current_organization_name() as organization, current_account_name() as account, "
        "current_region() as region",
    )
    secure: dict[tuple[str, ...], bool] = {
        (schema[0], schema[1], view["name"]): str(view["is_secure"]).lower() == "true"
        for schema in wanted.schemas
        for view in rows_if_there(session, f"show views in schema {quoted(*schema)}") or []
    }
    columns: dict[tuple[str, ...], tuple[str, ...]] = {
        view.path: tuple(column["name"] for column in rows(session, f"describe view {quoted(*view.path)}"))
        for view in wanted.views
        if view.path in secure
    }
    share = quoted(wanted.share)
    held = rows_if_there(session, f"show grants to share {share}")
    consumers = [] if held is None else rows(session, f"show grants of share {share}")
    return State(
        account=f"{context['organization']}.{context['account']}",
        region=context["region"],
        exists=held is not None,
        accounts=tuple(sorted(row["grantee_name"].upper() for row in consumers)),
        grantors={
            Privilege(row["privilege"], _kind(row, secure), parts(row["name"])): row.get("granted_by") or ""
            for row in held or []
        },
        secure=secure,
        columns=columns,
    )


def _kind(row: dict[str, Any], secure: dict[tuple[str, ...], bool]) -> str:
    return "VIEW" if parts(row["name"]) in secure else str(row["granted_on"]).replace("_", " ")


def privileges(wanted: Wanted) -> list[Privilege]:
    """Return what a share needs, in the order that Snowflake requires."""
    return [
        Privilege("USAGE", "DATABASE", (wanted.database,)),
        *(Privilege("USAGE", "SCHEMA", schema) for schema in wanted.schemas),
        *(Privilege("REFERENCE_USAGE", "DATABASE", (database,)) for database in wanted.references),
        *(Privilege("SELECT", "VIEW", view.path) for view in wanted.views),
    ]


def faults(wanted: Wanted, state: State) -> list[str]:
    """Return why the views may not be shared: one is missing, is not secure, or has other columns."""
    found = []
    for view in wanted.views:
        name = ".".join(view.path)
        if view.path not in state.secure:
            found.append(
                f"view {name} does not exist, or the role has no privilege on it: run `dbt build` first"
            )
            continue
        if not state.secure[view.path]:
            found.append(f"view {name} is not secure: it was not made by dbt with this project's settings")
        if set(state.columns[view.path]) != set(view.columns):
            more = sorted(set(state.columns[view.path]) - set(view.columns))
            less = sorted(set(view.columns) - set(state.columns[view.path]))
            found.append(
                f"view {name} has not the reviewed columns: "
                + "; ".join(
                    f"{word} {', '.join(names)}" for word, names in (("also", more), ("not", less)) if names
                )
                + ". Run `dbt build` with the project as it is now"
            )
    return found


def plan_give(wanted: Wanted, state: State, accounts: Iterable[str], lower_edition: bool = False) -> Plan:
    """Compare the share with what it should hold; its other accounts stay.

    Raises:
        UserError: the account itself is to be a consumer, or the share's name is taken by one of another
            database.
    """
    named = sorted(set(accounts))
    if state.account in named:
        raise UserError(f"{state.account} is the account that shares; name the consumer's")
    if state.database not in (None, wanted.database):
        raise UserError(
            f"there is a share {wanted.share} of database {state.database}, and a share has one database: "
            "name another with --share"
        )
    share = quoted(wanted.share)
    comment = literal(f"copymart: the grant {wanted.grant}")
    there = Change("=", f"share {wanted.share}")
    made = Change("+", f"share {wanted.share}", f"create share {share} comment = {comment}")
    lines = [there if state.exists else made]
    needed = privileges(wanted)
    for privilege in needed:
        if privilege in state.privileges:
            lines.append(Change("=", str(privilege)))
        else:
            lines.append(Change("+", str(privilege), f"grant {privilege.sql()} to share {share}"))
    # objects before their containers
    strays = sorted(state.privileges - set(needed), key=lambda stray: (-len(stray.path), stray))
    for stray in strays:
        lines.append(Change("-", str(stray), f"revoke {stray.sql()} from share {share}"))
    missing = [name for name in named if name not in state.accounts]
    restrictions = " share_restrictions = false" if lower_edition else ""
    add = f"alter share {share} add accounts = {', '.join(missing)}{restrictions}"
    lines.extend(Change("=", f"account {name}") for name in state.accounts)
    lines.extend(Change("+", f"account {name}", add) for name in missing)
    return Plan(tuple(lines))


def what_is_left(plan: Plan, state: State) -> list[str]:
    """Say what a plan that was applied left undone, and why: Snowflake takes such statements in silence."""
    granted_by = {str(privilege): role for privilege, role in state.grantors.items()}
    left = []
    for line in plan.changes:
        text = f"{line.sign} {line.text}"
        if line.sign == "-" and line.text in granted_by:
            role = granted_by[line.text] or "the role that builds the view"
            text += (
                f" (REVOKE takes away only what the role that runs it, or one below it, has granted, and "
                f"{role} has granted this: as ACCOUNTADMIN, run `{line.statement}`, or drop the view)"
            )
        elif line.sign == "+" and line.text.startswith("account "):
            text += " (it does not exist, or is known by its locator: see `show grants of share`)"
        left.append(text)
    return left


def require_consumers(wanted: Wanted, state: State, accounts: Iterable[str]) -> None:
    """Raise UserError when the role sees no such share, or one of the accounts does not have it by this name.

    To answer that nothing is to be done would leave the account what should be taken away.
    """
    if not state.exists:
        raise UserError(
            f"this role sees no share {wanted.share}: there is none, or another role owns it. Nothing was "
            "taken away. `show shares` as ACCOUNTADMIN lists every share with its owner: name it with --role"
        )
    strangers = sorted(set(accounts) - set(state.accounts))
    if strangers:
        raise UserError(
            f"{', '.join(strangers)} does not have the share {wanted.share}; "
            f"{', '.join(state.accounts) or 'nobody'} has. Nothing was taken away: name the account as here"
        )


def plan_revoke(wanted: Wanted, state: State, accounts: Iterable[str]) -> Plan:
    """Take the share from the named accounts, or from all; a share without accounts is dropped."""
    asked = set(accounts)
    named = asked or set(state.accounts)
    left = [name for name in state.accounts if name not in named]
    gone = [name for name in state.accounts if name in named]
    share = quoted(wanted.share)
    remove = f"alter share {share} remove accounts = {', '.join(gone)}"
    lines = [Change("=", f"account {name}") for name in left]
    lines.extend(Change("-", f"account {name}", remove) for name in gone)
    if not left and (gone or not asked):
        lines.append(
            Change("-", f"share {wanted.share}, which no account has any more", f"drop share {share}")
        )
    return Plan(tuple(lines))
