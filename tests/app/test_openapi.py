"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from app import docs, errors, schemas
from app.examples import bodies
from app.main import create_app
from app.openapi import add_examples, add_key, document
from app.settings import Settings

MODELS: dict[str, type[BaseModel]] = {
    "/detect": schemas.DetectRequest,
    "/recognize": schemas.RecognizeRequest,
    "/embed": schemas.EmbedRequest,
    "/verify": schemas.VerifyRequest,
    "/annotate": schemas.AnnotateRequest,
    "/gallery": schemas.EnrollRequest,
    "/gallery:search": schemas.SearchRequest,
    "/gallery/{identity}": schemas.IdentityChange,
    "/collections": schemas.NewCollection,
}
ROUTES = {
    "/detect": {"post"},
    "/recognize": {"post"},
    "/embed": {"post"},
    "/verify": {"post"},
    "/annotate": {"post"},
    "/gallery": {"get", "post"},
    "/gallery/{identity}": {"get", "patch", "delete"},
    "/gallery/{identity}/faces/{face_id}": {"delete"},
    "/gallery:search": {"post"},
    "/gallery:export": {"post"},
    "/gallery:import": {"post"},
    "/collections": {"get", "post"},
    "/collections/{name}": {"get", "delete"},
    "/models": {"get"},
    "/info": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    whole = document(create_app(Settings()))
    add_examples(whole, dimension=4)
    return whole


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from refs(item)


def test_it_lists_every_route(found: dict[str, Any]) -> None:
    assert {path: set(operations) for path, operations in found["paths"].items()} == ROUTES


def test_every_reference_leads_somewhere(found: dict[str, Any]) -> None:
    names = {ref.removeprefix("#/components/schemas/") for ref in refs(found)}
    assert names <= found["components"]["schemas"].keys()
    assert {"DetectRequest", "DetectForm", "DetectAnswer", "Problem"} <= names


def test_a_compute_route_takes_three_media_types(found: dict[str, Any]) -> None:
    for path in ("/detect", "/recognize", "/embed", "/verify", "/annotate", "/gallery"):
        media = found["paths"][path]["post"]["requestBody"]["content"]
        assert set(media) == {"application/json", "multipart/form-data", "image/*"}


def test_forms_have_the_options_and_the_images(found: dict[str, Any]) -> None:
    forms = found["components"]["schemas"]
    assert forms["DetectForm"]["properties"].keys() == {"image"} | forms["DetectOptions"]["properties"].keys()
    assert forms["DetectForm"]["properties"]["image"]["type"] == "array"
    assert forms["VerifyForm"]["properties"]["reference"] == {"type": "string", "format": "binary"}
    assert forms["EnrollForm"]["required"] == ["image", "identity"]


def test_every_operation_may_answer_a_problem_and_says_what_else(found: dict[str, Any]) -> None:
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], (method, path)
            good = [status for status in operation["responses"] if status.startswith("2")]
            assert all("content" in operation["responses"][status] for status in good), (method, path)
            assert "422" not in operation["responses"]


@pytest.mark.parametrize("path", MODELS)
def test_the_examples_fit_the_models(found: dict[str, Any], path: str) -> None:
    method = "patch" if "{" in path else "post"
    media = found["paths"][path][method]["requestBody"]["content"]["application/json"]
    assert media["examples"].keys() == bodies(4)[method, path].keys()
    for example in media["examples"].values():
        MODELS[path].model_validate(example["value"])


def test_every_json_body_has_an_example(found: dict[str, Any]) -> None:
    for path, operations in found["paths"].items():
        for operation in operations.values():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json")
            assert media is None or media["examples"], path


def test_the_key_is_shown() -> None:
    whole = document(create_app(Settings()))
    assert "security" not in whole
    add_key(whole)
    assert {name for scheme in whole["security"] for name in scheme} == whole["components"]["securitySchemes"].keys()


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = docs.PAGE.decode()
    assert "//" not in page
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {link.removeprefix("docs/") for link in linked} == docs.FILES.keys()


def test_the_problem_codes_are_words(found: dict[str, Any]) -> None:
    for kind in errors.KINDS.values():
        assert re.fullmatch(r"[a-z_]+", kind.code)
        assert 400 <= kind.status < 600


def test_it_is_json(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found)) == found
    assert get_args(schemas.Extra)  # the words of `return` are in the schema
    assert all(word in json.dumps(found["components"]["schemas"]["DetectOptions"]) for word in get_args(schemas.Extra))
