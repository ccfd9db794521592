"""The statements that a run of dbt sent to Snowflake, counted by kind."""

import json
import re
from collections import Counter
from pathlib import Path

DATA_TESTS = "data tests"
QUESTIONS = "questions of macros"
BLOCKS = "blocks"
TEMPORARY = "temporary tables"
TABLES = "tables"
OTHERS = "others"
KINDS = (DATA_TESTS, QUESTIONS, BLOCKS, TEMPORARY, TABLES, OTHERS)
"""`blocks` write and mark; `others` are views, SHOW, DESCRIBE, DROP, transactions and seeds."""

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_FORMS = (
    (BLOCKS, re.compile(r"execute immediate")),
    (TEMPORARY, re.compile(r"create (or replace )?temporary table")),
    (TABLES, re.compile(r"create (or replace )?(transient )?table .*? as\b", re.DOTALL)),
    (DATA_TESTS, re.compile(r"(select|with)\b.*\bas failures\b", re.DOTALL)),
    (QUESTIONS, re.compile(r"(select|with)\b")),
)


def kind_of(statement: str) -> str:
    """One of KINDS."""
    text = " ".join(_COMMENT.sub(" ", statement).lower().split())
    return next((kind for kind, form in _FORMS if form.match(text)), OTHERS)


def count(log: Path, invocation: str) -> Counter[str]:
    """How many statements of each kind a run of dbt sent, by its log in JSON."""
    found: Counter[str] = Counter()
    with log.open() as lines:
        for line in lines:
            # most lines are about something else
            if '"SQLQuery"' not in line:
                continue
            entry = json.loads(line)
            if entry["info"]["name"] == "SQLQuery" and entry["info"]["invocation_id"] == invocation:
                found[kind_of(entry["data"]["sql"])] += 1
    return found


def listed(found: Counter[str]) -> str:
    """The numbers as text."""
    return f"{found.total()} statements: " + ", ".join(f"{found[kind]} {kind}" for kind in KINDS)
