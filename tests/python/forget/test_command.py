"""The command line of `copymart forget`: a plan first, and nothing without a yes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.cli import main
from scripts.land.rules import EVENTS, member_columns
from support.forgotten import EMAIL, ID, calls, events, sync
from support.land import land_path, warehouse
from support.project import PROJECT, settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def copymart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `copymart forget` in this process on a warehouse where all feeds have landed."""
    for name, value in settings(tmp_path / "profile").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(PROJECT)
    connection = warehouse(tmp_path / "profile/warehouse.duckdb")
    for path, dataset in (*calls(tmp_path, 0), *events(tmp_path, 0), *sync(tmp_path, 0)):
        land_path(connection, path, dataset)
    connection.close()

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["copymart", "forget", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (int(end.value.code or 0), *capsys.readouterr())

    return run


def test_a_plan_is_shown_and_nothing_happens_without_a_yes(
    tmp_path: Path, copymart: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten() -> int:
        with warehouse(tmp_path / "profile/warehouse.duckdb") as connection:
            query = "select count(*) from staging.customerio_events where user_id like 'forgotten:%'"
            return int(connection.execute(query).fetchall()[0][0])

    status, shown, _ = copymart("--email", EMAIL, "--dry-run")
    assert status == 0
    words = " ".join(shown.split())
    for text in (
        *(f"ids: {ID}", "cio_ids: cio-ann-77", "addresses: ann.77@example.com"),
        *("justai_calls 2 2", "customerio_events 3 1", "customerio_people 1 0", "customerio_outputs 1 0"),
        *("the files that the rows came from", "free blocks of the DuckDB file", "nothing was changed"),
    ):
        assert text in words
    monkeypatch.setattr("typer.confirm", lambda question: False)
    assert "nothing was changed" in copymart("--customer-id", ID)[1]
    assert forgotten() == 0
    assert "now run `dbt build`" in copymart("--customer-id", ID, "--yes")[1]
    # the event with an address alone has no id to replace
    assert forgotten() == 1
    assert "nothing of this person has landed" in copymart("--customer-id", ID, "--dry-run")[1]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), "name one person"),
        (("--customer-id", "a", "--email", "b@example.com"), "name one person"),
        (("--email", " "), "is empty"),
        (("--email", ID), "is no address: name an id with --customer-id"),
        (("--customer-id", "ann\udcff"), "is no UTF-8"),
    ],
)
def test_exactly_one_person_is_named(copymart: Run, arguments: tuple[str, ...], wanted: str) -> None:
    status, _, said = copymart(*arguments)
    assert status == 1
    assert wanted in said


def test_a_missing_warehouse_is_an_error_and_is_not_made(tmp_path: Path, copymart: Run) -> None:
    """A wrong path must not say that nothing of the person has landed."""
    file = tmp_path / "profile/warehouse.duckdb"
    file.unlink()
    status, _, said = copymart("--customer-id", ID, "--dry-run")
    assert status == 1
    assert "warehouse.duckdb does not exist: run `copymart land`" in " ".join(said.split())
    assert not file.exists()


def test_events_of_an_earlier_version_get_the_columns_that_name_people(tmp_path: Path, copymart: Run) -> None:
    with warehouse(tmp_path / "profile/warehouse.duckdb") as connection:
        for column in member_columns(EVENTS):
            connection.execute(f"alter table staging.customerio_events drop column {column}")
    status, shown, _ = copymart("--email", EMAIL, "--dry-run")
    assert (status, "customerio_events 3 1" in " ".join(shown.split())) == (0, True), shown
