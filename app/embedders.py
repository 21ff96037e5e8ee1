"""Which embedder made a collection, and what to do where it is not the one that is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from app.present import Json
from engines.base import ModelError
from engines.models import ModelSpec, ModelStore
from gallery import types
from gallery.types import ModelMismatchError

_DIGITS = 12


class Embedders:
    """Knows embedders by their digests, as far as the model store has them, and the one that is `loaded`.

    May be used from any thread. Reads the store anew each time: models come and go while a service runs.
    """

    def __init__(self, store: ModelStore, loaded: ModelSpec) -> None:
        self._store = store
        self.loaded = loaded

    def find(self, digest: str) -> ModelSpec | None:
        """The store's embedder with that digest, the first by name; None if there is none."""
        if digest == self.loaded.digest:
            return self.loaded
        try:
            models = self._store.list()
        except ModelError:  # a damaged manifest is no reason to leave a client without an answer
            return None
        return next((spec for spec in models if spec.digest == digest and spec.task == "embedder"), None)

    def called(self, digest: str) -> str:
        """Its name, else how its digest begins."""
        spec = self.find(digest)
        return spec.name if spec else digest[:_DIGITS]

    def described(self, collection: types.Collection) -> Json:
        """The collection, with its embedder's name (None if the store has it no more), and whether that is loaded."""
        spec = self.find(collection.embedder)
        fits = collection.embedder == self.loaded.digest
        return asdict(collection) | {"embedder_name": spec.name if spec else None, "fits": fits}

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Lets a ModelMismatchError out of the block with names for digests, and with what can be done about it."""
        try:
            yield
        except ModelMismatchError as error:
            raise self._explained(error) from error

    def warning(self, collections: Collection[types.Collection]) -> str | None:
        """What to tell whoever starts the service of those that do not fit; None where all do."""
        others = [collection for collection in collections if collection.embedder != self.loaded.digest]
        if not others:
            return None
        made = ", ".join(f"{collection.name} with {self.called(collection.embedder)}" for collection in others)
        ways = self._ways("--all", {collection.embedder for collection in others})
        return (
            f"the embedder loaded is {self.loaded.name}, but collections were made with another ({made}): what needs "
            f"their embeddings will be answered 409. {ways}"
        )

    def _explained(self, error: ModelMismatchError) -> ModelMismatchError:
        made_by, asked = self.called(error.made_by), self.called(error.asked)
        if error.collection is None:
            detail = (
                f"the export was made with embedder {made_by}, loaded is {asked}: import it where {made_by} is loaded "
                f"(FACESERVE_EMBEDDER), or enrol the pictures again"
            )
        else:
            ways = self._ways(f"--collection {error.collection}", [error.made_by])
            detail = f"collection {error.collection!r} was made with embedder {made_by}, loaded is {asked}. {ways}"
        return ModelMismatchError(detail, collection=error.collection, made_by=error.made_by, asked=error.asked)

    def _ways(self, which: str, digests: Collection[str]) -> str:
        anew = f"`FACESERVE_EMBEDDER={self.loaded.name} faceserve gallery reembed {which}`"
        back = ""
        if len(digests) == 1:
            known = self.find(next(iter(digests)))
            back = f", or start with FACESERVE_EMBEDDER={known.name}" if known else ", or import that embedder again"
        return f"Make the embeddings anew ({anew}), or use another collection{back}"
