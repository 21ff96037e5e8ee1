"""Each network against what is published of it, and through the project's own importer."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from engines import graphs
from engines.architectures import ARCHITECTURES, build, random_weights
from engines.architectures.layers import Features, Needs
from engines.architectures.pouring import needs
from engines.base import ModelError, RuntimeMissingError
from engines.importing import import_model
from engines.models import ModelSpec, ModelStore

Array = NDArray[Any]
Built = Callable[[str], ModelProto]
Imported = Callable[[str], ModelSpec]
Crops = Callable[[int], Array]
Run = Callable[[ModelProto, Array], dict[str, Array]]
PUBLISHED: dict[str, tuple[int, float | None]] = {
    # name: parameters as PyTorch counts them, and the multiply-adds of one image of the usual size in thousand millions
    # where they are known
    "retinaface_mnet025": (426_608, 0.98),
    "retinaface_r50": (27_293_600, 44.3),
    "mtcnn_pnet": (6_632, None),
    "mtcnn_rnet": (100_178, None),
    "mtcnn_onet": (389_040, None),
    "arcface_r18": (24_025_600, 2.62),
    "arcface_r34": (34_139_328, 4.48),
    "arcface_r50": (43_590_848, 6.33),
    "arcface_r100": (65_156_160, 12.13),
    "arcface_r200": (118_833_920, 23.47),
    "arcface_ir50": (43_574_976, 6.3),
    "arcface_ir_se50": (43_797_696, 6.3),
    "adaface_r18": (24_020_352, 2.6),
    "adaface_r50": (43_585_600, 6.3),
    "adaface_r100": (65_150_912, 12.1),
    "mobilefacenet_512": (2_059_520, 0.45),
    "mobilefacenet_large": (6_314_880, None),
    "mobilefacenet_narrow": (1_200_512, 0.22),
    "mobilefacenet_classic": (1_200_512, 0.22),
    "mobilefacenet_relu6": (999_936, None),
    "facenet": (23_482_624, 1.42),
}
EMBEDDERS = [
    *("arcface_r18", "arcface_ir_se50", "adaface_r18"),
    *("mobilefacenet_512", "mobilefacenet_classic", "mobilefacenet_relu6", "facenet"),
]
DETECTORS = ["retinaface_mnet025", "retinaface_r50"]
QUICK = ["arcface_r100", "arcface_r50", *EMBEDDERS[3:], *DETECTORS]
FLOAT16_MOST = 65_504


class Work(Needs):
    """Counts the multiply-adds of convolutions and matrix products too, for one image."""

    multiply_adds = 0

    def conv(self, x: Features, name: str, *given: Any, **options: Any) -> Features:
        return self._counted(name, super().conv(x, name, *given, **options))

    def linear(self, x: Features, name: str, *given: Any, **options: Any) -> Features:
        return self._counted(name, super().linear(x, name, *given, **options))

    def _counted(self, name: str, made: Features) -> Features:
        self.multiply_adds += prod(self.shapes[f"{name}.weight"]) * prod(made.shape[1:])  # each weight for each pixel
        return made


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_and_work_are_those_published(name: str) -> None:
    row = ARCHITECTURES[name]
    work = Work(row.dimension)
    shapes = work.of(row.size, row.add_layers)
    parameters, giga = PUBLISHED[name]
    learned = {each for each in shapes if not each.endswith((".running_mean", ".running_var"))}
    assert sum(prod(shapes[each]) for each in learned) == parameters
    assert giga is None or work.multiply_adds / 1e9 == pytest.approx(giga, rel=0.03)


@pytest.mark.parametrize("name", ["mobilefacenet_512", "mtcnn_onet"])
def test_what_is_needed_is_what_is_asked_for_once(name: str) -> None:
    asked: dict[str, tuple[int, ...]] = {}

    def weights(parameter: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        assert parameter not in asked
        asked[parameter] = shape
        return np.zeros(shape, np.float32)

    row = ARCHITECTURES[name]
    build(name, weights=weights)
    assert asked == needs(name, row.size, row.dimension)


def test_every_architecture_is_published() -> None:
    assert PUBLISHED.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("name", QUICK)
def test_random_weights_keep_every_layer_well_within_float16(name: str, built: Built, run: Run) -> None:
    model = ModelProto()
    model.CopyFrom(built(name))
    named = {output.name for output in model.graph.output}
    inner = [made for node in model.graph.node for made in node.output if made not in named]
    model.graph.output.extend(helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in inner)
    _, *shape = graphs.shape_of(model.graph.input[0])
    images = np.random.default_rng(1).uniform(-1, 1, (1, *map(int, filter(None, shape)))).astype(np.float32)
    for layer, values in run(model, images * np.float32(ARCHITECTURES[name].reach)).items():
        assert np.abs(values).max() < FLOAT16_MOST / 100, layer
        assert np.sqrt(np.square(values, dtype=np.float64).mean()) > 0.01, layer


@pytest.mark.parametrize("name", EMBEDDERS)
def test_an_imported_embedder_gives_what_the_bare_network_gives(
    name: str, built: Built, imported: Imported, run: Run, crops: Crops
) -> None:
    row, spec = ARCHITECTURES[name], imported(name)
    assert (spec.sizes, spec.dimension) == ((row.size,), row.dimension)

    faces = crops(row.size[0])
    ordered = faces[..., ::-1] if row.channels == "rgb" else faces
    scaled = ((ordered - np.array(row.mean)) / row.std).astype(np.float32)
    (vectors,) = run(built(name), np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))).values()
    found = run(graphs.load(spec.files[0].path), faces)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found["embeddings"], vectors / lengths, atol=2e-4)
    np.testing.assert_allclose(found["norms"], lengths[:, 0], rtol=1e-3)
    assert found["embeddings"][0] @ found["embeddings"][1] < 0.995  # two people are told apart at all


@pytest.mark.parametrize("name", DETECTORS)
def test_an_imported_detector_gives_what_the_bare_network_gives(
    name: str, built: Built, imported: Imported, run: Run
) -> None:
    spec = imported(name)
    assert spec.sizes == ((64, 64),)

    images = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3), np.uint8)
    centred = images - np.array([104, 117, 123], np.float32)
    bare = run(built(name), np.ascontiguousarray(centred.transpose(0, 3, 1, 2)))
    found = run(graphs.load(spec.files[0].path), images)
    assert {key: value.shape for key, value in bare.items()} == {
        "loc": (2, 168, 4), "conf": (2, 168, 2), "landms": (2, 168, 10)
    }  # fmt: skip
    np.testing.assert_allclose(found["scores"], -np.sort(-bare["conf"][..., 1], axis=1), atol=1e-4)


def test_a_detector_built_for_one_size_is_imported_for_others(built: Built, tmp_path: Path) -> None:
    source = tmp_path / "detector.onnx"
    source.write_bytes(built("retinaface_mnet025").SerializeToString())
    spec = import_model(source, family="retinaface", into=ModelStore(tmp_path), sizes=[(960, 1280), (640, 640)])
    assert spec.sizes == ((960, 1280), (640, 640))


def test_the_same_network_has_the_same_bytes_each_time(built: Built) -> None:
    once = built("retinaface_mnet025").SerializeToString(deterministic=True)
    assert build("retinaface_mnet025", (64, 64)).SerializeToString(deterministic=True) == once
    other = build("retinaface_mnet025", (64, 64), random_weights(1, 128))
    assert other.SerializeToString(deterministic=True) != once


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ModelError, match=r"known are adaface_r100, .*, arcface_r50, facenet, "):
        build("resnet")
    with pytest.raises(ModelError, match="multiples of 32"):
        build("retinaface_mnet025", (100, 100))
    with pytest.raises(ModelError, match="160x160"):
        build("facenet", (112, 112))
    with pytest.raises(ModelError, match=r"'conv1.weight' have the shape \(3,\)"):
        build("arcface_r50", weights=lambda name, shape: np.zeros(3, np.float32))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.models.find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        build("facenet")
