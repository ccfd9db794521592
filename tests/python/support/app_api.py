"""An App API of Customer.io with the quirks that were observed: endings, tokens, envelopes, errors."""

import base64
import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "app-key"
DAY = 86_400
NOW = int(time.time())

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class World:
    """What a workspace holds, how it answers, and what it was asked."""

    campaigns: list[dict[str, Any]] = field(default_factory=list)
    broadcasts: list[dict[str, Any]] = field(default_factory=list)
    newsletters: list[dict[str, Any]] = field(default_factory=list)
    transactional: list[dict[str, Any]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)
    webhooks: list[dict[str, Any]] | None = None
    actions: dict[str, list[Any] | None] = field(default_factory=dict)
    contents: dict[str, list[Any]] = field(default_factory=dict)
    members: dict[str, list[Any]] = field(default_factory=dict)
    messages: list[Any] = field(default_factory=list)
    activities: list[Any] = field(default_factory=list)
    people: list[dict[str, str]] = field(default_factory=list)
    columns: tuple[str, ...] = ("cio_id", "id", "email", "plan")
    most: int = 1_000
    polls: int = 1
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)
    # answers to give instead, each once, and what to do before an answer
    instead: list[Answer] = field(default_factory=list)
    before: Callable[[int], None] = lambda _number: None
    address: str = ""

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]


def answer(status: int, body: Any, **headers: str) -> Answer:
    """An answer; a body that is no text becomes JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode()


def error(status: int, detail: str) -> Answer:
    """The usual shape of an error."""
    return answer(status, {"errors": [{"detail": f"{detail} (reference 01)", "status": str(status)}]})


def token(offset: int) -> str:
    return base64.b64encode(f"v20:{offset}".encode()).decode()


def _offset(given: str | None) -> int | None:
    """The offset in a token; None for a bad one."""
    if given is None:
        return 0
    try:
        return int(base64.b64decode(given, validate=True).decode().removeprefix("v20:"))
    except ValueError:
        return None


def respond(world: World, method: str, path: str, given: dict[str, str], body: Any) -> Answer:
    """The answer of the App API to a request with the right key."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match (method, *parts):
        case ("GET", "v1", "campaigns" | "broadcasts" | "segments" as kind):
            return answer(200, {kind: getattr(world, kind)})
        case ("GET", "v1", "transactional"):
            return answer(200, {"messages": world.transactional})
        case ("GET", "v1", "reporting_webhooks"):
            return answer(200, {"reporting_webhooks": world.webhooks})
        case ("GET", "v1", "newsletters"):
            return _newsletters(world, given)
        case ("GET", "v1", "campaigns" | "broadcasts" as kind, parent, "actions"):
            return _actions(world, f"{kind}/{parent}", given)
        case ("GET", "v1", "newsletters", parent, "contents"):
            if parent not in world.contents:
                return answer(404, {"errors": [{"detail": "not found"}]})
            return answer(200, {"contents": world.contents[parent]})
        case ("GET", "v1", "segments", parent, "membership"):
            return _members(world, parent, given)
        case ("GET", "v1", "messages"):
            return _messages(world, given)
        case ("GET", "v1", "activities"):
            return _activities(world, given)
        case ("POST", "v1", "exports", "customers"):
            return answer(200, {"export": {"id": 110, "status": "pending", "total": 0, "asked": body}})
        case ("GET", "v1", "exports", _):
            world.polls -= 1
            done = world.polls < 0
            state = {"id": 110, "status": "done" if done else "pending", "failed": False}
            return answer(200, {"export": {**state, "total": len(world.people) if done else 0}})
        case ("GET", "v1", "exports", number, "download"):
            return answer(200, {"url": f"{world.address}/signed/{number}?signature=secret"})
    return answer(404, "404 page not found")


def _limit(world: World, given: dict[str, str], default: int) -> int:
    return min(int(given.get("limit", default)), world.most)


def _messages(world: World, given: dict[str, str]) -> Answer:
    start, end = int(given.get("start_ts", 0)), int(given.get("end_ts", NOW + DAY))
    # six months, silently
    start = max(start, end - 183 * DAY, NOW - 183 * DAY)
    found = [
        item
        for item in sorted(
            (item for item in world.messages if isinstance(item, dict)), key=lambda item: -item["created"]
        )
        if start <= item["created"] <= end and given.get("type") in (None, item["type"])
    ]
    limit, offset = _limit(world, given, 50), _offset(given.get("start"))
    if offset is None:
        return error(400, "bad request")
    if offset >= len(found):
        # beyond the end it begins again
        offset = 0
    more = offset + limit < len(found)
    return answer(
        200, {"messages": found[offset : offset + limit], "next": token(offset + limit) if more else ""}
    )


def _newsletters(world: World, given: dict[str, str]) -> Answer:
    """A bare offset as token, also behind the last page; the next one is empty."""
    offset, limit = int(given.get("start", 0)), _limit(world, given, 50)
    page = world.newsletters[offset : offset + limit]
    return answer(200, {"newsletters": page, "next": str(offset + limit) if page else ""})


def _actions(world: World, parent: str, given: dict[str, str]) -> Answer:
    if parent not in world.actions:
        return error(404, "not found")
    items, offset = world.actions[parent], _offset(given.get("start"))
    if offset is None or (given.get("start") and offset % 10):
        return error(400, "bad request")
    body: dict[str, Any] = {"actions": items and items[offset : offset + 10]}
    if items and offset + 10 < len(items):
        body["next"] = token(offset + 10)
    return answer(200, body)


def _members(world: World, parent: str, given: dict[str, str]) -> Answer:
    offset, limit = int(given.get("start", 0)), _limit(world, given, 1_000)
    page = world.members.get(parent, [])[offset : offset + limit]
    more = offset + limit < len(world.members.get(parent, []))
    return answer(
        200,
        {
            "segment_id": int(parent),
            "ids": [person.get("id", "") for person in page] or None,
            "identifiers": page or None,
            "next": str(offset + limit) if more else "",
        },
    )


def _activities(world: World, given: dict[str, str]) -> Answer:
    found = [
        item
        for item in world.activities
        if given.get("type") in (None, item["type"]) and item.get("deleted", "false") == given["deleted"]
    ]
    offset, limit = int(given.get("start", 0)), _limit(world, given, 10)
    more = offset + limit < len(found)
    return answer(
        200, {"activities": found[offset : offset + limit], "next": str(offset + limit) if more else None}
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # headers and body in two packets would wait for each other
    disable_nagle_algorithm = True
    world: World

    def do_GET(self) -> None:
        self._serve("GET", None)

    def do_POST(self) -> None:
        self._serve("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, method: str, body: Any) -> None:
        world, address = self.world, urlsplit(self.path)
        given = {name: values[-1] for name, values in parse_qs(address.query).items()}
        world.asked.append((method, address.path, given))
        world.bodies.append(body)
        world.sent.append(dict(self.headers))
        world.before(len(world.asked))
        if address.path.startswith("/signed/"):
            status, headers, text = world.instead.pop(0) if world.instead else _people(world)
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            status, headers, text = error(401, "unauthorized")
        elif world.instead:
            status, headers, text = world.instead.pop(0)
        else:
            status, headers, text = respond(world, method, address.path, given, body)
        if status == 0:
            # the connection is cut in the middle of an answer
            self.send_response(200)
            self.send_header("Content-Length", str(len(text) + 100))
            self.end_headers()
            self.wfile.write(text)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_given: Any) -> None:
        pass


def _people(world: World) -> Answer:
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, world.columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(world.people)
    return answer(200, lines.getvalue())


@contextmanager
def served(world: World) -> Iterator[World]:
    """Serve a world at its `address`."""
    handler = type("Handler", (_Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    world.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def message(number: int, days_ago: float = 1, kind: str = "email", **changes: Any) -> dict[str, Any]:
    """A message as the API gives it; `changed` is its last change, unix seconds."""
    created = int(NOW - days_ago * DAY)
    changed = changes.pop("changed", created + 6)
    return {
        "id": f"m{number}",
        "deduplicate_id": f"m{number}:{changed}",
        "type": kind,
        "created": created,
        "campaign_id": 7,
        "action_id": 42,
        "subject": f"Subject {number}",
        "customer_identifiers": {"id": f"u{number}", "email": None, "cio_id": f"c{number}"},
        "metrics": {"created": created, "sent": created + 5},
        **changes,
    }


def example() -> World:
    """A small workspace with one of everything that is odd."""
    stubs = [{"id": 41, "type": "webhook"}, {"id": 42, "type": "email"}, {"id": 43, "type": "email"}]
    return World(
        campaigns=[
            {"id": 7, "name": "Plans", "state": "running", "actions": stubs, "created": 1, "updated": 2},
            {"id": 8, "name": "Empty", "state": "draft", "actions": None},
            {"id": 9, "name": "Gone meanwhile", "state": "draft"},
        ],
        broadcasts=[{"id": 3, "name": "News", "actions": [{"id": 12, "type": "email"}]}],
        newsletters=[{"id": n, "name": f"Letter {n}", "content_ids": [n * 10]} for n in (1, 2, 3)],
        transactional=[{"id": 5, "name": "Receipt", "created_at": 3}],
        segments=[
            {"id": 1, "name": "Everyone", "state": "finished"},
            {"id": 2, "name": "Being built", "state": "build"},
            {"id": 3, "name": "Nobody", "state": "finished"},
        ],
        webhooks=[{"id": 1, "name": "Hook", "events": ["email_sent"], "disabled": False}],
        actions={
            "campaigns/7": [
                {"deduplicate_id": "41:1760000000", "type": "webhook", "name": "Ask", "url": "https://x/"},
                *({"id": n, "type": "email", "name": f"Email {n}"} for n in range(42, 54)),
            ],
            "campaigns/8": None,
            "broadcasts/3": [{"id": 12, "type": "email", "name": "Blast"}],
        },
        contents={str(n): [{"id": n * 10, "newsletter_id": n, "subject": "Hi"}] for n in (1, 2, 3)},
        members={"1": [{"cio_id": f"c{n}", "id": "", "email": f"{n}@x"} for n in range(5)]},
        messages=[message(n, days_ago=n * 3, kind="push" if n % 3 else "email") for n in range(1, 13)],
        activities=[
            {"id": f"a{n}", "type": "event" if n % 2 else "page", "timestamp": NOW - n * DAY, "name": "buy"}
            for n in range(1, 15)
        ],
        people=[{"cio_id": f"c{n}", "id": f"u{n}", "email": f"{n}@x", "plan": "pro"} for n in range(1, 6)],
    )
