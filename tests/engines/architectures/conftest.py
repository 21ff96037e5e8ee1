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

from engines.architectures import ARCHITECTURES, backbones, build, iresnet, irse
from engines.architectures.backbones import RESNET50
from engines.importing import Expected, import_model
from engines.models import ModelSpec, ModelStore

Array = NDArray[Any]
Built = Callable[[str], ModelProto]
Imported = Callable[[str], ModelSpec]
Run = Callable[[ModelProto, Array], dict[str, Array]]


@pytest.fixture(scope="session")
def built() -> Built:
    """The network of that name with random weights, detectors for 64x64. Do not change it.

    ResNets and IResNets have a quarter of their channels: the same graph, a fifth of the bytes.
    """
    made: dict[str, ModelProto] = {}

    def get(name: str) -> ModelProto:
        if name not in made:
            detector = ARCHITECTURES[name].family == "retinaface"
            with pytest.MonkeyPatch.context() as narrowed:
                narrowed.setattr(backbones, "RESNET50", {k: (n // 4, *rest) for k, (n, *rest) in RESNET50.items()})
                for module in (iresnet, irse):
                    narrowed.setattr(module, "CHANNELS", tuple(n // 4 for n in module.CHANNELS))
                made[name] = build(name, (64, 64) if detector else None)
        return made[name]

    return get


@pytest.fixture(scope="session")
def imported(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The same, imported; embedders as expecting what their rows say."""
    made: dict[str, ModelSpec] = {}

    def get(name: str) -> ModelSpec:
        if name not in made:
            row, folder = ARCHITECTURES[name], tmp_path_factory.mktemp("imported")
            (folder / f"{name}.onnx").write_bytes(built(name).SerializeToString())
            told = Expected() if row.family == "retinaface" else Expected(row.channels, row.mean, row.std)
            made[name] = import_model(
                folder / f"{name}.onnx", family=row.family, expected=told, into=ModelStore(folder / "store")
            )
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
