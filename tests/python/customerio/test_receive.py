"""What the receiver acknowledged reaches a file, once and whole, whatever happens to it."""

import errno
import gzip
import hashlib
import hmac
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from scripts.cli import app
from scripts.customerio.receive import receive, signing_keys
from scripts.errors import UserError
from scripts.land.rules import EVENTS
from support.land import event, land_path, text, warehouse
from support.project import PROJECT, Built
from support.s3_servers import aws, environment
from support.warm import Running, start

KEY = "example-signing-key"
STAMP = "1767268806"
REASONS = "select reason, count(*) from staging.customerio_events_rejects group by reason order by reason"


def signed(body: bytes, key: str = KEY, stamp: str = STAMP) -> dict[str, str]:
    """The headers that Customer.io sends with a body."""
    message = b"v0:" + stamp.encode() + b":" + body
    digest = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return {"X-CIO-Timestamp": stamp, "X-CIO-Signature": digest}


@dataclass
class Receiver:
    """A receiver in a process of its own."""

    running: Running
    address: str

    def send(self, body: bytes, **options: str) -> int:
        """POST a signed body; the status, 0 when the connection broke."""
        try:
            return requests.post(self.address, body, headers=signed(body, **options), timeout=30).status_code
        except requests.RequestException:
            return 0

    def stop(self) -> str:
        """End it as a service manager does; return what it printed."""
        os.kill(self.running.process.pid, signal.SIGTERM)
        done = self.running.done()
        assert done.status in (0, -signal.SIGTERM), done.output
        return done.output


def begin(folder: Path, *options: str, to: str | None = None, **more: str) -> Running:
    """Start `copymart receive` with spool and target in the folder."""
    log = folder / f"log-{time.monotonic_ns()}"
    places = ("--to", to or str(folder / "events"), "--spool", str(folder / "spool"))
    settings = {**os.environ, "CUSTOMERIO_WEBHOOK_KEYS": f"other,{KEY}", "PYTHONUNBUFFERED": "1", **more}
    return start(log, settings, "receive", *places, *(options or ("--port", "0")))


@contextmanager
def receiving(folder: Path, to: str | None = None, **more: str) -> Iterator[Receiver]:
    """Start a receiver and wait until it listens."""
    running = begin(folder, to=to, **more)
    try:
        deadline = time.monotonic() + 60
        while not (
            found := re.search(
                r"http://127.0.0.1:\d+/", running.log.read_text() if running.log.exists() else ""
            )
        ):
            assert time.monotonic() < deadline and running.process.is_alive(), running.done().output
            time.sleep(0.01)
        yield Receiver(running, found[0])
    finally:
        running.process.kill()
        running.done()


def body(number: int) -> bytes:
    return text(event(event_id=f"E{number:08}")).strip().encode()


def files(folder: Path) -> dict[str, bytes]:
    """The files that `copymart land` sees, by their paths."""
    found = (folder / "events").glob("**/[!.]*.jsonl.gz")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def ids(folder: Path) -> list[str]:
    lines = b"".join(gzip.decompress(data) for data in files(folder).values()).splitlines()
    return sorted(re.findall(rb"E\d{8}", line)[0].decode() for line in lines)


@pytest.mark.integration
def test_every_signed_body_is_kept_and_landing_says_what_is_wrong(tmp_path: Path) -> None:
    pretty = body(5).replace(b", ", b",\r\n    ").replace(b"{", b"{\n", 1)
    assert pretty.count(b"\n") > 2
    long = b'{"event_id": "E2", "text": "' + b"x" * (16 << 20) + b'"}'
    with receiving(tmp_path) as receiver:
        for each in (body(1), pretty, b"no event", b"", b"\n", long, b"\xff"):
            assert receiver.send(each) == 200
        assert receiver.send(body(2), key="other") == 200
        assert receiver.send(body(3), key="wrong") == 401
        assert receiver.send(body(3), stamp="") == 200
        unsigned = requests.post(receiver.address, body(4), timeout=30)
        other_time = requests.post(
            receiver.address, body(4), headers=signed(body(4)) | {"X-CIO-Timestamp": "1"}
        )
        assert (unsigned.status_code, other_time.status_code) == (401, 401)
        assert requests.get(receiver.address + "health", timeout=30).text == "ok\n"
        metrics = requests.get(receiver.address + "metrics", timeout=30).text
        assert 'copymart_webhooks_total{status="200"} 9.0' in metrics
        assert 'copymart_webhooks_total{status="401"} 3.0' in metrics
        assert "everything is delivered" in receiver.stop()
    (path,) = files(tmp_path)
    assert re.fullmatch(r"events/\d{4}/\d\d/\d\d/\d\d/[\w-]+-0000000001-[0-9a-f]{12}\.jsonl\.gz", path)
    connection = warehouse()
    landed = land_path(connection, tmp_path / "events", EVENTS)
    assert landed.rows == 4
    query = "select count(*) from staging.customerio_events_rejects"
    # landing counts no blank line
    assert connection.execute(query).fetchall() == [(3,)]


@pytest.mark.integration
def test_the_event_that_the_page_sends_is_kept_and_lands(tmp_path: Path) -> None:
    page = (PROJECT / "docs/receiver.md").read_text()
    (recipe,) = (block for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) if "openssl" in block)
    with receiving(tmp_path) as receiver:
        assert "http://127.0.0.1:8000/" in recipe
        recipe = recipe.replace("http://127.0.0.1:8000/", receiver.address)
        answers = [
            subprocess.run(
                ["bash", "-euc", recipe],
                env={**os.environ, "CUSTOMERIO_WEBHOOK_KEYS": keys},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for keys in (KEY, f"{KEY},other", "wrong")
        ]
        receiver.stop()
    assert answers == ["kept\n", "kept\n", "the signature does not fit\n"]
    connection = warehouse()
    assert land_path(connection, tmp_path / "events", EVENTS).rows == 2
    found = connection.execute("select distinct event_id, object_type from staging.customerio_events")
    assert found.fetchall() == [("test-1", "webhook")]


def test_events_that_were_received_land_as_those_in_files_do(built: Built, tmp_path: Path) -> None:
    """R13: the same lines, posted one by one, give the same rows and the same rejects."""
    there = b"".join(
        gzip.decompress(path.read_bytes())
        for path in sorted(built.landing.glob("customerio/events/**/*.jsonl.gz"))
    ).split(b"\n")
    # some of all, and what is cut off or no object
    lines = [line for number, line in enumerate(there) if number % 40 == 0 or not line.endswith(b"}")]
    lines = [line for line in lines if line.strip()]
    (tmp_path / "files").mkdir()
    (tmp_path / "files/events.jsonl").write_bytes(b"\n".join(lines))
    with receiving(tmp_path) as receiver, ThreadPoolExecutor(4) as pool:
        assert set(pool.map(receiver.send, lines)) == {200}
        receiver.stop()
    found = []
    for folder in ("files", "events"):
        connection = warehouse()
        land_path(connection, tmp_path / folder, EVENTS)
        trace = "_file, _line, _loaded_at, _batch_id"
        rows = connection.execute(f"select * exclude ({trace}) from staging.customerio_events order by all")
        found.append(rows.fetchall())
        found.append(connection.execute(REASONS).fetchall())
    assert len(found[0]) > 300 and found[1]
    assert found[:2] == found[2:]


@pytest.mark.integration
def test_what_was_acknowledged_is_in_a_file_after_any_kill(tmp_path: Path) -> None:
    """A file that was seen once keeps its bytes."""
    acknowledged: set[str] = set()
    sent: set[str] = set()
    seen: dict[str, bytes] = {}
    number = iter(range(1_000_000))
    for delay in (0.02, 0.3, 0.7):
        with receiving(tmp_path) as receiver:
            end = threading.Event()

            def send(receiver: Receiver = receiver, end: threading.Event = end) -> None:
                while not end.is_set():
                    name = f"E{next(number):08}"
                    sent.add(name)
                    if receiver.send(body(int(name[1:]))) == 200:
                        acknowledged.add(name)

            with ThreadPoolExecutor(4) as pool:
                runs = [pool.submit(send) for _ in range(4)]
                time.sleep(delay)
                receiver.running.kill()
                end.set()
                for run in runs:
                    run.result()
        for path, data in files(tmp_path).items():
            assert seen.setdefault(path, data) == data
    with receiving(tmp_path) as receiver:
        receiver.stop()
    found = ids(tmp_path)
    assert len(acknowledged) > 20
    assert acknowledged <= set(found) <= sent
    assert len(found) == len(set(found))
    assert all(files(tmp_path)[path] == data for path, data in seen.items())
    assert not list((tmp_path / "spool").glob("*-*.*"))


@pytest.mark.integration
def test_segments_reach_s3_and_land(endpoint: str, tmp_path: Path) -> None:
    store = aws("s3", endpoint, "testing", "testing")
    store.create_bucket(Bucket="webhooks")
    settings = environment(AWS_ENDPOINT_URL=endpoint)
    with receiving(tmp_path, to="s3://webhooks/in", **settings) as receiver:
        assert receiver.send(body(1)) == 200
        receiver.stop()
    ((key, data),) = (
        (item["Key"], store.get_object(Bucket="webhooks", Key=item["Key"])["Body"].read())
        for item in store.list_objects_v2(Bucket="webhooks")["Contents"]
    )
    assert re.fullmatch(r"in/\d{4}/\d\d/\d\d/\d\d/[\w-]+-0000000001-[0-9a-f]{12}\.jsonl\.gz", key)
    assert gzip.decompress(data) == body(1) + b"\n"


@pytest.mark.integration
def test_a_second_receiver_needs_a_spool_of_its_own(tmp_path: Path) -> None:
    with receiving(tmp_path) as receiver:
        second = begin(tmp_path).done()
        assert second.status == 1
        assert "another receiver writes to" in " ".join(second.output.split())
        port = re.findall(r"\d+", receiver.address)[-1]
        taken = begin(tmp_path, "--port", port).done()
        assert taken.status == 1 and "give another --port" in " ".join(taken.output.split())


def test_without_a_key_nothing_is_received() -> None:
    for text_of_keys in ("", " , "):
        with pytest.raises(UserError, match="CUSTOMERIO_WEBHOOK_KEYS is not set"):
            signing_keys(text_of_keys)
    assert signing_keys(" a, b ,") == [b"a", b"b"]


def test_a_place_that_is_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOMERIO_WEBHOOK_KEYS", KEY)
    given: dict[str, Any] = {"to": str(tmp_path / "events"), "spool": tmp_path / "spool", "port": 0}
    for wrong, said in (
        ({"to": " "}, r"--to is empty \(is a shell variable unset\?\)"),
        ({"host": "\u00e9..example"}, r"--host .* is no address"),
    ):
        with pytest.raises(UserError, match=said):
            receive(**given | wrong)
    done = CliRunner().invoke(app, ["receive", "--to", str(tmp_path / "events"), "--port", "70000"])
    assert done.exit_code == 2 and "65535" in done.output


def test_a_spool_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("CUSTOMERIO_WEBHOOK_KEYS", KEY)
    monkeypatch.setattr("scripts.customerio.receive.write_whole", full)
    with pytest.raises(UserError, match=r"spool: No space left on device: name a folder .* with room"):
        receive(str(tmp_path / "events"), tmp_path / "spool", port=0)
