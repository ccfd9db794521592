"""copymart share and bootstrap as a person runs them, on the strict account; what may leave; the docs."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from scripts import warehouse
from scripts.cli import app
from scripts.errors import UserError
from scripts.snowflake import share as share_verb
from scripts.snowflake.names import account, identifier, literal, parts
from scripts.snowflake.share import Grant, reviewed
from scripts.snowflake.share_plan import View
from support.project import PROJECT, read_yaml
from support.snowflake import CONSUMER, built, dbt_environment, empty_account, read_manifest, view_statement
from support.strict_snowflake import StrictSnowflake, refused_to, run_all

REVIEWED = read_yaml(PROJECT / "models/shares/_shares.yml")["models"]
# To let one of these leave with the metrics, change this test too.
PERSONAL = {"user_id", "attrs", "journey_id", "delivery_key", "delivery_id", "event_id"}
WORDS = {"vars", "subject", "preheader", "body", "content_hash"}
RECORD = [
    "event_timestamp",
    "user_id",
    "campaign_id",
    "action_id",
    "journey_id",
    "copy_id",
    "template_id",
    "vars",
    "attrs",
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_manifest(tmp_path_factory.mktemp("manifest"))


@pytest.fixture(scope="module")
def built_account(manifest: Any) -> StrictSnowflake:
    return built(*(reviewed(manifest, grant, "S") for grant in Grant))


class Shell:
    """The command line, with the strict account where Snowflake would be."""

    def __init__(self, session: StrictSnowflake) -> None:
        self.session = session

    def __call__(self, *arguments: str, answer: str = "") -> tuple[str, str]:
        """Run copymart; return what it printed, and the error's message or ''."""
        self.session.log.clear()
        result = CliRunner().invoke(app, list(arguments), input=answer)
        if isinstance(result.exception, UserError):
            return result.output, str(result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output, "" if result.exit_code == 0 else f"exit {result.exit_code}"

    def changes(self) -> list[str]:
        """The statements of the last run that change something."""
        asking = ("show", "describe", "select", "use role")
        return [statement for statement in self.session.log if not statement.startswith(asking)]


@pytest.fixture
def shell(
    built_account: StrictSnowflake, manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    session = deepcopy(built_account)
    dbt_environment(tmp_path, monkeypatch)
    monkeypatch.setenv("DBT_TARGET", "snowflake")
    monkeypatch.setenv("COPYMART_SHARE_ROLE", "copymart_sharer")
    monkeypatch.setattr(share_verb, "_manifest", lambda *_: manifest)
    monkeypatch.setattr(warehouse, "connect_snowflake", lambda *_, **__: session)
    return Shell(session)


# -- what may leave


def test_nothing_leaves_but_the_reviewed_columns(manifest: Any) -> None:
    listed = {
        (model["config"]["meta"]["grant"], column["name"].upper()): model["name"]
        for model in REVIEWED
        for column in model["columns"]
    }
    for grant in Grant:
        wanted = reviewed(manifest, grant, "S")
        shown = {(str(grant), column) for view in wanted.views for column in view.columns}
        assert shown == {key for key in listed if key[0] == grant}
    metrics = {
        column["name"]
        for model in REVIEWED
        if model["config"]["meta"]["grant"] == "metrics"
        for column in model["columns"]
    }
    assert not metrics & (PERSONAL | WORDS)
    (calls,) = [model for model in REVIEWED if model["config"]["meta"]["grant"] == "agreement"]
    assert [column["name"] for column in calls["columns"]] == RECORD


def test_shared_views_are_secure_keep_their_grants_and_are_read_by_nobody(manifest: Any) -> None:
    shares = {node.unique_id: node for node in manifest.nodes.values() if node.fqn[1] == "shares"}
    models = {unique_id: node for unique_id, node in shares.items() if node.resource_type == "model"}
    assert {node.name for node in models.values()} == {model["name"] for model in REVIEWED}
    for node in models.values():
        assert node.config.materialized == "view"
        assert node.config.contract.enforced
        assert node.config.get("secure") is True
        assert node.config.get("copy_grants") is True
        assert node.access == "private"
        for parent in node.depends_on.nodes:
            assert manifest.nodes[parent].fqn[1] == "marts"
    for node in manifest.nodes.values():
        if node.resource_type == "model":
            assert not set(node.depends_on.nodes) & set(models)


def test_a_grant_holds_its_views_and_no_others(manifest: Any) -> None:
    metrics = reviewed(manifest, Grant.METRICS, "S")
    assert [view.path for view in metrics.views] == [
        ("COPYMART", "SHARES", name)
        for name in (
            "SHARED_CONTROL_METRICS_DAILY",
            "SHARED_COPY_COHORT_METRICS_DAILY",
            "SHARED_COPY_METRICS_DAILY",
            "SHARED_COPY_VARIANTS",
            "SHARED_TEMPLATE_PERFORMANCE",
            "SHARED_VARIANT_PERFORMANCE",
        )
    ]
    assert metrics.references == ()
    agreement = reviewed(manifest, Grant.AGREEMENT, "S")
    assert [view.path for view in agreement.views] == [("COPYMART", "SHARES", "SHARED_CALLS")]


def test_audits_are_built_once_per_run_on_snowflake(manifest: Any) -> None:
    audits = [
        node for node in manifest.nodes.values() if node.resource_type == "model" and node.fqn[1] == "audit"
    ]
    # those that read all messages are views, which cost nothing until somebody asks them
    views = {node.name for node in audits if node.config.materialized == "view"}
    assert views == {"audit_messages", "audit_suggested_actions"}
    assert {node.config.materialized for node in audits if node.name not in views} == {"table"}
    read = [
        parent
        for node in manifest.nodes.values()
        if node.resource_type == "test"
        for parent in node.depends_on.nodes
    ]
    assert max(read.count(node.unique_id) for node in audits) > 3


def test_a_model_without_a_grant_stops_the_share(manifest: Any) -> None:
    changed = deepcopy(manifest)
    changed.nodes["model.copymart.shared_calls"].config.meta["grant"] = "everything"
    with pytest.raises(UserError, match="shared_calls in models/shares names no grant"):
        reviewed(changed, Grant.METRICS, "S")


def test_a_mart_in_another_database_is_referenced_through_views(manifest: Any) -> None:
    changed = deepcopy(manifest)
    # fct_calls is a view: the table below it is what the consumer reads
    changed.nodes[
        "model.copymart.int_distinct_calls"
    ].relation_name = "elsewhere.intermediate.int_distinct_calls"
    assert reviewed(changed, Grant.AGREEMENT, "S").references == ("ELSEWHERE",)
    assert reviewed(changed, Grant.METRICS, "S").references == ()


# -- the command


def test_metrics_are_given_once_and_then_there_are_no_changes(shell: Shell) -> None:
    output, error = shell("share", "--account", CONSUMER.lower(), "--yes")
    assert error == ""
    assert "Plan: 10 to add, 0 to remove, 0 unchanged." in output
    share = shell.session.account.shares["COPYMART_METRICS"]
    assert share.accounts == [CONSUMER]
    assert ("SELECT", "VIEW", ("COPYMART", "SHARES", "SHARED_CALLS")) not in share.privileges
    output, error = shell("share", "--account", CONSUMER, "--yes")
    assert (error, shell.changes()) == ("", [])
    assert "No changes." in output
    assert "COPYMART_AGREEMENT" not in shell.session.account.shares


def test_the_agreement_is_given_only_when_it_is_named(shell: Shell) -> None:
    assert shell("share", "--account", CONSUMER, "--grant", "agreement", "--yes")[1] == ""
    share = shell.session.account.shares["COPYMART_AGREEMENT"]
    assert [path[-1] for privilege, _, path in share.privileges if privilege == "SELECT"] == ["SHARED_CALLS"]


def test_a_plan_is_applied_only_after_yes(shell: Shell) -> None:
    for answer in ("n\n", ""):
        output, _ = shell("share", "--account", CONSUMER, answer=answer)
        assert ("nothing was changed" in output) == bool(answer)
        assert shell.changes() == []
    output, error = shell("share", "--account", CONSUMER, answer="y\n")
    assert (error, len(shell.changes())) == ("", 10)
    assert "Applied: 10 statements." in output


def test_a_dry_run_and_a_check_change_nothing(shell: Shell) -> None:
    before = deepcopy(shell.session.account)
    output, error = shell("share", "--account", CONSUMER, "--dry-run")
    assert error == ""
    assert "Dry run: nothing was changed." in output
    output, error = shell("share", "--account", CONSUMER, "--check")
    assert "the share is not as it should be" in error
    assert shell.session.account == before


def damage(session: StrictSnowflake, name: str) -> None:
    """Break a share that is as it should be."""
    view = View(("COPYMART", "SHARES", "SHARED_COPY_VARIANTS"), ("COPY_ID",))
    source = '"COPYMART"."MARTS"."FACTS"'
    select = 'select on view "COPYMART"."SHARES"."SHARED_CALLS"'
    columns = session.account.objects["VIEW", view.path]["columns"]
    share = session.account.shares["COPYMART_METRICS"]
    if name in ("usage on database", "usage on schema", "select on view"):
        privilege, kind = name.upper().split(" ON ")
        share.privileges.remove(next(held for held in share.privileges if held[:2] == (privilege, kind)))
    elif name == "view rebuilt":
        plan = [
            'use role "COPYMART_TRANSFORMER"',
            view_statement(View(view.path, columns), source, copy_grants=False),
        ]
        run_all(session, plan)
    elif name == "one view more":
        run_all(session, ['use role "COPYMART_SHARER"', f'grant {select} to share "COPYMART_METRICS"'])
    elif name == "account gone":
        share.accounts.clear()
    elif name == "share gone":
        del session.account.shares["COPYMART_METRICS"]
    elif name == "view gone":
        run_all(
            session,
            ['use role "COPYMART_TRANSFORMER"', 'drop view "COPYMART"."SHARES"."SHARED_COPY_VARIANTS"'],
        )
    elif name == "schema gone":
        drop_schema(session)
    elif name == "other columns":
        session.account.objects["VIEW", view.path]["columns"] = (*columns[1:], "SUBJECT")
    else:
        session.account.objects["VIEW", view.path]["secure"] = False


def drop_schema(session: StrictSnowflake) -> None:
    """Drop the schema of the shared views, which takes them out of their shares."""
    objects = session.account.objects
    for kind, path in [key for key in objects if key[1][:2] == ("COPYMART", "SHARES")]:
        del objects[kind, path]
    for share in session.account.shares.values():
        share.privileges = [held for held in share.privileges if held[2][:2] != ("COPYMART", "SHARES")]


DAMAGE = {
    "usage on database": "+ usage on database COPYMART",
    "usage on schema": "+ usage on schema COPYMART.SHARES",
    "select on view": "+ select on view COPYMART.SHARES.SHARED_CONTROL_METRICS_DAILY",
    "view rebuilt": "+ select on view COPYMART.SHARES.SHARED_COPY_VARIANTS",
    "one view more": "- select on view COPYMART.SHARES.SHARED_CALLS",
    "account gone": f"+ account {CONSUMER}",
    "share gone": "+ share COPYMART_METRICS",
    "view gone": "view COPYMART.SHARES.SHARED_COPY_VARIANTS does not exist",
    "schema gone": "view COPYMART.SHARES.SHARED_COPY_VARIANTS does not exist",
    "other columns": "has not the reviewed columns: also SUBJECT; not VERSION_KEY",
    "view not secure": "view COPYMART.SHARES.SHARED_COPY_VARIANTS is not secure",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_check_finds_what_is_wrong_and_a_rerun_mends_what_it_may(kind: str, shell: Shell) -> None:
    assert shell("share", "--account", CONSUMER, "--yes")[1] == ""
    assert shell("share", "--account", CONSUMER, "--check")[1] == ""
    damage(shell.session, kind)
    output, error = shell("share", "--account", CONSUMER, "--check")
    assert "the share is not as it should be" in error
    assert DAMAGE[kind] in output + error
    assert shell.changes() == []
    output, error = shell("share", "--account", CONSUMER, "--yes")
    if kind in ("view gone", "schema gone", "other columns", "view not secure"):
        assert "nothing was changed" in error
        assert shell.changes() == []
    else:
        assert error == ""
        assert shell("share", "--account", CONSUMER, "--check")[1] == ""


def test_accounts_are_added_and_taken_away_one_by_one(shell: Shell) -> None:
    shell.session.account.consumers["OTHER.ONE"] = (shell.session.account.region, "STANDARD")
    shell("share", "--account", CONSUMER, "--yes")
    assert shell("share", "--account", "other.one", "--yes")[1] == ""
    share = shell.session.account.shares["COPYMART_METRICS"]
    assert share.accounts == [CONSUMER, "OTHER.ONE"]
    assert shell("share", "--account", CONSUMER, "--revoke", "--yes")[1] == ""
    assert share.accounts == ["OTHER.ONE"]
    # an account under another name than the share's list has must not be taken for one that is gone
    for name in (CONSUMER, "XY12345"):
        _, error = shell("share", "--account", name, "--revoke", "--yes")
        assert f"{name} does not have the share COPYMART_METRICS; OTHER.ONE has" in error
        assert share.accounts == ["OTHER.ONE"]
    output, error = shell("share", "--revoke", "--yes")
    assert (error, shell.session.account.shares) == ("", {})
    assert "- share COPYMART_METRICS, which no account has any more" in output
    assert "this role sees no share COPYMART_METRICS" in shell("share", "--revoke", "--yes")[1]


def test_a_share_whose_schema_is_gone_can_be_taken_away(shell: Shell) -> None:
    """Else a schema that is built again would be seen by whom it was taken from."""
    assert shell("share", "--account", CONSUMER, "--yes")[1] == ""
    drop_schema(shell.session)
    assert shell("share", "--revoke", "--yes")[1] == ""
    assert shell.session.account.shares == {}


def test_a_share_has_more_accounts_than_show_shares_lists(shell: Shell) -> None:
    others = [f"OTHER.A{number}" for number in range(1, 5)]
    shell.session.account.consumers |= dict.fromkeys(others, (shell.session.account.region, "STANDARD"))
    for name in (CONSUMER, *others):
        assert shell("share", "--account", name, "--yes")[1] == ""
    shell.session.run("use role accountadmin")
    (shown,) = [row for row in shell.session.show_shares("'%'")[1] if row[1] == "OUTBOUND"]
    assert shown[5].count(",") == 2
    gone = [argument for name in (CONSUMER, *others[:2]) for argument in ("--account", name)]
    assert shell("share", *gone, "--revoke", "--yes")[1] == ""
    assert shell.session.account.shares["COPYMART_METRICS"].accounts == others[2:]
    output, error = shell("share", "--account", others[3], "--check")
    assert (error, f"= account {others[2]}" in output) == ("", True)


def test_what_a_role_cannot_list_is_there_all_the_same(shell: Shell) -> None:
    """The sharer has no IMPORT SHARE: SHOW SHARES lists nothing, and nobody takes that for an answer."""
    assert shell("share", "--account", CONSUMER, "--yes")[1] == ""
    assert shell.session.show_shares("'%'")[1] == []
    assert shell("share", "--account", CONSUMER, "--check")[1] == ""
    assert shell("share", "--revoke", "--yes")[1] == ""
    assert shell.session.account.shares == {}


def test_the_share_of_another_role_is_not_taken_for_none(shell: Shell) -> None:
    run_all(shell.session, ["use role accountadmin", 'create share "COPYMART_METRICS"'])
    before = deepcopy(shell.session.account)
    for options in ((), ("--account", CONSUMER)):
        _, error = shell("share", *options, "--revoke", "--yes")
        assert "this role sees no share COPYMART_METRICS: there is none, or another role owns it" in error
    assert "exit" not in shell("share", "--check")[1] != ""
    _, error = shell("share", "--account", CONSUMER, "--yes")
    assert "Snowflake refused `create share" in error and "already exists" in error
    assert shell.session.account == before


def test_what_another_role_granted_is_not_said_to_be_gone(shell: Shell) -> None:
    shell("share", "--account", CONSUMER, "--yes")
    damage(shell.session, "one view more")
    calls = View(
        ("COPYMART", "SHARES", "SHARED_CALLS"),
        shell.session.account.objects["VIEW", ("COPYMART", "SHARES", "SHARED_CALLS")]["columns"],
    )
    rebuilt = view_statement(calls, '"COPYMART"."MARTS"."FACTS"')
    run_all(shell.session, ['use role "COPYMART_TRANSFORMER"', rebuilt])
    _, error = shell("share", "--account", CONSUMER, "--yes")
    revoke = 'revoke select on view "COPYMART"."SHARES"."SHARED_CALLS" from share "COPYMART_METRICS"'
    assert "and yet the share is not as planned" in error
    # the role that granted it does not see the share
    assert refused_to("COPYMART_TRANSFORMER", shell.session, [revoke]) == [revoke]
    assert f"COPYMART_TRANSFORMER has granted this: as ACCOUNTADMIN, run `{revoke}`" in error
    run_all(shell.session, ["use role accountadmin", revoke])
    assert shell("share", "--account", CONSUMER, "--check")[1] == ""


def test_a_role_that_the_user_does_not_have_is_told(shell: Shell) -> None:
    _, error = shell("share", "--role", "nobody", "--check")
    assert "Snowflake refused `use role" in error
    assert "or name another with COPYMART_SHARE_ROLE" in error


def test_the_profile_names_the_role_of_a_share_where_nothing_else_does(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COPYMART_SHARE_ROLE")
    monkeypatch.setenv("SNOWFLAKE_ROLE", "COPYMART_SHARER")
    output, error = shell("share", "--account", CONSUMER, "--yes")
    assert (error, "by COPYMART_SHARER in ACME.PROD" in output) == ("", True)


def test_an_account_that_does_not_exist_is_told(shell: Shell) -> None:
    _, error = shell("share", "--account", "JUSTAI.ANALITICS", "--yes")
    assert "the share is not as planned:\n  + account JUSTAI.ANALITICS (it does not exist" in error


def test_a_refused_statement_says_what_stands(shell: Shell) -> None:
    grants = shell.session.account.grants
    grants -= {
        grant for grant in grants if grant[1] == "MANAGE SHARE TARGET" and grant[0] == "COPYMART_SHARER"
    }
    _, error = shell("share", "--account", CONSUMER, "--yes")
    assert "Snowflake refused `alter share" in error
    assert "MANAGE SHARE TARGET on the account" in error
    assert "9 of 10 statements took effect" in error


def test_wrong_names_are_refused_before_anything_is_asked(shell: Shell) -> None:
    for arguments, message in (
        (("--account", "justai-analytics"), "did you mean justai.analytics"),
        (("--account", "a.b; drop share x"), "is neither ORG.ACCOUNT nor"),
        (("--share", 'S"; drop share "T'), "is not a plain Snowflake name"),
        (("--role", "a b"), "is not a plain Snowflake name"),
        (("--revoke", "--check"), "--revoke goes with neither"),
    ):
        _, error = shell("share", *arguments)
        assert message in error
        assert shell.session.log == []


def test_duckdb_has_no_shares(shell: Shell) -> None:
    assert (
        "the profile's target is of type duckdb: give --target snowflake"
        in shell("share", "--target", "duckdb")[1]
    )


def test_names_and_text_are_quoted() -> None:
    assert literal("it's a \\ ") == "'it''s a \\\\ '"
    assert parts('"a ""b"".c".D.e') == ('a "b".c', "D", "E")
    assert account("xy12345") == "XY12345"
    assert identifier("a_1$", "x") == "A_1$"
    for name in ("1a", "a-b", "a b", 'a"b', "", "a" * 256):
        with pytest.raises(UserError):
            identifier(name, "x")


def test_a_session_is_made_of_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snowflake import connector

    dbt_environment(tmp_path, monkeypatch)
    monkeypatch.delenv("SNOWFLAKE_PRIVATE_KEY_PATH")
    (tmp_path / "profiles.yml").write_text("""
copymart:
  target: prod
  outputs:
    prod: {type: snowflake, account: acme-prod, user: me, authenticator: externalbrowser, role: SOME_ROLE,
           database: COPYMART, schema: PROD, warehouse: COPYMART_WH}
    local: {type: duckdb, path: none.duckdb}
""")
    given: dict[str, Any] = {}

    def connect(**settings: Any) -> Any:
        given.update(settings)
        return snowflake

    snowflake = MagicMock()
    monkeypatch.setattr(connector, "connect", connect)
    warehouse.connect_snowflake(PROJECT, tmp_path, "prod", "share", as_role=False, alone=False)
    cursor = snowflake.cursor.return_value.__enter__.return_value
    cursor.execute.assert_not_called()
    warehouse.connect_snowflake(PROJECT, tmp_path, "prod", "share", as_role=False)
    cursor.execute.assert_called_once_with("use secondary roles none")
    assert given["account"] == "acme-prod"
    assert given["authenticator"] == "externalbrowser"
    parameters = given["session_parameters"]
    assert parameters["QUERY_TAG"] == '{"app": "copymart", "verb": "share"}'
    assert parameters["TIMESTAMP_INPUT_FORMAT"] == parameters["DATE_INPUT_FORMAT"] == "AUTO"
    assert parameters["TIMESTAMP_TYPE_MAPPING"] == "TIMESTAMP_NTZ"
    # a time as text, such as that of a request which is sent, is one to the millisecond
    assert parameters["TIMESTAMP_NTZ_OUTPUT_FORMAT"].endswith("HH24:MI:SS.FF3")
    # an answer is whole, and a quoted name is that of one column
    assert parameters["ROWS_PER_RESULTSET"] == 0
    assert parameters["QUOTED_IDENTIFIERS_IGNORE_CASE"] is False
    assert given["role"] is None
    warehouse.connect_snowflake(PROJECT, tmp_path, "prod", "land")
    assert given["role"] == "SOME_ROLE"
    warehouse.connect_snowflake(PROJECT, tmp_path, "prod", "land", role="COPYMART_LOADER")
    assert given["role"] == "COPYMART_LOADER"

    def refuse(**_: Any) -> None:
        raise connector.errors.DatabaseError("Incorrect username or password was specified.")

    monkeypatch.setattr(connector, "connect", refuse)
    with pytest.raises(UserError, match="no session on the Snowflake account acme-prod as me: Incorrect"):
        warehouse.connect_snowflake(PROJECT, tmp_path, "prod")
    with pytest.raises(UserError, match="type duckdb: give --target"):
        warehouse.connect_snowflake(PROJECT, tmp_path, "local")


# -- bootstrap


def test_bootstrap_prints_what_it_would_apply(shell: Shell) -> None:
    shell.session.account.users["DBT"].clear()
    options = (
        "--transformer-user",
        "dbt",
        "--landing",
        "s3://acme/in",
        "--storage-role-arn",
        "arn:aws:iam::123456789012:role/x",
    )
    text, error = shell("bootstrap", "snowflake", *options)
    assert (error, shell.session.log) == ("", [])
    assert "'s3://acme/in/'" in text
    printed = [line.rstrip(";") for line in text.splitlines() if line and not line.startswith("--")]
    shell.session.account = empty_account()
    output, error = shell("bootstrap", "snowflake", *options, "--apply", "--yes")
    assert error == ""
    assert shell.changes() == [line for line in printed if not line.startswith("use role")]
    assert re.search(r"Applied: \d+ statements", output)
    assert shell.session.account.users["DBT"] == {"COPYMART_TRANSFORMER"}
    first = deepcopy(shell.session.account)
    assert shell("bootstrap", "snowflake", *options, "--apply", "--yes")[1] == ""
    assert shell.session.account == first


def test_bootstrap_says_which_role_is_for_which_verb(shell: Shell) -> None:
    text, _ = shell("bootstrap", "snowflake", "--role-prefix", "acme")
    roles = "SNOWFLAKE_ROLE=ACME_TRANSFORMER COPYMART_LAND_ROLE=ACME_LOADER COPYMART_SHARE_ROLE=ACME_SHARER"
    line = f"export {roles}"
    assert text.endswith(f"\n-- {line}\n")
    shell.session.account = empty_account()
    assert line in shell("bootstrap", "snowflake", "--role-prefix", "acme", "--apply", "--yes")[0]
    verbs = {command.name: command for command in get_command(app).commands.values()}  # type: ignore[attr-defined]
    read = {
        option.envvar for verb in ("land", "share") for option in verbs[verb].params if option.name == "role"
    }
    assert read == {"COPYMART_LAND_ROLE", "COPYMART_SHARE_ROLE"}


def test_bootstrap_asks_before_it_applies(shell: Shell) -> None:
    shell.session.account = empty_account()
    _, error = shell("bootstrap", "snowflake", "--apply", answer="n\n")
    assert (error, shell.session.log) == ("exit 1", [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--database", "a b"), "database 'a b' is not a plain Snowflake name"),
        (("--landing", "/tmp/x"), "is no s3://bucket/prefix/"),
        (("--landing", "s3://b/x"), "give --storage-role-arn"),
        (("--storage-role-arn", "role"), "is no role"),
        (
            ("--landing", "s3://b/x", "--storage-role-arn", "arn:aws-us-gov:iam::123456789012:role/x"),
            "Snowflake reaches buckets of the partition aws-us-gov by other addresses",
        ),
        (("--snowpipe",), "--snowpipe needs the place that it loads from"),
        (("--loader-user", "x'y"), 'user "x\'y" is not a plain Snowflake name'),
    ],
)
def test_bootstrap_refuses_what_it_cannot_name(options: tuple[str, ...], message: str, shell: Shell) -> None:
    assert message in shell("bootstrap", "snowflake", *options)[1]


# -- the documentation


def test_developers_leave_the_warehouse_of_production_as_it_is(shell: Shell) -> None:
    """As the documentation sets up their database: options decide size and limit of the warehouse too."""
    shell.session.account = empty_account()
    production = ("--warehouse-size", "large", "--credit-quota", "900")
    assert shell("bootstrap", "snowflake", *production, "--apply", "--yes")[1] == ""
    before = deepcopy(shell.session.account.objects)
    text = (PROJECT / "docs/snowflake.md").read_text()
    (advice,) = re.findall(r"`(--database COPYMART_DEV [^`]*)`", text)
    assert shell("bootstrap", "snowflake", *advice.split(), "--apply", "--yes")[1] == ""
    objects = shell.session.account.objects
    assert {key: objects[key] for key in before} == before
    assert all("_DEV" in key[1][0] for key in objects if key not in before)


def examples() -> list[tuple[list[str], str]]:
    """The commands of docs/snowflake.md that are followed by what they print."""
    text = (PROJECT / "docs/snowflake.md").read_text()
    found = re.findall(r"^```text\n\$ copymart (.*?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(command.split(), output) for command, output in found]


@pytest.mark.parametrize(
    ("command", "printed"), examples(), ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_the_documentation_shows_what_is_printed(command: list[str], printed: str, shell: Shell) -> None:
    output, error = shell(*command)
    assert error == ""
    assert output == printed


def test_the_documentation_shows_both_commands() -> None:
    assert [command[0] for command, _ in examples()] == ["bootstrap", "share"]
