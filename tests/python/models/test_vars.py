"""A var with a wrong value, or a name that no var has, stops a build before it begins."""

import datetime
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import yaml
from jinja2 import Environment

from support.project import NO_MANIFEST, PROJECT, Built, attempt, settings

PROJECT_FILE: dict[str, Any] = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())
DEFAULTS: dict[str, Any] = PROJECT_FILE["vars"]


class Stopped(Exception):
    """dbt's error of compilation."""


def checked(given: dict[str, Any], zones: int = 1, verb: str = "build") -> None:
    """The hook, with these values from --vars."""

    def stop(message: str) -> None:
        raise Stopped(message)

    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "execute": True,
        "flags": SimpleNamespace(WHICH=verb),
        "invocation_args_dict": {"vars": given},
        "var": {**DEFAULTS, **given}.__getitem__,
        "modules": SimpleNamespace(re=re, datetime=datetime),
        "tojson": json.dumps,
        "engagement_feeds": str,
        "dbt": SimpleNamespace(string_literal="'{}'".format, escape_single_quotes=str),
        "run_query": lambda query: SimpleNamespace(rows=[(zones,)]),
        "exceptions": SimpleNamespace(raise_compiler_error=stop),
        "adapter": SimpleNamespace(dispatch=lambda name: getattr(macros, f"duckdb__{name}")),
    }
    macros: Any = environment.from_string((PROJECT / "macros/project/vars.sql").read_text()).module
    macros.require_vars()


def test_each_var_is_checked_before_anything_runs() -> None:
    assert PROJECT_FILE["on-run-start"].index("{{ require_vars() }}") < 2
    checked({})
    text = (PROJECT / "macros/project/vars.sql").read_text()
    known = set(re.findall(r"^        '(\w+)': ", text, re.MULTILINE))
    assert known - set(DEFAULTS) == {"audit_materialized", "compile_incremental"}
    assert set(DEFAULTS) <= known


@pytest.mark.parametrize(
    "given",
    [
        {"match_lookback_days": 0},
        {"conversion_offset_days": 3, "conversion_lookback_days": 3},
        {"conversion_value_path": ""},
        {"conversion_value_path": None},
        {"segment_keys": ["plan", "country"]},
        {"segment_keys": "plan"},
        {"prefer_human": False},
        {"min_match_rate": 1},
        {"event_mapping": "metarouter"},
        {"test_scope": "changed"},
        {"reporting_timezone": "Europe/Berlin"},
        {"compile_incremental": True},
        {"earliest_event_at": datetime.date(2024, 2, 29)},
        {"match_lookback_days": 36525, "conversion_lookback_days": 36525},
        {"segment_keys": []},
        {"conversion_value_path": "variables.order value.$total-1"},
    ],
    ids=str,
)
def test_right_values_pass(given: dict[str, Any]) -> None:
    checked(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"audit_severty": "error"}, "--vars names audit_severty, and there is no such var"),
        ({"match_lookback_days": "30"}, 'match_lookback_days is "30": write a whole number from 0'),
        ({"match_lookback_days": -5}, "match_lookback_days is -5: write a whole number"),
        ({"match_skew_days": None}, "match_skew_days is empty: write a whole number"),
        ({"engagement_window_days": 1.5}, "engagement_window_days is 1.5"),
        (
            {"conversion_lookback_days": ""},
            'conversion_lookback_days is "": write a whole number from 0 to 36525, or',
        ),
        ({"conversion_offset_days": 4, "conversion_lookback_days": 3}, "no conversion would count"),
        ({"rows_of_a_piece": 0}, "rows_of_a_piece is 0: write a whole number from 1"),
        ({"prefer_human": "false"}, 'prefer_human is "false": write true or false'),
        ({"outbound_convert_timestamps": 1}, "outbound_convert_timestamps is 1: write true or false"),
        ({"segment_keys": 5}, "segment_keys is 5: write auto or a list of names"),
        ({"segment_keys": [5]}, r"segment_keys is \[5\]"),
        ({"conversion_value_path": True}, "conversion_value_path is true: write names with"),
        ({"conversion_value_path": "variables.owner's"}, "write names with dots between them such as var"),
        ({"conversion_value_path": 'variables."value"'}, "write names with dots"),
        ({"conversion_value_path": "variables..value"}, "write names with dots"),
        ({"conversion_value_path": "variables. value"}, "write names with dots"),
        ({"conversion_value_path": " "}, 'conversion_value_path is " ": write names with dots'),
        ({"segment_keys": ["plan", " "]}, r'segment_keys is \["plan", " "\]: write auto or a list of names'),
        ({"min_match_rate": 90}, "min_match_rate is 90: write a number from 0 to 1"),
        ({"test_scope": "change"}, 'test_scope is "change": write changed or all'),
        ({"event_mapping": "metaroute"}, "write journeys or metarouter"),
        ({"earliest_event_at": "yesterday"}, "write a day as 2026-01-31"),
        ({"earliest_event_at": "2026-02-31"}, 'earliest_event_at is "2026-02-31": write a day as 2026-01-31'),
        ({"match_lookback_days": 10**9}, "match_lookback_days is 1000000000: write a whole number from 0 to"),
        ({"engagement_window_days": 36526}, "from 0 to 36525"),
        ({"reporting_timezone": ""}, 'reporting_timezone is "": write a text'),
        ({"reporting_timezone": "Berlin"}, 'reporting_timezone is "Berlin": write an IANA name'),
    ],
    ids=str,
)
def test_wrong_values_are_named_with_what_to_write(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Stopped, match=said):
        checked(given, zones=0)


def test_what_compiles_without_a_connection_asks_the_engine_for_no_time_zone() -> None:
    checked({"reporting_timezone": "Europe/Berlin"}, zones=0, verb="compile")


@pytest.mark.parametrize(
    "feeds", [5, True, None, "", "sync", [], ["sync", "sync"], ["sync", 5], {"sync": "webhooks"}], ids=str
)
def test_feeds_are_a_list_of_their_names(feeds: Any) -> None:
    def stop(message: str) -> None:
        raise Stopped(message)

    environment = Environment()
    environment.globals |= {
        "execute": True,
        "var": {"engagement_feeds": feeds}.__getitem__,
        "exceptions": SimpleNamespace(raise_compiler_error=stop),
    }
    macros: Any = environment.from_string((PROJECT / "macros/engagement/sync.sql").read_text()).module
    with pytest.raises(Stopped, match="it must be a list of webhooks and sync"):
        macros.engagement_feeds()


def test_a_list_of_no_segment_keys_is_one_in_sql() -> None:
    """`in ()` is an error on Snowflake."""
    environment = Environment(extensions=["jinja2.ext.do"])
    literal = "'{}'".format
    environment.globals |= {"return": str, "adapter": SimpleNamespace(dispatch=lambda name: literal)}
    macros: Any = environment.from_string((PROJECT / "macros/dialect/text.sql").read_text()).module
    assert macros.quoted_list(["plan", "country"]).strip() == "'plan', 'country'"
    assert macros.quoted_list([]).strip() == "null"


def test_no_value_of_a_var_breaks_the_parse() -> None:
    """dbt renders what YAML files say of vars before any check of them, and its error would name no var."""
    texts = [path.read_text() for path in PROJECT.glob("models/**/*.yml")]
    expressions = {found for text in texts for found in re.findall(r"\{\{ [^}]*\bvar\([^}]*\}\}", text)}
    assert "{{ var('max_reject_share') }}" in expressions
    environment = Environment()
    for value in (None, 5, "text", True, [], {"sync": 1}):
        environment.globals |= {"var": lambda name, value=value: value, "target": SimpleNamespace(schema="a")}
        for expression in expressions:
            rendered = environment.from_string(expression).render()
            assert "audit_severity" not in expression or rendered in ("warn", "error")


def test_unit_tests_name_the_vars_that_their_models_read(built: Built) -> None:
    """So that they pass with whatever value an owner gives a var: `dbt build` runs them too."""
    manifest = json.loads((built.target / "manifest.json").read_text())
    macros = {name: macro for name, macro in manifest["macros"].items() if name.startswith("macro.copymart.")}
    # what they read decides how a table is built, not what its rows are
    of_builds = {"require_vars", "settings", "cluster_keys", "duckdb__create_table_as", "and_tested"}

    @cache
    def called(name: str) -> frozenset[str]:
        """A macro, and all that it calls."""
        if name not in macros or macros[name]["name"] in of_builds:
            return frozenset()
        return frozenset({name}).union(*map(called, macros[name]["depends_on"]["macros"]))

    def read(model: dict[str, Any]) -> set[str]:
        names = frozenset().union(*map(called, model["depends_on"]["macros"]))
        texts = [model["raw_code"], *(macros[name]["macro_sql"] for name in names)]
        return set(re.findall(r"\bvar\('(\w+)'", "\n".join(texts)))

    lacking = {
        f"{test['model']}::{test['name']}": unnamed
        for test in manifest["unit_tests"].values()
        if (
            unnamed := read(manifest["nodes"][f"model.copymart.{test['model']}"])
            - set((test["overrides"] or {}).get("vars", {}))
            - {"compile_incremental", "production_schema"}
        )
    }
    assert lacking == {}
    assert "match_skew_days" in read(manifest["nodes"]["model.copymart.int_message_matches"])


def settings_checked(macro: str, environment: dict[str, str] | None = None, **target: Any) -> None:
    """The hook that checks the profile's target or the environment, while dbt parses."""

    def stop(message: str) -> None:
        raise Stopped(message)

    jinja = Environment(extensions=["jinja2.ext.do"])
    jinja.globals |= {
        "execute": False,
        "target": target,
        "env_var": (environment or {}).get,
        "modules": SimpleNamespace(re=re),
        "exceptions": SimpleNamespace(raise_compiler_error=stop),
    }
    text = (PROJECT / "macros/project/checks_before_a_run.sql").read_text()
    macros: Any = jinja.from_string(text).module
    getattr(macros, macro)()


@pytest.mark.parametrize(
    "limit", ["", " ", "abc", "3500", "0", "0MB", "0.0 GB", "-1", "none", "null", "1XB", "3,5GB", "MB"]
)
def test_a_limit_that_is_no_amount_of_memory_stops_dbt_while_it_parses(limit: str) -> None:
    with pytest.raises(Stopped, match="set COPYMART_MEMORY_LIMIT to an amount such as 3500MB"):
        settings_checked("require_settings", threads=2, settings={"memory_limit": limit})


@pytest.mark.parametrize(
    "limit", ["3500MB", "3.5 GB", "80%", "2gib", " 4TB ", ".5g", "900 megabytes", "1e3mb", "100000000 bytes"]
)
def test_amounts_of_memory_that_duckdb_takes_pass(limit: str) -> None:
    duckdb.connect(config={"memory_limit": limit.strip()}).close()
    settings_checked("require_settings", threads=1, settings={"memory_limit": limit})


def test_a_target_without_a_limit_passes() -> None:
    settings_checked("require_settings", threads=1)
    settings_checked("require_settings", threads=1, settings={})


@pytest.mark.parametrize("threads", [0, -1, 1001])
def test_threads_that_dbt_cannot_start_stop_it_while_it_parses(threads: int) -> None:
    with pytest.raises(Stopped, match=f"is {threads}: set COPYMART_THREADS to a whole number from 1 to 1000"):
        settings_checked("require_settings", threads=threads)


@pytest.mark.parametrize("folder", ["/srv/seeds", "../seeds", "seeds/../../x", ".", "./", "~/seeds"])
def test_seeds_outside_the_project_stop_dbt_while_it_parses(folder: str) -> None:
    with pytest.raises(Stopped, match="COPYMART_SEEDS must be a path within the project"):
        settings_checked("require_seeds_in_project", {"COPYMART_SEEDS": folder})


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COPYMART_THREADS", "0", "set COPYMART_THREADS to a whole number"),
        ("COPYMART_MEMORY_LIMIT", "abc", "set COPYMART_MEMORY_LIMIT to an amount"),
        ("COPYMART_SEEDS", "/nowhere/seeds", "COPYMART_SEEDS must be a path within the project"),
        ("COPYMART_SEEDS", "", "no landing tables"),
    ],
)
def test_dbt_names_a_wrong_variable_without_a_trace(tmp_path: Path, name: str, value: str, said: str) -> None:
    # dbt takes another number of threads for no reason to parse again
    dbt = ("dbt", "--no-use-colors", "--no-partial-parse", "run")
    done = attempt(settings(tmp_path) | NO_MANIFEST | {name: value}, *dbt)
    assert done.status != 0
    assert said in " ".join(done.output.split())
    assert "Traceback" not in done.output
