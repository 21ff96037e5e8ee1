"""Erasing where nothing can be locked: what is seen is deleted, until nothing of it is left.

Faces first, then what is known of the person, last that there was one: whoever asks again after a crash finds
somebody to erase. A face that an enrolment adds meanwhile is erased too, or belongs to somebody enrolled anew: the
enrolment looks whether its identity is still there before it answers.
"""

from __future__ import annotations

from gallery.milvus import answers, records
from gallery.milvus.bindings import Bound
from gallery.milvus.connection import Connection, quoted
from gallery.milvus.faces import FaceRow
from gallery.milvus.records import ANSWER, BORN, CROP
from gallery.types import EraseIncompleteError

_ATTEMPTS = 5


def erase(connection: Connection, bound: Bound, id_: str) -> int:
    """Deletes every row under the id; how many faces there were. Raises EraseIncompleteError."""
    faces_seen, records_seen = _rows(connection, bound, id_)
    seen, born = (dict(faces_seen), dict(records_seen)), BORN + id_
    for _ in range(_ATTEMPTS):
        records.remove(connection, bound.faces, seen[0])
        records.remove(connection, bound.records, {pk: stamp for pk, stamp in seen[1].items() if pk != born})
        records.remove(connection, bound.records, {pk: stamp for pk, stamp in seen[1].items() if pk == born})
        seen = _rows(connection, bound, id_)
        if born in seen[1] and seen[1][born] != records_seen.get(born):
            # Somebody was enrolled under the name since: what they have is theirs.
            seen = _common(seen[0], faces_seen), _common(seen[1], records_seen)
        if not seen[0] and not seen[1]:
            return len(faces_seen)
        faces_seen |= seen[0]
        records_seen |= seen[1]
    raise EraseIncompleteError(
        f"an identity of collection {bound.name!r} is enrolled again and again while it is erased: ask again"
    )


def erase_face(connection: Connection, bound: Bound, row: FaceRow) -> None:
    """Deletes the crop, the stored answers that tell of the face, and last the face: whoever asks again after a crash
    finds it."""
    rows = records.read(connection, bound, f'owner == {quoted(row.owner)} and kind in ["{CROP}", "{ANSWER}"]')
    told = answers.telling_of([one for one in rows if one.kind == ANSWER], row.face_id)
    doomed = [*told, *(one for one in rows if one.pk.startswith(CROP + row.pk))]
    records.remove(connection, bound.records, {one.pk: one.stamp for one in doomed})
    records.remove(connection, bound.faces, {row.pk: row.stamp})


def erase_expired(connection: Connection, bound: Bound, now: float, most: int = 100) -> int:
    """Erases some of those whose time had come at `now`, in seconds since 1970-01-01T00:00Z; how many."""
    due = connection.page(bound.records, records.due(now), ["owner"], limit=most)
    for row in due:
        erase(connection, bound, row["owner"])
    return len(due)


def _rows(connection: Connection, bound: Bound, id_: str) -> tuple[dict[str, int], dict[str, int]]:
    """The stamps of the identity's faces and of its records, by their keys."""
    return connection.together(
        lambda: _stamps(connection, bound.faces, id_), lambda: _stamps(connection, bound.records, id_)
    )


def _common(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(one.items() & other.items())


def _stamps(connection: Connection, collection: str, id_: str) -> dict[str, int]:
    where = f"owner == {quoted(id_)}"
    return {row["pk"]: row["stamp"] for row in connection.rows(collection, where, ["stamp"])}
