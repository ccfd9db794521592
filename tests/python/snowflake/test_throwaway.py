"""What `make verify-snowflake` makes in an account is gone again, whatever failed."""

from typing import Any

import pytest
import typer

from scripts.errors import UserError
from scripts.snowflake import throwaway
from scripts.snowflake.bootstrap_plan import setup_steps
from scripts.snowflake.names import quoted
from scripts.snowflake.throwaway import Place, dropping, set_up, throwaway_setup
from support.snowflake import empty_account
from support.strict_account import refuse
from support.strict_snowflake import StrictSnowflake

PLACE = Place("s3://verified/all", "arn:aws:iam::123456789012:role/copymart", "id")


class Stopped(Exception):
    """What went wrong first."""


def left(session: StrictSnowflake, name: str) -> list[str]:
    """What an account still has of a set-up."""
    account = session.account
    named = [*account.roles, *account.shares, *(".".join(path) for _, path in account.objects)]
    return [each for each in named if name in each]


def test_who_verifies_need_not_be_named_as_they_log_in() -> None:
    """SNOWFLAKE_USER is a login name, which may be an address; a role is granted to the name of a user."""
    account = empty_account()
    account.users["Jane Doe"] = account.users.pop("ADMIN")
    session = StrictSnowflake(account, "Jane Doe")
    setup = throwaway_setup(PLACE)
    with set_up(session, setup):
        held = {f"{setup.prefix}_{role}" for role in ("LOADER", "TRANSFORMER", "SHARER")}
        assert account.users["Jane Doe"] == {"ACCOUNTADMIN", *held}


def test_all_is_dropped_when_what_uses_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    session = StrictSnowflake(empty_account())
    setup = throwaway_setup(PLACE)
    with pytest.raises(Stopped), set_up(session, setup):
        assert len(left(session, setup.database)) > 10
        session.run(f"use role {setup.role('SHARER')}")
        session.run(f"create share {quoted(setup.database)}")
        raise Stopped
    assert left(session, setup.database) == []
    assert "Drop these yourself" not in capsys.readouterr().err


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.99])
def test_all_is_dropped_when_bootstrap_is_refused(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    session = StrictSnowflake(empty_account())
    setup = throwaway_setup(PLACE)
    planned = sum(1 + len(step.statements) for step in setup_steps(setup))
    real, sent, at = session.run, iter(range(1_000)), int(share * planned)

    def refusing(statement: str) -> Any:
        # bootstrap is what is refused, not the question before it
        if not statement.startswith("select ") and next(sent) == at:
            refuse("form", statement)
        return real(statement)

    monkeypatch.setattr(session, "run", refusing)
    with pytest.raises(UserError, match="statements took effect"), set_up(session, setup):
        pytest.fail("it was refused")
    assert left(session, setup.database) == []


def test_what_cannot_be_dropped_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = StrictSnowflake(empty_account())
    setup = throwaway_setup(PLACE)
    real = throwaway.execute

    def held(session: Any, statement: str) -> None:
        if statement.startswith("drop warehouse"):
            raise UserError("it is busy")
        real(session, statement)

    monkeypatch.setattr(throwaway, "execute", held)
    with pytest.raises(typer.Exit) as ended, set_up(session, setup):
        pass
    assert ended.value.exit_code == 1
    done = capsys.readouterr()
    told = done.err
    assert "Dropped" not in done.out
    assert f"drop warehouse if exists {quoted(setup.warehouse)}: it is busy" in told
    assert told.count("drop ") == 1


def test_the_share_is_dropped_before_its_database() -> None:
    statements = [statement.split('"')[0] for statement in dropping(throwaway_setup(PLACE))]
    assert statements.index("drop share ") < statements.index("drop database if exists ")
