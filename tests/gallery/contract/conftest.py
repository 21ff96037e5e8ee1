"""One suite for every kind of gallery: in a folder, in a milvus-lite, and in a real Milvus where one is named.

`FACESERVE_TEST_MILVUS=milvus://host:port?index=FLAT` has it run against that Milvus too, where it leaves nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.gallery import Gallery
from gallery.local.gallery import LocalGallery
from gallery.milvus.address import Address, parse
from gallery.milvus.gallery import MilvusGallery
from gallery.types import NewFace

EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16
SERVER = os.environ.get("FACESERVE_TEST_MILVUS", "")


def vector(number: int) -> NDArray[np.float32]:
    """(16,) float32 of unit length, always the same."""
    row = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
    return np.divide(row, np.linalg.norm(row), dtype=np.float32)


def face(number: int, crop: bytes | None = None) -> NewFace:
    """A face with that embedding, from a picture of its own."""
    return NewFace(vector(number), hashlib.sha256(b"picture %d" % number).hexdigest(), {"score": 0.75}, crop)


@dataclass(frozen=True)
class Kind:
    """A kind of gallery: `open` gives a handle on the same one each time; `offers` what not every kind does."""

    name: str
    open: Callable[..., Gallery]
    offers: frozenset[str]


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """One milvus-lite for all tests of this process."""
    if sys.platform == "win32":
        pytest.skip("milvus-lite is not installed on Windows")
    pytest.importorskip("pymilvus", reason="pymilvus is not here: pip install 'faceserve[milvus]'")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not here: pip install milvus-lite")
    address = parse(f"milvus://{tmp_path_factory.mktemp('milvus') / 'lite.db'}")
    with MilvusGallery(address) as kept:
        kept.ready()
        yield address


@pytest.fixture(params=["local", "milvus-lite", *(["milvus"] if SERVER else [])])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    """Each kind of gallery in turn; what tests open is closed for them."""
    with ExitStack() as stack:
        if request.param == "local":

            def opened(**options: float) -> Gallery:
                return stack.enter_context(LocalGallery(tmp_path / "gallery", **options))  # type: ignore[arg-type]

            yield Kind("local", opened, frozenset({"mean", "limits", "reembed"}))
            return
        address = parse(SERVER) if request.param == "milvus" else request.getfixturevalue("lite")

        def connected(**options: float) -> Gallery:
            return stack.enter_context(MilvusGallery(address, timeout_s=10, **options))

        yield Kind(str(request.param), connected, frozenset())


@pytest.fixture
def people() -> str:
    """A name for a collection that no other test uses: a Milvus is shared."""
    return f"people-{uuid4().hex[:12]}"


@pytest.fixture
def gallery(kind: Kind, people: str) -> Iterator[Gallery]:
    """A handle on a gallery with that collection, empty."""
    opened = kind.open()
    opened.create_collection(people, EMBEDDER, DIMENSION)
    yield opened
    for found in opened.collections():
        if found.name.startswith(people):
            opened.delete_collection(found.name)


def names(
    gallery: Gallery, people: str, query: NDArray[np.float32], *, top_k: int = 1, threshold: float = 0.99
) -> list[str]:
    """Whom the embedding is found to be, best first."""
    (found,) = gallery.search(people, query[None], embedder=EMBEDDER, top_k=top_k, threshold=threshold)
    return [match.identity for match in found]
