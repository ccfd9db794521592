"""The file of the page: its policy, what stands in it, and what must not."""

import base64
import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as compute
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.report.marts import Marts
from scripts.report.packing import LIFT, Number, Numbers, columns, packed, scaled, unpacked
from scripts.report.page import data, inline
from scripts.report.templates import MOST_SEGMENTS, MOST_VERSIONS, Tables, chunk, per_template, texts_of
from support.report import FIRST, HOSTILE, LONG

WHOLE = st.one_of(st.none(), st.integers(-(2**28), 2**28))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def html(file: Path) -> str:
    """The page of the hand-made warehouse."""
    return file.read_text(encoding="utf-8")


def unpacked_parts(html: str) -> list[object]:
    """What the packed parts of a page hold."""
    parts = re.findall(r'<script type="application/octet-stream" id="[^"]*">([^<]*)</script>', html)
    return [unpacked(part)[0] for part in parts]


def test_the_policy_names_each_script_and_style_by_its_hash_and_nothing_else(html: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    policy = policy.replace("&#39;", "'")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy and "http" not in policy
    for tag, rule in (('script type="module"', "script-src"), ("style", "style-src")):
        codes = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", html, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes]
        assert rules[rule].split() == [f"'sha256-{found}'" for found in hashes]
    # the policy stands before anything that it is to stop
    assert html.index("Content-Security-Policy") < html.index("<style>") < html.index("<script")


def test_all_tags_of_the_file_are_the_templates(html: str) -> None:
    kinds = set(
        re.findall(
            r"<script([^>]*)>", re.sub(r'<script type="module">.*?</script>', "", html, flags=re.DOTALL)
        )
    )
    assert all(re.fullmatch(r' type="application/octet-stream" id="[-a-z0-9]+"', kind) for kind in kinds)
    assert "onerror" not in re.sub(r'<script type="module">.*?</script>', "", html, flags=re.DOTALL)
    assert "<b>" not in html.split("<script")[0]


def test_no_person_is_in_the_file(html: str) -> None:
    held = [json.dumps(part) for part in unpacked_parts(html)]
    assert len(held) == 3 + 3
    assert any(FIRST in part for part in held)
    for name in ("user_id", "attrs", "person_key", "email_address", "recipient", "journey_id", "delivery_id"):
        assert not any(name in part for part in (*held, html.split('<script type="module">')[0]))


@given(texts=st.dictionaries(TEXTS, TEXTS), values=st.lists(st.tuples(WHOLE, WHOLE), min_size=1))
def test_what_is_packed_comes_out_again_and_ends_no_tag(
    texts: dict[str, str], values: list[tuple[int | None, int | None]]
) -> None:
    held = Numbers()
    first, second = (pa.array(column, pa.int64()) for column in zip(*values, strict=True))
    places = [held.add(first), held.add(second)]
    text = packed({"texts": texts}, held)
    assert not set("<'\"\\/") & set(text)
    contents, planes = unpacked(text)
    assert contents == {"texts": texts}
    assert [read(planes, place, len(values)) for place in places] == [first.to_pylist(), second.to_pylist()]


def read(planes: bytes, place: dict[str, object], length: int) -> list[int | None]:
    """Whole numbers as the page's script reads them."""
    start = int(str(place["offset"]))
    found: list[int | None] = []
    for row in range(length):
        number = sum(planes[start + plane * length + row] << 8 * plane for plane in range(4)) - 1
        if number < 0:
            found.append(None)
        else:
            found.append((number >> 1) ^ -(number & 1) if place.get("folded") else number)
    return found


def test_numbers_that_are_not_finite_stay_out() -> None:
    table = pa.table({"lift": [0.12345, None, float("inf"), float("nan"), -2.0]})
    kinds = {"lift": Number(1000)}
    assert scaled(table, kinds)["lift"].to_pylist() == [123, None, None, None, -2000]
    assert columns(scaled(table, kinds), kinds, Numbers())["numbers"]["lift"] == {
        "offset": 0,
        "folded": True,
        "scale": 1000,
    }


def test_an_interval_without_end_keeps_its_side() -> None:
    """e^20 times a thousand is no number of 32 bits: the page showed another one, often below zero."""
    lifts = {
        "lift": [0.1, 4.85e8, 4.8e8, None],
        "low": [-1.0, -1.0, -1.0, None],
        "high": [4.85e8, 4.85e8, 4.8e8, None],
    }
    kinds = {"lift": Number(LIFT), "low": Number(LIFT, "lift"), "high": Number(LIFT, "lift", "low")}
    held = Numbers()
    described = columns(scaled(pa.table(lifts), kinds), kinds, held)["numbers"]
    lift, low, high = (read(b"".join(held.parts), described[name], 4) for name in kinds)
    for row in range(3):
        middle, below, above = (numbers[row] for numbers in (lift, low, high))
        assert middle is not None and below is not None and above is not None
        assert middle + below == -1_000
        # what the script adds up: the bound mirrors the other one
        assert (above + middle - below) / LIFT > 10
    assert (lift[3], low[3], high[3]) == (None, None, None)


@pytest.mark.parametrize(
    "variables", ['{"n": %s}' % ("[" * 5_000 + "]" * 5_000), '{"n": %s}' % ("9" * 5_000)]
)
def test_texts_that_python_does_not_read_stay_json(variables: str) -> None:
    assert texts_of(variables) == {"vars": variables}


def test_code_or_data_that_could_end_its_element_is_refused() -> None:
    for code in ("x </script> y", "x </SCRIPT x", "x <!-- y", "</style>"):
        with pytest.raises(ValueError, match="holds"):
            inline(code)
    with pytest.raises(ValueError, match="<"):
        data("<")


def test_long_texts_many_versions_and_many_segments_are_cut(marts: Marts) -> None:
    tables = dict(per_template(marts))["welcome"]
    version = tables.versions.filter(compute.equal(tables.versions["copy_id"], FIRST)).slice(0, 1)
    many = pa.concat_tables(
        version.set_column(version.column_names.index("version_number"), "version_number", [[number]])
        for number in range(1, MOST_VERSIONS + 6)
    )
    segments = pa.concat_tables([tables.segments.slice(0, 1)] * (MOST_SEGMENTS + 7))
    found, _ = unpacked(chunk(replaced(tables, versions=many, segments=segments), "human_clicked", {}))
    assert [row["number"] for row in found["versions"]] == list(range(6, MOST_VERSIONS + 6))
    assert found["segments"]["length"] == MOST_SEGMENTS
    assert found["segments_left_out"] == 7
    whole, _ = unpacked(chunk(tables, "human_clicked", {}))
    (long,) = [row for row in whole["versions"] if row["cut"]]
    assert long["cut"] == ["body"] and long["texts"]["body"] == LONG[:2000]
    assert long["texts"]["subject"] == HOSTILE


def replaced(tables: Tables, **others: pa.Table) -> Tables:
    """The tables of a template with others in some places."""
    return dataclasses.replace(tables, **others)
