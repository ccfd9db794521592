"""The simulated world that does not depend on the seed: templates, copies, their texts, and the scenarios.

A scenario states what happens in one journey and, beside it, what the warehouse must make of it: which call
a delivery ends with, which delivery a message belongs to and by which rule. The truth tables are these
statements, multiplied; nothing in them is found by matching.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

HOUR, DAY = 3_600, 86_400
# Control characters and separators that break readers which split text at more than line feeds.
ODD_TEXT = "tab\tfeed\nseparator\u2028next\u0085\N{FULLWIDTH LATIN CAPITAL LETTER A}\N{GRINNING FACE} \\ </p>"


@dataclass(frozen=True)
class Template:
    """A template of JustAI, with the message that Customer.io sends after its call.

    `call_action` is the action id in the call log; `action` and `parent` are those on the message's events,
    `method` the rule that ties the two (None: no rule does). `settings` false leaves the template out of both
    seeds.
    """

    name: str
    channel: str
    campaign: int
    arms: int
    call_action: int
    action: int
    method: str | None
    parent: int | None = None
    key_metric: str = "clicked"
    control_arm: bool = False
    settings: bool = True
    share: float = 0.0


TEMPLATES = (
    Template("welcome-email", "email", 101, 5, 1010, 1011, "action_map", control_arm=True, share=0.30),
    Template("plan-nudge", "email", 102, 4, 1020, 1021, "action_map", key_metric="converted", share=0.20),
    Template(
        "cart-push", "push", 103, 3, 1031, 1031, "direct", key_metric="opened", control_arm=True, share=0.10
    ),
    Template("trial-sms", "sms", 104, 3, 1040, 1041, "action_map", key_metric="converted", share=0.08),
    Template("feature-inapp", "in_app", 105, 4, 1050, 1051, "action_map", share=0.06),
    Template("ops-slack", "slack", 106, 3, 1060, 1061, "action_map", share=0.03),
    Template("order-whatsapp", "whatsapp", 107, 3, 1070, 1071, "action_map", key_metric="opened", share=0.05),
    Template("digest-headline", "email", 108, 3, 1080, 1084, "action_map", share=0.01),
    Template("digest-offer", "email", 108, 3, 1082, 1083, "action_map", share=0.01),
    Template("ghost-direct", "email", 109, 3, 1091, 1091, "direct", settings=False, share=0.04),
    Template("ghost-webhook", "email", 110, 3, 1100, 1101, None, settings=False, share=0.02),
    Template("split-parent", "email", 111, 3, 1110, 1119, "parent_direct", parent=1110, share=0.03),
    Template("split-map", "email", 112, 3, 1120, 1122, "parent_map", parent=1121, share=0.03),
    Template("clash-hook", "email", 113, 3, 1130, 1131, None, share=0.005),
    Template("cart-banner", "in_app", 103, 3, 1035, 1031, "action_map", share=0.005),
)
TEMPLATE = {template.name: template for template in TEMPLATES}

# template, campaign_id, role, action_id
ACTIONS: tuple[tuple[str, int | None, str, int], ...] = (
    ("welcome-email", 101, "webhook", 1010),
    ("welcome-email", 101, "message", 1011),
    ("plan-nudge", 102, "webhook", 1020),
    ("plan-nudge", 102, "message", 1021),
    ("plan-nudge", 102, "message", 1022),
    ("plan-nudge", 102, "control", 1023),
    ("plan-nudge", 102, "control", 1024),
    ("cart-push", 103, "message", 1031),
    ("trial-sms", None, "webhook", 1040),
    ("trial-sms", None, "message", 1041),
    ("trial-sms", None, "control", 1043),
    ("feature-inapp", 105, "webhook", 1050),
    ("feature-inapp", 105, "webhook", 1052),
    ("feature-inapp", 105, "message", 1051),
    ("ops-slack", 106, "webhook", 1060),
    ("ops-slack", 106, "message", 1061),
    ("order-whatsapp", 107, "message", 1071),
    ("digest-headline", 108, "webhook", 1080),
    ("digest-headline", 108, "message", 1081),
    ("digest-headline", 108, "message", 1084),
    ("digest-offer", 108, "webhook", 1082),
    ("digest-offer", 108, "message", 1081),
    ("digest-offer", 108, "message", 1083),
    ("split-map", 112, "webhook", 1120),
    ("split-map", 112, "message", 1121),
    # The webhook row names a campaign that no event carries, so only events without campaign_id can match.
    ("clash-hook", 999, "webhook", 1130),
    ("clash-hook", None, "message", 1131),
    ("cart-banner", 103, "webhook", 1035),
    ("cart-banner", None, "message", 1031),
)

# What a metric's name counts as: itself, or as given here. "forwarded" is in no catalogue.
KNOWN_BUT_NOT_COUNTED = ("drafted",)
UNKNOWN_METRICS = ("forwarded",)
METRICS = (
    "attempted",
    "sent",
    "delivered",
    "opened",
    "human_opened",
    "clicked",
    "human_clicked",
    "converted",
    "unsubscribed",
    "bounced",
    "dropped",
    "spammed",
    "failed",
    "undeliverable",
    "replied",
    "deferred",
)

# Contents a copy goes through, in order; a letter stands for one text.
HISTORIES: dict[tuple[str, int], str] = {
    ("welcome-email", 1): "AB",
    ("welcome-email", 2): "ABA",
    ("plan-nudge", 0): "ABCA",
    ("plan-nudge", 1): "ABCB",
    ("plan-nudge", 2): "ABAB",
    ("cart-push", 1): "AB",
    ("trial-sms", 2): "ABA",
    ("feature-inapp", 0): "ABC",
    ("feature-inapp", 1): "ABA",
    ("feature-inapp", 2): "ABCDA",
    ("order-whatsapp", 1): "AB",
    ("split-map", 0): "AB",
}
# From this share of the days on, the same text is served under another template_id: a new version.
MOVED = ("ghost-direct", 1, 0.6, "ghost-direct-2")


@dataclass(frozen=True)
class Content:
    """One text of a copy: its template, canonical vars, hash, and the ways a call may spell it."""

    template_id: str
    canonical: str
    content_hash: str
    renderings: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """One variant: `versions` holds (share of the days after which it is served, content), in order."""

    template: str
    arm: int
    copy_id: str
    effect: float
    versions: tuple[tuple[float, Content], ...]


def canonical(value: Mapping[str, object]) -> str:
    """JSON text with keys sorted by code point, no white space, UTF-8, null members dropped."""
    kept = {key: value[key] for key in sorted(value) if value[key] is not None}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)


def renderings(name: str, value: Mapping[str, object]) -> tuple[str, ...]:
    """Ways to write the member `"name":value` (with a leading comma) that all mean the same map."""
    if not value:
        return (f',"{name}":{{}}', f',"{name}":null', "", f',"{name}":{{ }}', f',"{name}":{{"unset":null}}')
    plain = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    backwards = json.dumps(dict(reversed(list(value.items()))), ensure_ascii=False)
    escaped = json.dumps(dict(sorted(value.items())), separators=(",", ":")).replace("/", "\\/")
    spaced = json.dumps({**value, "unset": None}, separators=(" ,  ", " : "), ensure_ascii=False)
    return (
        f',"{name}":{plain}',
        f',"{name}":{backwards}',
        f',"{name}":{escaped}',
        f',"{name}": {spaced} ',
        f',"{name}":{json.dumps(plain, ensure_ascii=False)}',
    )


def content(template: str, arm: int, letter: str, template_id: str | None = None) -> Content:
    """The text `letter` of one variant; twins (welcome-email, arms 3 and 4) share theirs."""
    voice = ("Plain", "Bold", "Warm", "Brief", "Brief")[arm]
    text: dict[str, object] = {
        "subject": f"{voice} news, edition {letter}: {template.replace('-', ' ')}",
        "preheader": "" if arm == 2 else f"Zwei Minuten, kein Anruf: “{letter}”",
        "body": f"<p>{voice} words about your {template}, as of edition {letter}.</p><p>Bis später!</p>",
        "CTA": "Go",
    }
    match template, arm:
        case "ghost-webhook", 2:
            text = {}
        case "ops-slack", 1:
            text |= {"count": 3, "urgent": True, "steps": [1, 2], "card": {"z": 1, "a": "b"}}
        case "welcome-email", 1:
            text |= {"überschrift": ODD_TEXT}
        case "split-map", _:
            # A switch of template_id or an edit of one obscure key must make a version too.
            text = {"body": text["body"], "footer": letter, "subject": f"{voice} news"}
    name = template_id or template
    body = canonical(text)
    digest = hashlib.md5(f"{name}\n{body}".encode()).hexdigest()
    return Content(name, body, digest, renderings("vars", text))


def copies() -> tuple[Copy, ...]:
    """Every variant of every template, with its history of contents."""
    return tuple(variant(template, arm) for template in TEMPLATES for arm in range(template.arms))


def variant(template: Template, arm: int) -> Copy:
    """One copy of a template, with its id, effect and history of contents."""
    letters = HISTORIES.get((template.name, arm), "A")
    versions = tuple(
        (0.93 * (place + arm / 50) / len(letters) if place else -1.0, content(template.name, arm, letter))
        for place, letter in enumerate(letters)
    )
    if (template.name, arm) == MOVED[:2]:
        versions += ((MOVED[2], content(template.name, arm, letters[-1], MOVED[3])),)
    copy_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://copymart.example/{template.name}/{arm}"))
    effect = (0.85, 1.0, 1.25, 1.1, 0.95)[arm]
    return Copy(template.name, arm, copy_id, effect, versions)


PERSONAS = ("planner", 'big "spender"', "größe-früh", "")
AGES = ("18-24", "35-44", "55+")
PEOPLE = [{}, *({"persona": who, "age": age} for who in PERSONAS for age in AGES)]


def bandit(day: float, template: Template) -> list[float]:
    """Cumulative traffic shares of the arms at `day` (0 to 1): even, then drawn to the better arms."""
    effects = [variant(template, arm).effect for arm in range(template.arms)]
    weights = [2.718 ** (12 * day * (effect - 1)) for effect in effects]
    if template.control_arm:
        weights[0] = 0.15 / 0.85 * sum(weights[1:])
    total = sum(weights)
    return [sum(weights[: arm + 1]) / total for arm in range(template.arms)]


@dataclass(frozen=True)
class Delivery:
    """A (journey, action) that JustAI is asked for; without journey or action it stands for one call."""

    template: str
    action: int | None = None
    journey: bool = True


@dataclass(frozen=True)
class Call:
    """One call, `lo` to `hi` seconds after the journey's start.

    `copy` is "pick" (the delivery's bandit draw), "other" (another arm) or an arm number. `final` says that
    this call decides the delivery; of several with `tie` at one second, the order of the rules decides.
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


def plain() -> list[Scenario]:
    """Journeys without trouble; their shares are what the hard cases leave."""
    scenarios = [single("plain", template.share, template.name) for template in TEMPLATES]
    extra = {
        "plan-nudge": (
            message("plan-nudge"),
            message("plan-nudge", channel="push", action=1022, lo=2 * DAY, hi=3 * DAY, chance=0.35),
        )
    }
    return [replace(s, messages=extra.get(s.deliveries[0].template, s.messages)) for s in scenarios]


RARE = 0.0012
USUAL = ("welcome-email", "cart-push", "split-map")


def calls_again() -> list[Scenario]:
    """Retries, ties and batches: several calls, one or more deliveries."""
    scenarios = []
    for name in (*USUAL, "trial-sms", "ghost-direct"):
        again = message(name, lo=4_000, hi=9_000)
        both = (delivery(name),)
        first = Call(final=False)
        scenarios += [
            Scenario(f"retry_same/{name}", 0.006, both, (first, Call(lo=20, hi=3_600)), (again,)),
            Scenario(
                f"retry_other/{name}", 0.006, both, (first, Call(lo=20, hi=3_600, copy="other")), (again,)
            ),
            Scenario(
                f"retry_midnight/{name}",
                RARE,
                both,
                (first, Call(lo=30, hi=60, copy="other")),
                (again,),
                "day_end",
            ),
            Scenario(
                f"retry_next_day/{name}",
                RARE,
                both,
                (first, Call(lo=DAY, hi=DAY + HOUR, copy="other")),
                (message(name, lo=600, hi=1_200),),
            ),
            Scenario(
                f"retry_back/{name}",
                RARE,
                both,
                (first, Call(lo=60, hi=90, copy="other", final=False), Call(lo=120, hi=2 * DAY)),
                (again,),
            ),
        ]
    storm = tuple(
        Call(lo=300 * n, hi=300 * n + 200, copy="other" if n % 3 else "pick", final=n == 10)
        for n in range(11)
    )
    tied = (delivery("welcome-email"),)
    mail = (message("welcome-email"),)
    tie = Call(tie=True)
    ties = {
        "copy": (tie, replace(tie, copy="other")),
        "twin": (replace(tie, copy=3), replace(tie, copy=4)),
        "attrs": (tie, replace(tie, attrs="other")),
        "user": (tie, replace(tie, user=False)),
        "campaign": (tie, replace(tie, campaign=False)),
        "late": (
            Call(final=False, lo=-900, hi=-60, copy="other"),
            tie,
            replace(tie, copy="other"),
            replace(tie, attrs="other"),
        ),
        "three": (tie, replace(tie, copy="other"), replace(tie, copy="other", user=False)),
    }
    scenarios += [Scenario(f"tie_{key}", 0.002, tied, calls, mail) for key, calls in ties.items()]
    digest = (delivery("digest-headline"), delivery("digest-offer"))
    headline, offer = message("digest-headline"), message("digest-offer", 1)
    shared = replace(offer, action=1081)
    return [
        *scenarios,
        Scenario("retry_storm", RARE, tied, storm, (message("welcome-email", lo=4_000, hi=9_000),)),
        Scenario("retry_without_user", RARE, tied, (Call(final=False), Call(lo=60, hi=90, user=False)), mail),
        Scenario(
            "batch",
            0.004,
            digest,
            (Call(), Call(delivery=1)),
            (headline, replace(offer, lo=DAY, hi=DAY + HOUR)),
        ),
        Scenario(
            "shared_message",
            0.003,
            digest,
            (Call(), Call(delivery=1, lo=20, hi=90)),
            (replace(shared, lo=91),),
        ),
        Scenario(
            "shared_message_between",
            RARE,
            digest,
            (Call(), Call(delivery=1, lo=DAY, hi=2 * DAY)),
            (replace(shared, owner=0),),
        ),
        Scenario(
            "shared_message_ids_later",
            RARE,
            digest,
            (Call(), Call(delivery=1, lo=HOUR, hi=HOUR)),
            (replace(shared, owner=0, lo=HOUR - 5, hi=HOUR - 5, sure=True, variant="strip_first"),),
        ),
        Scenario(
            "shared_message_tie",
            0.002,
            digest,
            (Call(), Call(delivery=1)),
            (replace(shared, owner=0, alternative=1),),
        ),
        Scenario(
            "batch_one_action",
            RARE,
            (delivery("ghost-direct"),),
            (tie, replace(tie, template="ghost-webhook")),
            (message("ghost-direct"),),
        ),
        Scenario(
            "edit_instant",
            0.003,
            (delivery("feature-inapp"), Delivery("feature-inapp", 1052)),
            (Call(version="before"), Call(delivery=1)),
            (message("feature-inapp", alternative=1),),
            "edit",
        ),
    ]


def reentries() -> list[Scenario]:
    """Several deliveries of one journey; each message states which of them it belongs to."""
    two = (delivery("feature-inapp"), Delivery("feature-inapp", 1052))
    app = message("feature-inapp")
    push, banner = delivery("cart-push"), delivery("cart-banner")
    nudge, ghost = delivery("plan-nudge"), delivery("ghost-direct")
    return [
        Scenario(
            "reentry_two",
            0.004,
            two,
            (Call(), Call(delivery=1, lo=3 * DAY, hi=4 * DAY)),
            (app, replace(app, owner=1, lo=4 * DAY + 5, hi=5 * DAY)),
        ),
        Scenario(
            "reentry_before_both",
            RARE,
            two,
            (Call(), Call(delivery=1, lo=HOUR, hi=2 * HOUR)),
            (replace(app, lo=-HOUR, hi=-5),),
        ),
        Scenario(
            "reentry_retried",
            RARE,
            two,
            (
                Call(final=False),
                Call(delivery=1, lo=DAY, hi=DAY + HOUR),
                Call(lo=2 * DAY, hi=2 * DAY + HOUR, copy="other"),
            ),
            (
                replace(app, owner=1, lo=DAY + 2 * HOUR, hi=DAY + 9 * HOUR),
                replace(app, owner=1, lo=3 * DAY, hi=4 * DAY),
            ),
        ),
        Scenario(
            "reentry_only_one_in_range",
            RARE,
            two,
            (Call(), Call(delivery=1, lo=33 * DAY, hi=34 * DAY)),
            (replace(app, owner=1, lo=31 * DAY, hi=32 * DAY),),
        ),
        Scenario(
            "reentry_same_second", 0.002, two, (Call(), Call(delivery=1)), (replace(app, alternative=1),)
        ),
        Scenario(
            "reentry_called_at_first_event",
            RARE,
            two,
            (Call(), Call(delivery=1, lo=HOUR, hi=HOUR)),
            (
                replace(app, owner=1, lo=HOUR, hi=HOUR, sure=True),
                replace(app, lo=HOUR - 1, hi=HOUR - 1, sure=True),
            ),
        ),
        Scenario(
            "direct_before_map",
            RARE,
            (push, banner),
            (Call(), Call(delivery=1, lo=30, hi=60)),
            (message("cart-push", lo=90),),
        ),
        Scenario(
            "first_match_decides",
            RARE,
            (nudge, ghost),
            (Call(), Call(delivery=1, lo=30, hi=60)),
            (message("plan-nudge", lo=90, sure=True, variant="none", later_action=1091),),
        ),
        Scenario(
            "map_before_parent_direct",
            RARE,
            (nudge, ghost),
            (Call(), Call(delivery=1, lo=30, hi=60)),
            (message("plan-nudge", parent=1091, lo=90),),
        ),
        Scenario(
            "parent_direct_before_parent_map",
            RARE,
            (push, banner),
            (Call(), Call(delivery=1, lo=30, hi=60)),
            (message("cart-push", action=1039, parent=1031, method="parent_direct", lo=90),),
        ),
    ]


def timing() -> list[Scenario]:
    """Messages at and beyond the bounds of the search and of the engagement window."""
    scenarios = []
    for name in USUAL:
        at = {
            "early": message(name, lo=-2 * HOUR, hi=-5),
            "delayed": message(name, lo=6 * HOUR, hi=3 * DAY),
            "lookback_edge": message(name, lo=30 * DAY, hi=30 * DAY, sure=True),
            "lookback_edge_without_ids": message(
                name, lo=30 * DAY, hi=30 * DAY, sure=True, variant="strip_first"
            ),
            "lookback_over": unmatched(name, "call_out_of_range", lo=30 * DAY + 1, hi=30 * DAY + 1),
            "skew_edge": message(name, lo=-7 * DAY, hi=-7 * DAY, sure=True),
            "skew_over": unmatched(name, "call_out_of_range", lo=-7 * DAY - 1, hi=-7 * DAY - 1),
            "window_edge": message(name, sure=True, edge=True),
        }
        shares = {"early": 0.006, "delayed": 0.03}
        scenarios += [single(key, shares.get(key, RARE), name, at_message) for key, at_message in at.items()]
        second = message(name, lo=DAY, hi=2 * DAY, sure=True, edge=True)
        scenarios.append(single("two_messages", 0.002, name, message(name, sure=True), second))
    retried = (Call(final=False), Call(lo=5 * DAY, hi=5 * DAY))
    late = (Call(final=False), Call(lo=8 * DAY, hi=8 * DAY + HOUR))
    mail, hook = (delivery("welcome-email"),), message("welcome-email", lo=33 * DAY, hi=34 * DAY)
    return [
        *scenarios,
        Scenario("retry_into_range", RARE, mail, retried, (hook,)),
        Scenario(
            "retry_out_of_range",
            RARE,
            mail,
            late,
            (unmatched("welcome-email", "call_out_of_range", lo=60, hi=90),),
        ),
    ]


def identities() -> list[Scenario]:
    """Messages with ids missing or at odds with the map."""
    nudge, sms = message("plan-nudge", sure=True), message("trial-sms", sure=True)
    ids = [
        single(f"ids_{name}_{variant}", RARE, name, message(name, sure=True, variant=variant))
        for name in ("plan-nudge", "cart-push", "split-parent", "split-map")
        for variant in ("strip_first", "strip_later", "campaign_first", "wrong_action_first")
    ]
    hook = message("clash-hook")
    return [
        *ids,
        single(
            "map_campaign_wrong", RARE, "plan-nudge", unmatched("plan-nudge", "map_disagrees", campaign=902)
        ),
        single("map_campaign_healed", RARE, "plan-nudge", replace(nudge, variant="wrong_campaign_first")),
        single("map_campaign_free", RARE, "trial-sms", replace(sms, campaign=902)),
        single("event_campaign_missing", RARE, "plan-nudge", replace(nudge, campaign=None)),
        single("direct_campaign_wrong", RARE, "cart-push", message("cart-push", campaign=902)),
        single("broadcast", 0.004, "trial-sms", replace(sms, campaign=None, kind="broadcast")),
        single("hook_campaign_wrong", RARE, "clash-hook", replace(hook, sure=True)),
        single(
            "hook_campaign_missing",
            RARE,
            "clash-hook",
            replace(hook, campaign=None, owner=0, method="action_map", reason=None, kind="broadcast"),
        ),
        single(
            "hook_not_listed",
            RARE,
            "plan-nudge",
            unmatched("plan-nudge", "map_disagrees"),
            deliveries=(Delivery("plan-nudge", 1029),),
        ),
        single("message_of_another_template", RARE, "plan-nudge", unmatched("trial-sms", "map_disagrees")),
        single("action_missing", RARE, "plan-nudge", unmatched("plan-nudge", "no_action_id", action=None)),
        single(
            "action_unknown", RARE, "plan-nudge", unmatched("plan-nudge", "action_not_mapped", action=990_002)
        ),
        single(
            "journey_missing_in_events",
            RARE,
            "plan-nudge",
            unmatched("plan-nudge", "no_journey_id", journey=False),
        ),
        single("parent_only", RARE, "split-parent", message("split-parent", action=None)),
        single("numeric_journey", 0.002, "plan-nudge", nudge, journey_id="number"),
        single("odd_journey", 0.002, "plan-nudge", nudge, journey_id="odd"),
        single("preview", 0.002, "welcome-email", messages=()),
        single(
            "deliver_api",
            0.01,
            "ghost-webhook",
            Message("email", None, None, reason="no_journey_id", kind="transactional", journey=False),
            deliveries=(Delivery("ghost-webhook", None, journey=False),),
        ),
        single(
            "call_without_journey",
            0.002,
            "welcome-email",
            unmatched("welcome-email", "no_journey_id", journey=False),
            deliveries=(Delivery("welcome-email", 1010, journey=False),),
        ),
        single(
            "call_without_action",
            0.002,
            "order-whatsapp",
            unmatched("order-whatsapp", "no_call_in_journey"),
            deliveries=(Delivery("order-whatsapp", None),),
        ),
    ]


def without_calls() -> list[Scenario]:
    """Control arms that JustAI never sees, and mail that has nothing to do with it."""
    control = Message("email", 1023, 102, control="plan-nudge")
    text = Message("sms", 1043, 104, control="trial-sms")
    other = Message("email", 3_000_000_007, 200, reason="no_call_in_journey")
    loose = Message("email", None, None, reason="no_journey_id", journey=False)
    nudge = (delivery("plan-nudge"),)
    alone = {
        "control": (0.04, control),
        "control_second_action": (0.01, replace(control, action=1024)),
        "control_sms": (0.015, text),
        "control_any_campaign": (RARE, replace(text, campaign=902)),
        "control_without_journey": (RARE, replace(control, journey=False)),
        "control_ids_later": (RARE, replace(control, sure=True, variant="strip_first")),
        "control_first_action_decides": (
            RARE,
            replace(control, sure=True, variant="none", later_action=1043),
        ),
        "control_window_edge": (RARE, replace(control, sure=True, edge=True)),
        "control_campaign_wrong": (
            RARE,
            replace(control, control=None, reason="no_call_in_journey", campaign=902),
        ),
        "control_as_parent": (
            RARE,
            replace(control, control=None, reason="no_call_in_journey", action=990_003, parent=1023),
        ),
        "other_campaign": (0.01, other),
        "other_campaign_ids_later": (RARE, replace(other, sure=True, variant="strip_first")),
        "newsletter": (0.01, replace(loose, kind="newsletter")),
        "transactional": (0.005, replace(loose, kind="transactional")),
        "legacy_newsletter": (0.002, replace(loose, kind="legacy")),
    }
    return [
        *(Scenario(name, share, messages=(only,)) for name, (share, only) in alone.items()),
        Scenario("customer_events", 0.002),
        Scenario("control_after_call", RARE, nudge, (Call(),), (replace(control, lo=60),)),
        Scenario(
            "control_action_called",
            RARE,
            (Delivery("plan-nudge", 1024),),
            (Call(),),
            (message("plan-nudge", action=1024, method="direct"),),
        ),
    ]


def scenarios() -> tuple[Scenario, ...]:
    """All scenarios; their shares add up to one, the plain ones first."""
    hard = list(chain(calls_again(), reentries(), timing(), identities(), without_calls()))
    bulk = plain()
    left = 1 - sum(scenario.share for scenario in hard)
    total = sum(scenario.share for scenario in bulk)
    return (*(replace(scenario, share=scenario.share * left / total) for scenario in bulk), *hard)


def settings_rows() -> list[tuple[str, str, str, str, str, int]]:
    """Rows of scripts/simulate/sample_seeds/template_settings.csv for the simulator's templates."""
    return [
        (
            template.name,
            template.name.replace("-", " ").capitalize(),
            template.channel,
            template.key_metric,
            variant(template, 0).copy_id if template.control_arm else "",
            1_000,
        )
        for template in TEMPLATES
        if template.settings
    ]


def edits(days: int, start: int) -> list[tuple[int, int, int]]:
    """(copy number, version number counted from 0, unix second) of every edit, versions in order."""
    found = []
    for number, copy in enumerate(copies()):
        for version, (_, (share, _)) in enumerate(pairwise(copy.versions), start=1):
            found.append((number, version, start + round(share * days * DAY)))
    return found


def shares(values: Sequence[Scenario]) -> list[float]:
    """Cumulative shares, the last one exactly 1."""
    total, result = 0.0, []
    for value in values:
        total += value.share
        result.append(total)
    return [*result[:-1], 1.0]
