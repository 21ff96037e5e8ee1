"""A gallery, and a clock whose hands stand where they are put."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import Enrolment, NewFace

EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16
START = 1_800_000_000.0
Faces = Callable[[int], NewFace]


class Hands:
    """A clock's: they stand where they are put."""

    now = START


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hands:
    """What `time.time` tells in this process; other clocks go on."""
    hands = Hands()
    monkeypatch.setattr(time, "time", lambda: hands.now)
    return hands


@pytest.fixture
def gallery(clock: Hands, folder: Path) -> Iterator[LocalGallery]:
    """An open gallery with the empty collection `people`."""
    with LocalGallery(folder) as opened:
        opened.create_collection("people", EMBEDDER, DIMENSION)
        yield opened


@pytest.fixture
def enroll(gallery: LocalGallery, new_face: Faces) -> Callable[..., Enrolment]:
    """(name, *numbers, expires_at=…) into `people`."""

    def add(name: str, *numbers: int, expires_at: float | None = None, collection: str = "people") -> Enrolment:
        faces = [new_face(number) for number in numbers]
        metadata = {"team": "blue"}
        return gallery.enroll(collection, name, faces, embedder=EMBEDDER, metadata=metadata, expires_at=expires_at)

    return add
