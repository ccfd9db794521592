"""A Track API server with a certificate that requests trusts, and a project to send from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.outbound import Project, project
from support.track_server import World, certificate, served


@pytest.fixture(scope="session")
def track_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("track"))


@pytest.fixture
def world(track_certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(track_certificate[0]))
    with served(World(), track_certificate) as world:
        yield world


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return project(tmp_path, monkeypatch)
