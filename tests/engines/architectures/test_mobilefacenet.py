"""The public weights of a MobileFaceNet, read off its export, make the network that the export is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from engines.architectures import pour
from engines.weight_files import WeightFile
from tests.engines.architectures.exports import unfolded

Array = NDArray[Any]


def following(module: str) -> str:
    """The BatchNormalization after a convolution."""
    named = {"dw_conv.depthwise": "dw_conv.bn1", "dw_conv.pointwise": "dw_conv.bn2", "gdconv.depthwise": "gdconv.bn"}
    parent, _, place = module.rpartition(".")
    return named.get(module) or (f"{parent}.{int(place) + 1}" if place.isdigit() else "bn")


@pytest.fixture(scope="module")
def exported(shared: Path) -> ModelProto:
    return onnx.load(shared / "models" / "upstream" / "mobilefacenet_foamliu.onnx")


def test_the_poured_network_gives_what_the_export_gives(
    exported: ModelProto, crops: Callable[[int], Array], run: Callable[[ModelProto, Array], dict[str, Array]]
) -> None:
    state = {f"module.{name}": values for name, values in unfolded(exported, following).items()}
    state["module.conv3.bias"] = np.zeros(128, np.float32)
    poured = pour(WeightFile(Path("mobilefacenet.pt"), "torch", state))
    assert poured.expected is not None
    pixels = (crops(112)[:1, ..., ::-1] - np.array(poured.expected.mean)) / poured.expected.std
    planar = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
    (expected,), (found,) = run(exported, planar).values(), run(poured.model, planar).values()
    assert found.shape == (1, 128)
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))
