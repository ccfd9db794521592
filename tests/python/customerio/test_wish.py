"""The options of copymart extract: what they mean, and what is said of one that means nothing."""

from pathlib import Path

import pytest

from scripts.customerio import extract, wish
from scripts.customerio.wish import ENTITIES
from scripts.errors import UserError
from support.project import attempt, settings


def test_entities_are_read_parents_first_and_each_once() -> None:
    assert wish.entities("actions, campaigns,actions", "--what") == ("campaigns", "actions")
    assert wish.entities("all", "--what") == ENTITIES
    for text, said in (
        ("", "it is empty"),
        (" , ", "it is empty"),
        ("campaigns,people", "people is not known"),
    ):
        with pytest.raises(UserError, match=f"--what .*{said}; choose of campaigns, .* or write all"):
            wish.entities(text, "--what")


def test_types_of_messages_have_other_names() -> None:
    assert wish.message_types("SMS,twilio, in-app,email") == ("twilio", "in_app", "email")
    assert wish.message_types(None) == ()
    # it yields nothing today, and a configuration of another extractor may name it
    assert wish.message_types("urban_airship") == ("urban_airship",)
    with pytest.raises(UserError, match=r"fax is no type of message; choose of email, .*sms is twilio"):
        wish.message_types("email,fax")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"segment": {"id": 7}}}', "no JSON.*Extra data"),
        ("{'segment': {'id': 7}}", "no JSON"),
        ("[]", "must be one object"),
        ('{"segment": {"id": 7}, "not": {}}', "must be one object"),
        ('{"segments": {}}', "must be one object with one of and, or, not, segment, attribute"),
    ],
)
def test_a_filter_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"--customers-filter .*{said}"):
        wish.people_filter(text)


def test_filters_are_json_with_its_words() -> None:
    text = (
        '{"and": [{"attribute": {"field": "plan", "operator": "eq", "value": true}}, {"segment": {"id": 7}}]}'
    )
    assert wish.people_filter(text)["and"][0]["attribute"]["value"] is True
    assert list(wish.people_filter('{"not": {"segment": {"id": 7}}}')) == ["not"]


def test_only_what_is_continued_has_a_state() -> None:
    assert extract._forgotten("all") == extract._forgotten("messages") == ("messages",)
    assert extract._forgotten(None) == ()
    with pytest.raises(UserError, match="--reset-state campaigns: only messages are continued"):
        extract._forgotten("campaigns")


def test_a_plan_says_what_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    entities = ("customers", "segments", "segment_members")
    said = []
    for options in ({}, {"full": True}, {"full": True, "people_filter": {"segment": {"id": 7}}}):
        extract._show_plan(entities, (), wish.Wish(**options))
        said.append(["removed" in line for line in capsys.readouterr().out.splitlines()])
    assert said == [[False, False, True], [True, True, True], [False, True, True]]


@pytest.mark.integration
def test_what_is_missing_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    environment = settings(tmp_path)
    environment.pop("CUSTOMERIO_APP_API_KEY", None)
    for key, options, said in (
        ("", (), "nothing to read: give --what"),
        ("", ("--what", "campaigns"), "CUSTOMERIO_APP_API_KEY is not set"),
        # as a web page shows a hidden key, and as two lines of a file
        ("\N{BULLET}\N{BULLET}1234", ("--what", "campaigns"), "characters that no key has"),
        ("key\n1234", ("--what", "campaigns"), "characters that no key has"),
        ("", ("--what", "campaign"), "campaign is not known"),
        ("", ("--what", "messages", "--since", "2999-01-01", "--dry-run"), "is later than now (UTC)"),
    ):
        keyed = environment | {"CUSTOMERIO_APP_API_KEY": key}
        done = attempt(keyed, "copymart", "extract", *options)
        assert done.status == 1 and said in " ".join(done.output.split())
        assert "1234" not in done.output
    assert not Path(environment["COPYMART_DUCKDB"]).exists()
    plan = ("--what", "messages,segments", "--since", "2026-01-01", "--reset-state", "all", "--dry-run")
    done = attempt(environment, "copymart", "extract", *plan)
    assert done.status == 0 and not Path(environment["COPYMART_DUCKDB"]).exists()
    text = " ".join(done.output.split())
    assert "would forget how far messages were read" in text
    assert "would read messages by key: rows are added and replaced; from 2026-01-01" in text
    done = attempt(environment, "copymart", "extract", "--reset-state", "messages")
    assert done.status == 0 and "forgot 0 positions of messages; rows stay" in done.output
