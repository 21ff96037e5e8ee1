"""How differences are counted: nothing between equals, and known changes come out as what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.compare import agrees, detector_differences, embedder_differences, faces_in, pairs
from engines.detector import Detections

SPACING, SIDE = 100, 40
Outputs = dict[str, NDArray[Any]]


def faces_apart(rows: int, faces: int, candidates: int = 8, score: float = 0.9) -> Outputs:
    """A detector's answer: `faces` boxes far from each other in every row, best first; the rest score nothing."""
    scores = np.zeros((rows, candidates), np.float32)
    scores[:, :faces] = score - 0.01 * np.arange(faces)
    corners = SPACING * np.arange(candidates, dtype=np.float32)
    boxes = np.stack([corners, corners, corners + SIDE, corners + SIDE], axis=1)
    points = corners[:, None, None] + np.arange(10, dtype=np.float32).reshape(5, 2)
    return {
        "scores": scores,
        "boxes": np.repeat(boxes[None], rows, axis=0),
        "landmarks": np.repeat(points[None], rows, axis=0),
    }


def embedded(rows: int, seed: int = 0) -> Outputs:
    vectors = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    return {"embeddings": vectors / norms[:, None], "norms": norms}


detections = st.builds(faces_apart, rows=st.integers(1, 3), faces=st.integers(0, 8))


@given(detections)
def test_a_detector_does_not_differ_from_itself(outputs: Outputs) -> None:
    found = detector_differences(outputs, outputs)
    faces = int((outputs["scores"] >= 0.5).sum())
    assert found["faces"] == {"reference": faces, "given": faces, "matched": faces}
    assert found["images"] == len(outputs["scores"])
    assert found["unmatched"] == found["apart"] == []
    assert agrees(found)
    if faces:
        assert found["iou"] == {"min": 1, "mean": 1}
        assert found["landmarks_px"] == found["scores"] == {"max": 0, "mean": 0}
    else:
        assert found["iou"]["min"] is found["landmarks_px"]["max"] is found["scores"]["mean"] is None


@given(st.integers(1, 50).map(embedded))
def test_an_embedder_does_not_differ_from_itself(outputs: Outputs) -> None:
    found = embedder_differences(outputs, outputs)
    assert found["crops"] == len(outputs["norms"])
    assert found["cosine"]["min"] == pytest.approx(1)
    assert found["norms"] == {"max": 0, "mean": 0}
    assert agrees(found)


@given(
    faces=st.integers(1, 8),
    shift=st.floats(-10, 10),
    move=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    drop=st.floats(0, 0.3),
)
def test_known_shifts_come_out(faces: int, shift: float, move: tuple[float, float], drop: float) -> None:
    reference, moved = faces_apart(1, faces), faces_apart(1, faces)
    moved["boxes"] += np.float32(shift) * np.array([1, 0, 1, 0], np.float32)
    moved["landmarks"] += np.array(move, np.float32)
    moved["scores"][moved["scores"] > 0] -= np.float32(drop)
    found = detector_differences(reference, moved)
    assert found["faces"]["matched"] == faces
    expected = (SIDE - abs(shift)) / (SIDE + abs(shift))
    assert found["iou"]["min"] == pytest.approx(expected, abs=1e-4)
    assert found["iou"]["mean"] == pytest.approx(expected, abs=1e-4)
    assert found["landmarks_px"]["max"] == pytest.approx(np.hypot(*move), abs=1e-3)
    assert found["scores"]["mean"] == pytest.approx(drop, abs=1e-6)


@given(st.permutations(range(6)))
def test_the_order_of_faces_is_no_difference(order: list[int]) -> None:
    reference = faces_apart(1, 6, candidates=6)
    shuffled = {name: array[:, order] for name, array in reference.items()}
    assert detector_differences(reference, shuffled)["landmarks_px"] == {"max": 0, "mean": 0}


def test_faces_that_one_side_alone_found_are_named() -> None:
    reference, other = faces_apart(2, 3), faces_apart(2, 3)
    other["scores"][1, 2] = 0.49
    other["boxes"][0, 0] += 1000
    found = detector_differences(reference, other)
    assert found["faces"] == {"reference": 6, "given": 5, "matched": 4}
    assert [(face["image"], face["side"]) for face in found["unmatched"]] == [
        (0, "reference"),
        (0, "given"),
        (1, "reference"),
    ]
    assert found["unmatched"][2]["box"] == [200, 200, 240, 240]
    assert found["unmatched"][2]["score"] == pytest.approx(0.88)
    assert not agrees(found)


def test_each_face_has_one_partner_and_the_best_pair_comes_first() -> None:
    def row_of(*lefts: float) -> Detections:
        boxes = np.array([[left, 0, left + 100, 100] for left in lefts], np.float32).reshape(-1, 4)
        return Detections(boxes, np.ones(len(lefts), np.float32), np.zeros((len(lefts), 5, 2), np.float32))

    ours, theirs, shared = pairs(row_of(0, 20), row_of(15, 300))
    assert (ours.tolist(), theirs.tolist()) == ([1], [0])
    assert shared == pytest.approx([95 / 105])
    ours, theirs, _ = pairs(row_of(0, 30), row_of(10, 35))
    assert sorted(zip(ours.tolist(), theirs.tolist(), strict=True)) == [(0, 0), (1, 1)]
    assert [part.tolist() for part in pairs(row_of(), row_of(1))] == [[], [], []]


def test_a_tie_between_candidates_is_told_and_still_differs() -> None:
    reference = faces_apart(1, 2)
    for name in ("boxes", "landmarks"):
        reference[name][0, 2] = reference[name][0, 0] + 2
    reference["scores"][0, 2] = reference["scores"][0, 0] - np.float32(0.001)
    other = {name: array.copy() for name, array in reference.items()}
    other["scores"][0, 2] += np.float32(0.002)
    found = detector_differences(reference, other)
    (face,) = found["apart"]
    assert face["tie"] == pytest.approx(0.001, abs=1e-6)
    assert face["landmarks_px"] == pytest.approx(np.hypot(2, 2))
    assert (face["image"], face["box"], face["iou"]) == (0, [0, 0, SIDE, SIDE], found["iou"]["min"])
    assert not agrees(found)

    other["landmarks"][0, 2] += 1
    assert detector_differences(reference, other)["apart"][0]["tie"] is None


def test_overlapping_candidates_are_one_face() -> None:
    outputs = faces_apart(1, 4)
    outputs["boxes"][0, 1] = outputs["boxes"][0, 0] + 2
    assert len(faces_in(outputs, 0)) == 3
    assert detector_differences(outputs, outputs)["faces"]["matched"] == 3


def test_numbers_that_are_none_are_counted() -> None:
    reference, broken = faces_apart(1, 2), faces_apart(1, 2)
    broken["boxes"][0, 0, 0] = np.nan
    broken["scores"][0, 7] = np.inf
    found = detector_differences(reference, broken)
    assert found["not_finite"] == 2
    assert found["faces"]["matched"] == 1
    assert not agrees(found)

    reference, broken = embedded(3), embedded(3)
    broken["embeddings"][1, 0] = np.nan
    broken["norms"][2] = np.inf
    found = embedder_differences(reference, broken)
    assert found["not_finite"] == 2
    assert found["cosine"] == {"min": 0, "mean": pytest.approx(2 / 3)}
    assert found["norms"] == {"max": 0, "mean": 0}
    assert not agrees(found)


@given(st.floats(0, np.pi))
def test_the_cosine_is_that_of_the_angle(angle: float) -> None:
    reference = {"embeddings": np.array([[1, 0]], np.float32), "norms": np.array([10], np.float32)}
    turned = {
        "embeddings": np.array([[np.cos(angle), np.sin(angle)]], np.float32),
        "norms": np.array([9], np.float32),
    }
    found = embedder_differences(reference, turned)
    assert found["cosine"]["min"] == pytest.approx(np.cos(angle), abs=1e-6)
    assert found["norms"]["max"] == pytest.approx(0.1)


def test_detectors_without_landmarks_are_compared_by_their_boxes() -> None:
    reference, moved = ({name: faces_apart(1, 3)[name] for name in ("scores", "boxes")} for _ in range(2))
    assert faces_in(reference, 0).landmarks.shape == (3, 0, 2)
    found = detector_differences(reference, reference)
    assert found["faces"]["matched"] == 3
    assert found["landmarks_px"] == {"max": None, "mean": None}
    assert agrees(found)

    moved["boxes"][0, 1] += np.array([10, 0, 10, 0], np.float32)
    found = detector_differences(reference, moved)
    (face,) = found["apart"]
    assert (face["landmarks_px"], face["tie"]) == (None, None)
    assert face["iou"] == pytest.approx(30 / 50)
    assert not agrees(found)


def test_different_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="the reference answers 2 rows, the other side 3"):
        embedder_differences(embedded(2), embedded(3))
