"""Incremental builds equal a full refresh, whatever landed in whatever order, and whatever broke off.

`make replay EXAMPLES=300` plays many random histories; without EXAMPLES a few that never change are played.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import duckdb
import pytest
from conftest import PROJECT
from conftest import settings as environment_of
from hypothesis import HealthCheck, Phase, given, seed, settings
from land_helpers import warehouse
from replay import WAREHOUSE, Builder, Recorded, attach, copy_landing, dbt_build, differences, models_of
from replay_cases import ALL_CASES
from replay_mutations import MUTATIONS
from replay_plans import (
    History,
    Plan,
    Played,
    edit_actions,
    edit_control,
    is_noticed,
    land_edited,
    land_gone,
    land_late_edit,
    land_shorter,
    land_some,
    lines_of,
    plan_of,
    plans,
    play,
    reduced,
)

EXAMPLES = int(os.environ.get("COPYMART_REPLAY_EXAMPLES", "0"))
SEED = int(os.environ.get("COPYMART_REPLAY_SEED") or time.time())
# Of so many examples each case must be met by a tenth.
ENOUGH = 100
# Together they meet every case.
SHORT = (1, 2, 3)
# What the short form leaves out, and numbers of plans that notice it.
SHORT_MUTATIONS = {"calls that landed": 1, "events that landed": 1, "calls that were removed": 1}


@dataclass(frozen=True)
class Example:
    """A warehouse as dbt built it at first, and as it built it incrementally after more had landed, each in a folder
    with the seeds that it was built with.
    """

    recorded: Recorded
    states: tuple[Path, Path]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("replay").resolve()
    environment = environment_of(folder)
    # a project of its own: dbt wants the seeds, which the example edits, inside
    project = folder / "project"
    project.mkdir()
    shutil.copy(PROJECT / "dbt_project.yml", project)
    for part in ("models", "macros", "tests/generic", "tests/assertions"):
        shutil.copytree(PROJECT / part, project / part)
    environment["COPYMART_SEEDS"] = "seeds"
    path = folder / f"{WAREHOUSE}.duckdb"
    draw = Random(1)

    connection = warehouse(path)
    history = History(connection, project, lines_of(Plan(0, 1, 160, True, 0.0, ())))
    land_some(history, draw, 0.6)
    connection.close()
    first = dbt_build(project, environment, folder / "first")
    states = [keep(path, history.seeds, folder / "state_first")]
    refresh = dbt_build(project, environment, folder / "refresh", "--full-refresh")

    history.connection = warehouse(path)
    for act in (land_some, land_late_edit, land_edited, land_shorter, land_gone, edit_control, edit_actions):
        act(history, draw)
    history.connection.close()
    later = dbt_build(project, environment, folder / "later")
    states.append(keep(path, history.seeds, folder / "state_later"))

    recorded = Recorded(first, later, refresh, history.seeds, models_of(folder / "target"))
    yield Example(recorded, (states[0], states[1]))
    shutil.rmtree(folder, ignore_errors=True)


def keep(path: Path, seeds: Path, state: Path) -> Path:
    """Copy a warehouse and its seeds to a folder; return the folder."""
    shutil.copytree(seeds, state / "seeds")
    shutil.copy(path, state)
    return state


def test_a_fast_build_is_what_dbt_builds(example: Example) -> None:
    recorded = example.recorded
    tables = [model for model in recorded.models.values() if model.materialized != "view"]
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        attach(connection, WAREHOUSE)
        for state in example.states:
            connection.execute(f"attach '{state}/{WAREHOUSE}.duckdb' as {state.name} (read_only)")
            copy_landing(connection, state.name, WAREHOUSE)
            Builder(recorded, connection, WAREHOUSE, state / "seeds").build()
            assert differences(connection, tables, state.name, WAREHOUSE) == {}


def unequal(played: Played) -> bool:
    return bool(played.unequal or played.unequal_anew)


def check(recorded: Recorded, plan: Plan) -> frozenset[str]:
    """Play a plan, fail with a small one like it when builds differ, and return the cases that it met."""
    played = play(plan, recorded)
    if unequal(played):
        small = reduced(plan, lambda fewer: unequal(play(fewer, recorded)))
        played = play(small, recorded)
        pytest.fail(f"{small}\nunlike a full build: {played.unequal}\nunlike one anew: {played.unequal_anew}")
    return played.cases


def test_incremental_builds_equal_a_full_refresh(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    met: Counter[str] = Counter()
    examples = 0

    def one(plan: Plan) -> None:
        nonlocal examples
        met.update(check(example.recorded, plan))
        examples += 1

    began = time.monotonic()
    if EXAMPLES:
        many(one, EXAMPLES)
    else:
        for number in SHORT:
            one(plan_of(number))
    with capsys.disabled():
        print(f"\n{examples} histories in {time.monotonic() - began:.0f} s, seed {SEED}: none unequal")
        for case in ALL_CASES:
            print(f"{met[case]:6} {met[case] / examples:6.1%}  {case}")
    rare = [case for case in ALL_CASES if met[case] < (0.1 * examples if examples >= ENOUGH else 1)]
    assert examples < ENOUGH and EXAMPLES or not rare, f"too rare: {rare}"


def many(test, examples: int) -> None:
    """Call `test` with random plans."""
    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(SEED)(quiet(given(plans)(test)))()


@pytest.mark.parametrize("mutation", MUTATIONS if EXAMPLES else SHORT_MUTATIONS)
def test_following_the_clock_is_noticed(
    example: Example, mutation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = example.recorded
    mutated = MUTATIONS[mutation].apply(recorded)
    tried = 0
    for plan in some_plans() if EXAMPLES else [plan_of(SHORT_MUTATIONS[mutation])]:
        tried += 1
        if is_noticed(plan, recorded, mutated):
            with capsys.disabled():
                print(f"\nnoticed by history {tried}: {mutation}")
            return
    pytest.fail(f"{mutation}: a 3-day lookback made no difference in {tried} histories")


def some_plans() -> list[Plan]:
    found: list[Plan] = []
    many(found.append, EXAMPLES)
    return found
