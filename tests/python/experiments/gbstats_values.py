"""What GrowthBook's gbstats says of sequential tests, for test_statistics.py.

It runs in an environment of its own: gbstats 0.8.0 needs numpy and pandas below 2.

    python -m venv data/gbstats
    data/gbstats/bin/python -m pip install gbstats==0.8.0
    cd tests/python/experiments
    ../../../data/gbstats/bin/python gbstats_values.py gbstats_values.json

`make statistics` does that and expects the file that is there.
"""

import json
import random
import sys
from importlib.metadata import version
from pathlib import Path

from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic


def main(target: Path) -> None:
    """Write 200 comparisons of two equal arms: sends of both, estimate, standard error, width, p."""
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
    found = {"gbstats": version("gbstats"), "columns": ["n", "estimate", "error", "width", "p"], "rows": rows}
    target.write_text(json.dumps(found).replace("], [", "],\n["))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
