"""What clients get wrong, over a real socket: each a clean problem, and the service goes on."""

from __future__ import annotations

import json
import struct
import time
import zlib
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from gallery.local.gallery import LocalGallery
from tests.integration.running import Client, Running, encoded

PNG = b"\x89PNG\r\n\x1a\n"
JSON = "application/json"
NUL, LONG = "a\0b", "x" * 10_000
PATH_LIKE = ["../../etc/passwd", "..", "/etc/passwd", "a/b", "C:\\x", "%2e%2e%2f"]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def bmp(width: int, height: int) -> bytes:
    pixels = b"\x7f" * ((width * 3 + 3) // 4 * 4 * height)
    return (
        b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 54 + len(pixels), 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + pixels
    )


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", JSON, 422, "invalid_request"),
        (b"", "image/jpeg", 422, "invalid_image"),
        (b"", "multipart/form-data; boundary=b", 422, "invalid_request"),
        (b"{", JSON, 422, "invalid_request"),
        (b"[]", JSON, 422, "invalid_request"),
        (b"\xff\xfe{}", JSON, 422, "invalid_request"),
        (b'{"image": 7}', JSON, 422, "invalid_request"),
        (b'{"image": "!!!!"}', JSON, 422, "invalid_image"),
        (b'{"image": "AAAA\\nAAAA"}', JSON, 422, "invalid_image"),
        (b'{"image": "https://example.org/a.jpg"}', JSON, 422, "invalid_image"),
        (json.dumps({"image": encoded(b"a text, no picture")}).encode(), JSON, 415, "unsupported_media_type"),
        (json.dumps({"image": encoded(bmp(0, 0))}).encode(), JSON, 422, "invalid_image"),
        (b'{"image": "AAAA", "min_score": NaN}', JSON, 422, "invalid_request"),
        (b'{"image": "AAAA", "min_scoer": 0.5}', JSON, 422, "invalid_request"),
        (json.dumps({"images": ["AAAA"] * 9}).encode(), JSON, 422, "invalid_request"),
        (b"image=AAAA", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"<image/>", "text/xml", 415, "unsupported_media_type"),
        (b"--b\r\nContent-Dis", "multipart/form-data; boundary=b", 422, "invalid_request"),
        (b"anything", "multipart/form-data", 422, "invalid_request"),
        (png_header(30_000, 30_000), "image/png", 413, "image_too_large"),
    ],
)
def test_a_bad_body_is_a_problem(client: Client, body: bytes, content_type: str, status: int, code: str) -> None:
    answer = client.ask("POST", "/detect", body, content_type=content_type)
    assert (answer.status, answer.code) == (status, code), answer.body


def test_problems_name_the_field_and_do_not_repeat_the_image(client: Client, astronaut: bytes) -> None:
    answer = client.post("/detect", {"image": encoded(astronaut), "max_faces": "many", "return": [encoded(astronaut)]})
    assert {error["field"] for error in answer.json["errors"]} == {"max_faces", "return.0"}
    assert len(answer.body) < 1500


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_jpeg_is_never_a_face_less_answer(client: Client, astronaut: bytes, kept: float) -> None:
    answer = client.ask("POST", "/detect", astronaut[: int(len(astronaut) * kept)], content_type="image/jpeg")
    assert (answer.status, answer.code) == (422, "invalid_image")


def test_one_pixel_is_an_image_without_faces(client: Client) -> None:
    answer = client.ask("POST", "/detect", bmp(1, 1), content_type="image/bmp")
    assert (answer.status, answer.json["faces"]) == (200, [])


def test_a_bad_image_fails_alone_in_its_batch(client: Client, astronaut: bytes) -> None:
    answer = client.post("/detect", {"images": [encoded(astronaut), "!!!!", encoded(astronaut)]})
    assert answer.status == 200
    first, second, third = answer.json["results"]
    assert second["code"] == "invalid_image"
    assert first["faces"] == third["faces"] != []
    assert {first["request_id"], second["request_id"]} == {answer.headers["x-request-id"]}


def test_a_threshold_that_is_no_number(client: Client, astronaut: bytes) -> None:
    for path, text in (("/recognize", "NaN"), ("/verify", "Infinity"), ("/annotate", "1e999")):
        body = f'{{"image": "{encoded(astronaut)}", "threshold": {text}}}'.encode()
        assert client.ask("POST", path, body, content_type=JSON).code == "invalid_request"
    assert (
        client.ask("POST", "/recognize?threshold=nan", astronaut, content_type="image/jpeg").code == "invalid_request"
    )
    metadata = f'{{"image": "{encoded(astronaut)}", "identity": "a", "metadata": {{"a": NaN}}}}'.encode()
    assert client.ask("POST", "/gallery", metadata, content_type=JSON).code == "invalid_request"


def test_a_gigantic_image_is_refused_by_its_header(service: Running, client: Client) -> None:
    worker = psutil.Process(client.worker)
    before = worker.memory_info().rss
    for _ in range(20):
        assert client.ask("POST", "/detect", png_header(30_000, 30_000), content_type="image/png").status == 413
    assert worker.memory_info().rss - before < 8 * 2**20  # its pixels would be 2.7 GB


@pytest.mark.parametrize("head", ["Content-Length: 50000000", "Transfer-Encoding: chunked"])
def test_a_50_mb_body_is_refused_and_not_kept(service: Running, client: Client, head: str) -> None:
    before = {pid: psutil.Process(pid).memory_info().rss for pid in service.worker_pids()}
    block = b"x" * 500_000
    with service.socket() as connection:
        connection.sendall(f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n{head}\r\n\r\n".encode())
        for _ in range(100):
            connection.sendall(b"%x\r\n%b\r\n" % (len(block), block) if "chunked" in head else block)
        answer = connection.makefile("rb").read()  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer
    after = {pid: psutil.Process(pid).memory_info().rss for pid in service.worker_pids()}
    assert max(after[pid] - before[pid] for pid in before) < 16 * 2**20


def test_a_refused_length_is_not_waited_for(service: Running) -> None:
    with service.socket() as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_slow_body_times_out(service: Running) -> None:
    with service.socket() as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        began = time.monotonic()
        connection.settimeout(0.3)
        answer = b""
        while not answer and time.monotonic() - began < 10:
            connection.send(b" ")
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_leaves_amid_its_upload_harms_nobody(service: Running, client: Client) -> None:
    failures = failed(client)
    for _ in range(20):
        with service.socket() as connection:
            connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000)
    assert client.get("/readyz").status == 200
    assert failed(client) == failures


def failed(client: Client) -> list[str]:
    return [line for line in client.get("/metrics").body.decode().splitlines() if 'status="500"' in line]


@pytest.mark.parametrize("name", [NUL, LONG, "", "a/b", "\u202e\n"])
def test_a_name_that_cannot_be_enrolled(client: Client, astronaut: bytes, name: str) -> None:
    assert client.enroll(name, astronaut).code == "invalid_request"


@pytest.mark.parametrize("name", [NUL, LONG, *PATH_LIKE])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_strange_name_in_the_path_finds_nobody(client: Client, method: str, name: str) -> None:
    answer = client.ask(method, f"/gallery/{quote(name, safe='')}")
    assert (answer.status, answer.code) in [
        (404, "identity_not_found"),
        (404, "not_found"),
        (422, "invalid_request"),
    ]


def test_unknown_collection_and_identity(client: Client, astronaut: bytes) -> None:
    image = encoded(astronaut)
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("/recognize", {"image": image, "collection": "nowhere"}, "collection_not_found"),
        ("/recognize", {"images": [image], "collection": "nowhere"}, "collection_not_found"),
        ("/gallery", {"image": image, "identity": "a", "collection": "nowhere"}, "collection_not_found"),
        ("/verify", {"image": image, "identity": "nobody"}, "identity_not_found"),
    ]
    for path, content, code in asked:
        answer = client.post(path, content)
        assert (answer.status, answer.code) == (404, code)
    assert client.get("/gallery/nobody").code == "identity_not_found"
    assert client.get("/collections/nowhere").code == "collection_not_found"
    assert client.get("/gallery?cursor=garbage").code == "invalid_request"
    assert client.get("/gallery?limit=many").json["errors"][0]["field"] == "limit"


def test_a_collection_of_another_model(service: Running, client: Client, astronaut: bytes) -> None:
    with LocalGallery(service.data_dir / "gallery") as gallery:
        gallery.create_collection("foreign", "another model's digest", 256)
    for path, options in (("/recognize", {}), ("/gallery", {"identity": "a"})):
        answer = client.post(path, {"image": encoded(astronaut), "collection": "foreign"} | options)
        assert (answer.status, answer.code) == (409, "model_mismatch")
    assert client.ask("DELETE", "/collections/foreign").status == 200


def test_a_reused_key_with_another_body(client: Client, astronaut: bytes, hopper: bytes) -> None:
    first = client.ask("POST", "/gallery?identity=keyed", astronaut, content_type="image/jpeg", idempotency_key="k1")
    again = client.ask("POST", "/gallery?identity=keyed", astronaut, content_type="image/jpeg", idempotency_key="k1")
    other = client.ask("POST", "/gallery?identity=keyed", hopper, content_type="image/jpeg", idempotency_key="k1")
    assert (first.status, again.status) == (201, 201)
    assert again.json == first.json | {"warnings": None}
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert client.erase("keyed").json["faces"] == 1


def test_enrolment_takes_one_face(client: Client, group: bytes) -> None:
    assert client.enroll("both", group).code == "multiple_faces"
    assert client.enroll("nobody", bmp(64, 64)).code == "face_not_found"
    assert client.get("/gallery/both").status == 404


def test_unknown_routes_and_methods(client: Client) -> None:
    assert client.get("/nowhere").code == "not_found"
    assert client.get("/detect/").code == "not_found"
    refused = client.ask("PUT", "/gallery")
    assert (refused.code, refused.headers["allow"]) == ("method_not_allowed", "GET, POST")
