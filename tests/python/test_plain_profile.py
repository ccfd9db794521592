"""A profile that is read without dbt has the settings that dbt gives."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt_common.exceptions import DbtBaseException
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scripts import warehouse
from scripts.errors import UserError
from scripts.plain_profile import plain_target
from support.project import PROJECT
from support.quick import examples

EXAMPLE = (PROJECT / "profiles.yml.example").read_text(encoding="utf-8")
# most of them plain, so that both readers read some
PATHS = (
    *("a.duckdb", "data/b.duckdb", ".hidden.duckdb", "dir/", "..", ":memory:", "md:own", "a#b", "a?b", ""),
    *("{{ env_var('SET_A') }}", "{{ env_var('UNSET_A', 'd.duckdb') }}", "data/{{ env_var('SET_A') }}"),
    *("{{ env_var('UNSET_A', env_var('SET_A') ~ '.tmp') }}", "{{ env_var('UNSET_A') }}", "{{ env_var("),
    *("{{ env_var('DBT_ENV_SECRET_A') }}", "{{ var('v', 'w') }}", "{{ target.name }}", "{{ env_var() }}"),
    *(
        "{# c #}x",
        "{% if true %}x{% endif %}",
        "{{- env_var('SET_A') -}} ",
        "x\n",
        "{{ 'x' 'y' }}",
        "é.duckdb",
    ),
)
NUMBERS = (
    *("{{ env_var('SET_B') | int }}", "{{ env_var('SET_A') | int }}", "{{ env_var('SET_B') | as_number }}"),
    *("{{ env_var('SET_A') | as_number }}", "{{ env_var('UNSET_A', '08') | as_number }}"),
    *(
        "{{ env_var('UNSET_A', '4') | int }}",
        "{{ 1 }}",
        "{{ none }}",
        "{{ env_var('SET_B', 1, 2) }}",
        "7",
        "1.5",
    ),
    *(
        "{{ env_var('SET_B') }}",
        "{{ env_var('SET_B') }}0",
        "true",
        "['x']",
        None,
        True,
        3,
        2.5,
        [1],
        {"a": "b"},
    ),
)
OPTIONS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(PATHS[:12] + NUMBERS), max_size=2)
MORE = st.dictionaries(
    st.sampled_from(["database", "attach", "extensions", "secrets", "other", "pass", "is_ducklake"]),
    st.sampled_from(PATHS + NUMBERS),
    max_size=1,
)
TARGETS = st.builds(
    lambda target, more: target | more,
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["duckdb"] * 5 + ["{{ 'duckdb' }}", "snowflake", 1]),
            "path": st.sampled_from(PATHS),
            "schema": st.sampled_from(["main"] * 4 + ["{{ env_var('SET_B') }}", 1, None]),
        },
        optional={
            "threads": st.sampled_from([1, 2, *NUMBERS]),
            "settings": OPTIONS | st.sampled_from([None, {1: "a"}, "a", []]),
            "config_options": OPTIONS,
        },
    ),
    st.just({}) | MORE,
)


def by_dbt(folder: Path, target: str | None) -> dict[str, Any] | None:
    try:
        found = warehouse._by_dbt(folder, folder, target)
        return {"type": found.type, **found.to_dict()}
    except (UserError, DbtBaseException, TypeError, ValueError, AttributeError):
        return None


def test_what_is_read_without_dbt_is_what_dbt_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    for name, value in (("SET_A", "f.duckdb"), ("SET_B", "12"), ("DBT_ENV_SECRET_A", "s")):
        monkeypatch.setenv(name, value)
    (tmp_path / "dbt_project.yml").write_text("name: p\nprofile: p\n")

    @seed(7)
    @hypothesis_settings(
        max_examples=examples(300), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        TARGETS,
        st.sampled_from(["t", "{{ env_var('UNSET_A', 't') }}", "u", None]),
        st.sampled_from(["t", None]),
    )
    def same(target: dict[str, Any], own: str | None, named: str | None) -> None:
        nonlocal read
        profile = {"outputs": {"t": target}} | ({} if own is None else {"target": own})
        (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"p": profile}))
        plain = plain_target(tmp_path, {"profile": "p"}, named)
        if plain:
            read += 1
            found = by_dbt(tmp_path, named)
            assert found and repr(plain) == repr({key: found[key] for key in plain})
            # nothing else is set
            assert not any(found[key] for key in ("attach", "extensions", "secrets", "plugins", "remote"))

    same()
    assert read > examples(30)


def test_the_example_needs_no_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYMART_DUCKDB", "own.duckdb")
    monkeypatch.setenv("COPYMART_MEMORY_LIMIT", "2GB")
    for name in ("COPYMART_SPILL_FOLDER", "DBT_TARGET"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "profiles.yml").write_text(EXAMPLE)
    monkeypatch.setattr(warehouse, "_by_dbt", lambda *_: pytest.fail("dbt was asked"))
    assert warehouse.credentials(PROJECT, tmp_path, None) == {
        "type": "duckdb",
        "path": "own.duckdb",
        "schema": "main",
        "settings": {"memory_limit": "2GB", "TimeZone": "UTC"},
        "config_options": {"temp_directory": "own.duckdb.tmp"},
    }


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, EXAMPLE.replace("path:", "attach: [{path: other.duckdb}]\n      path:")),
        (None, EXAMPLE.replace('path: "{{', 'path: "md:{{')),
        (None, EXAMPLE.replace("type: duckdb", "type: postgres")),
        (None, EXAMPLE.replace("'warehouse.duckdb') }}\"", 'target.name) }}"')),
        (None, EXAMPLE.replace("copymart:", "another:")),
        (None, EXAMPLE.replace("'COPYMART_THREADS', '2'", "'UNSET_A', 'two'")),
        (None, "copymart: ["),
        ("snowflake", EXAMPLE),
        ("none", EXAMPLE),
    ],
)
def test_what_only_dbt_reads(tmp_path: Path, target: str | None, text: str) -> None:
    assert "}}" not in text or text != EXAMPLE or target
    (tmp_path / "profiles.yml").write_text(text)
    assert plain_target(tmp_path, {"profile": "copymart"}, target) is None


def test_what_dbt_says_of_a_profile_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYMART_THREADS", "two")
    (tmp_path / "profiles.yml").write_text(EXAMPLE)
    with pytest.raises(UserError) as caught:
        warehouse.credentials(PROJECT, tmp_path, None)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{tmp_path / 'profiles.yml'}: ")
    assert "COPYMART_THREADS" in said
    assert said.endswith("Could not convert value 'two' into type 'number'")
