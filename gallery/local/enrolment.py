"""Enrolling: the one transaction that makes a face findable, be it asked for once or again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from gallery.local import answers, expiry, face_records, limits, records, templates
from gallery.local.records import CollectionRow, IdentityRow
from gallery.names import check_embeddings
from gallery.types import EnrolledFace, Enrolment, Idempotency, Metadata, NewFace


def enroll(
    connection: sqlite3.Connection,
    row: CollectionRow,
    name: str,
    faces: Sequence[NewFace],
    metadata: Metadata | None,
    expires_at: float | None = None,
) -> tuple[Enrolment, IdentityRow]:
    """Finds or makes the identity and adds what faces it does not have yet, inside the caller's transaction."""
    if not faces:
        raise ValueError("no face to enrol: expected at least one")
    for face in faces:
        check_embeddings(face.embedding[np.newaxis], row.collection.dimension)
    known = records.find_identity(connection, row.key, name)
    if known is None:
        owner = records.add_identity(connection, row.key, name, metadata or {})
        limits.refuse_identity_over(connection, row)
    else:
        owner = known if metadata is None else records.set_metadata(connection, known, metadata)
    enrolled = tuple(_enroll_face(connection, row, owner, face) for face in faces)
    gained = any(face.duplicate_of is None for face in enrolled)
    if gained:
        limits.refuse_faces_over(connection, row, owner)
        templates.refresh(connection, row, owner)
    ttl_s = row.collection.ttl_s
    moment = expiry.renewed(owner.expires_at, expires_at, ttl_s, is_new=known is None, gained=gained)
    if moment != owner.expires_at:
        owner = records.set_expiry(connection, owner, moment)
    return Enrolment(name, created=known is None, faces=enrolled), owner


def enroll_once(
    connection: sqlite3.Connection,
    row: CollectionRow,
    name: str,
    faces: Sequence[NewFace],
    metadata: Metadata | None,
    idempotency: Idempotency,
    *,
    at: float,
    expires_at: float | None = None,
) -> bytes:
    """The answer stored under the key, or that of enrolling now, `at` (s), which is stored then."""
    stored = answers.recall(connection, row.key, idempotency.key, idempotency.fingerprint, since=0)
    if stored is not None:
        return stored
    done, owner = enroll(connection, row, name, faces, metadata, expires_at)
    answer = idempotency.render(done)
    answers.remember(connection, row.key, idempotency.key, idempotency.fingerprint, owner, answer, at=at)
    return answer


def _enroll_face(connection: sqlite3.Connection, row: CollectionRow, owner: IdentityRow, face: NewFace) -> EnrolledFace:
    if same := face_records.same_picture(connection, owner, face.source_sha256):
        return EnrolledFace(same.hex(), duplicate_of=same.hex())
    return EnrolledFace(face_records.add_face(connection, row.key, owner, face).hex())
