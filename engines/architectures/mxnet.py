"""InsightFace's first networks, LResNet-E-IR and MobileFaceNet, by the names of their MXNet parameters.

They come as .wts files, which github.com/wang-xinyu/tensorrtx writes from MXNet's own. The first is our IResNet, the
second our classic MobileFaceNet; both scale pixels to (x − 127.5) / 128 in RGB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

EPSILON = 1e-5  # of the BatchNormalizations that the arrays are poured into
EPSILONS = {"_batchnorm": 1e-3, "": 2e-5}
"""Of MXNet's, by the end of the module's name: MobileFaceNet's are MXNet's usual one, but for the last."""
ENDS = {
    **{"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"},
    **{"moving_mean": "running_mean", "moving_var": "running_var"},
}
IRESNET = (
    (r"conv0", "conv1"),
    (r"bn0", "bn1"),
    (r"relu0", "prelu"),
    (r"bn1", "bn2"),
    (r"pre_fc1", "fc"),
    (r"fc1", "features"),
    (r"stage(\d)_unit(\d+)_relu1", "layer{0}.{1}.prelu"),
    (r"stage(\d)_unit(\d+)_conv1sc", "layer{0}.{1}.downsample.0"),
    (r"stage(\d)_unit(\d+)_sc", "layer{0}.{1}.downsample.1"),
    (r"stage(\d)_unit(\d+)_(conv\d|bn\d)", "layer{0}.{1}.{2}"),
)
"""A module's name in MXNet, and ours; MXNet counts units from one."""
LAYER = r"_(conv2d|batchnorm|relu)"
MOBILEFACENET = (
    (rf"conv_1{LAYER}", "conv1.{0}"),
    (rf"conv_2_dw{LAYER}", "conv2_dw.{0}"),
    (rf"conv_6sep{LAYER}", "conv_6_sep.{0}"),
    (rf"conv_6dw7_7{LAYER}", "conv_6_dw.{0}"),
    (rf"dconv_(\d\d)_conv_(sep|dw|proj){LAYER}", "conv_{0}.{1}.{2}"),
    (rf"res_(\d)_block(\d+)_conv_(sep|dw|proj){LAYER}", "conv_{0}.model.{1}.{2}.{3}"),
    (r"pre_fc1", "linear"),
    (r"fc1", "bn"),
)
PARTS = {"conv2d": "conv", "batchnorm": "bn", "relu": "prelu", "sep": "conv", "dw": "conv_dw", "proj": "project"}


def mxnet(arrays: Arrays) -> Arrays | None:
    """The same network under our names; None where these are not MXNet's.

    What MXNet computes otherwise goes into the values: another epsilon into the variance, the bias before the last
    normalisation (MobileFaceNet's has none here) into its mean; that one's scale is one whatever the file says.
    """
    if "pre_fc1_bias" not in arrays or "fc1_moving_var" not in arrays:
        return None
    mobile = any(name.startswith("conv_6dw7_7") for name in arrays)
    given = dict(arrays) | {"fc1_gamma": np.ones_like(arrays["fc1_moving_var"])}
    if mobile:
        bias, mean = given.pop("pre_fc1_bias"), given.get("fc1_moving_mean")
        if mean is not None and mean.size == bias.size and mean.dtype.kind == bias.dtype.kind == "f":
            given["fc1_moving_mean"] = mean.ravel() - bias.ravel()
        if "fc1_weight" in given:  # so called in some files
            given["pre_fc1_weight"] = given.pop("fc1_weight")
    return dict(_renamed(given, MOBILEFACENET if mobile else IRESNET))


def _renamed(arrays: Arrays, modules: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Names that nothing fits stay, to be told of."""
    for name, given in arrays.items():
        end = next((end for end in ENDS if name.endswith(f"_{end}")), "")
        module = name.removesuffix(f"_{end}")
        epsilon = next(value for suffix, value in EPSILONS.items() if module.endswith(suffix))
        values = given + given.dtype.type(epsilon - EPSILON) if end == "moving_var" else given
        ours = _module(module, modules) if end else ""
        yield (f"{ours}.{ENDS[end]}" if ours else name), values


def _module(name: str, modules: tuple[tuple[str, str], ...]) -> str:
    """Our name of MXNet's module; "" where nothing fits."""
    for pattern, ours in modules:
        if found := re.fullmatch(pattern, name):
            return ours.format(*_parts(found))
    return ""


def _parts(found: re.Match[str]) -> Iterator[str]:
    unit = found.re.groups > 1 and "unit" in found.re.pattern
    for place, part in enumerate(found.groups()):
        yield str(int(part) - 1) if unit and place == 1 else PARTS.get(part, part)
