"""The Dockerfile's commands, run on a checkout's files instead of in a container."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests

from support.project import PROJECT

pytestmark = pytest.mark.integration

STEPS = [
    (word, rest)
    for word, _, rest in (
        line.partition(" ")
        for line in (PROJECT / "Dockerfile").read_text().splitlines()
        if line and not line.startswith("#")
    )
]


def test_the_container_receives_and_ends_when_told(clone: Path, tmp_path: Path) -> None:
    """`clone` is what COPY brings; the volume is a folder of the test."""
    volume = tmp_path / "volume"

    def here(text: str) -> str:
        return text.replace("/var/lib/copymart", str(volume))

    assert [word for word, _ in STEPS] == [
        *("FROM", "WORKDIR", "COPY", "RUN", "RUN", "VOLUME", "USER", "EXPOSE", "ENTRYPOINT")
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    environment = clean | {"PIP_NO_INDEX": "1", "CUSTOMERIO_WEBHOOK_KEYS": "key", "PYTHONUNBUFFERED": "1"}
    for command in (here(rest) for word, rest in STEPS if word == "RUN"):
        subprocess.run(["sh", "-ec", command], cwd=clone, env=environment, check=True)
    assert volume.stat().st_mode & 0o777 == 0o777
    entrypoint = json.loads(here(STEPS[-1][1]))
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*entrypoint, "--to", tmp_path / "events", "--port", "0"],
            cwd=clone,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://0\.0\.0\.0:(\d+)/", log.read_text())):
            assert time.monotonic() < deadline and process.poll() is None, log.read_text()
            time.sleep(0.05)
        assert requests.get(f"http://127.0.0.1:{found[1]}/health", timeout=10).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def test_the_image_has_what_git_has() -> None:
    """A checkout's own warehouse, keys and environment stay out."""
    ignored = (PROJECT / ".dockerignore").read_text().split()
    for secret in (".venv", "data", "profiles.yml", "**/*.duckdb*"):
        assert secret in ignored
