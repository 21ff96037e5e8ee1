"""Filters, margins and warnings, over real sockets and from whichever worker."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from tests.integration.running import Client, encoded

COLLECTION = "naming"


@pytest.fixture(scope="module")
def mirrored(astronaut: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(astronaut, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.imencode(".jpg", image[:, ::-1])[1].tobytes()


@pytest.fixture
def naming(client: Client, astronaut: bytes, hopper: bytes) -> Client:
    """eileen (sales) and grace (support) in a collection of their own."""
    if client.post("/collections", {"name": COLLECTION}).status == 201:
        for name, image, department in (("eileen", astronaut, "sales"), ("grace", hopper, "support")):
            metadata = {"department": department, "badge": len(name)}
            assert client.enroll(name, image, collection=COLLECTION, metadata=metadata).status == 201
    return client


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"department": "sales"}, {"eileen"}),
        ({"department": ["sales", "support"]}, {"eileen", "grace"}),
        ({"department": ["support"], "badge": 5}, {"grace"}),
        ({"department": "sales", "badge": 5}, set()),
        ({"badge": "5"}, set()),
        ({"Department": "sales"}, set()),
    ],
)
def test_only_those_who_pass_the_filter_are_named(
    naming: Client, group: bytes, asked: dict[str, Any], expected: set[str]
) -> None:
    assert set(naming.names(group, collection=COLLECTION, filter=asked)) - {None} == expected


def test_a_filter_comes_by_form_and_by_query_too(naming: Client, group: bytes) -> None:
    path = f"/recognize?collection={COLLECTION}&filter=%7B%22department%22%3A%22sales%22%7D"
    answer = naming.ask("POST", path, group, content_type="image/jpeg")
    assert {face["identity"] for face in answer.json["faces"]} == {None, "eileen"}
    fields = {"collection": COLLECTION.encode(), "filter": b'{"department": "support"}'}
    parts = [*fields.items(), ('image"; filename="group.jpg', group)]
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts
    )
    answer = naming.ask("POST", "/recognize", body + b"--b--", content_type="multipart/form-data; boundary=b")
    assert {face["identity"] for face in answer.json["faces"]} == {None, "grace"}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        [],
        "sales",
        {"a": []},
        {"a": {"b": 1}},
        {"a": [[1]]},
        {"a": 2**60},
        {str(n): n for n in range(17)},
        {"a": "\0"},
    ],
)
def test_a_filter_that_is_none_is_a_problem(naming: Client, astronaut: bytes, asked: Any) -> None:
    body = {"image": encoded(astronaut), "collection": COLLECTION, "filter": asked}
    answer = naming.post("/recognize", body)
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert "filter" in answer.json["detail"]


def test_a_filter_that_is_not_json_is_a_problem(naming: Client, astronaut: bytes) -> None:
    for query in ("filter=department", "filter=%7B%22a%22%3ANaN%7D"):
        answer = naming.ask("POST", f"/recognize?{query}", astronaut, content_type="image/jpeg")
        assert (answer.status, answer.code) == (422, "invalid_request")


def test_a_margin_leaves_the_ambiguous_unnamed(naming: Client, astronaut: bytes) -> None:
    asked = {"image": encoded(astronaut), "collection": COLLECTION, "top_k": 2}
    [plain] = naming.post("/recognize", asked).json["faces"]
    assert plain["identity"] == "eileen"
    assert "margin" not in plain
    answer = naming.post("/recognize", asked | {"min_margin": 0.01}).json
    [sure] = answer["faces"]
    assert (answer["min_margin"], sure["identity"], sure["ambiguous"]) == (0.01, "eileen", False)
    [unsure] = naming.post("/recognize", asked | {"min_margin": 2}).json["faces"]
    assert (unsure["identity"], unsure["similarity"], unsure["ambiguous"]) == (None, None, True)
    assert unsure["margin"] == sure["margin"] < 1.5
    assert unsure["matches"] == sure["matches"] == plain["matches"]
    assert naming.post("/recognize", asked | {"min_margin": -0.1}).code == "invalid_request"


def test_the_search_by_embedding_says_what_the_margin_led_to(naming: Client, astronaut: bytes) -> None:
    [face] = naming.post("/embed", {"image": encoded(astronaut)}).json["faces"]
    asked = {"embeddings": [face["embedding"]], "collection": COLLECTION}
    assert "decisions" not in naming.post("/gallery:search", asked).json
    answer = naming.post("/gallery:search", asked | {"min_margin": 2}).json
    [decision] = answer["decisions"]
    assert (decision["identity"], decision["ambiguous"]) == (None, True)
    assert [match["identity"] for match in answer["results"][0]] == ["eileen"]
    alone = naming.post("/gallery:search", asked | {"min_margin": 2, "filter": {"department": "sales"}}).json
    assert alone["decisions"] == [{"identity": "eileen", "margin": None, "ambiguous": False}]


def test_a_face_known_by_another_name_is_a_warning(client: Client, astronaut: bytes, mirrored: bytes) -> None:
    client.post("/collections", {"name": "twins"})
    assert client.enroll("eileen", astronaut, collection="twins").json["warnings"] == []
    body = {"identity": "Collins", "image": encoded(mirrored), "collection": "twins"}
    first = client.post("/gallery", body, idempotency_key="twins-1")
    assert first.status == 201
    [warning] = first.json["warnings"]
    assert (warning["code"], warning["identity"]) == ("similar_identity", "eileen")
    again = client.post("/gallery", body, idempotency_key="twins-1")
    assert again.status == 201
    assert again.json == first.json | {"warnings": None}
    quiet = body | {"warn_similar": False}
    assert client.post("/gallery", quiet, idempotency_key="twins-1").json == again.json
    assert client.post("/gallery", quiet).json["warnings"] is None


def test_every_reason_of_a_low_quality_is_told(client: Client, astronaut: bytes) -> None:
    strict = {"min_size_px": 4000, "min_sharpness": 1, "min_detection_score": 1}
    answer = client.enroll("x", astronaut, quality_filter=strict)
    assert (answer.status, answer.code) == (422, "low_quality")
    fields = {f"quality_filter.{name}" for name in strict}
    assert {one["field"] for one in answer.json["errors"]} == fields
    images = [encoded(astronaut), "AAAA"]
    several = client.post("/gallery", {"identity": "x", "images": images, "quality_filter": strict})
    assert several.code == "low_quality"


def test_a_collection_scores_by_the_mean(client: Client, astronaut: bytes, mirrored: bytes, hopper: bytes) -> None:
    created = client.post("/collections", {"name": "means", "scoring": "mean"})
    assert (created.status, created.json["scoring"]) == (201, "mean")
    assert client.get("/collections/means").json["scoring"] == "mean"
    assert client.get("/collections/default").json["scoring"] == "max"
    assert client.post("/collections", {"name": "medians", "scoring": "median"}).code == "invalid_request"
    for image in (astronaut, hopper):
        client.enroll("both", image, collection="means", warn_similar=False)
    client.enroll("eileen", mirrored, collection="means", warn_similar=False)
    asked = {"image": encoded(astronaut), "collection": "means", "top_k": 2, "threshold": -1}
    [face] = client.post("/recognize", asked).json["faces"]
    assert [match["identity"] for match in face["matches"]] == ["eileen", "both"], "by the best face it would be both"
    verified = client.post("/verify", {"image": encoded(astronaut), "identity": "both", "collection": "means"}).json
    assert verified["similarity"] == face["matches"][1]["similarity"] < 0.95
    names = [collection["name"] for collection in client.get("/collections").json["collections"]]
    assert "means" in names
    assert not [name for name in names if "/" in name]
    assert client.ask("DELETE", "/collections/means").json["faces"] == 3


def test_a_full_collection_says_so(client: Client, astronaut: bytes, mirrored: bytes, hopper: bytes) -> None:
    created = client.post("/collections", {"name": "full", "max_identities": 1, "max_faces": 1}).json
    assert (created["max_identities"], created["max_faces"]) == (1, 1)
    assert client.enroll("eileen", astronaut, collection="full").status == 201
    assert client.enroll("eileen", astronaut, collection="full").status == 200
    refused = client.enroll("eileen", mirrored, collection="full")
    assert (refused.status, refused.code) == (409, "identity_full")
    refused = client.enroll("grace", hopper, collection="full")
    assert (refused.status, refused.code) == (409, "collection_full")
    assert client.post("/collections", {"name": "none", "max_faces": 0}).code == "invalid_request"
