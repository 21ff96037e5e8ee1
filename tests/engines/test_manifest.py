"""Manifests and descriptions that were written before: they are still read, and mean what they meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from engines.base import ModelError
from engines.manifest import MANIFEST, ModelSpec
from engines.models import ModelStore, save_thresholds, sha256_of
from engines.thresholds import FarRow, Thresholds
from tests.pixels import write_pixels

OLD: dict[str, object] = {
    "verify": 0.9,
    "verify_far": None,
    "recognize": 0.95,
    "table": [],
    "provisional": True,
    "note": "old",
}


def describe(spec: ModelSpec, thresholds: str) -> None:
    """Writes that text into the graph as its thresholds; the manifest gets `OLD`, and the file's new sum."""
    [file] = spec.files
    model = onnx.load(file.path)
    next(entry for entry in model.metadata_props if entry.key == "thresholds").value = thresholds
    onnx.save(model, file.path)
    path = file.path.parent / MANIFEST
    entries = json.loads(path.read_text())
    entries["files"] = [{"size": file.size, "sha256": sha256_of(file.path), "bytes": file.path.stat().st_size}]
    path.write_text(json.dumps(entries | {"thresholds": OLD}))


def test_a_model_described_with_provisional_verifies_and_gets_new_thresholds(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    spec = write_pixels(store)
    describe(spec, json.dumps(OLD))
    read = store.verify(spec.name)
    assert replace(read, files=()) == replace(spec, files=(), thresholds=Thresholds(0.9, None, 0.95, note="old"))
    table = Thresholds.measured([FarRow(0.9, 1e-3, 5e-4, 2e-3)], "measured")
    after = save_thresholds(spec.name, table, store)
    assert (after.thresholds, after.digest) == (table, spec.digest)
    assert "provisional" not in (tmp_path / spec.name / MANIFEST).read_text()
    assert store.verify(spec.name) == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("{}", "not a table of thresholds"),
        (json.dumps(OLD | {"verify": 0.8}), "do not say the same of thresholds"),
    ],
)
def test_a_graph_with_other_thresholds_is_noticed(tmp_path: Path, text: str, said: str) -> None:
    store = ModelStore(tmp_path)
    spec = write_pixels(store)
    describe(spec, text)
    with pytest.raises(ModelError, match=said):
        store.verify(spec.name)
