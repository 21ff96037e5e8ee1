"""What a plan is made for: a graph, a precision, batch sizes, one version of TensorRT and one kind of GPU."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Precision = Literal["fp32", "fp16", "mixed"]
PLAN_FORMAT: Final = 1
"""Version of how plans are built and described; raise it when the same graph would give another plan."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The batch sizes that a plan takes: least, the one it is tuned for, and most."""

    least: int = 1
    best: int = 8
    most: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise ValueError(f"batch sizes {self}: they must not fall, and begin at 1 or more, such as 1:8:32")

    def __str__(self) -> str:
        return f"{self.least}:{self.best}:{self.most}"

    @classmethod
    def parse(cls, text: str) -> Profile:
        """The profile written as `MIN:OPT:MAX`; ValueError with an example for anything else."""
        found = re.fullmatch(r"([0-9]+):([0-9]+):([0-9]+)", text)
        if not found:
            raise ValueError(f"batch sizes {text!r}: expected MIN:OPT:MAX, such as 1:8:32")
        return cls(*map(int, found.groups()))


@dataclass(frozen=True, slots=True)
class Machine:
    """Where plans are built and run: a version of TensorRT, and a GPU's name and compute capability (`9.0`)."""

    tensorrt: str
    gpu: str
    capability: str

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt} on {self.gpu} ({self.capability})"

    @property
    def name(self) -> str:
        """Fit for file names, but not always different for different machines."""
        return f"{_plain(self.gpu)[:40]}-sm{_plain(self.capability)}-trt{_plain(self.tensorrt)}"

    @property
    def timing_cache_name(self) -> str:
        """A file name, without an ending, for what TensorRT learns there while building; all its plans share that."""
        return f"timing-{self.name}-{_short_digest(self.tensorrt, self.gpu, self.capability)}"


@dataclass(frozen=True, slots=True)
class PlanKey:
    """All that a plan depends on: with any of it different the plan is another one.

    `graph_sha256` is `engines.fingerprint.graph_sha256` of the canonical network; for the rest see Machine.
    """

    graph_sha256: str
    tensorrt: str
    gpu: str
    capability: str
    precision: Precision
    profile: Profile

    @property
    def machine(self) -> Machine:
        return Machine(self.tensorrt, self.gpu, self.capability)

    @property
    def name(self) -> str:
        """A file name for it, without an ending: readable, and different for different keys."""
        digest = _short_digest(PLAN_FORMAT, *self.as_dict().values())
        return f"{self.precision}-{_plain(str(self.profile))}-{self.machine.name}-{digest}"

    def as_dict(self) -> dict[str, str]:
        """The key in plain strings, as a plan's description keeps it."""
        return {
            "graph_sha256": self.graph_sha256,
            "tensorrt": self.tensorrt,
            "gpu": self.gpu,
            "capability": self.capability,
            "precision": self.precision,
            "profile": str(self.profile),
        }

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> PlanKey:
        """The inverse of `as_dict`; ValueError, KeyError or TypeError for what it never gives."""
        fields = dict(entries)
        profile = Profile.parse(fields.pop("profile"))
        if fields["precision"] not in get_args(Precision) or not all(isinstance(each, str) for each in fields.values()):
            raise ValueError(f"not a plan's key: {fields}")
        return cls(profile=profile, **fields)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _short_digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
