"""What sqlfluff's jinja templater needs of dbt's context to render the models; .sqlfluff names this folder.

Macros dispatch to their DuckDB form, and dbt's cross-database macros become calls of the right shape.
"""

from collections.abc import Callable
from types import SimpleNamespace

from jinja2 import pass_context
from jinja2.runtime import Context


@pass_context
def _dispatch(context: Context, macro_name: str, macro_namespace: str | None = None) -> Callable[..., object]:
    for prefix in ("duckdb__", "default__"):
        macro = context.get(prefix + macro_name)
        if macro is not None:
            return macro
    raise ValueError(f"no macro duckdb__{macro_name} or default__{macro_name} in macros/")


class _DbtMacros:
    """dbt.type_*() is a type; any other dbt.<name>(...) renders as a call of <name>."""

    def __getattr__(self, name: str) -> Callable[..., str]:
        if name == "string_literal":
            return lambda value: f"'{value}'"
        if name.startswith("type_"):
            kind = name.removeprefix("type_")
            return lambda: {"string": "varchar", "int": "integer"}.get(kind, kind)
        if name == "generate_series":
            return lambda _upper_bound: "select 1 as generated_number"
        if name == "listagg":
            return lambda measure, separator, _order: f"string_agg({measure}, {separator})"
        return lambda *arguments, **named: f"{name}({', '.join(map(str, (*arguments, *named.values())))})"


adapter = SimpleNamespace(dispatch=_dispatch, quote=lambda name: f'"{name}"')
dbt = _DbtMacros()
target = SimpleNamespace(type="duckdb", name="duckdb", database="warehouse", schema="main")
execute = False
invocation_id = "invocation"
flags = SimpleNamespace(FULL_REFRESH=False, WHICH="compile")
