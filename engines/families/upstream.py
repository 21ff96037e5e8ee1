"""Reading an upstream ONNX file: refused unless plain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import uses_external_data

from engines.base import ModelError
from engines.families import Size
from engines.families.preprocessing import Preprocessing
from engines.graphs import array, attribute, constants, consumers, shape_of

LONGEST_NAME = 1000  # characters
MOST_NODES = 10_000  # several times what the largest networks known here have
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
SPARSE = (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS)
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
MAX_BYTES = 2**31 - 1  # protobuf's own limit; larger networks need external data, which is refused


@dataclass(frozen=True, slots=True)
class Upstream:
    """One network as it came.

    `size` is the only (height, width) it takes, None where any does. `family` and what it `expected` of its caller are
    given where the kind of file tells: a graph does not, weights of a known architecture do.
    """

    model: ModelProto
    size: Size | None
    family: str = ""
    expected: Preprocessing | None = None


def one_network(given: Sequence[Upstream], asked: Sequence[Size], usual: Sequence[Size]) -> dict[Size, Upstream]:
    """`Converter.networks` of a family whose models are one file each."""
    if len(given) != 1:
        raise ModelError(f"{len(given)} files were given: a model of this family is one file")
    own = given[0].size
    return dict.fromkeys(asked or ([own] if own else usual), given[0])


def read(path: Path) -> Upstream:
    """The network in `path`, which must be one plain ONNX file: `(N, 3, H, W)` float32 in, standard operators only.

    Raises ModelError, saying what was found and what to do, for anything else: not ONNX, cut short, weights in other
    files, custom operators, control flow, random numbers, weights that are not finite.
    """
    if not path.is_file():
        raise ModelError(f"{path} is not a file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is larger than the 2 GiB an ONNX file can have")
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX file, or is cut short: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} is not an ONNX file: no network in it")
    _require_text(model.graph, path)
    _refuse_what_is_not_plain(model, path)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid ONNX: {error}") from error
    _require_numbers(model.graph, path)
    _make_planar(model.graph)
    _require_image_input(model, path)
    height, width = shape_of(image_inputs(model.graph)[0])[2:]
    return Upstream(model, (height, width) if height and width else None)


def image_inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no weights; there is one once the network has been read."""
    weights = constants(graph)
    return [value for value in graph.input if value.name not in weights]


def _require_text(graph: GraphProto, path: Path) -> None:
    """Protobuf hands names that are not UTF-8 through as bytes, which nothing after this expects."""
    names: list[object] = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [entry.name for entry in node.attribute]
    if not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path} is damaged: it has names that are no text")
    if any(len(str(name)) > LONGEST_NAME for name in names):
        raise ModelError(f"{path} is damaged: it has names of more than {LONGEST_NAME:,} characters")
    if len(graph.node) > MOST_NODES:
        raise ModelError(f"{path} has {len(graph.node):,} nodes: a network may have {MOST_NODES:,}")


def _refuse_what_is_not_plain(model: ModelProto, path: Path) -> None:
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if model.functions or model.training_info:
        raise ModelError(f"{path} has functions or training steps: export it for inference, without them")
    if domains:
        raise ModelError(f"{path} uses operators outside the ONNX standard ({', '.join(domains)}): export it without")
    attributes = [entry for node in model.graph.node for entry in node.attribute]
    if model.graph.sparse_initializer or any(entry.type in SPARSE for entry in attributes):
        raise ModelError(f"{path} has sparse weights: export it with dense ones")
    if any(entry.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for entry in attributes):
        raise ModelError(f"{path} has control flow (If, Loop or Scan): export it as a plain graph")
    if any(node.op_type in RANDOM for node in model.graph.node):
        raise ModelError(f"{path} draws random numbers: export it for inference")
    for tensor in _tensors(model.graph, attributes):
        if uses_external_data(tensor):
            raise ModelError(f"{path} keeps weights in other files: save it as one file (onnx.save, no external data)")


def _tensors(graph: GraphProto, attributes: list[AttributeProto]) -> Iterator[TensorProto]:
    yield from graph.initializer
    for entry in attributes:
        yield from (entry.t, *entry.tensors)


def _require_numbers(graph: GraphProto, path: Path) -> None:
    """A single value may be infinite: it says that a Clip has no limit."""
    attributes = [entry for node in graph.node for entry in node.attribute]
    for tensor in _tensors(graph, attributes):
        if tensor.data_type not in FLOATS:
            continue
        values = array(tensor)
        if np.isnan(values).any() or (values.size > 1 and np.isinf(values).any()):
            raise ModelError(f"{path} has weights that are not finite numbers ({tensor.name!r}): it is damaged")


def _make_planar(graph: GraphProto) -> None:
    """Has a network of images (N, H, W, 3) that turns them to (N, 3, H, W) first thing take those, in place."""
    inputs = image_inputs(graph)
    if len(inputs) != 1 or len(shape_of(inputs[0])) != 4:
        return
    readers = consumers(graph, inputs[0].name)
    if len(readers) == 1 and readers[0].op_type == "Transpose" and attribute(readers[0], "perm") == [0, 3, 1, 2]:
        for node in consumers(graph, readers[0].output[0]):
            node.input[:] = [inputs[0].name if name == readers[0].output[0] else name for name in node.input]
        graph.node.remove(readers[0])
        axes = inputs[0].type.tensor_type.shape.dim
        batch, height, width, channels = (type(axis).FromString(axis.SerializeToString()) for axis in axes)
        for axis, one in zip(axes, (batch, channels, height, width), strict=True):
            axis.CopyFrom(one)


def _require_image_input(model: ModelProto, path: Path) -> None:
    inputs = image_inputs(model.graph)
    found = [(value.name, shape_of(value)) for value in inputs]
    fits = len(found) == 1 and len(found[0][1]) == 4 and found[0][1][1] == 3
    if not fits or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ModelError(f"{path} has the inputs {found}: expected one float32 (N, 3, H, W), channels before rows")
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        raise ModelError(f"{path} does not say which ONNX operator set it uses")
