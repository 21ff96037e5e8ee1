"""What a collection may hold at most, held to in the transaction that adds."""

from __future__ import annotations

import sqlite3

from gallery.local import face_records
from gallery.local.records import CollectionRow, IdentityRow, collection
from gallery.types import CollectionFullError, IdentityFullError


def refuse_identity_over(connection: sqlite3.Connection, row: CollectionRow) -> None:
    """Raises CollectionFullError where the transaction has added an identity too many."""
    most = row.collection.max_identities
    if most is not None and collection(connection, row.collection.name).collection.identities > most:
        raise CollectionFullError(
            f"collection {row.collection.name!r} holds at most {most} identities: erase some, or use another collection"
        )


def refuse_faces_over(connection: sqlite3.Connection, row: CollectionRow, owner: IdentityRow) -> None:
    """Raises IdentityFullError where the transaction has added a face too many to the identity."""
    most = row.collection.max_faces
    if most is not None and (faces := face_records.count_of(connection, owner)) > most:
        raise IdentityFullError(
            f"an identity of collection {row.collection.name!r} has at most {most} faces, this would make it {faces}: "
            "erase some of them"
        )
