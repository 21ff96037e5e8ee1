"""Who is it: where the line is drawn, and who of a collection stands above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.audit.recorder import note
from app.embedders import Embedders
from app.errors import InvalidRequestError
from app.images import decode_base64
from app.margins import Candidates, weighed
from app.pipeline import Embeddings
from app.schemas import NamingOptions
from engines.thresholds import Choice, Thresholds
from gallery.filters import Filter
from gallery.gallery import Gallery
from gallery.types import Enrolment, Match, NewFace


class Naming:
    """Searches a gallery with the loaded embedder's embeddings and thresholds. May be called from any thread."""

    def __init__(self, gallery: Gallery, embedders: Embedders) -> None:
        self._gallery = gallery
        self._embedders = embedders
        self._embedder = embedders.loaded

    def line_for_verify(self, threshold: float | None) -> Choice:
        """The 1:1 threshold: the client's, or the model's."""
        if threshold is not None:
            return _asked_for(threshold)
        model = self._thresholds()
        return Choice(
            threshold=model.verify,
            far=model.verify_far,
            expected_false_match_rate=model.verify_far,
            warning=None,
        )

    def search(self, options: NamingOptions, embeddings: Embeddings, top_k: int) -> tuple[Choice, list[Candidates]]:
        """The 1:N line and, for each of the (n, D) embeddings, who stands above it.

        The line is the client's, or the one that the model recommends for as many identities as are searched: all, or
        those that the filter lets pass. Raises the gallery's errors.
        """
        lines: list[Choice] = []
        margin = options.min_margin

        def draw(identities: int) -> float:
            asked = options.threshold
            lines.append(self._thresholds().for_gallery(identities) if asked is None else _asked_for(asked))
            note(threshold=lines[0].threshold)
            return lines[0].threshold if margin is None else -1  # whoever is second counts, however far below

        with self._embedders.naming():
            found = self._gallery.search(
                options.collection,
                embeddings,
                embedder=self._embedder.digest,
                top_k=top_k if margin is None else max(top_k, 2),
                threshold=draw,
                chosen=None if options.filter is None else Filter.of(options.filter),
            )
        if margin is None:
            return lines[0], [Candidates(matches) for matches in found]
        return lines[0], [weighed(matches, lines[0].threshold, top_k, margin) for matches in found]

    def lookalikes(self, collection: str, enrolled: Enrolment, faces: Sequence[NewFace]) -> list[Match] | None:
        """Others whose faces are as similar to those just enrolled as one person's; None where the model does not say
        how similar that is. Raises the gallery's errors."""
        if self._embedder.thresholds is None:
            return None
        thresholds = self._embedder.thresholds
        return self._gallery.lookalikes(
            collection,
            enrolled,
            faces,
            embedder=self._embedder.digest,
            threshold=lambda identities: thresholds.for_gallery(identities).threshold,
        )

    def similarity(self, collection: str, identity: str, embedding: Any) -> tuple[float, str]:
        """The best cosine to the identity's faces, and that face's id."""
        with self._embedders.naming():
            return self._gallery.similarity(collection, identity, embedding, embedder=self._embedder.digest)

    def _thresholds(self) -> Thresholds:
        if self._embedder.thresholds is None:
            raise InvalidRequestError(
                f"the model {self._embedder.name} recommends no threshold: send `threshold`, or measure some with "
                "`faceserve eval verification --save`"
            )
        return self._embedder.thresholds


def _asked_for(threshold: float) -> Choice:
    return Choice(threshold=threshold, far=None, expected_false_match_rate=None, warning=None)


def unit_embeddings(items: Sequence[list[float] | str], dimension: int) -> Embeddings:
    """Clients' embeddings, lists of numbers or base64 of little-endian float32, as (n, D) float32 of unit length.

    Raises InvalidRequestError with the index of one that is not `dimension` finite numbers, or all zero.
    """
    rows = np.empty((len(items), dimension), np.float32)
    for index, item in enumerate(items):
        row = np.asarray(item, np.float32) if isinstance(item, list) else _from_base64(item, index)
        length = float(np.linalg.norm(row))
        if row.shape != (dimension,) or not np.isfinite(length) or length == 0:
            raise InvalidRequestError(
                f"embeddings[{index}] must be {dimension} finite numbers, not all zero; got {row.size} numbers"
            )
        rows[index] = row / length
    return rows


def _from_base64(text: str, index: int) -> Embeddings:
    data = decode_base64(text)
    if len(data) % 4:
        raise InvalidRequestError(f"embeddings[{index}] is float32, four bytes a number; got {len(data)} bytes")
    return np.frombuffer(data, "<f4").astype(np.float32)
