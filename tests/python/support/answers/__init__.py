"""What the marts of experiments must show for the simulator's truth, in plain Python: no SQL of the project.

The formulas are those of support/statistics, which other tests compare with statsmodels. A row is a
dictionary by column, in which None is null.
"""

from pathlib import Path

from support.answers.facts import Facts, Row
from support.answers.health import variant_health
from support.answers.performance import judged, template_performance, variant_performance
from support.answers.segments import segment_performance
from support.answers.versions import copy_version_metrics


def expected(truth: Path) -> dict[str, list[Row]]:
    """The rows of each mart."""
    facts = Facts(truth)
    health = variant_health(facts)
    rows = judged(facts, {row["template_id"]: row["split_status"] for row in health})
    return {
        "variant_performance": variant_performance(facts, rows),
        "template_performance": template_performance(rows),
        "variant_health": health,
        "segment_performance": segment_performance(facts, rows),
        "copy_version_metrics": copy_version_metrics(facts),
    }
