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

UPSTREAM = "upstream.onnx"


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

    upstream = build(row.model, row.size)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / UPSTREAM
    file.write_bytes(upstream.SerializeToString())
    try:
        family = ARCHITECTURES[row.model].family
        spec = import_model(
            file, family=family, into=store, name=row.model, sizes=[row.size], note="Random weights.", replace=True
        )
    finally:
        file.unlink()
    return spec.files[0].path
