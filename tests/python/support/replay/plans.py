"""Random histories of a warehouse: what lands when, in which files, what the owner edits, when dbt builds."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import duckdb
from hypothesis import strategies as st

from scripts.land.tables import ddl
from support.replay.builds import (
    WAREHOUSE,
    Builder,
    Recorded,
    attach,
    copy_landing,
    differences,
)
from support.replay.histories import CALLS_OF_WORLD, DAY, WORLDS, History, Line, Plan, Step, world
from support.replay.steps import BUILDS, LANDINGS, STEPS, build, journey_of, land_some


def plan_of(number: int) -> Plan:
    """The plan of a number: three to six builds, before each none to four landings or edits of seeds."""
    draw = Random(number)
    acts = [
        act
        for _ in range(draw.randint(3, 6))
        for act in (
            *draw.choices(list(LANDINGS), list(LANDINGS.values()), k=draw.choice((0, 1, 1, 2, 2, 3, 4))),
            *draw.choices(list(BUILDS), list(BUILDS.values())),
        )
    ]
    plan = Plan(
        world=draw.randrange(WORLDS),
        seed=draw.randrange(10**6),
        journeys=draw.choice((40, 80, 160, 300)),
        in_order=draw.random() < 0.5,
        start=draw.choice((0.0, 0.3, 0.5, 0.5, 0.7, 0.9)),
        steps=tuple(Step(act.__name__, draw.randrange(10**6)) for act in acts),
        bare=draw.random() < 0.1,
    )
    if draw.random() < 0.5:
        return plan
    # what one act left undone is often mended by the next one, so some plans end with one act
    last = draw.choices(list(LANDINGS), list(LANDINGS.values()))
    ends = tuple(Step(act.__name__, draw.randrange(10**6)) for act in (build, *last))
    return replace(plan, steps=plan.steps + ends)


# Drawn as one number: hypothesis makes most lists short and alike, and few of them would meet a hard case.
plans = st.integers(0, 2**64 - 1).map(plan_of)


def reduced(plan: Plan, is_wanted: Callable[[Plan], bool]) -> Plan:
    """The plan without the steps and journeys that it does not take to be as wanted."""
    for step in plan.steps:
        fewer = replace(plan, steps=tuple(other for other in plan.steps if other is not step))
        plan = fewer if is_wanted(fewer) else plan
    for journeys in (5, 10, 20, 40, 80):
        if journeys < plan.journeys and is_wanted(replace(plan, journeys=journeys)):
            return replace(plan, journeys=journeys)
    return plan


def lines_of(plan: Plan) -> list[Line]:
    """The lines of a plan in the order of their arrival: by time, some weeks late, or in any order."""
    draw = Random(plan.seed)
    lines = world(plan.world)
    journeys = sorted({journey_of(line) for line in lines} - {""})
    chosen = set(draw.sample(journeys, min(plan.journeys, len(journeys))))
    kept = [
        line
        for line in lines
        if journey_of(line) in chosen
        or (not journey_of(line) and draw.random() * CALLS_OF_WORLD < plan.journeys)
    ]
    late = [draw.choice((0, 0, 0, 0, 0, 2, 10, 20)) * DAY for _ in kept]
    arrivals = [
        (line.at + delay if plan.in_order else draw.random(), number)
        for number, (line, delay) in enumerate(zip(kept, late, strict=True))
    ]
    return [kept[number] for _, number in sorted(arrivals)]


@contextmanager
def history_of(plan: Plan, recorded: Recorded) -> Iterator[History]:
    """Play a plan and a last build."""
    with tempfile.TemporaryDirectory() as name, duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        empty_warehouse(connection, WAREHOUSE)
        history = History(connection, Path(name).resolve(), lines_of(plan))
        history.builder = Builder(recorded, connection, WAREHOUSE, history.seeds)
        if plan.bare:
            for seed in ("template_settings", "template_actions"):
                history.settings[seed].clear()
                history.save(seed)
        if plan.start:
            land_some(history, Random(plan.seed), plan.start)
        history.build()
        for step in plan.steps:
            STEPS[step.kind](history, Random(step.seed))
        history.build()
        yield history


def empty_warehouse(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Add a warehouse with empty landing tables and make it the one that unqualified names mean."""
    attach(connection, name)
    connection.execute(f"use {name}")
    for statement in ddl():
        connection.execute(statement)


@dataclass(frozen=True)
class Played:
    """The cases that a plan met, and the models that differ from a full build.

    `unequal`: of the same landing tables. `unequal_relanded`: of the same files landed in an empty warehouse.
    """

    unequal: dict[str, Any]
    unequal_relanded: dict[str, Any]
    cases: frozenset[str]


def play(plan: Plan, recorded: Recorded) -> Played:
    """Play a plan with incremental builds and compare its end with full builds."""
    with history_of(plan, recorded) as history:
        connection, models = history.connection, recorded.compared()
        unequal = unequal_to_full(history, recorded)
        empty_warehouse(connection, "relanded")
        history.is_over = True
        history.land(Random(plan.seed))
        Builder(recorded, connection, "relanded", history.seeds).build()
        # a logged call names the batch that landed it, as the rows of staging do
        tables = [
            model
            for model in models
            if model.schema in ("intermediate", "marts", "marts_outbound")
            and model.name != "int_logged_calls"
        ]
        return Played(unequal, differences(connection, tables, WAREHOUSE, "relanded"), history.watch.seen)


def unequal(played: Played) -> bool:
    """Whether a plan ended otherwise than full builds."""
    return bool(played.unequal or played.unequal_relanded)


def check(recorded: Recorded, plan: Plan) -> frozenset[str]:
    """Play a plan and return the cases that it met.

    Raises:
        AssertionError: builds differ; its message has a small plan like it.
    """
    played = play(plan, recorded)
    if unequal(played):
        small = reduced(plan, lambda fewer: unequal(play(fewer, recorded)))
        played = play(small, recorded)
        raise AssertionError(
            f"{small}\nunlike a full build: {played.unequal}\nunlike one relanded: {played.unequal_relanded}"
        )
    return played.cases


def is_noticed(plan: Plan, recorded: Recorded, mutated: Recorded) -> bool:
    """Whether a plan shows that `mutated` does not build what `recorded` builds."""
    with history_of(plan, mutated) as history:
        return bool(unequal_to_full(history, recorded))


def unequal_to_full(history: History, recorded: Recorded) -> dict[str, Any]:
    """Compare with a full build of the same landing tables, in another warehouse."""
    connection = history.connection
    attach(connection, "complete")
    copy_landing(connection, WAREHOUSE, "complete")
    Builder(recorded, connection, "complete", history.seeds).build()
    try:
        return differences(connection, recorded.tables(), WAREHOUSE, "complete")
    finally:
        connection.execute("detach complete")
