"""A gallery to be encrypted, a key, and what of its faces lies readable in its files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from gallery.local import snapshots
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace, Terms
from tests.gallery.local.crops import DIMENSIONS, NEW, OLD, face, target, vector

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))


def files(folder: Path) -> dict[str, bytes]:
    """All files of the gallery by name, but for the -shm file, which holds page numbers only."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def readable(folder: Path, faces: Iterable[NewFace]) -> list[str]:
    """Which embeddings (whole, either half, or rounded to float16) and crops are in a file as they are."""
    found, kept = [], files(folder)
    for number, new in enumerate(faces):
        whole, crop = new.embedding.tobytes(), new.crop_png or b""
        secrets = {
            "first half": whole[: len(whole) // 2],
            "second half": whole[len(whole) // 2 :],
            "rounded": new.embedding.astype("float16").tobytes(),
        } | ({"crop": crop[:64], "crop's end": crop[-64:]} if crop else {})
        for name, data in kept.items():
            found += [f"{what} of {number} in {name}" for what, secret in secrets.items() if secret in data]
    return found


FACES = [face(number) for number in range(40)]
GATHERED = 8
MEANS = "means"


class CrashError(BaseException):
    """What a test ends a deed with."""


def peopled(folder: Path) -> Path:
    """The folder of a closed, plain gallery: FACES in `people` and in MEANS, a snapshot, a re-embedding under way."""
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", OLD, DIMENSIONS[OLD])
        gallery.create_collection(MEANS, OLD, DIMENSIONS[OLD], Terms(scoring="mean"))
        for number, new in enumerate(FACES):
            for collection in ("people", MEANS):
                gallery.enroll(collection, f"person {number}", [new], embedder=OLD)
        assert snapshots.write(gallery._store, "people")

        def stop(done: int, of: int) -> None:
            if done == GATHERED:
                raise CrashError

        with suppress(CrashError):
            gallery.reembed("people", replace(target(), on_progress=stop), made_by=OLD)
    return folder


def gathered() -> list[NewFace]:
    """What the re-embedding has made of the first faces."""
    return [face(number, NEW) for number in range(GATHERED)]


def look(folder: Path, key: bytes | None) -> None:
    """Everybody is there, is found, and has their crop."""
    with LocalGallery(folder, key=key) as gallery:
        assert gallery.check() == []
        for collection in ("people", MEANS):
            for number, new in enumerate(FACES):
                query = vector(number, OLD)[np.newaxis]
                [[match]] = gallery.search(collection, query, embedder=OLD, top_k=1, threshold=0.999)
                assert match.identity == f"person {number}"
                assert gallery.crop(collection, match.identity, match.face_id) == new.crop_png
