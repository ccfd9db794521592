"""Which actions of a campaign belong to a JustAI template, by what the actions themselves say.

A webhook action that calls JustAI stores the answer as `jw_<template_id>`, and the message action behind it
writes that name in its Liquid. The order of a campaign's actions says nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_CALLS = ("/api/generate", "/api/batch-generate")
_MENTION = re.compile(r"\bjw_([\w-]+)")
# in a webhook's JSON body, also with escaped quotes, and in the query of a GET; Liquid there names none
_TEMPLATE = re.compile(
    r"(?<!\w)template_id\\?\"?\s*[:=]\s*(?:\\?\"(?P<quoted>[^\"\\{]+)\\?\"|(?P<bare>[\w.-]+)(?![^\s,}&#\"\\]))"
)

Calls = Mapping[tuple[str, int], Counter[int]]
"""Deliveries by template and campaign, for each action that the calls carry."""
Followed = Mapping[tuple[str, int, int, int], tuple[int, int]]
"""By template, campaign, action of the call and message action: the deliveries that this message followed,
and those that any message followed."""


@dataclass(frozen=True)
class Action:
    """An action of a campaign as the App API gives it; texts may be empty."""

    campaign_id: int
    action_id: int
    url: str = ""
    subject: str = ""
    preheader: str = ""
    body: str = ""

    @property
    def calls_justai(self) -> bool:
        """Whether it is a webhook to JustAI."""
        return any(path in self.url for path in _CALLS)

    @property
    def mentions(self) -> set[str]:
        """The templates, as Liquid names them, whose answer a message writes."""
        found = _MENTION.findall("\n".join((self.subject, self.preheader, self.body)))
        # Liquid strips spaces with - before its end: {{ jw_welcome-}}
        return {_liquid(name.rstrip("-")) for name in found}

    @property
    def templates(self) -> set[str]:
        """The templates for which a webhook asks."""
        found = _TEMPLATE.finditer(f"{self.body}\n{self.url}")
        return {(match["quoted"] or match["bare"]).strip() for match in found} - {""}


@dataclass(frozen=True)
class Claim:
    """An action of a template, with what speaks for it and how much of what is known agrees, 0 to 1."""

    template_id: str
    campaign_id: int
    role: str
    action_id: int
    share: float
    because: str


def claims(actions: Iterable[Action], calls: Calls, followed: Followed) -> list[Claim]:
    """The actions that belong to templates.

    What calls and messages did decides the share where there are any, else what the actions say. Where the
    calls carry the message's own action, the pair needs no row.
    """
    by_campaign: dict[int, list[Action]] = {}
    for action in actions:
        by_campaign.setdefault(action.campaign_id, []).append(action)
    found = (
        claim
        for campaign, of_campaign in by_campaign.items()
        for claim in _of_campaign(campaign, of_campaign, calls, followed)
    )
    # of two webhooks of its template, a message has the share of the one that it followed more often
    return sorted(
        found,
        key=lambda c: (c.template_id, c.campaign_id, c.role, c.action_id, -c.share, c.because),
    )


def _of_campaign(campaign: int, actions: list[Action], calls: Calls, followed: Followed) -> Iterator[Claim]:
    messages = [action for action in actions if not action.calls_justai and action.mentions]
    webhooks = [action for action in actions if action.calls_justai]
    for webhook in webhooks:
        templates = _templates_of(webhook, webhooks, messages, calls)
        for template in templates:
            behind = [message for message in messages if _liquid(template) in message.mentions]
            logged = calls.get((template, campaign), Counter())
            if any(logged[message.action_id] * 2 > logged.total() for message in behind):
                continue
            yield _webhook(template, webhook, len(templates), logged)
            for message in behind:
                yield _message(template, webhook, message, followed)


def _templates_of(webhook: Action, webhooks: list[Action], messages: list[Action], calls: Calls) -> list[str]:
    """The templates of a webhook: those in its body, else those of its calls, else the only one it can be."""
    if webhook.templates:
        return sorted(webhook.templates)
    logged = {
        template
        for (template, campaign), actions in calls.items()
        if campaign == webhook.campaign_id and actions[webhook.action_id]
    }
    if logged:
        return sorted(logged)
    mentioned = {name for message in messages for name in message.mentions}
    known = {template for template, _ in calls if _liquid(template) in mentioned}
    return sorted(known) if len(webhooks) == len(mentioned) == len(known) == 1 else []


def _webhook(template: str, webhook: Action, templates: int, logged: Counter[int]) -> Claim:
    said = f"{webhook.action_id} calls JustAI for it"
    if not logged.total():
        return Claim(template, webhook.campaign_id, "webhook", webhook.action_id, 1 / templates, said)
    own = logged[webhook.action_id]
    return Claim(
        template,
        webhook.campaign_id,
        "webhook",
        webhook.action_id,
        own / logged.total(),
        f"{said}; {own:,} of {logged.total():,} calls carry it ({own / logged.total():.0%})",
    )


def _message(template: str, webhook: Action, message: Action, followed: Followed) -> Claim:
    key = (template, message.campaign_id, webhook.action_id)
    said = f"{message.action_id} writes jw_{_liquid(template)}, as {webhook.action_id} stored it"
    total = max((any_message for pair, (_, any_message) in followed.items() if pair[:3] == key), default=0)
    if not total:
        share = 1 / len(message.mentions)
        return Claim(template, message.campaign_id, "message", message.action_id, share, said)
    own, _ = followed.get((*key, message.action_id), (0, total))
    because = f"{said}; it came next after {own:,} of {total:,} calls ({own / total:.0%})"
    return Claim(template, message.campaign_id, "message", message.action_id, own / total, because)


def _liquid(template: str) -> str:
    """A template's name as it stands in Liquid, where `-` may be written `_`."""
    return template.replace("-", "_").replace(".", "_").lower()
