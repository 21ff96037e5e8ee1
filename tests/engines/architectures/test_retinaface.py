"""RetinaFace with real weights poured in gives what the files they came from give."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from engines import graphs
from engines.architectures import build, given_weights
from engines.importing import import_model
from engines.models import SHIPPED, ModelStore

Array = NDArray[Any]
Run = Callable[[ModelProto, Array], dict[str, Array]]
EPSILON = 1e-5


def canvas(samples: Path, side: int) -> Array:
    photo = np.asarray(cv2.imread(str(samples / "group.jpg")))
    scale = side / max(photo.shape[:2])
    small = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    image = np.zeros((1, side, side, 3), np.uint8)
    image[0, : small.shape[0], : small.shape[1]] = small[:side, :side]
    return image


def module_of(node: str) -> str:
    """`body/fpn/output1/output1.0/Conv`, as an exporter names a node, is the module `fpn.output1.0`."""
    parts = node.split("/")[1:-1]
    return ".".join(a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(f"{a}."))


def unfolded(model: ModelProto) -> dict[str, Array]:
    """A state dict of a network whose BatchNormalizations were folded: each becomes the bias and nothing else."""
    state: dict[str, Array] = {}
    weights = {name: graphs.array(tensor) for name, tensor in graphs.constants(model.graph).items()}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        module, kernel, bias = module_of(node.name), weights[node.input[1]], weights[node.input[2]]
        state[f"{module}.weight"] = kernel
        if module.endswith("conv1x1"):
            state[f"{module}.bias"] = bias
            continue
        parent, _, place = module.rpartition(".")
        norm, one = f"{parent}.{int(place) + 1}", np.ones_like(bias)
        state |= {f"{norm}.weight": one, f"{norm}.bias": bias, f"{norm}.running_mean": 0 * one}
        state[f"{norm}.running_var"] = one - np.float32(EPSILON)
    return state


def test_the_shipped_network_s_weights_give_the_shipped_network(samples: Path, run: Run, tmp_path: Path) -> None:
    shipped = graphs.load(ModelStore(SHIPPED).get("retinaface_mnet025").files[-1].path)
    poured = build("retinaface_mnet025", (192, 192), given_weights(unfolded(shipped)))
    onnx.save(poured, tmp_path / "poured.onnx")
    spec = import_model(tmp_path / "poured.onnx", family="retinaface", into=ModelStore(tmp_path))
    image = canvas(samples, 192)
    expected, found = run(shipped, image), run(graphs.load(spec.files[0].path), image)
    faces = expected["scores"][0] > 0.5
    assert faces.any()
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    for name in ("boxes", "landmarks"):
        np.testing.assert_allclose(found[name][0][faces], expected[name][0][faces], atol=0.01)


class LegacyTorch(pickle.Unpickler):
    """Reads a state dict as PyTorch wrote it before 1.6: pickles, then each storage's length and bytes."""

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, kind, key, *_ = pid
        return kind, key

    def find_class(self, module: str, name: str) -> Any:
        if name.endswith("Storage"):
            return {"FloatStorage": "<f4", "LongStorage": "<i8"}[name]
        return {"OrderedDict": OrderedDict, "_rebuild_tensor_v2": lambda *given: given[:3]}[name]


def read_legacy(path: Path) -> dict[str, Array]:
    stream = io.BytesIO(path.read_bytes())
    for _ in ("magic number", "protocol", "system"):
        LegacyTorch(stream).load()
    tensors: dict[str, tuple[tuple[str, str], int, tuple[int, ...]]] = LegacyTorch(stream).load()
    kinds = {key: np.dtype(kind) for (kind, key), _, _ in tensors.values()}
    storages = {}
    for key in LegacyTorch(stream).load():
        (length,) = np.frombuffer(stream.read(8), "<i8")
        storages[key] = np.frombuffer(stream.read(int(length) * kinds[key].itemsize), kinds[key])
    return {
        name: storages[key][offset : offset + int(np.prod(shape))].reshape(shape)
        for name, ((_, key), offset, shape) in tensors.items()
    }


@pytest.fixture(scope="module")
def state(shared: Path) -> dict[str, Array]:
    return read_legacy(shared / "models" / "upstream" / "retinaface_mnet025_foamliu.pth")


def test_the_parameters_are_those_of_a_public_state_dict(state: dict[str, Array]) -> None:
    asked = {}

    def weights(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        asked[name] = shape
        return given_weights(state)(name, shape)

    build("retinaface_mnet025", (64, 64), weights)
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    assert asked == {name: values.shape for name, values in state.items() if name not in counters}


def test_a_public_state_dict_gives_what_its_public_export_gives(
    state: dict[str, Array], shared: Path, samples: Path, run: Run
) -> None:
    image = canvas(samples, 640) - np.array([104, 117, 123], np.float32)
    planar = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    found = run(build("retinaface_mnet025", (640, 640), given_weights(state)), planar)
    exported = onnx.load(shared / "models" / "upstream" / "retinaface_mnet025_640.onnx")
    expected = {values.shape[-1]: values for values in run(exported, planar).values()}
    assert (expected[2][0, :, 1] > 0.9).any()
    for name, width in {"loc": 4, "conf": 2, "landms": 10}.items():
        np.testing.assert_allclose(found[name], expected[width], atol=1e-3)
