"""Faces with crops that say their number, and two embedders that read it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gallery.types import NewFace, Target

OLD, NEW = "digest-of-the-old-one", "digest-of-the-new-one"
DIMENSIONS = {OLD: 16, NEW: 24}
_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (96).to_bytes(4, "big") + (112).to_bytes(4, "big")


def vector(number: int, embedder: str) -> NDArray[np.float32]:
    """What the embedder makes of face `number`: (D,) float32 of unit length."""
    seed = int.from_bytes(hashlib.sha256(f"{embedder} {number}".encode()).digest()[:4], "big")
    row = np.random.default_rng(seed).standard_normal(DIMENSIONS[embedder]).astype(np.float32)
    return np.divide(row, np.linalg.norm(row), dtype=np.float32)


def crop(number: int) -> bytes:
    """The beginning of a PNG of 112 x 96 px, and the number."""
    return _HEAD + b"%d" % number


def face(number: int, embedder: str = OLD, *, with_crop: bool = True) -> NewFace:
    source = hashlib.sha256(b"picture %d" % number).hexdigest()
    return NewFace(vector(number, embedder), source, {"score": 0.75}, crop(number) if with_crop else None)


def embedded(pngs: Sequence[bytes], embedder: str = NEW) -> NDArray[np.float32]:
    return np.stack([vector(int(png[len(_HEAD) :]), embedder) for png in pngs])


def target(embedder: str = NEW, batch: int = 4) -> Target:
    return Target(embedder, DIMENSIONS[embedder], lambda pngs: embedded(pngs, embedder), batch)
