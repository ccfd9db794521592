"""Statements of `strict_snowflake` that make roles, warehouses, databases and what lies in them."""

import json
import re

from scripts.snowflake.names import parts
from support.strict_account import (
    Name,
    Rows,
    Session,
    columns_of,
    form,
    options_of,
    refuse,
    texts_of,
)


class Objects(Session):
    """Statements that make objects."""

    # -- roles

    @form(r"USE ROLE (?P<name>{id})")
    def use_role(self, name: str) -> None:
        (role,) = parts(name)
        held = self.account.users[self.user]
        reachable = set(held)
        before: set[str] = set()
        while before != reachable:
            before = set(reachable)
            reachable |= {child for child, above in self.account.parents.items() if above & reachable}
        if role not in reachable:
            refuse("role not granted", f"role {role}")
        self.role = role

    @form(r"USE SECONDARY ROLES (?P<which>ALL|NONE)")
    def use_secondary_roles(self, which: str) -> None:
        self.secondary = which.upper()

    @form(r"SELECT CURRENT_SECONDARY_ROLES\(\) AS ACTIVE")
    def current_secondary_roles(self) -> Rows:
        """As documented: the roles that the user was given, those that they inherit left out."""
        active = sorted(self.account.users[self.user] - {self.role}) if self.secondary == "ALL" else []
        asked = "ALL" if self.secondary == "ALL" else ""
        return ["ACTIVE"], [(json.dumps({"roles": ",".join(active), "value": asked}),)]

    @form(r"SELECT CURRENT_USER\(\) AS NAME")
    def current_user(self) -> Rows:
        return ["NAME"], [(self.user,)]

    @form(r"CREATE ROLE (?P<absent>IF NOT EXISTS )?(?P<name>{id})(?: COMMENT = {text})?")
    def create_role(self, absent: str | None, name: str) -> None:
        (role,) = parts(name)
        if not self.holds("CREATE ROLE"):
            refuse("create role", f"{self.role} may not create role {role}")
        if role in self.account.roles and not absent:
            refuse("unique", f"role {role} already exists")
        self.account.roles.add(role)

    @form(r"GRANT ROLE (?P<name>{id}) TO (?P<to>ROLE|USER) (?P<grantee>{id})")
    def grant_role(self, name: str, to: str, grantee: str) -> None:
        role = self.need_role(name)
        if not self.holds("MANAGE GRANTS") and not self.holds("CREATE ROLE"):
            refuse("may not grant", f"{self.role} may not grant role {role}")
        if to.upper() == "ROLE":
            self.account.parents.setdefault(role, set()).add(self.need_role(grantee))
        else:
            (user,) = parts(grantee)
            if user not in self.account.users:
                refuse("name", f"user {user} does not exist or not authorized")
            self.account.users[user].add(role)

    @form(r"DROP ROLE (?P<absent>IF EXISTS )?(?P<name>{id})")
    def drop_role(self, absent: str | None, name: str) -> None:
        (role,) = parts(name)
        if role not in self.account.roles and absent:
            return
        self.need_role(name)
        if not self.holds("CREATE ROLE"):
            refuse("object ownership", f"{self.role} does not own role {role}")
        self.account.roles.remove(role)
        self.account.parents.pop(role, None)
        self.account.grants -= {grant for grant in self.account.grants if grant[0] == role}
        self.account.future -= {grant for grant in self.account.future if grant[0] == role}
        for held in self.account.users.values():
            held.discard(role)

    @form(
        r"DROP (?P<kind>DATABASE|WAREHOUSE|RESOURCE MONITOR|INTEGRATION) (?P<absent>IF EXISTS )?"
        r"(?P<name>{id})"
    )
    def drop_object(self, kind: str, absent: str | None, name: str) -> None:
        """With all that lies in it."""
        kind, path = " ".join(kind.upper().split()), parts(name)
        if (kind, path) not in self.account.objects and absent:
            return
        if self.need(kind, path)["owner"] not in self.acting():
            refuse("object ownership", f"{self.role} does not own {name}")
        gone = {
            key
            for key in self.account.objects
            if key == (kind, path) or (kind == "DATABASE" and key[1][:1] == path and len(key[1]) > 1)
        }
        for key in gone:
            del self.account.objects[key]
        self.account.grants -= {grant for grant in self.account.grants if grant[2:4] in gone}

    @form(r"ALTER USER (?P<name>{id}) SET QUERY_TAG = (?P<tag>{text})")
    def alter_user(self, name: str, tag: str) -> None:
        (user,) = parts(name)
        if user not in self.account.users or "ACCOUNTADMIN" not in self.acting():
            refuse("name", f"user {user} does not exist or not authorized")
        self.account.tags[user] = tag

    # -- warehouse, monitor, database, schema

    @form(
        r"CREATE (?P<replace>OR REPLACE )?WAREHOUSE (?P<absent>IF NOT EXISTS )?(?P<name>{id})(?: "
        r"WITH)?(?P<options>( \w+ = \w+)*)"
    )
    def create_warehouse(self, replace: str | None, absent: str | None, name: str, options: str) -> None:
        if not self.holds("CREATE WAREHOUSE"):
            refuse("create warehouse", f"{self.role} may not create {name}")
        if "RESOURCE_MONITOR" in options.upper():
            refuse("monitor assignment", name)
        self.create("WAREHOUSE", parts(name), absent, replace, options=options_of(options))

    @form(r"ALTER WAREHOUSE (?P<name>{id}) SET RESOURCE_MONITOR = (?P<monitor>{id})")
    def assign_monitor(self, name: str, monitor: str) -> None:
        properties = self.need("WAREHOUSE", parts(name))
        if "ACCOUNTADMIN" not in self.acting():
            refuse("monitor assignment", f"{self.role} may not assign {name}")
        self.need("RESOURCE MONITOR", parts(monitor))
        properties["monitor"] = parts(monitor)

    @form(r"ALTER WAREHOUSE (?P<name>{id}) SET(?P<options>( \w+ = \w+)+)")
    def alter_warehouse(self, name: str, options: str) -> None:
        properties = self.need("WAREHOUSE", parts(name))
        if not self.holds("MODIFY", "WAREHOUSE", parts(name)):
            refuse("may not grant", f"{self.role} may not alter {name}")
        properties["options"] |= options_of(options)

    @form(
        r"CREATE (?P<replace>OR REPLACE )?RESOURCE MONITOR (?P<absent>IF NOT EXISTS )?(?P<name>{id}) WITH"
        r"(?P<options>( \w+ = \w+)*)(?: TRIGGERS(?P<triggers>( ON \d+ PERCENT DO \w+)+))?"
    )
    def create_monitor(
        self, replace: str | None, absent: str | None, name: str, options: str, triggers: str | None
    ) -> None:
        if "ACCOUNTADMIN" not in self.acting():
            refuse("monitor by administrator", f"{self.role} may not create {name}")
        given = options_of(options)
        if ("FREQUENCY" in given) != ("START_TIMESTAMP" in given):
            refuse("monitor start", name)
        if len(re.findall(r"DO\s+NOTIFY", triggers or "", re.IGNORECASE)) > 5:
            refuse("monitor notifications", name)
        self.create("RESOURCE MONITOR", parts(name), absent, replace, options=given)

    @form(r"ALTER RESOURCE MONITOR (?P<name>{id}) SET(?P<options>( \w+ = \w+)+)")
    def alter_monitor(self, name: str, options: str) -> None:
        if not self.holds("MODIFY", "RESOURCE MONITOR", parts(name)):
            refuse("monitor by administrator", f"{self.role} may not alter {name}")
        self.need("RESOURCE MONITOR", parts(name))["options"] |= options_of(options)

    @form(r"CREATE (?P<replace>OR REPLACE )?DATABASE (?P<absent>IF NOT EXISTS )?(?P<name>{id})")
    def create_database(self, replace: str | None, absent: str | None, name: str) -> None:
        if not self.holds("CREATE DATABASE"):
            refuse("create database", f"{self.role} may not create {name}")
        self.create("DATABASE", parts(name), absent, replace)

    @form(r"CREATE (?P<replace>OR REPLACE )?SCHEMA (?P<absent>IF NOT EXISTS )?(?P<name>{path})")
    def create_schema(self, replace: str | None, absent: str | None, name: str) -> None:
        path = self.whole(parts(name), 2)
        self.need("DATABASE", path[:1])
        if not self.holds("CREATE SCHEMA", "DATABASE", path[:1]):
            refuse("create schema", f"{self.role} may not create {name}")
        self.create("SCHEMA", path, absent, replace)

    # -- what lies in schemas

    def may_create(self, kind: str, path: Name) -> None:
        self.need("DATABASE", path[:1])
        self.need("SCHEMA", path[:2])
        if not self.holds(f"CREATE {kind}", "SCHEMA", path[:2]):
            refuse(f"create {kind.lower()}", f"{self.role} may not create {'.'.join(path)}")

    @form(
        r"CREATE (?P<replace>OR REPLACE )?TABLE (?P<absent>IF NOT EXISTS )?(?P<name>{path}) "
        r"\((?P<columns>[^()]*)\)"
    )
    def create_table(self, replace: str | None, absent: str | None, name: str, columns: str) -> None:
        path = self.whole(parts(name), 3)
        self.may_create("TABLE", path)
        self.create("TABLE", path, absent, replace, columns=columns_of(columns))

    @form(
        r"CREATE (?P<replace>OR REPLACE )?(?P<secure>SECURE )?VIEW (?P<name>{path}) \((?P<columns>[^()]*)\)"
        r"(?P<copy> COPY GRANTS)? AS SELECT .+? FROM (?P<source>{path})"
    )
    def create_view(
        self, replace: str | None, secure: str | None, name: str, columns: str, copy: str | None, source: str
    ) -> None:
        """COPY GRANTS keeps all grants but ownership, those to shares too, as if this role had granted them;
        without, they are gone.
        """
        path = parts(name)
        self.may_create("VIEW", path)
        kind = "VIEW" if ("VIEW", parts(source)) in self.account.objects else "TABLE"
        self.need(kind, parts(source))
        self.rebuilt(path, copy_grants=bool(copy))
        self.create(
            "VIEW",
            path,
            None,
            replace,
            secure=bool(secure),
            columns=columns_of(columns),
            source=(kind, parts(source)),
        )

    def rebuilt(self, path: Name, copy_grants: bool) -> None:
        """What becomes of the grants on a view that is made again."""
        if not copy_grants:
            self.account.grants -= {grant for grant in self.account.grants if grant[2:4] == ("VIEW", path)}
            for share in self.account.shares.values():
                share.privileges = [held for held in share.privileges if held[1:] != ("VIEW", path)]
        for share in self.account.shares.values():
            share.grantors |= {held: self.role for held in share.privileges if held[1:] == ("VIEW", path)}

    @form(r"DROP VIEW (?P<name>{path})")
    def drop_view(self, name: str) -> None:
        path = parts(name)
        self.need("VIEW", path)
        del self.account.objects["VIEW", path]
        self.account.grants -= {grant for grant in self.account.grants if grant[2:4] == ("VIEW", path)}
        for share in self.account.shares.values():
            share.privileges = [held for held in share.privileges if held[1:] != ("VIEW", path)]

    @form(
        r"CREATE (?P<replace>OR REPLACE )?STORAGE INTEGRATION (?P<absent>IF NOT EXISTS )?(?P<name>{id}) TYPE "
        r"= EXTERNAL_STAGE"
        r" STORAGE_PROVIDER = 'S3' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = (?P<arn>{text})"
        r"(?: STORAGE_AWS_EXTERNAL_ID = {text})? STORAGE_ALLOWED_LOCATIONS = \((?P<allowed>[^()]*)\)"
    )
    def create_integration(
        self, replace: str | None, absent: str | None, name: str, arn: str, allowed: str
    ) -> None:
        if not self.holds("CREATE INTEGRATION"):
            refuse("integration", f"{self.role} may not create {name}")
        self.create("INTEGRATION", parts(name), absent, replace, arn=arn, allowed=texts_of(allowed))

    @form(
        r"ALTER STORAGE INTEGRATION (?P<name>{id}) SET STORAGE_AWS_ROLE_ARN = (?P<arn>{text})"
        r"(?: STORAGE_AWS_EXTERNAL_ID = {text})? STORAGE_ALLOWED_LOCATIONS = \((?P<allowed>[^()]*)\)"
    )
    def alter_integration(self, name: str, arn: str, allowed: str) -> None:
        if not self.holds("OWNERSHIP", "INTEGRATION", parts(name)):
            refuse("integration", f"{self.role} may not alter {name}")
        self.need("INTEGRATION", parts(name)).update(arn=arn, allowed=texts_of(allowed))

    def _check_place(self, url: str, integration: str) -> None:
        properties = self.need("INTEGRATION", parts(integration))
        if not self.holds("USAGE", "INTEGRATION", parts(integration)):
            refuse("integration usage", f"{self.role} may not use {integration}")
        if not any(url.strip("'").startswith(place) for place in properties["allowed"]):
            refuse("integration place", url)

    @form(
        r"CREATE (?P<replace>OR REPLACE )?STAGE (?P<absent>IF NOT EXISTS )?(?P<name>{path})"
        r"(?: URL = (?P<url>{text}) STORAGE_INTEGRATION = (?P<integration>{id}))?"
    )
    def create_stage(
        self, replace: str | None, absent: str | None, name: str, url: str | None, integration: str | None
    ) -> None:
        path = self.whole(parts(name), 3)
        self.may_create("STAGE", path)
        if url and integration:
            self._check_place(url, integration)
        self.create("STAGE", path, absent, replace, url=url, integration=integration and parts(integration))

    @form(
        r"ALTER STAGE (?P<name>{path}) SET URL = (?P<url>{text}) STORAGE_INTEGRATION = (?P<integration>{id})"
    )
    def alter_stage(self, name: str, url: str, integration: str) -> None:
        properties = self.need("STAGE", parts(name))
        if not self.holds("OWNERSHIP", "STAGE", parts(name)):
            refuse("create stage", f"{self.role} may not alter {name}")
        self._check_place(url, integration)
        properties.update(url=url, integration=parts(integration))

    @form(
        r"CREATE PIPE (?P<absent>IF NOT EXISTS )?(?P<name>{path}) AUTO_INGEST = TRUE AS COPY INTO "
        r"(?P<table>{path}) "
        r"FROM \(SELECT .+ FROM @(?P<stage>{path})\) FILE_FORMAT = \([^()]*\)"
    )
    def create_pipe(self, absent: str | None, name: str, table: str, stage: str) -> None:
        path = parts(name)
        self.may_create("PIPE", path)
        self.use_stage(stage)
        self.need("TABLE", parts(table))
        if not all(self.holds(privilege, "TABLE", parts(table)) for privilege in ("SELECT", "INSERT")):
            refuse("pipe table", f"{self.role} may not write {table}")
        self.create("PIPE", path, absent, None, table=parts(table), stage=parts(stage))

    def use_stage(self, stage: str, internal: str = "READ") -> None:
        """Refuse unless the role may use the stage; `internal`: the privilege that an internal one takes."""
        path = self.whole(parts(stage), 3)
        properties = self.need("STAGE", path)
        if not self.holds("USAGE" if properties["url"] else internal, "STAGE", path):
            refuse("stage privilege", f"{self.role} may not use {stage}")
        integration = properties["integration"]
        if integration and not self.holds("USAGE", "INTEGRATION", integration):
            refuse("stage integration", f"{self.role} may not use {stage}")

    @form(r"(?:LIST|LS) '?@(?P<stage>{path})(?:/[^\s]*)?")
    def list_stage(self, stage: str) -> Rows:
        self.use_stage(stage)
        return ["name", "size", "md5", "last_modified"], []

    @form(r"(?:REMOVE|RM) '?@(?P<stage>{path})(?:/[^\s]*)?")
    def remove(self, stage: str) -> None:
        self.use_stage(stage, "WRITE")

    @form(r"PUT {text} '?@(?P<stage>{path})(?:/[^\s]*)?(?: AUTO_COMPRESS = (?:TRUE|FALSE))?")
    def put(self, stage: str) -> None:
        self.use_stage(stage, "WRITE")

    @form(
        r"COPY INTO '?@(?P<stage>{path})(?:/[^\s]*)? FROM (?:{path}|\(.+?\))(?: PARTITION BY "
        r"\((?P<partition>.+?)\))?"
        r" FILE_FORMAT = \((?P<format>[^()]*)\)(?P<options>( \w+ = \w+)*)"
    )
    def unload(self, stage: str, partition: str | None, format: str, options: str) -> None:
        self.use_stage(stage, "WRITE")
        given = options_of(options)
        refused = {"OVERWRITE": "TRUE", "SINGLE": "TRUE", "INCLUDE_QUERY_ID": "FALSE"}
        for option, value in refused.items():
            if partition and given.get(option) == value:
                refuse("partitioned unload", f"{option} = {value}")
        if given.get("INCLUDE_QUERY_ID") == "TRUE" and "TRUE" in (
            given.get("OVERWRITE"),
            given.get("SINGLE"),
        ):
            refuse("query id", options)
        written = options_of(format)
        if written.get("COMPRESSION", "AUTO") not in ("AUTO", "LZO", "SNAPPY", "NONE"):
            refuse("unloaded parquet", format)
