"""The simulated world that does not depend on the seed: templates, copies and their texts."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

DAY = 86_400
# What an inside control has of its template's traffic.
CONTROL_SHARE = 0.15
# Control characters and separators that break readers which split lines at more than line feeds.
ODD_TEXT = "tab\tfeed\nseparator\u2028next\u0085\N{FULLWIDTH LATIN CAPITAL LETTER A}\N{GRINNING FACE} \\ </p>"


@dataclass(frozen=True)
class Template:
    """A template of JustAI, with the message that Customer.io sends after its call.

    `call_action` is the action id in the call log; `action` and `parent` are those on the message's events,
    `method` the rule that matches the two (None: no rule). `settings` false leaves the template out of both
    seeds. The deliveries of `control_template` are the control arm.
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
    control_template: str | None = None
    settings: bool = True
    share: float = 0.0


TEMPLATES = (
    Template("welcome-email", "email", 101, 5, 1010, 1011, "action_map", control_arm=True, share=0.30),
    Template(
        *("plan-nudge", "email", 102, 4, 1020, 1021, "action_map"),
        key_metric="converted",
        control_template="digest-offer",
        share=0.20,
    ),
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
    Template(
        *("split-parent", "email", 111, 3, 1110, 1119, "parent_direct"),
        parent=1110,
        control_template="split-map",
        share=0.03,
    ),
    Template("split-map", "email", 112, 3, 1120, 1122, "parent_map", parent=1121, share=0.03),
    Template("clash-hook", "email", 113, 3, 1130, 1131, None, control_template="split-map", share=0.005),
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
KNOWN_BUT_NOT_COUNTED = ("drafted", "cio_subscription_preferences_changed")
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

# The contents of a copy, in order; a letter is one text.
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
    """Ways to write the member `"name":value` (with a leading comma) that all give the same map."""
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
        weights[0] = CONTROL_SHARE / (1 - CONTROL_SHARE) * sum(weights[1:])
    total = sum(weights)
    return [sum(weights[: arm + 1]) / total for arm in range(template.arms)]


def settings_rows() -> list[tuple[str, str, str, str, str, int, str, str]]:
    """Rows of scripts/simulate/sample_seeds/template_settings.csv for the simulator's templates."""
    return [
        (
            template.name,
            template.name.replace("-", " ").capitalize(),
            template.channel,
            template.key_metric,
            variant(template, 0).copy_id if template.control_arm else "",
            1_000,
            template.control_template or "",
            str(CONTROL_SHARE) if template.control_arm else "",
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
