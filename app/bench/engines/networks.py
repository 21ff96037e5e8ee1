"""The networks on disk: those in the model store as they are, the others made with random weights.

Speed does not depend on what a network has learned, so architectures whose weights cannot be had are measured too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.bench.engines.rows import Row
from app.build import model_store
from app.cli.options import settings_from
from engines.importing import import_model
from engines.models import ModelStore

PARTS = {"mtcnn": ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet")}
"""The architectures of a model of several networks."""


@dataclass(frozen=True, slots=True)
class Network:
    """A canonical network for one size, and whether its weights are random."""

    file: Path
    random: bool


def ensure_network(row: Row, work: Path) -> Network:
    """The network of `row`, made in the folder `work` unless it is in the model store or was made there before.

    Raises ModelError for a model that is neither in the store nor a known architecture, RuntimeMissingError where one
    has to be made and `onnx` is not installed.
    """
    kept = _find(model_store(settings_from()), row)
    if kept:
        return Network(kept, random=False)
    folder = work / row.network
    store = ModelStore(folder)
    made = _find(store, row) or _make(row, store, folder)
    return Network(made, random=True)


def _find(store: ModelStore, row: Row) -> Path | None:
    sizes = {(spec.name, file.size): file.path for spec in store.list() for file in spec.files}
    return sizes.get((row.model, row.size))


def _make(row: Row, store: ModelStore, folder: Path) -> Path:
    from engines.architectures import ARCHITECTURES, build

    parts = PARTS.get(row.model, (row.model,))
    alone = len(parts) == 1
    models = [build(part, row.size if alone else None) for part in parts]  # a cascade's parts have sizes of their own
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{part}.onnx" for part in parts]
    try:
        for file, model in zip(files, models, strict=True):
            file.write_bytes(model.SerializeToString())
        family = ARCHITECTURES[parts[0]].family
        spec = import_model(
            files, family=family, into=store, name=row.model, sizes=[row.size], note="Random weights.", replace=True
        )
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    return next(file.path for file in spec.files if file.size == row.size)
