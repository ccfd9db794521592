"""The owner's seeds: what a person or a spreadsheet saves is loaded by the names of columns, or refused."""

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from support.emulated_snowflake import PROFILE, connect
from support.project import NO_MANIFEST, PROJECT, attempt, read_yaml, run, settings

SAMPLE = PROJECT / "scripts/simulate/sample_seeds"
SEEDS = ("engagement_metrics", "template_actions", "template_settings")
ACTIONS = "template_id,campaign_id,role,action_id\n"
SETTINGS = "template_id,name,channel,key_metric,control_copy_id,min_sends\n"
METRICS = "object_type,metric,counts_as\n"

Row = dict[str, Any]


@dataclass(frozen=True)
class Owner:
    """A project of an owner, at a path with a quote in it; nothing has been built."""

    project: Path
    environment: dict[str, str]

    def write(self, seed: str, content: str | bytes) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        (self.project / f"seeds/{seed}.csv").write_bytes(raw)

    def seed(self) -> dict[str, list[Row]]:
        """Run `dbt seed` and return the rows of all seeds."""
        run(self.environment, "dbt", "seed", project=self.project)
        return {seed: self.rows(f"staging.{seed}") for seed in SEEDS}

    def rows(self, table: str) -> list[Row]:
        """The rows of a table in an order that does not depend on that of its columns."""
        with duckdb.connect(self.environment["COPYMART_DUCKDB"], read_only=True) as connection:
            found = connection.execute(f"from {table}")
            names = [name for name, *_ in found.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return sorted(rows, key=lambda row: str(sorted(row.items())))

    def refused(self, *command: str) -> str:
        """Run dbt, which must fail, and return what it says in one line."""
        done = attempt(self.environment, "dbt", "--no-use-colors", *command, project=self.project)
        assert done.status != 0, done.output
        return " ".join(done.output.split())


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    project = tmp_path_factory.mktemp("owner's project").resolve()
    for part in ("models", "macros", "tests/generic", "tests/assertions"):
        shutil.copytree(PROJECT / part, project / part)
    shutil.copy(PROJECT / "dbt_project.yml", project)
    environment = settings(project / "data") | NO_MANIFEST | {"COPYMART_SEEDS": "seeds"}
    shutil.copytree(SAMPLE, project / "seeds")
    return Owner(project, environment)


@pytest.fixture(scope="module")
def plain(seeded: Owner) -> Mapping[str, list[Row]]:
    """The rows of the sample's seeds as they are loaded."""
    return seeded.seed()


@pytest.fixture
def owner(seeded: Owner) -> Iterator[Owner]:
    """The project with the sample's seeds, whatever another test made of them."""
    for seed in SEEDS:
        shutil.copy(SAMPLE / f"{seed}.csv", seeded.project / "seeds")
    yield seeded


def sample(seed: str) -> list[dict[str, str]]:
    with (SAMPLE / f"{seed}.csv").open() as file:
        return list(csv.DictReader(file))


def written(rows: list[dict[str, str]], **options: Any) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def test_values_go_by_the_names_of_columns(owner: Owner, plain: Mapping[str, list[Row]]) -> None:
    assert {seed: len(rows) for seed, rows in plain.items()} == {seed: len(sample(seed)) for seed in SEEDS}
    assert plain["template_actions"][-1] == {
        "template_id": "clash-hook",
        "campaign_id": None,
        "role": "message",
        "action_id": 1131,
    }
    for seed in SEEDS:
        owner.write(seed, written([dict(reversed(row.items())) for row in sample(seed)]))
    assert owner.seed() == plain


def test_a_column_that_is_added_comes_with_its_values(owner: Owner, plain: Mapping[str, list[Row]]) -> None:
    for seed in SEEDS:
        owner.write(
            seed,
            written(
                [
                    {"note": f"n {row['template_id']}" if "template_id" in row else "n", **row}
                    for row in sample(seed)
                ]
            ),
        )
    for seed, rows in owner.seed().items():
        notes = [row.pop("note") for row in rows]
        assert rows == plain[seed]
        assert notes == [f"n {row['template_id']}" if "template_id" in row else "n" for row in rows]


def test_what_a_spreadsheet_saves_is_read_like_plain_text(
    owner: Owner, plain: Mapping[str, list[Row]]
) -> None:
    for seed in SEEDS:
        quoted = written(sample(seed), quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        blank = "," * (len(sample(seed)[0]) - 1) + "\r\n"
        owner.write(seed, b"\xef\xbb\xbf" + (quoted + blank + "\r\n").encode())
    assert owner.seed() == plain


def test_ids_are_trimmed_and_stay_text(owner: Owner) -> None:
    owner.write("template_actions", ACTIONS + ' 007 , 7 ,message , 42.0\n" b\t",,webhook,41\n')
    owner.write("template_settings", SETTINGS + '007,"a, ""b""\nc",email,clicked, ,\n')
    found = owner.seed()
    assert found["template_actions"] == [
        {"template_id": "b", "campaign_id": None, "role": "webhook", "action_id": 41},
        {"template_id": "007", "campaign_id": 7, "role": "message", "action_id": 42},
    ]
    assert found["template_settings"] == [
        {
            "template_id": "007",
            "name": 'a, "b"\nc',
            "channel": "email",
            "key_metric": "clicked",
            "control_copy_id": None,
            "min_sends": None,
            "control_template_id": None,
            "control_share": None,
        }
    ]


def test_a_header_alone_empties_the_table(owner: Owner, plain: Mapping[str, list[Row]]) -> None:
    assert all(plain.values())
    for seed in SEEDS:
        shutil.copy(PROJECT / f"seeds/{seed}.csv", owner.project / "seeds")
    owner.write("engagement_metrics", METRICS)
    assert owner.seed() == {seed: [] for seed in SEEDS}


QUOTED = SETTINGS + 't,"two\nlines",,,,\n'
REFUSED = {
    "a fraction": (
        "template_actions",
        ACTIONS + "t,7,webhook,1010\nt,7,message,1010.5\n",
        "line 3: action_id is '1010.5'; write a whole number",
    ),
    "digits in groups": (
        "template_settings",
        SETTINGS + 't,,,,,"1,000"\n',
        "line 2: min_sends is '1,000'; write a whole number",
    ),
    "an unknown role": (
        "template_actions",
        ACTIONS + "t,7,mail,42\n",
        "line 2: role is 'mail'; write webhook, message or control",
    ),
    "an unknown metric": (
        "engagement_metrics",
        METRICS + "email,sent,sent\nemail,opened,oppened\n",
        "line 3: counts_as is 'oppened'; write attempted, sent,",
    ),
    "a control copy that is no copy_id": (
        "template_settings",
        SETTINGS + "t,,,,control,\n",
        "line 2: control_copy_id is 'control'; write the variant's copy_id, a UUID",
    ),
    "a share that is none": (
        "template_settings",
        "template_id,control_share\nt,10\n",
        "line 2: control_share is '10'; write a share between 0 and 1, such as 0.1",
    ),
    "a direction that is none": (
        "engagement_metrics",
        "object_type,metric,good_when\nemail,opened,higher\n",
        "line 2: good_when is 'higher'; write up or down",
    ),
    "sends below none": (
        "template_settings",
        SETTINGS + "t,,,,,-5\n",
        "line 2: min_sends is '-5'; write a whole number from 0",
    ),
    "days below none": (
        "engagement_metrics",
        "object_type,metric,counts_as,maturity_days\nemail,opened,opened,-3\n",
        "line 2: maturity_days is '-3'; write a number of days from 0",
    ),
    "two directions of a metric": (
        "engagement_metrics",
        "object_type,metric,counts_as,good_when\nemail,bounced,bounced,down\nsms,bounced,bounced,\n"
        "push,bounced,bounced,up\n",
        "line 4: good_when is 'up' and in line 2 'down', "
        "with the same counts_as bounced; write one of them in both",
    ),
    "two maturities of a metric": (
        "engagement_metrics",
        "object_type,metric,counts_as,maturity_days\nemail,opened,opened,3\npush,opened,opened,5.0\n",
        "line 3: maturity_days is '5' and in line 2 '3', "
        "with the same counts_as opened; write one of them in both",
    ),
    "a repeated row": (
        "template_actions",
        ACTIONS + "t,,message,42\nu,7,message,42\n\nt , ,message,42.0\n",
        "line 5 has the template_id, campaign_id, role, action_id of line 2; remove one of them",
    ),
    "a template twice, after a value of two lines": (
        "template_settings",
        QUOTED + "u,,,,,\nt,,,,,\n",
        "line 5 has the template_id of line 2; remove one of them",
    ),
    "an empty id": (
        "template_actions",
        ACTIONS + "t,7,message,\n",
        "line 2: action_id is empty; write it, or remove the line",
    ),
    "an event of a call that has none": (
        "destination_actions",
        "action,call_type,event_name,enabled\ntrack_page_view,page,Pricing,false\n",
        "line 2: event_name is 'Pricing' and call_type is 'page'; only track has one: leave it empty",
    ),
    "a column too few": (
        "template_actions",
        "template_id,campaign_id,role\nt,7,message\n",
        "line 1: the column action_id is missing; the columns are template_id, campaign_id, role, action_id",
    ),
    "a value too many": (
        "template_settings",
        SETTINGS + "t,Hello, you,email,clicked,,1000\n",
        'line 2 has 7 values for 6 columns; put a value that holds a comma between "',
    ),
    "semicolons": (
        "template_actions",
        ACTIONS.replace(",", ";") + "t;7;message;42\n",
        "line 1: the names are not separated by commas; save the file as CSV with commas",
    ),
    "semicolons with commas in values": (
        "template_settings",
        SETTINGS.replace(",", ";") + "t;Hello, you;email;clicked;;1000\n",
        "line 1: the names are not separated by commas; save the file as CSV with commas",
    ),
    "tabs": (
        "template_actions",
        ACTIONS.replace(",", "\t") + "t\t7\tmessage\t42\n",
        "line 1: the names are not separated by commas; save the file as CSV with commas",
    ),
    "Latin-1": (
        "template_settings",
        (SETTINGS + "t,,,,,\nu,Größe,,,,\n").encode("latin-1"),
        "line 3 is not UTF-8; save the file as CSV in UTF-8",
    ),
    "UTF-16": (
        "template_actions",
        ACTIONS.replace(",", "\t").encode("utf-16"),
        "line 1 is not UTF-8; save the file as CSV in UTF-8",
    ),
    "nothing": (
        "template_settings",
        "",
        "line 1: the names of the columns are missing; they are template_id, name, channel,",
    ),
    "an empty first line": (
        "template_actions",
        "\n" + ACTIONS,
        "line 1: the names of the columns are missing; they are template_id, campaign_id, role, action_id",
    ),
    "a value too many, after one of two lines and a blank line": (
        "template_settings",
        QUOTED + '\nu,"a ""b"", c",,,,\n"v, w",Hello, you,email,clicked,,1000\n',
        'line 6 has 7 values for 6 columns; put a value that holds a comma between "',
    ),
    "a value too many beside quotes in a value": (
        "template_settings",
        SETTINGS + 't,a 5" pipe,,,,\nu,a 6" pipe, or two,email,clicked,,1000\n',
        'line 3 has 7 values for 6 columns; put a value that holds a comma between "',
    ),
    # a reader of CSV takes the rows that follow for a part of the value
    "a quote that is not closed": (
        "template_settings",
        QUOTED + 'u,"Hello,,,,\nv,,,,,\n',
        'line 4 has a value that begins with " and does not end with one; close it, and write a " in it',
    ),
    "a quote that the next one closes": (
        "template_settings",
        SETTINGS + 'u,"Hello,,,,\nv,"World",,,,\n',
        'line 2 has a value that begins with " and does not end with one; close it,',
    ),
    "a quote among the names": (
        "template_actions",
        '"' + ACTIONS + "t,7,message,42\n",
        'line 1 has a value that begins with " and does not end with one; close it,',
    ),
}


def test_faulty_seeds_are_refused_with_file_line_and_remedy(owner: Owner) -> None:
    refuse_all(owner)


def test_faulty_seeds_are_refused_with_the_same_sentences_on_snowflake(
    owner: Owner, port: int, tmp_path: Path
) -> None:
    connect(port, "FAULTY_SEEDS").close()
    refuse_all(on_snowflake(owner, port, tmp_path, "FAULTY_SEEDS"))


def refuse_all(owner: Owner) -> None:
    """All at once, each case as a seed with the columns and data tests of the one that it stands for."""
    known = {seed["name"]: seed for seed in read_yaml(SAMPLE / "_seeds.yml")["seeds"]}
    expected, described = [], []
    for number, (seed, content, message) in enumerate(REFUSED.values()):
        owner.write(f"case_{number}", content)
        described.append({**known[seed], "name": f"case_{number}"})
        expected.append(f"seeds/case_{number}.csv, {message}")
    cases = owner.project / "seeds/_cases.yml"
    cases.write_text(yaml.safe_dump({"version": 2, "seeds": described}))
    try:
        said = owner.refused("seed", "--select", *(f"case_{number}" for number in range(len(REFUSED))))
    finally:
        for path in (cases, *owner.project.glob("seeds/case_*.csv")):
            path.unlink()
    assert [message for message in expected if message not in said] == []


def on_snowflake(owner: Owner, port: int, folder: Path, database: str) -> Owner:
    """The same project, with its warehouse on the emulated Snowflake."""
    (folder / "profiles.yml").write_text(PROFILE % port)
    snowflake = {
        "DBT_PROFILES_DIR": str(folder),
        "DBT_TARGET": "snowflake",
        "DBT_TARGET_PATH": str(folder / "target"),
        "SNOWFLAKE_DATABASE": database,
    }
    return Owner(owner.project, owner.environment | snowflake)


def test_a_refused_seed_leaves_the_old_rows(owner: Owner, plain: Mapping[str, list[Row]]) -> None:
    assert owner.seed() == plain
    owner.write("template_actions", ACTIONS + "t,7,message,42\nt,7,message,42.5\n")
    owner.refused("build", "--select", "template_actions")
    assert owner.rows("staging.template_actions") == plain["template_actions"]


def test_seeds_are_asked_for_before_anything_runs(owner: Owner) -> None:
    """Also those that were loaded before a model came to read another of their columns."""
    land_nothing(owner)
    owner.seed()
    with duckdb.connect(owner.environment["COPYMART_DUCKDB"]) as connection:
        connection.execute("drop table staging.template_actions")
        connection.execute("alter table staging.template_settings drop column control_template_id")
    said = owner.refused("run")
    assert (
        "not loaded with the columns of today: the seed template_actions, the seed template_settings. "
        "Run `dbt seed` first, or `dbt build`, which loads them" in said
    )
    assert "START sql" not in said
    owner.seed()
    run(owner.environment, "dbt", "run", "--select", "+int_landed_batches", project=owner.project)


def test_memory_without_a_limit_is_refused(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(owner.environment, "COPYMART_MEMORY_LIMIT", "-1")
    assert "set COPYMART_MEMORY_LIMIT to an amount such as 3500MB" in owner.refused("build")


def test_landing_tables_of_an_earlier_version_are_refused(owner: Owner) -> None:
    land_nothing(owner)
    with duckdb.connect(owner.environment["COPYMART_DUCKDB"]) as connection:
        connection.execute("alter table staging.customerio_events drop column is_machine_click")
    said = owner.refused("build")
    assert "are those of an earlier version: run `copymart land --calls URI --events URI` once" in said
    assert "START sql" not in said


def test_a_seed_may_lack_an_optional_column(owner: Owner) -> None:
    """Files of owners who have not heard of control templates, shares and directions yet."""
    land_nothing(owner)
    build = ("build", "--resource-type", "seed", "--resource-type", "model", "--select")
    models = ("+int_control_templates", "+int_compared_metrics", "+int_experiment_templates")
    run(owner.environment, "dbt", *build, *models, project=owner.project)
    assert owner.rows("intermediate.int_control_templates") == [
        {"template_id": "plan-nudge", "control_template_id": "digest-offer"},
        {"template_id": "clash-hook", "control_template_id": "split-map"},
        {"template_id": "split-parent", "control_template_id": "split-map"},
    ]
    metrics = owner.rows("intermediate.int_compared_metrics")
    older = [{**row} for row in sample("template_settings")]
    for row in older:
        del row["control_template_id"], row["min_sends"], row["control_share"]
    owner.write("template_settings", written(older))
    older = [{**row} for row in sample("engagement_metrics")]
    for row in older:
        del row["good_when"], row["maturity_days"]
    owner.write("engagement_metrics", written(older))
    run(owner.environment, "dbt", *build, *models, project=owner.project)
    assert owner.rows("intermediate.int_control_templates") == []
    settings_of = {row["template_id"]: row for row in owner.rows("intermediate.int_experiment_templates")}
    assert settings_of["welcome-email"]["min_sends"] == 1000
    assert settings_of["welcome-email"]["control_share"] is None
    # the catalogue as it is delivered says what holds without it
    assert owner.rows("intermediate.int_compared_metrics") == metrics
    assert {row["metric"]: row["good_when"] for row in metrics}["unsubscribed"] == "down"


def land_nothing(owner: Owner) -> None:
    """Make the landing tables, which a build wants."""
    folder = owner.project / "landing"
    folder.mkdir(exist_ok=True)
    (folder / "lines.jsonl").write_text("{}\n")
    logs = ("--calls", str(folder), "--events", str(folder))
    run(owner.environment, "copymart", "land", *logs, project=owner.project)


def test_values_go_by_the_names_of_columns_on_snowflake(owner: Owner, port: int, tmp_path: Path) -> None:
    there = on_snowflake(owner, port, tmp_path, "SEEDS")
    connection = connect(port, "SEEDS")
    query = "select template_id, role, action_id from staging.template_actions order by 1, 2, 3"
    first = [(row["template_id"], row["role"], int(row["action_id"])) for row in sample("template_actions")]
    turned = written([dict(reversed(row.items())) for row in sample("template_actions")])
    noted = written([{"note": "n", **row} for row in sample("template_actions")])
    for content in (None, turned, noted, turned):
        if content:
            there.write("template_actions", content)
        run(there.environment, "dbt", "seed", "--select", "template_actions", project=there.project)
        with connection.cursor() as cursor:
            assert cursor.execute(query).fetchall() == sorted(first)
    there.write("template_actions", ACTIONS)
    run(there.environment, "dbt", "seed", "--select", "template_actions", project=there.project)
    with connection.cursor() as cursor:
        assert cursor.execute(query).fetchall() == []
    connection.close()
