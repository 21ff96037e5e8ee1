"""The names that public files have for the same parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.architectures import ARCHITECTURES, build, given_weights, pour, random_weights
from engines.architectures.dialects import TRAINING, WRAPPERS
from engines.architectures.mxnet import mxnet
from engines.architectures.pouring import nearest, needs, translated
from engines.families.preprocessing import Preprocessing
from engines.weight_files import WeightFile

Arrays = dict[str, NDArray[Any]]
ONE = np.ones(1, np.float32)
MXNET = Preprocessing("rgb", (127.5, 127.5, 127.5), (128, 128, 128))
ENDS = {
    **{"conv.weight": "conv2d_weight", "bn.weight": "batchnorm_gamma", "bn.bias": "batchnorm_beta"},
    **{"bn.running_mean": "batchnorm_moving_mean", "bn.running_var": "batchnorm_moving_var"},
    **{"prelu.weight": "relu_gamma", "weight": "gamma", "bias": "beta"},
    **{"running_mean": "moving_mean", "running_var": "moving_var"},
}
ODD = (
    *("bn0", "bn0_", "bn0_gamma", "fc1_moving_mean", "fc1_moving_var", "fc1_weight", "pre_fc1_bias", "pre_fc1_weight"),
    *("stage1_unit0_bn1_beta", "conv1/conv1/kernel:0", "conv4/conv4/kernel:0", "PReLU1/PReLU1/alpha:0"),
)
"""Names that a dialect knows, nearly all of them."""
MOBILE_MODULES = {
    "conv1": "conv_1", "conv2_dw": "conv_2_dw", "conv_6_sep": "conv_6sep", "conv_6_dw": "conv_6dw7_7", "bn": "fc1",
    "conv": "conv_sep", "conv_dw": "conv_dw", "project": "conv_proj",
}  # fmt: skip


def state_dict(name: str) -> Arrays:
    row = ARCHITECTURES[name]
    return {each: random_weights(0)(each, shape) for each, shape in needs(name, row.size, row.dimension).items()}


def bytes_of(name: str, state: Mapping[str, NDArray[Any]]) -> bytes:
    return bytes(build(name, weights=given_weights(state)).SerializeToString(deterministic=True))


@given(st.lists(st.sampled_from(WRAPPERS), max_size=4), st.booleans())
def test_wrappers_and_heads_come_off(wrappers: list[str], headed: bool) -> None:
    prefix = "".join(wrappers)
    names = ["conv1.weight", "fc.bias", "net_1.weight"]
    extra = ["bn.num_batches_tracked", "logits.weight", "output.weight", "weight", "head.fc.bias"] if headed else []
    found, _ = translated({f"{prefix}{name}": ONE for name in names + extra})
    assert set(found) == set(names)


def test_a_head_beside_a_wrapped_network_comes_off() -> None:
    found, _ = translated({"backbone.conv1.weight": ONE, "head.weight": ONE, "num_batches_tracked": ONE})
    assert list(found) == ["conv1.weight"]


def test_a_prefix_that_not_all_have_stays() -> None:
    names = {"net.conv1.weight": ONE, "fpn.weight": ONE}
    assert translated(names) == (names, [])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_that_a_network_needs_is_taken_for_a_head_or_a_wrapper(name: str) -> None:
    row = ARCHITECTURES[name]
    state = dict.fromkeys(needs(name, row.size, row.dimension), ONE)
    assert not any(TRAINING.fullmatch(each) for each in state)
    assert translated(state)[0] is state


@given(
    st.dictionaries(st.sampled_from(ODD), st.sampled_from([(), (0,), (1,), (4, 9), (9, 0), (3, 3, 3, 1)])),
    st.sampled_from([np.float32, np.float16, np.int8, np.bool_]),
)
def test_names_of_another_framework_on_whatever_arrays_do_no_harm(
    shapes: dict[str, tuple[int, ...]], dtype: type[np.generic]
) -> None:
    mobile = {"conv_6dw7_7_batchnorm_beta": ONE} if "fc1_weight" in shapes else {}
    said = {"pre_fc1_bias": ONE, "fc1_moving_var": ONE} | mobile
    arrays = {name: np.ones(shape, dtype) for name, shape in shapes.items()}
    for state in (arrays, said | arrays):
        translated(state)


def mxnet_iresnet(name: str) -> str:
    """MXNet's name of an IResNet's parameter."""
    module, _, end = name.rpartition(".")
    end = "weight" if "conv" in module or module.endswith("downsample.0") else ENDS[end]
    if found := re.fullmatch(r"layer(\d)\.(\d+)\.(.*)", module):
        stage, unit, part = found.groups()
        part = {"prelu": "relu1", "downsample.0": "conv1sc", "downsample.1": "sc"}.get(part, part)
        return f"stage{stage}_unit{int(unit) + 1}_{part}_{end}"
    if module == "fc":
        return f"pre_fc1_{name.rpartition('.')[2]}"
    return {"conv1": "conv0", "bn1": "bn0", "prelu": "relu0", "bn2": "bn1", "features": "fc1"}[module] + f"_{end}"


def mxnet_mobile(name: str) -> str:
    """MXNet's name of a classic MobileFaceNet's parameter."""
    if name == "linear.weight":
        return "pre_fc1_weight"
    if found := re.fullmatch(r"conv_(\d\d)\.(\w+)\.(\w+\.\w+)", name):
        number, place, end = found.groups()
        return f"dconv_{number}_{MOBILE_MODULES[place]}_{ENDS[end]}"
    if found := re.fullmatch(r"conv_(\d)\.model\.(\d+)\.(\w+)\.(\w+\.\w+)", name):
        number, block, place, end = found.groups()
        return f"res_{number}_block{block}_{MOBILE_MODULES[place]}_{ENDS[end]}"
    module, end = name.split(".", 1)
    return f"{MOBILE_MODULES[module]}_{ENDS[end]}"


def flat_file(arrays: Arrays) -> WeightFile:
    return WeightFile(Path("a.wts"), "wts", {name: values.ravel() for name, values in arrays.items()}, flat=True)


def test_mxnet_s_lresnet_is_our_iresnet() -> None:
    shapes = needs("arcface_r18", (112, 112), 512)
    nothing = np.zeros((), np.float32)
    state = {
        name: np.broadcast_to(nothing, shape) if len(shape) > 1 else random_weights(0)(name, shape)
        for name, shape in shapes.items()
    }
    arrays = {mxnet_iresnet(name): values for name, values in state.items()} | {"fc7_weight": ONE}
    assert {"conv0_weight", "bn0_gamma", "relu0_gamma", "stage1_unit1_bn1_gamma", "stage4_unit2_relu1_gamma"} <= set(
        arrays
    )
    assert {"stage2_unit1_conv1sc_weight", "stage2_unit1_sc_moving_var", "pre_fc1_bias", "fc1_beta"} <= set(arrays)
    found, spoken = translated(arrays)
    assert mxnet in spoken
    assert nearest(found).name == "arcface_r18"
    assert nearest(found).faults == 0
    expected = {name: plus(1e-5, values) if name.endswith("running_var") else values for name, values in state.items()}
    expected["features.weight"] = np.ones(512, np.float32)  # MXNet takes it for one
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def plus(value: float, values: NDArray[Any]) -> NDArray[Any]:
    """MXNet adds more to a variance than we do."""
    return np.asarray(values + np.float32(value))


@pytest.mark.parametrize("weight", ["pre_fc1_weight", "fc1_weight"])
def test_mxnet_s_mobilefacenet_is_our_classic_one(weight: str) -> None:
    state = state_dict("mobilefacenet_classic")
    bias = np.linspace(-1, 1, 512, dtype=np.float32)
    arrays = {mxnet_mobile(name): values for name, values in state.items()} | {"pre_fc1_bias": bias}
    assert {"conv_1_conv2d_weight", "res_3_block0_conv_dw_batchnorm_gamma", "dconv_45_conv_proj_conv2d_weight"} <= set(
        arrays
    )
    arrays[weight] = arrays.pop("pre_fc1_weight")
    poured = pour(flat_file(arrays))
    for name in [name for name in state if name.endswith("running_var")]:
        state[name] = plus((2e-5 if name == "bn.running_var" else 1e-3) - 1e-5, state[name])
    state |= {"bn.running_mean": state["bn.running_mean"] - bias, "bn.weight": np.ones(512, np.float32)}
    assert poured.model.SerializeToString(deterministic=True) == bytes_of("mobilefacenet_classic", state)
    assert (poured.family, poured.expected, poured.size) == ("arcface", MXNET, (112, 112))
