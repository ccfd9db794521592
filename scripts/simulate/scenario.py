"""The parts of a scenario.

A scenario states what happens in one journey and what the warehouse must make of it: the last call of a
delivery, the delivery that a message belongs to, and the rule that matches it. The truth tables multiply
these statements; nothing in them is found by matching.
"""

from dataclasses import dataclass, replace

from scripts.simulate.world import TEMPLATE


@dataclass(frozen=True)
class Delivery:
    """A (journey, action) for which JustAI is called; without journey or action it is one call."""

    template: str
    action: int | None = None
    journey: bool = True


@dataclass(frozen=True)
class Call:
    """One call, `lo` to `hi` seconds after the journey's start.

    `copy` is "pick" (the delivery's bandit draw), "other" (another arm) or an arm number. `final` says that
    this call decides the delivery; among several with `tie` in one second, the total order decides.
    `version` "before" is what was served just before an edit (for journeys that start at one).
    """

    delivery: int = 0
    lo: int = 0
    hi: int = 0
    copy: str | int = "pick"
    final: bool = True
    tie: bool = False
    attrs: str = "person"
    user: bool = True
    campaign: bool = True
    version: str = "now"
    template: str | None = None


@dataclass(frozen=True)
class Message:
    """One Customer.io delivery_id, whose first event lies `lo` to `hi` seconds after the journey's start.

    `owner` is the delivery it belongs to, `method` the rule that says so; `alternative`: the lower
    delivery_key of the two owns it. Without owner either `control` (a template) or `reason` is set. `sure`
    messages are sent and delivered; `edge` ones also have events at the end of the engagement window.
    `variant` says which of its events lack which ids ("any": drawn); all but the first may name a
    `later_action` instead.
    """

    channel: str
    action: int | None
    campaign: int | None
    owner: int | None = None
    method: str | None = None
    reason: str | None = None
    control: str | None = None
    parent: int | None = None
    alternative: int | None = None
    lo: int = 3
    hi: int = 600
    chance: float = 1.0
    kind: str = "campaign"
    journey: bool = True
    sure: bool = False
    edge: bool = False
    variant: str = "any"
    later_action: int | None = None


@dataclass(frozen=True)
class Scenario:
    """One kind of journey.

    `snap` moves the start to just before midnight ("day_end") or to an edit of a copy of the first delivery's
    template ("edit"). `journey_id` "number": the id is digits only; "odd": it has quotes.
    """

    name: str
    share: float
    deliveries: tuple[Delivery, ...] = ()
    calls: tuple[Call, ...] = ()
    messages: tuple[Message, ...] = ()
    snap: str = "none"
    journey_id: str = "ulid"


def delivery(name: str) -> Delivery:
    """The delivery that a call of template `name` usually makes."""
    return Delivery(name, TEMPLATE[name].call_action)


def message(name: str, owner: int | None = 0, **changes: object) -> Message:
    """The message that follows a call of template `name`, belonging to delivery number `owner`."""
    template = TEMPLATE[name]
    method = template.method if owner is not None else None
    reason = (
        None if method else {"ghost-webhook": "action_not_mapped", "clash-hook": "map_disagrees"}.get(name)
    )
    usual = Message(
        template.channel,
        template.action,
        template.campaign,
        owner if method else None,
        method,
        reason,
        parent=template.parent,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def unmatched(name: str, reason: str, **changes: object) -> Message:
    """A message of template `name` that no rule ties to a call, for `reason`."""
    return message(name, None, reason=reason, **{"sure": True, **changes})


def single(name: str, share: float, template: str, *messages: Message, **changes: object) -> Scenario:
    """One call of `template`, then `messages` (default: its usual one)."""
    usual = Scenario(
        f"{name}/{template}", share, (delivery(template),), (Call(),), messages or (message(template),)
    )
    return replace(usual, **changes)  # type: ignore[arg-type]
