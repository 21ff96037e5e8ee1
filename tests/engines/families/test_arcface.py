"""The canonical embedder against its twin, and the upstream preprocessing and endings it can be imported with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.base import ModelError
from engines.importing import Expected, import_model
from engines.models import SHIPPED, ModelStore

Array = NDArray[Any]
Write = Callable[..., Path]
Run = Callable[[Path, Array], dict[str, Array]]
IMAGENET_MEAN = [0.485 * 255, 0.456 * 255, 0.406 * 255]
IMAGENET_STD = [0.229 * 255, 0.224 * 255, 0.225 * 255]


def twin(run: Run, source: Path, crops: Array, channels: str, mean: Any, std: Any) -> tuple[Array, Array]:
    """Unit vectors and lengths from the bare network, one crop at a time, normalised in double precision."""
    embeddings, norms = [], []
    for crop in crops:
        ordered = crop[..., ::-1] if channels == "rgb" else crop
        planar = ((ordered.astype(np.float64) - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        (vector,) = run(source, np.ascontiguousarray(planar)).values()
        vector = vector.astype(np.float64).ravel()
        norms.append(np.sqrt(sum(value * value for value in vector)))
        embeddings.append(vector / max(norms[-1], 1e-12))
    return np.array(embeddings), np.array(norms)


def assert_same(found: dict[str, Array], embeddings: Array, norms: Array) -> None:
    assert found["embeddings"].dtype == found["norms"].dtype == np.float32
    assert found["embeddings"].shape == embeddings.shape
    assert ((found["embeddings"] * embeddings).sum(axis=1) >= 0.99999).all()
    np.testing.assert_allclose(np.linalg.norm(found["embeddings"], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found["norms"], norms, rtol=1e-4)


def crops_of(seed: int, rows: int, size: tuple[int, int] = (112, 112)) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (rows, *size, 3), np.uint8)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**16),
    dimension=st.sampled_from([2, 64, 128, 512]),
    size=st.sampled_from([(112, 112), (112, 96)]),
    channels=st.sampled_from(["bgr", "rgb"]),
    mean=st.tuples(*[st.floats(0, 255)] * 3),
    std=st.tuples(*[st.floats(0.25, 255)] * 3),
)
def test_any_preprocessing_agrees_with_the_twin(
    tmp_path: Path, tiny_embedder: Write, run: Run, seed: int, dimension: int, size: tuple[int, int], channels: Any,
    mean: tuple[float, ...], std: tuple[float, ...],
) -> None:  # fmt: skip
    source = tiny_embedder(tmp_path / "up.onnx", seed=seed, dimension=dimension, size=size)
    spec = import_model(
        source,
        family="arcface",
        into=ModelStore(tmp_path),
        replace=True,
        expected=Expected(channels=channels, mean=mean, std=std),
    )
    assert (spec.dimension, spec.sizes, spec.channels) == (dimension, (size,), channels)
    crops = crops_of(seed, 3, size)
    assert_same(run(spec.files[0].path, crops), *twin(run, source, crops, channels, mean, std))


def test_without_options_a_network_takes_what_insightface_feeds(tmp_path: Path, tiny_embedder: Write, run: Run) -> None:
    source = tiny_embedder(tmp_path / "up.onnx")
    spec = import_model(source, family="arcface", into=ModelStore(tmp_path))
    crops = crops_of(1, 2)
    assert_same(run(spec.files[0].path, crops), *twin(run, source, crops, "rgb", 127.5, 127.5))


def test_a_network_that_scales_itself_takes_raw_pixels(tmp_path: Path, tiny_embedder: Write, run: Run) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", scaling=True)
    spec = import_model(source, family="arcface", into=ModelStore(tmp_path), expected=Expected(channels="bgr"))
    crops = crops_of(2, 2)
    assert_same(run(spec.files[0].path, crops), *twin(run, source, crops, "bgr", 0, 1))
    operators = [node.op_type for node in onnx.load(spec.files[0].path).graph.node]
    assert operators[:4] == ["Transpose", "Cast", "Sub", "Conv"]


def test_a_constant_may_come_first_in_what_scales_the_input(tmp_path: Path, tiny_embedder: Write) -> None:
    source, store = tiny_embedder(tmp_path / "up.onnx", scaling=True), ModelStore(tmp_path)
    usual = import_model(source, family="arcface", into=store)
    model = onnx.load(source)
    scale = next(node for node in model.graph.node if node.op_type == "Mul")
    scale.input[:] = reversed(scale.input)
    onnx.save(model, source)
    assert import_model(source, family="arcface", into=store, name="turned").digest == usual.digest


def test_given_preprocessing_comes_before_the_network_s_own(tmp_path: Path, tiny_embedder: Write, run: Run) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", scaling=True)
    spec = import_model(
        source, family="arcface", into=ModelStore(tmp_path), expected=Expected(mean=[10, 20, 30], std=[2])
    )
    crops = crops_of(3, 2)
    assert_same(run(spec.files[0].path, crops), *twin(run, source, crops, "rgb", [10, 20, 30], 2))


@pytest.mark.parametrize("ending", ["l2", "lp"])
def test_a_network_s_own_normalisation_is_recognised(
    tmp_path: Path, tiny_embedder: Write, run: Run, ending: str
) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", ending=ending)
    spec = import_model(source, family="arcface", into=ModelStore(tmp_path))
    assert "Norms are 1" in spec.note
    found = run(spec.files[0].path, crops_of(4, 2))
    np.testing.assert_allclose(found["norms"], 1, atol=1e-6)
    plain = import_model(tiny_embedder(tmp_path / "plain.onnx"), family="arcface", into=ModelStore(tmp_path))
    assert "Norms" not in plain.note


def test_a_reshape_to_one_row_is_mended(tmp_path: Path, tiny_embedder: Write, run: Run) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", ending="reshape_1", size=(112, 96))
    spec = import_model(source, family="arcface", into=ModelStore(tmp_path))
    crops = crops_of(5, 4, (112, 96))
    assert_same(run(spec.files[0].path, crops), *twin(run, source, crops, "rgb", 127.5, 127.5))


def test_a_zero_vector_stays_zero(tmp_path: Path, tiny_embedder: Write, run: Run) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", bias=0)
    spec = import_model(source, family="arcface", into=ModelStore(tmp_path), expected=Expected(mean=[0]))
    found = run(spec.files[0].path, np.zeros((2, 112, 112, 3), np.uint8))
    assert not found["embeddings"].any()
    assert not found["norms"].any()


@pytest.mark.parametrize("size", [(128, 128), (96, 112)])
def test_sizes_without_a_template_are_refused(tmp_path: Path, tiny_embedder: Write, size: tuple[int, int]) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=size)
    with pytest.raises(ModelError, match="112x112 or 112x96"):
        import_model(source, family="arcface", into=ModelStore(tmp_path))


def test_a_free_size_is_fixed_to_the_one_asked_for(tmp_path: Path, tiny_embedder: Write) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=("h", "w"))
    assert import_model(source, family="arcface", into=ModelStore(tmp_path)).sizes == ((112, 112),)
    with pytest.raises(ModelError, match="does not work"):
        import_model(source, family="arcface", into=ModelStore(tmp_path), sizes=[(112, 96)], name="narrow")
    with pytest.raises(ModelError, match="one size"):
        import_model(source, family="arcface", into=ModelStore(tmp_path), sizes=[(112, 96), (112, 112)], name="two")


def test_what_cannot_be_folded_is_refused(tmp_path: Path, tiny_embedder: Write) -> None:
    model = onnx.load(tiny_embedder(tmp_path / "up.onnx"))
    model.graph.node[0].input[0] = "softened"
    model.graph.node.insert(0, onnx.helper.make_node("Tanh", ["input"], ["softened"]))
    onnx.save(model, tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="begins with Tanh"):
        import_model(tmp_path / "up.onnx", family="arcface", into=ModelStore(tmp_path))


def test_a_detector_is_no_embedder(tmp_path: Path, tiny_detector: Write) -> None:
    source = tiny_detector(tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="exactly one vector"):
        import_model(source, family="arcface", into=ModelStore(tmp_path), expected=Expected(channels="bgr", std=[1]))


@pytest.mark.parametrize(
    ("file", "options", "channels", "mean", "std"),
    [
        ("default/mobilefacenet_256.onnx", {"channels": "bgr"}, "bgr", 0, 1),
        (
            "upstream/mobilefacenet_foamliu.onnx",
            {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
            "rgb",
            IMAGENET_MEAN,
            IMAGENET_STD,
        ),
    ],
)
def test_real_networks_agree_with_the_twin_on_faces(
    shared: Path, samples: Path, tmp_path: Path, run: Run, file: str, options: dict[str, Any], channels: str, mean: Any,
    std: Any,
) -> None:  # fmt: skip
    source = shared / "models" / file
    spec = import_model(source, family="arcface", into=ModelStore(tmp_path), expected=Expected(**options))
    faces = [("astronaut.jpg", 50, 170), ("grace_hopper.jpg", 60, 150)]
    photos = [cv2.imread(str(samples / name)) for name, _, _ in faces]
    crops = np.stack([p[y : y + 112, x : x + 112] for p, (_, y, x) in zip(photos, faces, strict=True) if p is not None])
    assert_same(run(spec.files[0].path, crops), *twin(run, source, crops, channels, mean, std))


def test_a_row_does_not_depend_on_its_neighbours(run: Run) -> None:
    path = ModelStore(SHIPPED).get("mobilefacenet_256").files[0].path
    crops = crops_of(6, 5)
    together = run(path, crops)
    for row in range(5):
        alone = run(path, crops[row : row + 1])
        assert float(alone["embeddings"][0] @ together["embeddings"][row]) >= 0.99999
        np.testing.assert_allclose(alone["norms"][0], together["norms"][row], rtol=1e-5)


def test_the_note_says_that_insightface_s_preprocessing_was_assumed(tmp_path: Path, tiny_embedder: Write) -> None:
    plain, scaling = (tiny_embedder(tmp_path / f"{own}.onnx", dimension=512, scaling=own) for own in (False, True))
    store = ModelStore(tmp_path)
    assert import_model(plain, into=store).note == "Fed as InsightFace feeds its networks: RGB, (x − 127.5) / 127.5."
    assert import_model(scaling, into=store).note == "Fed as InsightFace feeds its networks: RGB, not scaled."
    told = import_model(plain, into=store, family="arcface", name="told", expected=Expected(channels="bgr"))
    assert told.note == ""


def test_what_else_a_network_gives_is_left_out(tmp_path: Path, tiny_embedder: Write, run: Run) -> None:
    """A norm beside the vector, as MagFace and AdaFace have it, or the features before."""
    source = tiny_embedder(tmp_path / "up.onnx", dimension=512)
    alone = import_model(source, into=ModelStore(tmp_path), name="alone")
    model = onnx.load(source)
    model.graph.node.append(onnx.helper.make_node("ReduceL2", ["embedding"], ["norm"], axes=[1], keepdims=1))
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info("norm", onnx.TensorProto.FLOAT, ["n", 1]))
    features = next(node.output[0] for node in model.graph.node if node.op_type == "PRelu")
    model.graph.output.append(onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, ["n", 4, 112, 112]))
    onnx.save(model, source)
    spec = import_model(source, into=ModelStore(tmp_path))
    assert (spec.family, spec.dimension, spec.digest) == ("arcface", 512, alone.digest)


def test_two_vectors_are_refused(tmp_path: Path, tiny_embedder: Write) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", dimension=512)
    model = onnx.load(source)
    model.graph.node.append(onnx.helper.make_node("Neg", ["embedding"], ["mirrored"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("mirrored", onnx.TensorProto.FLOAT, ["n", 512]))
    onnx.save(model, source)
    with pytest.raises(ModelError, match="exactly one vector"):
        import_model(source, into=ModelStore(tmp_path), family="arcface")


def transposed(source: Path, perm: list[int]) -> Path:
    """The same network as Keras exports it: images (N, 112, 112, 3), turned first thing."""
    model = onnx.load(source)
    model.graph.node[0].input[0] = "planar"
    model.graph.node.insert(0, onnx.helper.make_node("Transpose", ["input"], ["planar"], perm=perm))
    images = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["n", 112, 112, 3])
    model.graph.input[0].CopyFrom(images)
    onnx.save(model, source)
    return source


@pytest.mark.parametrize("scaling", [False, True])
def test_a_network_of_channels_last_becomes_the_same(tmp_path: Path, tiny_embedder: Write, scaling: bool) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", dimension=512, scaling=scaling)
    plain = import_model(source, into=ModelStore(tmp_path), name="plain")
    assert import_model(transposed(source, [0, 3, 1, 2]), into=ModelStore(tmp_path)).digest == plain.digest


def test_columns_before_rows_are_refused(tmp_path: Path, tiny_embedder: Write) -> None:
    source = transposed(tiny_embedder(tmp_path / "up.onnx", dimension=512), [0, 3, 2, 1])
    with pytest.raises(ModelError, match=r"expected one float32 \(N, 3, H, W\), channels before rows"):
        import_model(source, into=ModelStore(tmp_path))


def test_of_a_public_mobilefacenet_the_pixels_must_be_told(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"1x128 out.*--mean"):
        import_model(shared / "models/upstream/mobilefacenet_foamliu.onnx", into=ModelStore(tmp_path))
