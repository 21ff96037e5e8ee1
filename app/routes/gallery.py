"""Who is known: enrol, list, read, rename, erase, and search by ready embeddings."""

from __future__ import annotations

import hashlib
import math
import re
from functools import partial
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.deps import BareRoute, Deps, JsonAnswer, deps_of, request_id_of, run, run_with
from app.errors import InvalidRequestError
from app.examples import ALICE
from app.moments import moment_json
from app.openapi import answers, images_in, json_in
from app.present import Json
from app.routes.faces import bytes_of
from app.schemas import EnrollOptions, EnrollRequest, IdentityChange, SearchRequest
from app.service import FaceService
from app.wire import Asked, Picture, read_images
from gallery.types import Identity, NewFace

router = APIRouter(tags=["gallery"], default_response_class=Response)
bare = APIRouter(tags=["gallery"], route_class=BareRoute, default_response_class=Response)
ENROL = images_in(EnrollRequest, EnrollOptions, answers("EnrollAnswer", statuses=(201, 200)))
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")
Collection = Annotated[str, Query(description="the collection")]
Name = Annotated[str, Path(description="the identity", openapi_examples=ALICE)]


@bare.post("/gallery", status_code=201, openapi_extra=ENROL)
async def enroll(request: Request) -> Response:
    """Enrols one face an image under a name: 201 for a new identity, 200 when it gains faces or has them already.

    `warnings` names others whose faces are as similar as one person's; it refuses nobody. Repeated with the same
    `Idempotency-Key` and content, the first answer is given again, without its warnings, and nothing is written.
    """
    deps = deps_of(request)
    with deps.execution.admission:
        asked = await read_images(request, deps.settings, EnrollRequest, EnrollOptions)
        idempotency = await _idempotency(request, asked)
        answer = None
        if idempotency is not None:
            recall = partial(deps.service.recall, asked.options, *idempotency)
            answer = await deps.execution.one(request.receive, lambda _: recall())
        if answer is None:
            answer = await _enroll(request, deps, asked, idempotency)
    return Response(answer, 201 if orjson.loads(answer)["created"] else 200, media_type="application/json")


@router.get("/gallery", openapi_extra=answers("IdentityPage"))
async def page(
    request: Request,
    collection: Collection = "default",
    cursor: Annotated[str | None, Query(description="where the last page ended")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="most identities a page")] = 100,
) -> Response:
    """The identities of a collection, those enrolled first come first, a page at a time."""
    found = await run(request, lambda service: service.gallery.identities(collection, cursor=cursor, limit=limit))
    identities = [_identity_json(identity, collection) for identity in found.identities]
    return JsonAnswer({"collection": collection, "identities": identities, "cursor": found.cursor})


@router.get("/gallery/{identity}", openapi_extra=answers("IdentityAnswer"))
async def show(request: Request, identity: Name, collection: Collection = "default") -> Response:
    """One identity and its faces, without their embeddings."""
    found = await run(request, lambda service: service.gallery.identity(collection, identity))
    return JsonAnswer(_identity_json(found, collection))


@router.patch("/gallery/{identity}", openapi_extra=json_in(IdentityChange, answers("IdentityAnswer")))
async def change(request: Request, identity: Name, collection: Collection = "default") -> Response:
    """Renames an identity, replaces its metadata, or sets when it expires; `expires_at` null is never."""

    def apply(service: FaceService, asked: IdentityChange) -> Identity:
        end = asked.expires_at.timestamp() if asked.expires_at else math.inf if asked.is_to_expire else None
        return service.gallery.update_identity(
            collection, identity, new_name=asked.identity, metadata=asked.metadata, expires_at=end
        )

    changed = await run_with(request, IdentityChange, apply)
    return JsonAnswer(_identity_json(changed, collection))


@router.delete("/gallery/{identity}", openapi_extra=answers("ErasedAnswer"))
async def erase(request: Request, identity: Name, collection: Collection = "default") -> Response:
    """Erases an identity: embeddings, crops and metadata are gone from the disk when this answers."""
    faces = await run(request, lambda service: service.gallery.delete_identity(collection, identity))
    return JsonAnswer({"collection": collection, "identity": identity, "faces": faces})


@router.delete("/gallery/{identity}/faces/{face_id}", openapi_extra=answers("ErasedAnswer"))
async def erase_face(request: Request, identity: Name, face_id: str, collection: Collection = "default") -> Response:
    """Erases one face of an identity."""
    await run(request, lambda service: service.gallery.delete_face(collection, identity, face_id))
    return JsonAnswer({"collection": collection, "identity": identity, "faces": 1})


@bare.post("/gallery:search", openapi_extra=json_in(SearchRequest, answers("SearchAnswer")))
async def search(request: Request) -> Response:
    """The identities nearest to ready embeddings, one list an embedding."""
    found = await run_with(request, SearchRequest, lambda service, asked: service.search(asked))
    return JsonAnswer({"request_id": request_id_of(request)} | found)


async def _enroll(
    request: Request, deps: Deps, asked: Asked[EnrollOptions], idempotency: tuple[str, str] | None
) -> bytes:
    def prepare(picture: Picture, _: float) -> NewFace:
        return deps.service.prepare(bytes_of(picture), asked.options)

    jobs = [partial(prepare, picture) for picture in asked.pictures]
    prepared = await deps.execution.each(request.receive, jobs)
    enrolled = partial(
        deps.service.enroll, prepared, asked.options, request_id=request_id_of(request), idempotency=idempotency
    )
    return await deps.execution.one(request.receive, lambda _: enrolled())


async def _idempotency(request: Request, asked: Asked[EnrollOptions]) -> tuple[str, str] | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequestError("the Idempotency-Key must be 1 to 200 printable ASCII characters without spaces")
    return key, await deps_of(request).execution.one(request.receive, lambda _: _fingerprint(asked))


def _fingerprint(asked: Asked[EnrollOptions]) -> str:
    """Of what was asked to be enrolled, not of the body's bytes: a form's boundary differs each time it is sent."""
    # Of an end only where one is given, so that keys stay good that were sent before there were ends.
    ends = {name for name in ("expires_at", "ttl_s") if getattr(asked.options, name) is None}
    unsaid = {"image", "images", "warn_similar"} | ends
    digest = hashlib.sha256(asked.options.model_dump_json(exclude=unsaid).encode())
    for picture in asked.pictures:
        data = picture.encode() if isinstance(picture, str) else picture
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _identity_json(identity: Identity, collection: str) -> Json:
    return {
        "identity": identity.name,
        "collection": collection,
        "metadata": identity.metadata,
        "created_at": identity.created_at,
        "expires_at": moment_json(identity.expires_at),
        "faces": identity.faces,
    }
