"""The values of the cache come back bit by bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.evaluation.rows import NO_FACE, Face, pack_detections, pack_face, unpack_detections, unpack_face
from engines.detector import Detections

NUMBERS = st.floats(width=32, allow_nan=False)


@given(st.data(), st.integers(0, 5), st.sampled_from([0, 5]))
def test_detections_come_back(data: st.DataObject, faces: int, points: int) -> None:
    given_ones = Detections(*(data.draw(arrays(np.float32, shape, elements=NUMBERS)) for shape in (
        (faces, 4), (faces,), (faces, points, 2)
    )))  # fmt: skip
    found = unpack_detections(pack_detections(given_ones))
    assert found is not None
    for name in ("boxes", "scores", "landmarks"):
        before, after = getattr(given_ones, name), getattr(found, name)
        assert (before.shape, before.dtype, before.tobytes()) == (after.shape, after.dtype, after.tobytes())
        assert after.flags.writeable


def test_no_picture_is_not_the_same_as_no_face() -> None:
    assert unpack_detections(pack_detections(None)) is None
    nobody = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
    found = unpack_detections(pack_detections(nobody))
    assert found is not None
    assert found.landmarks.shape == (0, 5, 2)


@given(arrays(np.float32, 7, elements=NUMBERS), st.floats(0, 1, width=32), st.integers(1, 900))
def test_a_face_comes_back(embedding: np.ndarray[tuple[int], np.dtype[np.float32]], score: float, faces: int) -> None:
    box = np.array([1, 2.5, 3, 4], np.float32)
    found = unpack_face(pack_face(Face(embedding, box, score, faces)))
    assert (found.embedding.tobytes(), found.box.tobytes()) == (embedding.tobytes(), box.tobytes())
    assert (found.score, found.faces) == (score, faces)


def test_no_face_comes_back() -> None:
    found = unpack_face(pack_face(NO_FACE))
    assert (found.faces, found.embedding.shape) == (0, (0,))
    assert np.isnan(found.box).all()
