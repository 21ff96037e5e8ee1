"""A gallery whose deeds are recorded: the one place where all of them pass, from routes, commands and the library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audit.notes import note_enrolment, note_expiry, noted, people_found
from app.audit.recorder import Deed, Recorder
from app.errors import kind_of
from gallery.filters import Filter
from gallery.gallery import USUAL_TERMS, Gallery
from gallery.types import (
    Collection,
    CollectionExistsError,
    CollectionNotFoundError,
    Enrolment,
    GalleryError,
    Idempotency,
    Identity,
    Imported,
    Match,
    Metadata,
    NewFace,
    Page,
    Reembedded,
    Survey,
    Target,
    Terms,
    Threshold,
)


class AuditedGallery:
    """Does what `gallery` does, and has it recorded. What every method promises and raises, `Gallery` says; besides,
    those that are recorded raise AuditUnavailableError, nothing being done, and UnrecordedError, in place of an answer.

    Owns the gallery and the recorder.
    """

    def __init__(self, gallery: Gallery, recorder: Recorder) -> None:
        self._gallery = gallery
        self._recorder = recorder

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._gallery.close()
        self._recorder.close()

    # --- collections

    def collections(self) -> list[Collection]:
        return self._gallery.collections()

    def collection(self, name: str) -> Collection:
        return self._gallery.collection(name)

    def create_collection(self, name: str, embedder: str, dimension: int, terms: Terms = USUAL_TERMS) -> Collection:
        with self._recorder.deed("create_collection", name) as deed:
            if terms.ttl_s is not None:  # by which its people expire, whose enrolment does not say
                deed.facts["ttl_s"] = float(terms.ttl_s)
            return self._gallery.create_collection(name, embedder, dimension, terms)

    def ensure_collection(self, name: str, embedder: str, dimension: int) -> Collection:
        try:
            self._gallery.collection(name)
        except CollectionNotFoundError:
            # Of several processes that start at once, one is to be recorded as its maker.
            with suppress(CollectionExistsError), self._recorder.deed("create_collection", name):
                return self._gallery.create_collection(name, embedder, dimension)
        return self._gallery.ensure_collection(name, embedder, dimension)

    def delete_collection(self, name: str) -> None:
        with self._recorder.deed("erase_collection", name):
            self._gallery.delete_collection(name)

    # --- enrolment

    def enroll(
        self,
        collection: str,
        identity: str,
        faces: Sequence[NewFace],
        *,
        embedder: str,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> Enrolment:
        with self._recorder.deed("enroll", collection, identity) as deed:
            note_expiry(deed, expires_at)
            done = self._gallery.enroll(
                collection, identity, faces, embedder=embedder, metadata=metadata, expires_at=expires_at
            )
            note_enrolment(deed, done)
            return done

    def enroll_once(
        self,
        collection: str,
        identity: str,
        faces: Sequence[NewFace],
        *,
        embedder: str,
        idempotency: Idempotency,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> bytes:
        with self._recorder.deed("enroll", collection, identity) as deed:
            note_expiry(deed, expires_at)
            deed.facts["repeated"] = True

            def render(done: Enrolment) -> bytes:
                del deed.facts["repeated"]
                note_enrolment(deed, done)
                return idempotency.render(done)

            return self._gallery.enroll_once(
                collection,
                identity,
                faces,
                embedder=embedder,
                idempotency=replace(idempotency, render=render),
                metadata=metadata,
                expires_at=expires_at,
            )

    def recall(self, collection: str, key: str, fingerprint: str) -> bytes | None:
        """Recorded with the searches: it changes nothing, and tells whoever has the key and the pictures."""
        with self._recorder.deed("recall", collection, changes=False) as deed:
            answer = self._gallery.recall(collection, key, fingerprint)
            deed.facts["found"] = int(answer is not None)
            return answer

    # --- search

    def search(
        self,
        collection: str,
        embeddings: NDArray[np.float32],
        *,
        embedder: str,
        top_k: int,
        threshold: Threshold,
        chosen: Filter | None = None,
    ) -> list[list[Match]]:
        with self._recorder.deed("search", collection, changes=False) as deed:
            deed.facts |= {"faces": len(embeddings), "filtered": chosen is not None}
            found = self._gallery.search(
                collection,
                embeddings,
                embedder=embedder,
                top_k=top_k,
                threshold=noted(threshold, deed),
                chosen=chosen,
            )
            lists = [[(match.identity, match.similarity) for match in matches] for matches in found]
            deed.people = people_found(lists, deed.facts.get("threshold", -1.0))
            deed.facts["found"] = len(deed.people)
            return found

    def lookalikes(
        self, collection: str, enrolled: Enrolment, faces: Sequence[NewFace], *, embedder: str, threshold: Threshold
    ) -> list[Match]:
        with self._recorder.deed("compare", collection, enrolled.identity, changes=False) as deed:
            found = self._gallery.lookalikes(
                collection, enrolled, faces, embedder=embedder, threshold=noted(threshold, deed)
            )
            deed.people += [match.identity for match in found]
            deed.facts |= {"faces": len(faces), "found": len(found)}
            return found

    def similarity(
        self, collection: str, identity: str, embedding: NDArray[np.float32], *, embedder: str
    ) -> tuple[float, str]:
        with self._recorder.deed("verify", collection, identity, changes=False):
            return self._gallery.similarity(collection, identity, embedding, embedder=embedder)

    # --- identities

    def identity(self, collection: str, name: str) -> Identity:
        with self._recorder.deed("show", collection, name, changes=False):
            return self._gallery.identity(collection, name)

    def identities(self, collection: str, *, cursor: str | None = None, limit: int = 100) -> Page:
        with self._recorder.deed("list", collection, changes=False) as deed:
            page = self._gallery.identities(collection, cursor=cursor, limit=limit)
            deed.facts["identities"] = len(page.identities)
            return page

    def update_identity(
        self,
        collection: str,
        name: str,
        *,
        new_name: str | None = None,
        metadata: Metadata | None = None,
        expires_at: float | None = None,
    ) -> Identity:
        people = [name] if new_name is None else [name, new_name]
        with self._recorder.deed("describe" if new_name is None else "rename", collection, *people) as deed:
            note_expiry(deed, expires_at)
            deed.facts["metadata"] = metadata is not None
            return self._gallery.update_identity(
                collection, name, new_name=new_name, metadata=metadata, expires_at=expires_at
            )

    def delete_identity(self, collection: str, name: str) -> int:
        with self._recorder.deed("erase", collection, name) as deed:
            deed.facts["faces"] = faces = self._gallery.delete_identity(collection, name)
            return faces

    def delete_face(self, collection: str, name: str, face_id: str) -> None:
        with self._recorder.deed("erase_face", collection, name):
            self._gallery.delete_face(collection, name, face_id)

    def crop(self, collection: str, name: str, face_id: str) -> bytes | None:
        with self._recorder.deed("crop", collection, name, changes=False):
            return self._gallery.crop(collection, name, face_id)

    # --- in and out

    def export(self, collection: str) -> Iterator[dict[str, Any]]:
        """Two lines: `begun` before the first record leaves, and one with counts after the last. Without the second it
        was broken off, or is under way."""
        records = self._gallery.export(collection)
        deed = Deed("export", collection)
        counts = {"identity": 0, "face": 0}
        try:
            for number, record in enumerate(records):
                if not number:
                    self._recorder.record(deed, "begun")
                kind = record.get("type")
                if kind in counts:
                    counts[kind] += 1
                yield record
            deed.facts |= {"identities": counts["identity"], "faces": counts["face"]}
        except GalleryError as error:
            self._recorder.record(deed, kind_of(error).code)
            raise
        self._recorder.record(deed, "ok")

    def import_records(
        self, lines: Iterable[Mapping[str, Any]], *, embedder: str, collection: str | None = None
    ) -> Imported:
        self._recorder.record(Deed("import", collection), "begun")  # it takes long: who is killed in it has a line
        with self._recorder.deed("import", collection) as deed:
            done = self._gallery.import_records(lines, embedder=embedder, collection=collection)
            deed.collection = done.collection
            deed.facts |= {"identities": done.identities, "faces": done.faces, "skipped": done.skipped}
            return done

    # --- another embedder

    def survey(self, collection: str) -> Survey:
        return self._gallery.survey(collection)

    def reembed(self, collection: str, target: Target, *, made_by: str, drop_without_crop: bool = False) -> Reembedded:
        self._recorder.record(Deed("reembed", collection), "begun")
        with self._recorder.deed("reembed", collection) as deed:
            done = self._gallery.reembed(collection, target, made_by=made_by, drop_without_crop=drop_without_crop)
            deed.facts |= {"faces": done.faces, "dropped": done.dropped}
            return done

    # --- health

    def ready(self) -> None:
        self._gallery.ready()
        self._recorder.ready()

    def check(self) -> list[str]:
        return self._gallery.check()
