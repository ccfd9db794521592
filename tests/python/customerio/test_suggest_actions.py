"""Actions that belong together are found from the data, and an owner's rows stay as they are."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from scripts.customerio.action_map import Action, claims
from scripts.customerio.suggest_actions import (
    Pair,
    Row,
    add,
    named_pairs,
    read,
    rows_of,
    suggested_by_actions,
    suggestions,
)
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


def test_what_the_owner_names_as_control_is_no_message() -> None:
    """A journey may ask JustAI before it splits, so the control arm's message comes next after calls too."""
    arm = Pair("t", 7, 10, 12, 50, 100)
    assert ("t", "7", "message", "12") in written(PAIR, arm)
    for there in ("t,7,control,12", "t,,control,12", "other,7,control,12"):
        assert written(PAIR, arm, there=f"{there} t,7,webhook,10") == {("t", "7", "message", "11")}
    assert ("t", "7", "message", "12") in written(PAIR, arm, there="t,8,control,12")


def test_templates_are_named_as_loading_reads_their_names() -> None:
    """Calls keep the spaces around a name, and loading trims those of the file."""
    names = ("template_id", "campaign_id", "webhook_action_id", "message_action_id")
    rows = [
        {**dict(zip(names, (template, 7, 10, 11), strict=True)), "deliveries": 90, "followed": 100}
        for template in (" t ", "t", " ", "null")
    ]
    pairs = named_pairs(rows)
    assert pairs == [PAIR, PAIR]
    assert written(*pairs) == written(PAIR)
    assert written(*pairs, there="t,7,webhook,10 t,7,message,11") == set()


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
        (
            HEADER.rstrip() + ',"note, why"\n',
            HEADER.rstrip() + ',"note, why"\nt,7,webhook,10,\n',
        ),
    ],
    ids=["plain", "no last line feed", "spreadsheet", "other columns", "comma in a name"],
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
        ((HEADER + f'"{"t" * 200_000}",7,webhook,10\n').encode(), "cannot be read: field larger"),
        (None, "cannot be read: there is no such file. Make it with the line template_id,campaign_id"),
    ],
)
def test_a_faulty_file_is_named(tmp_path: Path, contents: bytes | None, message: str) -> None:
    seed = tmp_path / "template_actions.csv"
    if contents is not None:
        seed.write_bytes(contents)
    with pytest.raises(UserError, match=message):
        rows_of(seed)


def test_values_are_those_that_loading_reads(tmp_path: Path) -> None:
    """Otherwise a row is added that loading takes for another one's repetition, and refuses."""
    seed = tmp_path / "template_actions.csv"
    seed.write_text(HEADER + " t ,null,message, 1010.0 \npromo-1.0,07,webhook,0010.\n")
    assert rows_of(seed) == [Row("t", "", "message", "1010"), Row("promo-1.0", "7", "webhook", "10")]


def test_the_file_keeps_its_rights_and_a_link_to_it_stays_one(tmp_path: Path) -> None:
    seed, link = tmp_path / "own.csv", tmp_path / "seeds/template_actions.csv"
    seed.write_text(HEADER)
    seed.chmod(0o640)
    link.parent.mkdir()
    link.symlink_to(seed)
    assert add(link, [Row("t", "7", "webhook", "10")]) == 1
    assert link.is_symlink() and seed.read_text() == HEADER + "t,7,webhook,10\n"
    assert seed.stat().st_mode & 0o777 == 0o640


def test_what_another_run_added_meanwhile_is_not_added_again(tmp_path: Path) -> None:
    seed = tmp_path / "template_actions.csv"
    seed.write_text(HEADER)
    rows = [Row("t", "7", "webhook", "10"), Row("t", "7", "message", "11")]
    assert [add(seed, rows[:1]), add(seed, rows), add(seed, rows)] == [1, 1, 0]
    assert rows_of(seed) == rows


def test_an_open_quote_takes_in_no_row(tmp_path: Path) -> None:
    seed = tmp_path / "template_actions.csv"
    seed.write_text(HEADER + 'x,1,message,"2\n')
    with pytest.raises(UserError, match='begins with " and does not end with one'):
        add(seed, [Row("t", "7", "webhook", "10")])
    assert seed.read_text() == HEADER + 'x,1,message,"2\n'


def test_a_change_in_the_middle_of_a_write_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = tmp_path / "template_actions.csv"
    seed.write_text(HEADER)
    monkeypatch.setattr(
        "scripts.customerio.suggest_actions.shutil.copymode", lambda *_: seed.write_text(HEADER + "\n")
    )
    with pytest.raises(UserError, match="was changed meanwhile: run the command again"):
        add(seed, [Row("t", "7", "webhook", "10")])
    assert seed.read_text() == HEADER + "\n" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_seeds_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the folder .*none does not exist: .*COPYMART_SEEDS"):
        rows_of(tmp_path / "none/template_actions.csv")


def test_a_share_below_the_limit_does_not_show_as_the_limit() -> None:
    found = suggestions([Pair("t", 7, 10, 11, 2_999, 10_000)], [])
    assert found[0].because.endswith("2,999 of 10,000 calls of 10 (29.9%)")


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


ASK = Action(7, 41, url="https://api.justwords.ai/api/generate/acme", body='{"template_id": "plan-nudge"}')
MAIL = Action(7, 42, subject="{{ customer.jw_plan-nudge.vars.subject }}", body="Hello")
OTHER = Action(7, 43, subject="Hello", body="no answer")


def claimed(*actions: Action, calls: dict = {}, followed: dict = {}) -> dict[tuple[str, str, int], float]:  # type: ignore[type-arg]  # noqa: B006
    counted = {key: Counter(value) for key, value in calls.items()}
    return {
        (claim.template_id, claim.role, claim.action_id): round(claim.share, 2)
        for claim in claims(actions, counted, followed)
    }


def test_a_webhook_to_justai_and_the_messages_that_write_its_answer_belong_together() -> None:
    """In any order, whatever the message calls the template in Liquid, and only within a campaign."""
    both = {("plan-nudge", "webhook", 41): 1.0, ("plan-nudge", "message", 42): 1.0}
    assert claimed(ASK, MAIL, OTHER) == claimed(OTHER, MAIL, ASK) == both
    for text in ('{{ journey["jw_plan_nudge"].vars.x }}', "{{journey.jw_Plan-Nudge.vars.x}}"):
        assert claimed(ASK, Action(7, 42, body=text)) == both
        assert claimed(ASK, Action(7, 42, preheader=text)) == both
    assert claimed(ASK, Action(8, 42, body=MAIL.subject)) == {("plan-nudge", "webhook", 41): 1.0}
    assert claimed(MAIL, OTHER) == {}
    assert claimed(Action(7, 41, url="https://x/hook", body=ASK.body), MAIL) == {}


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://x/api/generate/acme?template_id=plan-nudge&user_id=1", ""),
        ("https://x/api/generate/acme", json.dumps({"payload": json.dumps({"template_id": "plan-nudge"})})),
        ("https://x/api/batch-generate/acme", '{"requests":[{"template_id":"plan-nudge"}]}'),
    ],
)
def test_a_webhook_names_its_template_in_several_ways(url: str, body: str) -> None:
    assert claimed(Action(7, 41, url, body=body))[("plan-nudge", "webhook", 41)] == 1


@pytest.mark.parametrize(
    ("url", "body", "named"),
    [
        ("", '{"template_id": "Plan nudge"}', {"Plan nudge"}),
        ("", '{"template_id": "gr\u00f6\u00dfe"}', {"gr\u00f6\u00dfe"}),
        ("", json.dumps({"payload": json.dumps({"template_id": "a/b"})}), {"a/b"}),
        ("", '{"old_template_id": "x", "template_id": "plan-nudge"}', {"plan-nudge"}),
        ("", '{"template_id": "plan-{{ customer.plan }}"}', set()),
        ("?template_id=plan-nudge#x", "", {"plan-nudge"}),
        ("?template_id=gr%C3%B6%C3%9Fe&user_id=1", "", set()),
    ],
)
def test_a_template_is_named_whole_or_not_at_all(url: str, body: str, named: set[str]) -> None:
    """A part of a name is no template, and would be added as one."""
    assert {
        template
        for template, role, _ in claimed(Action(7, 41, ASK.url + url, body=body))
        if role == "webhook"
    } == named


def test_liquid_may_strip_the_spaces_behind_a_name() -> None:
    mail = Action(7, 42, body="{{jw_plan_nudge-}} {{- jw_plan-nudge.vars.body -}}")
    assert claimed(ASK, mail) == {("plan-nudge", "message", 42): 1.0, ("plan-nudge", "webhook", 41): 1.0}


def test_what_calls_and_messages_did_decides_the_share() -> None:
    calls = {("plan-nudge", 7): {41: 90, 44: 10}}
    followed = {("plan-nudge", 7, 41, 42): (60, 80), ("plan-nudge", 7, 41, 43): (20, 80)}
    assert claimed(ASK, MAIL, calls=calls, followed=followed) == {
        ("plan-nudge", "webhook", 41): 0.9,
        ("plan-nudge", "message", 42): 0.75,
    }
    # no message of this action ever came next
    unseen = {("plan-nudge", 7, 41, 43): (20, 20)}
    assert claimed(ASK, MAIL, followed=unseen)[("plan-nudge", "message", 42)] == 0
    two = Action(7, 42, body="{{jw_plan-nudge}} {{jw_other}}")
    assert claimed(ASK, two)[("plan-nudge", "message", 42)] == 0.5


def test_a_message_of_two_webhooks_has_the_share_of_the_one_before_it() -> None:
    """Two branches of a campaign ask for one template, each with a message of its own."""
    actions = [ASK, MAIL, replace(ASK, action_id=44), replace(MAIL, action_id=45)]
    followed = {("plan-nudge", 7, 41, 42): (5, 5), ("plan-nudge", 7, 44, 45): (4, 5)}
    calls = {("plan-nudge", 7): Counter({41: 5, 44: 5})}
    found = suggested_by_actions(claims(actions, calls, followed), calls, [], [])
    assert {(suggestion.row.action_id, suggestion.share) for suggestion in found} == {
        ("41", 0.5),
        ("44", 0.5),
        ("42", 1.0),
        ("45", 0.8),
    }


def test_calls_that_carry_the_messages_own_action_need_no_row() -> None:
    assert claimed(ASK, MAIL, calls={("plan-nudge", 7): {42: 90, 41: 10}}) == {}


def test_a_webhook_without_a_template_is_that_of_its_calls_or_the_only_one() -> None:
    silent = Action(7, 41, ASK.url, body="{{ payload }}")
    expected = {("plan-nudge", "webhook", 41): 1.0, ("plan-nudge", "message", 42): 1.0}
    assert claimed(silent, MAIL) == {}
    assert claimed(silent, MAIL, calls={("plan-nudge", 7): {41: 5}}) == expected
    assert claimed(silent, MAIL, calls={("plan-nudge", 9): {99: 5}}) == expected
    assert claimed(silent, Action(7, 45, ASK.url), MAIL, calls={("plan-nudge", 9): {99: 5}}) == {}


def test_the_owner_and_the_data_come_before_what_actions_say() -> None:
    said = claims([ASK, MAIL], {}, {})

    def added(*lines: str, calls: dict = {}) -> dict[tuple[str, ...], float]:  # type: ignore[type-arg]  # noqa: B006
        there = [Row(*line.split(",")) for line in lines]
        found = suggested_by_actions(said, {k: Counter(v) for k, v in calls.items()}, there, there)
        return {tuple(vars(suggestion.row).values())[2:]: suggestion.share for suggestion in found}

    assert added() == {("webhook", "41"): 1, ("message", "42"): 1}
    assert added("plan-nudge,,message,42") == {}
    assert added("plan-nudge,7,webhook,41", "plan-nudge,7,control,42") == {}
    assert added("plan-nudge,7,webhook,40") == {("webhook", "41"): 1, ("message", "42"): 1}
    # its first webhook row would shut out calls that carry another action
    elsewhere = {("plan-nudge", 8): {51: 5}}
    assert added(calls=elsewhere) == {("webhook", "41"): 0, ("message", "42"): 1}
    assert added("plan-nudge,8,webhook,51", calls=elsewhere) == {("webhook", "41"): 1, ("message", "42"): 1}


def test_actions_are_read_from_the_warehouse_and_written_once(built: Built, tmp_path: Path) -> None:
    """Without calls or messages of theirs: a campaign that has not begun."""
    warehouse = tmp_path / "warehouse.duckdb"
    shutil.copy(built.warehouse, warehouse)
    sure, unsure = (
        {"type": "webhook", "name": "Ask", "url": ASK.url, "body": '{"template_id":"to-come"}'},
        {"type": "email", "subject": "{{jw_to-come}} {{jw_a}} {{jw_b}} {{jw_c}}"},
    )
    items = {41: sure, 42: {"type": "email", "subject": "{{ customer.jw_to-come.vars.subject }}"}, 43: unsure}
    with duckdb.connect(str(warehouse)) as connection:
        for number, item in items.items():
            connection.execute(
                "insert into staging.customerio_api (entity, key, payload, _scope) "
                "values ('actions', ?, ?, 'campaigns/9007')",
                [f"campaigns/9007/{number}", json.dumps(item)],
            )
    (tmp_path / "template_actions.csv").write_text(HEADER + "other,,message,5\n")
    environment = built.environment | {"COPYMART_SEEDS": str(tmp_path), "COPYMART_DUCKDB": str(warehouse)}
    shown = attempt(environment, "copymart", "suggest-actions", "--min-deliveries", "1000000", "--write")
    assert shown.status == 0, shown.output
    text = " ".join(shown.output.split())
    assert "41 calls JustAI for it" in text and "42 writes jw_to_come" in text
    assert "below 30%" in text and "added 2 rows" in text
    assert rows_of(tmp_path / "template_actions.csv") == [
        Row("other", "", "message", "5"),
        Row("to-come", "9007", "message", "42"),
        Row("to-come", "9007", "webhook", "41"),
    ]
    again = attempt(environment, "copymart", "suggest-actions", "--min-deliveries", "1000000", "--write")
    assert "none of them has a share of 30%" in again.output
