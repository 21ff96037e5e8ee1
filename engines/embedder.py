"""Aligned crops in, embeddings out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, ModelError


class Embedder:
    """A canonical embedder. `embed` may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Owns `engine` from now on. Raises ModelError when that is no canonical embedder."""
        shapes = {spec.name: spec.shape for spec in (*engine.inputs, *engine.outputs)}
        match shapes.get("crops"), shapes.get("embeddings"), shapes.get("norms"):
            case (None, int(height), int(width), 3), (None, int(dimension)), (None,):
                self.height, self.width, self.dimension = height, width, dimension
            case _:
                raise ModelError(
                    f"an embedder turns crops (N, h, w, 3) into embeddings (N, D) and norms (N,), not {shapes}"
                )
        self._engine = engine

    @property
    def fault(self) -> str | None:
        """Why no crop can be embedded any more, or None (see `engines.base.Engine`)."""
        return self._engine.fault

    def embed(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings (n, D) float32 of unit length, and their lengths before normalisation (n,) float32.

        `crops` (n, height, width, 3) uint8 BGR, n from 0 up: more than the engine takes at once are run in chunks.
        Raises ValueError for another dtype or shape, and what the engine raises.
        """
        step = self._engine.max_batch_size
        parts = [self._engine.run({"crops": crops[start : start + step]}) for start in range(0, len(crops), step)]
        if not parts:
            return np.empty((0, self.dimension), np.float32), np.empty(0, np.float32)
        return np.concatenate([part["embeddings"] for part in parts]), np.concatenate([part["norms"] for part in parts])

    def close(self) -> None:
        self._engine.close()
