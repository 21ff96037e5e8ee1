"""Large collections get a snapshot without being asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local import keeper
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace
from tests.gallery.local.conftest import DIMENSION, EMBEDDER
from tests.gallery.local.test_snapshots import PEOPLE, came_from

Faces = Callable[[int], NewFace]
Names = Callable[..., list[str]]
Vector = Callable[[int], NDArray[np.float32]]


def test_large_collections_get_one_by_themselves(
    folder: Path, new_face: Faces, vector: Vector, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LEAST_ROWS", 10)
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        for number in range(PEOPLE):
            gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
        assert names(gallery, vector(4)) == ["person 4"]
        for _ in range(3000):
            if came_from(gallery) is not None:
                break
            threading.Event().wait(0.01)
        assert came_from(gallery) == PEOPLE
        gallery.enroll("people", "late", [new_face(100)], embedder=EMBEDDER)
        gallery.delete_identity("people", "person 3")
        assert names(gallery, vector(100)) == ["late"]
        assert gallery.check() == []
    with LocalGallery(folder) as again:
        assert came_from(again) == PEOPLE
        assert again.check() == []
