"""A peopled gallery, made once and copied for each test that turns it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.gallery.local.encryption.sealing import peopled


@pytest.fixture(scope="session")
def peopled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peopled(tmp_path_factory.mktemp("peopled") / "gallery")


@pytest.fixture
def plain(peopled_once: Path, tmp_path: Path) -> Path:
    """A copy of what `peopled` makes, for this test alone."""
    return shutil.copytree(peopled_once, tmp_path / "gallery")
