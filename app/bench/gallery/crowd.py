"""A gallery of many people who do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gallery.local import face_records, records, snapshots
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace

EMBEDDER, COLLECTION = "bench", "crowd"
_PAGE_ROWS = 10_000
_NOISE = 0.6
"""Of the length of an embedding: another picture of the same person has a cosine near 0.86."""


def pages(rows: int, dimension: int) -> Iterator[NDArray[np.float32]]:
    """All embeddings, (n, dimension) float32 of unit length, always the same."""
    for number, start in enumerate(range(0, rows, _PAGE_ROWS)):
        yield unit(np.random.default_rng([dimension, number]), min(_PAGE_ROWS, rows - start), dimension)


def unit(rng: np.random.Generator, rows: int, dimension: int) -> NDArray[np.float32]:
    drawn = rng.standard_normal((rows, dimension), np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def pictures_of(embeddings: NDArray[np.float32], count: int, seed: int) -> tuple[NDArray[np.float32], list[str]]:
    """Other pictures of `count` people, (count, dimension) float32 of unit length, and their names."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, len(embeddings), count)
    others = embeddings[who] + _NOISE * unit(rng, count, embeddings.shape[1])
    found: NDArray[np.float32] = others / np.linalg.norm(others, axis=1, keepdims=True)
    return found, [name(int(number)) for number in who]


def name(number: int) -> str:
    return f"person {number}"


def fill(folder: Path, rows: int, dimension: int) -> None:
    """Makes a gallery of that many identities with one face each, and its snapshot."""
    with LocalGallery(folder) as gallery:
        gallery.create_collection(COLLECTION, EMBEDDER, dimension)
        number = 0
        for page in pages(rows, dimension):
            with gallery._store.write() as connection:  # one by one, as through `enroll`, a million would take minutes
                key = records.collection(connection, COLLECTION).key
                for embedding in page:
                    owner = records.add_identity(connection, key, name(number), {})
                    face_records.add_face(connection, key, owner, NewFace(embedding, f"{number:064x}"))
                    number += 1
        gallery._store.truncate_log()
        snapshots.write(gallery._store, COLLECTION)
