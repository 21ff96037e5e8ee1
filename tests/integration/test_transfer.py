"""Collections go out and come back as streams, past the limit of a body."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from tests.integration.conftest import MAX_BODY_BYTES
from tests.integration.running import Client, Running

NDJSON = "application/x-ndjson"
CREATED = "2026-01-01T00:00:00Z"


@pytest.fixture
def many(client: Client) -> bytes:
    """An export of more bytes than a body may have, by writing faces into one that was exported."""
    header = json.loads(client.ask("POST", "/gallery:export").body.splitlines()[0]) | {"collection": "many"}
    lines = [header]
    random = np.random.default_rng(5)
    for number in range(800):
        vector = random.standard_normal(header["dimension"]).astype(np.float32)
        vector /= np.linalg.norm(vector)
        identity = {"type": "identity", "id": f"{number:032x}", "identity": f"person {number}", "metadata": {}}
        face: dict[str, object] = {
            "type": "face",
            "face_id": f"{number:032x}",
            "source_sha256": f"{number:064x}",
            "quality": {},
            "crop_png": None,
            "embedding": base64.b64encode(vector.tobytes()).decode(),
        }
        lines += [identity | {"created_at": CREATED}, face | {"created_at": CREATED}]
    lines.append({"type": "end", "identities": 800, "faces": 800})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_a_collection_comes_back_as_it_went(client: Client, astronaut: bytes, hopper: bytes) -> None:
    assert client.enroll("eileen", astronaut, metadata={"flew": 1993}).status == 201
    assert client.enroll("grace", hopper).status == 201
    exported = client.ask("POST", "/gallery:export?collection=default")
    assert exported.headers["content-type"] == NDJSON
    assert all(json.loads(line) for line in exported.body.splitlines())
    imported = client.ask("POST", "/gallery:import?collection=copy", exported.body, content_type=NDJSON)
    assert imported.status == 200, imported.body
    assert (imported.json["identities"], imported.json["faces"], imported.json["skipped"]) == (2, 2, 0)
    assert client.names(astronaut, collection="copy") == ["eileen"]
    again = client.ask("POST", "/gallery:import?collection=copy", exported.body, content_type=NDJSON)
    assert (again.json["faces"], again.json["skipped"]) == (0, 2)
    for name in ("eileen", "grace"):
        client.erase(name)
    assert client.ask("DELETE", "/collections/copy").json["faces"] == 2


def test_an_import_may_be_larger_than_a_body(client: Client, many: bytes) -> None:
    assert len(many) > MAX_BODY_BYTES
    imported = client.ask("POST", "/gallery:import", many, content_type=NDJSON)
    assert imported.status == 200, imported.body
    assert client.get("/collections/many").json["faces"] == 800
    first = client.get("/gallery?collection=many&limit=500").json
    rest = client.get(f"/gallery?collection=many&limit=500&cursor={first['cursor']}").json
    assert (len(first["identities"]), len(rest["identities"]), rest["cursor"]) == (500, 300, None)
    client.ask("DELETE", "/collections/many")


def test_an_unknown_collection_is_a_problem_not_an_empty_export(client: Client) -> None:
    assert client.ask("POST", "/gallery:export?collection=nowhere").code == "collection_not_found"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_request"),
        (b"{}\nno json\n", "invalid_request"),
        (b'{"type": "collection"}\n', "invalid_request"),
        (b"[1]\n", "invalid_request"),
        (b"x" * (MAX_BODY_BYTES + 200_000), "body_too_large"),
    ],
)
def test_what_is_no_export_is_refused(client: Client, body: bytes, code: str) -> None:
    assert client.ask("POST", "/gallery:import", body, content_type=NDJSON).code == code


def test_an_export_that_was_changed_on_the_way_is_refused_by_its_digest(client: Client, astronaut: bytes) -> None:
    assert client.enroll("eileen", astronaut, metadata={"flew": 1993}).status == 201
    exported = client.ask("POST", "/gallery:export").body
    assert b'"flew":1993' in exported
    changed = exported.replace(b'"flew":1993', b'"flew":1995')
    refused = client.ask("POST", "/gallery:import?collection=changed", changed, content_type=NDJSON)
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert "digest" in refused.json["detail"]
    assert "stays" in refused.json["detail"]
    assert client.get("/collections/changed").json["faces"] == 1
    client.erase("eileen")
    client.ask("DELETE", "/collections/changed")


def test_a_client_that_leaves_amid_an_import_may_begin_again(service: Running, client: Client) -> None:
    exported = client.ask("POST", "/gallery:export").body
    for _ in range(5):
        with service.socket() as connection:
            head = f"POST /gallery:import HTTP/1.1\r\nHost: x\r\nContent-Length: {len(exported) + 10}\r\n\r\n"
            connection.sendall(head.encode() + exported)
    assert client.ask("POST", "/gallery:import", exported, content_type=NDJSON).status == 200
