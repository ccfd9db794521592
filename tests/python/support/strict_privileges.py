"""Statements of `strict_snowflake` that grant and share, and those that ask."""

import re
from typing import Any

from scripts.snowflake.names import parts
from support.strict_account import (
    Name,
    Rows,
    Session,
    Share,
    form,
    refuse,
    words_of,
)


class Privileges(Session):
    """Statements that grant, share and show."""

    # -- grants to roles

    @form(r"GRANT (?P<names>[A-Z ]+) ON ACCOUNT TO ROLE (?P<role>{id})")
    def grant_on_account(self, names: str, role: str) -> None:
        if not self.holds(names.upper(), option=True):
            refuse("may not grant", f"{self.role} may not grant {names}")
        self.account.grants.add((self.need_role(role), names.upper(), "ACCOUNT", (), False))

    @form(
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
                refuse("future grants", f"{self.role} in {schema}")
            self.account.future |= {(grantee, name, kind, path, bool(option)) for name in words_of(names)}
            return
        for (found, of), _ in list(self.account.objects.items()):
            if found == kind and of[:2] == path:
                self._grant(words_of(names), kind, of, grantee, bool(option))

    @form(
        r"GRANT (?P<names>[A-Z_, ]+) ON (?P<kind>{kinds}) (?P<name>{path}) TO ROLE (?P<role>{id})(?P<option> "
        r"WITH GRANT OPTION)?"
    )
    def grant_to_role(self, names: str, kind: str, name: str, role: str, option: str | None) -> None:
        self._grant(words_of(names), kind.upper(), parts(name), self.need_role(role), bool(option))

    def _grant(self, names: list[str], kind: str, path: Name, role: str, option: bool) -> None:
        properties = self.need(kind, path)
        for name in names:
            if name == "REFERENCE_USAGE":
                refuse("reference usage to role", f"{kind} {'.'.join(path)}")
            if kind == "STAGE" and name == "USAGE" and not properties["url"]:
                refuse("stage usage", ".".join(path))
            if kind == "STAGE" and name in ("READ", "WRITE") and properties["url"]:
                refuse("stage read", ".".join(path))
            held = {
                grant[1] for grant in self.account.grants if (grant[0], *grant[2:4]) == (role, kind, path)
            }
            if kind == "STAGE" and name == "WRITE" and "READ" not in held:
                refuse("stage write", ".".join(path))
            if not self.holds("MANAGE GRANTS") and not self.holds(name, kind, path, option=True):
                refuse("may not grant", f"{self.role} may not grant {name} on {'.'.join(path)}")
            self.account.grants.add((role, name, kind, path, option))

    # -- shares

    def _share(self, name: str) -> Share:
        (stored,) = parts(name)
        share = self.account.shares.get(stored)
        if share is None or not (share.owner in self.acting() or self.holds("MANAGE GRANTS")):
            refuse("share resolved", f"share {stored} does not exist or not authorized")
        return share

    @form(
        r"CREATE (?P<replace>OR REPLACE )?SHARE (?P<absent>IF NOT EXISTS )?(?P<name>{id})(?: COMMENT = "
        r"{text})?"
    )
    def create_share(self, replace: str | None, absent: str | None, name: str) -> None:
        (stored,) = parts(name)
        if absent and replace:
            refuse("replace or not", f"create share {stored}")
        if not self.holds("CREATE SHARE"):
            refuse("create share", f"{self.role} may not create share {stored}")
        if stored in self.account.shares and not replace:
            if absent:
                return
            refuse("unique", f"share {stored} already exists")
        self.account.shares[stored] = Share(self.role)

    @form(r"GRANT (?P<names>[A-Z_, ]+) ON FUTURE \w+ IN (?:SCHEMA|DATABASE) {path} TO SHARE (?P<share>{id})")
    def grant_future_to_share(self, names: str, share: str) -> None:
        refuse("no future to share", f"{names} to {share}")

    @form(r"GRANT (?P<names>[A-Z_, ]+) ON ALL VIEWS IN SCHEMA {path} TO SHARE (?P<share>{id})")
    def grant_all_views_to_share(self, names: str, share: str) -> None:
        refuse("all views", f"{names} to {share}")

    @form(
        r"GRANT (?P<names>[A-Z_, ]+) ON (?P<kind>{kinds}) (?P<name>{path})(?P<more>(?:,\s*{path})*) TO SHARE "
        r"(?P<share>{id})"
    )
    def grant_to_share(self, names: str, kind: str, name: str, more: str | None, share: str) -> None:
        if more:
            refuse("separate grants", name + more)
        held, kind, path = self._share(share), kind.upper(), parts(name)
        allowed = {
            "DATABASE": {"USAGE", "REFERENCE_USAGE"},
            "SCHEMA": {"USAGE"},
            "TABLE": {"SELECT"},
            "VIEW": {"SELECT"},
        }
        for privilege in words_of(names):
            if privilege not in allowed.get(kind, set()):
                refuse("share privileges", f"{privilege} on {kind}")
            if privilege == "SELECT" and ("USAGE", "SCHEMA", path[:2]) not in held.privileges:
                refuse("container first", f"{name} before its schema")
            if kind == "SCHEMA" and ("USAGE", "DATABASE", path[:1]) not in held.privileges:
                refuse("container first", f"{name} before its database")
            properties = self.need(kind, path)
            if properties.get("imported"):
                refuse("no reshare", name)
            self._check_share_grant(held, privilege, kind, path, properties)
            if (privilege, kind, path) not in held.privileges:
                held.privileges.append((privilege, kind, path))
                held.grantors[privilege, kind, path] = self.role

    def _check_share_grant(
        self, share: Share, privilege: str, kind: str, path: Name, properties: dict[str, Any]
    ) -> None:
        databases = [held[2] for held in share.privileges if held[:2] == ("USAGE", "DATABASE")]
        if (privilege, kind) == ("USAGE", "DATABASE") and databases and databases != [path]:
            refuse("one database", ".".join(path))
        if privilege == "REFERENCE_USAGE" and not databases:
            refuse("usage before reference", ".".join(path))
        if kind == "VIEW" and not properties["secure"]:
            refuse("secure views", ".".join(path))
        if kind == "VIEW":
            for database in self._databases(path) - {path[:1]}:
                if ("REFERENCE_USAGE", "DATABASE", database) not in share.privileges:
                    refuse("reference first", ".".join(path))
        passes = "USAGE" if privilege == "REFERENCE_USAGE" else privilege
        if not self.holds("MANAGE GRANTS") and not self.holds(passes, kind, path, option=True):
            refuse("share grant option", f"{self.role} has no {privilege} on {'.'.join(path)} to pass on")

    def _databases(self, view: Name) -> set[Name]:
        """The databases that a view reads, through the views it reads from."""
        kind, source = self.account.objects["VIEW", view]["source"]
        return {source[:1]} | (self._databases(source) if kind == "VIEW" else set())

    @form(r"REVOKE (?P<names>[A-Z_, ]+) ON (?P<kind>{kinds}) (?P<name>{path}) FROM SHARE (?P<share>{id})")
    def revoke_from_share(self, names: str, kind: str, name: str, share: str) -> None:
        """What another role granted stays, without an error, as documented."""
        held = self._share(share)
        self.need(kind.upper(), parts(name))
        acting = self.acting()
        gone = [
            privilege
            for privilege in ((word, kind.upper(), parts(name)) for word in words_of(names))
            if held.grantors.get(privilege) in acting
        ]
        held.privileges = [privilege for privilege in held.privileges if privilege not in gone]

    @form(
        r"ALTER SHARE (?P<name>{id}) (?P<what>ADD|REMOVE) ACCOUNTS? = (?P<accounts>[\w.]+(?:,\s*[\w.]+)*)"
        r"(?: SHARE_RESTRICTIONS = (?P<restrictions>TRUE|FALSE))?"
    )
    def alter_share(self, name: str, what: str, accounts: str, restrictions: str | None) -> None:
        """An account that does not exist is taken without an error and not added, as documented."""
        share = self._share(name)
        if share.owner not in self.acting():
            refuse("share ownership", name)
        if not self.holds("MANAGE SHARE TARGET"):
            refuse("share targets", f"{self.role} on {name}")
        named = [account.strip().upper() for account in accounts.split(",")]
        if what.upper() == "REMOVE":
            share.accounts = [account for account in share.accounts if account not in named]
            return
        if not any(held[:2] == ("USAGE", "DATABASE") for held in share.privileges):
            refuse("account before database", name)
        open_to_all = (restrictions or "TRUE").upper() == "FALSE"
        if open_to_all and not self.holds("OVERRIDE SHARE RESTRICTIONS"):
            refuse("override restrictions", self.role)
        for account in named:
            self._add_account(share, account, open_to_all)

    def _add_account(self, share: Share, account: str, open_to_all: bool) -> None:
        if account not in self.account.consumers:
            return
        region, edition = self.account.consumers[account]
        if region != self.account.region:
            refuse("same region", f"{account} in {region}")
        critical = "BUSINESS_CRITICAL"
        if self.account.edition == critical and edition != critical and not open_to_all:
            refuse("lower edition", account)
        if account not in share.accounts:
            share.accounts.append(account)

    @form(r"DROP SHARE (?P<name>{id})")
    def drop_share(self, name: str) -> None:
        (stored,) = parts(name)
        share = self.account.shares.get(stored)
        if share is None:
            refuse("name", f"share {stored} does not exist or not authorized")
        if share.owner not in self.acting():
            refuse("drop share", stored)
        del self.account.shares[stored]

    # -- questions

    @form(
        r"SELECT CURRENT_ORGANIZATION_NAME\(\) AS ORGANIZATION, CURRENT_ACCOUNT_NAME\(\) AS ACCOUNT, "
        r"CURRENT_REGION\(\) AS REGION"
    )
    def context(self) -> Rows:
        organization, account = self.account.name.split(".")
        return ["ORGANIZATION", "ACCOUNT", "REGION"], [(organization, account, self.account.region)]

    @form(r"SHOW SHARES LIKE (?P<pattern>{text})")
    def show_shares(self, pattern: str) -> Rows:
        """LIKE's _ and % are wildcards; inbound shares are shown too, one of the same name among them.

        Nothing is shown to a role without IMPORT SHARE, and at most three accounts of a share.
        """
        like = re.compile(pattern.strip("'").replace("_", ".").replace("%", ".*"), re.IGNORECASE)
        names = ["created_on", "kind", "owner_account", "name", "database_name", "to", "owner"]
        found: list[tuple[Any, ...]] = []
        if not self.holds("IMPORT SHARE"):
            return names, found
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
                        ", ".join(share.accounts[:3]),
                        share.owner,
                    )
                )
        inbound = ("now", "INBOUND", "OTHER.ACCOUNT", pattern.strip("'"), "", "", "")
        return names, [inbound, *found]

    @form(r"SHOW GRANTS TO SHARE (?P<name>{id})")
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
            "granted_by",
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
                share.grantors.get((privilege, kind, path), ""),
            )
            for privilege, kind, path in share.privileges
        ]

    @form(r"SHOW GRANTS OF SHARE (?P<name>{id})")
    def show_consumers(self, name: str) -> Rows:
        share = self._share(name)
        return ["created_on", "share", "granted_to", "grantee_name"], [
            ("now", parts(name)[0], "ACCOUNT", account) for account in share.accounts
        ]

    @form(r"(?:DESC|DESCRIBE) SHARE (?P<name>{id})")
    def describe_share(self, name: str) -> Rows:
        if "ACCOUNTADMIN" not in self.acting():
            refuse("describe share", f"{self.role} may not describe {name}")
        share = self._share(name)
        return ["kind", "name", "shared_on"], [
            (kind, ".".join(path), "now") for _, kind, path in share.privileges
        ]

    @form(r"SHOW VIEWS IN SCHEMA (?P<schema>{path})")
    def show_views(self, schema: str) -> Rows:
        named = self.whole(parts(schema), 2)
        self.need("SCHEMA", named)
        return ["created_on", "name", "is_secure"], [
            ("now", path[2], str(properties["secure"]).lower())
            for (kind, path), properties in self.account.objects.items()
            if kind == "VIEW" and path[:2] == named and self.sees("VIEW", path)
        ]

    @form(r"SHOW STAGES IN SCHEMA (?P<schema>{path})")
    def show_stages(self, schema: str) -> Rows:
        named = self.whole(parts(schema), 2)
        self.need("SCHEMA", named)
        return ["created_on", "name", "url"], [
            ("now", path[2], (properties["url"] or "").strip("'"))
            for (kind, path), properties in self.account.objects.items()
            if kind == "STAGE" and path[:2] == named and self.sees("STAGE", path)
        ]

    @form(r"(?:DESC|DESCRIBE) VIEW (?P<name>{path})")
    def describe_view(self, name: str) -> Rows:
        properties = self.need("VIEW", parts(name))
        return ["name", "type"], [(column, "VARCHAR") for column in properties["columns"]]
