"""Searching: Milvus gives the nearest faces, this makes different, living identities of them.

Milvus is asked for more neighbours than identities are wanted; where too few of those are found above the line, it is
asked for more, of others than those seen already. So an answer is as exact as Milvus's index: FLAT is, HNSW nearly
so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.milvus import faces, people, records, schema
from gallery.milvus.bindings import Bound
from gallery.milvus.connection import MOST_HITS, Connection, one_of
from gallery.milvus.records import BORN, EXPIRES, METADATA, Person
from gallery.names import check_embeddings
from gallery.types import Enrolment, FaceNotFoundError, InvalidFilterError, Match, NewFace, Threshold

MOST_CHOSEN = 10_000
"""The most identities that a filter may let pass: each is named to Milvus in the search."""
COUNT_KEPT_S = 10.0
"""How long the number of a large collection's identities is believed: a threshold hardly depends on it."""
_LARGE = 100_000
_FIRST_LIMIT = 16


@dataclass(slots=True)
class _Walk:
    """One query's way through its neighbours: who was met, and who of them is an answer."""

    query: NDArray[np.float32]
    met: set[str] = field(default_factory=set)
    found: list[tuple[float, str, Person]] = field(default_factory=list)

    def meet(self, hits: Sequence[tuple[float, str, str]], known: dict[str, Person], line: float) -> None:
        """Takes neighbours, best first, as (cosine, owner, face id)."""
        for cosine, owner, face_id in hits:
            if owner in self.met:
                continue
            self.met.add(owner)
            person = known.get(owner)
            if person is not None and not person.is_past and cosine >= line:
                self.found.append((cosine, face_id, person))

    def matches(self, top_k: int) -> list[Match]:
        best = sorted(self.found, key=lambda one: (-one[0], one[2].id))[:top_k]
        return [
            Match(person.name, min(1.0, max(-1.0, cosine)), face_id, person.metadata)
            for cosine, face_id, person in best
        ]


class Searches:
    """What `Gallery` answers searches with. Any thread may use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts: dict[str, tuple[float, int]] = {}

    def nearest(
        self,
        bound: Bound,
        embeddings: NDArray[np.float32],
        *,
        top_k: int,
        threshold: Threshold,
        chosen: Filter | None = None,
    ) -> list[list[Match]]:
        """See `Gallery.search`."""
        queries = check_embeddings(embeddings, bound.dimension)
        allowed = None if chosen is None else self._passing(bound, chosen)
        line = self._line(bound, threshold) if allowed is None else _drawn(threshold, len(allowed))
        if top_k < 1 or not -1 <= line <= 1:
            raise ValueError(f"top_k is {top_k}, threshold {line}: expected at least 1, and -1 to 1")
        if allowed == [] or not len(queries):
            return [[] for _ in queries]
        where = "" if allowed is None else one_of("owner", allowed)
        return [walk.matches(top_k) for walk in self._walked(bound, queries, top_k, line, where)]

    def lookalikes(
        self, bound: Bound, enrolled: Enrolment, new: Sequence[NewFace], threshold: Threshold
    ) -> list[Match]:
        """See `Gallery.lookalikes`."""
        queries = check_embeddings(np.stack([face.embedding for face in new]), bound.dimension)
        ids = sorted({face.face_id for face in enrolled.faces})
        own = {row["owner"] for row in self._connection.rows(bound.faces, one_of("face_id", ids), ["owner"])}
        line = self._line(bound, threshold)
        where = f"not ({one_of('owner', sorted(own))})" if own else ""
        best: dict[str, Match] = {}
        for walk in self._walked(bound, queries, 1, line, where):
            for match in walk.matches(1):
                if match.identity not in best or best[match.identity].similarity < match.similarity:
                    best[match.identity] = match
        return sorted(best.values(), key=lambda match: -match.similarity)

    def similarity(self, bound: Bound, name: str, embedding: NDArray[np.float32]) -> tuple[float, str]:
        """See `Gallery.similarity`. `name` is checked."""
        query = check_embeddings(embedding[np.newaxis], bound.dimension)[0]
        person = people.require(self._connection, bound, name)
        own = faces.read_of(self._connection, bound, [person.id], embeddings=True)[person.id]
        if not own:
            raise FaceNotFoundError(f"identity {name!r} of collection {bound.name!r} has no face to compare with")
        cosines = np.stack([row.embedding for row in own if row.embedding is not None]) @ query
        best = int(np.argmax(cosines))
        return float(np.clip(cosines[best], -1, 1)), own[best].face_id

    def _walked(self, bound: Bound, queries: NDArray[np.float32], top_k: int, line: float, where: str) -> list[_Walk]:
        walks = [_Walk(query) for query in queries]
        limit = min(MOST_HITS, max(_FIRST_LIMIT, 4 * top_k))
        open_, found = walks, self._hits(bound, queries, where, limit)
        known: dict[str, Person] = {}
        while True:
            owners = {owner for hits in found for _, owner, _ in hits} - known.keys()
            known |= records.people(records.read_of(self._connection, bound, owners))
            for walk, hits in zip(open_, found, strict=True):
                walk.meet(hits, known, line)
            open_ = [
                walk
                for walk, hits in zip(open_, found, strict=True)
                if len(walk.found) < top_k and len(hits) == limit and hits[-1][0] >= line
            ]
            if not open_:
                return walks
            limit = min(MOST_HITS, 4 * limit)
            found = [self._further(bound, walk, where, limit) for walk in open_]

    def _further(self, bound: Bound, walk: _Walk, where: str, limit: int) -> list[tuple[float, str, str]]:
        others = f"not ({one_of('owner', sorted(walk.met))})"
        return self._hits(bound, walk.query[np.newaxis], f"({where}) and {others}" if where else others, limit)[0]

    def _hits(
        self, bound: Bound, queries: NDArray[np.float32], where: str, limit: int
    ) -> list[list[tuple[float, str, str]]]:
        options = schema.searching(bound.index, limit)
        found = self._connection.search(bound.faces, queries, where, ("owner", "face_id"), limit=limit, options=options)
        return [[(cosine, hit["owner"], hit["face_id"]) for cosine, hit in hits] for hits in found]

    def _line(self, bound: Bound, threshold: Threshold) -> float:
        return _drawn(threshold, self._identities(bound)) if callable(threshold) else threshold

    def _identities(self, bound: Bound) -> int:
        kept_at, kept = self._counts.get(bound.generation, (0.0, 0))
        if kept >= _LARGE and time.monotonic() < kept_at + COUNT_KEPT_S:
            return kept
        counted = identities(self._connection, bound)
        self._counts[bound.generation] = (time.monotonic(), counted)
        return counted

    def _passing(self, bound: Bound, chosen: Filter) -> list[str]:
        """Ids of the living identities that pass, rising. Milvus finds those that may, the filter itself decides."""
        wanted = [
            "array_contains_any(terms, ["
            + ", ".join(sorted({f'"{records.term(bound, key, value)}"' for value in values}))
            + "])"
            for key, values in chosen.wanted
        ]
        passing: list[str] = []
        for row in records.each(self._connection, bound, f'kind == "{METADATA}" and {" and ".join(wanted)}'):
            if chosen.passes(row.told()):
                passing.append(row.owner)
            if len(passing) > MOST_CHOSEN:
                raise InvalidFilterError(
                    f"the filter lets more than {MOST_CHOSEN} identities pass, which a gallery in Milvus does not "
                    "search among: narrow it, or keep them in a collection of their own"
                )
        rows = records.read_of(self._connection, bound, passing, f'kind in ["{BORN}", "{EXPIRES}"]')
        known = records.people(rows)
        return sorted(person.id for person in known.values() if not person.is_past)


def _drawn(threshold: Threshold, identities_: int) -> float:
    return threshold(identities_) if callable(threshold) else threshold


def identities(connection: Connection, bound: Bound) -> int:
    """How many living ones there are."""
    everybody, expired = connection.together(
        lambda: connection.count(bound.records, f'kind == "{BORN}"'),
        lambda: connection.count(bound.records, records.due(time.time())),
    )
    return max(0, everybody - expired)  # somebody may be erased between the two counts
