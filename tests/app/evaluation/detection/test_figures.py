from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from app.evaluation.detection.annotations import Annotated
from app.evaluation.detection.figures import MOST_POINTS, SIZES_PX, Json, measure
from app.evaluation.groups import Groups
from app.evaluation.photos import EvaluationError
from engines.detector import Detections
from tests.app.evaluation.detection.made_up import annotated, detections, square

PHOTOS = [
    annotated("a.jpg", [square(0, 0, 7), square(100, 0, 20), square(200, 0, 200)], [square(50, 0, 30)]),
    annotated("b.jpg", [square(0, 0, 20)]),
    annotated("c.jpg", []),
    annotated("broken.jpg", [square(0, 0, 20)]),
]
FOUND: list[Detections | None] = [
    detections((square(200, 0, 200), 0.95), (square(50, 0, 30), 0.9), (square(100, 0, 20), 0.3)),
    detections((square(0, 0, 20), 0.8), (square(60, 60, 20), 0.85)),
    detections((square(5, 5, 20), 0.4)),
    None,
]


def measured(
    photos: list[Annotated] = PHOTOS,
    found: list[Detections | None] = FOUND,
    *,
    ious: tuple[float, ...] = (0.4,),
    groups: Groups | None = None,
    serving_score: float = 0.5,
    replicates: int = 100,
) -> Json:
    return measure(
        photos, found, ious=ious, least_score=0.02, serving_score=serving_score, groups=groups, replicates=replicates
    )


def test_the_figures_by_hand() -> None:
    """By falling score: right 0.95, [left out 0.9], false 0.85, right 0.8, false 0.4, right 0.3; 4 faces."""
    told = measured()
    assert (told["photos"], told["faces"], told["ignored"], told["detections"]) == (3, 4, 1, 6)
    assert told["unreadable"] == ["broken.jpg"]
    (row,) = told["at_iou"]
    assert row["ap"]["value"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert row["ap_envelope"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert row["ap_eleven"] == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)
    assert row["recall_reached"] == 0.75
    served = row["serving"]
    assert (served["found"], served["missed"], served["false"]) == (2, 2, 1)
    assert served["precision"]["value"] == pytest.approx(2 / 3)
    assert served["recall"]["value"] == 0.5
    assert served["f1"] == pytest.approx(4 / 7)
    assert served["false_per_photo"]["value"] == pytest.approx(1 / 3)
    assert row["best_f1"] == {
        "score": pytest.approx(0.3), "precision": pytest.approx(0.6), "recall": 0.75, "f1": pytest.approx(2 / 3)
    }  # fmt: skip


def test_recall_by_size_by_hand() -> None:
    rows = measured()["at_iou"][0]["by_size"]
    assert [(row["from_px"], row["below_px"], row["faces"], row["photos"]) for row in rows] == [
        (0, 8, 1, 1), (8, 16, 0, 0), (16, 32, 2, 2), (32, 64, 0, 0), (64, 128, 0, 0), (128, None, 1, 1)
    ]  # fmt: skip
    assert [row["recall"]["value"] for row in rows] == [0, None, 0.5, None, None, 1]
    assert [row["recall_reached"] for row in rows] == [0, None, 1, None, None, 1]


@pytest.mark.parametrize(
    ("side", "place"), [(7.9, 0), (8, 1), (15.9, 1), (16, 2), (32, 3), (64, 4), (128, 5), (900, 5)]
)
def test_a_face_of_a_size_belongs_where_that_begins(side: float, place: int) -> None:
    """The shorter side counts."""
    one = annotated("a", [(0, 0, side, 1000)])
    rows = measured([one], [detections()])["at_iou"][0]["by_size"]
    assert [row["faces"] for row in rows] == [int(place == each) for each in range(len(SIZES_PX) - 1)]


def test_recall_by_group_by_hand() -> None:
    groups = {"light": {"a.jpg": "day", "b.jpg": "night", "broken.jpg": "dusk"}}
    told = measured(groups=groups)["groups"]["light"]
    assert [(row["group"], row["faces"], row["photos"], row["recall"]["value"]) for row in told] == [
        ("day", 3, 1, pytest.approx(1 / 3)), ("night", 1, 1, 1)
    ]  # fmt: skip


def test_the_worst_photos() -> None:
    assert measured()["worst"] == [
        {"photo": "a.jpg", "missed": 2, "false": 0},
        {"photo": "b.jpg", "missed": 0, "false": 1},
    ]


@pytest.mark.parametrize("score", [0.3, 0.5, 0.6, 0.7])
def test_the_served_score_itself_is_served(score: float) -> None:
    """Also where the nearest float32, as a detector scores, is less than what was asked for."""
    told = measured([PHOTOS[1]], [detections((square(0, 0, 20), score), (square(60, 60), score))], serving_score=score)
    row = told["at_iou"][0]
    assert (row["serving"]["found"], row["serving"]["false"], row["serving"]["recall"]["value"]) == (1, 1, 1)
    assert told["worst"] == [{"photo": "b.jpg", "missed": 0, "false": 1}]
    assert row["by_size"][2]["recall"]["value"] == 1


def test_every_iou_has_its_own_row() -> None:
    half = detections(((0, 0, 20, 9.5), 0.9))
    rows = measured([PHOTOS[1]], [half], ious=(0.4, 0.5))["at_iou"]
    assert [(row["iou"], row["ap"]["value"]) for row in rows] == [(0.4, 1), (0.5, 0)]


def test_nothing_found_at_all() -> None:
    row = measured([PHOTOS[1]], [detections()])["at_iou"][0]
    assert row["ap"]["value"] == row["recall_reached"] == row["serving"]["f1"] == 0
    assert row["best_f1"] is None
    assert row["serving"]["precision"]["value"] is None
    assert row["curve"] == {"scores": [], "recall": [], "precision": []}


@pytest.mark.parametrize(("photos", "found"), [([PHOTOS[2]], [FOUND[2]]), ([PHOTOS[3]], [None])])
def test_no_face_to_be_found(photos: list[Annotated], found: list[Detections | None]) -> None:
    with pytest.raises(EvaluationError, match="shows a face that counts"):
        measured(photos, found)


def many(seed: int, photos: int = 40, faces: int = 4) -> tuple[list[Annotated], list[Detections | None]]:
    """Every face is found, with some false detections between; scores do not repeat."""
    random = np.random.default_rng(seed)
    shown: list[Annotated] = []
    found: list[Detections | None] = []
    for number in range(photos):
        boxes = [square(50 * place, 0, 20) for place in range(faces)]
        false = [square(50 * place, 500, 20) for place in range(int(random.integers(0, 4)))]
        scores = random.random(len(boxes) + len(false))
        shown.append(annotated(f"{number:04}.jpg", boxes))
        found.append(detections(*((box, float(score)) for box, score in zip(boxes + false, scores, strict=True))))
    return shown, found


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_ap_is_scikit_learns_where_every_face_is_found(seed: int) -> None:
    photos, found = many(seed)
    right = np.concatenate([each.boxes[:, 1] == 0 for each in found if each is not None])
    scores = np.concatenate([each.scores for each in found if each is not None])
    ap = measured(photos, found)["at_iou"][0]["ap"]["value"]
    assert ap == pytest.approx(average_precision_score(right, scores), abs=1e-9)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_order_of_photos_changes_no_figure_but_intervals(seed: int) -> None:
    photos, found = many(seed, photos=10)
    order = np.random.default_rng(seed).permutation(len(photos))
    one, other = measured(photos, found), measured([photos[row] for row in order], [found[row] for row in order])
    for told in (one, other):
        for row in told["at_iou"]:
            for interval in (
                row["ap"],
                row["serving"]["false_per_photo"],
                *(each["recall"] for each in row["by_size"]),
            ):
                interval.update(low=None, high=None)
            for name in ("precision", "recall"):
                row["serving"][name].update(low=None, high=None)
    assert one["at_iou"] == [
        {**row, "ap": pytest.approx(row["ap"]), "ap_envelope": pytest.approx(row["ap_envelope"])}
        for row in other["at_iou"]
    ]
    assert one["worst"] == other["worst"]


def test_a_perfect_detector_has_one_everywhere() -> None:
    photos, _ = many(0)
    found: list[Detections | None] = [detections(*((square(50 * place, 0, 20), 0.9) for place in range(4)))] * len(
        photos
    )
    row = measured(photos, found)["at_iou"][0]
    ones = row["ap"]["value"], row["ap_envelope"], row["ap_eleven"], row["serving"]["f1"], row["best_f1"]["f1"]
    assert ones == pytest.approx((1,) * 5)
    assert row["serving"]["false_per_photo"] == {"value": 0, "low": 0, "high": 0}


def test_intervals_hold_the_figure_and_shrink_with_more_photos() -> None:
    """Three times narrower for nine times the photos, about."""
    widths = []
    for count in (30, 270):
        photos, found = many(7, photos=count)
        ap = measured(photos, found, replicates=400)["at_iou"][0]["ap"]
        assert ap["low"] < ap["value"] < ap["high"]
        widths.append(ap["high"] - ap["low"])
    assert 2 < widths[0] / widths[1] < 4.5


def test_the_same_again_is_the_same() -> None:
    assert measured(*many(3)) == measured(*many(3))


def test_a_long_curve_is_thinned_out_between_its_ends() -> None:
    photos, found = many(1, photos=300)
    row = measured(photos, found)["at_iou"][0]
    curve = row["curve"]
    assert len(curve["recall"]) == len(curve["precision"]) == len(curve["scores"]) <= MOST_POINTS
    assert len(curve["recall"]) > 0.9 * MOST_POINTS
    assert curve["recall"][-1] == row["recall_reached"] == 1
    area = np.sum(np.diff(curve["recall"], prepend=0) * curve["precision"])
    assert area == pytest.approx(row["ap"]["value"], abs=0.005)
