"""Collections: separate galleries, each bound to the embedder that filled it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.deps import JsonAnswer, run, run_with
from app.openapi import answers, json_in
from app.schemas import NewCollection
from app.service import FaceService
from gallery.types import Collection, Terms

router = APIRouter(tags=["collections"], default_response_class=Response)


@router.get("/collections", openapi_extra=answers("CollectionList"))
async def listed(request: Request) -> Response:
    """Every collection: its sizes, its embedder, and whether that is the one loaded."""
    return JsonAnswer({"collections": await run(request, lambda service: service.collections())})


@router.post(
    "/collections", openapi_extra=json_in(NewCollection, answers("CollectionAnswer", statuses=(201,))), status_code=201
)
async def create(request: Request) -> Response:
    """A new, empty collection for the embedder that is loaded."""
    created = await run_with(
        request, NewCollection, lambda service, asked: service.new_collection(asked.name, terms_of(asked))
    )
    return JsonAnswer(created, 201)


def terms_of(asked: NewCollection) -> Terms:
    return Terms(asked.scoring, asked.max_identities, asked.max_faces, asked.ttl_s)


@router.get("/collections/{name}", openapi_extra=answers("CollectionAnswer"))
async def show(request: Request, name: str) -> Response:
    """One collection."""
    return JsonAnswer(await run(request, lambda service: service.collection(name)))


@router.delete("/collections/{name}", openapi_extra=answers("ErasedAnswer"))
async def erase(request: Request, name: str) -> Response:
    """Erases a collection with everyone in it."""

    def erase_it(service: FaceService) -> Collection:
        collection = service.gallery.collection(name)
        service.gallery.delete_collection(name)
        return collection

    erased = await run(request, erase_it)
    return JsonAnswer({"collection": name, "identity": None, "faces": erased.faces})
