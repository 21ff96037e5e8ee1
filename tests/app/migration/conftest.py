"""A gallery to carry elsewhere, and where to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallery.local.gallery import LocalGallery
from tests.app.migration.people import DIMENSION, EMBEDDER, enroll


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`people` with 150 identities of two faces, one of them with a crop: 450 records."""
    folder = tmp_path_factory.mktemp("filled") / "source"
    with LocalGallery(folder) as opened:
        opened.create_collection("people", EMBEDDER, DIMENSION)
        for number in range(150):
            enroll(opened, number)
    return folder


@pytest.fixture
def source(filled: Path, tmp_path: Path) -> Iterator[LocalGallery]:
    shutil.copytree(filled, tmp_path / "source")
    with LocalGallery(tmp_path / "source") as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalGallery]:
    with LocalGallery(tmp_path / "target") as opened:
        yield opened
