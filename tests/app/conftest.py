"""One real service for the tests of this folder: the shipped pair on an empty gallery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.build import open_service
from app.service import FaceService
from app.settings import Settings


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceService]:
    with open_service(Settings(data_dir=tmp_path_factory.mktemp("data"))) as opened:
        yield opened


@pytest.fixture(scope="session")
def astronaut(samples: Path) -> bytes:
    return (samples / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def hopper(samples: Path) -> bytes:
    return (samples / "grace_hopper.jpg").read_bytes()


@pytest.fixture(scope="session")
def group(samples: Path) -> bytes:
    return (samples / "group.jpg").read_bytes()
