"""Every example of /openapi.json does what it says, on a fresh gallery."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from app.examples import ALICE, IDENTITY, bodies
from tests.integration.running import Client, running

EXAMPLES = [(*operation, name) for operation, examples in bodies(4).items() for name in examples]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(tmp_path_factory.mktemp("data")) as service, service.client() as client:
        yield client


@pytest.fixture(scope="module")
def document(fresh: Client) -> dict[str, Any]:
    found: dict[str, Any] = fresh.get("/openapi.json").json
    return found


@pytest.mark.parametrize(("method", "path", "name"), EXAMPLES)
def test_runs_as_shown(fresh: Client, document: dict[str, Any], method: str, path: str, name: str) -> None:
    media = document["paths"][path][method]["requestBody"]["content"]["application/json"]
    if "{identity}" in path:
        enrolment = document["paths"]["/gallery"]["post"]["requestBody"]["content"]["application/json"]
        assert fresh.post("/gallery", next(iter(enrolment["examples"].values()))["value"]).status in (200, 201)
    ask = fresh.post if method == "post" else fresh.patch
    answer = ask(path.format(identity=IDENTITY), media["examples"][name]["value"])
    assert answer.status in (200, 201), answer.body


def test_the_example_face_is_found_and_named(fresh: Client) -> None:
    face = bodies(4)["post", "/recognize"]["one image"]
    fresh.post("/gallery", {"identity": IDENTITY} | face)
    assert [found["identity"] for found in fresh.post("/recognize", face).json["faces"]] == [IDENTITY]


def test_every_get_route_answers(fresh: Client, document: dict[str, Any]) -> None:
    fresh.post("/gallery", bodies(4)["post", "/gallery"]["enrol"])
    for path, operations in document["paths"].items():
        if "get" in operations:
            answer = fresh.get(path.format(identity=quote(ALICE["alice"]["value"]), name="default"))
            assert answer.status == 200, path
