"""A gallery of the old embedder, and whether everybody in it is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import Enrolment, ModelMismatchError
from tests.gallery.local.crops import DIMENSIONS, NEW, OLD, face, vector

FACES = 10


@contextmanager
def peopled(folder: Path) -> Iterator[LocalGallery]:
    """`people` of the old embedder: `person N` with face N, all with crops."""
    with LocalGallery(folder) as opened:
        opened.create_collection("people", OLD, DIMENSIONS[OLD])
        for number in range(FACES):
            enroll(opened, number)
        yield opened


def enroll(gallery: LocalGallery, number: int, embedder: str = OLD, *, with_crop: bool = True) -> Enrolment:
    new = face(number, embedder, with_crop=with_crop)
    return gallery.enroll("people", f"person {number}", [new], embedder=embedder, metadata={"number": number})


def found(gallery: LocalGallery, number: int, embedder: str) -> list[str]:
    query = vector(number, embedder)[np.newaxis]
    matches = gallery.search("people", query, embedder=embedder, top_k=1, threshold=0.999)[0]
    return [match.identity for match in matches]


def requires(gallery: LocalGallery, embedder: str, numbers: Sequence[int]) -> None:
    """Everybody is found by that embedder's embeddings, and by no other's."""
    other = OLD if embedder == NEW else NEW
    for number in numbers:
        assert found(gallery, number, embedder) == [f"person {number}"]
        assert gallery.similarity("people", f"person {number}", vector(number, embedder), embedder=embedder)[0] > 0.999
    with pytest.raises(ModelMismatchError):
        found(gallery, 0, other)
    assert gallery.check() == []
