"""Small upstream networks with random weights, and slow, obvious twins of what the canonical graphs compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engines.families import networks, twins
from tests.engines.families.networks import Net

Array = NDArray[Any]
Run = Callable[[Path, Array], dict[str, Array]]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a graph of one input by ONNX Runtime on one thread: outputs by name."""
    return networks.run


def _prior_values(net: Net, features: str, stride: int, values: int, *, fixed_batch: bool) -> str:
    """One head at one stride, ending as PyTorch exports it: permute, then view(batch, -1, values)."""
    last = net.op("Transpose", net.cells(features, stride, 2 * values), perm=[0, 2, 3, 1])
    if fixed_batch:
        return net.op("Reshape", last, net.const([1, -1, values], np.int64))
    batch = net.op("Gather", net.op("Shape", last), net.const(0, np.int64), axis=0)
    batch = net.op("Unsqueeze", batch, net.const([0], np.int64))
    target = net.op("Concat", batch, net.const([-1], np.int64), net.const([values], np.int64), axis=0)
    return net.op("Reshape", last, target)


@pytest.fixture(scope="session")
def tiny_detector() -> Callable[..., Path]:
    """Writes a RetinaFace of a dozen convolutions; `names` are those of boxes, classes and landmarks, in file order."""

    def write(
        path: Path,
        *,
        seed: int = 0,
        softmax: bool = True,
        names: dict[str, int] | None = None,
        shape: tuple[Any, ...] = ("n", 3, "h", "w"),
        opset: int = 13,
        ir: int = 7,
    ) -> Path:
        net = Net(seed)
        fixed = isinstance(shape[0], int)
        features = net.features()
        names = names or {"loc": 4, "conf": 2, "landms": 10}
        for name, values in names.items():
            parts = [_prior_values(net, features, stride, values, fixed_batch=fixed) for stride in (8, 16, 32)]
            if values == 2 and softmax:
                net.op("Softmax", net.op("Concat", *parts, axis=1), to=name, axis=2 if opset < 13 else -1)
            else:
                net.op("Concat", *parts, to=name, axis=1)
        return net.save(path, list(shape), {name: [shape[0], "a", k] for name, k in names.items()}, opset, ir)

    return write


@pytest.fixture(scope="session")
def tiny_embedder() -> Callable[..., Path]:
    """Writes an embedder of two convolutions and a product.

    `scaling` puts Sub and Mul before them; `ending` is "flatten", "reshape_1" (to (1, -1)), "l2" (as PyTorch exports
    F.normalize) or "lp" (LpNormalization).
    """

    def write(
        path: Path,
        *,
        seed: int = 0,
        dimension: int = 24,
        size: tuple[Any, Any] = (112, 112),
        scaling: bool = False,
        ending: str = "flatten",
        bias: float = 0.3,
    ) -> Path:
        net, x = Net(seed), "input"
        rows, columns = (side // 16 if isinstance(side, int) else 7 for side in size)
        if scaling:
            x = net.op("Mul", net.op("Sub", x, net.const(127.5)), net.const(0.0078125))
        x = net.op("Conv", x, net.normal(4, 3, 3, 3, scale=0.3), net.normal(4, scale=bias), pads=[1, 1, 1, 1])
        x = net.op("PRelu", x, net.const(np.full((4, 1, 1), 0.2)))
        x = net.op("Conv", x, net.normal(8, 4, 16, 16, scale=0.05), strides=[16, 16])
        x = net.op("Conv", x, net.normal(dimension, 8, rows, columns, scale=0.2)) if ending == "reshape_1" else x
        if ending == "reshape_1":
            net.op("Reshape", x, net.const([1, -1], np.int64), to="embedding")
            return net.save(path, ["n", 3, *size], {"embedding": ["n", dimension]}, 11)
        weight = net.normal(8 * rows * columns, dimension, scale=0.2)
        x = net.op("MatMul", net.op("Flatten", x, axis=1), weight, to="" if ending != "flatten" else "embedding")
        if ending == "lp":
            net.op("LpNormalization", x, to="embedding", axis=1, p=2)
        if ending == "l2":
            length = net.op("ReduceL2", x, axes=[1], keepdims=1)
            length = net.op("Clip", length, net.const(1e-12))
            net.op("Div", x, net.op("Expand", length, net.op("Shape", x)), to="embedding")
        return net.save(path, ["n", 3, *size], {"embedding": ["n", dimension]}, 13)

    return write


@pytest.fixture(scope="session")
def decode_twin() -> Callable[[dict[int, Array], int, int], list[tuple[float, Array, Array]]]:
    """All faces of one image, best first, from the bare network's outputs by their last dimension."""
    return twins.retinaface


@pytest.fixture(scope="session")
def on_canvas() -> Callable[[Path, int, int], Array]:
    """A photo scaled to fit into the upper left of a black canvas."""

    def place(photo: Path, height: int, width: int) -> Array:
        image = cv2.imread(str(photo))
        assert image is not None
        scale = min(height / image.shape[0], width / image.shape[1])
        fitted = cv2.resize(image, (int(image.shape[1] * scale), int(image.shape[0] * scale)))
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: fitted.shape[0], : fitted.shape[1]] = fitted
        return canvas

    return place


@pytest.fixture(scope="session")
def assert_same_faces() -> Callable[[dict[str, Array], int, list[tuple[float, Array, Array]]], None]:
    """Compares one image of a canonical detector's answer with the twin's: scores to 1e-6, coordinates to 1e-4 px."""

    def check(found: dict[str, Array], row: int, expected: list[tuple[float, Array, Array]]) -> None:
        scores, boxes, landmarks = (found[name][row] for name in ("scores", "boxes", "landmarks"))
        assert len(scores) == min(512, len(expected))
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(scores, [face[0] for face in expected[: len(scores)]], atol=1e-6)
        for rank, (box, points) in enumerate(zip(boxes, landmarks, strict=True)):
            # Faces of equal score to 1e-6 may stand in another order, or beyond the cut.
            near = [f for f in expected[max(0, rank - 50) : rank + 50] if abs(f[0] - scores[rank]) <= 1e-6]
            errors = [max(abs(box - face[1]).max(), abs(points - face[2]).max()) for face in near]
            coarse = max(1.0, float(np.max(np.abs(box))) / 640)  # random networks' boxes can be far larger than images
            assert min(errors) <= 1e-4 * coarse, f"face {rank}: {box} is not the twin's"

    return check
