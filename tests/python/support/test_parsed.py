"""A run of dbt takes over what another one parsed, unless it reads other files."""

import os
from pathlib import Path

import duckdb
import pytest

from support.project import PARSED, run, settings


@pytest.mark.integration
def test_a_parse_serves_every_warehouse_and_what_was_edited_is_parsed_again(tmp_path: Path) -> None:
    before = set(Path(os.environ[PARSED]).glob("*.msgpack"))
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: small\nprofile: copymart\nflags: {}\n")
    for word in ("one", "other"):
        (project / "models/said.sql").write_text(f"select '{word}' as word")
        environment = settings(tmp_path / word)
        run(environment, "dbt", "run", project=project)
        with duckdb.connect(environment["COPYMART_DUCKDB"], read_only=True) as connection:
            assert connection.execute("select word from said").fetchall() == [(word,)]
    parses = set(Path(os.environ[PARSED]).glob("*.msgpack")) - before
    # other workers of the test run keep their own parses there
    assert sum(b"model.small.said" in file.read_bytes() for file in parses) == 1
