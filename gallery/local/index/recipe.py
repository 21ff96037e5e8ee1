"""The setting that names an index in FAISS's words, understood without FAISS: `IVF1024,SQ8:nprobe=16`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from gallery.types import GalleryError

Family = Literal["IVF", "HNSW"]

EXACT = "exact"
LEAST_ROWS = 10_000
"""A smaller collection is searched exactly in less time than is worth a loss."""

_GIVES = {"IVF": {"nprobe": (1, 65_536)}, "HNSW": {"efSearch": (1, 65_536), "efConstruction": (8, 4096)}}
_USUALLY = {"nprobe": 16, "efSearch": 64, "efConstruction": 80}
_IVF = re.compile(r"IVF([1-9]\d*),(Flat|SQfp16|SQ8|SQ4|PQ([1-9]\d*))")
_HNSW = re.compile(r"HNSW([1-9]\d*)(?:,(Flat|SQfp16|SQ8))?")
_LISTS, _LINKS = (2, 65_536), (4, 128)
_POINTS_A_CENTROID = 39  # FAISS warns of fewer (ClusteringParameters.min_points_per_centroid)
_CODEWORDS = 256
_KNOWN = (
    (
        r"^(PCA|PCAR|PCAW|OPQ|ITQ|RR|L2norm|Pad|Hadamard|HR)",
        "it transforms first, which need not keep similarities",
    ),
    (r"Refine|RFlat", "it refines by itself, and every similarity is computed from the whole rows anyway"),
    (r"IDMap", "faces are told apart without it"),
    (r"fs(r|_|$)|,.*fs", "nobody can be removed from fast-scan lists one by one"),
    (r"RaBitQ|LSQ|RQ|LSH|ZnLattice|Panorama", "rows of that code cannot be removed or overwritten here"),
    (r"^(NSG|NNDescent|SVS)", "nobody can be added to that graph once it is made"),
    (r"^(IMI|IVF\d+_HNSW|IVF\d+\()", "only plain lists, IVF<n>, are kept here"),
    (r"^(Flat|SQ\w+|PQ\w+)$", f"it looks at all rows, as `{EXACT}` does without missing anybody"),
)


class RecipeError(GalleryError, ValueError):
    """A setting that names no index, or one that cannot be kept in step with a gallery."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An approximate index: `factory` is what `faiss.index_factory` is given, with the inner product as its metric.

    `parts` is the number of lists (IVF) or of links a row (HNSW). `effort` is `nprobe` or `efSearch`: how much of the
    index a search looks at. `subvectors` is that of PQ, else None.
    """

    factory: str
    family: Family
    parts: int
    effort: int
    subvectors: int | None = None
    construction: int = _USUALLY["efConstruction"]

    @classmethod
    def parse(cls, text: str) -> Recipe | None:
        """None for `exact`. Raises RecipeError saying what is wrong and what would do."""
        if text == EXACT:
            return None
        factory, _, tail = text.partition(":")
        if found := _IVF.fullmatch(factory):
            lists = _within(f"IVF{found[1]}", int(found[1]), _LISTS)
            given = _parameters(tail, "IVF")
            effort = given.get("nprobe", min(lists, _USUALLY["nprobe"]))
            if effort > lists:
                raise RecipeError(f"nprobe={effort} of {lists} lists: give {lists} at most")
            return cls(factory, "IVF", lists, effort, int(found[3]) if found[3] else None)
        if found := _HNSW.fullmatch(factory):
            links = _within(f"HNSW{found[1]}", int(found[1]), _LINKS)
            given = _USUALLY | _parameters(tail, "HNSW")
            return cls(factory, "HNSW", links, given["efSearch"], construction=given["efConstruction"])
        raise RecipeError(_refusal(factory))

    def __str__(self) -> str:
        return f"{self.factory}:{self.knob}={self.effort}" + (
            f",efConstruction={self.construction}" if self.family == "HNSW" else ""
        )

    def at(self, effort: int) -> Recipe:
        return replace(self, effort=effort)

    @property
    def knob(self) -> str:
        """FAISS's name for `effort`."""
        return "nprobe" if self.family == "IVF" else "efSearch"

    @property
    def is_whole(self) -> bool:
        """Whether rows are kept as they are."""
        return self.factory.partition(",")[2] in ("", "Flat")

    @property
    def least_rows(self) -> int:
        """So many rows there must be for the index to be worth while, and to be trained at all."""
        centroids = 0 if self.family == "HNSW" else max(self.parts, _CODEWORDS if self.subvectors else 0)
        return max(LEAST_ROWS, _POINTS_A_CENTROID * centroids)

    def require_dimension(self, dimension: int) -> None:
        """Raises RecipeError if embeddings of so many numbers cannot be coded so."""
        if self.subvectors is not None and dimension % self.subvectors:
            fit = [str(parts) for parts in (8, 16, 32, 64, 128) if dimension % parts == 0]
            raise RecipeError(
                f"{self.factory}: PQ{self.subvectors} cuts embeddings into {self.subvectors} equal parts, and the "
                f"embedder's have {dimension} numbers: take PQ{', PQ'.join(fit) or dimension}"
            )


def _within(what: str, number: int, limits: tuple[int, int]) -> int:
    if not limits[0] <= number <= limits[1]:
        raise RecipeError(f"{what}: expected {limits[0]} to {limits[1]}")
    return number


def _parameters(tail: str, family: Family) -> dict[str, int]:
    """`name=number` with commas between; those of the family, each once at most."""
    found: dict[str, int] = {}
    for each in tail.split(",") if tail else ():
        name, _, value = each.partition("=")
        if name not in _GIVES[family] or name in found or not re.fullmatch(r"[1-9]\d{0,8}", value):
            takes = ", ".join(f"{one}=<number>" for one in _GIVES[family])
            raise RecipeError(f"{each!r}: {family} takes {takes}, each once")
        found[name] = _within(each, int(value), _GIVES[family][name])
    return found


def _refusal(factory: str) -> str:
    expected = f"`{EXACT}`, IVF<lists>,<Flat|SQfp16|SQ8|SQ4|PQ<parts>> or HNSW<links>[,<Flat|SQfp16|SQ8>]"
    why = next((f": {reason}" for pattern, reason in _KNOWN if re.search(pattern, factory)), " is no index known here")
    return f"{factory!r}{why}; expected {expected}"
