"""Photos of a known size with a known number of faces, made of the samples: the same ones every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

import app
from engines.base import Image

SAMPLES: Final = Path(app.__file__).parent / "samples"
PORTRAITS: Final = ("astronaut.jpg", "grace_hopper.jpg")
JPEG_QUALITY: Final = 90
GRAIN: Final = 2.5
"""Of the background: so a JPEG of one face has about 70 kB at 640x480 and 200 kB at 1280x960, as a camera's would."""
Sets = dict[str, list[Path]]


def make(folder: Path, sizes: Sequence[tuple[int, int]], faces: Sequence[int]) -> Sets:
    """Two photos for every size (width, height) and number of faces, written to `folder`; the sets by name."""
    people = [np.asarray(cv2.imread(str(SAMPLES / name)), np.uint8) for name in PORTRAITS]
    sets: Sets = {}
    for width, height in sizes:
        for count in faces:
            name = f"{width}x{height}, {count} face{'' if count == 1 else 's'}"
            sets[name] = [folder / f"{width}x{height}-{count}-{first}.jpg" for first in range(len(people))]
            for first, path in enumerate(sets[name]):
                photo = composed(people[first:] + people[:first], width, height, count)
                cv2.imwrite(str(path), photo, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return sets


def composed(people: Sequence[Image], width: int, height: int, faces: int) -> Image:
    """`faces` portraits, of `people` in turns, side by side in rows on a background of (height, width, 3)."""
    canvas = _background(width, height)
    columns = math.ceil(math.sqrt(faces))
    rows = math.ceil(faces / columns)
    cell_width, cell_height = width // columns, height // rows
    for place in range(faces):
        portrait = _fitted(people[place % len(people)], cell_width, cell_height)
        if place // len(people) % 2:
            portrait = portrait[:, ::-1]
        tall, wide = portrait.shape[:2]
        top = place // columns * cell_height + (cell_height - tall) // 2
        left = place % columns * cell_width + (cell_width - wide) // 2
        canvas[top : top + tall, left : left + wide] = portrait
    return canvas


def _fitted(portrait: Image, width: int, height: int) -> Image:
    scale = min(height / portrait.shape[0], width / portrait.shape[1])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    size = min(width, round(portrait.shape[1] * scale)), min(height, round(portrait.shape[0] * scale))
    return np.asarray(cv2.resize(portrait, size, interpolation=way), np.uint8)


def _background(width: int, height: int) -> Image:
    noise = np.random.default_rng(0)
    hills = noise.uniform(60, 190, (8, 10, 3)).astype(np.float32)
    grain = noise.normal(0, GRAIN, (height, width, 1)).astype(np.float32)
    smooth = np.asarray(cv2.resize(hills, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(np.clip(smooth + grain, 0, 255), np.uint8)
