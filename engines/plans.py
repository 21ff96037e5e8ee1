"""Plans, the networks that TensorRT compiled for one GPU: what they are keyed by, and the folder that keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "fp16", "mixed"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The batch sizes that a plan takes: least, the one it is tuned for, and most."""

    least: int = 1
    best: int = 8
    most: int = 32

    def __str__(self) -> str:
        return f"{self.least}:{self.best}:{self.most}"
