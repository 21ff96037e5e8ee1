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
Values = NDArray[np.float32]


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


class Layers:
    """Writes a network layer by layer in order of execution. `name` is a module's name in PyTorch. Not thread-safe.

    `dimension` is how long an embedding is to be.
    """

    def __init__(self, weights: Weights, dimension: int = 512) -> None:
        self.dimension = dimension
        self._graph = GraphBuilder("")
        self._weights = weights

    def model(self, size: Size, add_layers: AddLayers) -> ModelProto:
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

    def batch_norm(self, x: Features, name: str, epsilon: float = 1e-5, *, affine: bool = True) -> Features:
        """Without `affine` it has no scale and shift of its own."""
        if affine:
            inputs = [self._parameter(f"{name}.{each}", x.channels) for each in ("weight", "bias")]
        else:
            inputs = [self._constant(np.full(x.channels, value, np.float32), np.float32).name for value in (1, 0)]
        inputs += [self._parameter(f"{name}.{each}", x.channels) for each in ("running_mean", "running_var")]
        return Features(self._graph.op("BatchNormalization", x.name, *inputs, name=name, epsilon=epsilon), x.shape)

    def prelu(self, x: Features, name: str) -> Features:
        each = (x.channels, *[1] * (len(x.shape) - 1))
        slopes = self._parameter(f"{name}.weight", x.channels, arranged=lambda values: values.reshape(each))
        return Features(self._graph.op("PRelu", x.name, slopes, name=name), x.shape)

    def relu(self, x: Features) -> Features:
        return self._op("Relu", x.shape, x)

    def relu6(self, x: Features) -> Features:
        """Between nought and six."""
        return self._op("Clip", x.shape, x, self._constant(0, np.float32), self._constant(6, np.float32))

    def leaky_relu(self, x: Features, slope: float) -> Features:
        """A slope of zero is a plain Relu."""
        return self._op("LeakyRelu", x.shape, x, alpha=slope) if slope else self.relu(x)

    def add(self, x: Features, y: Features) -> Features:
        return self._op("Add", x.shape, x, y)

    def multiply(self, x: Features, y: Features) -> Features:
        """By as many, or by one a channel."""
        return self._op("Mul", x.shape, x, y)

    def sigmoid(self, x: Features) -> Features:
        return self._op("Sigmoid", x.shape, x)

    def scale(self, x: Features, factor: float) -> Features:
        return self._op("Mul", x.shape, x, self._constant(factor, np.float32))

    def concat(self, parts: Sequence[Features]) -> Features:
        """Side by side along the first axis after the batch."""
        length = sum(part.shape[0] for part in parts)
        return self._op("Concat", (length, *parts[0].shape[1:]), *parts, axis=1)

    def max_pool(self, x: Features, kernel: int, *, stride: int, padding: int = 0, ceil: bool = False) -> Features:
        """With `ceil` the last window of a row or column may reach over the edge."""
        sides = [side + stride - 1 for side in x.shape[1:]] if ceil else x.shape[1:]
        shape = (x.channels, *_slid(sides, _pair(kernel), stride, _pair(padding)))
        window: dict[str, Any] = {"kernel_shape": _pair(kernel), "pads": [padding] * 4, "strides": _pair(stride)}
        return self._op("MaxPool", shape, x, **window, **({"ceil_mode": 1} if ceil else {}))

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

    def columns_first(self, x: Features) -> Features:
        """(width, height, channels)."""
        return self._op("Transpose", x.shape[::-1], x, perm=[0, 3, 2, 1])

    def softmax(self, x: Features, axis: int = -1) -> Features:
        return self._op("Softmax", x.shape, x, axis=axis)

    def linear(self, x: Features, name: str, values: int, *, bias: bool = True) -> Features:
        """A fully connected layer on a flat input."""
        if bias:
            inputs = self._parameter(f"{name}.weight", values, x.channels), self._parameter(f"{name}.bias", values)
            return Features(self._graph.op("Gemm", x.name, *inputs, name=name, transB=1), (values,))
        weight = self._parameter(f"{name}.weight", values, x.channels, arranged=np.transpose)
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

    def _parameter(self, name: str, *shape: int, arranged: Callable[[Values], Values] = lambda values: values) -> str:
        """The parameter of that name and shape, stored as `arranged` lays it out."""
        values = self._weights(name, shape)
        if values.shape != shape:
            raise ModelError(f"the weights of {name!r} have the shape {values.shape}, not {shape}")
        return self._graph.constant(arranged(values), np.float32, name=name)


class _Unwritten(GraphBuilder):
    """Names what would be written, and keeps none of it."""

    def add(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> list[str]:
        return list(outputs)

    def constant(self, values: object, dtype: type[np.generic], *, name: str) -> str:
        return name


class Needs(Layers):
    """Writes nothing down but the shape of each parameter that a network needs, by name."""

    def __init__(self, dimension: int = 512) -> None:
        super().__init__(lambda name, shape: np.empty(0, np.float32), dimension)
        self._graph = _Unwritten("")
        self.shapes: dict[str, tuple[int, ...]] = {}

    def of(self, size: Size, add_layers: AddLayers) -> dict[str, tuple[int, ...]]:
        """What the network of `add_layers` for images of `size` needs."""
        add_layers(self, Features("input", (3, *size)))
        return self.shapes

    def _parameter(self, name: str, *shape: int, arranged: Callable[[Values], Values] = lambda values: values) -> str:
        self.shapes[name] = shape
        return name


AddLayers = Callable[[Layers, Features], Mapping[str, Features]]
"""A network: adds its layers to what takes images, and returns the outputs by name."""


def _slid(sides: Sequence[int], kernel: tuple[int, int], stride: int, padding: tuple[int, int]) -> tuple[int, ...]:
    """The sides of what a window gives that slides over an image of these sides."""
    return tuple((side + 2 * pad - k) // stride + 1 for side, k, pad in zip(sides, kernel, padding, strict=True))
