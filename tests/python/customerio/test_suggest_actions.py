"""Actions that belong together are found from the data, and an owner's rows stay as they are."""

from pathlib import Path

import pytest

from scripts.customerio.suggest_actions import Pair, Row, add, read, rows_of, suggestions
from scripts.errors import UserError
from scripts.simulate.world import ACTIONS, TEMPLATES
from support.emulated_snowflake import PROFILE, connect
from support.project import PROJECT, Built, attempt

HEADER = "template_id,campaign_id,role,action_id\n"
PAIR = Pair("t", 7, 10, 11, 90, 100)


def written(*pairs: Pair, there: str = "") -> set[tuple[str, ...]]:
    rows = [Row(*line.split(",")) for line in there.split()]
    return {tuple(vars(suggestion.row).values()) for suggestion in suggestions(pairs, rows)}


def test_a_pair_suggests_both_of_its_actions() -> None:
    assert written(PAIR) == {("t", "7", "webhook", "10"), ("t", "7", "message", "11")}


def test_a_row_that_is_there_is_not_suggested_again() -> None:
    assert written(PAIR, there="t,7,webhook,10 t,7,message,11") == set()
    # an empty campaign holds for all
    assert written(PAIR, there="t,,webhook,10 t,,message,11") == set()
    assert written(PAIR, there="t,8,webhook,10 t,7,message,11") == {("t", "7", "webhook", "10")}
    assert written(PAIR, PAIR) == written(PAIR)


def test_a_template_that_accepts_every_logged_action_is_not_narrowed() -> None:
    assert written(PAIR, there="t,7,message,12") == {("t", "7", "message", "11")}
    assert written(PAIR, there="other,7,message,12") == written(PAIR)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HEADER, HEADER + "t,7,webhook,10\n"),
        (HEADER.rstrip(), HEADER + "t,7,webhook,10\n"),
        (
            "\ufeff" + HEADER.replace("\n", "\r\n"),
            "\ufeff" + HEADER.replace("\n", "\r\n") + "t,7,webhook,10\r\n",
        ),
        (
            'Action_ID , role,note,template_id,campaign_id\n9,message,"a, b",x,\n',
            'Action_ID , role,note,template_id,campaign_id\n9,message,"a, b",x,\n10,webhook,,t,7\n',
        ),
    ],
    ids=["plain", "no last line feed", "spreadsheet", "other columns"],
)
def test_rows_are_added_and_what_was_there_stays(tmp_path: Path, old: str, new: str) -> None:
    seed = tmp_path / "template_actions.csv"
    seed.write_bytes(old.encode())
    add(seed, [Row("t", "7", "webhook", "10")])
    assert seed.read_bytes().decode() == new
    assert rows_of(seed)[-1] == Row("t", "7", "webhook", "10")
    assert [path.name for path in tmp_path.iterdir()] == [seed.name]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"template_id,role\n", "lacks the columns campaign_id, action_id"),
        ("näme\n".encode("latin-1"), "cannot be read: .*CSV in UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, contents: bytes | None, message: str) -> None:
    seed = tmp_path / "template_actions.csv"
    if contents is not None:
        seed.write_bytes(contents)
    with pytest.raises(UserError, match=message):
        rows_of(seed)


def test_values_are_those_that_loading_reads(tmp_path: Path) -> None:
    seed = tmp_path / "template_actions.csv"
    seed.write_text(HEADER + " t ,null,message, 1010.0 \n")
    assert rows_of(seed) == [Row("t", "", "message", "1010")]


def pairs_of(built: Built) -> list[Pair]:
    return read(PROJECT, Path(built.environment["DBT_PROFILES_DIR"]), "duckdb")


def test_the_suggestions_for_the_simulation_are_those_of_its_plan(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Precision and recall are both 1, at the limits that the command has unless told otherwise."""
    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    found = {
        (pair.template_id, pair.campaign_id, pair.webhook_action_id, pair.message_action_id)
        for pair in pairs_of(built)
        if pair.deliveries >= 10 and pair.share >= 0.3
    }
    sent = {
        (template.name, template.campaign, template.call_action, template.action)
        for template in TEMPLATES
        if template.call_action != template.action
    }
    named = {
        (name, campaign, webhook, message)
        for name, campaign, role, webhook in ACTIONS
        for other, _, other_role, message in ACTIONS
        if (role, other_role) == ("webhook", "message") and name == other
    }
    assert sent <= found
    assert found <= sent | named


def test_the_command_writes_once(built: Built, tmp_path: Path) -> None:
    (tmp_path / "template_actions.csv").write_text(HEADER)
    environment = built.environment | {"COPYMART_SEEDS": str(tmp_path)}
    shown = attempt(environment, "copymart", "suggest-actions")
    assert shown.status == 0, shown.output
    assert "1011 came next after" in shown.output and "--write adds these" in shown.output
    assert (tmp_path / "template_actions.csv").read_text() == HEADER
    assert attempt(environment, "copymart", "suggest-actions", "--write").status == 0
    rows = rows_of(tmp_path / "template_actions.csv")
    assert Row("welcome-email", "101", "message", "1011") in rows and len(set(rows)) == len(rows) > 20
    again = attempt(environment, "copymart", "suggest-actions", "--write")
    assert "has all that" in again.output
    assert rows_of(tmp_path / "template_actions.csv") == rows


def test_before_a_build_it_says_what_to_run(built: Built, tmp_path: Path) -> None:
    environment = built.environment | {"COPYMART_DUCKDB": str(tmp_path / "none.duckdb")}
    done = attempt(environment, "copymart", "suggest-actions")
    assert done.status == 1 and "run `copymart land` and `dbt build` first" in " ".join(done.output.split())


def test_it_reads_snowflake_too(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles.yml").write_text(PROFILE % port)
    monkeypatch.setenv("SNOWFLAKE_DATABASE", "SUGGESTED")
    with pytest.raises(UserError, match=r"lacks a table or a column .*run `dbt build`"):
        read(PROJECT, tmp_path, "snowflake")
    session = connect(port, "SUGGESTED")
    with session.cursor() as cursor:
        cursor.execute("create schema AUDIT")
        cursor.execute(
            "create table AUDIT.audit_suggested_actions as "
            "select 't' as template_id, column1 as campaign_id, 10 as webhook_action_id, "
            "11 as message_action_id, 90 as delivery_count, 100 as followed_count from values (7), (null)"
        )
    session.close()
    assert read(PROJECT, tmp_path, "snowflake") == [PAIR]
