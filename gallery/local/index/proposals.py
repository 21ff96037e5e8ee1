"""An approximate index of FAISS's, which proposes who might be near; nobody is answered from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from gallery.local.index.candidates import Nearest
from gallery.local.index.recipe import Recipe
from gallery.local.index.slots import Slots

_FAISS: Any = faiss  # whose stubs know neither graphs nor search parameters
SAMPLE_A_LIST = 64
"""Rows of a sample a list that is worth having; FAISS asks for 39, and takes 256 at most."""
_LEAST_SAMPLE, _MOST_CODED = 16_384, 65_536
_ROUNDS = 10
_PROBED = 512
_OWN_ERROR = 1e-5  # of a float32 sum, generously


class GivenUpError(Exception):
    """What was being made is not needed any more."""


def sample_rows(recipe: Recipe) -> int:
    """How many rows `Proposals.train` wants."""
    return max(_LEAST_SAMPLE, SAMPLE_A_LIST * recipe.parts if recipe.family == "IVF" else 0)


class Proposals:
    """Rows (D,) float32 of unit length under the keys of their faces, by `faiss.index_factory`.

    Lists (IVF) let go of a row at once, without a pass over the rest: its list's last overwrites it. A graph (HNSW)
    cannot: the row's code is overwritten with that of zeros and its slot hidden from all searches, until the index is
    made anew. Several threads may search at once; whoever adds or removes must be alone.
    """

    def __init__(self, recipe: Recipe, dimension: int) -> None:
        """Raises RecipeError where embeddings of that dimension cannot be coded so."""
        recipe.require_dimension(dimension)
        self.recipe = recipe
        self.effort = recipe.effort
        """`nprobe` or `efSearch` of the searches to come."""
        self.slots = Slots()
        self.error = 0.0
        """How far a proposal's similarity is from that of the row given: at most, but of PQ codes, whose is what a
        sample shows."""
        self.trained_for = 0
        self._index = _FAISS.index_factory(dimension, recipe.factory, _FAISS.METRIC_INNER_PRODUCT)
        if recipe.family == "HNSW":
            self._index.hnsw.efConstruction = recipe.construction
        elif recipe.subvectors:
            # For a search by Hamming distance, which is not used; it takes three times as long as all the rest.
            self._index.do_polysemous_training = False

    def __len__(self) -> int:
        return len(self.slots)

    def train(self, sample: NDArray[np.float32], rows: int, *, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Learns lists and codes from (n, D), `sample_rows` or all there are; `rows` is how many it will hold.

        Raises GivenUpError soon after `is_wanted` says no.
        """
        _FAISS.omp_set_num_threads(1)
        if self.recipe.family == "IVF":
            quantizer = _FAISS.downcast_index(self._index.quantizer)
            clustering = _FAISS.Clustering(sample.shape[1], self.recipe.parts)
            clustering.niter, clustering.spherical = 1, True
            for _ in range(_ROUNDS):  # each goes on from the centroids of the last
                _require(is_wanted)
                clustering.train(sample, quantizer)
            self._index.set_direct_map_type(_FAISS.DirectMap.Hashtable)
        _require(is_wanted)
        self._index.train(sample[:_MOST_CODED])
        self.trained_for = rows
        self.error = _OWN_ERROR
        if self.recipe.subvectors:
            probed = sample[:_PROBED]
            coded = self._index.sa_decode(self._index.sa_encode(probed))
            self.error += float(np.abs(probed @ (probed - coded).T).max())

    def add(self, faces: NDArray[np.int64], identities: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
        """(n,), (n,) and (n, D); none of the faces may be there already."""
        _FAISS.omp_set_num_threads(1)
        slots = self.slots.add(faces, identities)
        if self.recipe.family == "IVF":
            self._index.add_with_ids(embeddings, slots)
        else:
            self._index.add(embeddings)
        if not (self.recipe.is_whole or self.recipe.subvectors):
            # Of a query of unit length no similarity changes by more than their distance (Cauchy-Schwarz).
            coded = self._index.reconstruct_batch(slots)
            lost = float(np.linalg.norm(embeddings - coded, axis=1).max(initial=0))
            self.error = max(self.error, _OWN_ERROR + 1.001 * lost)

    def remove(self, face: int) -> None:
        """KeyError if it is not there."""
        slot = self.slots.remove(face)
        if self.recipe.family == "IVF":
            place = self._list(self._index.direct_map.get(slot) >> 32)  # FAISS's lo_listno
            self._index.remove_ids(_FAISS.IDSelectorArray(np.array([slot], np.int64)))
            place[-1] = 0  # the last of the list, which stands in the hole now
        else:
            self._codes()[slot] = self._storage().sa_encode(np.zeros((1, self._index.d), np.float32))[0]

    def nearest(
        self, queries: NDArray[np.float32], width: int, chosen: NDArray[np.bool_] | None = None
    ) -> list[Nearest]:
        """For each of (n, D) queries `width` faces or fewer, best first by a similarity that is not exact.

        `chosen` says for each slot whether it may be proposed; without it, all that have a face.
        """
        _FAISS.omp_set_num_threads(1)  # OpenMP's setting is each thread's own
        if chosen is None and self.slots.dead and self.recipe.family == "HNSW":
            chosen = self.slots.alive()
        selector = None if chosen is None else _FAISS.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
        found = self._index.search(queries, width, params=self._parameters(selector))
        return [self._named(*each) for each in zip(*found, strict=True)]

    @property
    def mib(self) -> float:
        """About what it takes of memory: codes, numbers, links, centroids, and how faces are found."""
        rows = int(self._index.ntotal)
        if self.recipe.family == "IVF":
            # A row's number, and its place in a table of about 40 bytes an entry.
            own = rows * (self._index.code_size + 8 + 40) + self.recipe.parts * self._index.d * 4
        else:
            graph = self._index.hnsw
            own = rows * (self._storage().code_size + 12) + 4 * graph.neighbors.size()
        return (int(own) + 17 * (len(self.slots) + self.slots.dead)) / 2**20

    def codes(self) -> list[NDArray[np.uint8]]:
        """Where all codes lie now, (n, bytes a code) each: views, to be read until rows are added."""
        if self.recipe.family == "HNSW":
            return [self._codes()]
        lists = self._index.invlists
        return [self._list(each) for each in range(lists.nlist) if lists.list_size(each)]

    def _list(self, number: int) -> NDArray[np.uint8]:
        lists, size = self._index.invlists, self._index.code_size
        codes: NDArray[np.uint8] = _FAISS.rev_swig_ptr(lists.get_codes(number), lists.list_size(number) * size)
        return codes.reshape(-1, size)

    def _parameters(self, selector: Any) -> Any:
        if self.recipe.family == "IVF":
            return _FAISS.SearchParametersIVF(nprobe=self.effort, sel=selector)
        return _FAISS.SearchParametersHNSW(efSearch=self.effort, sel=selector)

    def _named(self, similarities: NDArray[np.float32], slots: NDArray[np.int64]) -> Nearest:
        there = slots >= 0  # FAISS pads with -1
        there[there] = self.slots.alive()[slots[there]]
        return Nearest(similarities[there], *self.slots.of(slots[there]))

    def _storage(self) -> Any:
        return _FAISS.downcast_index(self._index.storage)

    def _codes(self) -> NDArray[np.uint8]:
        """(slots, bytes a code), a view to write to until rows are added."""
        storage = self._storage()
        codes: NDArray[np.uint8] = _FAISS.rev_swig_ptr(storage.codes.data(), storage.codes.size())
        return codes.reshape(-1, storage.code_size)


def _require(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise GivenUpError("the gallery was closed")
