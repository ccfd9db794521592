"""How fast requests go out, and the one place that sends a request again."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_when_event_set,
)

from scripts.customerio.outbound.outcomes import Again
from scripts.errors import UserError

ATTEMPTS = 8
LONGEST_WAIT = 900.0
_LONGEST_BACKOFF = 60.0
_SECOND = 1.02

Result = TypeVar("Result")


class Stopped(Exception):
    """The run ends, so a request is not sent again."""


class Pace:
    """Lets at most `rate` HTTP requests begin in any second, of all threads together, retries included.

    `backoff`: seconds before the first retry; each next one waits up to twice as long.
    """

    def __init__(self, rate: float, backoff: float = 1.0) -> None:
        self.backoff = backoff
        self.stop = threading.Event()
        self.requests = 0
        self._lock = threading.Lock()
        self._begun: deque[float] = deque(maxlen=max(1, int(rate)))
        self._span = max(1, int(rate)) / rate * _SECOND
        self._not_before = 0.0

    def wait(self) -> None:
        """Wait until a request may begin.

        Raises:
            Stopped: the run ends.
        """
        while True:
            with self._lock:
                now = time.monotonic()
                first = self._begun[0] + self._span if len(self._begun) == self._begun.maxlen else 0.0
                ready = max(first, self._not_before)
                if ready <= now:
                    self._begun.append(now)
                    self.requests += 1
                    return
            if self.stop.wait(ready - now):
                raise Stopped

    def sent(self, send: Callable[[], Result]) -> Result:
        """Send, and send again what has no answer.

        Raises:
            Stopped: the run ends.
            UserError: there is still no answer after so many attempts.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(Again),
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(self.stop),
            wait=self._seconds,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._paced, send)
        except Again as error:
            if self.stop.is_set():
                raise Stopped from None
            raise UserError(
                f"a request was not taken in {ATTEMPTS} attempts ({error}). What Customer.io acknowledged is "
                "kept: run the command again later"
            ) from None

    def _paced(self, send: Callable[[], Result]) -> Result:
        self.wait()
        return send()

    def _seconds(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Again) and error.wait is not None:
            wait = min(error.wait, LONGEST_WAIT)
            # who asks one request to wait means all of them
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + wait)
            return wait
        most = min(self.backoff * 2.0 ** (state.attempt_number - 1), _LONGEST_BACKOFF)
        # jitter: what was refused together must not come back together
        return random.uniform(most / 2, most)

    def _sleep(self, seconds: float) -> None:
        self.stop.wait(seconds)
