"""What may come of a request to Customer.io."""

from dataclasses import dataclass

ACKNOWLEDGED, REFUSED = "acknowledged", "refused"
UNANSWERED = "unanswered"
"""What was in flight when a run was killed: Customer.io may have taken it or not."""


class Again(Exception):
    """There is no answer, or one that may be another next time. Customer.io may have taken the request.

    `wait`: the seconds that Customer.io asks for.
    """

    def __init__(self, said: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.wait = wait


class Refused(Exception):
    """Customer.io refuses a request as a whole; `refusal` is its reason."""

    def __init__(self, refusal: "Refusal") -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass(frozen=True)
class Refusal:
    """Why Customer.io refuses an item: a word of its own, the field, and its message.

    The message may hold what was sent, so it goes into the ledger and is not shown.
    """

    reason: str
    field: str = ""
    message: str = ""

    def __str__(self) -> str:
        said = f"{self.reason}: {self.message}" if self.message else self.reason
        return f"{said} ({self.field})" if self.field else said
