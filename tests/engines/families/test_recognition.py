"""Of which family a network is, told from the network; and that a family is one file and one row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from engines.base import ModelError
from engines.detector import open_detector
from engines.families import FAMILIES, FIVE_POINTS, Family, Size, recognition
from engines.families.static import specialise
from engines.families.upstream import read
from engines.importing import import_model
from engines.models import ModelStore
from engines.onnxruntime import OnnxRuntimeEngine
from tests.engines.families.networks import STRIDES, Net, write_scrfd, write_yunet

MADE_UP = '''
"""A detector that gives fifteen values a cell: a score, the distances to the sides of its box, and five landmarks."""
import numpy as np

from engines.families.detector_head import Coding, Outputs, centres, finish, joined, one_a_prior, require_size
from engines.families.preprocessing import Preprocessing
from engines.families.upstream import one_network as networks
from engines.graphs import GraphBuilder

OUTPUTS = Outputs(widths=((15,),), per_cell=(1,), told="it has fifteen values a cell")
recognises = OUTPUTS.are_of


def default_preprocessing(body):
    return Preprocessing("bgr")


def convert(body, size, expected):
    head = GraphBuilder("head")
    values = joined(head, OUTPUTS.layout(body, size).names[0], "values")
    parts = [f"head/{name}" for name in ("score", "box", "five")]
    score, box, five = head.add("Split", [values, head.constant([1, 4, 10], np.int64, name="widths")], parts, axis=2)
    rank = one_a_prior(head, head.op("Sigmoid", score, name="probability"))
    table = centres(size, offset=0.5, sides=[[8], [16], [32]])
    return finish(body, expected, head, table, Coding(), rank=rank, boxes=[box], points=[five])
'''


def write_made_up(path: Path) -> Path:
    net, outputs = Net(4), {}
    features = net.features()
    for stride in STRIDES:
        flat = net.op("Transpose", net.cells(features, stride, 15), perm=[0, 2, 3, 1])
        outputs[f"all_{stride}"] = ["n", "", 15]
        net.op("Reshape", flat, net.const([0, -1, 15], np.int64), to=f"all_{stride}")
    return net.save(path, ["n", 3, "h", "w"], outputs, 13)


def test_a_new_family_is_one_file_and_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, store = write_made_up(tmp_path / "up.onnx"), ModelStore(tmp_path / "store")
    with pytest.raises(ModelError, match="cannot be told"):
        import_model(source, into=store)
    module = ModuleType("engines.families.made_up")
    exec(MADE_UP, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FAMILIES, "made_up", Family("detector", module.__name__, ((64, 64),), FIVE_POINTS))

    spec = import_model(source, into=store)
    assert (spec.family, spec.sizes, spec.landmark_order) == ("made_up", ((64, 64),), FIVE_POINTS)
    detector = open_detector(FAMILIES[spec.family], [OnnxRuntimeEngine(file.path) for file in spec.files])
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    found = detector.detect(image, min_score=0.0)
    detector.close()
    assert len(found) > 0
    assert found.landmarks.shape == (len(found), 5, 2)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        *(("scrfd", {"kinds": kinds, "per_cell": n}) for kinds in ((1, 4, 10), (4, 1)) for n in (1, 2)),
        ("scrfd", {"batch": True, "shape": ("n", 3, 96, 64)}),
        ("yunet", {}),
        ("yunet", {"shape": (1, 3, 96, 64)}),
        ("retinaface", {}),
        ("retinaface", {"names": {"a": 10, "b": 4, "c": 2}, "shape": (1, 3, 96, 64)}),
    ],
)
def test_detectors_are_told_apart_whatever_they_are_called(
    tmp_path: Path, tiny_detector: Callable[..., Path], family: str, options: dict[str, Any]
) -> None:
    writers: dict[str, Callable[..., Path]] = {"scrfd": write_scrfd, "yunet": write_yunet, "retinaface": tiny_detector}
    write = writers[family]
    assert recognition.recognise([read(write(tmp_path / "network.onnx", **options))]) == family


@pytest.mark.parametrize(
    ("size", "dimension", "scaling", "family"),
    [
        ((112, 112), 512, False, "arcface"),
        ((112, 112), 512, True, "arcface"),
        (("h", "w"), 512, False, "arcface"),
        ((112, 112), 128, True, "sface"),
        ((160, 160), 512, False, "facenet"),
        ((160, 160), 128, True, "facenet"),
    ],
)
def test_the_family_is_told_by_size_length_and_scaling(
    tmp_path: Path,
    tiny_embedder: Callable[..., Path],
    size: tuple[Any, Any],
    dimension: int,
    scaling: bool,
    family: str,
) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=size, dimension=dimension, scaling=scaling)
    assert import_model(source, into=ModelStore(tmp_path)).family == family


@pytest.mark.parametrize(
    ("size", "dimension", "scaling"),
    [
        ((112, 112), 128, False),
        ((112, 112), 256, False),
        ((112, 112), 256, True),
        ((112, 96), 512, False),
        ((128, 128), 512, False),
    ],
)
def test_where_the_pixels_cannot_be_guessed_the_flags_are_named(
    tmp_path: Path, tiny_embedder: Callable[..., Path], size: tuple[int, int], dimension: int, scaling: bool
) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=size, dimension=dimension, scaling=scaling)
    with pytest.raises(
        ModelError, match=rf"{size[0]}x{size[1]} in.*1x{dimension} out.*--family arcface .*--mean .*--std"
    ):
        import_model(source, into=ModelStore(tmp_path))


def test_where_several_families_come_into_question_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_of_one(looks: Sequence[recognition.Look]) -> bool:
        return len(looks) == 1

    monkeypatch.setattr("engines.families.retinaface.recognises", all_of_one)
    with pytest.raises(ModelError, match=r"may be retinaface or yunet \(640x640 in, cls_8 1x6400x1.*say which"):
        recognition.recognise([read(write_yunet(tmp_path / "up.onnx"))])


def test_a_network_is_specialised_once_however_many_families_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[Size] = []

    def counted(model: ModelProto, size: Size) -> ModelProto:
        sizes.append(size)
        return specialise(model, size)

    monkeypatch.setattr(recognition, "specialise", counted)
    recognition.recognise([read(write_yunet(tmp_path / "up.onnx"))])
    assert sizes == [(640, 640)]


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("default/retinaface_mnet025", "retinaface"),
        ("upstream/retinaface_mnet025_640", "retinaface"),
        ("upstream/scrfd_2.5g_bnkps", "scrfd"),
        ("upstream/yunet_n_dynamic", "yunet"),
    ],
)
def test_published_detectors_are_recognised(shared: Path, file: str, family: str) -> None:
    assert recognition.recognise([read(shared / f"models/{file}.onnx")]) == family
