"""The collections of a gallery: made, listed, deleted."""

from __future__ import annotations

import sqlite3

from gallery.gallery import USUAL_TERMS
from gallery.local import erase, records, templates
from gallery.local.index.recipe import Recipe
from gallery.local.projection import Projections
from gallery.local.records import CollectionRow
from gallery.local.store import Store
from gallery.local.sweeper import Sweeper
from gallery.names import check_collection
from gallery.types import Collection, CollectionExistsError, Terms


class Tenants:
    """The part of `LocalGallery` that concerns whole collections."""

    def __init__(self, store: Store, erase_timeout_s: float, searches_at_once: int, recipe: Recipe | None) -> None:
        self._store = store
        self._erase_timeout_s = erase_timeout_s
        self._projections = Projections(store, at_once=searches_at_once, recipe=recipe)
        self._sweeper = Sweeper(store, erase_timeout_s)
        store.on_expiry = self._sweeper.expects

    def collections(self) -> list[Collection]:
        """Lets go of the memory of those that another process deleted."""
        with self._store.read() as connection:
            found = records.collections(connection)
        self._projections.keep({templates.searched(row) for row in found})
        return [row.collection for row in found]

    def collection(self, name: str) -> Collection:
        with self._store.read() as connection:
            return records.collection(connection, check_collection(name)).collection

    def create_collection(self, name: str, embedder: str, dimension: int, terms: Terms = USUAL_TERMS) -> Collection:
        with self._store.write() as connection:
            if records.find_collection(connection, check_collection(name)):
                raise CollectionExistsError(f"there is already a collection {name!r}")
            return ensure(connection, name, embedder, dimension, terms).collection

    def ensure_collection(self, name: str, embedder: str, dimension: int) -> Collection:
        with self._store.read() as connection:
            if found := records.find_collection(connection, check_collection(name)):
                return found.made_by(embedder).collection
        with self._store.write() as connection:
            return ensure(connection, name, embedder, dimension).collection

    def delete_collection(self, name: str) -> None:
        """Writes the database anew: seconds for a large one."""
        with erase.erasing(self._store, self._erase_timeout_s) as connection:
            records.remove_collection(connection, check_collection(name))
        for index in (name, templates.name_of(name)):
            self._projections.drop(index)


def ensure(
    connection: sqlite3.Connection, name: str, embedder: str, dimension: int, terms: Terms = USUAL_TERMS
) -> CollectionRow:
    """The collection, made on those terms if it is not there; raises ModelMismatchError if it is another
    embedder's."""
    if found := records.find_collection(connection, name):
        return found.made_by(embedder)
    row = records.add_collection(connection, name, embedder, dimension, terms)
    if terms.scoring == "mean":
        templates.add_hidden(connection, row)
    return row
