"""Detections and faces of all photos in one place, so that photos can be drawn again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import Interval, draws
from app.evaluation.detection.annotations import Annotated
from app.evaluation.detection.curve import Curve, Floats, Ranking
from app.evaluation.detection.matching import Matched, match
from engines.detector import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What became of p photos at one IoU.

    `ranking` has the counted detections. Of the n faces that are not ignored `found_at` (n,) is the score of the
    detection that found each, −inf where none did; `side_px` (n,) the shorter side of its box; `photo` (n,) which photo
    it is on. `matched` is each photo's own part, `shown` (p,) how many of the n faces it shows.
    """

    ranking: Ranking
    found_at: NDArray[np.float32]
    side_px: NDArray[np.float32]
    photo: NDArray[np.intp]
    shown: Floats
    matched: tuple[Matched, ...]

    @classmethod
    def of(cls, photos: Sequence[Annotated], found: Sequence[Detections], least_iou: float) -> Pool:
        """`found` has each photo's detections. Raises ValueError for no photos."""
        matched = tuple(match(each, one.boxes, one.ignored, least_iou) for one, each in zip(photos, found, strict=True))
        kept = [~one.ignored for one in photos]
        shown = np.array([mask.sum() for mask in kept])
        ranking = Ranking.of(
            np.concatenate([each.scores[became.counted] for each, became in zip(found, matched, strict=True)]),
            np.concatenate([became.right[became.counted] for became in matched]),
            np.repeat(np.arange(len(photos)), [became.counted.sum() for became in matched]),
        )
        return cls(
            ranking,
            np.concatenate([each.found_at[mask] for each, mask in zip(matched, kept, strict=True)]),
            np.concatenate([_side_px(one)[mask] for one, mask in zip(photos, kept, strict=True)]),
            np.repeat(np.arange(len(photos)), shown),
            shown.astype(np.float64),
            matched,
        )

    def curve(self, times: Floats | None = None) -> Curve:
        """Precision and recall with photo i counted `times[i]`, else once."""
        return self.ranking.curve(self.shown, np.ones(len(self.shown)) if times is None else times)

    def ap(self, replicates: int) -> Interval:
        """The area under the staircase, with its interval over photos."""
        drawn = (self.curve(times).ap for times in self._drawn(replicates))
        return Interval.of(self.curve().ap, np.fromiter(drawn, np.float64))

    def _drawn(self, replicates: int) -> Iterator[Floats]:
        """How often each photo is drawn, (p,); draws that show no face at all count nothing and are left out."""
        for block in draws(len(self.shown), replicates):
            yield from (times for times in block.T.astype(np.float64) if self.shown @ times)


def _side_px(photo: Annotated) -> NDArray[np.float32]:
    sides: NDArray[np.float32] = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1)
    return sides
