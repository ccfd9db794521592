"""Customer.io's Track API as its documents and known connectors describe it, with TLS, a workspace that keeps
what it is sent, and faults on demand.

Items of a batch are applied in a random order: no document promises one.
"""

import base64
import json
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SITE_ID, API_KEY = "site-id", "track-key"
MOST_BYTES, MOST_ITEM_BYTES = 500_000, 32_768
METRICS = ("bounced", "clicked", "converted", "deferred", "delivered", "dropped", "opened", "spammed")
Failed = tuple[str, str, str]


@dataclass
class Person:
    """A profile: its identifiers, attributes, devices by token, and events by id."""

    identifiers: dict[str, str]
    attributes: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, Any] = field(default_factory=dict)
    events: dict[str, Any] = field(default_factory=dict)


@dataclass
class Object:
    """An object, with its relationships by the person's place in the list of people."""

    attributes: dict[str, Any] = field(default_factory=dict)
    relationships: dict[int, Any] = field(default_factory=dict)


@dataclass
class Workspace:
    """What Customer.io keeps. `people` grows only: a deleted profile leaves None behind."""

    people: list[Person | None] = field(default_factory=list)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    suppressed: set[tuple[str, str]] = field(default_factory=set)
    anonymous: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    index: dict[tuple[str, str], int] = field(default_factory=dict)

    def state(self) -> Any:
        """All of it in an order that does not depend on how it came about."""

        def name(number: int) -> str:
            found = self.people[number]
            return json.dumps(found.identifiers if found else None, sort_keys=True)

        return {
            "people": sorted(
                json.dumps(vars(person), sort_keys=True) for person in self.people if person is not None
            ),
            "objects": {
                kind: (
                    found.attributes,
                    sorted((name(number), json.dumps(data)) for number, data in found.relationships.items()),
                )
                for kind, found in sorted(self.objects.items())
            },
            "suppressed": sorted(self.suppressed),
        }

    def find(self, identifiers: dict[str, str]) -> int | None:
        ((kind, value),) = identifiers.items()
        return self.index.get((kind, _same(kind, value)))

    def _of(self, number: int) -> Person:
        person = self.people[number]
        assert person
        return person

    def person(self, identifiers: dict[str, str], create: bool = True) -> int | None:
        """The profile of an identifier; a new one where there is none and none is suppressed."""
        number = self.find(identifiers)
        if number is None and create:
            ((kind, value),) = identifiers.items()
            if kind == "cio_id" or (kind, _same(kind, value)) in self.suppressed:
                return None
            self.people.append(Person({kind: value}))
            number = self.index[kind, _same(kind, value)] = len(self.people) - 1
        return number

    def apply(self, item: dict[str, Any]) -> Failed | None:
        """Take an item of a batch; what is wrong with it, if it is refused."""
        if len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()) > MOST_ITEM_BYTES:
            return "invalid", "", "item is too large"
        attributes = item.get("attributes", {})
        if not isinstance(attributes, dict) or len(attributes) > 300:
            return "invalid", "attributes", "too many attributes"
        for name, value in attributes.items():
            if len(name.encode()) > 150 or (isinstance(value, str) and len(value.encode()) > 1_000):
                return "invalid", f"attributes.{name[:20]}", "too long"
        match item.get("type"), item.get("action"):
            case "person", "merge":
                return self._merge(item)
            case "person", str(action):
                return self._person(action, item)
            case "object", str(action):
                return self._object(action, item)
        return "invalid", "action", "unknown type or action"

    def _merge(self, item: dict[str, Any]) -> Failed | None:
        if not item.get("primary") or not item.get("secondary"):
            return "required", "primary", "primary and secondary are required"
        keeper, other = self.find(item["primary"]), self.find(item["secondary"])
        # accepted, without effect
        if keeper is None or other is None or keeper == other:
            return None
        kept, gone = self._of(keeper), self._of(other)
        kept.attributes = {**gone.attributes, **kept.attributes}
        kept.events = {**gone.events, **kept.events}
        self._forget(other)
        return None

    def _forget(self, number: int) -> None:
        for kind, value in self._of(number).identifiers.items():
            del self.index[kind, _same(kind, value)]
        self.people[number] = None
        for found in self.objects.values():
            found.relationships.pop(number, None)

    def _person(self, action: str, item: dict[str, Any]) -> Failed | None:
        identifiers = item.get("identifiers")
        if not isinstance(identifiers, dict) or len(identifiers) != 1:
            return "required", "identifiers", "one identifier is required"
        ((kind, value),) = identifiers.items()
        if not isinstance(value, str) or not value or len(value.encode()) > 150:
            return "invalid", f"identifiers.{kind}", f"bad identifier {value}"
        if action in ("event", "page", "screen", "viewed_content", "clicked_content"):
            return self._event(identifiers, item)
        attributes = dict(item.get("attributes", {}))
        update = attributes.pop("_update", False)
        address = attributes.get("email") if action == "identify" else None
        known = self.find({"email": address}) if address else None
        if self.find(identifiers) is None and known is not None and kind not in self._of(known).identifiers:
            # a new id with a known address is that person's
            self._of(known).identifiers[kind] = value
            self.index[kind, _same(kind, value)] = known
        number = self.person(identifiers, create=action in ("identify", "add_device") and not update)
        if action == "unsuppress":
            self.suppressed.discard((kind, _same(kind, value)))
        elif action == "suppress":
            self.suppressed.add((kind, _same(kind, value)))
        if number is None:
            # 200, and nothing happens
            return None
        person = self._of(number)
        match action:
            case "identify":
                self._identify(number, person, attributes)
                for relation in item.get("cio_relationships", ()):
                    key = (relation["identifiers"]["object_type_id"], relation["identifiers"]["object_id"])
                    related = self.objects.setdefault(key, Object())
                    related.relationships[number] = relation.get("relationship_attributes", {})
            case "delete" | "suppress":
                self._forget(number)
            case "unsuppress":
                pass
            case "add_device":
                person.devices[item["device"]["token"]] = item["device"]
            case "delete_device":
                person.devices.pop(item["device"]["token"], None)
            case _:
                return "invalid", "action", f"unknown action {action}"
        return None

    def _identify(self, number: int, person: Person, attributes: dict[str, Any]) -> None:
        for kind in ("id", "email"):
            if kind in attributes:
                value = attributes.pop(kind)
                # an identifier of somebody else, or none: 200, and a failed attribute change
                if value and self.find({kind: value}) in (None, number):
                    if kind in person.identifiers:
                        del self.index[kind, _same(kind, person.identifiers[kind])]
                    person.identifiers[kind] = value
                    self.index[kind, _same(kind, value)] = number
        person.attributes.update(attributes)

    def _event(self, identifiers: dict[str, str], item: dict[str, Any]) -> Failed | None:
        if not item.get("name"):
            return "required", "name", "name is required"
        if "anonymous_id" in identifiers:
            self.anonymous.append(item)
            return None
        number = self.person(identifiers)
        if number is not None:
            person = self._of(number)
            # a repeated id is ignored
            person.events.setdefault(str(item.get("id")), [item["name"], item.get("timestamp")])
        return None

    def _object(self, action: str, item: dict[str, Any]) -> Failed | None:
        identifiers = item.get("identifiers", {})
        if not {"object_type_id", "object_id"} <= identifiers.keys():
            return "required", "identifiers", "object_type_id and object_id are required"
        key = (identifiers["object_type_id"], identifiers["object_id"])
        if action == "delete":
            self.objects.pop(key, None)
            return None
        if action not in ("identify", "identify_anonymous", "delete_relationships"):
            return "invalid", "action", f"unknown action {action}"
        found = self.objects.setdefault(key, Object())
        found.attributes.update(item.get("attributes", {}))
        for relation in item.get("cio_relationships", ()):
            number = self.person(relation["identifiers"], create=action == "identify")
            if number is not None and action == "delete_relationships":
                found.relationships.pop(number, None)
            elif number is not None:
                found.relationships[number] = relation.get("relationship_attributes", {})
        return None


def _same(kind: str, value: str) -> str:
    return value.lower() if kind == "email" else value


@dataclass
class World:
    """A workspace, the region that it lies in, and how its server behaves.

    `fault`: what happens to the request of a number, counted from 1: `503`, `429`, `429 2` with a
    Retry-After, `cut before` and `cut after` the workspace took it, `500 after`, or None. `before` is called
    with each request's number and body.
    """

    workspace: Workspace = field(default_factory=Workspace)
    region: str = "us"
    serves: str = "us"
    fault: Callable[[int], str | None] = lambda _number: None
    before: Callable[[int, Any], None] = lambda _number, _body: None
    instead: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    requests: int = 0
    flying: int = 0
    most_flying: int = 0
    port: int = 0
    certificate: str = ""

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def respond(self, path: str, body: bytes) -> tuple[int, Any]:
        """The answer to a POST with the right key."""
        try:
            given = json.loads(body)
        except ValueError:
            return 400, {"errors": [{"reason": "invalid", "field": "", "message": "no JSON"}]}
        if path == "/api/v1/metrics":
            if given.get("metric") not in METRICS or not given.get("delivery_id"):
                return 400, {"meta": {"errors": [f"bad metric for {given.get('recipient')}"]}}
            self.workspace.metrics.append(given)
            return 200, {}
        if path != "/api/v2/batch":
            return 404, {}
        if len(body) > MOST_BYTES or not given.get("batch"):
            return 400, {"errors": [{"reason": "invalid", "field": "batch", "message": "bad size"}]}
        places = list(range(len(given["batch"])))
        self.chance.shuffle(places)
        failed = [(place, self.workspace.apply(given["batch"][place])) for place in places]
        errors = [
            {"batch_index": place, "reason": why[0], "field": why[1], "message": why[2]}
            for place, why in failed
            if why
        ]
        return (207, {"errors": errors}) if errors else (200, {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    world: World

    def do_GET(self) -> None:
        world = self.world
        world.asked.append(("GET", self.path))
        if not self._allowed():
            self._answer(401, {"meta": {"error": "unauthorized"}})
        elif self.path == "/api/v1/accounts/region":
            self._answer(200, {"url": f"track-{world.region}", "region": world.region, "environment_id": 1})
        else:
            # where a followed redirect ends
            self._answer(200, {})

    def do_POST(self) -> None:
        world = self.world
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with world.lock:
            world.asked.append(("POST", self.path))
            world.bodies.append(body)
            world.requests += 1
            number = world.requests
            world.flying += 1
            world.most_flying = max(world.most_flying, world.flying)
        try:
            world.before(number, body)
            self._serve(number, body)
        finally:
            with world.lock:
                world.flying -= 1

    def _serve(self, number: int, body: bytes) -> None:
        world, fault = self.world, self.world.fault(number)
        if not self._allowed():
            self._answer(401, {"meta": {"error": "unauthorized"}})
        elif world.region != world.serves:
            self._answer(301, {}, Location=f"{world.address}/elsewhere{self.path}")
        elif world.instead:
            status, headers, text = world.instead.pop(0)
            self._answer(status, text, **headers)
        elif fault == "cut before":
            self.close_connection = True
        elif fault in ("503", "429"):
            self._answer(int(fault), {})
        elif fault and fault.startswith(("429 ", "503 ")):
            self._answer(int(fault[:3]), {}, Retry_After=fault[4:])
        else:
            with world.lock:
                status, answer = world.respond(self.path, body)
            if fault == "cut after":
                self.close_connection = True
            elif fault == "500 after":
                self._answer(500, b"oops")
            else:
                self._answer(status, answer)

    def _allowed(self) -> bool:
        given = base64.b64encode(f"{SITE_ID}:{API_KEY}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {given}"

    def _answer(self, status: int, body: Any, **headers: str) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" in headers:
            # of more than there is: the connection is cut within the answer
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_given: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake belongs to the thread of the connection: one client must not hold up the others."""
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "track.pem", folder / "track.key"
    public.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


@contextmanager
def served(world: World, files: tuple[Path, Path]) -> Iterator[World]:
    """Serve a world at its `address`, with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    handler = type("Handler", (_Handler,), {"world": world})
    server = _Server(("127.0.0.1", 0), handler)
    server.context = context
    world.port, world.certificate = server.server_address[1], str(files[0])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
