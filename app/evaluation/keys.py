"""What the numbers of a photo depend on besides its bytes, as the keys of the cache."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.build import Batched
from app.evaluation.method import FaceRule

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    *("app/images.py", "app/pipeline.py", "app/defaults.py"),
    *("app/evaluation/steps.py", "app/evaluation/method.py", "app/evaluation/rows.py"),
    *("engines/detector.py", "engines/single_shot.py", "engines/cascade/*.py"),
    *("engines/crops.py", "engines/embedder.py", "engines/geometry/*.py"),
    *("engines/batching.py", "engines/forwarding.py", "engines/joining.py"),
    *("engines/onnxruntime.py", "engines/tensorrt*.py"),
)
"""The files that turn pixels into numbers."""


class Keys:
    """The keys of one run: SHA-256 over the models, what runs them and on what, the options and the code itself.

    Processors of one kind are not told apart, though ONNX Runtime's numbers may differ in their last digits.
    """

    def __init__(self, batched: Batched, source: str) -> None:
        """`source` is the `source_fingerprint` of the code that runs."""
        self._code = {
            "source": source,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
            "max_pixels": batched.defaults.max_pixels,
        }
        engines = dict(batched.engines)
        embedder = batched.pair.embedder
        self._embedder = {
            "model": embedder.digest,
            "engine": engines.pop("embedder"),
            "crop": [embedder.crop, embedder.sizes[0], embedder.margin_px],
        }
        self._detector = {
            "model": batched.pair.detector.digest,
            "engines": engines,
            "small_scale": batched.defaults.small_scale,
        }

    def detections(self, min_score: float) -> bytes:
        """Of the faces found in a photo."""
        return _digest(self._code | self._detector | {"min_score": float(min_score)})

    def face(self, rule: FaceRule, min_score: float, *, flip: bool) -> bytes:
        """Of the embedding of the face that the rule chooses among them."""
        return _digest(self._embedder | {"of": self.detections(min_score).hex(), "face": rule, "flip": flip})

    def ready_crop(self, *, flip: bool) -> bytes:
        """Of the embedding of a photo that is a crop already."""
        return _digest(self._embedder | {"of": self._code, "flip": flip})


def source_fingerprint(root: Path = ROOT) -> str:
    """SHA-256 in hex over the names and contents of the files that turn pixels into numbers."""
    found = sha256()
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def _digest(facts: Mapping[str, Any]) -> bytes:
    return sha256(json.dumps(facts, sort_keys=True).encode()).digest()
