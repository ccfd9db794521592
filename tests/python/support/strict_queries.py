"""Statements of `strict_snowflake` that read and write tables: the privileges that they take."""

from typing import Any

import sqlglot
from sqlglot import exp

from support.strict_account import DONE, Name, Rows, refuse
from support.strict_objects import Objects

_PRIVILEGES = {exp.Insert: "INSERT", exp.Update: "UPDATE", exp.Delete: "DELETE", exp.Copy: "INSERT"}
# Statements about the session alone.
_FREE = (exp.Use, exp.Set, exp.Transaction, exp.Commit, exp.Rollback, exp.Describe, exp.Show)


class Queries(Objects):
    """Statements that sqlglot reads."""

    def query(self, text: str) -> Rows:
        try:
            expression = sqlglot.parse_one(text, read="snowflake")
        except sqlglot.ParseError:
            refuse("form", text)
        if isinstance(expression, _FREE):
            return DONE
        if isinstance(expression, exp.Create) and expression.kind in ("TABLE", "VIEW"):
            self._create(expression)
        elif isinstance(expression, exp.Drop) and expression.kind in ("TABLE", "VIEW"):
            self._drop(expression.kind, self._path(expression.find(exp.Table)))
        elif isinstance(expression, exp.Alter):
            self._own(self._path(expression.this))
        elif type(expression) in _PRIVILEGES:
            self._change(expression)
        elif isinstance(expression, exp.Query):
            self._read(expression)
        else:
            refuse("form", text)
        return DONE

    def _path(self, table: exp.Expression) -> Name:
        named = table.this if isinstance(table, exp.Schema) else table
        given = tuple(
            part.name if part.args.get("quoted") else part.name.upper()
            for part in (named.args.get("catalog"), named.args.get("db"), named.this)
            if part
        )
        return self.whole(given, 3)

    def _kind(self, path: Name) -> str:
        return "VIEW" if ("VIEW", path) in self.account.objects else "TABLE"

    def _own(self, path: Name) -> None:
        properties = self.need(self._kind(path), path)
        if properties["owner"] not in self.acting():
            refuse("object ownership", f"{self.role} does not own {'.'.join(path)}")

    def _read(self, expression: exp.Expression, target: exp.Expression | None = None) -> list[Name]:
        """Refuse unless the role may read every table and view; return them."""
        local = {found.alias.upper() for found in expression.find_all(exp.CTE)}
        written = target.this if isinstance(target, exp.Schema) else target
        found = []
        for table in expression.find_all(exp.Table):
            if table is written or not isinstance(table.this, exp.Identifier):
                continue
            if not table.args.get("db") and table.name.upper() in local:
                continue
            path = self._path(table)
            if path[1] == "INFORMATION_SCHEMA":
                self.need("DATABASE", path[:1])
                continue
            kind = self._kind(path)
            self.need(kind, path)
            if not self.holds("SELECT", kind, path):
                refuse("select privilege", f"{self.role} may not read {'.'.join(path)}")
            found.append(path)
        return found

    def _change(self, expression: Any) -> None:
        privilege, target = _PRIVILEGES[type(expression)], expression.this
        if isinstance(expression, exp.Copy):
            for part in expression.find_all(exp.Var, exp.Placeholder):
                if part.name.startswith("@"):
                    self.use_stage(part.name[1:].partition("/")[0])
        else:
            self._read(expression, target)
        path = self._path(target)
        self.need("TABLE", path)
        if not self.holds(privilege, "TABLE", path):
            refuse("table privilege", f"{self.role} has no {privilege} on {'.'.join(path)}")

    def _create(self, expression: exp.Create) -> None:
        kind, path = expression.kind, self._path(expression.this)
        source = expression.args.get("expression")
        read = self._read(source) if source else []
        temporary = bool(expression.find(exp.TemporaryProperty))
        if temporary:
            self.need("SCHEMA", path[:2])
        else:
            self.may_create(kind, path)
        there = self._kind(path) if ("VIEW", path) in self.account.objects else kind
        if (there, path) in self.account.objects and expression.args.get("replace"):
            self._own(path)
        properties: dict[str, Any] = {"columns": ()}
        if kind == "VIEW":
            secure = bool(expression.find(exp.SecureProperty))
            first = read[0] if read else path
            properties |= {"secure": secure, "source": (self._kind(first), first)}
            self.rebuilt(path, copy_grants=bool(expression.find(exp.CopyGrantsProperty)))
        exists, replace = expression.args.get("exists"), expression.args.get("replace")
        self.create(kind, path, "y" if exists else None, "y" if replace else None, **properties)

    def _drop(self, kind: str, path: Name) -> None:
        if (kind, path) in self.account.objects:
            self._own(path)
            del self.account.objects[kind, path]
