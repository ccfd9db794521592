"""The web application that takes Customer.io's reporting webhooks.

Customer.io retries what is not answered 200, and waits an hour after a 500 but seconds after a 503; an event
that is refused for good blocks the ones behind it. So every signed body is kept and answered 200, whatever is
in it: landing says what is wrong with it.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from scripts.customerio.spool import Full, Spool

MAX_BODY_BYTES = 16 << 20
"""Of a longer body only so much is kept, which is no event any more."""
_SMALL_BYTES = 64 << 10
"""Bodies of this size, as events have, are always taken."""
MAX_LARGE_BYTES = 256 << 20
"""Bytes that larger bodies may hold together before their signatures are known: anybody could send them."""


def webhooks(
    spool: Spool,
    keys: Sequence[bytes],
    max_age: float | None,
    undelivered: Callable[[], int],
    max_large_bytes: int = MAX_LARGE_BYTES,
) -> ASGIApp:
    """Return the application. `max_age`: seconds that a signature's time may lie in the past, none if None.

    POST to any path takes an event; GET /health answers 200 while the log takes events; GET /metrics is for
    Prometheus. `undelivered` gives the number of segments that wait.
    """
    registry = CollectorRegistry()
    answered = Counter(
        "copymart_webhooks_total",
        "Requests by the status they were answered with.",
        ["status"],
        registry=registry,
    )
    received = Counter("copymart_webhook_bytes_total", "Bytes of events on the disk.", registry=registry)
    Gauge(
        "copymart_spool_bytes", "Bytes on the disk that were not delivered.", registry=registry
    ).set_function(lambda: spool.size)
    Gauge("copymart_spool_segments", "Closed segments that wait.", registry=registry).set_function(
        undelivered
    )
    Gauge("copymart_spool_syncs", "Times that the disk was waited for.", registry=registry).set_function(
        lambda: spool.syncs
    )

    counts = {status: answered.labels(str(status)) for status in (200, 400, 401, 503)}
    large = _Large()

    async def take(scope: Scope, receive: Receive) -> tuple[int, str]:
        kept = bytearray()
        try:
            return await answer(scope, receive, kept)
        finally:
            large.size -= _beyond_small(len(kept))

    async def answer(scope: Scope, receive: Receive, kept: bytearray) -> tuple[int, str]:
        headers = dict(scope["headers"])
        stamp, given = headers.get(b"x-cio-timestamp", b""), headers.get(b"x-cio-signature", b"")
        digests = [hmac.new(key, b"v0:" + stamp + b":", hashlib.sha256) for key in keys]
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, "the body ends before its end\n"
            part, more = message.get("body", b""), message.get("more_body", False)
            for digest in digests:
                digest.update(part)
            before = len(kept)
            kept += part[: MAX_BODY_BYTES - before]
            large.size += _beyond_small(len(kept)) - _beyond_small(before)
            if large.size > max_large_bytes and len(kept) > _SMALL_BYTES:
                return 503, "too many large bodies at once\n"
        # all are compared, so that the time says nothing of which key fits
        fits = [hmac.compare_digest(digest.hexdigest().encode(), given) for digest in digests]
        if not any(fits):
            return 401, "the signature does not fit\n"
        if max_age is not None and not is_recent(stamp.decode("latin-1"), max_age):
            return 401, "the signature is too old\n"
        try:
            await spool.append(as_line(bytes(kept)), asyncio.get_running_loop())
        except Full as error:
            return 503, f"{error}\n"
        received.inc(len(kept))
        return 200, "kept\n"

    async def health(_request: Request) -> Response:
        refusal = spool.refusal
        return PlainTextResponse(f"{refusal or 'ok'}\n", 503 if refusal else 200)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    others = Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        # events go past the layers of Starlette, which take half of a request's time
        if scope["type"] != "http" or scope["method"] != "POST":
            await others(scope, receive, send)
            return
        status, text = await take(scope, receive)
        counts[status].inc()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text.encode())),
        ]
        if status == 503:
            headers.append((b"retry-after", b"5"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    return application


@dataclass
class _Large:
    """Bytes that all bodies together hold beyond what a small one has."""

    size: int = 0


def _beyond_small(size: int) -> int:
    return max(0, size - _SMALL_BYTES)


def as_line(body: bytes) -> bytes:
    """The body on one line: outside of strings JSON allows a space wherever it allows a line break."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ") or b" "


def is_recent(stamp: str, max_age: float) -> bool:
    """Whether a signature's time is a number of seconds that lie less than `max_age` ago."""
    return stamp.isascii() and stamp.isdigit() and abs(time.time() - int(stamp)) <= max_age
