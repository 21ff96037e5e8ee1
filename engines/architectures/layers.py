"""PyTorch's layers as ONNX nodes, the words in which the architectures are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnx.helper import make_tensor_value_info

from engines.architectures.weights import Weights
from engines.base import ModelError
from engines.families import Size
from engines.graphs import GraphBuilder, assemble


@dataclass(frozen=True, slots=True)
class Features:
    """What a layer gives: a tensor of this name and shape, (channels, height, width), without the batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]


NONE = Features("", ())
"""An input that is left out."""
Pair = int | tuple[int, int]
"""For both sides, or (height, width)."""


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


class Layers:
    """Writes a network layer by layer in order of execution. `name` is a module's name in PyTorch. Not thread-safe."""

    def __init__(self, weights: Weights) -> None:
        self._graph = GraphBuilder("")
        self._weights = weights

    def model(self, size: Size, add_layers: Callable[[Layers, Features], Mapping[str, Features]]) -> ModelProto:
        """The checked network that `add_layers` makes of images of `size`; it returns the outputs by name."""
        images = Features("input", (3, *size))
        outputs = add_layers(self, images)
        names = {features.name: name for name, features in outputs.items()}
        for node in self._graph.nodes:
            node.output[:] = [names.get(name, name) for name in node.output]
            node.input[:] = [names.get(name, name) for name in node.input]
        described = {images.name: images.shape} | {name: features.shape for name, features in outputs.items()}
        values = [make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in described.items()]
        return assemble(self._graph.nodes, self._graph.initializers, values[:1], values[1:])

    def conv(
        self,
        x: Features,
        name: str,
        channels: int,
        kernel: Pair,
        *,
        stride: int = 1,
        padding: Pair | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> Features:
        """A convolution; it pads half its kernel unless told otherwise."""
        kernel = _pair(kernel)
        pads = _pair(padding) if padding is not None else (kernel[0] // 2, kernel[1] // 2)
        inputs = [self._parameter(f"{name}.weight", channels, x.channels // groups, *kernel)]
        if bias:
            inputs.append(self._parameter(f"{name}.bias", channels))
        window: dict[str, Any] = {"kernel_shape": kernel, "pads": pads * 2, "strides": (stride, stride)}
        made = self._graph.op("Conv", x.name, *inputs, name=name, group=groups, dilations=(1, 1), **window)
        return Features(made, (channels, *_slid(x.shape[1:], kernel, stride, pads)))

    def batch_norm(self, x: Features, name: str, epsilon: float = 1e-5) -> Features:
        parameters = ("weight", "bias", "running_mean", "running_var")
        inputs = [self._parameter(f"{name}.{each}", x.channels) for each in parameters]
        return Features(self._graph.op("BatchNormalization", x.name, *inputs, name=name, epsilon=epsilon), x.shape)

    def prelu(self, x: Features, name: str) -> Features:
        values = self._values(f"{name}.weight", x.channels)[:, None, None]
        slopes = self._graph.constant(values, np.float32, name=f"{name}.weight")
        return Features(self._graph.op("PRelu", x.name, slopes, name=name), x.shape)

    def relu(self, x: Features) -> Features:
        return self._op("Relu", x.shape, x)

    def leaky_relu(self, x: Features, slope: float) -> Features:
        """A slope of zero is a plain Relu."""
        return self._op("LeakyRelu", x.shape, x, alpha=slope) if slope else self.relu(x)

    def add(self, x: Features, y: Features) -> Features:
        return self._op("Add", x.shape, x, y)

    def scale(self, x: Features, factor: float) -> Features:
        return self._op("Mul", x.shape, x, self._constant(factor, np.float32))

    def concat(self, parts: Sequence[Features]) -> Features:
        """Side by side along the first axis after the batch."""
        length = sum(part.shape[0] for part in parts)
        return self._op("Concat", (length, *parts[0].shape[1:]), *parts, axis=1)

    def max_pool(self, x: Features, kernel: int, *, stride: int, padding: int = 0) -> Features:
        shape = (x.channels, *_slid(x.shape[1:], _pair(kernel), stride, _pair(padding)))
        window: dict[str, Any] = {"kernel_shape": _pair(kernel), "pads": [padding] * 4, "strides": _pair(stride)}
        return self._op("MaxPool", shape, x, **window)

    def average(self, x: Features) -> Features:
        """The mean over height and width."""
        return self._op("GlobalAveragePool", (x.channels, 1, 1), x)

    def double(self, x: Features) -> Features:
        """Twice as high and wide, by nearest neighbours."""
        scales = self._constant([1, 1, 2, 2], np.float32)
        nearest = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        channels, height, width = x.shape
        return self._op("Resize", (channels, 2 * height, 2 * width), x, NONE, scales, **nearest)

    def flatten(self, x: Features) -> Features:
        return self._op("Flatten", (prod(x.shape),), x, axis=1)

    def cells(self, x: Features, values: int) -> Features:
        """The channels of each cell as rows of `values`, by row, column and channel: (rows, values)."""
        last = self._op("Transpose", (*x.shape[1:], x.channels), x, perm=[0, 2, 3, 1])
        target = self._constant([0, -1, values], np.int64)
        return self._op("Reshape", (prod(x.shape) // values, values), last, target)

    def softmax(self, x: Features) -> Features:
        return self._op("Softmax", x.shape, x, axis=-1)

    def linear(self, x: Features, name: str, values: int, *, bias: bool = True) -> Features:
        """A fully connected layer on a flat input."""
        if bias:
            inputs = self._parameter(f"{name}.weight", values, x.channels), self._parameter(f"{name}.bias", values)
            return Features(self._graph.op("Gemm", x.name, *inputs, name=name, transB=1), (values,))
        columns = self._values(f"{name}.weight", values, x.channels).T
        weight = self._graph.constant(columns, np.float32, name=f"{name}.weight")
        return Features(self._graph.op("MatMul", x.name, weight, name=name), (values,))

    def unit_length(self, x: Features) -> Features:
        """A flat input divided by its length, as PyTorch's `normalize` does."""
        length = self._op("ReduceL2", (1,), x, axes=[1], keepdims=1)
        length = self._op("Clip", (1,), length, self._constant(1e-12, np.float32))
        return self._op("Div", x.shape, x, length)

    def _op(self, op_type: str, shape: tuple[int, ...], *inputs: Features, **attributes: Any) -> Features:
        """A node without parameters, numbered because its module has no name of its own."""
        name = f"{op_type}_{len(self._graph.nodes)}"
        return Features(self._graph.op(op_type, *(x.name for x in inputs), name=name, **attributes), shape)

    def _constant(self, values: object, dtype: type[np.generic]) -> Features:
        name = f"Constant_{len(self._graph.initializers)}"
        return Features(self._graph.constant(values, dtype, name=name), ())

    def _parameter(self, name: str, *shape: int) -> str:
        return self._graph.constant(self._values(name, *shape), np.float32, name=name)

    def _values(self, name: str, *shape: int) -> NDArray[np.float32]:
        values = self._weights(name, shape)
        if values.shape != shape:
            raise ModelError(f"the weights of {name!r} have the shape {values.shape}, not {shape}")
        return values


def _slid(sides: Sequence[int], kernel: tuple[int, int], stride: int, padding: tuple[int, int]) -> tuple[int, ...]:
    """The sides of what a window gives that slides over an image of these sides."""
    return tuple((side + 2 * pad - k) // stride + 1 for side, k, pad in zip(sides, kernel, padding, strict=True))
