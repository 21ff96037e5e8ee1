"""SFace: a network of the published file's shape, against OpenCV's own recogniser where it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.base import ModelError
from engines.crops import cropper_for
from engines.detector import Detections
from engines.importing import Expected, import_model
from engines.models import ModelStore
from tests.engines.families.faces import LANDMARKS, SWAPPED, face, is_known, photo_of
from tests.engines.families.networks import Net, run

Array = NDArray[Any]
KNOWN = [-0.04557, 0.0537, 0.01528, -0.02357, 0.04664, -0.02325, 0.11828, 0.14064]
"""What cv2.FaceRecognizerSF of OpenCV 5.0 makes of that face, of unit length: the first values."""
TOLERANCE = 1e-3


def norm(net: Net, x: str, channels: int, to: str = "", **attributes: Any) -> str:
    near_one = [net.const(net.random.uniform(0.8, 1.2, channels)) for _ in range(2)]
    near_zero = [net.normal(channels, scale=0.1) for _ in range(2)]
    return net.op("BatchNormalization", x, near_one[0], *near_zero, near_one[1], to=to, epsilon=1e-3, **attributes)


def write_sface(path: Path, *, opset: int = 8, ir: int = 3, shape: tuple[Any, ...] = (1, 3, 112, 112)) -> Path:
    """As MXNet exports it: weights among the inputs, scaling at the start, Dropout, a norm of the vector at the end."""
    net = Net(11)
    x = net.op("Mul", net.op("Sub", "data", net.const(127.5), to="_minusscalar0"), net.const(0.0078125))
    x = net.op("Conv", x, net.normal(8, 3, 3, 3, scale=0.3), pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3])
    x = net.op("PRelu", norm(net, x, 8), net.const(net.random.uniform(0.1, 0.4, (8, 1, 1))))
    depthwise: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2], "group": 8, "kernel_shape": [3, 3]}
    x = norm(net, net.op("Conv", x, net.normal(8, 1, 3, 3, scale=0.4), **depthwise), 8)
    x = net.op("Conv", x, net.normal(16, 8, 7, 7, scale=0.1), strides=[7, 7], kernel_shape=[7, 7])
    x = net.op("Flatten", net.op("Dropout", x, ratio=0.4), axis=1)
    x = net.op("Gemm", x, net.normal(128, 256, scale=0.1), net.normal(128, scale=0.1), transB=1)
    norm(net, x, 128, to="fc1", **({"spatial": 0} if opset < 9 else {}))
    given = [helper.make_tensor_value_info("data", TensorProto.FLOAT, list(shape))]
    if ir < 4:
        given += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in net.weights]
    made = [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [shape[0], 128])]
    graph = helper.make_graph(net.nodes, "mxnet_converted_model", given, made, net.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
    return path


@pytest.fixture(scope="module")
def photo(samples: Path) -> Array:
    return photo_of(samples)


def embedding(source: Path, folder: Path, photo: Array, faces: Detections, **expected: Any) -> Array:
    spec = import_model(source, into=ModelStore(folder), family="sface", expected=Expected(**expected))
    found: Array = run(spec.files[0].path, cropper_for(spec).cut(photo, faces))["embeddings"][0]
    return found


def test_the_known_face_gives_the_known_vector(tmp_path: Path, photo: Array) -> None:
    found = embedding(write_sface(tmp_path / "up.onnx"), tmp_path, photo, face())
    assert is_known(found, KNOWN, TOLERANCE), found[:8].tolist()


@pytest.mark.parametrize("order", SWAPPED)
def test_landmarks_in_another_order_give_another(tmp_path: Path, photo: Array, order: tuple[int, ...]) -> None:
    found = embedding(write_sface(tmp_path / "up.onnx"), tmp_path, photo, face(order))
    assert not is_known(found, KNOWN, TOLERANCE)


@pytest.mark.parametrize("expected", [{"channels": "bgr"}, {"mean": [20]}, {"std": [1.2]}], ids=str)
def test_other_pixels_give_another(tmp_path: Path, photo: Array, expected: dict[str, Any]) -> None:
    found = embedding(write_sface(tmp_path / "up.onnx"), tmp_path, photo, face(), **expected)
    assert not is_known(found, KNOWN, TOLERANCE)


@pytest.mark.parametrize("export", [{}, {"opset": 11, "ir": 6}, {"shape": ("n", 3, 112, 112), "opset": 9, "ir": 4}])
@pytest.mark.skipif(not hasattr(cv2, "FaceRecognizerSF"), reason="this OpenCV has no FaceRecognizerSF")
def test_it_agrees_with_opencv(tmp_path: Path, photo: Array, export: dict[str, Any]) -> None:
    source = write_sface(tmp_path / "up.onnx", **export)
    spec = import_model(source, into=ModelStore(tmp_path))
    assert (spec.family, spec.channels, spec.dimension, spec.crop) == ("sface", "rgb", 128, "template")
    theirs = cv2.FaceRecognizerSF.create(str(write_sface(tmp_path / "plain.onnx")), "")
    row = np.zeros((1, 15), np.float32)
    row[0, 4:14] = np.ravel(LANDMARKS)
    crop = theirs.alignCrop(photo, row)
    ours = cropper_for(spec).cut(photo, face())[0]
    assert np.abs(crop.astype(int) - ours).max() <= 1  # the same template, to the rounding
    noise = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    crops = np.stack([np.asarray(crop, np.uint8), *noise])
    found = run(spec.files[0].path, crops)
    for row_of, each in enumerate(crops):
        feature = theirs.feature(each).ravel()
        assert float(found["norms"][row_of]) == pytest.approx(float(np.linalg.norm(feature)), rel=1e-4)
        assert float(found["embeddings"][row_of] @ feature) / np.linalg.norm(feature) >= 0.99999


def test_other_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="SFace takes crops of 112x112"):
        import_model(write_sface(tmp_path / "up.onnx"), into=ModelStore(tmp_path), family="sface", sizes=[(112, 96)])
