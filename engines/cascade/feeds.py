"""What each network of a cascade is given for pictures: the others must run to tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, Image, ModelError, Tensors
from engines.cascade import CascadeDetector
from engines.cascade.parts import CROPS
from engines.families import Size
from engines.forwarding import Forwarding


class Recording(Forwarding):
    """An engine that keeps all that it was fed, in `fed`; for one thread. The engine stays the caller's."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.fed: list[Tensors] = []

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        self.fed.append({name: array.copy() for name, array in feeds.items()})
        return super().run(feeds)


def stage_feeds(engines: Mapping[Size, Engine], size: Size, pictures: Iterable[Image]) -> Tensors:
    """All rows that the network of `size` is given while the cascade looks at the pictures, in order.

    `engines` are those of all the cascade's networks by size, and stay the caller's. Of P-Nets the one of `size` sees
    every picture, whichever would suit that best; R-Net and O-Net get what the first P-Net proposes. Raises ModelError
    where nothing gets as far as that network.
    """
    pnet = size if size not in CROPS else next(each for each in engines if each not in CROPS)
    recording = Recording(engines[size])
    detector = CascadeDetector({each: engines[each] for each in (pnet, *CROPS)} | {size: recording})
    for picture in pictures:
        detector.detect(picture)
    if not recording.fed:
        raise ModelError(
            f"none of the photos has anything that gets as far as the {size[0]}x{size[1]} network of the cascade, so "
            "there is nothing to compare: give photos with faces"
        )
    return {name: np.concatenate([feeds[name] for feeds in recording.fed]) for name in recording.fed[0]}
