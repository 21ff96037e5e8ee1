"""Built networks, kept for all tests because the larger ones take seconds, and a runner for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from engines.architectures import ARCHITECTURES, build

Array = NDArray[Any]
Built = Callable[[str], ModelProto]
Run = Callable[[ModelProto, Array], dict[str, Array]]


@pytest.fixture(scope="session")
def built() -> Built:
    """The network of that name with random weights, detectors for 64x64. Do not change it."""
    made: dict[str, ModelProto] = {}

    def get(name: str) -> ModelProto:
        if name not in made:
            detector = ARCHITECTURES[name].family == "retinaface"
            made[name] = build(name, (64, 64) if detector else None)
        return made[name]

    return get


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a network of one input by ONNX Runtime on one thread: outputs by name."""

    def on_one_thread(model: ModelProto, images: Array) -> dict[str, Array]:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {model.graph.input[0].name: images}), strict=True))

    return on_one_thread


@pytest.fixture(scope="session")
def crops(samples: Path) -> Callable[[int], Array]:
    """Two faces as (2, side, side, 3) uint8 BGR."""

    def cut(side: int) -> Array:
        faces = (("astronaut.jpg", 50, 170), ("grace_hopper.jpg", 60, 150))
        photos = [np.asarray(cv2.imread(str(samples / name))) for name, _, _ in faces]
        pieces = [photo[y : y + 112, x : x + 112] for photo, (_, y, x) in zip(photos, faces, strict=True)]
        return np.stack([np.asarray(cv2.resize(piece, (side, side)), np.uint8) for piece in pieces])

    return cut
