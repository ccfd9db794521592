"""The verdict in words, for people who read one line."""

import math

from support.answers.facts import Facts, Row

WITHOUT_NUMBERS = {
    "control": "This is the control.",
    "no_key_metric": "No verdict: the settings of the template name no key metric that is compared.",
    "no_control": "No verdict: there is no control to compare with.",
    "split_broken": (
        "No verdict: the traffic was not split as planned, so the arms may differ in more than the copy."
    ),
}
BEGINNINGS = {
    "better": "Better than control",
    "worse": "Worse than control",
    "no_difference_yet": "No difference from control seen yet",
}


def verdict_sentence(facts: Facts, row: Row) -> str | None:
    """One line for a row with its verdict; None where it has none."""
    verdict, metric = row["verdict"], row["metric"]
    if verdict is None or verdict in WITHOUT_NUMBERS:
        return WITHOUT_NUMBERS.get(verdict)
    words = f"{metric.removeprefix('human_')} by people" if metric.startswith("human_") else metric
    if verdict == "no_outcome_yet":
        return f"No verdict yet: on the days that count, one of the arms has no outcome ({words})."
    if verdict == "too_few_sends":
        subject = "JustAI" if row["arm_type"] == "copies" else "the copy"
        return (
            f"No verdict yet: on the days that count, {subject} has {row['verdict_trials']} trials and "
            f"control {row['verdict_control_trials']}; each needs "
            f"{facts.template(row['template_id']).min_sends} trials and 200 people. Over all days, {subject} "
            f"reached {row['people']} people and control {row['control_people']}."
        )
    interval = ""
    if row["lift_low_anytime"] is not None:
        low, high = percent(row["lift_low_anytime"]), percent(row["lift_high_anytime"])
        interval = f" (95 % interval, valid at every look: {low} to {high})"
    return f"{BEGINNINGS[verdict]}: {words} {percent(row['verdict_lift'])}{interval}."


def percent(share: float) -> str:
    """Signed, with one decimal place; halves away from zero, and a zero that was negative without a sign."""
    tenths = math.floor(abs(share) * 1000 + 0.5)
    sign = "+" if share >= 0 else "-" if tenths else ""
    return f"{sign}{tenths // 10}.{tenths % 10} %"
