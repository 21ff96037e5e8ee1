"""Our service with a network that finds nobody at once: all that is left is the wire."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import cv2
import numpy as np

from app.build import DEFAULT_COLLECTION, least_score, model_store
from app.cli.options import settings_from
from app.defaults import Defaults
from app.describe import Description, Pair
from app.galleries import open_gallery
from app.pipeline import Embeddings, FaceChoice, Pipeline
from app.service import FaceService
from app.settings import Settings
from app.worker import serve
from engines.base import Image
from engines.crops import Crops
from engines.detector import Detections

NOBODY = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))


class NobodyFound(Pipeline):
    """A pipeline without engines."""

    def __init__(self, dimension: int, crop_size: tuple[int, int]) -> None:
        self._dimension, self._crop_size = dimension, crop_size

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def crop_size(self) -> tuple[int, int]:
        return self._crop_size

    @property
    def fault(self) -> str | None:
        return None

    @property
    def serving(self) -> bool:
        return True

    def detect(self, image: Image, choice: FaceChoice) -> Detections:
        return NOBODY

    def crops(self, image: Image, faces: Detections) -> Crops:
        return np.empty((0, *self._crop_size, 3), np.uint8)

    def embed(self, crops: Crops) -> tuple[Embeddings, np.ndarray[tuple[int], np.dtype[np.float32]]]:
        return np.empty((0, self._dimension), np.float32), np.empty(0, np.float32)

    def close(self) -> None: ...


@contextmanager
def open_netless(settings: Settings) -> Iterator[FaceService]:
    """The service as `open_service` builds it, but for the engines."""
    cv2.setNumThreads(1)
    store = model_store(settings)
    pair = Pair(store.get(settings.detector), store.get(settings.embedder))
    pipeline = NobodyFound(pair.embedder.dimension or 0, pair.embedder.sizes[0])
    with ExitStack() as stack:
        gallery = stack.enter_context(open_gallery(settings))
        gallery.ensure_collection(DEFAULT_COLLECTION, pair.embedder.digest, pipeline.dimension)
        defaults = Defaults(
            settings.max_image_pixels, least_score(settings, pair.detector), settings.small_scale, settings.keep_crops
        )
        yield FaceService(pipeline, gallery, Description(settings, store, pair, {}, {}), pair, defaults)


if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    with socket.create_server(("127.0.0.1", port)) as listener:
        serve(settings_from(), open_netless, listener, os.open(os.devnull, os.O_WRONLY))
