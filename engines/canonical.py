"""What the graphs of a model take and give, whatever family they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from engines.base import ModelError
from engines.families import FAMILIES, Size
from engines.graphs import shape_of

if TYPE_CHECKING:
    from onnx import ModelProto

    from engines.manifest import ModelSpec

Tensor = tuple[str, int, tuple[Any, ...]]
"""Name, ONNX type and shape; None for the batch."""


def require_canonical(model: ModelProto, spec: ModelSpec, size: Size) -> None:
    """Raises ModelError unless the graph takes and gives what the one for `size` of such a model does."""
    k = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value if model.graph.output else 0
    expected: Sequence[Tensor]
    if FAMILIES[spec.family].cascade:
        expected = _part_of_cascade(size, k)
    else:
        expected = _detector(size, k, len(spec.landmark_order)) if spec.task == "detector" else _embedder(size, spec)
    values = (*model.graph.input, *model.graph.output)
    found = [(value.name, value.type.tensor_type.elem_type, shape_of(value)) for value in values]
    if found != expected:
        raise ModelError(f"not a canonical {spec.task} for {size[0]}x{size[1]}: has {found}, expected {expected}")


def _detector(size: Size, k: int, points: int) -> Sequence[Tensor]:
    return [
        ("images", TensorProto.UINT8, (None, *size, 3)),
        ("scores", TensorProto.FLOAT, (None, k)),
        ("boxes", TensorProto.FLOAT, (None, k, 4)),
        *([("landmarks", int(TensorProto.FLOAT), (None, k, points, 2))] if points else []),
    ]


def _embedder(size: Size, spec: ModelSpec) -> Sequence[Tensor]:
    return [
        ("crops", TensorProto.UINT8, (None, *size, 3)),
        ("embeddings", TensorProto.FLOAT, (None, spec.dimension)),
        ("norms", TensorProto.FLOAT, (None,)),
    ]


def _part_of_cascade(size: Size, k: int) -> Sequence[Tensor]:
    from engines.cascade.parts import shapes_of
    from engines.cascade.pyramid import canvas_size

    given, found = shapes_of(size, k, canvas_size(size))
    kinds = {TensorProto.UINT8: given, TensorProto.FLOAT: found}
    return [(name, int(kind), shape) for kind, shapes in kinds.items() for name, shape in shapes.items()]
