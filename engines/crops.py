"""How a face is cut out for an embedder: aligned to the five-point template, or as its box with a margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Image
from engines.detector import Detections
from engines.families import Crop, Size
from engines.geometry.align import align
from engines.geometry.box import cut_box
from engines.manifest import ModelSpec

Crops = NDArray[np.uint8]
"""(n, h, w, 3) BGR."""


@dataclass(frozen=True, slots=True)
class Cropper:
    """Cuts faces out for one embedder; the fields are its model's (see `ModelSpec`). May be used from any thread."""

    crop: Crop
    size: Size
    margin_px: int = 0

    @property
    def needs_landmarks(self) -> bool:
        """Whether a face without landmarks cannot be cut out."""
        return self.crop == "template"

    def cut(self, image: Image, faces: Detections) -> Crops:
        """The crops of `faces` of `image`, in their order; they are the caller's.

        Raises ValueError for landmarks that determine no crop, as those of a detector that finds none do.
        """
        height, width = self.size
        crops = np.empty((len(faces), height, width, 3), np.uint8)
        for row, (box, landmarks) in enumerate(zip(faces.boxes, faces.landmarks, strict=True)):
            if self.needs_landmarks:
                crops[row] = align(image, landmarks, height, width)
            else:
                crops[row] = cut_box(image, box, height, width, self.margin_px)
        return crops


def cropper_for(embedder: ModelSpec) -> Cropper:
    """Cuts faces out as the model was trained to see them."""
    return Cropper(embedder.crop, embedder.sizes[0], embedder.margin_px)
