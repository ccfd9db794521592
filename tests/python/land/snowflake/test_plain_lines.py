"""What Snowflake takes of a line by itself is what DuckDB's rules make of it; on an emulated Snowflake."""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from fakesnow.instance import FakeSnow
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scripts.dev.check_grammar import faults
from scripts.land.rules import CALLS, EVENTS, Dataset, member_columns
from scripts.land.snowflake.plain_lines import FIELDS, LONGEST, classify_query, line_pattern
from support import fakesnow_patches
from support.land import BOUNDS, COPY, call, event, land_path, text, warehouse
from support.project import run, settings
from support.quick import examples

# fakesnow's own: how it fetches rows
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")


@pytest.fixture(scope="module")
def cursor() -> Iterator[Any]:
    """An emulated Snowflake in this process, with a table of lines."""
    emulated = FakeSnow()
    with emulated.connect(database="D", schema="S").cursor() as opened:
        twice = opened.execute("""select try_parse_json('{"a":1,"b":{"c":1,"c":1}}')""").fetchall()
        assert twice == [(None,)], fakesnow_patches.__doc__
        opened.execute("create table lines (file varchar, line bigint, text varchar)")
        yield opened
    emulated.duck_conn.close()


def classified(cursor: Any, dataset: Dataset, lines: list[str]) -> dict[int, tuple[Any, ...]]:
    """The landing columns of each plain line, all as text, by line number."""
    cursor.execute("delete from lines")
    cursor.execute(
        "insert into lines select 'f', value:n::bigint, value:t::varchar from table(flatten(input => "
        "parse_json(%s)))",
        (json.dumps([{"n": number, "t": line} for number, line in enumerate(lines, 1)]),),
    )
    columns = ", ".join(f"{column}::varchar" for column, _, _ in dataset.table)
    found = cursor.execute(
        f"select line, {columns} from ({classify_query(dataset, 'lines', *BOUNDS)}) where plain and not odd"
    ).fetchall()
    return {int(line): tuple(values) for line, *values in found}


def landed(folder: Path, dataset: Dataset, lines: list[str]) -> dict[int, tuple[Any, ...]]:
    """The same of the lines that DuckDB lands."""
    (folder / "lines.jsonl").write_text("".join(f"{line}\n" for line in lines), newline="")
    connection = warehouse()
    land_path(connection, folder / "lines.jsonl", dataset)
    columns = ", ".join(f'cast("{column}" as varchar)' for column, _, _ in dataset.table)
    rows = connection.execute(f"select _line, {columns} from staging.{dataset.name}").fetchall()
    return {line: tuple(values) for line, *values in rows}


def differing(
    here: dict[int, tuple[Any, ...]], there: dict[int, tuple[Any, ...]], lines: list[str]
) -> dict[str, tuple[Any, Any]]:
    """Plain lines that DuckDB rejects or lands otherwise."""
    return {
        lines[line - 1]: (values, there.get(line))
        for line, values in here.items()
        if values != there.get(line)
    }


# What stands in a line where a value may: usual values, and those that parsers read in more than one way.
NUMBERS = (
    *("-0", "0", "1.0", "41.50", "1e2", "1E+2", "01", "+1", ".5", "5.", "--1", "1 2", "NaN", "Infinity"),
    *("-0.0", "-1", "123456789012345678", "9223372036854775808", "123456789012345678901234567890"),
    *("0.1", "0.0001", "0.00001", "-0.5", "12345678.1234", "100000000000000000000000.10"),
    *("1767268801", "1767268801000", "1767268801999999", '"1767268801"', "1767268801.9", "999999999"),
    *("9999999999", "17672688010", "1767268801e0"),
)
WORDS = ("true", "false", "null", "TRUE", "undefined", "nul", "", " ", "/**/", "''", "'a'", "\xa0")
STRINGS = (
    *(
        '""',
        '"a"',
        '"é"',
        r'"\u00e9"',
        r'"\ud83d\ude00"',
        r'"\ud800"',
        r'"\/"',
        r'"<\/p>"',
        r'"\\\/"',
        r'"\\/"',
    ),
    *(r'"\"vars\":{}"', r'"a\nb\t"', '"\t"', '"\x7f"', '"\x01"', '"\u2028 \U0001f600"', r'"\x"', '"a'),
    *('" two  spaces "', r'"x\\"', '"7"', '"-7"', '"07"', r'"{\"a\":1}"', '"{"', '"a":1', '"\xa0"'),
    *('"1e16"', '"41.0"', '"yes"', '"[1]"', '"  "'),
    *(f'"{COPY}"', f'"{COPY.upper()}"', f'"{COPY[1:]}"'),
)
CONTAINERS = (
    *("{}", "[]", "{ }", "[ ]", "[1,]", "[,1]", '{"a":1,}', '{"a"}', '{"a":}', "{a:1}", '{"a":1 "b":2}'),
    *('{"a":1,"a":2}', '{"b":{"a":1,"a":2}}', '{"":0}', '{"a":{"b":{"c":1}}}', '{"a":{"b":{"c":{}}}}'),
    *('{"a":[{"b":[[1]]}]}', '{"vars":{}}', '{"attrs" : 1}', '{"data":[]}', r'{"x\"vars":{"q":1}}'),
    *(r'{"v\u0061rs":1}', '{"k":"}"}', '{"k":"{"}', '{"k":"]"}', '{"k" : "a , b : c" , "l":[1 , 2]}'),
    *('{"a": -0}', '{"a":1.10,"b":-0.5,"c":1e5}', '{"a":12345678901234567890.5}', '{"z":1,"a":2,"Z":3}'),
    *("{]", "[}"),
)
ODD = (*NUMBERS, *WORDS, *STRINGS, *CONTAINERS)
COMMAS = [",", ",", ", ", " , ", ",\t", ",,", ""]
COLONS = [":", ": ", " : ", ":\t", "="]
EDGES = ["", " ", "\r"]
BRACES = [("{", "}"), ("{", "}"), ("{ ", " }"), ("{", ",}"), ("[", "]"), ("{", "")]


# the members of data that have columns of their own
MEMBERS = {
    "data": (
        *("delivery_id", "email_id", "journey_id", "action_id", "parent_action_id", "campaign_id"),
        *("customer_id", "href", "prefetched", "synthetic", "machine"),
    ),
    "variables": ("delivery_id", "campaign"),
    "identifiers": ("id",),
    "campaign": ("id",),
}


def spelled(members: Mapping[str, str]) -> str:
    """An object whose values are text already."""
    return "{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}"


@st.composite
def lines(draw: st.DrawFn, dataset: Dataset) -> str:
    """A line near a good one: few members changed, doubled, renamed or moved, or odd marks between them."""
    record = call() if dataset is CALLS else event()
    members = [(key, json.dumps(value)) for key, value in record.items()]
    odd = st.sampled_from(ODD)
    keys = ["a", "b", "vars", "é", "x y"]
    values = odd
    if dataset is EVENTS:
        campaign = st.builds(spelled, st.dictionaries(st.just("id"), odd, min_size=1))
        variables = st.builds(
            spelled, st.fixed_dictionaries({"delivery_id": odd, "campaign": st.one_of(odd, campaign)})
        )
        identifiers = st.builds(spelled, st.dictionaries(st.just("id"), odd, min_size=1))
        keys += [*MEMBERS["data"], "variables", "identifiers"]
        values = st.one_of(odd, odd, odd, variables, identifiers)
    maps = st.dictionaries(st.sampled_from(keys), values, max_size=3).map(spelled)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(members) - 1))
        key, value = members[place]
        match draw(st.sampled_from(["value", "map", "map", "drop", "twice", "key", "move"])):
            case "value":
                members[place] = (key, draw(odd))
            case "map":
                name = draw(st.sampled_from(["vars", "attrs"] if dataset is CALLS else ["data"]))
                members = [member for member in members if member[0] != name]
                members.append((name, draw(maps)))
            case "drop" if len(members) > 1:
                del members[place]
            case "twice":
                members.append((key, draw(st.sampled_from([value, '"b"']))))
            case "key":
                names = [*FIELDS[dataset.name], "new", r"v\u0061rs", "", r"a\"b"]
                members[place] = (draw(st.sampled_from(names)), value)
            case _:
                members.append(members.pop(place))
    comma, colon, edge = (draw(st.sampled_from(choices)) for choices in (COMMAS, COLONS, EDGES))
    body = comma.join(f'"{key}"{colon}{value}' for key, value in members)
    start, end = draw(st.sampled_from(BRACES))
    return f"{start}{body}{end}{edge}"


@pytest.mark.parametrize("dataset", [CALLS, EVENTS], ids=lambda dataset: dataset.name)
def test_a_plain_line_lands_as_by_the_rules_of_duckdb(cursor: Any, tmp_path: Path, dataset: Dataset) -> None:
    plain = 0

    @seed(4)
    @hypothesis_settings(
        # the lines that are wrong are shown alone: nothing is to be made smaller
        phases=(Phase.generate,),
        max_examples=examples(5),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(lines(dataset), min_size=60, max_size=90))
    def same(given_lines: list[str]) -> None:
        nonlocal plain
        here, there = classified(cursor, dataset, given_lines), landed(tmp_path, dataset, given_lines)
        plain += len(here)
        assert differing(here, there, given_lines) == {}

    same()
    assert plain > 50


def test_every_odd_value_at_every_place(cursor: Any, tmp_path: Path) -> None:
    for dataset, record in ((CALLS, call()), (EVENTS, event())):
        texts = {key: json.dumps(value) for key, value in record.items()}
        given_lines = []
        for field in FIELDS[dataset.name]:
            for value in ODD:
                once = spelled(texts | {field: value})
                given_lines += [
                    once,
                    f'{once[:-1]},"{field}":{value}}}',
                    once.replace(f'"{field}"', f"'{field}'"),
                ]
                if field in ("vars", "attrs", "data"):
                    nested = f'{{"k":{value},"l":[{value} ,{{"m" : {value}}}]}}'
                    given_lines.append(spelled(texts | {field: nested}))
                if field == "data":
                    given_lines += [spelled(texts | {field: data}) for data in members_as(value)]
        here, there = classified(cursor, dataset, given_lines), landed(tmp_path, dataset, given_lines)
        assert differing(here, there, given_lines) == {}
        assert len(here) > len(FIELDS[dataset.name]) * 5


def members_as(value: str) -> Iterator[str]:
    """Data in which each member that has a column has this value in turn."""
    for place, names in MEMBERS.items():
        for name in names:
            inner = spelled({name: value})
            match place:
                case "data":
                    yield inner
                case "campaign":
                    yield spelled({"variables": spelled({"campaign": inner})})
                case _:
                    yield spelled({place: inner})


def test_usual_members_of_data_are_plain(cursor: Any) -> None:
    data = {
        **dict.fromkeys(("delivery_id", "email_id", "journey_id", "customer_id", "href"), "x"),
        **dict.fromkeys(("action_id", "parent_action_id", "campaign_id"), 10**17),
        **dict.fromkeys(("prefetched", "synthetic", "machine"), True),
        "variables": {"delivery_id": "y", "campaign": {"id": "5"}},
        "identifiers": {"id": None},
    }
    (values,) = classified(cursor, EVENTS, [text(event(data=data)).strip()]).values()
    columns = dict(zip(EVENTS.types(), values, strict=True))
    assert {column: columns[column] for column in member_columns(EVENTS)} == {
        **dict.fromkeys(("delivery_id", "journey_id", "user_id", "href"), "x"),
        **dict.fromkeys(("action_id", "parent_action_id", "campaign_id"), str(10**17)),
        **dict.fromkeys(("is_prefetched", "is_synthetic", "is_machine_click"), "true"),
    }


@pytest.mark.parametrize(
    "data",
    [
        {"delivery_id": {"a": 1}},
        {"href": ["x"]},
        {"journey_id": "{}"},
        {"action_id": "1e16"},
        {"parent_action_id": 2**63},
        {"variables": {"campaign": {"id": "41.0"}}},
        {"machine": 1},
        {"prefetched": "yes"},
    ],
    ids=str,
)
def test_unusual_members_of_data_are_left_to_this_machine(cursor: Any, data: dict[str, Any]) -> None:
    assert classified(cursor, EVENTS, [text(event(data=data)).strip()]) == {}


def test_the_map_at_the_top_is_taken_and_not_one_of_its_name_within_another(cursor: Any) -> None:
    texts = {key: json.dumps(value) for key, value in call(vars=..., attrs=...).items()}
    both = spelled(texts | {"attrs": '{"vars":{"no":1}}', "vars": '{"yes":1}'})
    escaped = spelled(texts | {"attrs": '{"x\\"vars":{"no":1}}', "vars": '{"yes":1}'})
    inner = spelled(texts | {"attrs": '{"vars":{"no":1}}'})
    found = classified(cursor, CALLS, [both, escaped, inner])
    assert {line: values[-2:] for line, values in found.items()} == {3: ("{}", '{"vars":{"no":1}}')}


@pytest.mark.parametrize("odd", ["\t", "\x01", "\\u0041", "\\x", '"'])
def test_what_parsers_may_forgive_is_no_part_of_a_string(odd: str) -> None:
    match = "select regexp_full_match(?, ?)"
    for text_in, plain in (("a", True), (odd, False)):
        line = f'{{"event_id":"x{text_in}y"}}'
        assert duckdb.execute(match, [line, line_pattern(EVENTS)]).fetchall() == [(plain,)]


def test_long_lines_and_files_that_are_none_are_told(cursor: Any) -> None:
    long = text(event(data={"content": "x" * LONGEST})).strip()
    assert classified(cursor, EVENTS, [long, text(event()).strip()]).keys() == {2}
    cursor.execute("delete from lines")
    heads = ((1, "PAR1"), (2, "PAR1"), (1, "Obj\x01"), (3, "a\0b"), (1, ""), (4, None), (5, "Obj"))
    heads += ((1, "{"), (1, "["), (1, text(event()).strip()))
    for number, line in heads:
        cursor.execute("insert into lines select 'f', %s, %s", (number, line))
    query = f"select line, text from ({classify_query(EVENTS, 'lines', *BOUNDS)}) where odd"
    odd = cursor.execute(query).fetchall()
    assert sorted(odd, key=str) == [
        (1, ""),
        (1, "Obj\x01"),
        (1, "PAR1"),
        (1, "["),
        (1, "{"),
        (3, "a\0b"),
        (4, None),
    ]


def test_a_time_lies_within_the_bounds(cursor: Any) -> None:
    earliest, latest = BOUNDS
    times = ["1000000000", str(latest - 1), str(latest), f"{latest - 1}999", "9999999999"]
    lines = [text(event(timestamp=int(time))).strip() for time in times]
    assert classified(cursor, EVENTS, lines).keys() == {1, 2, 4}
    assert earliest < 1_000_000_000


@pytest.mark.parametrize("dataset", [CALLS, EVENTS], ids=lambda dataset: dataset.name)
def test_the_statement_is_snowflakes(dataset: Dataset) -> None:
    assert faults(classify_query(dataset, "S.lines", *BOUNDS)) == []


def test_simulated_lines_are_plain_but_for_the_odd_ones(cursor: Any, tmp_path: Path) -> None:
    """That is what the way through Snowflake is for; the simulation is odder than a real log."""
    run(settings(tmp_path), "copymart", "simulate", tmp_path / "logs", "--calls", "1000", "--days", "4")
    shares = {}
    for dataset, folder in ((CALLS, "justai/calls"), (EVENTS, "customerio/events")):
        files = sorted((tmp_path / "logs" / folder).glob("**/*.gz"))
        raw = b"".join(gzip.decompress(file.read_bytes()) for file in files)
        given_lines = [line for line in raw.decode(errors="replace").split("\n") if line and "\0" not in line]
        here, there = classified(cursor, dataset, given_lines), landed(tmp_path, dataset, given_lines)
        assert differing(here, there, given_lines) == {}
        shares[dataset.name] = (len(here), len(given_lines))
    assert sum(plain for plain, _ in shares.values()) > 0.9 * sum(lines for _, lines in shares.values()), (
        shares
    )
    assert all(plain > 0.8 * lines for plain, lines in shares.values()), shares
