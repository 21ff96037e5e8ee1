"""Kept crops for another embedder: which of them do, how they are cut for it, and what the gallery is to call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app import images
from app.embedders import Embedders
from engines.base import Image
from engines.crops import Crops
from engines.embedder import Embedder
from engines.families import Crop, Size
from engines.manifest import ModelSpec
from gallery.gallery import Gallery
from gallery.types import ReembedRefusedError, Survey, Target

_MAX_PIXELS = 2**22
_ANEW = "enrol anew from the pictures"
_KINDS = {"template": "faces aligned by landmarks", "box": "boxes of faces"}


@dataclass(frozen=True, slots=True)
class Cut:
    """From crops as they were kept to crops of (height, width) `size`."""

    crop: Crop
    size: Size

    def fits(self, kept: Size) -> bool:
        """Whether crops of that size do: the same, or aligned ones that are only wider by an even number.

        Aligned crops are scaled by their height and centred in their width: 112 x 96 is the middle of 112 x 112.
        """
        (height, width), (kept_height, kept_width) = self.size, kept
        if self.crop == "box":
            return kept == self.size
        return kept_height == height and kept_width >= width and (kept_width - width) % 2 == 0

    def apply(self, pngs: Sequence[bytes]) -> Crops:
        """(n, height, width, 3) BGR. Raises ReembedRefusedError for a file that is broken or does not fit."""
        height, width = self.size
        crops = np.empty((len(pngs), height, width, 3), np.uint8)
        for row, png in enumerate(pngs):
            image = _decoded(png)
            if image is None or not self.fits((image.shape[0], image.shape[1])):
                raise ReembedRefusedError(
                    "a crop that was kept does not fit, or is broken: try again, and if it stays, enrol the face anew"
                )
            left = (image.shape[1] - width) // 2
            crops[row] = image[:, left : left + width]
        return crops


def _decoded(png: bytes) -> Image | None:
    try:
        return images.decode(png, max_pixels=_MAX_PIXELS)
    except images.ImageError:
        return None


def plan(
    gallery: Gallery, name: str, embedders: Embedders, *, told: Crop | None = None, drop: bool = False
) -> tuple[Survey, Cut]:
    """What the collection called `name` keeps, and how its crops become those of the embedder that is loaded.

    They show what the collection's own embedder saw; where the model store has that no more, they are of the kind
    `told`. Raises ReembedRefusedError, saying why, for crops that do not do, and unless `drop` for faces without one.
    """
    survey, embedder = gallery.survey(name), embedders.loaded
    if survey.without_crop and not drop:
        raise ReembedRefusedError(
            f"{survey.without_crop} of {survey.collection.faces} faces in collection {name!r} have no crop to make an "
            f"embedding from, such as those of {', '.join(survey.named)}: {_ANEW}, or give `--drop-without-crop` "
            "(FACESERVE_KEEP_CROPS=true keeps the crops of those enrolled from then on)"
        )
    if not survey.crop_sizes:
        return survey, Cut("box", (0, 0))  # one that comes meanwhile does not fit
    cut = Cut(embedder.crop, embedder.sizes[0])
    _refuse_other_kind(survey, embedders.find(survey.collection.embedder), embedder, told)
    if misfits := {size: count for size, count in survey.crop_sizes.items() if not cut.fits(size)}:
        raise ReembedRefusedError(
            f"{sum(misfits.values())} crops of collection {name!r} are {', '.join(map(_shown, sorted(misfits)))}, and "
            f"embedder {embedder.name} takes {_shown(cut.size)}, which cannot be cut from them: {_ANEW}"
        )
    return survey, cut


def target(
    embedder: Embedder, spec: ModelSpec, cut: Cut, batch: int, on_progress: Callable[[int, int], None]
) -> Target:
    """What `Gallery.reembed` makes embeddings with; the caller keeps `embedder` open meanwhile."""

    def embed(pngs: Sequence[bytes]) -> NDArray[np.float32]:
        return embedder.embed(cut.apply(pngs))[0]

    return Target(spec.digest, embedder.dimension, embed, batch, on_progress)


def _refuse_other_kind(survey: Survey, made_by: ModelSpec | None, embedder: ModelSpec, told: Crop | None) -> None:
    crops = f"the crops of collection {survey.collection.name!r}"
    kind = made_by.crop if made_by else told
    if kind is None:
        raise ReembedRefusedError(
            f"what {crops} show is not known, for the model store has the embedder that made it no more "
            f"({survey.collection.embedder[:12]}): import that again, or say `--crops template` or `--crops box`"
        )
    if told not in (None, kind):
        raise ReembedRefusedError(f"{crops} are {_KINDS[kind]}: leave out `--crops {told}`")
    if kind != embedder.crop:
        raise ReembedRefusedError(
            f"{crops} are {_KINDS[kind]}, and embedder {embedder.name} takes {_KINDS[embedder.crop]}: {_ANEW}"
        )
    if made_by and made_by.margin_px != embedder.margin_px:
        raise ReembedRefusedError(
            f"{crops} have a margin of {made_by.margin_px} px, and embedder {embedder.name} takes one of "
            f"{embedder.margin_px}: {_ANEW}"
        )


def _shown(size: Size) -> str:
    return f"{size[0]} × {size[1]} px" if any(size) else "no PNG"
