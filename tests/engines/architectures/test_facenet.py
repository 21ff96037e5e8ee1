"""FaceNet, built, imported and fed: the vector that facenet-pytorch makes of a face with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.crops import Cropper
from engines.models import ModelSpec
from tests.engines.families.faces import face, is_known, photo_of
from tests.engines.families.networks import run

MARGIN_PX = 14
KNOWN = [-0.01263, 0.01566, 0.04316, -0.02862, -0.02603, -0.04617, 0.00029, -0.03196]
"""From its `extract_face` and `InceptionResnetV1` with the weights that `random_weights(0)` gives: the first values."""
TOLERANCE = 3e-4


def test_facenet_gives_the_known_vector(samples: Path, imported: Callable[[str], ModelSpec]) -> None:
    """And another for BGR taken for RGB, another mean, no margin, an aligned face, rows for columns."""
    spec, photo = imported("facenet"), photo_of(samples)
    ((size, path),) = [(file.size, file.path) for file in spec.files]
    right = Cropper(spec.crop, size, MARGIN_PX).cut(photo, face())
    wrong = [
        right[..., ::-1],
        np.clip(right, 0, 250) + np.uint8(5),
        Cropper("box", size).cut(photo, face()),
        Cropper("template", size).cut(photo, face()),
        right.transpose(0, 2, 1, 3),
    ]
    known, *others = run(path, np.concatenate([right, *wrong]))["embeddings"]
    assert is_known(known, KNOWN, TOLERANCE), known[:8].tolist()
    assert [is_known(other, KNOWN, TOLERANCE) for other in others] == [False] * len(wrong)
