"""Photos embedded once, and picked by whoever asks about some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.evaluation.photos import Photo
from app.evaluation.run import Embedded, Method, Progress, Run


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What became of photos, by their names."""

    places: dict[str, int]
    whole: Embedded

    def of(self, photos: Sequence[Photo]) -> Embedded:
        """That of some of the photos, in their order; the arrays belong to the caller."""
        whole, rows = self.whole, np.array([self.places[photo.name] for photo in photos], np.intp)
        names = {photo.name for photo in photos}
        return Embedded(
            embeddings=whole.embeddings[rows],
            found=whole.found[rows],
            faces=whole.faces[rows],
            boxes=whole.boxes[rows],
            scores=whole.scores[rows],
            unreadable=tuple(name for name in whole.unreadable if name in names),
        )


def embed_once(run: Run, sets: Iterable[Sequence[Photo]], method: Method, progress: Progress) -> Embeddings:
    """Embeds every photo of the sets once, however many of them it is in; a name stands for one photo in all."""
    photos = {photo.name: photo for photos in sets for photo in photos}
    whole = run.embed(list(photos.values()), method, progress=progress)
    return Embeddings({name: place for place, name in enumerate(photos)}, whole)
