"""Giving back the batch axis to networks that were exported for a single image without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from engines.base import ModelError
from engines.graphs import array, attribute, constants, consumers

if TYPE_CHECKING:
    from engines.families.static import Shapes

ALIKE = ("Sigmoid", "Identity", "Exp", "Relu", "Clip", "Mul", "Add", "Sub", "Div")
"""Operators that an axis more in front makes no other: they work element by element, aligned at the last axis."""
ALONG_AN_AXIS = ("Concat", "Softmax")


def lead_with_batch(graph: GraphProto, shapes: Shapes) -> None:
    """Rewrites, in place, a network of one image so that whatever it computes of it has a leading axis of 1.

    Such an axis is lost where it is transposed away and reshaped over, as in SCRFD's heads, squeezed, or indexed. All
    else must have it already. `shapes` are the network's own. Raises ModelError where what lost the axis is used in a
    way that cannot be followed.
    """
    _Rewriting(graph, shapes).run()


class _Rewriting:
    """One pass over a graph. `moved` tensors had their batch axis elsewhere than first, and are only reshaped; `bare`
    ones had none. Both have it first now, though `shapes` still has them as they were."""

    def __init__(self, graph: GraphProto, shapes: Shapes) -> None:
        self.graph, self.shapes = graph, shapes
        self.images = {graph.input[0].name}
        self.moved: set[str] = set()
        self.bare: set[str] = set()

    def run(self) -> None:
        weights = constants(self.graph)
        for node in self.graph.node:
            if not self.images.intersection(node.input):
                continue
            self.images.update(node.output)
            bare = [name for name in node.input if name in self.bare]
            if node.op_type == "Reshape":
                self._reshape(node)
            elif bare:
                self._follow(node, bare)
            elif node.op_type == "Transpose":
                self._transpose(node)
            elif node.op_type in ("Squeeze", "Gather"):
                self._drop(node, weights)

    def _transpose(self, node: NodeProto) -> None:
        order = list(attribute(node, "perm", ()))
        before, readers = self.shapes.get(node.input[0], (None,)), consumers(self.graph, node.output[0])
        reshaped = readers and all(reader.op_type == "Reshape" for reader in readers)
        if order[:1] not in ([], [0]) and before[:1] == (1,) and reshaped:
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("perm", [0, *(axis for axis in order if axis)]))
            self.moved.add(node.output[0])

    def _reshape(self, node: NodeProto) -> None:
        before, after = (self.shapes.get(name, (None,)) for name in (node.input[0], node.output[0]))
        lost = before[:1] == (1,) or node.input[0] in self.bare | self.moved
        if not lost or None in after or after[:1] == (1,):
            return  # nothing to give back, or the axis is there again
        target = numpy_helper.from_array(np.array([1, *after], dtype=np.int64), f"{node.output[0]}/with_batch")
        self.graph.initializer.append(target)
        node.input[:] = [node.input[0], target.name]
        del node.attribute[:]
        self.bare.add(node.output[0])

    def _drop(self, node: NodeProto, weights: dict[str, TensorProto]) -> None:
        """Leaves alone the batch axis, of length 1, that the node would drop."""
        shape = self.shapes.get(node.input[0], (None,))
        if shape[:1] != (1,) or any(name not in weights for name in node.input[1:]):
            return
        axes = [int(axis) for axis in array(weights[node.input[1]]).ravel()] if len(node.input) > 1 else []
        if node.op_type == "Gather":
            drops_batch = attribute(node, "axis", 0) == 0 and not weights[node.input[1]].dims and axes[0] in (0, -1)
            rest = []
        else:
            axes = sorted(axis % len(shape) for axis in axes) or [axis for axis, n in enumerate(shape) if n == 1]
            drops_batch, rest = 0 in axes, axes[1:]
        if not drops_batch:
            return
        self.bare.add(node.output[0])
        if rest:
            kept = numpy_helper.from_array(np.array(rest, dtype=np.int64), f"{node.output[0]}/axes")
            self.graph.initializer.append(kept)
            node.input[:] = [node.input[0], kept.name]
        else:
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output[:1], name=node.name))

    def _follow(self, node: NodeProto, bare: list[str]) -> None:
        others = self.images.intersection(node.input).difference(self.bare)
        if others or node.op_type not in (*ALIKE, *ALONG_AN_AXIS):
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) works on {bare}, which have no axis for the images: the "
                "network is tied to batch 1, export it with a batch axis"
            )
        axis = attribute(node, "axis", -1)
        if node.op_type in ALONG_AN_AXIS and axis >= 0:
            kept = [entry for entry in node.attribute if entry.name != "axis"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("axis", axis + 1)])
        self.bare.update(node.output)
