"""A detector that finds no landmarks: the shipped one without them."""

from __future__ import annotations

import dataclasses

import onnx

from engines.manifest import ModelSpec
from engines.models import SHIPPED, ModelStore, write_model


def write_boxes_only(store: ModelStore) -> ModelSpec:
    """Adds it to the store, as `boxes_only`."""
    shipped = ModelStore(SHIPPED).get("retinaface_mnet025")
    models = {file.size: onnx.load(file.path) for file in shipped.files}
    for model in models.values():
        model.graph.output.remove(next(output for output in model.graph.output if output.name == "landmarks"))
    return write_model(dataclasses.replace(shipped, name="boxes_only", landmark_order=()), models, store, replace=False)
