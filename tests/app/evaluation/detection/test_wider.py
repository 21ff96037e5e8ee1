from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import savemat

from app.evaluation.detection.wider import judged, normalised, overlap, protocol
from app.evaluation.detection.wider_truth import SUBSETS, TrueFaces, read_truth
from app.evaluation.photos import EvaluationError
from tests.app.evaluation.detection.made_up import Box, annotated, detections, iou_of, square

Event = dict[str, tuple[list[Box], dict[str, list[int]]]]
"""By file: boxes as x y width height, and by subset the faces that belong to it, counted from 1."""


def column(cells: list[object]) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    """A MATLAB cell array, n × 1."""
    made = np.empty((len(cells), 1), object)
    for place, cell in enumerate(cells):
        made[place, 0] = cell
    return made


def write_truth(folder: Path, events: dict[str, Event]) -> Path:
    """The four files, laid out as WIDER FACE's are."""
    folder.mkdir(exist_ok=True)
    shared = {
        "event_list": column(list(events)),
        "file_list": column([column([name.removesuffix(".jpg") for name in photos]) for photos in events.values()]),
    }
    boxes = [
        column([np.array(faces, np.float64).reshape(-1, 4) for faces, _ in photos.values()])
        for photos in events.values()
    ]
    savemat(folder / "wider_face_val.mat", shared | {"face_bbx_list": column(list(boxes))})
    for subset, file in SUBSETS.items():
        lists = [
            column([np.array(of[subset], np.uint16).reshape(-1, 1) for _, of in photos.values()])
            for photos in events.values()
        ]
        savemat(folder / file, shared | {"gt_list": column(list(lists))})
    return folder


EVENTS: dict[str, Event] = {
    "0--Parade": {
        "a.jpg": (
            [(0, 0, 10, 10), (100, 0, 10, 10), (200, 0, 10, 10)],
            {"easy": [1], "medium": [1, 2], "hard": [1, 2, 3]},
        ),
        "b.jpg": ([], {"easy": [], "medium": [], "hard": []}),
    },
    "1--Picnic": {"c.jpg": ([(0, 0, 40, 40)], {"easy": [], "medium": [1], "hard": [1]})},
}
FOUND = {
    "0--Parade/a.jpg": detections(
        *((square(0, 0), 0.9), (square(100, 0), 0.7), (square(1, 0), 0.5), (square(50, 50), 0.1))
    ),
    "0--Parade/b.jpg": detections((square(0, 0), 0.8)),
    "1--Picnic/c.jpg": None,
}


def test_the_protocol_by_hand(tmp_path: Path) -> None:
    """Scores 0.9 … 0.1 become 1 … 0. The photo without faces does not count at all; the one that could not be read
    misses its face.

    Easy, 1 face: right, [left out], false, false. Medium, 3 faces: right, right, false (the face is taken), false.
    """
    told = protocol(read_truth(write_truth(tmp_path / "truth", EVENTS)), FOUND)
    assert (told["photos"], told["of_photos"]) == (3, 3)
    assert told["easy"] == {"faces": 1, "ap": pytest.approx(1)}
    assert told["medium"] == {"faces": 3, "ap": pytest.approx(2 / 3)}
    assert told["hard"] == {"faces": 4, "ap": pytest.approx(2 / 4)}


def test_a_false_one_before_the_right_one(tmp_path: Path) -> None:
    """False at 1, right at 0.5, the face outside the subset at 0.25: one of two found, at a precision of a half."""
    truth = read_truth(write_truth(tmp_path / "truth", EVENTS))
    found = {
        "0--Parade/a.jpg": detections(
            *((square(50, 50), 0.9), (square(0, 0), 0.5), (square(200, 0), 0.3), (square(80, 50), 0.1))
        )
    }
    told = protocol(truth, found)
    assert told["medium"] == {"faces": 2, "ap": pytest.approx(0.5 * 0.5)}
    assert (told["photos"], told["of_photos"]) == (1, 3)


def test_thresholds_are_a_thousand(tmp_path: Path) -> None:
    """Scores that lie between two thresholds are told apart by none: right and false come at once."""
    faces = [(0.0, 0.0, 10.0, 10.0)]
    truth = write_truth(tmp_path / "truth", {"e": {"a.jpg": (faces, {"easy": [1], "medium": [1], "hard": [1]})}})
    rows = [(square(50, 50), 1.0), (square(0, 0), 0.5005), (square(80, 50), 0.5002), (square(80, 80), 0.0)]
    assert protocol(read_truth(truth), {"e/a.jpg": detections(*rows)})["easy"]["ap"] == pytest.approx(1 / 3)
    rows[2] = (square(80, 50), 0.4995)
    assert protocol(read_truth(truth), {"e/a.jpg": detections(*rows)})["easy"]["ap"] == pytest.approx(1 / 2)


def test_a_pixel_is_added_to_every_side() -> None:
    """10 × 10 px of 0..9 against the half of it, 0..9 × 0..4: 50 of 100, where corners alone give 36 of 81."""
    boxes, faces = np.array([[0.0, 0, 9, 4]]), np.array([[0.0, 0, 9, 9]])
    assert overlap(boxes, faces).tolist() == [[0.5]]
    counts, finds = judged(faces, np.array([True]), boxes)
    assert (counts.tolist(), finds.tolist()) == ([True], [True])


def test_equal_scores_are_all_taken() -> None:
    assert [each.tolist() for each in normalised([np.array([0.4, 0.4]), np.empty(0)])] == [[1, 1], []]
    assert [each.tolist() for each in normalised([np.array([0.9, 0.1]), np.array([0.5])])] == [[1, 0], [0.5]]
    assert normalised([]) == []


BOXES = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)),
    *(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8)),
)


@given(st.lists(st.tuples(BOXES, st.booleans()), max_size=5), st.lists(BOXES, max_size=8))
def test_the_slow_twin_judges_the_same(faces: list[tuple[Box, bool]], boxes: list[Box]) -> None:
    """Written down after the order of events: one detection after the other, each face found, outside or free."""
    counts, finds, taken = [], [], set()
    for box in boxes:
        overlaps = [iou_of(box, face, extra=1) for face, _ in faces]
        best = int(np.argmax(overlaps)) if faces else -1
        near = best >= 0 and overlaps[best] >= 0.5
        counts.append(bool(faces) and not (near and not faces[best][1]))
        finds.append(near and faces[best][1] and best not in taken)
        if near:
            taken.add(best)
    given_faces = np.array([face for face, _ in faces], np.float64).reshape(-1, 4)
    belongs = np.array([inside for _, inside in faces], np.bool_)
    found = judged(given_faces, belongs, np.array(boxes, np.float64).reshape(-1, 4))
    assert found[0].tolist() == counts
    assert found[1].tolist() == finds


def test_the_files_as_they_are_read(tmp_path: Path) -> None:
    truth = read_truth(write_truth(tmp_path / "truth", EVENTS))
    assert list(truth) == ["0--Parade/a.jpg", "0--Parade/b.jpg", "1--Picnic/c.jpg"]
    one = truth["0--Parade/a.jpg"]
    assert one.boxes.tolist() == [[0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]]
    assert {name: mask.tolist() for name, mask in one.of.items()} == {
        "easy": [True, False, False],
        "medium": [True, True, False],
        "hard": [True, True, True],
    }
    assert truth["0--Parade/b.jpg"].boxes.shape == (0, 4)


def test_a_subset_without_faces_has_no_figure() -> None:
    none: dict[str, NDArray[np.bool_]] = {subset: np.zeros(1, np.bool_) for subset in SUBSETS}
    told = protocol({"e/a.jpg": TrueFaces(np.array([[0.0, 0, 9, 9]]), none)}, {"e/a.jpg": detections()})
    assert told["easy"] == {"faces": 0, "ap": None}


def test_other_photos_than_the_ground_truths(tmp_path: Path) -> None:
    truth = read_truth(write_truth(tmp_path / "truth", EVENTS))
    with pytest.raises(EvaluationError, match=re.escape("such as 0--Parade/a.jpg, and none of the 1 annotated ones")):
        protocol(truth, {annotated("a.jpg", []).photo.name: None})


def test_ground_truth_that_makes_no_sense(tmp_path: Path) -> None:
    folder = write_truth(tmp_path / "truth", EVENTS)
    easy = folder / "wider_easy_val.mat"
    savemat(easy, {"event_list": 1, "file_list": 1, "gt_list": column([column([np.array([[9]])])])})
    with pytest.raises(EvaluationError, match="face 9 of 3"):
        read_truth(folder)
    savemat(easy, {"event_list": 1, "file_list": 1})
    with pytest.raises(EvaluationError, match="lacks gt_list"):
        read_truth(folder)
    easy.write_bytes(b"no MATLAB at all" * 20)
    with pytest.raises(EvaluationError, match="is no MATLAB file"):
        read_truth(folder)
    easy.unlink()
    with pytest.raises(EvaluationError, match=r"wider_easy_val\.mat is not there; expected wider_face_val\.mat and"):
        read_truth(folder)
