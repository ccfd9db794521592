"""Requests for Customer.io as the models make them, a project to send them from, and kills at any write."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from scripts.customerio.outbound import run as outbound_run
from scripts.customerio.outbound import spool
from scripts.customerio.outbound.ledger import Where
from support.project import PROJECT, settings
from support.track_server import API_KEY, SITE_ID, Workspace

T0 = datetime(2026, 3, 1)
TABLE = """
create or replace table marts_outbound.outbound_requests (
    request_id varchar, message_id varchar, action varchar, happened_at timestamp, request_number bigint,
    endpoint varchar, person_key varchar, is_event boolean, payload varchar, content_hash varchar,
    held_back_reason varchar
)"""
EVENTS = ("track_event", "track_page_view", "track_screen_view", "report_content_event")


@dataclass(frozen=True)
class Request:
    """A request of the model outbound_requests; `seconds` after T0 it happened."""

    message_id: str
    action: str
    seconds: int
    item: dict[str, Any]
    person_key: str | None = None
    held_back_reason: str | None = None

    @property
    def request_id(self) -> str:
        return hashlib.sha256(f"{self.message_id}|{self.action}".encode()).hexdigest()

    @property
    def happened_at(self) -> datetime:
        return T0 + timedelta(seconds=self.seconds)

    @property
    def place(self) -> tuple[int, str, str]:
        """Its place in the total order."""
        return self.seconds, self.message_id, self.action

    @property
    def payload(self) -> str:
        return json.dumps(self.item, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @property
    def endpoint(self) -> str:
        return "metrics" if self.action == "report_delivery_event" else "batch"


def identify(number: int, who: str, **attributes: Any) -> Request:
    """A person's attributes, `number` seconds after T0."""
    item = {"type": "person", "action": "identify", "identifiers": {"id": who}, "attributes": attributes}
    return Request(f"m{number}", "create_or_update_person", number, item, who)


def event(number: int, who: str, name: str = "Plan Viewed") -> Request:
    """An event of a person."""
    item = {
        "type": "person",
        "action": "event",
        "identifiers": {"id": who},
        "name": name,
        "id": f"m{number}",
        "timestamp": number,
    }
    return Request(f"m{number}", "track_event", number, item, who)


def delete(number: int, who: str) -> Request:
    """The deletion of a person."""
    item = {"type": "person", "action": "delete", "identifiers": {"id": who}}
    return Request(f"m{number}", "delete_person", number, item, who)


def metric(number: int) -> Request:
    """A delivery event."""
    return Request(
        f"m{number}", "report_delivery_event", number, {"delivery_id": f"d{number}", "metric": "opened"}
    )


def rows(requests: Iterable[Request]) -> list[tuple[Any, ...]]:
    """The rows of the model, in the total order."""
    ordered = sorted(requests, key=lambda request: request.place)
    return [
        (
            *(each.request_id, each.message_id, each.action, each.happened_at, number, each.endpoint),
            *(each.person_key, each.action in EVENTS, each.payload),
            *(hashlib.sha256(each.payload.encode()).hexdigest(), each.held_back_reason),
        )
        for number, each in enumerate(ordered, 1)
    ]


def build(connection: duckdb.DuckDBPyConnection, requests: Iterable[Request]) -> None:
    """Make the model's table, as a build does."""
    connection.execute("create schema if not exists marts_outbound")
    connection.execute(TABLE)
    if found := rows(requests):
        connection.executemany(
            f"insert into marts_outbound.outbound_requests values ({', '.join('?' * 11)})", found
        )


def folded(requests: Iterable[Request]) -> Any:
    """The state of a workspace that took the requests in their order, one by one."""
    workspace = Workspace()
    for request in sorted(requests, key=lambda request: request.place):
        if request.endpoint == "batch":
            workspace.apply(request.item)
    return workspace.state()


@dataclass(frozen=True)
class Project:
    """A project with a DuckDB file of its own to send from."""

    folder: Path

    @property
    def where(self) -> Where:
        return Where(PROJECT, self.folder, "duckdb")

    @property
    def spool(self) -> Path:
        return self.folder / "outbound"

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.folder / "warehouse.duckdb"))

    def build(self, *requests: Request) -> None:
        with self.connect() as connection:
            build(connection, requests)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()


def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Let commands of this process send from a project in a folder, without waiting long for retries."""
    for name, value in settings(folder).items():
        if name.startswith(("DBT_", "COPYMART_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUSTOMERIO_SITE_ID", SITE_ID)
    monkeypatch.setenv("CUSTOMERIO_TRACK_API_KEY", API_KEY)
    monkeypatch.setattr(outbound_run, "BACKOFF", 0.001)
    return Project(folder)


class Killed(BaseException):
    """The end of a process, in the middle of it."""


class Mortal:
    """Ends the run at its n-th write to disk or warehouse; from then on nothing is written any more.

    What other threads have begun to send goes on to the server, as it would.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes, self.fatal = 0, 0
        self.dead = False
        for owner, name in (
            (spool.Journal, "_note"),
            (spool.Journal, "sync"),
            (outbound_run, "write_plan"),
            (outbound_run, "forget"),
            (outbound_run.ledger, "write"),
        ):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def live(self, fatal: int = 0) -> None:
        """Begin a process that ends at this write; 0: never."""
        self.writes, self.fatal, self.dead = 0, fatal, False

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any, **named: Any) -> Any:
            self.writes += 1
            if self.dead or self.writes == self.fatal:
                self.dead = True
                raise Killed
            return function(*given, **named)

        return write
