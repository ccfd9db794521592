"""Source calls about people of the simulated world: what they do, and what that means to Customer.io.

They are few and have randomness of their own, so that calls and events do not depend on them. Each call
states its meaning beside its fields; customers.py adds the meanings up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from scripts.simulate.plan import Plan

PEOPLE_OF_CALLS = 400
"""There is a person with source calls for so many calls to JustAI."""
LEAST_PEOPLE, MOST_PEOPLE = 24, 5_000
SHARED_OBJECTS = 5
LONG = "x" * 1_001
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Dated:
    """An attribute that is written in ISO 8601; `seconds` is what Customer.io must hold."""

    text: str
    seconds: int


Attributes = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A call without its time. `person`: whom it names; `fields`: of the call; the rest is what it means."""

    action: str
    person: str | None
    fields: dict[str, Any]
    held_back: str | None = None
    attributes: Attributes = field(default_factory=dict)
    object_key: tuple[str, str] | None = None
    object_attributes: Attributes = field(default_factory=dict)
    relationship: Attributes = field(default_factory=dict)
    device: tuple[str, str, Attributes] | None = None
    merged: str | None = None


@dataclass(frozen=True)
class Call:
    """A call with its messageId and its time in milliseconds (UTC)."""

    at: int
    message_id: str
    story: str
    said: Said


def written(attributes: Attributes) -> Attributes:
    """The attributes as a call has them."""
    return {name: value.text if isinstance(value, Dated) else value for name, value in attributes.items()}


def meant(attributes: Attributes) -> Attributes:
    """The attributes as Customer.io must hold them."""
    return {name: value.seconds if isinstance(value, Dated) else value for name, value in attributes.items()}


def user(number: int) -> str:
    """The userId that calls and events have of a person."""
    return f"u-{number}"


def address(number: int) -> str:
    """Their address, as events have it."""
    return f"{number}@example.com"


def identify(who: str | None, traits: Attributes, **more: Any) -> Said:
    """A person's attributes; without a userId the address among them names the person."""
    anonymous = more.pop("anonymous", None)
    held_back, integrations = more.pop("held_back", None), more.pop("integrations", None)
    created = more.pop("created", None)
    holds = meant(traits) | ({"anonymous_id": anonymous} if anonymous else {})
    says = written(traits)
    if created:
        says["createdAt"], holds["created_at"] = created.text, created.seconds
    key, relationship = more.pop("object_key", None), more.pop("relationship", {})
    if key:
        says |= {"objectId": key[1], "relationshipAttributes": written(relationship)}
        holds |= {"objectId": key[1]}
        if key[0] != "1":
            says["objectTypeId"] = key[0]
    fields = {"type": "identify", "userId": who, "anonymousId": anonymous, "traits": says}
    if integrations:
        fields["integrations"] = integrations
    person = who or traits.get("email")
    return Said(
        *("create_or_update_person", person, fields, held_back, holds),
        object_key=key,
        relationship=meant(relationship),
    )


def track(who: str | None, event: str, action: str = "track_event", **more: Any) -> Said:
    """An event, or what an event of this name does."""
    fields = {"type": "track", "userId": who, "event": event, "properties": more.pop("properties", {})}
    for name in ("anonymousId", "context"):
        if name in more:
            fields[name] = more.pop(name)
    return Said(action, who, fields, **more)


def device(who: str, event: str, token: str | None, kind: str, version: str | None = None) -> Said:
    """A device that is used, or deleted."""
    context: dict[str, Any] = {"device": {"token": token, "type": kind}}
    if version:
        context["app"] = {"version": version}
    platform = {"iOS": "ios", "iPadOS": "ios"}.get(kind, kind)
    holds = {"app_version": version} if version else {}
    deletes = event in ("Device Deleted", "Application Uninstalled")
    return track(
        *(who, event, "delete_device" if deletes else "create_or_update_device"),
        context=context,
        held_back=None if token else "missing_token",
        device=(token or "", platform, holds),
    )


def group(who: str, key: tuple[str, str | None], traits: Attributes, relationship: Attributes) -> Said:
    """An object's attributes, and that the person belongs to it."""
    kind, name = key
    says = written(traits) | {"relationshipAttributes": written(relationship)}
    if kind != "1":
        says["objectTypeId"] = kind
    return Said(
        *("create_or_update_object", who, {"type": "group", "userId": who, "groupId": name, "traits": says}),
        held_back=None if name else "missing_object_id",
        object_key=(kind, name or ""),
        object_attributes=meant(traits),
        relationship=meant(relationship),
    )


def subscriber(draw: Random, number: int) -> Iterator[Said]:
    """Signs up, looks around, takes another plan; a null is a value."""
    who = user(number)
    traits = {"email": address(number), "plan": "trial", "city": draw.choice(("Oslo", "Bergen"))}
    yield identify(who, traits, created=Dated("2025-11-30T08:00:00+01:00", 1764486000))
    for _ in range(draw.randint(1, 3)):
        yield track(who, draw.choice(("Plan Viewed", "Report Opened")), properties={"n": draw.randint(1, 9)})
    page = {"type": "page", "userId": who, "name": "Plans", "properties": {"url": "https://example.com/p"}}
    yield Said("track_page_view", who, page)
    yield Said("track_screen_view", who, {"type": "screen", "userId": who, "name": "Home"})
    yield identify(who, {"plan": "team", "city": None, "renews_on": Dated("2026-12-01", 1796083200)})


def visitor(draw: Random, number: int) -> Iterator[Said]:
    """Is nobody until they sign in."""
    who, visit = user(number), f"anon-{number}"
    page = {"type": "page", "anonymousId": visit, "properties": {"url": "https://example.com/"}}
    yield Said("track_page_view", None, page)
    yield identify(None, {"plan": "none"}, anonymous=visit, held_back="anonymous_identify")
    content = {"actionType": "viewed_content", "contentId": draw.randint(1, 9)}
    yield track(
        *(None, "Report Content Event", "report_content_event"), properties=content, anonymousId=visit
    )
    yield identify(who, {"email": address(number), "plan": "free"}, anonymous=visit)
    yield track(who, "Plan Viewed", anonymousId=visit)


def phone(draw: Random, number: int) -> Iterator[Said]:
    """Uses two devices and gives one away."""
    who = user(number)
    yield device(who, "Application Installed", f"token-a-{number}", "iPadOS", "4.1")
    yield device(who, "Device Created or Updated", f"token-b-{number}", "android")
    yield device(who, "Application Opened", None, "iOS")
    yield device(who, "Application Opened", f"token-a-{number}", "iOS", draw.choice(("4.2", "4.3")))
    yield device(who, "Device Deleted", f"token-b-{number}", "android")


def member(draw: Random, number: int) -> Iterator[Said]:
    """Belongs to an account that others belong to as well."""
    who, key = user(number), ("1", f"account-{number % SHARED_OBJECTS}")
    since = Dated("2026-01-02T03:04:05Z", 1767323045)
    yield identify(
        who, {"email": address(number)}, object_key=key, relationship={"role": "guest", "since": since}
    )
    yield group(who, key, {"name": f"Account {number % SHARED_OBJECTS}", "seats": draw.randint(1, 9)}, {})
    yield group(who, key, {"seats": draw.randint(10, 99)}, {"role": "owner"})
    yield group(who, ("1", None), {"name": "nowhere"}, {})


def leaver(draw: Random, number: int) -> Iterator[Said]:
    """Leaves one object and joins another, of another type."""
    who, left, new = user(number), ("1", f"account-{number % SHARED_OBJECTS}"), ("2", f"course-{number}")
    yield group(who, left, {}, {"role": "member"})
    yield group(who, new, {"title": draw.choice(("Copy", "SQL"))}, {"seat": 1})
    gone = {"objectId": left[1]}
    yield track(*(who, "Relationship Deleted", "delete_relationship"), properties=gone, object_key=left)


def merged(draw: Random, number: int) -> Iterator[Said]:
    """Was a lead with an id of its own; what is said of who stays wins, and the old id comes back."""
    who, lead = user(number), f"lead-{number}"
    yield identify(lead, {"plan": "lead", "source": draw.choice(("ad", "fair"))})
    yield device(lead, "Application Opened", f"token-l-{number}", "android", "1.0")
    yield identify(who, {"email": address(number), "plan": "team"})
    yield identify(lead, {"plan": "late lead", "score": draw.randint(1, 99)})
    alias = {"type": "alias", "userId": who, "previousId": lead}
    yield Said("merge_people", who, alias, merged=lead)
    yield Said("merge_people", who, alias | {"previousId": who}, "merged_with_itself")
    yield track(lead, "Plan Viewed")


def deleted(draw: Random, number: int) -> Iterator[Said]:
    """Is deleted with their devices and memberships; half of them come back."""
    who, key = user(number), ("1", f"account-{number % SHARED_OBJECTS}")
    yield identify(who, {"email": address(number), "plan": "team", "city": "Oslo"})
    yield device(who, "Application Opened", f"token-d-{number}", "iOS")
    yield group(who, key, {}, {"role": "member"})
    yield track(who, "User Deleted", "delete_person")
    if draw.random() < 0.5:
        yield identify(who, {"plan": "again"})


def suppressed(draw: Random, number: int) -> Iterator[Said]:
    """Takes nothing until unsuppressed, as half of them are."""
    who = user(number)
    yield identify(who, {"email": address(number), "plan": "team"})
    yield track(who, "User Suppressed", "suppress_person")
    yield identify(who, {"plan": "ignored"})
    if draw.random() < 0.5:
        yield track(who, "User Unsuppressed", "unsuppress_person")
        yield identify(who, {"plan": "back"})


def guest(draw: Random, number: int) -> Iterator[Said]:
    """Is known by address alone."""
    mail = f"guest-{number}@example.org"
    yield identify(None, {"email": mail, "plan": "guest"})
    yield identify(None, {"email": mail.title(), "visits": draw.randint(1, 9)})


def two_names(draw: Random, number: int) -> Iterator[Said]:
    """Is named by id, and later by address."""
    yield identify(user(number), {"email": address(number), "plan": "free"})
    yield identify(None, {"email": address(number), "points": draw.randint(1, 99)})


def careless(_: Random, number: int) -> Iterator[Said]:
    """Says what cannot be sent."""
    who = user(number)
    yield identify(who, {"plan": "free"})
    yield identify(who, {"plan": "huge", "note": LONG}, held_back="value_too_long")
    yield identify(who, {"plan": "elsewhere"}, integrations={"All": False}, held_back="switched_off")
    yield track(None, "User Deleted", "delete_person", held_back="no_identifier")
    many = {f"a{place}": place for place in range(301)}
    yield identify(who, many, held_back="too_many_attributes")
    yield identify(who, {f"b{place}": place for place in range(200)})
    other = {f"c{place}": place for place in range(200)}
    yield identify(who, {"plan": "full", **other}, held_back="too_many_attributes")
    yield identify(who, {"plan": "paid", "b0": "known"})
    yield identify(who, {"plan": "fuller", "one_more": 1}, held_back="too_many_attributes")


def reporter(_: Random, number: int) -> Iterator[Said]:
    """Reports deliveries, and closes an object."""
    key = ("1", f"closed-{number}")
    for metric, held_back in (("opened", None), ("seen", "unknown_metric")):
        said = {"deliveryId": f"delivery-{number}", "metric": metric}
        yield track(
            *(None, "Report Delivery Event", "report_delivery_event"), properties=said, held_back=held_back
        )
    yield group(user(number), key, {"name": "Closed"}, {})
    yield track(*(None, "Object Deleted", "delete_object"), properties={"objectId": key[1]}, object_key=key)


STORIES: tuple[Callable[[Random, int], Iterator[Said]], ...] = (
    *(subscriber, visitor, phone, member, merged, deleted),
    *(leaver, suppressed, guest, two_names, careless, reporter),
)


def plan_calls(plan: Plan, stories: int) -> list[Call]:
    """All source calls of a simulation of so many journeys, in order."""
    draw = Random(f"source calls {plan.seed}")
    there = max(stories // 3, 20) + 1
    wanted = max(LEAST_PEOPLE, min(plan.calls // PEOPLE_OF_CALLS, MOST_PEOPLE))
    calls: list[Call] = []
    for place, number in enumerate(sorted(draw.sample(range(there), min(there, wanted)))):
        story = STORIES[place % len(STORIES)]
        said = list(story(draw, number))
        moments = sorted(draw.sample(range(plan.days * DAY_MS), len(said)))
        for at, each in zip(moments, said, strict=True):
            message_id = f"{story.__name__}-{number}-{draw.getrandbits(48):012x}"
            calls.append(Call(plan.start * 1_000 + at, message_id, story.__name__, each))
    return sorted(calls, key=lambda call: (call.at, call.message_id, call.said.action))
