"""What is installed, loaded and really running: the answers of `/models` and `/info`."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

from app.embedders import Embedders
from app.present import Json
from app.settings import Settings
from engines.families import FAMILIES
from engines.models import ModelSpec, ModelStore
from gallery.local.index.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Pair:
    """The models that are loaded."""

    detector: ModelSpec
    embedder: ModelSpec


class Description:
    """Facts about this process; they do not change while it lives, but for the models on disk."""

    def __init__(self, settings: Settings, store: ModelStore, pair: Pair, runtime: Json, engines: Json) -> None:
        self._settings = settings
        self._store = store
        self._pair = pair
        self.embedders = Embedders(store, pair.embedder)
        self._runtime = runtime
        self._engines = engines

    def models(self) -> list[Json]:
        """Every model of the store, with what is loaded.

        A loaded model is told of as it was when it was loaded: thresholds saved since count from the next start on.
        """
        loaded = {(spec.name, spec.digest): spec for spec in (self._pair.detector, self._pair.embedder)}
        found = [(loaded.get((spec.name, spec.digest)), spec) for spec in self._store.list()]
        return [self._model(ours or spec, loaded=ours is not None) for ours, spec in found]

    def _model(self, spec: ModelSpec, *, loaded: bool) -> Json:
        family, detects = FAMILIES.get(spec.family), spec.task == "detector"
        return {
            "name": spec.name,
            "task": spec.task,
            "family": spec.family,
            "loaded": loaded,
            "digest": spec.digest,
            "dimension": spec.dimension,
            "sizes": [{"height": height, "width": width} for height, width in spec.sizes],
            "files": [{"name": file.path.name, "sha256": file.sha256, "size_bytes": file.bytes} for file in spec.files],
            "landmark_order": list(spec.landmark_order) if detects else None,
            "min_score": family.min_score if family and detects else None,
            "crop": None if detects else spec.crop,
            "margin_px": None if detects else spec.margin_px,
            "licence": spec.licence,
            "commercial_use": spec.commercial_use,
            "note": spec.note,
            "source": spec.source,
            "urls": list(spec.urls),
            "thresholds": None if spec.thresholds is None else spec.thresholds.as_dict(),
        }

    def _search(self) -> Json:
        """How collections are searched: those of fewer faces exactly, and every one until its index is made."""
        recipe = Recipe.parse(self._settings.index)
        told = {"index": self._settings.index, "approximate": recipe is not None}
        return told if recipe is None else told | {"exact_below_faces": recipe.least_rows}

    def info(self) -> Json:
        """Version, models, runtime, device and limits."""
        settings = self._settings
        return {
            "version": version("faceserve"),
            "python": platform.python_version(),
            "models": {"detector": self._pair.detector.name, "embedder": self._pair.embedder.name},
            "runtime": self._runtime,
            "engines": self._engines,
            "workers": settings.workers,
            "search": self._search(),
            "limits": {
                "body_bytes": settings.max_body_bytes,
                "image_pixels": settings.max_image_pixels,
                "images": settings.max_images,
                "pending": settings.max_pending,
                "request_timeout_s": settings.request_timeout_s,
            },
        }
