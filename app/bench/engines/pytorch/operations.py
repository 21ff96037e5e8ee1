"""ONNX operations as PyTorch's: for each, what makes a function of tensors from a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

ONE_TENSOR = ("Clip", "ReduceMean", "Reshape", "Resize", "Squeeze", "Unsqueeze")
"""Operations that take one tensor; their other inputs are numbers, read when the network is built."""


class LeftOutError(Exception):
    """This network cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Node:
    """One step of a recipe. `known` has all weights of the network by name, as NumPy arrays."""

    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    known: Mapping[str, Any]

    @property
    def tensors(self) -> list[str]:
        """The names of the inputs that are handed to the function."""
        named = self.inputs[:1] if self.operation in ONE_TENSOR else self.inputs
        return [name for name in named if name]

    def numbers(self, place: int, default: Any = None) -> Any:
        """The constant input at `place` as a list or a number."""
        name = self.inputs[place] if place < len(self.inputs) else ""
        return self.known[name].tolist() if name else default


Function = Callable[..., Any]


def _padded(node: Node, value: float, function: Callable[[Any, tuple[int, int], tuple[Any, ...]], Any]) -> Function:
    """Hands symmetric padding on; PyTorch's windows have no other, so the image is padded by itself before."""
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise LeftOutError(f"{node.operation} with auto_pad: only plain pads are understood")
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        return lambda x, *rest: function(x, (top, left), rest)
    return lambda x, *rest: function(functional.pad(x, (left, right, top, bottom), value=value), (0, 0), rest)


def _conv(node: Node) -> Function:
    stride, dilation = node.attributes.get("strides", (1, 1)), node.attributes.get("dilations", (1, 1))
    groups = node.attributes.get("group", 1)

    def run(x: Any, padding: tuple[int, int], weights: tuple[Any, ...]) -> Any:
        bias = weights[1] if len(weights) > 1 else None
        return functional.conv2d(x, weights[0], bias, stride, padding, dilation, groups)

    return _padded(node, 0, run)


def _batch_norm(node: Node) -> Function:
    eps = node.attributes.get("epsilon", 1e-5)
    return lambda x, scale, bias, mean, var: functional.batch_norm(x, mean, var, scale, bias, False, 0.0, eps)


def _max_pool(node: Node) -> Function:
    kernel, stride = node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1))
    ceil, dilation = bool(node.attributes.get("ceil_mode", 0)), node.attributes.get("dilations", (1, 1))
    return _padded(
        node, float("-inf"), lambda x, padding, _: functional.max_pool2d(x, kernel, stride, padding, dilation, ceil)
    )


def _average_pool(node: Node) -> Function:
    kernel, stride = node.attributes["kernel_shape"], node.attributes.get("strides", (1, 1))
    ceil, count = bool(node.attributes.get("ceil_mode", 0)), bool(node.attributes.get("count_include_pad", 0))
    return _padded(node, 0, lambda x, padding, _: functional.avg_pool2d(x, kernel, stride, padding, ceil, count))


def _resize(node: Node) -> Function:
    scales = node.numbers(2)
    if node.attributes.get("mode", "nearest") != "nearest" or not scales:
        raise LeftOutError("Resize: only nearest neighbours by scales are understood")
    return lambda x: functional.interpolate(x, scale_factor=scales[2:], mode="nearest")


def _gemm(node: Node) -> Function:
    given = node.attributes
    if given.get("alpha", 1) != 1 or given.get("beta", 1) != 1 or given.get("transA", 0):
        raise LeftOutError("Gemm: only x @ w + b is understood")
    if given.get("transB", 0):
        return lambda x, weight, bias=None: functional.linear(x, weight, bias)
    return lambda x, weight, bias=None: functional.linear(x, weight.t(), bias)


def _reshape(node: Node) -> Function:
    shape = node.numbers(1)
    return lambda x: x.reshape([size or x.shape[axis] for axis, size in enumerate(shape)])


def _squeeze(node: Node) -> Function:
    axes = tuple(node.numbers(1))
    return lambda x: torch.squeeze(x, axes)


def _unsqueeze(node: Node) -> Function:
    axes = sorted(node.numbers(1))

    def run(x: Any) -> Any:
        for axis in axes:
            x = torch.unsqueeze(x, axis)
        return x

    return run


def _reduce_mean(node: Node) -> Function:
    axes, keep = node.attributes["axes"], bool(node.attributes.get("keepdims", 1))
    return lambda x: torch.mean(x, axes, keepdim=keep)


def _length(node: Node) -> Function:
    axes, keep = node.attributes["axes"], bool(node.attributes.get("keepdims", 1))
    return lambda x: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)


def _clip(node: Node) -> Function:
    low, high = node.numbers(1), node.numbers(2)
    return lambda x: torch.clamp(x, low, high)


def _plain(function: Function) -> Callable[[Node], Function]:
    return lambda _: function


OPERATIONS: dict[str, Callable[[Node], Function]] = {
    "Add": _plain(lambda a, b: a + b),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda node: lambda *parts: torch.cat(parts, node.attributes["axis"]),
    "Conv": _conv,
    "Div": _plain(lambda a, b: a / b),
    "Dropout": _plain(lambda x: x),
    "Flatten": lambda node: lambda x: torch.flatten(x, node.attributes.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": lambda node: lambda x: functional.leaky_relu(x, node.attributes.get("alpha", 0.01)),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(lambda a, b: a * b),
    "PRelu": _plain(lambda x, slope: functional.prelu(x, slope.flatten())),
    "ReduceL2": _length,
    "ReduceMean": _reduce_mean,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": lambda node: lambda x: torch.softmax(x, node.attributes.get("axis", -1)),
    "Squeeze": _squeeze,
    "Sub": _plain(lambda a, b: a - b),
    "Transpose": lambda node: lambda x: x.permute(node.attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
