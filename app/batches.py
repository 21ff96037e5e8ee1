"""How many rows a network runs at once: what the settings say, but where its family knows better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.base import ModelError
from engines.families import FAMILIES, Batches
from engines.load import LoadOptions
from engines.manifest import read_manifest
from engines.plans import Profile


def for_network(options: LoadOptions, path: Path) -> LoadOptions:
    """The options for the canonical network in `path`: with its family's batch sizes where that has some for its size
    (`Family.batches`), else as they are."""
    batches = _batches(path)
    if batches is None:
        return options
    most = batches.cpu if options.device == "cpu" else options.max_batch_size
    return replace(options, profile=Profile.parse(batches.plan), max_batch_size=most)


def _batches(path: Path) -> Batches | None:
    try:
        spec = read_manifest(path.parent)
    except ModelError:
        return None  # a file outside any model store belongs to no family
    size = next((file.size for file in spec.files if file.path == path), None)
    return FAMILIES[spec.family].batches.get(size) if size and spec.family in FAMILIES else None
