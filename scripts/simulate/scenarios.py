"""The scenarios: every kind of journey that the simulation has, and how often."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from scripts.simulate.scenario import Call, Delivery, Message, Scenario, delivery, message, single, unmatched
from scripts.simulate.world import DAY, TEMPLATES

HOUR = 3_600
# More digits than a double holds.
LONG_ACTION = 1_234_567_890_123_456_789


def plain() -> list[Scenario]:
    """Plain journeys; their shares are what the hard cases leave."""
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
        single(
            "action_of_19_digits",
            RARE,
            "cart-push",
            message("cart-push", action=LONG_ACTION),
            deliveries=(Delivery("cart-push", LONG_ACTION),),
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
    """Control arms that JustAI never sees, and mail without JustAI."""
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
        "legacy_newsletter": (0.002, replace(loose, kind="legacy", campaign=3)),
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


def shares(values: Sequence[Scenario]) -> list[float]:
    """Cumulative shares, the last one exactly 1."""
    total, result = 0.0, []
    for value in values:
        total += value.share
        result.append(total)
    return [*result[:-1], 1.0]
