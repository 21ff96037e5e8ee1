"""Another process with the gallery open: `worker.py FOLDER serve [INDEX]`, or `worker.py FOLDER enroll FIRST COUNT
BUILD`.

`serve` answers requests, a line of JSON each; INDEX is an approximate one, for 50 faces or more. `enroll` enrols
`person N`, for COUNT numbers from FIRST, and says each face's id on a line once the gallery has acknowledged it; BUILD
is `honest`, or one of the broken builds below.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gallery.local.gallery import LocalGallery
from gallery.local.index import recipe
from gallery.local.index.approximate import ApproximateIndex
from gallery.types import EnrolledFace, Enrolment, Idempotency, Metadata, NewFace

EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16


def face(number: int) -> NewFace:
    row = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
    return NewFace(row / np.float32(np.linalg.norm(row)), hashlib.sha256(b"picture %d" % number).hexdigest())


class EarlyGallery(LocalGallery):
    """A broken build: acknowledges, and writes ten enrolments later."""

    waiting: tuple[tuple[Any, ...], ...] = ()

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
        self.waiting = (*self.waiting, (collection, identity, faces))
        if len(self.waiting) >= 10:
            for where, who, what in self.waiting:
                super().enroll(where, who, what, embedder=embedder)
            self.waiting = ()
        return Enrolment(identity, True, tuple(EnrolledFace("0" * 32) for _ in faces))


class SwappingGallery(LocalGallery):
    """A broken build: now and then puts a face under another's name."""

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
        number = int(identity.split()[1])
        if number % 20 == 0:
            faces = [face(number + 1)]
        return super().enroll(collection, identity, faces, embedder=embedder)


BUILDS = {"honest": LocalGallery, "early": EarlyGallery, "swapping": SwappingGallery}


def answer(gallery: LocalGallery, request: dict[str, Any]) -> Any:
    """One request of `serve`: its `do`, and what that needs."""
    do, number = request["do"], request.get("number", 0)
    if do == "enroll":
        end = request.get("expires_at")
        enrolment = gallery.enroll("people", request["identity"], [face(number)], embedder=EMBEDDER, expires_at=end)
        return {"created": enrolment.created, "face_id": enrolment.faces[0].face_id}
    if do == "enroll_once":
        once = Idempotency(request["key"], request["fingerprint"], lambda enrolment: repr(enrolment).encode())
        return gallery.enroll_once(
            "people", request["identity"], [face(number)], embedder=EMBEDDER, idempotency=once
        ).decode()
    if do == "search":
        query = face(number).embedding[np.newaxis]
        matches = gallery.search("people", query, embedder=EMBEDDER, top_k=1, threshold=0.99)[0]
        return [match.identity for match in matches]
    if do == "search at":
        began = time.time()
        return [began, answer(gallery, request | {"do": "search"}), time.time()]
    if do == "delete":
        return gallery.delete_identity("people", request["identity"])
    if do == "rename":
        return gallery.update_identity("people", request["identity"], new_name=request["to"]).name
    if do == "proposed":
        with gallery._projections.current("people") as view:
            flat = view.index.flat
            return len(flat.proposals) if isinstance(flat, ApproximateIndex) and flat.proposals else None
    return gallery.check()


def serve(folder: Path, index: str = "exact") -> None:
    recipe.LEAST_ROWS = 50
    with LocalGallery(folder, index=index) as gallery:
        gallery.ensure_collection("people", EMBEDDER, DIMENSION)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(gallery, json.loads(line))), flush=True)


def enroll(folder: Path, first: int, count: int, build: str) -> None:
    with BUILDS[build](folder) as gallery:
        gallery.ensure_collection("people", EMBEDDER, DIMENSION)
        for number in range(first, first + count):
            enrolment = gallery.enroll("people", f"person {number}", [face(number)], embedder=EMBEDDER)
            print(number, enrolment.faces[0].face_id, flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "serve":
        serve(Path(sys.argv[1]), *sys.argv[3:])
    else:
        enroll(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
