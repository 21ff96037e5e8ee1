"""Which rows a table has: the models of the store, and known networks for which there are figures to stand beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.bench.engines import rows
from app.bench.engines.rows import Row
from engines.cascade.parts import CROPS
from engines.families import Size, Task
from engines.models import ModelSpec

BATCHES: dict[Task, tuple[int, ...]] = {"detector": (1, 8, 32), "embedder": (1, 8, 32, 64, 128)}


def rows_of(spec: ModelSpec) -> list[Row]:
    """A model's rows: each of its sizes at the batch sizes usual for what it does."""
    return [Row(spec.name, size, batch) for size in spec.sizes for batch in _batches(spec, size)]


def choose(store: Iterable[ModelSpec], names: Sequence[str], batches: Sequence[int]) -> list[Row]:
    """The rows of the networks in `names` (`MODEL` or `MODEL@HxW`), or of all models of the store.

    A name is the store's, or one of those that `bench engines` knows, or both: then it has the batch sizes of both.
    With `batches` those, in place of the rows' own. Raises UnknownRowError for a name that neither knows.
    """
    own = [row for spec in store for row in rows_of(spec)]
    known = [row for row in rows.ALL if row not in own]
    return rows.choose([*own, *known] if names else own, names, batches)


def _batches(spec: ModelSpec, size: Size) -> tuple[int, ...]:
    """Crops come by the dozen or hundred, whatever judges them."""
    return BATCHES["embedder" if size in CROPS and spec.task == "detector" else spec.task]
