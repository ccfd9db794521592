"""On Snowflake, the delete and the insert of a model are one: whatever fails between them, no row is lost."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dbt.adapters.snowflake.connections import SnowflakeConnectionManager
from jinja2 import Environment
from snowflake.connector.errors import ProgrammingError

from scripts.dev.check_grammar import faults
from support.emulated_snowflake import connect
from support.project import PROJECT

DELETE = "delete from kept using (select 2 as id) as touched where kept.id = touched.id"
INSERTS = {
    "fails": "insert into kept (id) select cast('no number' as integer)",
    "is cancelled": "insert into kept (id) select 20 /* cancelled */",
}
NEXT_MODEL = "create or replace temporary table next_model as (select 1 as id)"


@pytest.fixture
def run(port: int, request: pytest.FixtureRequest) -> Iterator[Callable[[str], list[Any]]]:
    """Run SQL as dbt does: cut into statements, one after another on a thread's one connection."""
    connection = connect(port, "TRANSACTIONS")

    def all_of(sql: str) -> list[Any]:
        with connection.cursor() as cursor:
            for statement in SnowflakeConnectionManager._split_queries(sql):
                cursor.execute(statement)
            return list(cursor.fetchall())

    all_of("create schema if not exists prod; use schema prod; create or replace table kept (id integer)")
    all_of("insert into kept (id) values (1), (2), (3)")
    yield all_of
    connection.close()


def in_one_transaction(statements: str) -> str:
    """What the project's macro makes of statements that end in semicolons."""
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals["return"] = lambda value: value
    environment.globals["snowflake_dml_explicit_transaction"] = lambda dml: f"begin;\n{dml};\ncommit;"
    text = (PROJECT / "macros/incremental/replace_touched.sql").read_text()
    return str(environment.from_string(text).module.snowflake__in_one_transaction(statements))  # type: ignore[attr-defined]


@pytest.mark.parametrize("insert", INSERTS.values(), ids=INSERTS)
def test_a_failed_statement_leaves_a_transaction_that_the_next_ddl_commits(
    run: Callable[[str], list[Any]], insert: str
) -> None:
    """The emulation's rule, without which the tests below would prove nothing."""
    with pytest.raises(ProgrammingError):
        run(f"begin; {DELETE}; {insert}; commit")
    assert run("select id from kept order by id") == [(1,), (3,)]
    run(NEXT_MODEL)
    run("rollback")
    assert run("select id from kept order by id") == [(1,), (3,)]


@pytest.mark.parametrize("insert", INSERTS.values(), ids=INSERTS)
def test_no_row_is_lost_when_an_insert_fails_and_another_model_follows(
    run: Callable[[str], list[Any]], insert: str
) -> None:
    with pytest.raises(ProgrammingError):
        run(in_one_transaction(f"{DELETE};\n{insert};"))
    run(NEXT_MODEL)
    assert run("select id from kept order by id") == [(1,), (2,), (3,)]
    run(in_one_transaction(f"{DELETE};\ninsert into kept (id) select 20;"))
    assert run("select id from kept order by id") == [(1,), (3,), (20,)]


def test_the_transaction_is_one_statement_of_snowflake() -> None:
    text = in_one_transaction(f"\n  {DELETE};\n  insert into kept (id) select 'a;''b';\n")
    (block,) = SnowflakeConnectionManager._split_queries(text)
    assert faults(block) == []
    body = block.partition("begin transaction;")[2].partition("exception")[0]
    inner = SnowflakeConnectionManager._split_queries(body)
    assert [statement.split()[0] for statement in inner] == ["delete", "insert", "commit;"]
