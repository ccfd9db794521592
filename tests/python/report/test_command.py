"""`copymart report` from the command line, and its errors as sentences."""

import os
import shutil
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from scripts.cli import app
from scripts.errors import UserError
from scripts.report import command
from support.report import Open


def run(folder: Path, to: Path) -> str:
    """Run `copymart report` in the project of a folder, and return what it prints; a UserError is raised."""
    done = CliRunner().invoke(
        app, ["report", "--to", str(to), "--project-dir", str(folder), "--profiles-dir", str(folder)]
    )
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture
def project(folder: Path, tmp_path: Path) -> Path:
    """A copy of the hand-made project, to change."""
    for name in ("warehouse.duckdb", "dbt_project.yml", "profiles.yml"):
        shutil.copy(folder / name, tmp_path / name)
    profile = (tmp_path / "profiles.yml").read_text()
    (tmp_path / "profiles.yml").write_text(profile.replace(str(folder), str(tmp_path)))
    return tmp_path


def test_it_writes_the_page_and_says_where(project: Path) -> None:
    to = project / "report.html"
    to.write_text("an older one")
    said = run(project, to)
    assert said.startswith("3 templates in") and "MB" in said
    assert to.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in project.iterdir() if path.name.startswith(".")] == []


def test_a_warehouse_without_the_marts_says_what_to_run(project: Path) -> None:
    with duckdb.connect(str(project / "warehouse.duckdb")) as connection:
        connection.execute("drop table marts.variant_performance")
    with pytest.raises(UserError, match=r"lacks a table or a column .* run `dbt build`"):
        run(project, project / "report.html")
    assert not (project / "report.html").exists()


def test_a_mart_of_an_older_version_says_what_to_run(project: Path) -> None:
    with duckdb.connect(str(project / "warehouse.duckdb")) as connection:
        connection.execute("alter table marts.variant_health drop column match_rate")
    with pytest.raises(UserError, match=r"--full-refresh.*match_rate"):
        run(project, project / "report.html")


def test_a_warehouse_that_nothing_has_landed_in_gives_a_page(project: Path, open_page: Open) -> None:
    with duckdb.connect(str(project / "warehouse.duckdb")) as connection:
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables()"
        ).fetchall():
            connection.execute(f"delete from {schema}.{table}")
    assert run(project, project / "report.html").startswith("0 templates in")
    tab = open_page("#template=welcome", of=project / "report.html")
    assert "No template has been served yet." in tab.inner_text("#overview")


@pytest.mark.parametrize("given", ["abc", "90", "-0.1", ".nan", "true", "[]", "'0.9'", "", None])
def test_a_match_rate_that_is_no_share_says_what_to_write(project: Path, given: str | None) -> None:
    least = "" if given is None else f"min_match_rate: {given}, "
    (project / "dbt_project.yml").write_text(
        f"name: copymart\nprofile: copymart\nvars: {{{least}production_schema: PROD}}\n"
    )
    with pytest.raises(UserError, match=r"min_match_rate .*: write a number from 0 to 1"):
        command.report(to=project / "report.html", project_dir=project, profiles_dir=project)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "is a folder: name a file in it"),
        ("none/report.html", "does not exist: make it"),
        ("a" * 300, "File name too long: name another file with --to"),
    ],
)
def test_a_place_that_takes_no_file_is_said_before_anything_is_read(
    tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        command.report(to=tmp_path / name, project_dir=tmp_path / "no project")


def test_a_link_stays_one_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    device, link, page = (tmp_path / name for name in ("device", "link.html", "page.html"))
    os.mkfifo(device)
    with pytest.raises(UserError, match="is no file that can be replaced"):
        command.report(to=device, project_dir=tmp_path / "no project")
    assert device.is_fifo()
    link.symlink_to(page)
    command.write(link, "<!doctype html>")
    assert link.is_symlink() and page.read_text() == "<!doctype html>"


def test_a_disk_that_is_full_leaves_the_page_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "report.html"
    to.write_text("an older one")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        command.write(to, "<!doctype html>")
    assert to.read_text() == "an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
