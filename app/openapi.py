"""The OpenAPI document: bodies declared from the pydantic models by name, their schemas written when first asked for.

Routes read their bodies themselves (see `app/wire.py`), so they declare them here; importing this builds no schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import examples, schemas
from app.schemas import Options

Json = dict[str, Any]
SCHEMAS = "#/components/schemas/"
BINARY = {"type": "string", "format": "binary"}
FORM = "Form"
NDJSON = {"application/x-ndjson": {"schema": {"type": "string"}}}
PICTURE = {"image/jpeg": {"schema": BINARY}, "image/png": {"schema": BINARY}}
TEXT = {"text/plain": {"schema": {"type": "string"}}}
OBJECT = {"application/json": {"schema": {"type": "object"}}}
IN_QUERY = "With an `image/*` body the options go in the query string."
PROBLEM = {
    "description": "A problem",
    "content": {"application/problem+json": {"schema": {"$ref": SCHEMAS + "Problem"}}},
}
DESCRIPTION = """Detects faces, embeds them, and says who they are.

Send an image as base64 in JSON, as a form's part `image`, or as the bare body.
Every error is `application/problem+json` with a stable `code` and the `request_id`,
which is also the `X-Request-ID` header of every answer."""


def images_in(request: type[BaseModel], options: type[Options], answer: Json) -> Json:
    """A compute route: JSON by `request`, or a form or a bare image with `options`."""
    form = options.__name__.removesuffix("Options") + FORM
    body = {
        "application/json": {"schema": _ref(request.__name__)},
        "multipart/form-data": {"schema": _ref(form)},
        "image/*": {"schema": BINARY},
    }
    return {"requestBody": {"required": True, "description": IN_QUERY, "content": body}} | answer


def json_in(request: type[BaseModel], answer: Json) -> Json:
    body = {"application/json": {"schema": _ref(request.__name__)}}
    return {"requestBody": {"required": True, "content": body}} | answer


def ndjson_in(answer: Json) -> Json:
    return {"requestBody": {"required": True, "content": NDJSON}} | answer


def answers(*models: str, statuses: Sequence[int] = (200,)) -> Json:
    """A JSON answer of one of the shapes of `app/answers.py`, by name: they need not be imported to serve."""
    refs = [_ref(model) for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    return content({"application/json": {"schema": schema}}, statuses)


def content(media: Json, statuses: Sequence[int] = (200,)) -> Json:
    described = {"description": "Done", "content": media}
    return {"responses": {str(status): described for status in statuses}}


def document(app: FastAPI) -> Json:
    """The whole document, with the schemas that its routes refer to and a problem as every route's other answer."""
    found = get_openapi(title="FaceServe", version=version("faceserve"), description=DESCRIPTION, routes=app.routes)
    found.pop("components", None)  # the framework's own shape of a validation error, which is not what we send
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = PROBLEM
            operation["summary"], _, operation["description"] = operation["description"].partition("\n\n")
    found["components"] = {"schemas": _schemas(found)}
    return found


def add_examples(document: Json, dimension: int) -> None:
    for (method, path), bodies in examples.bodies(dimension).items():
        media = document["paths"][path][method]["requestBody"]["content"]["application/json"]
        media["examples"] = {name: {"value": body} for name, body in bodies.items()}


def add_key(document: Json) -> None:
    """The Authorize button, for a service that asks for a key."""
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{"bearer": []}, {"header": []}]


def _schemas(document: Json) -> Json:
    from app import answers as answer_models  # a hundredth of a second that serving does not need

    names = set(re.findall(rf"{SCHEMAS}(\w+)", json.dumps(document)))
    forms = {name for name in names if name.endswith(FORM)}
    options = {name.removesuffix(FORM) + "Options" for name in forms}
    models = [getattr(schemas, name, None) or getattr(answer_models, name) for name in sorted(names - forms | options)]
    found: Json = models_json_schema([(model, "validation") for model in models], ref_template=SCHEMAS + "{model}")[1]
    definitions: Json = found["$defs"]
    return definitions | {name: _form(name, definitions) for name in forms}


def _form(name: str, definitions: Json) -> Json:
    """An options model as the fields of a form, beside the images."""
    options = definitions[name.removesuffix(FORM) + "Options"]
    request = definitions[name.removesuffix(FORM) + "Request"]["properties"]
    images: Json = {"image": {"type": "array", "items": BINARY, "minItems": 1} if "images" in request else BINARY}
    if "reference" in request:
        images["reference"] = BINARY
    return {
        "type": "object",
        "title": name,
        "properties": images | options["properties"],
        "required": ["image", *options.get("required", [])],
    }


def _ref(name: str) -> Json:
    return {"$ref": SCHEMAS + name}
