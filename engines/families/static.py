"""Fixing a network to one size: static shapes in all but the batch, at the operator set of canonical graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engines.base import ModelError
from engines.families import Size
from engines.families.batch import lead_with_batch
from engines.families.upstream import image_inputs
from engines.graphs import IR_VERSION, OPSET, array, attribute, constants, prune, shape_of

MAX_FOLDED = 1024  # elements: shapes are a handful of integers, and a hostile file must not make us fill memory
MAX_ELEMENTS = 2**27  # of one tensor for one image, half a GiB: thirty times a ResNet-100's largest at 640x640
SHAPE_ARITHMETIC = (
    *("Shape", "ConstantOfShape", "Concat", "Gather", "Slice", "Squeeze", "Unsqueeze", "Reshape"),
    *("Cast", "Add", "Sub", "Mul", "Div", "Floor", "Ceil", "Equal", "Where"),
)

Shapes = dict[str, tuple[int | None, ...]]


def specialise(model: ModelProto, size: Size) -> ModelProto:
    """A copy of `model` for images of `size`: opset 17, all shapes static but for the batch, which is free.

    The network is first made a plain batch of one, so that whatever depends on shapes becomes a constant; then the
    leading 1 of each Reshape becomes "as it comes", which also mends exports whose batch was fixed, and those that
    dropped its axis (see `batch`). Tensors are renamed `body/…`. Raises ModelError when the network does not work at
    that size or ties the batch to other axes.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = IR_VERSION
    _rename(copy.graph)
    _set_input(copy.graph, 1, size)
    _fold(copy)
    copy = _modernise(copy)
    _set_input(copy.graph, 1, size)
    _fold(copy)
    lead_with_batch(copy.graph, static_shapes(copy))
    _free_batch(copy)
    prune(copy.graph)
    _set_input(copy.graph, "N", size)
    return copy


def static_shapes(body: ModelProto, batch: int = 1) -> Shapes:
    """All shapes of a network whose input is static, for a given batch; ModelError where they contradict each other."""
    light = _without_weights(body)
    light.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    try:
        inferred = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"the network does not work on {batch} images of shape {shape_of(light.graph.input[0])[1:]}; if it was "
            f"exported for another size or batch, export it with those free ({reason})"
        ) from error
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    shapes: Shapes = {v.name: shape_of(v) for v in values if v.type.tensor_type.HasField("shape")}
    return shapes | {t.name: tuple(t.dims) for t in inferred.initializer}


def outputs_of(body: ModelProto) -> Shapes:
    """The shapes of what a static network gives for one image, by name in the file's order."""
    shapes = static_shapes(body)
    return {output.name: shapes[output.name] for output in body.graph.output}


def _without_weights(model: ModelProto) -> ModelProto:
    """A copy whose large tensors are inputs: shapes do not depend on their values, and hundreds of MB are not moved."""
    graph = model.graph
    large = [tensor for tensor in graph.initializer if np.prod(tensor.dims, dtype=float) > MAX_FOLDED]
    names = {tensor.name for tensor in large}
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = "shapes"
    light.graph.node.extend(graph.node)
    light.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name not in names)
    light.graph.input.extend(value for value in graph.input if value.name not in names)
    light.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in large)
    light.graph.output.extend(graph.output)
    return light


def _rename(graph: GraphProto) -> None:
    """Puts every name under `body/`, so that none can clash with what is written around the network."""

    def renamed(name: str) -> str:
        return f"body/{name.lstrip('/')}" if name else ""

    for node in graph.node:
        node.ClearField("doc_string")  # exporters leave stack traces with paths of the exporting machine there
        node.ClearField("metadata_props")
        node.name = renamed(node.name)
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.ClearField("doc_string")
        value.name = renamed(value.name)


def _set_input(graph: GraphProto, batch: int | str, size: Size) -> None:
    """Gives the input its shape, and forgets every other shape, which may have been another size's."""
    value = image_inputs(graph)[0]
    name = value.name
    outputs = [(output.name, output.type.tensor_type.elem_type) for output in graph.output]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, *size]))
    graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in outputs)


def _modernise(model: ModelProto) -> ModelProto:
    source_opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if source_opset == OPSET:
        return model
    _normalise_by_channel(model.graph)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        newer = onnx.version_converter.convert_version(inferred, OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"cannot bring the network from opset {source_opset} to {OPSET}: {error}") from error
    if source_opset < 11:
        for node in newer.graph.node:
            if node.op_type == "Resize":  # Upsample counted from the corner; Resize by itself from pixel centres
                corner = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                node.attribute.extend(helper.make_attribute(key, text) for key, text in corner.items())
    return newer


def _normalise_by_channel(graph: GraphProto) -> None:
    """Takes `spatial` 0 off BatchNormalization, in place: for vectors, where MXNet writes it, it makes no difference,
    and the version converter refuses it."""
    known = constants(graph)
    for node in graph.node:
        if node.op_type == "BatchNormalization" and node.input[1] in known and len(known[node.input[1]].dims) == 1:
            kept = [entry for entry in node.attribute if entry.name != "spatial"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _fold(model: ModelProto) -> None:
    """Replaces by constants, in place, all that the input's size decides; each round may let more shapes be known."""
    while True:
        shapes = static_shapes(model)
        before = len(model.graph.node)
        _fold_once(model, shapes)
        if len(model.graph.node) == before:
            return


def _fold_once(model: ModelProto, shapes: Shapes) -> None:
    known = constants(model.graph)
    kept: list[NodeProto] = []
    for node in model.graph.node:
        feeds = _known_inputs(node, known, shapes)
        if feeds is None:
            kept.append(node)
            continue
        try:
            value = _compute(node, feeds, model.opset_import)
        except (ValueError, IndexError, TypeError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"cannot compute node {node.name!r} ({node.op_type}) of the network: {error}") from error
        tensor = numpy_helper.from_array(np.asarray(value), node.output[0])
        known[tensor.name] = tensor
        model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _compute(node: NodeProto, feeds: dict[str, NDArray[Any]], opsets: Sequence[onnx.OperatorSetIdProto]) -> Any:
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in feeds.items()
    ]
    graph = helper.make_graph([node], "one node", inputs, [helper.make_value_info(node.output[0], onnx.TypeProto())])
    (value,) = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, feeds)
    return value


def _known_inputs(node: NodeProto, known: dict[str, TensorProto], shapes: Shapes) -> dict[str, NDArray[Any]] | None:
    """What to compute `node` from, when that is known and small; None to leave the node alone."""
    if node.op_type == "Constant":
        return {}
    if node.op_type == "Shape":
        shape = shapes.get(node.input[0], (None,))
        size = [n for n in shape if n is not None]
        return {node.input[0]: np.broadcast_to(np.float32(0), size)} if len(size) == len(shape) else None
    tensors = [known[name] for name in node.input if name in known]
    if node.op_type not in SHAPE_ARITHMETIC or len(tensors) < len(node.input):
        return None
    sizes = [np.prod(tensor.dims, dtype=float) for tensor in tensors]
    if any(size > MAX_FOLDED for size in sizes) or _size(shapes.get(node.output[0]), np.prod(sizes)) > MAX_FOLDED:
        return None
    feeds = {tensor.name: array(tensor) for tensor in tensors}
    if node.op_type == "ConstantOfShape" and np.prod(feeds[node.input[0]], dtype=float) > MAX_FOLDED:
        return None
    return feeds


def _size(shape: tuple[int | None, ...] | None, otherwise: float) -> float:
    """How many elements a tensor of that shape has; as many as `otherwise` where that is not known."""
    known = [n for n in shape or () if n is not None]
    return otherwise if shape is None or len(known) < len(shape) else float(np.prod(known, dtype=float))


def _require_modest(graph: GraphProto, shapes: Shapes) -> None:
    """Refuses what would fill a machine's memory as soon as it was loaded or run."""
    of_images, constant = {graph.input[0].name}, 0.0
    for node in graph.node:
        names = [name for name in node.output if name]
        size = sum(_size(shapes.get(name), math.inf) for name in names)
        if of_images.intersection(node.input):
            of_images.update(names)
        else:
            size = constant = constant + size  # runtimes compute these when they load a network, and keep them
        if size > MAX_ELEMENTS:
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) gives tensors of shapes {[shapes.get(name) for name in names]}: "
                f"a network may have tensors of at most {MAX_ELEMENTS:,} elements for one image, of known shapes"
            )


def _free_batch(model: ModelProto) -> None:
    """Rewrites, in place, a network of one image into one of any number."""
    shapes = static_shapes(model)
    _require_modest(model.graph, shapes)
    weights = constants(model.graph)
    for node in model.graph.node:
        if node.op_type not in ("Reshape", "Resize") or node.input[0] in weights:
            continue
        before, after = (_known(shapes, name, node) for name in (node.input[0], node.output[0]))
        if node.op_type == "Reshape":
            model.graph.initializer.append(_free_reshape(node, before, after))
        else:
            model.graph.initializer.append(_exact_scales(node, before, after))
    for batch in (2, 3):
        shapes = static_shapes(model, batch)
        wrong = [out.name for out in model.graph.output if shapes.get(out.name, ())[:1] != (batch,)]
        if wrong:
            raise ModelError(f"the outputs {wrong} of the network do not have one row an image: it is tied to batch 1")


def _known(shapes: Shapes, name: str, node: NodeProto) -> tuple[int, ...]:
    shape = shapes.get(name, (None,))
    known = tuple(n for n in shape if n is not None)
    if len(known) != len(shape):
        raise ModelError(f"the shape of {name!r} at node {node.name!r} ({node.op_type}) depends on more than the size")
    return known


def _free_reshape(node: NodeProto, before: tuple[int, ...], after: tuple[int, ...]) -> TensorProto:
    if before[:1] != (1,) or after[:1] != (1,):
        raise ModelError(f"Reshape {node.name!r} from {before} to {after} ties the batch to other axes")
    target = numpy_helper.from_array(np.array([0, *after[1:]], dtype=np.int64), f"{node.output[0]}/shape")
    node.input[:] = [node.input[0], target.name]
    del node.attribute[:]  # without `allowzero`, 0 means "as it comes"
    return target


def _exact_scales(node: NodeProto, before: tuple[int, ...], after: tuple[int, ...]) -> TensorProto:
    if attribute(node, "coordinate_transformation_mode") == b"tf_crop_and_resize" or before[:2] != after[:2]:
        raise ModelError(f"Resize {node.name!r} crops or changes channels: only plain resizing is understood")
    factors = np.array(after, dtype=np.float32) / np.array(before, dtype=np.float32)
    if (factors.astype(np.float64) * before != after).any():
        raise ModelError(f"Resize {node.name!r} from {before} to {after} has no exact scale: choose another size")
    scales = numpy_helper.from_array(factors, f"{node.output[0]}/scales")
    node.input[:] = [node.input[0], "", scales.name]
    return scales
