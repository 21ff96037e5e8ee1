"""Made-up photos for runs: the shipped people, shrunk, moved and brightened so that no two are alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from app.evaluation.photos import Photo
from engines.base import Image

SAMPLES = Path(__file__).resolve().parents[3] / "app" / "samples"
PEOPLE = ("astronaut", "grace_hopper")


def sample(name: str) -> Image:
    picture = cv2.imread(str(SAMPLES / f"{name}.jpg"))
    assert picture is not None
    return picture  # type: ignore[return-value]  # cv2 does not type the pixels


def encoded(picture: Image, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def photos(count: int) -> list[Photo]:
    """So many, of two people in turn, 240 px wide."""
    made = []
    for number in range(count):
        person = PEOPLE[number % 2]
        small = cv2.resize(sample(person)[:512], (240, 240))
        moved = np.roll(small, number // 2, axis=1)
        brighter = cv2.convertScaleAbs(moved, alpha=1, beta=number % 20)
        made.append(Photo(f"{person}/{number}", person, encoded(brighter, ".jpg")))  # type: ignore[arg-type]
    return made


def blank() -> Photo:
    """Nobody is on it."""
    return Photo("blank", None, encoded(np.full((120, 160, 3), 90, np.uint8)))
