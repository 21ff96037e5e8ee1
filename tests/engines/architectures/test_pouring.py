"""Weights of files become the networks they are of, and what is none is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.architectures import ARCHITECTURES, build, given_weights, pour, random_weights
from engines.architectures.pouring import nearest, needs
from engines.base import ModelError, RuntimeMissingError
from engines.families import Size
from engines.families.preprocessing import Preprocessing
from engines.weight_files import WeightFile

Arrays = Mapping[str, NDArray[Any]]
SMALL = "mobilefacenet_narrow"
VARIANTS = [
    (name, size, dimension)
    for name, row in ARCHITECTURES.items()
    for size in (row.size, *row.also)
    for dimension in ((128, 256, 512) if row.vector else (row.dimension,))
]


def state_dict(name: str, size: Size | None = None, dimension: int | None = None) -> dict[str, NDArray[np.float32]]:
    """Random weights of an architecture."""
    row = ARCHITECTURES[name]
    shapes = needs(name, size or row.size, dimension or row.dimension)
    return {each: random_weights(0, row.reach)(each, shape) for each, shape in shapes.items()}


def file_of(arrays: Arrays, *, flat: bool = False) -> WeightFile:
    return WeightFile(Path("weights.pth"), "wts" if flat else "torch", arrays, flat)


def flattened(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: values.ravel() for name, values in arrays.items()}


def bytes_of(arrays: Arrays, *, flat: bool = False) -> bytes:
    return bytes(pour(file_of(arrays, flat=flat)).model.SerializeToString(deterministic=True))


@pytest.mark.parametrize(("name", "size", "dimension"), VARIANTS)
def test_every_variant_is_told_from_every_other(name: str, size: Size, dimension: int) -> None:
    shapes = needs(name, size, dimension)
    nothing = np.zeros((), np.float32)
    for flat in (False, True):
        arrays = {each: np.broadcast_to(nothing, prod(shape) if flat else shape) for each, shape in shapes.items()}
        found = nearest(arrays, flat=flat)
        assert (found.name, found.size, found.dimension, found.faults) == (name, size, dimension, 0), flat


@pytest.mark.parametrize(
    "name", ["retinaface_mnet025", "mtcnn_onet", SMALL, "mobilefacenet_classic", "mobilefacenet_relu6"]
)
def test_what_is_poured_is_what_is_built(name: str) -> None:
    row = ARCHITECTURES[name]
    poured = pour(file_of(state_dict(name)))
    assert poured.model.SerializeToString(deterministic=True) == build(name).SerializeToString(deterministic=True)
    assert poured.size == (None if row.any_size else row.size)
    assert (poured.family, poured.expected) == (row.family, row.expected)


def test_rows_say_what_their_networks_expect() -> None:
    half = (127.5, 127.5, 127.5)
    expected = {name: row.expected for name, row in ARCHITECTURES.items()}
    assert expected["retinaface_r50"] == Preprocessing("bgr", (104, 117, 123))
    assert expected["arcface_r100"] == expected["mobilefacenet_512"] == Preprocessing("rgb", half, half)
    assert expected["mobilefacenet_classic"] == Preprocessing("bgr", half, half)
    assert expected["facenet"] == expected["mtcnn_pnet"] == Preprocessing("rgb", half, (128, 128, 128))
    assert expected["mobilefacenet_relu6"].std == (58.395, 57.12, 57.375)


def test_size_and_dimension_follow_from_the_shapes() -> None:
    state = state_dict(SMALL, (112, 96), 128)
    poured = pour(file_of(state))
    assert poured.size == (112, 96)
    expected = build(SMALL, (112, 96), given_weights(state), dimension=128)
    assert poured.model.SerializeToString() == expected.SerializeToString()


def test_arrays_without_shapes_are_given_theirs() -> None:
    state = state_dict(SMALL)
    assert bytes_of(flattened(state), flat=True) == bytes_of(state)


def test_other_precisions_are_read() -> None:
    state = {name: values.astype(np.float16) for name, values in state_dict(SMALL).items()}
    doubles = {name: values.astype(np.float64) for name, values in state.items()}
    assert bytes_of(state) == bytes_of(doubles)


def test_one_that_is_missing_one_that_is_unknown_and_one_of_another_shape_are_named() -> None:
    state: dict[str, NDArray[Any]] = dict(state_dict("mobilefacenet_classic"))
    del state["conv_23.conv.conv.weight"]
    state |= {"conv_7.bias": np.zeros(3, np.float32), "conv1.prelu.weight": np.ones(1, np.float32)}
    with pytest.raises(ModelError) as error:
        pour(file_of(state))
    assert str(error.value).startswith(
        "weights.pth comes nearest to mobilefacenet_classic but lacks 'conv_23.conv.conv.weight'; has 'conv_7.bias', "
        "which that has not; 'conv1.prelu.weight' has the shape (1,), not (64,). Known are retinaface_mnet025, "
    )


def test_many_that_are_missing_are_counted() -> None:
    state = state_dict(SMALL)
    without = {name: values for name, values in state.items() if not name.startswith("layers.7.")}
    with pytest.raises(ModelError, match=rf"nearest to {SMALL} but lacks 'layers.7[^;]* and 31 more\. Known"):
        pour(file_of(without))


def test_a_wrong_count_of_flat_numbers_is_named() -> None:
    state = flattened(state_dict(SMALL)) | {"conv_sep.layers.0.weight": np.zeros(5, np.float32)}
    with pytest.raises(ModelError, match=r"'conv_sep.layers.0.weight' has 5 numbers, not 65536 \(512, 128, 1, 1\)"):
        pour(file_of(state, flat=True))


def test_weights_of_anything_else_are_refused() -> None:
    other = {f"blocks.{i}.attn.qkv": np.zeros(2, np.float32) for i in range(9)}
    with pytest.raises(ModelError, match=r"of no known architecture \('blocks.0.attn.qkv', .* and 6 more\): known are"):
        pour(file_of(other))
    with pytest.raises(ModelError, match="no weights of a network"):
        pour(file_of({}))
    with pytest.raises(ModelError, match="no weights of a network"):
        pour(file_of({"module.num_batches_tracked": np.zeros(1, np.int64)}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    state = state_dict(SMALL)
    state["conv_sep.layers.1.running_var"][7] = value
    with pytest.raises(ModelError, match=r"other than finite .* in 'conv_sep.layers.1.running_var'"):
        pour(file_of(state))


def test_numbers_too_large_for_float32_and_integers_are_refused() -> None:
    state: dict[str, NDArray[Any]] = dict(state_dict(SMALL))
    state["features.layers.3.bias"] = np.full(512, 1e300)
    state["features.layers.3.weight"] = np.ones(512, np.int8)
    with pytest.raises(ModelError, match=r"'features.layers.3.weight', 'features.layers.3.bias'"):
        pour(file_of(state))


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.models.find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        pour(file_of({}))
