"""Snapshots whose rows are kept in different ways, in several blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local import snapshot_file, snapshots
from gallery.local.gallery import LocalGallery
from gallery.local.index import quarters
from gallery.local.index.kinds import kept
from gallery.types import NewFace
from tests.gallery.local.conftest import EMBEDDER
from tests.gallery.local.test_snapshots import PEOPLE, came_from, holding, kept_bytes, path

Names = Callable[..., list[str]]
Vector = Callable[[int], NDArray[np.float32]]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "BLOCK_ROWS", 8)
    monkeypatch.setattr(quarters, "_REACH", 2.0)


@pytest.fixture
def peopled(gallery: LocalGallery, new_face: Callable[[int], NewFace]) -> LocalGallery:
    for number in range(PEOPLE):
        gallery.enroll("people", f"person {number}", [new_face(number)], embedder=EMBEDDER)
    assert snapshots.write(gallery._store, "people")
    return gallery


def test_a_file_has_blocks_of_both_kinds(peopled: LocalGallery) -> None:
    with path(peopled).open("rb") as file:
        stamp = snapshot_file.read_stamp(file.fileno())
        size = file.seek(0, 2)
    rows = [rows for _, rows in stamp.blocks]
    assert {name for name, _ in stamp.blocks} == {"int8", "float16"}
    assert (sum(rows), max(rows)) == (PEOPLE, 8)
    assert size == stamp.table + 4 * len(stamp.chunks)


def test_whoever_is_erased_leaves_it_whatever_the_row_is_kept_as(
    peopled: LocalGallery, folder: Path, vector: Vector
) -> None:
    kinds = set[str]()
    for number in range(PEOPLE):
        kinds.add(kept(vector(number)).dtype.name)
        assert holding(folder, kept_bytes(vector(number))) == [path(peopled).name]
        peopled.delete_identity("people", f"person {number}")
        left = [other for other in range(PEOPLE) if holding(folder, kept_bytes(vector(other)))]
        assert left == list(range(number + 1, PEOPLE))
    assert kinds == {"uint8", "float16"}
    with LocalGallery(folder) as third:
        assert came_from(third) == PEOPLE
        assert third.check() == []
        assert len(third._projections._of["people"]._index) == 0


def test_a_file_of_an_older_format_is_written_anew(
    peopled: LocalGallery, folder: Path, vector: Vector, names: Names
) -> None:
    with path(peopled).open("r+b") as file:
        assert file.read(16) == b"FaceServe rows 2"
        file.seek(15)
        file.write(b"1")
    with LocalGallery(folder) as again:
        assert came_from(again) is None
        assert names(again, vector(3)) == ["person 3"]
        assert snapshots.write(again._store, "people")
    with LocalGallery(folder) as third:
        assert came_from(third) == PEOPLE
        assert third.check() == []
