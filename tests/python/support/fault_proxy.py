"""An HTTP proxy between a client and an S3 server that breaks chosen requests in a chosen way.

It knows no S3 beyond what an error looks like: a fault names requests by a pattern and says which of those
that fit it strikes. Every request is noted, so that a test can count them.
"""

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

# Of the connection, not of the message; a proxy has its own.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection"}


class Kind(Enum):
    """What happens to a request. "Acted" means: the server got the whole request and did it."""

    SLOW_DOWN = auto()  # 503, not acted
    INTERNAL_ERROR = auto()  # 500, not acted
    ERROR_AFTER = auto()  # 500 although it acted
    DENIED = auto()  # 403, not acted
    EXPIRED = auto()  # 400 ExpiredToken, not acted
    ERROR_IN_200 = auto()  # 200 with an error for a body, not acted
    RESET_BEFORE = auto()  # connection reset, not acted
    RESET_AFTER = auto()  # connection reset, acted: a lost acknowledgement
    CORRUPT_REQUEST = auto()  # the last byte of the request's body reaches the server as another one
    CUT_REQUEST = auto()  # half of the request's body reaches the server, then both connections break
    CUT_RESPONSE = auto()  # acted, but half of the response's body is all there is
    FORBID_MISSING = auto()  # 404 becomes 403, as on S3 for those who may not list
    HOLD = auto()  # waits for `gate` before the server gets it
    CALL_BEFORE = auto()  # runs `call`, then RESET_BEFORE: a client that is killed while it asks
    CALL_AFTER = auto()  # runs `call` after the server acted, then RESET_AFTER
    REWRITE = auto()  # the response's body is what `rewrite` makes of it


ERRORS = {
    Kind.SLOW_DOWN: (503, "SlowDown", "Please reduce your request rate."),
    Kind.INTERNAL_ERROR: (500, "InternalError", "We encountered an internal error. Please try again."),
    Kind.ERROR_AFTER: (500, "InternalError", "We encountered an internal error. Please try again."),
    Kind.DENIED: (403, "AccessDenied", "Access Denied"),
    Kind.EXPIRED: (400, "ExpiredToken", "The provided token has expired."),
    Kind.ERROR_IN_200: (200, "InternalError", "We encountered an internal error. Please try again."),
    Kind.FORBID_MISSING: (403, "AccessDenied", "Access Denied"),
}


@dataclass(frozen=True)
class Seen:
    """A request as the client sent it; `status` is the answer that the client got, 0 if none."""

    method: str
    path: str
    query: dict[str, str]
    access_key: str
    status: int
    acted: bool
    fault: Kind | None

    @property
    def line(self) -> str:
        """What the patterns of faults are tried on."""
        return _line(self.method, self.path, self.query)


def _line(method: str, path: str, query: dict[str, str]) -> str:
    return f"{method} {path}" + ("?" + "&".join(sorted(query)) if query else "")


@dataclass
class Fault:
    """Strikes `times` requests that fit `pattern`, from the `first` of them on.

    `of_each`: requests are counted apart, so that each of them is struck before it gets through.
    The pattern is searched in `METHOD /bucket/key?names&of&parameters`, the key decoded, the names sorted.
    """

    kind: Kind
    pattern: str = ""
    first: int = 1
    times: int = 1
    gate: threading.Event = field(default_factory=threading.Event)
    call: Callable[[], object] = lambda: None
    rewrite: Callable[[bytes], bytes] = bytes
    of_each: bool = False
    fitting: Counter[str] = field(default_factory=Counter)


class Proxy:
    """The proxy's address, its faults, and what it saw; faults may be added and removed at any time."""

    def __init__(self, address: str, server: str) -> None:
        self.address, self.server = address, server
        self.seen: list[Seen] = []
        self._faults: list[Fault] = []
        self._busy = 0
        self._changed = threading.Condition()

    def add(self, kind: Kind, pattern: str = "", **more: object) -> Fault:
        """Add a fault."""
        fault = Fault(kind, pattern, **more)  # type: ignore[arg-type]
        with self._changed:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Remove all faults and open their gates."""
        with self._changed:
            healed, self._faults = self._faults, []
        for fault in healed:
            fault.gate.set()

    def requests(self, pattern: str = "") -> list[Seen]:
        """Return the requests that fit a pattern, in order."""
        return [each for each in list(self.seen) if re.search(pattern, each.line)]

    def wait_for(self, fault: Fault, requests: int = 1) -> None:
        """Wait until so many requests that fit a fault have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: fault.fitting.total() >= requests, timeout=300)

    def wait_until_quiet(self) -> None:
        """Wait until no request is on its way."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._busy, timeout=300)

    def choose(self, line: str) -> Fault | None:
        """Return the fault that strikes a request."""
        with self._changed:
            for fault in self._faults:
                if re.search(fault.pattern, line):
                    counted = line if fault.of_each else ""
                    fault.fitting[counted] += 1
                    self._changed.notify_all()
                    if fault.first <= fault.fitting[counted] < fault.first + fault.times:
                        return fault
        return None

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


@contextmanager
def fault_proxy(server: str) -> Iterator[Proxy]:
    """Stand before a server, an address such as http://127.0.0.1:9000, and yield the proxy."""

    class Handler(_Handler):
        pass

    listener = _Listener(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{listener.server_address[1]}", server)
    Handler.proxy = proxy
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.heal()
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections that break are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_any(self) -> None:
        with self.proxy.on_its_way():
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            path = unquote(parts.path)
            fault = self.proxy.choose(_line(self.command, path, query))
            status, acted = 0, False
            try:
                status, acted = self._answer(fault)
            finally:
                kind = fault.kind if fault else None
                key = re.search("Credential=([^/]+)", self.headers.get("Authorization", ""))
                self.proxy.seen.append(
                    Seen(self.command, path, query, key[1] if key else "", status, acted, kind)
                )

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any

    def _answer(self, fault: Fault | None) -> tuple[int, bool]:
        """Answer the client, or do not; return the status it got and whether the server acted."""
        kind = fault.kind if fault else None
        if kind is Kind.CUT_REQUEST:
            self._send_half()
            return self._reset(), False
        body = self._body()
        if kind is Kind.CORRUPT_REQUEST:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault and kind is Kind.HOLD:
            fault.gate.wait()
        if fault and kind is Kind.CALL_BEFORE:
            fault.call()
        if kind in (Kind.CALL_BEFORE, Kind.RESET_BEFORE):
            return self._reset(), False
        if kind in ERRORS and kind not in (Kind.ERROR_AFTER, Kind.FORBID_MISSING):
            return self._error(kind), False
        response, said = self._forward(body)
        if fault and kind is Kind.CALL_AFTER:
            fault.call()
        if kind in (Kind.CALL_AFTER, Kind.RESET_AFTER):
            return self._reset(), True
        if kind is Kind.ERROR_AFTER or (kind is Kind.FORBID_MISSING and response.status == 404):
            assert kind
            return self._error(kind), True
        if fault and kind is Kind.REWRITE:
            said = fault.rewrite(said)
        self._pass_on(response, said, whole=kind is not Kind.CUT_RESPONSE)
        return response.status, True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _connect(self, length: int) -> HTTPConnection:
        connection = HTTPConnection(urlsplit(self.proxy.server).netloc, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        return connection

    def _forward(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        connection = self._connect(len(body))
        connection.send(body)
        response = connection.getresponse()
        said = response.read()
        connection.close()
        return response, said

    def _send_half(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        connection = self._connect(length)
        connection.send(self.rfile.read(length // 2))
        connection.close()

    def _pass_on(self, response: HTTPResponse, said: bytes, whole: bool) -> None:
        self.send_response_only(response.status, response.reason)
        # a HEAD has the length of what it does not bring
        length = response.headers.get("Content-Length") if self.command == "HEAD" else str(len(said))
        for name, value in response.headers.items():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if length is not None and response.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(said if whole else said[: len(said) // 2])
        if not whole:
            self._reset()

    def _error(self, kind: Kind) -> int:
        status, code, message = ERRORS[kind]
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        # STS, which answers at no path, wraps it
        body = (f"<ErrorResponse>{error}</ErrorResponse>" if self.path == "/" else error).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return status

    def _reset(self) -> int:
        """Break the connection off; the client gets no closing handshake but a reset."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return 0
