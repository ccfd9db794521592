"""The settings of a DuckDB target that needs no dbt to read it, because importing dbt takes over a second.

That is a target of literals and of `{{ env_var(…) }}`, like the one of profiles.yml.example. Everything else,
whatever is wrong with a profile too, is dbt's to render and to explain.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2 import nodes
from jinja2.filters import do_int

_KEYS = {"type", "path", "schema", "threads", "settings", "config_options"}
_SCALARS = (str, int, float, type(None))


class NotPlain(Exception):
    """A profile or target that only dbt can read."""


def plain_target(folder: Path, project: Mapping[str, Any], target: str | None) -> dict[str, Any] | None:
    """The settings of a DuckDB target as dbt would give them; None if only dbt can read them.

    `folder`: of profiles.yml. `project`: dbt_project.yml. `target`: overrides the profile's own.
    """
    try:
        text = (folder / "profiles.yml").read_text(encoding="utf-8")
        profile = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))[project["profile"]]
        chosen = _rendered(profile["target"]) if target is None else target
        return _checked(_rendered_all(profile["outputs"][chosen]))
    except (NotPlain, OSError, UnicodeError, yaml.YAMLError, jinja2.TemplateError, LookupError, TypeError):
        return None


def _checked(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or found.keys() - _KEYS:
        raise NotPlain
    path, schema = found.get("path"), found.get("schema")
    options = [found.get(name) for name in ("settings", "config_options")]
    if (
        found.get("type") != "duckdb"
        or not isinstance(schema, str)
        # a path with a scheme may be a service of its own
        or not (isinstance(path, str) and re.fullmatch(r"([^:?#]*/)?[.]*[^:?#/.][^:?#/]*", path))
        or type(found.get("threads", 1)) is not int
        or not all(option is None or _names_only(option) for option in options)
    ):
        raise NotPlain
    return {
        "type": "duckdb",
        "path": path,
        "schema": schema,
        "settings": found.get("settings") or {},
        "config_options": found.get("config_options"),
    }


def _names_only(option: Any) -> bool:
    return isinstance(option, dict) and all(isinstance(key, str) for key in option)


def _rendered_all(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rendered_all(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return _rendered(value)
    if isinstance(value, _SCALARS):
        return value
    raise NotPlain


def _rendered(template: Any) -> Any:
    """A text with its expressions in place; the value of an expression that stands alone, as in dbt."""
    if not isinstance(template, str):
        raise NotPlain
    parts: list[Any] = []
    for output in jinja2.Environment(autoescape=False).parse(template).body:
        if not isinstance(output, nodes.Output):
            raise NotPlain
        parts += map(_value, output.nodes)
    return parts[0] if len(parts) == 1 else "".join(map(str, parts))


def _value(node: nodes.Node) -> Any:
    match node:
        case nodes.TemplateData(data=text) | nodes.Const(value=str(text)):
            return text
        case nodes.Concat(nodes=parts):
            return "".join(str(_value(part)) for part in parts)
        case nodes.Filter(node=nodes.Node() as inner, name="int", args=[], kwargs=[], dyn_args=None):
            return do_int(_value(inner))
        case nodes.Filter(node=nodes.Node() as inner, name="as_number", args=[], kwargs=[], dyn_args=None):
            return _number(_value(inner))
        case nodes.Call(node=nodes.Name(name="env_var"), args=args, kwargs=[], dyn_args=None):
            return _variable(*map(_value, args))
    raise NotPlain


def _number(value: Any) -> int:
    # dbt explains what is none, and takes fractions and more
    if not re.fullmatch("[1-9][0-9]{0,8}", str(value)):
        raise NotPlain
    return int(value)


def _variable(name: str, *default: Any) -> str:
    # dbt keeps secrets out of its logs, and knows names that Windows spells in another case
    if name.startswith("DBT_ENV_SECRET") or os.name == "nt" or len(default) > 1:
        raise NotPlain
    if name in os.environ:
        return os.environ[name]
    if not default or not isinstance(default[0], str):
        raise NotPlain
    return default[0]
