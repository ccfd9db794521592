"""How the report names metrics and windows and writes numbers; page.js writes them alike."""

METRICS = {
    "delivered": "delivered",
    "opened": "opened",
    "human_opened": "opened by people",
    "clicked": "clicked",
    "human_clicked": "clicked by people",
    "converted": "converted",
    "unsubscribed": "unsubscribed",
}
WINDOWS = {"all": "all days", "28_days": "last 28 days", "7_days": "last 7 days"}
REASONS = {
    "no_control": "there is no control",
    "no_day_with_both_arms": "no day had both arms",
    "no_outcome_in_an_arm": "an arm has no outcome",
}
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "no_difference_yet": "no difference yet",
    "no_outcome_yet": "no outcome yet",
    "too_few_sends": "too few sends",
    "split_broken": "split broken",
    "no_control": "no control",
    "no_key_metric": "no key metric",
    "control": "control",
}


# A lift beyond it is noise; its digits would say otherwise.
MOST_SHARE = 10


def twin(metric: str) -> str:
    """Return the metric of people beside that of all, or the reverse; the metric itself without one."""
    if metric.startswith("human_"):
        return metric.removeprefix("human_")
    return f"human_{metric}" if f"human_{metric}" in METRICS else metric


def signed(share: float | None) -> str:
    """Return a share as signed per cent, +12.3 %; one beyond MOST_SHARE as no more than that."""
    if share is None:
        return "–"
    if share > MOST_SHARE:
        return f"> +{MOST_SHARE * 100}\N{NO-BREAK SPACE}%"
    return f"{share:+.1%}".replace("%", "\N{NO-BREAK SPACE}%").replace("-", "\N{MINUS SIGN}")


def per_cent(share: float | None, places: int = 1) -> str:
    """Return a share as per cent, 12.3 %."""
    return "–" if share is None else f"{share:.{places}%}".replace("%", "\N{NO-BREAK SPACE}%")


def interval(low: float | None, high: float | None) -> str:
    """Return the bounds of an interval of a share, signed; nothing without both."""
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"
