"""The SQL of macros/statistics against statsmodels and scipy, on DuckDB and on the emulated Snowflake.

COPYMART_STATISTICS=1 (`make statistics`) takes 10,000 random tables instead of 400.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    test_proportions_2indep,
)

from support import statistics as reference
from support.emulated_snowflake import connect

# pytest would take it for a test
test_proportions_2indep.__test__ = False

MACROS = reference.macros()
TABLES = 10_000 if os.environ.get("COPYMART_STATISTICS") else 400
Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module", params=["duckdb", pytest.param("snowflake", marks=pytest.mark.integration)])
def query(request: pytest.FixtureRequest) -> Query:
    """Runs a query on an engine."""
    if request.param == "duckdb":
        connection = duckdb.connect()
        return lambda text: connection.execute(text).fetchall()
    session = connect(request.getfixturevalue("port"), "STATISTICS")

    def run(text: str) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            return list(cursor.execute(text).fetchall())

    run("create schema if not exists prod")
    return run


def load(query: Query, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Make a table of doubles and whole numbers."""
    kinds = ", ".join(f"{name} {'double' if name in 'xpz' else 'bigint'}" for name in columns)
    query(f"create or replace table {table} ({kinds})")
    for first in range(0, len(rows), 5_000):
        values = ", ".join(f"({', '.join(map(repr, row))})" for row in rows[first : first + 5_000])
        query(f"insert into {table} values {values}")


def comparisons() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Random comparisons of 1 to 8 days: the number of days, and n1, y1, n0, y0 with 0 on missing days."""
    draw = np.random.default_rng(20_261_129)
    days = draw.integers(1, 9, TABLES)
    there = np.arange(8) < days[:, None]
    sizes = 10 ** draw.uniform(0, 5, (TABLES, 1))
    n1, n0 = (np.where(there, draw.integers(0, sizes + 2, (TABLES, 8)), 0) for _ in range(2))
    rate = 10 ** draw.uniform(-3, 0, (TABLES, 1))
    lift = draw.uniform(0.5, 1.0, (TABLES, 1))
    return days, n1, draw.binomial(n1, rate * lift), n0, draw.binomial(n0, rate)


def test_the_normal_distribution_is_right_to_12_digits(query: Query) -> None:
    points = np.concatenate([np.linspace(-12, 12, 2_001), [-40.0, -37.5, 37.5, 40.0, 7.07106781186547]])
    load(query, "points", ["x"], [[float(x)] for x in points])
    found = query(f"select x, {MACROS.normal_cdf('x')}, {MACROS.two_sided_p('x')} from points order by x")
    x, cdf, p = np.array(found, dtype=float).T
    assert np.abs(cdf - norm.cdf(x)).max() < 1e-15
    assert np.abs(p - 2 * norm.sf(np.abs(x))).max() < 1e-15
    # of a small p value, eight digits are right
    near = np.abs(x) < 7
    assert np.abs(p[near] / (2 * norm.sf(np.abs(x[near]))) - 1).max() < 1e-8


def ratios(query: Query) -> dict[int, tuple[float, ...]]:
    """Per comparison with a success in both arms: sums, logarithm, error and bounds, by SQL."""
    days, n1, y1, n0, y0 = comparisons()
    load(
        query,
        "days",
        ["number", "n1", "y1", "n0", "y0"],
        [
            [number, *map(int, (n1[number, day], y1[number, day], n0[number, day], y0[number, day]))]
            for number in range(TABLES)
            for day in range(days[number])
        ],
    )
    bounds = ", ".join(
        [MACROS.plain_lift_bound("log_ratio", "error", side) for side in "-+"]
        + [MACROS.anytime_lift_bound("log_ratio", "error", "clock", side) for side in "-+"]
    )
    rows = query(
        f"""
        with sums as (
            select number, {MACROS.risk_ratio_sums("n1", "y1", "n0", "y0")} from days group by number
        ),
        estimated as (
            select number, t1, t0, w, g, {MACROS.log_risk_ratio("t1", "t0")} as log_ratio,
                {MACROS.log_risk_ratio_error("t1", "t0", "g", "1.5")} as error,
                {MACROS.anytime_clock("w", "1.5")} as clock
            from sums
        ),
        scored as (select *, log_ratio / error as z from estimated)
        select number, t1, t0, w, g, log_ratio, error, clock, {bounds},
            {MACROS.two_sided_p("z")}, {MACROS.anytime_p("z", "clock")}, {MACROS.anytime_multiplier("clock")}
        from scored where error is not null
        """
    )
    return {int(row[0]): tuple(map(float, row[1:])) for row in rows}


def test_lift_interval_and_p_are_those_of_the_references(query: Query) -> None:
    _, n1, y1, n0, y0 = comparisons()
    sums = reference.risk_ratio(n1, y1, n0, y0)
    errors = sums.error(1.5)
    expected = {number for number in range(TABLES) if np.isfinite(errors[number])}
    found = ratios(query)
    assert found.keys() == expected
    assert len(expected) > TABLES / 2
    k = reference.clock(sums.w, 1.5)
    for number, (t1, t0, w, g, log_ratio, error, clock, *rest) in found.items():
        one = [each[number] for each in sums]
        assert [t1, t0, w, g] == pytest.approx(one, rel=1e-9, abs=1e-12)
        # decimals keep 15 places of each day's term
        assert log_ratio == pytest.approx(sums.log_ratio[number], abs=1e-9)
        assert error == pytest.approx(errors[number], rel=1e-9)
        z = sums.log_ratio[number] / errors[number]
        c = reference.multiplier(k[number])
        bounds = [
            np.exp(min(20, log_ratio + side * error)) - 1 for side in (-reference.Z, reference.Z, -c, c)
        ]
        assert rest[:4] == pytest.approx(bounds, rel=1e-9, abs=1e-9)
        assert rest[4:] == pytest.approx(
            [2 * norm.sf(abs(z)), reference.anytime_p(z, k[number]), c], rel=1e-7, abs=1e-12
        )
        assert clock == pytest.approx(k[number], rel=1e-9)
        assert (rest[5] <= 0.05) == (rest[2] > 0 or rest[3] < 0)


def test_the_sums_are_statsmodels_ratio_and_interval() -> None:
    """The numpy form that the SQL is compared with, which the simulations use too."""
    _, n1, y1, n0, y0 = comparisons()
    sums = reference.risk_ratio(n1, y1, n0, y0)
    for number in range(min(TABLES, 2_000)):
        if not np.isfinite(sums.error()[number] if number == 0 else sums.log_ratio[number]):
            continue
        there = (n1[number] > 0) & (n0[number] > 0)
        a, n, b, m = (each[number][there] for each in (y1, n1, y0, n0))
        tables = np.array([[a, n - a], [b, m - b]], dtype=float)
        assert np.exp(sums.log_ratio[number]) == pytest.approx(
            StratifiedTable(tables).riskratio_pooled, rel=1e-9
        )
        error = reference.Ratio(*(each[number] for each in sums)).error()
        if there.sum() == 1 and np.isfinite(error) and min(a[0], b[0]) > 0:
            low, high = confint_proportions_2indep(
                a[0], n[0], b[0], m[0], compare="ratio", method="log", correction=False
            )
            log_ratio = sums.log_ratio[number]
            assert np.exp(log_ratio - reference.Z * error) == pytest.approx(low, rel=1e-9)
            assert np.exp(log_ratio + reference.Z * error) == pytest.approx(high, rel=1e-9)
            tested = test_proportions_2indep(
                a[0], n[0], b[0], m[0], compare="ratio", method="log", correction=False
            )
            assert 2 * norm.sf(abs(log_ratio / error)) == pytest.approx(tested.pvalue, rel=1e-6, abs=1e-12)


def test_the_variance_is_that_of_the_published_vaccine_trials() -> None:
    """Thirteen trials of BCG against tuberculosis (Colditz 1994): cases and others, vaccinated and not.

    The R package metafor 4 gives -0.4537 with a standard error of 0.0393 for rma.mh(measure="RR").
    """
    vaccinated = [(4, 119), (6, 300), (3, 228), (62, 13536), (33, 5036), (180, 1361), (8, 2537)]
    vaccinated += [(505, 87886), (29, 7470), (17, 1699), (186, 50448), (5, 2493), (27, 16886)]
    others = [(11, 128), (29, 274), (11, 209), (248, 12619), (47, 5761), (372, 1079), (10, 619)]
    others += [(499, 87892), (45, 7232), (65, 1600), (141, 27197), (3, 2338), (29, 17825)]
    (y1, m1), (y0, m0) = np.array(vaccinated).T, np.array(others).T
    sums = reference.risk_ratio(y1 + m1, y1, y0 + m0, y0)
    assert float(sums.log_ratio) == pytest.approx(-0.4537, abs=5e-5)
    assert float(sums.error()) == pytest.approx(0.0393, abs=5e-5)


def test_anytime_intervals_are_those_of_gbstats(query: Query) -> None:
    """With two equal arms, the information w is a quarter of the sends."""
    rows = json.loads((Path(__file__).parent / "gbstats_values.json").read_text())["rows"]
    values = ", ".join(f"({number}, {n / 4}, {row[0] / row[1]})" for number, (n, *row) in enumerate(rows))
    query("create or replace table growthbook (number bigint, w double, z double)")
    query(f"insert into growthbook values {values}")
    found = query(
        f"""
        select {MACROS.anytime_multiplier("clock")}, {MACROS.anytime_p("z", "clock")}
        from (select number, z, {MACROS.anytime_clock("w", "1")} as clock from growthbook) as clocks
        order by number
        """
    )
    for (c, p), (_, _, error, width, expected) in zip(found, rows, strict=True):
        assert c == pytest.approx(width / error, rel=1e-9)
        assert p == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_wilson_intervals_are_statsmodels(query: Query) -> None:
    draw = np.random.default_rng(1)
    trials = draw.integers(1, 10 ** draw.uniform(0, 6, TABLES) + 2, TABLES)
    successes = draw.binomial(trials, draw.uniform(0, 1, TABLES))
    effects = draw.integers(1, 9, TABLES)
    rows = [list(map(int, row)) for row in zip(successes, trials, effects, strict=True)]
    load(query, "rates", ["y", "n", "d"], rows)
    bounds = [MACROS.wilson_bound("y", "n", "d", side) for side in "-+"]
    found = query(f"select y, n, d, {', '.join(bounds)} from rates")
    assert len(found) == TABLES
    for y, n, d, low, high in found:
        assert (low, high) == pytest.approx(
            proportion_confint(y / d, n / d, method="wilson"), rel=1e-9, abs=1e-12
        )


def test_a_wilson_interval_of_none_or_all_ends_at_0_or_1(query: Query) -> None:
    """Rounding takes either end beyond it, which a page shows as -0.00 %."""
    rows = [[y, n, d] for n in range(1, 200) for y in (0, n) for d in range(1, 9)]
    load(query, "rates", ["y", "n", "d"], rows)
    low, high = (MACROS.wilson_bound("y", "n", "d", side) for side in "-+")
    found = query(f"select min({low}), max({high}) from rates")
    assert found == [(0.0, 1.0)]
    null = "cast(null as double)"
    for successes, design_effect in ((null, "d"), ("y", null)):
        low, high = (MACROS.wilson_bound(successes, "n", design_effect, side) for side in "-+")
        assert query(f"select max({low}), max({high}) from rates") == [(None, None)]


def test_adjusted_p_values_are_statsmodels(query: Query) -> None:
    draw = np.random.default_rng(2)
    families = [draw.uniform(0, 1, draw.integers(1, 12)) ** 3 for _ in range(10 if TABLES < 1_000 else 50)]
    families[0] = np.array([0.04, 0.01, 0.01, 0.2])
    load(
        query,
        "tests",
        ["family", "key", "p"],
        [[f, key, float(p)] for f, family in enumerate(families) for key, p in enumerate(family)],
    )
    # a copy without outcome is no comparison
    query("insert into tests select distinct family, 99, null from tests")
    steps = f"""
        select family, key, p, {MACROS.holm_step("p", "family", "key")} as h,
            {MACROS.false_discovery_step("p", "family", "key")} as f
        from tests
    """
    found = query(
        f"""
        select family, key, {MACROS.holm_adjusted("h", "p", "family", "key")},
            {MACROS.false_discovery_adjusted("f", "p", "family", "key")}
        from ({steps}) as stepped order by family, key
        """
    )
    by_family: dict[int, list[tuple[Any, Any]]] = {}
    for family, key, holm, discovery in found:
        if key == 99:
            assert (holm, discovery) == (None, None)
        else:
            by_family.setdefault(family, []).append((holm, discovery))
    for number, family in enumerate(families):
        holm, discovery = zip(*by_family[number], strict=True)
        assert holm == pytest.approx(multipletests(family, method="holm")[1], rel=1e-9)
        assert discovery == pytest.approx(multipletests(family, method="fdr_bh")[1], rel=1e-9)
        assert reference.holm(family) == pytest.approx(holm, rel=1e-9)


def test_design_effects_are_cluster_robust_variances(query: Query) -> None:
    """Of an arm by statsmodels' OLS; of a pair by its definition, from each person's residuals."""
    draw = np.random.default_rng(3)
    sums, pairs = [], []
    for number in range(TABLES // 20):
        people = int(draw.integers(20, 200))
        habit = draw.beta(0.5, 2, people)
        n1, n0 = draw.integers(0, 6, people), draw.integers(0, 6, people)
        y1, y0 = draw.binomial(n1, habit), draw.binomial(n0, habit)
        if min(y1.sum(), y0.sum()) == 0:
            continue
        pairs.append((n1, y1, n0, y0))
        sums.append(
            [
                number,
                *(int(each.sum()) for each in (n1, y1, y1 * y1, y1 * n1, n1 * n1)),
                *(int(each.sum()) for each in (n0, y0, y0 * y0, y0 * n0, n0 * n0)),
                *(int(each.sum()) for each in (y1 * y0, y1 * n0, n1 * y0, n1 * n0)),
            ]
        )
    names = ["trials", "successes", "yy", "yn", "nn"]
    columns = ["number", *(f"arm_{name}" for name in names), *(f"control_{name}" for name in names)]
    columns += [f"crossed_{name}" for name in ("yy", "yn", "ny", "nn")]
    load(query, "persons", columns, sums)
    found = query(
        f"""
        select {MACROS.design_effect("arm_")},
            {MACROS.paired_design_effect("arm_", "control_", "crossed_")}
        from (select *, 1 as arm_share, 1 as control_share from persons) as shared order by number
        """
    )
    assert len(found) == len(pairs)
    for (effect, paired), (n1, y1, n0, y0) in zip(found, pairs, strict=True):
        outcomes = np.concatenate([[1] * y + [0] * (n - y) for n, y in zip(n1, y1, strict=True)])
        persons = np.repeat(np.arange(len(n1)), n1)
        fit = sm.OLS(outcomes, np.ones(len(outcomes))).fit(
            cov_type="cluster", cov_kwds={"groups": persons, "use_correction": False}
        )
        rate = outcomes.mean()
        assert effect == pytest.approx(
            max(1, fit.cov_params()[0, 0] * len(outcomes) / (rate * (1 - rate))), rel=1e-9
        )
        assert effect == pytest.approx(reference.design_effect(n1, y1), rel=1e-9)
        assert paired == pytest.approx(reference.paired_design_effect(n1, y1, n0, y0), rel=1e-9)


def test_a_sample_ratio_is_the_normal_one(query: Query) -> None:
    load(query, "splits", ["found", "total"], [[4_900, 50_000], [5_600, 50_000], [0, 10]])
    found = query(
        f"""
        select z, clock, {MACROS.anytime_p("z", "clock")} from (
            select total, {MACROS.sample_ratio_z("found", "total", "0.1")} as z,
                {MACROS.sample_ratio_clock("total", "0.1")} as clock
            from splits
        ) as scored order by z
        """
    )
    z = np.array([(4_900 - 5_000) / np.sqrt(4_500), -1 / np.sqrt(0.9), 600 / np.sqrt(4_500)])
    k = 4 * np.array([50_000, 10, 50_000]) * 0.09 * reference.C / 5_000
    expected = np.array([z, k, reference.anytime_p(z, k)]).T
    assert np.array(found, dtype=float) == pytest.approx(expected, rel=1e-9)
    assert expected[2, 2] < 0.001 < expected[0, 2]


def test_the_best_of_several_is_what_many_draws_say(query: Query) -> None:
    """The sum over 193 points, against the share of draws in which an arm is the best."""
    scores, errors = [0.0, 0.05, 0.1, -0.2], [0.03, 0.05, 0.08, 0.04]
    load(
        query,
        "arms",
        ["arm", "x", "z"],
        [[a, *row] for a, row in enumerate(zip(scores, errors, strict=True))],
    )
    load(query, "numbers", ["number"], [[number] for number in range(1, 194)])
    distances = f"""
        select arms.arm, point, (arms.x + arms.z * point - others.x) / others.z as distance
        from arms join arms as others on arms.arm != others.arm
        cross join (select {MACROS.normal_point("number")} as point from numbers) as points
    """
    logarithm = MACROS.summable(f"ln(greatest({MACROS.normal_cdf('distance')}, 1e-300))")
    products = f"""
        select arm, point, exp(cast(sum({logarithm}) as double)) as probability
        from ({distances}) as distances group by arm, point
    """
    weight = MACROS.summable(f"{MACROS.normal_weight('point')} * probability")
    found = [
        float(row[1])
        for row in query(f"select arm, sum({weight}) from ({products}) as products group by arm order by arm")
    ]
    assert sum(found) == pytest.approx(1, abs=1e-6)
    draws = np.random.default_rng(4).normal(scores, errors, (400_000, 4)).argmax(axis=1)
    assert found == pytest.approx(np.bincount(draws, minlength=4) / len(draws), abs=0.003)
