"""MTCNN's three networks: their canonical graphs against the published equations, and the files that they come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import ModelProto

from engines import weight_files
from engines.architectures import build
from engines.base import ModelError
from engines.importing import import_model
from engines.manifest import ModelSpec
from engines.models import ModelStore

Array = NDArray[Any]
Weights = Mapping[str, Array]
Run = Callable[[Path, Array], dict[str, Array]]
SIZE = (40, 60)
PARTS = ("pnet", "rnet", "onet")


def windowed(x: Array, shape: tuple[int, ...]) -> Array:
    """(n, y, x, c, h, w) every window of that shape, one apart."""
    # NumPy 2.2's stubs know one axis only.
    windows: Array = sliding_window_view(x, shape, axis=(1, 2))  # type: ignore[call-overload,unused-ignore]
    return windows


class Twin:
    """The networks as their papers and first implementations have them, NHWC in float64: slow and plain.

    `weights` gives a layer's kernel (h, w, in, out) or matrix (in, out), bias and slopes; `columns_first` says whether
    what is flattened goes by column, row, channel, as in the PyTorch files, or by channel, column, row, as in Keras'.
    """

    def __init__(self, weights: Callable[[str, str], Array], *, columns_first: bool) -> None:
        self.weights, self.columns_first = weights, columns_first

    def conv(self, x: Array, layer: str) -> Array:
        kernel = self.weights(layer, "kernel")
        windows = windowed(x, kernel.shape[:2])
        sums: Array = np.einsum("nyxchw,hwco->nyxo", windows, kernel)
        return sums + self.weights(layer, "bias")

    def prelu(self, x: Array, number: int) -> Array:
        fallen: Array = x * self.weights(f"prelu{number}", "alpha").ravel()
        return np.where(x > 0, x, fallen)

    def layer(self, x: Array, number: int) -> Array:
        return self.prelu(self.conv(x, f"conv{number}"), number)

    @staticmethod
    def pool(x: Array, side: int) -> Array:
        """Windows of `side`, two apart, the last of which may reach over the edge."""
        over = [(side - size) % 2 if size >= side else side - size for size in x.shape[1:3]]
        padded = np.pad(x, [(0, 0), (0, over[0]), (0, over[1]), (0, 0)], constant_values=-np.inf)
        most: Array = windowed(padded, (side, side))[:, ::2, ::2].max(axis=(-1, -2))
        return most

    def dense(self, x: Array, layer: str) -> Array:
        products: Array = x @ self.weights(layer, "kernel")
        return products + self.weights(layer, "bias")

    def flat(self, x: Array) -> Array:
        ordered: Array = x.transpose((0, 2, 1, 3) if self.columns_first else (0, 3, 2, 1))
        return ordered.reshape(len(x), -1)

    def pnet(self, x: Array) -> list[Array]:
        x = self.layer(self.layer(self.pool(self.layer(x, 1), 2), 2), 3)
        return [self.conv(x, "conv4-1"), self.conv(x, "conv4-2")]

    def rnet(self, x: Array) -> list[Array]:
        x = self.pool(self.layer(self.pool(self.layer(x, 1), 3), 2), 3)
        x = self.prelu(self.dense(self.flat(self.layer(x, 3)), "conv4"), 4)
        return [self.dense(x, "conv5-1"), self.dense(x, "conv5-2")]

    def onet(self, x: Array) -> list[Array]:
        x = self.pool(self.layer(self.pool(self.layer(x, 1), 3), 2), 3)
        x = self.layer(self.pool(self.layer(x, 3), 2), 4)
        x = self.prelu(self.dense(self.flat(x), "conv5"), 5)
        return [self.dense(x, f"conv6-{head}") for head in (1, 2, 3)]


def from_pytorch(state: Weights) -> Callable[[str, str], Array]:
    def weights(layer: str, what: str) -> Array:
        names = [layer.replace("-", "_"), layer.replace("-", "_").replace("conv", "dense")]
        name = next(name for name in names if f"{name}.weight" in state)
        values = np.asarray(state[f"{name}.{'bias' if what == 'bias' else 'weight'}"], np.float64)
        last: Array = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values.T
        return last

    return weights


def from_keras(arrays: Weights) -> Callable[[str, str], Array]:
    def weights(layer: str, what: str) -> Array:
        (name,) = (name for name in arrays if name.lower().startswith(f"{layer}/") and name.endswith(f"/{what}:0"))
        return np.asarray(arrays[name], np.float64)

    return weights


def probability(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    share: Array = raised[..., 1] / raised.sum(axis=-1)
    return share


def assert_is(spec: ModelSpec, run: Run, twin: Mapping[str, Twin]) -> None:
    """Compares all three canonical graphs with their twins on noise."""
    random = np.random.default_rng(1)
    paths = {file.size: file.path for file in spec.files}

    def images(*shape: int) -> tuple[Array, Array]:
        pixels = random.integers(0, 256, shape, np.uint8)
        return pixels, (pixels[..., ::-1].astype(np.float64) - 127.5) / 128

    for part, side in (("rnet", 24), ("onet", 48)):
        crops, seen = images(3, side, side, 3)
        found, expected = run(paths[side, side], crops), getattr(twin[part], part)(seen)
        np.testing.assert_allclose(found["scores"], probability(expected[0]), atol=1e-5)
        np.testing.assert_allclose(found["offsets"], expected[1], atol=1e-4)
        if part == "onet":
            points = np.stack([expected[2][:, :5], expected[2][:, 5:]], axis=-1)
            np.testing.assert_allclose(found["landmarks"], points, atol=1e-4)
    canvas, seen = images(2, *ort_shape(paths[SIZE]), 3)
    found, (logits, offsets) = run(paths[SIZE], canvas), twin["pnet"].pnet(seen)
    for row, scores in enumerate(probability(logits)):
        column, line = (found["corners"][row].astype(int) // 2).T
        best = np.sort(scores, axis=None)[::-1]
        assert len(set(zip(line, column, strict=True))) == scores.size
        np.testing.assert_allclose(found["scores"][row], best, atol=1e-5)
        np.testing.assert_allclose(found["scores"][row], scores[line, column], atol=1e-5)
        np.testing.assert_allclose(found["offsets"][row], offsets[row][line, column], atol=1e-4)


def ort_shape(path: Path) -> tuple[int, int]:
    (canvas,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()
    return canvas.shape[1], canvas.shape[2]


@pytest.fixture(scope="module")
def networks() -> dict[str, ModelProto]:
    """The networks with random weights; in those of P-Net and R-Net slopes fall, rise, and rise steeply."""
    made = {part: build(f"mtcnn_{part}") for part in PARTS}
    for model in made.values():
        slopes = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("prelu1.weight"))
        values = np.linspace(-1.5, 1.5, onnx.numpy_helper.to_array(slopes).size, dtype=np.float32)
        slopes.CopyFrom(onnx.numpy_helper.from_array(values.reshape(-1, 1, 1), slopes.name))
    return made


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


def saved(networks: Mapping[str, ModelProto], folder: Path) -> list[Path]:
    paths = [folder / f"{part}.onnx" for part in networks]
    for path, model in zip(paths, networks.values(), strict=True):
        onnx.save(model, path)
    return paths


def parameters(model: ModelProto) -> dict[str, Array]:
    values = {tensor.name.lstrip("/"): onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: each.reshape(-1) if "prelu" in name else each for name, each in values.items()}


@pytest.fixture
def taken(networks: dict[str, ModelProto], store: ModelStore, tmp_path: Path) -> ModelSpec:
    return import_model(saved(networks, tmp_path), into=store, name="net", sizes=[SIZE])


def test_networks_from_onnx_agree_with_their_equations(
    networks: dict[str, ModelProto], taken: ModelSpec, run: Run
) -> None:
    assert (taken.family, taken.channels, taken.sizes) == ("mtcnn", "rgb", (SIZE, (48, 48), (24, 24)))
    assert len(taken.landmark_order) == 5
    assert_is(taken, run, {part: Twin(from_pytorch(parameters(networks[part])), columns_first=True) for part in PARTS})


def test_order_of_files_and_of_outputs_and_a_softmax_left_out_change_nothing(
    networks: dict[str, ModelProto], taken: ModelSpec, store: ModelStore, tmp_path: Path
) -> None:
    other = {part: ModelProto.FromString(networks[part].SerializeToString()) for part in reversed(PARTS)}
    for part, model in other.items():
        graph = model.graph
        outputs = list(graph.output)[::-1]
        softmax = next(node for node in graph.node if node.op_type == "Softmax")
        logits = next(node for node in graph.node if node.output[0] == softmax.input[0])
        if part == "rnet":
            graph.node.remove(softmax)
            logits.output[0] = softmax.output[0]
        del graph.output[:]
        graph.output.extend(outputs)
    again = import_model(saved(other, tmp_path), into=store, name="again", sizes=[SIZE])
    assert _answers(again) == pytest.approx(_answers(taken), abs=1e-6)


def _answers(spec: ModelSpec) -> list[float]:
    crops = np.random.default_rng(2).integers(0, 256, (2, 24, 24, 3), np.uint8)
    path = next(file.path for file in spec.files if file.size == (24, 24))
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [float(value) for each in session.run(["scores", "offsets"], {"crops": crops}) for value in each.flat]


@pytest.mark.parametrize(
    ("parts", "size", "wrong"),
    [
        (("pnet", "rnet"), SIZE, "a model of MTCNN is P-Net, R-Net"),
        (("pnet", "rnet", "rnet"), SIZE, "3 files were given, with 2 different networks"),
        (PARTS, (11, 40), "pictures of 12 to 1536 px"),
        (PARTS, (40, 1537), "pictures of 12 to 1536 px"),
    ],
)
def test_what_is_no_mtcnn_is_refused(
    networks: dict[str, ModelProto],
    store: ModelStore,
    tmp_path: Path,
    parts: Sequence[str],
    size: tuple[int, int],
    wrong: str,
) -> None:
    paths = {path.stem: path for path in saved(networks, tmp_path)}
    with pytest.raises(ModelError, match=wrong):
        import_model([paths[part] for part in parts], into=store, family="mtcnn", sizes=[size])


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    store = ModelStore(tmp_path_factory.mktemp("published"))
    return {
        kind: import_model(
            [shared / "models" / "upstream" / f"mtcnn_{part}.{kind}" for part in PARTS],
            into=store,
            name=kind,
            sizes=[SIZE],
        )
        for kind in ("pt", "h5")
    }


@pytest.mark.parametrize(("kind", "weights"), [("pt", from_pytorch), ("h5", from_keras)])
def test_published_files_agree_with_the_equations_of_their_own_framework(
    shared: Path, published: dict[str, ModelSpec], run: Run, kind: str, weights: Callable[[Weights], Any]
) -> None:
    twins = {}
    for part in PARTS:
        file = weight_files.read(shared / "models" / "upstream" / f"mtcnn_{part}.{kind}")
        assert file is not None
        twins[part] = Twin(weights(file.arrays), columns_first=kind == "pt")
    assert_is(published[kind], run, twins)


def test_the_published_trainings_are_one(published: dict[str, ModelSpec]) -> None:
    assert published["pt"].digest == published["h5"].digest
