"""A misbehaving server of files, and little patience with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.downloads.fetch import Patience
from tests.engines.downloads.file_server import FileServer, serving


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def patience() -> Patience:
    return Patience(retries=2, backoff_s=0, timeout_s=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where downloads go."""
    made = tmp_path / "downloads"
    made.mkdir()
    return made
