"""A Snowflake account in memory that refuses what Snowflake's documentation refuses.

It proves order and names only: that statements come in an order, under a role and with names that the
documentation allows. It runs no query, holds no row, and was never compared with an account. Every refusal
quotes the sentence of the documentation that it follows, as read in November 2026, and names its page below
docs.snowflake.com/en/. A statement of a form it does not know is refused too.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
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


class Refused(ProgrammingError):
    """Snowflake's no; `rule` is the key in RULES of the sentence that it follows."""

    def __init__(self, rule: str, what: str) -> None:
        quote, page = RULES[rule]
        super().__init__(f'{what}: "{quote}" (docs.snowflake.com/en/{page})')
        self.rule = rule


def _refuse(rule: str, what: str) -> NoReturn:
    raise Refused(rule, what)


Name = tuple[str, ...]

SYSTEM_ROLES = {
    "ACCOUNTADMIN": {
        "CREATE SHARE",
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
    """A share: what is granted to it, and to whom it is given."""

    owner: str
    privileges: list[tuple[str, str, Name]] = field(default_factory=list)
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


_ID = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
_PATH = rf"{_ID}(?:\.{_ID})*"
_TEXT = r"'(?:[^'\\]|''|\\.)*'"
_KINDS = r"DATABASE|SCHEMA|TABLE|VIEW|STAGE|WAREHOUSE|INTEGRATION|RESOURCE MONITOR|PIPE"
_HANDLERS: list[tuple[re.Pattern[str], Callable[..., Any]]] = []


def _form(pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method for statements of a form; {path}, {id}, {text} and {kinds} stand for theirs."""
    filled = (
        pattern.replace("{path}", _PATH)
        .replace("{id}", _ID)
        .replace("{text}", _TEXT)
        .replace("{kinds}", _KINDS)
    )
    compiled = re.compile(filled.replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        _HANDLERS.append((compiled, method))
        return method

    return register


Rows = tuple[list[str], list[tuple[Any, ...]]]
_DONE: Rows = (["status"], [("Statement executed successfully.",)])


class StrictSnowflake:
    """A DB-API connection of one user to an Account; statements are refused with `Refused`."""

    def __init__(self, account: Account | None = None, user: str = "ADMIN") -> None:
        self.account = account or Account()
        self.user = user
        self.role = sorted(self.account.users[user])[0]
        self.log: list[str] = []

    def cursor(self) -> "Cursor":
        return Cursor(self)

    def close(self) -> None:
        """Nothing to release: the account outlives the session."""

    def run(self, statement: str) -> Rows:
        """Run one statement, or refuse it."""
        text = statement.strip().rstrip(";")
        for pattern, method in _HANDLERS:
            match = pattern.fullmatch(text)
            if match:
                self.log.append(text)
                result: Rows | None = method(self, **match.groupdict())
                return result or _DONE
        _refuse("form", text)

    # -- roles and privileges

    def acting(self) -> set[str]:
        """The current role and all that it inherits."""
        found = {self.role}
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
        acting = self.acting()
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
            _refuse("name", f"{kind} {'.'.join(path)} does not exist or not authorized")
        for depth, parent in ((1, "DATABASE"), (2, "SCHEMA")):
            if len(path) > depth and not self.sees(parent, path[:depth]):
                _refuse("parents", f"no privilege on {parent} {'.'.join(path[:depth])}")
        return self.account.objects[kind, path]

    def need_role(self, name: str) -> str:
        (role,) = parts(name)
        if role not in self.account.roles:
            _refuse("name", f"role {role} does not exist or not authorized")
        return role

    def create(
        self, kind: str, path: Name, absent_only: str | None, replace: str | None, **properties: Any
    ) -> None:
        """Make an object owned by the role; future grants of its schema take effect."""
        if absent_only and replace:
            _refuse("replace or not", f"create {kind}")
        if (kind, path) in self.account.objects and not replace:
            if absent_only:
                return
            _refuse("unique", f"{kind} {'.'.join(path)} already exists")
        self.account.objects[kind, path] = {"owner": self.role, **properties}
        for role, privilege, future_kind, schema, option in self.account.future:
            if future_kind == kind and schema == path[:2]:
                self.account.grants.add((role, privilege, kind, path, option))

    # -- roles

    @_form(r"USE ROLE (?P<name>{id})")
    def use_role(self, name: str) -> None:
        (role,) = parts(name)
        held = self.account.users[self.user]
        reachable = set(held)
        before: set[str] = set()
        while before != reachable:
            before = set(reachable)
            reachable |= {child for child, above in self.account.parents.items() if above & reachable}
        if role not in reachable:
            _refuse("role not granted", f"role {role}")
        self.role = role

    @_form(r"CREATE ROLE (?P<absent>IF NOT EXISTS )?(?P<name>{id})(?: COMMENT = {text})?")
    def create_role(self, absent: str | None, name: str) -> None:
        (role,) = parts(name)
        if not self.holds("CREATE ROLE"):
            _refuse("create role", f"{self.role} may not create role {role}")
        if role in self.account.roles and not absent:
            _refuse("unique", f"role {role} already exists")
        self.account.roles.add(role)

    @_form(r"GRANT ROLE (?P<name>{id}) TO (?P<to>ROLE|USER) (?P<grantee>{id})")
    def grant_role(self, name: str, to: str, grantee: str) -> None:
        role = self.need_role(name)
        if not self.holds("MANAGE GRANTS") and not self.holds("CREATE ROLE"):
            _refuse("may not grant", f"{self.role} may not grant role {role}")
        if to.upper() == "ROLE":
            self.account.parents.setdefault(role, set()).add(self.need_role(grantee))
        else:
            (user,) = parts(grantee)
            if user not in self.account.users:
                _refuse("name", f"user {user} does not exist or not authorized")
            self.account.users[user].add(role)

    @_form(r"ALTER USER (?P<name>{id}) SET QUERY_TAG = (?P<tag>{text})")
    def alter_user(self, name: str, tag: str) -> None:
        (user,) = parts(name)
        if user not in self.account.users or "ACCOUNTADMIN" not in self.acting():
            _refuse("name", f"user {user} does not exist or not authorized")
        self.account.tags[user] = tag

    # -- warehouse, monitor, database, schema

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?WAREHOUSE (?P<absent>IF NOT EXISTS )?(?P<name>{id})(?: "
        r"WITH)?(?P<options>( \w+ = \w+)*)"
    )
    def create_warehouse(self, replace: str | None, absent: str | None, name: str, options: str) -> None:
        if not self.holds("CREATE WAREHOUSE"):
            _refuse("create warehouse", f"{self.role} may not create {name}")
        if "RESOURCE_MONITOR" in options.upper():
            _refuse("monitor assignment", name)
        self.create("WAREHOUSE", parts(name), absent, replace, options=_options(options))

    @_form(r"ALTER WAREHOUSE (?P<name>{id}) SET RESOURCE_MONITOR = (?P<monitor>{id})")
    def assign_monitor(self, name: str, monitor: str) -> None:
        properties = self.need("WAREHOUSE", parts(name))
        if "ACCOUNTADMIN" not in self.acting():
            _refuse("monitor assignment", f"{self.role} may not assign {name}")
        self.need("RESOURCE MONITOR", parts(monitor))
        properties["monitor"] = parts(monitor)

    @_form(r"ALTER WAREHOUSE (?P<name>{id}) SET(?P<options>( \w+ = \w+)+)")
    def alter_warehouse(self, name: str, options: str) -> None:
        properties = self.need("WAREHOUSE", parts(name))
        if not self.holds("MODIFY", "WAREHOUSE", parts(name)):
            _refuse("may not grant", f"{self.role} may not alter {name}")
        properties["options"] |= _options(options)

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?RESOURCE MONITOR (?P<absent>IF NOT EXISTS )?(?P<name>{id}) WITH"
        r"(?P<options>( \w+ = \w+)*)(?: TRIGGERS(?P<triggers>( ON \d+ PERCENT DO \w+)+))?"
    )
    def create_monitor(
        self, replace: str | None, absent: str | None, name: str, options: str, triggers: str | None
    ) -> None:
        if "ACCOUNTADMIN" not in self.acting():
            _refuse("monitor by administrator", f"{self.role} may not create {name}")
        given = _options(options)
        if ("FREQUENCY" in given) != ("START_TIMESTAMP" in given):
            _refuse("monitor start", name)
        if len(re.findall(r"DO\s+NOTIFY", triggers or "", re.IGNORECASE)) > 5:
            _refuse("monitor notifications", name)
        self.create("RESOURCE MONITOR", parts(name), absent, replace, options=given)

    @_form(r"ALTER RESOURCE MONITOR (?P<name>{id}) SET(?P<options>( \w+ = \w+)+)")
    def alter_monitor(self, name: str, options: str) -> None:
        if not self.holds("MODIFY", "RESOURCE MONITOR", parts(name)):
            _refuse("monitor by administrator", f"{self.role} may not alter {name}")
        self.need("RESOURCE MONITOR", parts(name))["options"] |= _options(options)

    @_form(r"CREATE (?P<replace>OR REPLACE )?DATABASE (?P<absent>IF NOT EXISTS )?(?P<name>{id})")
    def create_database(self, replace: str | None, absent: str | None, name: str) -> None:
        if not self.holds("CREATE DATABASE"):
            _refuse("create database", f"{self.role} may not create {name}")
        self.create("DATABASE", parts(name), absent, replace)

    @_form(r"CREATE (?P<replace>OR REPLACE )?SCHEMA (?P<absent>IF NOT EXISTS )?(?P<name>{path})")
    def create_schema(self, replace: str | None, absent: str | None, name: str) -> None:
        path = parts(name)
        self.need("DATABASE", path[:1])
        if not self.holds("CREATE SCHEMA", "DATABASE", path[:1]):
            _refuse("create schema", f"{self.role} may not create {name}")
        self.create("SCHEMA", path, absent, replace)

    # -- what lies in schemas

    def _may_create(self, kind: str, path: Name) -> None:
        self.need("DATABASE", path[:1])
        self.need("SCHEMA", path[:2])
        if not self.holds(f"CREATE {kind}", "SCHEMA", path[:2]):
            _refuse(f"create {kind.lower()}", f"{self.role} may not create {'.'.join(path)}")

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?TABLE (?P<absent>IF NOT EXISTS )?(?P<name>{path}) "
        r"\((?P<columns>[^()]*)\)"
    )
    def create_table(self, replace: str | None, absent: str | None, name: str, columns: str) -> None:
        path = parts(name)
        self._may_create("TABLE", path)
        self.create("TABLE", path, absent, replace, columns=_columns(columns))

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?(?P<secure>SECURE )?VIEW (?P<name>{path}) \((?P<columns>[^()]*)\)"
        r"(?P<copy> COPY GRANTS)? AS SELECT .+? FROM (?P<source>{path})"
    )
    def create_view(
        self, replace: str | None, secure: str | None, name: str, columns: str, copy: str | None, source: str
    ) -> None:
        """COPY GRANTS keeps all grants but ownership, those to shares too; without, they are gone."""
        path = parts(name)
        self._may_create("VIEW", path)
        kind = "VIEW" if ("VIEW", parts(source)) in self.account.objects else "TABLE"
        self.need(kind, parts(source))
        if not copy:
            self.account.grants -= {grant for grant in self.account.grants if grant[2:4] == ("VIEW", path)}
            for share in self.account.shares.values():
                share.privileges = [held for held in share.privileges if held[1:] != ("VIEW", path)]
        self.create(
            "VIEW",
            path,
            None,
            replace,
            secure=bool(secure),
            columns=_columns(columns),
            source=(kind, parts(source)),
        )

    @_form(r"DROP VIEW (?P<name>{path})")
    def drop_view(self, name: str) -> None:
        path = parts(name)
        self.need("VIEW", path)
        del self.account.objects["VIEW", path]
        self.account.grants -= {grant for grant in self.account.grants if grant[2:4] == ("VIEW", path)}
        for share in self.account.shares.values():
            share.privileges = [held for held in share.privileges if held[1:] != ("VIEW", path)]

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?STORAGE INTEGRATION (?P<absent>IF NOT EXISTS )?(?P<name>{id}) TYPE "
        r"= EXTERNAL_STAGE"
        r" STORAGE_PROVIDER = 'S3' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = (?P<arn>{text})"
        r"(?: STORAGE_AWS_EXTERNAL_ID = {text})? STORAGE_ALLOWED_LOCATIONS = \((?P<allowed>[^()]*)\)"
    )
    def create_integration(
        self, replace: str | None, absent: str | None, name: str, arn: str, allowed: str
    ) -> None:
        if not self.holds("CREATE INTEGRATION"):
            _refuse("integration", f"{self.role} may not create {name}")
        self.create("INTEGRATION", parts(name), absent, replace, arn=arn, allowed=_texts(allowed))

    @_form(
        r"ALTER STORAGE INTEGRATION (?P<name>{id}) SET STORAGE_AWS_ROLE_ARN = (?P<arn>{text})"
        r"(?: STORAGE_AWS_EXTERNAL_ID = {text})? STORAGE_ALLOWED_LOCATIONS = \((?P<allowed>[^()]*)\)"
    )
    def alter_integration(self, name: str, arn: str, allowed: str) -> None:
        if not self.holds("OWNERSHIP", "INTEGRATION", parts(name)):
            _refuse("integration", f"{self.role} may not alter {name}")
        self.need("INTEGRATION", parts(name)).update(arn=arn, allowed=_texts(allowed))

    def _check_place(self, url: str, integration: str) -> None:
        properties = self.need("INTEGRATION", parts(integration))
        if not self.holds("USAGE", "INTEGRATION", parts(integration)):
            _refuse("integration usage", f"{self.role} may not use {integration}")
        if not any(url.strip("'").startswith(place) for place in properties["allowed"]):
            _refuse("integration place", url)

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?STAGE (?P<absent>IF NOT EXISTS )?(?P<name>{path})"
        r"(?: URL = (?P<url>{text}) STORAGE_INTEGRATION = (?P<integration>{id}))?"
    )
    def create_stage(
        self, replace: str | None, absent: str | None, name: str, url: str | None, integration: str | None
    ) -> None:
        path = parts(name)
        self._may_create("STAGE", path)
        if url and integration:
            self._check_place(url, integration)
        self.create("STAGE", path, absent, replace, url=url)

    @_form(
        r"ALTER STAGE (?P<name>{path}) SET URL = (?P<url>{text}) STORAGE_INTEGRATION = (?P<integration>{id})"
    )
    def alter_stage(self, name: str, url: str, integration: str) -> None:
        properties = self.need("STAGE", parts(name))
        if not self.holds("OWNERSHIP", "STAGE", parts(name)):
            _refuse("create stage", f"{self.role} may not alter {name}")
        self._check_place(url, integration)
        properties["url"] = url

    @_form(
        r"CREATE PIPE (?P<absent>IF NOT EXISTS )?(?P<name>{path}) AUTO_INGEST = TRUE AS COPY INTO "
        r"(?P<table>{path}) "
        r"FROM \(SELECT .+ FROM @(?P<stage>{path})\) FILE_FORMAT = \([^()]*\)"
    )
    def create_pipe(self, absent: str | None, name: str, table: str, stage: str) -> None:
        path = parts(name)
        self._may_create("PIPE", path)
        self._use_stage(stage)
        self.need("TABLE", parts(table))
        if not all(self.holds(privilege, "TABLE", parts(table)) for privilege in ("SELECT", "INSERT")):
            _refuse("pipe table", f"{self.role} may not write {table}")
        self.create("PIPE", path, absent, None, table=parts(table), stage=parts(stage))

    def _use_stage(self, stage: str) -> None:
        properties = self.need("STAGE", parts(stage))
        if not self.holds("USAGE" if properties["url"] else "READ", "STAGE", parts(stage)):
            _refuse("stage privilege", f"{self.role} may not use {stage}")

    @_form(
        r"COPY INTO '?@(?P<stage>{path})(?:/[^\s]*)? FROM (?:{path}|\(.+?\))(?: PARTITION BY "
        r"\((?P<partition>.+?)\))?"
        r" FILE_FORMAT = \((?P<format>[^()]*)\)(?P<options>( \w+ = \w+)*)"
    )
    def unload(self, stage: str, partition: str | None, format: str, options: str) -> None:
        self._use_stage(stage)
        given = _options(options)
        refused = {"OVERWRITE": "TRUE", "SINGLE": "TRUE", "INCLUDE_QUERY_ID": "FALSE"}
        for option, value in refused.items():
            if partition and given.get(option) == value:
                _refuse("partitioned unload", f"{option} = {value}")
        if given.get("INCLUDE_QUERY_ID") == "TRUE" and "TRUE" in (
            given.get("OVERWRITE"),
            given.get("SINGLE"),
        ):
            _refuse("query id", options)
        written = _options(format)
        if written.get("COMPRESSION", "AUTO") not in ("AUTO", "LZO", "SNAPPY", "NONE"):
            _refuse("unloaded parquet", format)

    # -- grants to roles

    @_form(r"GRANT (?P<names>[A-Z ]+) ON ACCOUNT TO ROLE (?P<role>{id})")
    def grant_on_account(self, names: str, role: str) -> None:
        if not self.holds(names.upper(), option=True):
            _refuse("may not grant", f"{self.role} may not grant {names}")
        self.account.grants.add((self.need_role(role), names.upper(), "ACCOUNT", (), False))

    @_form(
        r"GRANT (?P<names>[A-Z_, ]+) ON (?P<which>ALL|FUTURE) (?P<plural>TABLES|VIEWS) IN SCHEMA "
        r"(?P<schema>{path}) "
        r"TO ROLE (?P<role>{id})(?P<option> WITH GRANT OPTION)?"
    )
    def grant_on_many(
        self, names: str, which: str, plural: str, schema: str, role: str, option: str | None
    ) -> None:
        kind, path, grantee = plural.upper().removesuffix("S"), parts(schema), self.need_role(role)
        self.need("SCHEMA", path)
        if which.upper() == "FUTURE":
            if not self.holds("MANAGE GRANTS"):
                _refuse("future grants", f"{self.role} in {schema}")
            self.account.future |= {(grantee, name, kind, path, bool(option)) for name in _list(names)}
            return
        for (found, of), _ in list(self.account.objects.items()):
            if found == kind and of[:2] == path:
                self._grant(_list(names), kind, of, grantee, bool(option))

    @_form(
        r"GRANT (?P<names>[A-Z_, ]+) ON (?P<kind>{kinds}) (?P<name>{path}) TO ROLE (?P<role>{id})(?P<option> "
        r"WITH GRANT OPTION)?"
    )
    def grant_to_role(self, names: str, kind: str, name: str, role: str, option: str | None) -> None:
        self._grant(_list(names), kind.upper(), parts(name), self.need_role(role), bool(option))

    def _grant(self, names: list[str], kind: str, path: Name, role: str, option: bool) -> None:
        properties = self.need(kind, path)
        for name in names:
            if name == "REFERENCE_USAGE":
                _refuse("reference usage to role", f"{kind} {'.'.join(path)}")
            if kind == "STAGE" and name == "USAGE" and not properties["url"]:
                _refuse("stage usage", ".".join(path))
            if kind == "STAGE" and name in ("READ", "WRITE") and properties["url"]:
                _refuse("stage read", ".".join(path))
            held = {
                grant[1] for grant in self.account.grants if (grant[0], *grant[2:4]) == (role, kind, path)
            }
            if kind == "STAGE" and name == "WRITE" and "READ" not in held:
                _refuse("stage write", ".".join(path))
            if not self.holds("MANAGE GRANTS") and not self.holds(name, kind, path, option=True):
                _refuse("may not grant", f"{self.role} may not grant {name} on {'.'.join(path)}")
            self.account.grants.add((role, name, kind, path, option))

    # -- shares

    def _share(self, name: str) -> Share:
        (stored,) = parts(name)
        share = self.account.shares.get(stored)
        if share is None or not (share.owner in self.acting() or self.holds("MANAGE GRANTS")):
            _refuse("share resolved", f"share {stored} does not exist or not authorized")
        return share

    @_form(
        r"CREATE (?P<replace>OR REPLACE )?SHARE (?P<absent>IF NOT EXISTS )?(?P<name>{id})(?: COMMENT = "
        r"{text})?"
    )
    def create_share(self, replace: str | None, absent: str | None, name: str) -> None:
        (stored,) = parts(name)
        if absent and replace:
            _refuse("replace or not", f"create share {stored}")
        if not self.holds("CREATE SHARE"):
            _refuse("create share", f"{self.role} may not create share {stored}")
        if stored in self.account.shares and not replace:
            if absent:
                return
            _refuse("unique", f"share {stored} already exists")
        self.account.shares[stored] = Share(self.role)

    @_form(r"GRANT (?P<names>[A-Z_, ]+) ON FUTURE \w+ IN (?:SCHEMA|DATABASE) {path} TO SHARE (?P<share>{id})")
    def grant_future_to_share(self, names: str, share: str) -> None:
        _refuse("no future to share", f"{names} to {share}")

    @_form(r"GRANT (?P<names>[A-Z_, ]+) ON ALL VIEWS IN SCHEMA {path} TO SHARE (?P<share>{id})")
    def grant_all_views_to_share(self, names: str, share: str) -> None:
        _refuse("all views", f"{names} to {share}")

    @_form(
        r"GRANT (?P<names>[A-Z_, ]+) ON (?P<kind>{kinds}) (?P<name>{path})(?P<more>(?:,\s*{path})*) TO SHARE "
        r"(?P<share>{id})"
    )
    def grant_to_share(self, names: str, kind: str, name: str, more: str | None, share: str) -> None:
        if more:
            _refuse("separate grants", name + more)
        held, kind, path = self._share(share), kind.upper(), parts(name)
        allowed = {
            "DATABASE": {"USAGE", "REFERENCE_USAGE"},
            "SCHEMA": {"USAGE"},
            "TABLE": {"SELECT"},
            "VIEW": {"SELECT"},
        }
        for privilege in _list(names):
            if privilege not in allowed.get(kind, set()):
                _refuse("share privileges", f"{privilege} on {kind}")
            if privilege == "SELECT" and ("USAGE", "SCHEMA", path[:2]) not in held.privileges:
                _refuse("container first", f"{name} before its schema")
            if kind == "SCHEMA" and ("USAGE", "DATABASE", path[:1]) not in held.privileges:
                _refuse("container first", f"{name} before its database")
            properties = self.need(kind, path)
            if properties.get("imported"):
                _refuse("no reshare", name)
            self._check_share_grant(held, privilege, kind, path, properties)
            if (privilege, kind, path) not in held.privileges:
                held.privileges.append((privilege, kind, path))

    def _check_share_grant(
        self, share: Share, privilege: str, kind: str, path: Name, properties: dict[str, Any]
    ) -> None:
        databases = [held[2] for held in share.privileges if held[:2] == ("USAGE", "DATABASE")]
        if (privilege, kind) == ("USAGE", "DATABASE") and databases and databases != [path]:
            _refuse("one database", ".".join(path))
        if privilege == "REFERENCE_USAGE" and not databases:
            _refuse("usage before reference", ".".join(path))
        if kind == "VIEW" and not properties["secure"]:
            _refuse("secure views", ".".join(path))
        if kind == "VIEW":
            for database in self._databases(path) - {path[:1]}:
                if ("REFERENCE_USAGE", "DATABASE", database) not in share.privileges:
                    _refuse("reference first", ".".join(path))
        passes = "USAGE" if privilege == "REFERENCE_USAGE" else privilege
        if not self.holds("MANAGE GRANTS") and not self.holds(passes, kind, path, option=True):
            _refuse("share grant option", f"{self.role} has no {privilege} on {'.'.join(path)} to pass on")

    def _databases(self, view: Name) -> set[Name]:
        """The databases that a view reads, through the views it reads from."""
        kind, source = self.account.objects["VIEW", view]["source"]
        return {source[:1]} | (self._databases(source) if kind == "VIEW" else set())

    @_form(r"REVOKE (?P<names>[A-Z_, ]+) ON (?P<kind>{kinds}) (?P<name>{path}) FROM SHARE (?P<share>{id})")
    def revoke_from_share(self, names: str, kind: str, name: str, share: str) -> None:
        held = self._share(share)
        self.need(kind.upper(), parts(name))
        gone = [(privilege, kind.upper(), parts(name)) for privilege in _list(names)]
        held.privileges = [privilege for privilege in held.privileges if privilege not in gone]

    @_form(
        r"ALTER SHARE (?P<name>{id}) (?P<what>ADD|REMOVE) ACCOUNTS? = (?P<accounts>[\w.]+(?:,\s*[\w.]+)*)"
        r"(?: SHARE_RESTRICTIONS = (?P<restrictions>TRUE|FALSE))?"
    )
    def alter_share(self, name: str, what: str, accounts: str, restrictions: str | None) -> None:
        """An account that does not exist is taken without an error and not added, as documented."""
        share = self._share(name)
        if share.owner not in self.acting():
            _refuse("share ownership", name)
        if not self.holds("MANAGE SHARE TARGET"):
            _refuse("share targets", f"{self.role} on {name}")
        named = [account.strip().upper() for account in accounts.split(",")]
        if what.upper() == "REMOVE":
            share.accounts = [account for account in share.accounts if account not in named]
            return
        if not any(held[:2] == ("USAGE", "DATABASE") for held in share.privileges):
            _refuse("account before database", name)
        open_to_all = (restrictions or "TRUE").upper() == "FALSE"
        if open_to_all and not self.holds("OVERRIDE SHARE RESTRICTIONS"):
            _refuse("override restrictions", self.role)
        for account in named:
            self._add_account(share, account, open_to_all)

    def _add_account(self, share: Share, account: str, open_to_all: bool) -> None:
        if account not in self.account.consumers:
            return
        region, edition = self.account.consumers[account]
        if region != self.account.region:
            _refuse("same region", f"{account} in {region}")
        critical = "BUSINESS_CRITICAL"
        if self.account.edition == critical and edition != critical and not open_to_all:
            _refuse("lower edition", account)
        if account not in share.accounts:
            share.accounts.append(account)

    @_form(r"DROP SHARE (?P<name>{id})")
    def drop_share(self, name: str) -> None:
        (stored,) = parts(name)
        share = self.account.shares.get(stored)
        if share is None:
            _refuse("name", f"share {stored} does not exist or not authorized")
        if share.owner not in self.acting():
            _refuse("drop share", stored)
        del self.account.shares[stored]

    # -- questions

    @_form(
        r"SELECT CURRENT_ORGANIZATION_NAME\(\) AS ORGANIZATION, CURRENT_ACCOUNT_NAME\(\) AS ACCOUNT, "
        r"CURRENT_REGION\(\) AS REGION"
    )
    def context(self) -> Rows:
        organization, account = self.account.name.split(".")
        return ["ORGANIZATION", "ACCOUNT", "REGION"], [(organization, account, self.account.region)]

    @_form(r"SHOW SHARES LIKE (?P<pattern>{text})")
    def show_shares(self, pattern: str) -> Rows:
        """LIKE's _ is a wildcard; inbound shares are shown too, one of the same name among them."""
        like = re.compile(pattern.strip("'").replace("_", "."), re.IGNORECASE)
        names = ["created_on", "kind", "owner_account", "name", "database_name", "to", "owner"]
        found: list[tuple[Any, ...]] = []
        for name, share in self.account.shares.items():
            if like.fullmatch(name) and (share.owner in self.acting() or self.holds("MANAGE GRANTS")):
                database = next(
                    (held[2][0] for held in share.privileges if held[:2] == ("USAGE", "DATABASE")), ""
                )
                found.append(
                    (
                        "now",
                        "OUTBOUND",
                        self.account.name,
                        name,
                        database,
                        ", ".join(share.accounts),
                        share.owner,
                    )
                )
        inbound = ("now", "INBOUND", "OTHER.ACCOUNT", pattern.strip("'"), "", "", "")
        return names, [inbound, *found]

    @_form(r"SHOW GRANTS TO SHARE (?P<name>{id})")
    def show_grants(self, name: str) -> Rows:
        share = self._share(name)
        names = [
            "created_on",
            "privilege",
            "granted_on",
            "name",
            "granted_to",
            "grantee_name",
            "grant_option",
        ]
        return names, [
            # as documented, before behaviour change 2371: a view is called a table, a share has its
            # account's name
            (
                "now",
                privilege,
                "TABLE" if kind == "VIEW" else kind,
                ".".join(path),
                "SHARE",
                f"PROD.{name}",
                "false",
            )
            for privilege, kind, path in share.privileges
        ]

    @_form(r"SHOW VIEWS IN SCHEMA (?P<schema>{path})")
    def show_views(self, schema: str) -> Rows:
        self.need("SCHEMA", parts(schema))
        return ["created_on", "name", "is_secure"], [
            ("now", path[2], str(properties["secure"]).lower())
            for (kind, path), properties in self.account.objects.items()
            if kind == "VIEW" and path[:2] == parts(schema) and self.sees("VIEW", path)
        ]

    @_form(r"SHOW STAGES IN SCHEMA (?P<schema>{path})")
    def show_stages(self, schema: str) -> Rows:
        self.need("SCHEMA", parts(schema))
        return ["created_on", "name", "url"], [
            ("now", path[2], (properties["url"] or "").strip("'"))
            for (kind, path), properties in self.account.objects.items()
            if kind == "STAGE" and path[:2] == parts(schema) and self.sees("STAGE", path)
        ]

    @_form(r"(?:DESC|DESCRIBE) VIEW (?P<name>{path})")
    def describe_view(self, name: str) -> Rows:
        properties = self.need("VIEW", parts(name))
        return ["name", "type"], [(column, "VARCHAR") for column in properties["columns"]]


class Cursor:
    """The part of a DB-API cursor that copymart uses."""

    def __init__(self, session: StrictSnowflake) -> None:
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


def _options(text: str) -> dict[str, str]:
    return {name.upper(): value.upper() for name, value in re.findall(r"(\w+)\s+=\s+(\w+)", text)}


def _texts(text: str) -> list[str]:
    return [found.strip("'") for found in re.findall(_TEXT, text)]


def _columns(text: str) -> tuple[str, ...]:
    return tuple(parts(column.split()[0])[0] for column in text.split(",") if column.strip())


def _list(names: str) -> list[str]:
    return [" ".join(name.split()).upper() for name in names.split(",")]


def run_all(session: StrictSnowflake, statements: Iterable[str]) -> None:
    """Run statements in order."""
    for statement in statements:
        session.run(statement)
