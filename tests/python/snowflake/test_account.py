"""The strict account refuses wrong plans, each for its reason, and takes ours unless they are broken."""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import fakesnow
import pytest
from snowflake import connector
from sqlfluff.core import FluffConfig, Linter

from scripts.errors import UserError
from scripts.snowflake import account as snowflake_account
from scripts.snowflake.bootstrap_plan import ROLES, SCHEMAS, Setup, Size, setup_steps
from scripts.snowflake.names import quoted
from scripts.snowflake.share_plan import View, Wanted, plan_give, plan_revoke, read, require_consumers
from scripts.unload.datasets import DATASETS, EVERYTHING, Format, Layout
from scripts.unload.dialects import snowflake
from scripts.unload.encode import Compression
from scripts.unload.engines.base import Options, Work
from scripts.unload.engines.snowflake import Snowflake
from scripts.unload.engines.snowflake_stage import find_stage
from scripts.unload.manifest import shape_of
from scripts.unload.places.s3 import Bucket
from scripts.unload.publish import Contents, Plan
from support.project import PROJECT, read_yaml
from support.snowflake import CONSUMER, SETUP, built, empty_account, statements, view_statement
from support.strict_account import RULES, Refused
from support.strict_snowflake import StrictSnowflake, run_all

ADMIN, OWNER = "use role accountadmin", 'use role "COPYMART_SHARER"'
BUILDER = 'use role "COPYMART_TRANSFORMER"'
SHARE = (
    OWNER,
    "create share S",
    'grant usage on database "COPYMART" to share S',
    'grant usage on schema "COPYMART"."SHARES" to share S',
)
ELSEWHERE = View(("COPYMART", "SHARES", "ELSEWHERE"), ("A",))
TO_SHARER = 'to role "COPYMART_SHARER" with grant option'


def wrong_plans() -> list[tuple[str, tuple[str, ...]]]:
    """The plans of wrong_plans.txt, each with the rule that its last statement breaks."""
    text = Path(__file__).with_name("wrong_plans.txt").read_text()
    plans = []
    for block in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        rule, *lines = filter(None, block.splitlines())
        plan = [statement for line in lines for statement in (SHARE if line == "(share S)" else (line,))]
        plans.append((rule, tuple(plan)))
    return plans


WRONG = wrong_plans()


METRICS = Wanted(
    "COPYMART_METRICS",
    "metrics",
    tuple(
        View(("COPYMART", "SHARES", name), ("COPY_ID", "SERVED"))
        for name in ("COPY_METRICS_DAILY", "COPY_VARIANTS", "CONTROL_METRICS_DAILY")
    ),
)


@pytest.fixture(scope="module")
def account() -> StrictSnowflake:
    """Built once; every test works on a copy."""
    return built(METRICS)


@pytest.fixture
def session(account: StrictSnowflake) -> StrictSnowflake:
    return deepcopy(account)


@pytest.fixture
def metrics() -> Wanted:
    return METRICS


@pytest.mark.parametrize(
    ("rule", "plan"), WRONG, ids=[f"{number}-{rule}" for number, (rule, _) in enumerate(WRONG)]
)
def test_a_wrong_plan_is_refused_for_its_reason(
    rule: str, plan: tuple[str, ...], session: StrictSnowflake
) -> None:
    *before, last = plan
    run_all(session, before)
    with pytest.raises(Refused) as refused:
        session.run(last)
    assert refused.value.rule == rule
    quote, page = RULES[rule]
    assert quote in str(refused.value)
    assert page in str(refused.value)


def test_more_than_twenty_rules_refuse_a_plan_and_none_is_idle() -> None:
    tried = {rule for rule, _ in WRONG}
    assert len(tried) >= 20
    assert len(WRONG) >= 50
    # these need another account, see below
    assert set(RULES) - tried == {"same region", "lower edition", "no reshare"}


def test_the_table_of_rules_names_each_rule_with_its_page_and_tests() -> None:
    page = (PROJECT / "docs/decisions/snowflake.md").read_text()
    lines = page.partition("| Rule | Page | In the fake | Test |")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert all(len(row) == 4 for row in rows)
    # a rule of another file is named with that file
    named = {fake.strip("`"): link for _, link, fake, _ in rows if fake.count("`") == 2 and ".py" not in fake}
    assert {rule: link.partition("/en/")[2].rstrip(")") for rule, link in named.items()} == {
        rule: page for rule, (_, page) in RULES.items()
    }
    support = PROJECT / "tests/python/support"
    for _, link, fake, tests in rows:
        assert "(https://docs.snowflake.com/en/" in link
        for name in re.findall(r"`(\w+\.py)`", fake):
            text = (support / name).read_text()
            assert all(f"def {function}(" in text for function in re.findall(r"`(\w+)`", fake))
        assert re.findall(r"`(test_\w+)`", tests)
    files = (PROJECT / "tests/python").glob("**/test_*.py")
    defined = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert {name for *_, tests in rows for name in re.findall(r"`(test_\w+)`", tests)} <= defined


def test_consumers_elsewhere_and_of_a_lower_edition_are_refused(session: StrictSnowflake) -> None:
    session.account.edition = "BUSINESS_CRITICAL"
    session.account.consumers["FAR.AWAY"] = ("AZURE_WESTEUROPE", "BUSINESS_CRITICAL")
    run_all(session, SHARE)
    for rule, consumer in (("same region", "FAR.AWAY"), ("lower edition", CONSUMER)):
        with pytest.raises(Refused) as refused:
            session.run(f"alter share S add accounts = {consumer}")
        assert refused.value.rule == rule
    run_all(
        session,
        (
            ADMIN,
            'grant override share restrictions on account to role "COPYMART_SHARER"',
            OWNER,
            f"alter share S add accounts = {CONSUMER} share_restrictions = false",
        ),
    )
    assert session.account.shares["S"].accounts == [CONSUMER]


def test_what_came_from_a_share_is_not_shared_again(session: StrictSnowflake) -> None:
    run_all(session, (ADMIN, "create database THEIRS", "create share T"))
    session.account.objects["DATABASE", ("THEIRS",)]["imported"] = True
    with pytest.raises(Refused) as refused:
        session.run("grant usage on database THEIRS to share T")
    assert refused.value.rule == "no reshare"


def test_other_roles_of_the_user_authorise_all_but_create(session: StrictSnowflake) -> None:
    """Secondary roles, which a user has by default: what one role may not do is seen without them only."""
    session.account.secondary = "ALL"
    other = StrictSnowflake(session.account)
    session.account.users["ADMIN"] |= {"COPYMART_READER", "COPYMART_TRANSFORMER"}
    write = 'insert into "COPYMART"."MARTS"."FACTS" (a) select 1'
    other.run('use role "COPYMART_READER"')
    other.run(write)
    with pytest.raises(Refused, match="CREATE TABLE"):
        other.run('create table "COPYMART"."MARTS"."MINE" (a int)')
    other.run("use secondary roles none")
    with pytest.raises(Refused, match="INSERT"):
        other.run(write)


# -- our own plans


def test_bootstrap_is_taken_and_again_changes_nothing() -> None:
    session = StrictSnowflake(empty_account())
    snowflake_account.run_steps(session, list(setup_steps(SETUP)), "bootstrap")
    first = deepcopy(session.account)
    snowflake_account.run_steps(session, list(setup_steps(SETUP)), "bootstrap")
    assert session.account == first


def test_bootstrap_brings_changed_options_into_effect() -> None:
    session = StrictSnowflake(empty_account())
    run_all(session, statements())
    larger = Setup(
        size=Size.MEDIUM,
        auto_suspend=120,
        credit_quota=7,
        landing="s3://acme-other/in/",
        storage_role=SETUP.storage_role,
    )
    run_all(session, statements(larger))
    objects = session.account.objects
    assert objects["WAREHOUSE", ("COPYMART_WH",)]["options"]["WAREHOUSE_SIZE"] == "MEDIUM"
    assert objects["WAREHOUSE", ("COPYMART_WH",)]["options"]["AUTO_SUSPEND"] == "120"
    assert objects["RESOURCE MONITOR", ("COPYMART_WH_MONITOR",)]["options"]["CREDIT_QUOTA"] == "7"
    assert objects["STAGE", ("COPYMART", "STAGING", "LANDING_S3")]["url"] == "'s3://acme-other/in/'"


def test_bootstrap_reaches_what_was_there_before(session: StrictSnowflake) -> None:
    account = session.account
    made_before = {grant for grant in account.grants if grant[2] in ("TABLE", "VIEW")}
    assert any(grant[0] == "COPYMART_READER" for grant in made_before)
    assert any(grant[0] == "COPYMART_SHARER" for grant in made_before)
    account.grants -= made_before
    run_all(session, statements())
    assert made_before <= account.grants


def test_each_role_can_do_its_work_and_no_more(session: StrictSnowflake) -> None:
    """What each role holds, in full: a privilege more is a decision."""
    held = {
        role: sorted(
            f"{privilege} {kind} {'.'.join(path)}{' +' if option else ''}"
            for grantee, privilege, kind, path, option in session.account.grants
            if grantee == f"COPYMART_{role}" and kind not in ("VIEW", "TABLE")
        )
        for role in ROLES
    }
    at_work = ["USAGE DATABASE COPYMART", "USAGE WAREHOUSE COPYMART_WH"]
    assert held["READER"] == sorted([*at_work, "USAGE SCHEMA COPYMART.AUDIT", "USAGE SCHEMA COPYMART.MARTS"])
    assert held["LOADER"] == sorted(
        [
            *at_work,
            "CREATE TABLE SCHEMA COPYMART.STAGING",
            "READ STAGE COPYMART.STAGING.LANDING",
            "USAGE INTEGRATION COPYMART_S3",
            "USAGE SCHEMA COPYMART.STAGING",
            "USAGE STAGE COPYMART.STAGING.LANDING_S3",
            "WRITE STAGE COPYMART.STAGING.LANDING",
        ]
    )
    in_every_schema = [
        f"{privilege} SCHEMA COPYMART.{schema}"
        for schema in SCHEMAS
        for privilege in ("CREATE TABLE", "CREATE VIEW", "USAGE")
    ]
    assert held["TRANSFORMER"] == sorted(
        [
            *at_work,
            *in_every_schema,
            # SETUP is a developer's, and a developer lands too
            "CREATE SCHEMA DATABASE COPYMART",
            "USAGE INTEGRATION COPYMART_S3",
            "USAGE STAGE COPYMART.STAGING.LANDING_S3",
            "USAGE STAGE COPYMART.STAGING.UNLOAD_S3",
        ]
    )
    assert held["SHARER"] == [
        "CREATE SHARE ACCOUNT ",
        "MANAGE SHARE TARGET ACCOUNT ",
        "USAGE DATABASE COPYMART +",
        "USAGE SCHEMA COPYMART.SHARES +",
    ]
    seen = {
        path[1]
        for grantee, _, kind, path, _ in session.account.grants
        if grantee == "COPYMART_SHARER" and kind == "VIEW"
    }
    assert seen == {"SHARES"}


def test_no_role_but_the_administrators_inherits_what_the_sharer_may(
    session: StrictSnowflake, metrics: Wanted
) -> None:
    """MANAGE SHARE TARGET is for any share of the account, and SYSADMIN owns what could be put into one."""
    give(session, metrics)
    session.run("use role sysadmin")
    with pytest.raises(Refused, match="CREATE SHARE"):
        session.run("create share MINE")
    with pytest.raises(Refused):
        session.run(f'alter share "COPYMART_METRICS" add accounts = {CONSUMER}')
    assert session.account.parents["COPYMART_SHARER"] == {"ACCOUNTADMIN"}


def give(session: StrictSnowflake, wanted: Wanted, *accounts: str) -> list[str]:
    """Plan and apply as the sharer; return the statements."""
    session.run(OWNER)
    done = list(plan_give(wanted, read(session, wanted), accounts).statements)
    run_all(session, done)
    return done


def test_a_share_is_planned_in_an_order_that_is_taken_and_again_has_no_changes(
    session: StrictSnowflake, metrics: Wanted
) -> None:
    done = give(session, metrics, CONSUMER)
    assert done[0].startswith("create share")
    assert done[-1].startswith("alter share")
    assert give(session, metrics, CONSUMER) == []
    share = session.account.shares["COPYMART_METRICS"]
    assert share.accounts == [CONSUMER]
    assert {path for privilege, _, path in share.privileges if privilege == "SELECT"} == {
        view.path for view in metrics.views
    }


def test_a_second_database_is_referenced(session: StrictSnowflake) -> None:
    plan = [
        ADMIN,
        "create database OTHER",
        "create schema OTHER.RAW",
        "create table OTHER.RAW.T (a int)",
        view_statement(ELSEWHERE, "OTHER.RAW.T"),
        f"grant usage on database OTHER {TO_SHARER}",
        f'grant select on view "COPYMART"."SHARES"."ELSEWHERE" {TO_SHARER}',
    ]
    run_all(session, plan)
    wanted = Wanted("S", "metrics", (ELSEWHERE,), ("OTHER",))
    done = give(session, wanted)
    assert 'grant reference_usage on database "OTHER" to share "S"' in done
    assert give(session, wanted) == []


@pytest.mark.parametrize("copy_grants", [True, False], ids=["with", "without"])
def test_a_rebuilt_view_stays_in_the_share_with_copy_grants_and_comes_back_without(
    copy_grants: bool, session: StrictSnowflake, metrics: Wanted
) -> None:
    give(session, metrics, CONSUMER)
    rebuilt = metrics.views[0]
    run_all(
        session, (BUILDER, view_statement(rebuilt, '"COPYMART"."MARTS"."FACTS"', copy_grants=copy_grants))
    )
    done = give(session, metrics)
    assert len(done) == (0 if copy_grants else 1)
    assert give(session, metrics, CONSUMER) == []


def test_what_the_reviewed_list_lost_is_taken_from_the_share(
    session: StrictSnowflake, metrics: Wanted
) -> None:
    give(session, metrics, CONSUMER)
    fewer = Wanted(metrics.share, metrics.grant, metrics.views[:-1])
    lost = quoted(*metrics.views[-1].path)
    assert give(session, fewer) == [f'revoke select on view {lost} from share "COPYMART_METRICS"']


def test_revoke_takes_accounts_away_and_with_the_last_the_share(
    session: StrictSnowflake, metrics: Wanted
) -> None:
    session.account.consumers["OTHER.ONE"] = (session.account.region, "STANDARD")
    give(session, metrics, CONSUMER, "OTHER.ONE")
    run_all(session, plan_revoke(metrics, read(session, metrics), ["OTHER.ONE"]).statements)
    assert session.account.shares["COPYMART_METRICS"].accounts == [CONSUMER]
    run_all(session, plan_revoke(metrics, read(session, metrics), []).statements)
    assert session.account.shares == {}
    with pytest.raises(
        UserError, match="sees no share COPYMART_METRICS: there is none, or another role owns"
    ):
        require_consumers(metrics, read(session, metrics), [])


def test_the_share_of_another_database_is_left_alone(session: StrictSnowflake, metrics: Wanted) -> None:
    plan = [
        ADMIN,
        "create database OTHER",
        f"grant usage on database OTHER {TO_SHARER}",
        OWNER,
        'create share "COPYMART_METRICS"',
        'grant usage on database OTHER to share "COPYMART_METRICS"',
    ]
    run_all(session, plan)
    with pytest.raises(UserError, match="name another with --share"):
        plan_give(metrics, read(session, metrics), [])


def test_an_account_is_not_its_own_consumer(session: StrictSnowflake, metrics: Wanted) -> None:
    session.run(OWNER)
    with pytest.raises(UserError, match="is the account that shares"):
        plan_give(metrics, read(session, metrics), [session.account.name])


def schemas_of(folder: dict[str, Any]) -> Iterator[str]:
    for name, value in folder.items():
        if name == "+schema":
            yield value
        elif isinstance(value, dict):
            yield from schemas_of(value)


def test_the_schemas_are_the_layers_of_the_project() -> None:
    layers = read_yaml(PROJECT / "dbt_project.yml")["models"]["copymart"]
    assert {schema.upper() for schema in schemas_of(layers)} == set(SCHEMAS)


@pytest.mark.filterwarnings("ignore:Arrow output")
def test_what_fakesnow_knows_runs_through_the_real_connector() -> None:
    """It knows no role, grant, share, integration, monitor or pipe: only what is made, and what SHOW says."""
    known = ("use role", "create database", "create schema", "create stage", "create table")
    made = [statement for statement in statements() if statement.startswith(known)]
    facts = '"COPYMART"."MARTS"."FACTS"'
    view = View(("COPYMART", "SHARES", "V"), ("A", "B"))
    with fakesnow.patch():
        session = connector.connect()
        for statement in [*made, *made, f"create table {facts} (a int, b int)"]:
            snowflake_account.execute(session, statement)
        with pytest.raises(UserError, match="Snowflake refused `create share S`"):
            snowflake_account.execute(session, "create share S")
        select = f"create or replace secure view {quoted(*view.path)} as select a, b from {facts}"
        snowflake_account.execute(session, select)
        (shown,) = snowflake_account.rows(session, 'show views in schema "COPYMART"."SHARES"')
        assert (shown["name"], "is_secure" in shown) == ("V", True)
        columns = snowflake_account.rows(session, f"describe view {quoted(*view.path)}")
        assert tuple(column["name"] for column in columns) == view.columns


# -- our own plans, broken


def misspelt(statement: str) -> Iterator[str]:
    """The statement with one letter more in each of its quoted names in turn."""
    for name in re.finditer(r'"\w+"', statement):
        yield f"{statement[: name.end() - 1]}X{statement[name.end() - 1 :]}"


def outcome(before: StrictSnowflake, plan: list[str]) -> Any:
    """The account after a plan, or the refusal."""
    session = deepcopy(before)
    try:
        run_all(session, plan)
    except Refused as refused:
        return refused
    return session.account


def test_a_broken_share_plan_is_refused_or_leaves_another_share(
    session: StrictSnowflake, metrics: Wanted
) -> None:
    session.run(OWNER)
    plan = list(plan_give(metrics, read(session, metrics), [CONSUMER]).statements)
    right = outcome(session, plan)
    containers = plan[:3]
    for number in range(len(plan)):
        without = outcome(session, plan[:number] + plan[number + 1 :])
        assert isinstance(without, Refused) if plan[number] in containers else without != right
    for number in range(len(containers)):
        swapped = [*plan[:number], plan[number + 1], plan[number], *plan[number + 2 :]]
        assert isinstance(outcome(session, swapped), Refused), swapped[number]
    accounts_second = [plan[0], plan[-1], *plan[1:-1]]
    assert isinstance(outcome(session, accounts_second), Refused)
    spelt = [(number, wrong) for number, statement in enumerate(plan) for wrong in misspelt(statement)]
    assert len(spelt) > len(plan)
    for number, wrong in spelt:
        assert isinstance(outcome(session, [*plan[:number], wrong, *plan[number + 1 :]]), Refused), wrong


def test_a_broken_bootstrap_is_refused_or_leaves_another_account() -> None:
    fresh = StrictSnowflake(empty_account())
    plan = statements()
    right = outcome(fresh, plan)
    # said twice, so that an option that changed takes effect; and said of objects that a new account has not
    repeated = re.compile(
        r"alter (warehouse .* set warehouse_size|resource monitor|storage integration|stage)"
        r"|grant select on all"
    )
    refused = 0
    for number, statement in enumerate(plan):
        if statement.startswith("use role"):
            powerless = [*plan[:number], 'use role "COPYMART_READER"', *plan[number + 1 :]]
            assert isinstance(outcome(fresh, powerless), Refused), statement
            continue
        without = outcome(fresh, plan[:number] + plan[number + 1 :])
        refused += isinstance(without, Refused)
        assert repeated.match(statement) or isinstance(without, Refused) or without != right, statement
        for wrong in misspelt(statement):
            changed = outcome(fresh, [*plan[:number], wrong, *plan[number + 1 :]])
            assert isinstance(changed, Refused) or changed != right, wrong
    assert refused >= 15


# -- the grammar

# Valid by Snowflake's documentation, and refused by sqlfluff's grammar.
REFUSED_BY_SQLFLUFF = {
    r"alter share \S+ (add|remove) accounts = .*": "ALTER SHARE [ IF EXISTS ] <name> { ADD | REMOVE } "
    r"ACCOUNTS = "
    "<consumer_account> [ , <consumer_account> , ... ] [ SHARE_RESTRICTIONS = { TRUE | FALSE } ] "
    "(sql-reference/sql/alter-share)",
    r"grant manage share target on account to role \S+": "GRANT MANAGE SHARE TARGET ON ACCOUNT TO ROLE "
    r"share_admin; "
    "(an example of sql-reference/sql/alter-share)",
}


def every_statement(session: StrictSnowflake, metrics: Wanted) -> list[str]:
    """All that bootstrap, share, share --revoke and their questions send."""
    session.run(OWNER)
    session.account.consumers["OTHER.ONE"] = (session.account.region, "STANDARD")
    with_reference = Wanted("OTHER_SHARE", "metrics", metrics.views, ("OTHER",))
    plans = [plan_give(with_reference, read(session, with_reference), [CONSUMER], lower_edition=True)]
    give(session, metrics, CONSUMER, "OTHER.ONE")
    fewer = Wanted(metrics.share, metrics.grant, metrics.views[:-1])
    plans.append(plan_give(fewer, read(session, fewer), []))
    plans.append(plan_revoke(metrics, read(session, metrics), ["OTHER.ONE"]))
    plans.append(plan_revoke(metrics, read(session, metrics), []))
    return [*statements(), *session.log, *(statement for plan in plans for statement in plan.statements)]


@pytest.mark.parametrize("dataset", ["calls", "copy_variants"])
def test_the_transformer_alone_unloads_by_the_stage(session: StrictSnowflake, dataset: str) -> None:
    place = Bucket(None, "acme-copy", "export/daily/", {})
    engine = Snowflake(session, snowflake(str.upper), "")
    options = Options(Layout.FULL, Format.PARQUET, Compression.NONE, 7, 1, Path())
    shape = shape_of(DATASETS[dataset], Layout.FULL, Format.PARQUET, (), 1, "snowflake")
    write = {"2026/01/01/12": Contents(1, "1"), "2026/01/01/14": Contents(1, "1")}
    plan = Plan(DATASETS[dataset], EVERYTHING, shape, (("a", "BIGINT"),), write, (), (), (), (), 0)
    work = Work(plan, place, list, None, options, None, print)  # type: ignore[arg-type]
    for role in ("LOADER", "TRANSFORMER", "READER"):
        session.run(f'use role "COPYMART_{role}"')
        if role == "TRANSFORMER":
            engine.stage = find_stage(session, "STAGING.UNLOAD_S3", "COPYMART", "STAGING", place)
            assert engine.stage.address("calls") == ('\'@"COPYMART"."STAGING"."UNLOAD_S3"/daily/calls/\'')
            session.run(engine.copy_statement(work, list(write)))
        else:
            with pytest.raises(UserError, match=r"there is no stage|does not exist or not authorized"):
                find_stage(session, "UNLOAD_S3", "COPYMART", "STAGING", place)


def test_every_statement_parses_as_snowflake(session: StrictSnowflake, metrics: Wanted) -> None:
    linter = Linter(config=FluffConfig(overrides={"dialect": "snowflake"}))
    unused = set(REFUSED_BY_SQLFLUFF)
    for statement in dict.fromkeys(every_statement(session, metrics)):
        excused = {pattern for pattern in REFUSED_BY_SQLFLUFF if re.fullmatch(pattern, statement)}
        unused -= excused
        faults = [fault.desc() for fault in linter.parse_string(statement + ";\n").violations]
        assert bool(faults) == bool(excused), f"{statement}: {faults}"
    assert unused == set()


def test_a_script_is_one_text_that_a_worksheet_takes() -> None:
    text = snowflake_account.script(setup_steps(SETUP))
    lines = [line for line in text.splitlines() if line and not line.startswith("--")]
    assert all(line.endswith(";") for line in lines)
    session = StrictSnowflake(empty_account())
    run_all(session, lines)
    again = StrictSnowflake(empty_account())
    run_all(again, statements())
    assert session.account == again.account
