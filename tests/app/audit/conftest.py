"""A small gallery whose deeds are recorded, and what was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.audit.gallery import AuditedGallery
from app.audit.recorder import Recorder
from app.audit.subjects import Subjects, open_subjects
from app.audit.trail import FOLDER, Trail
from gallery.local.gallery import LocalGallery
from tests.app.audit.trails import lines_of
from tests.gallery.local.faults.world import DIMENSION, EMBEDDER

Records = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path / FOLDER)


@pytest.fixture
def subjects(tmp_path: Path) -> Subjects:
    return open_subjects(tmp_path)


@pytest.fixture
def recorder(trail: Trail, subjects: Subjects) -> Recorder:
    return Recorder(trail, subjects, "all")


@pytest.fixture
def gallery(tmp_path: Path, recorder: Recorder) -> Iterator[AuditedGallery]:
    """With the empty collection `people`, which the audit does not know of."""
    with LocalGallery(tmp_path / "gallery") as bare:
        bare.create_collection("people", EMBEDDER, DIMENSION)
        yield AuditedGallery(bare, recorder)


@pytest.fixture
def records(trail: Trail) -> Records:
    """All that was recorded, and the time, who and the chain left out."""
    passing = {"n", "at", "who", "from", "request", "via", "prev", "digest", "key"}

    def read() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in lines_of(trail.folder)]
        return [{name: value for name, value in line.items() if name not in passing} for line in lines]

    return read
