"""The shipped networks against themselves, rounded: on the CPU everywhere, by TensorRT on a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.comparison import answers, compared, drawn, feeds, parity
from app.contenders import REFERENCE, contenders, device_for
from app.errors import FaceNotDetectedError
from app.images import ImageError
from engines.base import EngineError, PlanError
from engines.load import LoadOptions, load_engine
from engines.models import SHIPPED, ModelSpec, ModelStore
from engines.plans import Profile

NO_GPU = shutil.which("nvidia-smi") is None or find_spec("tensorrt") is None or find_spec("pycuda") is None
DETECTOR, EMBEDDER = "retinaface_mnet025", "mobilefacenet_256"


@pytest.fixture(scope="module")
def photos(samples: Path) -> list[Path]:
    return sorted(samples.glob("*.jpg"))


@pytest.fixture(scope="module", params=[DETECTOR, EMBEDDER])
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return ModelStore(SHIPPED).get(request.param)


def test_the_rounded_graphs_keep_the_promise(spec: ModelSpec, photos: list[Path], tmp_path: Path) -> None:
    others = contenders("cpu", ["fp32", "fp16", "mixed"], tmp_path, Profile(), build=False)
    for file in spec.files:
        told, given = compared(spec, file, photos, others)
        assert told["left_out"] == []
        assert list(given) == [REFERENCE, *(other.label for other in others)]
        exact, rounded, mixed = told["compared"]
        assert exact["agrees"]
        assert rounded["agrees"]
        assert mixed["agrees"]
        assert [row["runs_on"]["precision"] for row in told["compared"]] == ["fp32", "fp16", "mixed"]
        if spec.task == "detector":
            assert rounded["faces"] == {"reference": 5, "given": 5, "matched": 5}
            assert exact["landmarks_px"]["max"] < 0.01
            assert rounded["landmarks_px"]["max"] > exact["landmarks_px"]["max"]
        else:
            assert rounded["crops"] == 5
            assert rounded["norms"]["max"] > exact["norms"]["max"]


def test_a_network_agrees_with_itself_whatever_the_batch(photos: list[Path]) -> None:
    spec = ModelStore(SHIPPED).get(EMBEDDER)
    file = spec.files[0]
    tensors = feeds(spec, file, photos)
    assert tensors["crops"].shape == (5, 112, 112, 3)
    assert tensors["crops"].dtype == np.uint8
    with (
        closing(load_engine(file.path, LoadOptions(max_batch_size=1))) as one,
        closing(load_engine(file.path, LoadOptions(max_batch_size=4))) as four,
    ):
        found = parity(one, four, tensors, spec.task)
        assert found["agrees"]
        assert found["cosine"]["min"] > 0.99999
        assert answers(four, tensors, rows=3)["norms"].shape == (5,)


class Blunder:
    """The reference's answers with one thing wrong: the best face of the first row is 20 px further right."""

    max_batch_size = 2

    def __init__(self, right: Mapping[str, NDArray[Any]]) -> None:
        self._right = right
        self._row = 0

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = len(feeds["images"])
        found = {name: array[self._row : self._row + rows].copy() for name, array in self._right.items()}
        if not self._row:
            near = np.abs(found["boxes"][0] - found["boxes"][0, 0]).max(axis=1) < 20
            found["boxes"][0, near, 0::2] += 20
            found["landmarks"][0, near, :, 0] += 20
        self._row += rows
        return found


def test_a_face_in_the_wrong_place_is_seen(photos: list[Path]) -> None:
    spec = ModelStore(SHIPPED).get(DETECTOR)
    file = spec.files[0]
    tensors = feeds(spec, file, photos)
    assert tensors["images"].shape == (4, 640, 640, 3)
    with closing(load_engine(file.path)) as reference:
        found = parity(reference, Blunder(answers(reference, tensors)), tensors, spec.task)  # type: ignore[arg-type]
    assert found["landmarks_px"]["max"] == pytest.approx(20, abs=0.01)
    assert found["iou"]["min"] < 0.9
    assert [face["image"] for face in found["apart"]] == [0]
    assert not found["agrees"]


def test_pictures_stand_side_by_side(photos: list[Path]) -> None:
    spec = ModelStore(SHIPPED).get(DETECTOR)
    file = spec.files[0]
    group = next(photo for photo in photos if photo.name == "group.jpg")
    with closing(load_engine(file.path)) as engine:
        found = answers(engine, feeds(spec, file, [group]))
    nobody = {name: array[:, :0] for name, array in found.items()}
    data = drawn(file, group, 0, {"found": found, "nobody": nobody})
    image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.int16)
    plain = np.asarray(cv2.imread(str(group)), np.int16)
    height, width = plain.shape[:2]
    assert image.shape[0] == height
    left, right = image[60:, :width], image[60:, -width:]
    assert np.abs(left - plain[60:]).max() > 100
    assert np.abs(right - plain[60:]).mean() < 6 < np.abs(left - right).max()


def test_a_large_picture_is_drawn_smaller(tmp_path: Path, samples: Path) -> None:
    spec = ModelStore(SHIPPED).get(DETECTOR)
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), cv2.resize(np.asarray(cv2.imread(str(samples / "group.jpg"))), (2000, 1000)))
    with closing(load_engine(spec.files[0].path)) as engine:
        found = answers(engine, feeds(spec, spec.files[0], [large]))
    data = drawn(spec.files[0], large, 0, {"one": found})
    assert np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)).shape == (480, 960, 3)


def test_photos_without_faces_or_pixels_are_refused(tmp_path: Path) -> None:
    spec = ModelStore(SHIPPED).get(EMBEDDER)
    grey, text = tmp_path / "grey.png", tmp_path / "text.jpg"
    cv2.imwrite(str(grey), np.full((64, 64, 3), 128, np.uint8))
    text.write_text("no picture")
    with pytest.raises(FaceNotDetectedError, match="give other photos"):
        feeds(spec, spec.files[0], [grey])
    with pytest.raises(ImageError, match=r"text\.jpg"):
        feeds(spec, spec.files[0], [text])


def test_a_missing_plan_is_told_and_the_rest_compared(photos: list[Path], tmp_path: Path) -> None:
    spec = ModelStore(SHIPPED).get(EMBEDDER)
    first, second = contenders("cpu", ["fp32", "fp16"], tmp_path, Profile(), build=False)

    def refuse(path: Path) -> Any:
        raise PlanError("there is no plan")

    told, given = compared(spec, spec.files[0], photos, [replace(first, opened=refuse), second])
    assert told["left_out"] == [{"engine": first.label, "reason": "there is no plan"}]
    assert [row["engine"] for row in told["compared"]] == [second.label]
    assert list(given) == [REFERENCE, second.label]


@pytest.mark.skipif(not NO_GPU, reason="needs a machine without TensorRT or a GPU")
def test_a_gpu_asked_for_must_be_there(photos: list[Path], tmp_path: Path) -> None:
    spec = ModelStore(SHIPPED).get(EMBEDDER)
    assert device_for("auto") == "cpu"
    assert device_for("cuda:0") == "cuda:0"
    for build in (False, True):
        with pytest.raises(EngineError):
            compared(spec, spec.files[0], photos, contenders("cuda:0", ["fp16"], tmp_path, Profile(), build=build))


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU with TensorRT")
def test_tensorrt_keeps_the_promise(spec: ModelSpec, photos: list[Path], tmp_path: Path) -> None:
    others = contenders("cuda:0", ["fp32", "fp16"], tmp_path, Profile(1, 4, 4), build=True)
    for file in spec.files:
        told, _ = compared(spec, file, photos, others)
        assert told["left_out"] == []
        assert [row["runs_on"]["runtime"] for row in told["compared"]] == ["tensorrt"] * 2
        assert [row["agrees"] for row in told["compared"]] == [True, True], told


def test_an_embedder_of_boxes_is_fed_boxes(samples: Path) -> None:
    spec = ModelStore(SHIPPED).get(EMBEDDER)
    boxed = replace(spec, crop="box", margin_px=10)
    aligned, cut_out = (feeds(each, spec.files[0], [samples / "group.jpg"])["crops"] for each in (spec, boxed))
    assert aligned.shape == cut_out.shape == (2, 112, 112, 3)
    assert np.abs(aligned.astype(int) - cut_out).mean() > 10
