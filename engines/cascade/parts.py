"""The networks of a cascade by the sizes of their files, and what each turns into what."""

from __future__ import annotations

from collections.abc import Mapping

from engines.families import Size

RNET, ONET = (24, 24), (48, 48)
"""(height, width) of the crops that R-Net and O-Net judge. P-Net's files go by the size of the largest picture."""
CROPS = (RNET, ONET)

Shape = tuple[int | None, ...]


def shapes_of(size: Size, k: int, canvas: Size) -> tuple[Mapping[str, Shape], Mapping[str, Shape]]:
    """Names and shapes of the inputs and outputs of the file for `size`; `k` and `canvas` are P-Net's."""
    if size not in CROPS:
        return {"canvas": (None, *canvas, 3)}, {"scores": (None, k), "corners": (None, k, 2), "offsets": (None, k, 4)}
    landmarks: dict[str, Shape] = {"landmarks": (None, 5, 2)} if size == ONET else {}
    return {"crops": (None, *size, 3)}, {"scores": (None,), "offsets": (None, 4)} | landmarks
