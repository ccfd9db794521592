"""What GrowthBook's gbstats says of sequential tests, for test_statistics.py.

It runs in an environment of its own: gbstats 0.8.0 needs numpy and pandas below 2.

    python -m venv data/gbstats
    data/gbstats/bin/python -m pip install gbstats==0.8.0
    data/gbstats/bin/python tests/python/experiments/gbstats_values.py --write

`make statistics` runs it without --write: it expects the values of the file, to 1e-9, because the last digits
depend on the processor and on the versions of numpy and scipy.
"""

import json
import math
import random
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic

FILE = Path(__file__).with_suffix(".json")


def values() -> dict[str, Any]:
    """200 comparisons of two equal arms: sends of both, estimate, standard error, width, p."""
    draw = random.Random(1)
    config = SequentialConfig(difference_type="absolute", sequential_tuning_parameter=5000)
    rows = []
    for _ in range(200):
        n = round(10 ** draw.uniform(2, 6))
        rate = draw.uniform(0.01, 0.5)
        y0, y1 = (max(1, round(n * rate * draw.uniform(0.9, 1.1))) for _ in range(2))
        tested = SequentialTwoSidedTTest(
            ProportionStatistic(sum=y0, n=n), ProportionStatistic(sum=y1, n=n), config
        )
        low, high = tested.confidence_interval
        row = (2 * n, tested.point_estimate, tested.variance**0.5, (high - low) / 2, tested.p_value)
        rows.append([float(value) for value in row])
    return {"gbstats": version("gbstats"), "columns": ["n", "estimate", "error", "width", "p"], "rows": rows}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What differs, a line each."""
    if {**found, "rows": len(found["rows"])} != {**expected, "rows": len(expected["rows"])}:
        return ["another version, other columns or another number of rows"]
    return [
        f"row {number}, {column}: {value}, and the file has {other}"
        for number, rows in enumerate(zip(found["rows"], expected["rows"], strict=True))
        for column, value, other in zip(found["columns"], *rows, strict=True)
        if not math.isclose(value, other, rel_tol=1e-9)
    ]


def main() -> None:
    """Write the file with --write; compare with it otherwise."""
    found = values()
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(json.dumps(found).replace("], [", "],\n["))
    elif different := differences(found, json.loads(FILE.read_text())):
        sys.exit("\n".join([f"gbstats says something else than {FILE.name}:", *different]))


if __name__ == "__main__":
    main()
