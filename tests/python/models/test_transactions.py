"""On Snowflake, the delete and the insert of a model are one: whatever fails between them, no row is lost."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dbt.adapters.snowflake.connections import SnowflakeConnectionManager
from jinja2 import Environment
from snowflake.connector.errors import ProgrammingError

from scripts.dev.check_grammar import faults
from support import emulated_transactions
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


@pytest.mark.parametrize(
    ("makers", "selected", "said"),
    [
        ([], ["model"], None),
        (["ours"], ["model"], None),
        (["theirs"], ["model"], r"another dbt build \(theirs\) has begun since this one: fct_deliveries"),
        (["ours"], [], None),
        (["theirs"], [], "`dbt retry` leaves out .* fct_deliveries must read.* the same `dbt build`"),
    ],
)
def test_a_model_stops_before_it_deletes_by_the_tables_of_another_build(
    makers: list[str], selected: list[str], said: str | None
) -> None:
    """What the other build found touched is not what this one has read. A retry has no selected resources."""
    asked: list[str] = []

    class Stopped(Exception):
        """dbt's error of compilation."""

    def ask(query: str) -> Any:
        asked.append(query)
        return SimpleNamespace(rows=[(maker,) for maker in makers])

    def stop(message: str) -> None:
        raise Stopped(message)

    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "run_query": ask,
        "ref": lambda name: name,
        "this": SimpleNamespace(identifier="fct_deliveries"),
        "invocation_id": "ours",
        "selected_resources": selected,
        "exceptions": SimpleNamespace(raise_compiler_error=stop),
    }
    text = (PROJECT / "macros/incremental/batches.sql").read_text()
    macros: Any = environment.from_string(text).module
    if said:
        with pytest.raises(Stopped, match=said):
            macros.stop_on_another_build()
    else:
        macros.stop_on_another_build()
    assert asked == ["select distinct invocation_id from int_landed_batches"]
    strategy = (PROJECT / "macros/incremental/replace_touched.sql").read_text()
    assert 0 < strategy.index("stop_on_another_build()") < strategy.index("delete from")


@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize("selected", [True, False])
def test_a_model_marks_as_read_the_batches_of_its_own_build(incremental: bool, selected: bool) -> None:
    """Of a table of batches that another build has made, this one may not have read all."""
    relation = SimpleNamespace(create=lambda database, schema, identifier: f"d.staging.{identifier}")
    batches = "model.copymart.int_landed_batches"
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "is_incremental": lambda: incremental,
        "execute": False,
        "config": {"incremental_strategy": "replace_touched"},
        "flags": SimpleNamespace(EMPTY=False),
        "text_literal": "'{}'".format,
        "return": lambda value: value,
        "tojson": lambda values, sort_keys: "{}",
        "var": str,
        "consume_queues": str,
        "api": SimpleNamespace(Relation=relation),
        "target": SimpleNamespace(database="d"),
        "layer_schema": str,
        "ref": lambda name: f"d.intermediate.{name}",
        "this": SimpleNamespace(identifier="fct_deliveries"),
        "invocation_id": "ours",
        "project_name": "copymart",
        "selected_resources": [batches] if selected else ["model.copymart.fct_deliveries"],
    }
    text = (PROJECT / "macros/incremental/batches.sql").read_text()
    macros: Any = environment.from_string(text).module
    sql = " ".join(str(macros.consume_statements()).split())
    *others, insert = [statement for statement in SnowflakeConnectionManager._split_queries(sql) if statement]
    assert "insert into d.staging.consumed_batches" in insert
    assert not any("consumed_batches" in statement for statement in others)
    conditions = insert.partition(" where ")[2]
    # a rebuild without the table of batches reads one that an earlier build has made
    assert ("invocation_id = 'ours' and" in conditions) == (incremental or selected)
    assert ("is_pending" in conditions) == incremental
    assert faults(insert) == []


@pytest.mark.parametrize(("made", "marks"), [(["int_touched_people"], 0), (["q"], 2), (["q", "r"], 4)])
def test_a_model_marks_as_read_the_queues_of_its_own_build(made: list[str], marks: int) -> None:
    """What an earlier build queued, this one's tables above may not have read."""
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "config": SimpleNamespace(get=lambda _: {"queues": ["q", "r"]}),
        "selected_resources": [f"model.copymart.{name}" for name in made],
        "project_name": "copymart",
        "state_table": "d.staging.{}".format,
        "ref": "d.intermediate.{}".format,
        "this": SimpleNamespace(identifier="dim_people"),
        "invocation_id": "ours",
    }
    text = (PROJECT / "macros/incremental/queues.sql").read_text()
    macros: Any = environment.from_string(text).module
    statements = [
        statement
        for statement in SnowflakeConnectionManager._split_queries(str(macros.consume_queues()))
        if statement
    ]
    assert [faults(statement) for statement in statements] == [[]] * marks
    for delete, insert in zip(statements[::2], statements[1::2], strict=True):
        assert "model = 'dim_people'" in delete and "not in (select queue_id from d.intermediate." in delete
        assert "from d.intermediate.int_landed_batches" in insert
        assert "where invocation_id = 'ours'" in insert


def test_the_transaction_is_one_statement_of_snowflake() -> None:
    text = in_one_transaction(f"\n  {DELETE};\n  insert into kept (id) select 'a;''b';\n")
    (block,) = SnowflakeConnectionManager._split_queries(text)
    assert faults(block) == []
    body = block.partition("begin transaction;")[2].partition("exception")[0]
    inner = SnowflakeConnectionManager._split_queries(body)
    assert [statement.split()[0] for statement in inner] == ["delete", "insert", "commit;"]


def text_constant(text: str) -> str:
    """The constant of Snowflake that the project's macro makes of a text, as dbt-snowflake escapes it."""

    def escaped(text: str) -> str:
        return text.replace("'", "\\'")

    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals["dbt"] = SimpleNamespace(string_literal="'{}'".format, escape_single_quotes=escaped)
    macros: Any = environment.from_string((PROJECT / "macros/dialect/text.sql").read_text()).module
    return str(macros.snowflake__text_literal(text))


# settings with a name that is not ASCII, as tojson() writes it; the bound of an id
@pytest.mark.parametrize(
    "text", [r'{"segment_keys": ["gr\u00f6\u00dfe"]}', "a$$b", "$$$$", "it's $$ \\n", "$"]
)
def test_a_text_is_the_same_behind_a_block(run: Callable[[str], list[Any]], text: str) -> None:
    """A backslash begins an escape, and $$ ends the text that EXECUTE IMMEDIATE is given."""
    constant = text_constant(text)
    run("create or replace table texts (a text)")
    block = in_one_transaction(f"delete from texts;\ninsert into texts (a) values ({constant});")
    assert faults(block.strip()) == []
    run(block)
    assert run("select a from texts") == [(text,)]
    assert run(f"select a from texts where a between {constant} and {constant} and a in ({constant})")


def test_two_dollars_end_the_text_of_a_block() -> None:
    """data-types-text, dollar-quoted string constants: the emulation's rule for the test above."""
    block = in_one_transaction("delete from kept;\ninsert into kept (id) select length('a$$b');")
    with pytest.raises(ProgrammingError, match="the block has no end"):
        emulated_transactions.execute(None, block, lambda *_: None)


def test_the_id_of_a_queue_follows_no_format_of_times() -> None:
    """As text, a time is what TIMESTAMP_OUTPUT_FORMAT says: two builds of a day could give one id."""
    environment = Environment(extensions=["jinja2.ext.do"])
    environment.globals |= {
        "dbt": SimpleNamespace(current_timestamp=lambda: "current_timestamp()"),
        "timestamp_to_unix": "date_part(epoch_second, {})".format,
    }
    text = (PROJECT / "macros/incremental/queues.sql").read_text()
    macros: Any = environment.from_string(text).module
    assert str(macros.snowflake__moment_of_queue()).strip() == "date_part(epoch_second, current_timestamp())"
