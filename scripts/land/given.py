"""Times and numbers that a user gives a landing, by an option or a var of the project."""

from datetime import UTC, date, datetime, time
from typing import Any

from scripts.errors import UserError


def backfill_span(start: str, end: str) -> tuple[datetime, datetime]:
    """The range [start, end) of a backfill, in UTC hours.

    Raises:
        UserError: it is empty, or a time is no whole hour.
    """
    first, last = _hour(start), _hour(end)
    if first >= last:
        raise UserError(f"--backfill {start} {end}: START must lie before END (END is not part of the range)")
    return first, last


def _hour(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--backfill: {text!r} is no time; write 2026-09-01 or 2026-09-01T05 (UTC)") from None
    if moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if moment != moment.replace(minute=0, second=0, microsecond=0):
        raise UserError(f"--backfill: {text!r} is no whole hour (UTC)")
    return moment


def rescan_days(settings: dict[str, Any]) -> int:
    """The days whose hours of a table are always hashed."""
    value = settings.get("table_rescan_days", 7)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 36525:
        raise UserError(
            f"dbt_project.yml: the var table_rescan_days is {value!r}; write a number of days such as 7, "
            "at most 36525"
        )
    return value


def time_bounds(settings: dict[str, Any]) -> tuple[int, int]:
    """The bounds [earliest, latest) of a record's time, in unix seconds."""
    seconds = []
    for key in ("earliest_event_at", "latest_event_at"):
        value = settings.get(key)
        try:
            moment = (
                datetime.combine(value, time()) if type(value) is date else datetime.fromisoformat(str(value))
            )
        except ValueError:
            raise UserError(
                f"dbt_project.yml: the var {key} is {value!r}; write a date such as '2000-01-01'"
            ) from None
        seconds.append(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    if seconds[0] >= seconds[1]:
        raise UserError(
            f"dbt_project.yml: the var earliest_event_at is {str(settings['earliest_event_at'])!r} and "
            f"latest_event_at {str(settings['latest_event_at'])!r}: no line would lie between them, and all "
            "would be rejected; write a later one"
        )
    return seconds[0], seconds[1]
