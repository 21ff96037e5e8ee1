"""One real service for the tests of this folder: the shipped pair on an empty gallery."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.build import open_service
from app.service import FaceService
from app.settings import Settings


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceService]:
    with open_service(Settings(data_dir=tmp_path_factory.mktemp("data"))) as opened:
        yield opened
