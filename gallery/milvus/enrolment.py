"""Enrolling without transactions: written, looked at again, and written anew where somebody else was faster.

The identity's rows come first, then its faces. After a crash between the two there is somebody without a face, whom
the same request, sent again, completes; there is never a face of nobody. What is answered was seen to be there after
it was written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gallery.milvus import erasing, faces, people, records
from gallery.milvus.bindings import Bound, now
from gallery.milvus.connection import Connection, Fields
from gallery.milvus.people import Found
from gallery.milvus.records import CROP
from gallery.names import check_embeddings
from gallery.types import EnrolledFace, Enrolment, GalleryBusyError, Metadata, NewFace

_ATTEMPTS = 5
Render = Callable[[Enrolment], bytes]


@dataclass(frozen=True, slots=True)
class Wish:
    """What an enrolment is to bring about."""

    name: str
    faces: Sequence[NewFace]
    metadata: Metadata | None
    expires_at: float | None

    def checked(self, bound: Bound) -> Wish:
        """Itself; raises InvalidEmbeddingError."""
        if not self.faces:
            raise ValueError("no face to enrol: expected at least one")
        for face in self.faces:
            check_embeddings(face.embedding[np.newaxis], bound.dimension)
        return self


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rows that an enrolment writes, for the identity with `id`, and what it then answers. `later` are those that
    change what is known of somebody: they are written when it is certain who that is."""

    id: str
    records: list[Fields]
    faces: list[Fields]
    later: list[Fields]
    done: Enrolment


def enroll(
    connection: Connection, bound: Bound, wish: Wish, render: Render | None = None
) -> tuple[Enrolment, str, bytes]:
    """What was done, for which identity's id, and what `render` made of it, before anything was written."""
    wish.checked(bound)
    created = False
    planned: Enrolment | None = None
    answer = b""
    for _ in range(_ATTEMPTS):
        found = people.settled(connection, bound, wish.name)
        if found.person is not None and found.person.is_past:
            erasing.erase(connection, bound, found.person.id)
            continue
        plan = _planned(connection, bound, wish, found, created=created)
        created = plan.done.created
        if render is not None and planned != plan.done:
            planned, answer = plan.done, render(plan.done)
        _write(connection, bound, plan, found)
        if _is_there(connection, bound, wish, plan) and _told(connection, bound, plan):
            return plan.done, plan.id, answer
    raise GalleryBusyError(
        f"{wish.name!r} in collection {bound.name!r} was erased or renamed time and again while it was enrolled: ask "
        "again; of this attempt there may be a part"
    )


def _planned(connection: Connection, bound: Bound, wish: Wish, found: Found, *, created: bool) -> _Plan:
    id_, at = found.new_id, now()
    keys = [faces.key_of(bound, id_, face.source_sha256) for face in wish.faces]
    # Of an attempt before this one what is there is this call's own doing, and no duplicate.
    known = {} if found.person is None or created else faces.known(connection, bound, keys)
    enrolled, rows, crops = [], {}, []
    for place, key, face in zip(faces.places(len(keys)), keys, wish.faces, strict=True):
        if key in known or key in rows:
            face_id = known.get(key, key)
            enrolled.append(EnrolledFace(face_id, duplicate_of=face_id))
            continue
        crop, rows[key] = faces.rows_of(bound, id_, face, face_id=key, created_at=at, place=place)
        crops += crop
        enrolled.append(EnrolledFace(key))
    is_new = found.person is None
    born = [records.born(bound, id_, wish.name, at)] if is_new else []
    told = _known_of(bound, wish, found, gained=bool(rows))
    done = Enrolment(wish.name, created=is_new or created, faces=tuple(enrolled))
    first, later = ([*born, *told], []) if is_new else ([], told)
    return _Plan(id_, [*first, *crops], list(rows.values()), later, done)


def _known_of(bound: Bound, wish: Wish, found: Found, *, gained: bool) -> list[Fields]:
    """The rows of what the enrolment says of the person."""
    rows = [] if wish.metadata is None else [records.described(bound, found.new_id, wish.metadata)]
    held = None if found.person is None else found.person.expires_at
    expires_at = renewed(held, wish.expires_at, bound.ttl_s, is_new=found.person is None, gained=gained)
    return rows if expires_at == held else [*rows, records.expiring(found.new_id, expires_at)]


def _write(connection: Connection, bound: Bound, plan: _Plan, found: Found) -> None:
    if found.leftover:
        records.remove(connection, bound.records, {row.pk: row.stamp for row in found.leftover})
    connection.upsert(bound.records, plan.records)
    connection.upsert(bound.faces, plan.faces)


def _is_there(connection: Connection, bound: Bound, wish: Wish, plan: _Plan) -> bool:
    """Whether all that is answered can be seen, and nobody else bears the name. Undoes it where somebody does, so that
    the next attempt goes to them."""
    keys = [str(row["pk"]) for row in plan.faces]
    found, known = connection.together(
        lambda: people.settled(connection, bound, wish.name), lambda: faces.known(connection, bound, keys)
    )
    is_bearer = found.person is not None and found.person.id == plan.id
    if is_bearer and not (found.others and plan.done.created):  # who was known before waits for nobody
        return len(known) == len(keys)
    _undo(connection, bound, plan)
    return False


def _told(connection: Connection, bound: Bound, plan: _Plan) -> bool:
    """Writes what comes last; whether the person is still there to be told of."""
    if not plan.later:
        return True
    connection.upsert(bound.records, plan.later)
    if plan.id in records.people(records.read_of(connection, bound, [plan.id])):
        return True
    records.remove(connection, bound.records, {str(row["pk"]): row["stamp"] for row in plan.later})
    return False


def _undo(connection: Connection, bound: Bound, plan: _Plan) -> None:
    records.remove(connection, bound.faces, {str(row["pk"]): row["stamp"] for row in plan.faces})
    is_all = plan.done.created and not faces.read_of(connection, bound, [plan.id])[plan.id]
    doomed = [row for row in plan.records if is_all or row["kind"] == CROP]
    records.remove(connection, bound.records, {str(row["pk"]): row["stamp"] for row in doomed})


def renewed(held: float | None, said: float | None, ttl_s: float | None, *, is_new: bool, gained: bool) -> float | None:
    """When an identity expires that is being enrolled, None for never.

    `held` is what it has, `said` what the enrolment says (None for nothing, `math.inf` for never), `gained` whether it
    gets another face. A collection's lifetime never shortens what somebody has.
    """
    if said is not None:
        return None if said == math.inf else said
    if ttl_s is None or not (is_new or (gained and held is not None)):
        return held
    return max(time.time() + ttl_s, held or 0)
