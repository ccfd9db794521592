"""An account for `strict_snowflake` in memory: its objects, roles and grants, and who may do what."""

import re
import tomllib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from snowflake.connector.errors import ProgrammingError

from scripts.snowflake.names import parts

RULES = {
    rule: (entry["says"], entry["page"])
    for rule, entry in tomllib.loads(Path(__file__).with_name("snowflake_rules.toml").read_text()).items()
}


# What the connector calls "does not exist or not authorized".
_NOT_THERE = 2003


class Refused(ProgrammingError):
    """Snowflake's no; `rule` is the key in RULES of the sentence that it follows."""

    def __init__(self, rule: str, what: str) -> None:
        quote, page = RULES[rule]
        said = f'{what}: "{quote}" (docs.snowflake.com/en/{page})'
        super().__init__(said, errno=_NOT_THERE if rule in ("name", "share resolved") else -1)
        self.rule = rule


def refuse(rule: str, what: str) -> NoReturn:
    raise Refused(rule, what)


Name = tuple[str, ...]

SYSTEM_ROLES = {
    "ACCOUNTADMIN": {
        "CREATE SHARE",
        "IMPORT SHARE",
        "MANAGE SHARE TARGET",
        "CREATE INTEGRATION",
        "OVERRIDE SHARE RESTRICTIONS",
    },
    "SECURITYADMIN": {"MANAGE GRANTS"},
    "USERADMIN": {"CREATE ROLE"},
    "SYSADMIN": {"CREATE WAREHOUSE", "CREATE DATABASE"},
}
HIERARCHY = {"SECURITYADMIN": {"ACCOUNTADMIN"}, "SYSADMIN": {"ACCOUNTADMIN"}, "USERADMIN": {"SECURITYADMIN"}}


@dataclass
class Share:
    """A share: what is granted to it, by which role, and to whom it is given."""

    owner: str
    privileges: list[tuple[str, str, Name]] = field(default_factory=list)
    grantors: dict[tuple[str, str, Name], str] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)


@dataclass
class Account:
    """The state of an account. `objects` maps (kind, path) to properties, of which `owner` is one."""

    name: str = "ACME.PROD"
    region: str = "AWS_EU_CENTRAL_1"
    edition: str = "ENTERPRISE"
    consumers: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {"JUSTAI.ANALYTICS": ("AWS_EU_CENTRAL_1", "ENTERPRISE")}
    )
    users: dict[str, set[str]] = field(default_factory=lambda: {"ADMIN": {"ACCOUNTADMIN"}})
    parents: dict[str, set[str]] = field(default_factory=lambda: deepcopy(HIERARCHY))
    roles: set[str] = field(default_factory=lambda: set(SYSTEM_ROLES))
    objects: dict[tuple[str, Name], dict[str, Any]] = field(default_factory=dict)
    grants: set[tuple[str, str, str, Name, bool]] = field(
        default_factory=lambda: {
            (role, privilege, "ACCOUNT", (), True)
            for role, held in SYSTEM_ROLES.items()
            for privilege in held
        }
    )
    future: set[tuple[str, str, str, Name, bool]] = field(default_factory=set)
    shares: dict[str, Share] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    # DEFAULT_SECONDARY_ROLES of its users: ALL or NONE
    secondary: str = "ALL"


_ID = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
_PATH = rf"{_ID}(?:\.{_ID})*"
TEXT = r"'(?:[^'\\]|''|\\.)*'"
_KINDS = r"DATABASE|SCHEMA|TABLE|VIEW|STAGE|WAREHOUSE|INTEGRATION|RESOURCE MONITOR|PIPE"
HANDLERS: list[tuple[re.Pattern[str], Callable[..., Any]]] = []


def form(pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method for statements of a form; {path}, {id}, {text} and {kinds} stand for theirs."""
    filled = (
        pattern.replace("{path}", _PATH)
        .replace("{id}", _ID)
        .replace("{text}", TEXT)
        .replace("{kinds}", _KINDS)
    )
    compiled = re.compile(filled.replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        HANDLERS.append((compiled, method))
        return method

    return register


Rows = tuple[list[str], list[tuple[Any, ...]]]
DONE: Rows = (["status"], [("Statement executed successfully.",)])


class Session:
    """A DB-API connection of one user to an Account: its role and rights, without any statement."""

    def __init__(self, account: Account | None = None, user: str = "ADMIN") -> None:
        self.account = account or Account()
        self.user = user
        self.role = sorted(self.account.users[user])[0]
        self.secondary = self.account.secondary
        self.log: list[str] = []
        # database and schema of names that have none
        self.place: Name = ()

    def cursor(self) -> "Cursor":
        return Cursor(self)

    def close(self) -> None:
        """Nothing to release: the account outlives the session."""

    def run(self, statement: str) -> Rows:
        """Run one statement, or refuse it."""
        text = statement.strip().rstrip(";")
        for pattern, method in HANDLERS:
            match = pattern.fullmatch(text)
            if match:
                self.log.append(text)
                result: Rows | None = method(self, **match.groupdict())
                return result or DONE
        self.log.append(text)
        return self.query(text)

    def whole(self, given: Name, length: int) -> Name:
        """A name of so many parts, with those of the session where it has none."""
        return (*self.place[: length - len(given)], *given)

    def query(self, text: str) -> Rows:
        """Run a statement of no registered form."""
        refuse("form", text)

    # -- roles and privileges

    def acting(self, primary: bool = False) -> set[str]:
        """The current role, the secondary ones unless only the `primary` counts, and what they inherit."""
        found = {self.role}
        if self.secondary == "ALL" and not primary:
            found |= self.account.users[self.user]
        while True:
            more = {
                role
                for role, parents in self.account.parents.items()
                if parents & found and role not in found
            }
            if not more:
                return found
            found |= more

    def holds(self, privilege: str, kind: str = "ACCOUNT", path: Name = (), option: bool = False) -> bool:
        """Whether the role has the privilege (with the right to pass it on), by a grant or by ownership."""
        # sql/use-secondary-roles: "authorization to execute CREATE <object> statements to create objects is
        # provided by the primary role"
        acting = self.acting(primary=privilege.startswith("CREATE "))
        owner = self.account.objects.get((kind, path), {}).get("owner")
        return owner in acting or any(
            role in acting
            and held in (privilege, "ALL")
            and (k, p) == (kind, path)
            and (passes or not option)
            for role, held, k, p, passes in self.account.grants
        )

    def sees(self, kind: str, path: Name) -> bool:
        """Whether the object is there and the role has anything to do with it."""
        if (kind, path) not in self.account.objects:
            return False
        acting = self.acting()
        return (
            self.holds("MANAGE GRANTS")
            or self.account.objects[kind, path]["owner"] in acting
            or any(role in acting and (k, p) == (kind, path) for role, _, k, p, _ in self.account.grants)
        )

    def need(self, kind: str, path: Name) -> dict[str, Any]:
        """Return the object's properties, or refuse: what is not there and what is not seen look the same."""
        if not self.sees(kind, path):
            refuse("name", f"{kind} {'.'.join(path)} does not exist or not authorized")
        for depth, parent in ((1, "DATABASE"), (2, "SCHEMA")):
            if len(path) > depth and not self.sees(parent, path[:depth]):
                refuse("parents", f"no privilege on {parent} {'.'.join(path[:depth])}")
        return self.account.objects[kind, path]

    def need_role(self, name: str) -> str:
        (role,) = parts(name)
        if role not in self.account.roles:
            refuse("name", f"role {role} does not exist or not authorized")
        return role

    def create(
        self, kind: str, path: Name, absent_only: str | None, replace: str | None, **properties: Any
    ) -> None:
        """Make an object owned by the role; future grants of its schema take effect."""
        if absent_only and replace:
            refuse("replace or not", f"create {kind}")
        if (kind, path) in self.account.objects and not replace:
            if absent_only:
                return
            refuse("unique", f"{kind} {'.'.join(path)} already exists")
        self.account.objects[kind, path] = {"owner": self.role, **properties}
        for role, privilege, future_kind, schema, option in self.account.future:
            if future_kind == kind and schema == path[:2]:
                self.account.grants.add((role, privilege, kind, path, option))


class Cursor:
    """The part of a DB-API cursor that copymart uses."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.description: list[tuple[str]] = []
        self.found: list[tuple[Any, ...]] = []

    def execute(self, statement: str) -> "Cursor":
        names, self.found = self.session.run(statement)
        self.description = [(name,) for name in names]
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.found

    def close(self) -> None:
        """Nothing to release."""


def options_of(text: str) -> dict[str, str]:
    return {name.upper(): value.upper() for name, value in re.findall(r"(\w+)\s+=\s+(\w+)", text)}


def texts_of(text: str) -> list[str]:
    return [found.strip("'") for found in re.findall(TEXT, text)]


def columns_of(text: str) -> tuple[str, ...]:
    return tuple(parts(column.split()[0])[0] for column in text.split(",") if column.strip())


def words_of(names: str) -> list[str]:
    return [" ".join(name.split()).upper() for name in names.split(",")]
