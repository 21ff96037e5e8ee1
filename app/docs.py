"""The docs page: Swagger UI from the files of an installed package, so that it works with no way out to the network."""

from __future__ import annotations

from functools import cache
from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import openapi
from app.deps import JsonAnswer, deps_of
from app.errors import RouteNotFoundError

router = APIRouter(include_in_schema=False)
FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FaceServe</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  syntaxHighlight: false,
  validatorUrl: null
});
</script>
</body>
</html>
"""


@router.get("/")
async def root() -> Response:
    return RedirectResponse("docs")


@router.get("/docs")
async def page() -> Response:
    return Response(PAGE, media_type="text/html")


@router.get("/docs/{name}")
async def file(name: str) -> Response:
    if name not in FILES:
        raise RouteNotFoundError("the page's files are " + ", ".join(FILES))
    return Response(_read(name), media_type=FILES[name], headers={"cache-control": "max-age=86400"})


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    deps, app = deps_of(request), request.app
    if app.openapi_schema is None:
        app.openapi_schema = openapi.document(app)
        openapi.add_examples(app.openapi_schema, deps.service.dimension)
        if deps.settings.api_key is not None:
            openapi.add_key(app.openapi_schema)
    return JsonAnswer(app.openapi_schema)


@cache
def _read(name: str) -> bytes:
    return (resources.files("fastapi_swagger.resources") / name).read_bytes()
