"""InsightFace's packs of aligned crops in pairs (`lfw.bin` and its like)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.verification.pairs import Pairs
from app.evaluation.verification.pickled import Array, load

FOLDS = 10


def read_pack(file: Path) -> Pairs:
    """The pairs of a pack: the pickle of a list of 2p encoded images (bytes, or uint8 arrays of them) and a list of p
    bool, of which number i says whether images 2i and 2i + 1 show the same person.

    The pairs are cut into ten folds in their order, as its own verification does. An image that comes twice is one
    photo, named by where it comes first; nobody is named, so photos have no person. Nothing in the pickle is run.

    Raises EvaluationError for a file that is no such pack, OSError for no such file.
    """
    images, same = _lists(load(file.read_bytes(), file.name), file)
    if len(images) != 2 * len(same) or len(same) < 2:
        raise EvaluationError(
            f"{file} has {len(images)} images for {len(same)} pairs: expected two for each, of 2 or more"
        )
    place: dict[bytes, int] = {}
    places = np.array([place.setdefault(image, len(place)) for image in images], np.intp)
    firsts = np.unique(places, return_index=True)[1]
    fold = np.concatenate([np.full(len(part), n) for n, part in enumerate(np.array_split(same, min(FOLDS, len(same))))])
    return Pairs(
        photos=tuple(
            Photo(f"{file.stem}/{first:05d}", None, image) for first, image in zip(firsts.tolist(), place, strict=True)
        ),
        left=places[::2].copy(),
        right=places[1::2].copy(),
        same=np.array(same, np.bool_),
        fold=fold.astype(np.intp),
    )


def _lists(value: Any, file: Path) -> tuple[list[bytes], list[bool]]:
    match value:
        case [list(images), list(flags)]:
            data = [image.data if isinstance(image, Array) else image for image in images]
            if all(isinstance(each, bytes) for each in data) and all(isinstance(each, int) for each in flags):
                return data, [bool(each) for each in flags]
    raise EvaluationError(f"{file} is no pack: expected the pickle of a list of encoded images and a list of bool")
