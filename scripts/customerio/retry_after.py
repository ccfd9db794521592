"""How long an answer of Customer.io, or of a proxy before it, asks a client to wait."""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime


def retry_after(header: str, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for: a number of seconds, or a date (RFC 9110, 10.2.3).

    `now`: unix seconds. None for what is neither, and for a date that has passed, which a clock that goes
    wrong makes of any: the next request goes out after as long as without a header.
    """
    try:
        seconds = float(header)
    except ValueError:
        return _until(header, now)
    return None if math.isnan(seconds) else max(0.0, seconds)


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        # also a day or a year that no calendar has
        return None
    # asctime's form names no zone, and means UTC
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return seconds if seconds > 0 else None
