"""What MetricFlow answers from the semantic models equals SQL over the daily marts."""

import csv
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.project import BIN, PROJECT, Built

LINKED = ("dbt_project.yml", "models", "macros", "tests", "scripts")

BY_CHANNEL_CAMPAIGN_AND_CONTROL = """
    select
        channel, campaign_id, is_control, sum(opened) / nullif(sum(reached), 0),
        sum(human_opened) / nullif(sum(reached), 0), sum(clicked) / nullif(sum(reached), 0),
        sum(human_clicked) / nullif(sum(reached), 0), sum(delivered) / nullif(sum(sent), 0),
        sum(converted) / nullif(sum(reached), 0), sum(unsubscribed) / nullif(sum(reached), 0),
        sum(conversion_value)
    from marts.copy_cohort_metrics_daily left join marts.dim_templates using (template_id) group by all
"""
BY_TEMPLATE_CONTROL_BESIDE_COPIES = """
    select template_id, control.opened, control.rate, days.clicked
    from
        (select template_id, sum(clicked) as clicked from marts.copy_metrics_daily group by all) as days
        full join (
            select template_id, sum(opened) as opened, sum(clicked) / nullif(sum(reached), 0) as rate
            from marts.control_metrics_daily group by all
        ) as control using (template_id)
"""
BY_DAY_COPY_AND_VERSION = """
    select
        cast(delivery_date as varchar) as day, copy_id, version_number, sum(served),
        sum(opened) / nullif(sum(reached), 0), sum(human_clicked) / nullif(sum(reached), 0)
    from marts.copy_version_metrics group by all
"""


def test_the_time_spine_is_the_hundred_years_that_landing_takes(built: Built) -> None:
    with built.connect() as connection:
        spine = (
            "select count(*), min(calendar_date)::varchar, max(calendar_date)::varchar from marts.dim_dates"
        )
        assert connection.execute(spine).fetchone() == (36525, "2000-01-01", "2099-12-31")


@pytest.fixture(scope="module")
def project(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project with the semantic manifest where `mf` looks for it, whatever DBT_TARGET_PATH says."""
    folder = tmp_path_factory.mktemp("semantic")
    for name in LINKED:
        (folder / name).symlink_to(PROJECT / name)
    shutil.copy(PROJECT / "profiles.yml.example", folder / "profiles.yml")
    (folder / "target").mkdir()
    shutil.copy(built.target / "semantic_manifest.json", folder / "target")
    yield folder


def mf(built: Built, project: Path, *arguments: str) -> str:
    environment = {
        name: value for name, value in built.environment.items() if not name.startswith("DBT_")
    } | {"DBT_TARGET": "duckdb"}
    done = subprocess.run(
        [BIN / "mf", *arguments], cwd=project, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(lines: list[list[str]], keys: int) -> dict[tuple[str, ...], list[float]]:
    """Groups and their numbers; -1 for none."""
    return {
        tuple(text.removesuffix(" 00:00:00") for text in line[:keys]): [
            float(text) if text else -1.0 for text in line[keys:]
        ]
        for line in lines
    }


def documented() -> list[list[str]]:
    """The arguments of each `mf query` in the documentation."""
    page = (PROJECT / "docs/semantic-layer.md").read_text()
    return [shlex.split(line) for line in re.findall(r"^mf (query .*)$", page, re.MULTILINE)]


@pytest.mark.parametrize(
    ("command", "query"),
    list(
        zip(
            documented(),
            (BY_CHANNEL_CAMPAIGN_AND_CONTROL, BY_TEMPLATE_CONTROL_BESIDE_COPIES, BY_DAY_COPY_AND_VERSION),
            strict=True,
        )
    ),
    ids=("channels", "templates", "versions"),
)
def test_metrics_are_those_of_the_marts(built: Built, project: Path, command: list[str], query: str) -> None:
    answer = project / "answer.csv"
    mf(built, project, *command, "--csv", str(answer))
    _, _, metrics, _, groups = command
    names, keys = [*groups.split(","), *metrics.split(",")], len(groups.split(","))
    with answer.open(newline="") as file:
        # mf writes keys of joins before other groups
        found = rows([[line[name] for name in names] for line in csv.DictReader(file)], keys)
    with built.connect() as connection:
        expected = rows(
            [
                ["" if value is None else str(value) for value in row]
                for row in connection.execute(query).fetchall()
            ],
            keys,
        )
    assert len(found) > 3
    assert found.keys() == expected.keys()
    for key, values in found.items():
        assert values == pytest.approx(expected[key], rel=1e-12), key


def test_metricflow_finds_no_fault_in_the_semantic_models(built: Built, project: Path) -> None:
    said = mf(built, project, "validate-configs", "--show-all")
    assert said.count("(ERRORS: 0, FUTURE_ERRORS: 0, WARNINGS: 0)") == 6, said


def test_the_documented_metrics_are_there(built: Built) -> None:
    manifest = json.loads((built.target / "semantic_manifest.json").read_text())
    page = (PROJECT / "docs/semantic-layer.md").read_text()
    named = set(re.findall(r"`(\w+_rate|\w+_by_day)`", page))
    assert len(named) == 8
    assert named <= {metric["name"] for metric in manifest["metrics"]}
