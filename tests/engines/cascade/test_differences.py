"""How far two engines of one network of a cascade lie apart, by hand and with the published weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import Engine, Image, ModelError
from engines.cascade.differences import stage_differences
from engines.cascade.feeds import stage_feeds
from engines.cascade.parts import ONET, RNET
from engines.compare import agrees
from engines.families import Size
from engines.importing import import_model
from engines.load import load_engine
from engines.models import ModelStore

Answer = dict[str, NDArray[Any]]


def rnet(*scores: float) -> Answer:
    return {"scores": np.array(scores, np.float32), "offsets": np.zeros((len(scores), 4), np.float32)}


def pnet(*windows: tuple[float, float, float]) -> Answer:
    """One picture's candidates: score, x, y."""
    scores, x, y = np.array(windows, np.float32).T
    corners = np.stack([x, y], axis=-1)
    return {"scores": scores[None], "corners": corners[None], "offsets": np.zeros((1, len(windows), 4), np.float32)}


def test_an_answer_agrees_with_itself() -> None:
    found = stage_differences(rnet(0.9, 0.2), rnet(0.9, 0.2))
    assert agrees(found)
    assert found["faces"] == {"reference": 1, "given": 1, "matched": 1}
    assert (found["iou"]["min"], found["scores"]["max"], found["landmarks_px"]["max"]) == (1.0, 0.0, None)


def test_a_crop_judged_otherwise_is_told_and_one_at_the_threshold_is_not() -> None:
    found = stage_differences(rnet(0.9, 0.699, 0.71), rnet(0.5, 0.701, 0.702))
    assert not agrees(found)
    (alone,) = found["unmatched"]
    assert (alone["image"], alone["side"], alone["box"]) == (0, "reference", [0, 0, 24, 24])
    assert found["faces"] == {"reference": 2, "given": 2, "matched": 2}
    assert found["scores"]["max"] == pytest.approx(0.008, abs=1e-5)


def test_boxes_are_offsets_in_sides_of_the_crop() -> None:
    ours, theirs = rnet(0.9), rnet(0.9)
    theirs["offsets"][0, 0] = 0.25  # the left edge 6 px of 24 further right: three quarters are left
    found = stage_differences(ours, theirs)
    assert found["iou"]["min"] == pytest.approx(0.75)
    (apart,) = found["apart"]
    assert (apart["iou"], apart["tie"]) == (pytest.approx(0.75), None)
    assert not agrees(found)


def test_landmarks_are_in_px_of_the_crop() -> None:
    ours = rnet(0.9) | {"landmarks": np.zeros((1, 5, 2), np.float32)}
    theirs = rnet(0.9) | {"landmarks": np.full((1, 5, 2), [3 / 48, 4 / 48], np.float32)}
    found = stage_differences(ours, theirs)
    assert found["landmarks_px"] == {"max": pytest.approx(5), "mean": pytest.approx(5)}
    assert len(found["apart"]) == 1
    assert not agrees(found)


def test_windows_are_paired_by_where_they_lie_whatever_their_order() -> None:
    found = stage_differences(
        pnet((0.9, 4, 8), (0.8, 2, 6), (0.1, 0, 0)), pnet((0.82, 2, 6), (0.81, 4, 8), (0.7, 8, 4))
    )
    assert found["faces"] == {"reference": 2, "given": 3, "matched": 2}
    assert found["scores"]["max"] == pytest.approx(0.09)
    assert found["iou"]["min"] == 1.0
    (alone,) = found["unmatched"]
    assert (alone["side"], alone["box"]) == ("given", [8, 4, 20, 16])


def test_what_is_not_finite_is_counted_and_rows_must_be_as_many() -> None:
    assert not agrees(stage_differences(rnet(0.9), rnet(float("nan"))))
    with pytest.raises(ValueError, match="2 rows, the other 1"):
        stage_differences(rnet(0.9, 0.8), rnet(0.9))


@pytest.fixture(scope="module")
def engines(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Size, Engine]]:
    files = [shared / "models" / "upstream" / f"mtcnn_{part}net.pt" for part in "rop"]
    spec = import_model(
        files, into=ModelStore(tmp_path_factory.mktemp("store")), name="mtcnn", sizes=[(160, 160), (96, 160)]
    )
    with ExitStack() as stack:
        yield {file.size: stack.enter_context(closing(load_engine(file.path))) for file in spec.files}


@pytest.fixture(scope="module")
def face(samples: Path) -> Image:
    return np.asarray(cv2.imread(str(samples / "face.jpg")), np.uint8)


def test_each_network_is_fed_what_the_cascade_gives_it(engines: dict[Size, Engine], face: Image) -> None:
    feeds = {size: stage_feeds(engines, size, [face, face]) for size in engines}
    assert {size: feeds[size]["canvas"].shape[0] for size in ((160, 160), (96, 160))} == {(160, 160): 2, (96, 160): 2}
    assert feeds[RNET]["crops"].shape[1:] == (24, 24, 3)
    assert feeds[ONET]["crops"].shape[1:] == (48, 48, 3)
    assert len(feeds[RNET]["crops"]) > len(feeds[ONET]["crops"]) > 0
    half = len(feeds[ONET]["crops"]) // 2
    assert (feeds[ONET]["crops"][:half] == feeds[ONET]["crops"][half:]).all()
    found = engines[ONET].run({"crops": feeds[ONET]["crops"][: engines[ONET].max_batch_size]})
    assert found["scores"].max() > 0.9


def test_pictures_of_nothing_leave_nothing_to_compare(engines: dict[Size, Engine]) -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    assert len(stage_feeds(engines, (160, 160), [black])["canvas"]) == 1
    with pytest.raises(ModelError, match="48x48 network of the cascade"):
        stage_feeds(engines, ONET, [black])
