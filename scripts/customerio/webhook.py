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

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from scripts.customerio.spool import Full, Spool

MAX_BODY_BYTES = 16 << 20
"""Of a longer body only so much is kept, which is no event any more."""


def application(
    spool: Spool, keys: Sequence[bytes], max_age: float | None, undelivered: Callable[[], int]
) -> Starlette:
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

    async def receive(request: Request) -> Response:
        status, text = await take(request)
        answered.labels(str(status)).inc()
        return PlainTextResponse(text, status, {"Retry-After": "5"} if status == 503 else None)

    async def take(request: Request) -> tuple[int, str]:
        stamp = request.headers.get("x-cio-timestamp", "")
        given = request.headers.get("x-cio-signature", "")
        digests = [hmac.new(key, b"v0:" + stamp.encode("latin-1") + b":", hashlib.sha256) for key in keys]
        kept = bytearray()
        try:
            async for part in request.stream():
                for digest in digests:
                    digest.update(part)
                kept += part[: MAX_BODY_BYTES - len(kept)]
        except ClientDisconnect:
            return 400, "the body ends before its end\n"
        # all are compared, so that the time says nothing of which key fits
        fits = [hmac.compare_digest(digest.hexdigest(), given) for digest in digests]
        if not any(fits):
            return 401, "the signature does not fit\n"
        if max_age is not None and not is_recent(stamp, max_age):
            return 401, "the signature is too old\n"
        try:
            await asyncio.wrap_future(spool.append(as_line(bytes(kept))))
        except Full as error:
            return 503, f"{error}\n"
        received.inc(len(kept))
        return 200, "kept\n"

    async def health(_request: Request) -> Response:
        full = spool.size >= spool.max_bytes
        return PlainTextResponse("full\n" if full else "ok\n", 503 if full else 200)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/{path:path}", receive, methods=["POST"]),
        ]
    )


def as_line(body: bytes) -> bytes:
    """The body on one line: outside of strings JSON allows a space wherever it allows a line break."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ") or b" "


def is_recent(stamp: str, max_age: float) -> bool:
    """Whether a signature's time is a number of seconds that lie less than `max_age` ago."""
    return stamp.isascii() and stamp.isdigit() and abs(time.time() - int(stamp)) <= max_age
