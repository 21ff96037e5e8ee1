"""The HTTP surface around a small service made for the purpose: ids, the key, problems, limits, metrics."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import uvicorn

from app.errors import FaceNotDetectedError
from app.main import create_app
from app.schemas import DetectOptions
from app.settings import Settings
from gallery.types import StorageError
from tests.integration.running import Answer, Client

ANSWER = {"faces": [], "timings_ms": {"total": 1.0}}
Detect = Callable[[bytes, DetectOptions], Any]


class SmallService:
    """Answers /detect as it is told, and is ready or not."""

    def __init__(self, detect: Detect) -> None:
        self.detect = detect
        self.reasons: list[str] = []
        self.dimension = 4

    def reasons_not_ready(self) -> list[str]:
        return self.reasons


def answering(data: bytes, options: DetectOptions) -> Any:
    return json.loads(json.dumps(ANSWER))


@contextmanager
def served(detect: Detect = answering, reasons: tuple[str, ...] = (), **settings: Any) -> Iterator[int]:
    """The port of the application on a real server, in a thread of this process."""
    service = SmallService(detect)
    service.reasons.extend(reasons)

    @contextmanager
    def opener(_: Settings) -> Iterator[Any]:
        yield service

    app = create_app(Settings(**settings), opener)
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", ws="none", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def client_of(*args: Any, **settings: Any) -> Iterator[Client]:
    with served(*args, **settings) as port, closing(Client(port)) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with client_of() as client:
        yield client


def detect(client: Client, **headers: str) -> Answer:
    return client.post("/detect", {"image": "AAAA"}, **headers)


def test_a_given_request_id_is_kept(client: Client) -> None:
    answer = detect(client, x_request_id="my-id_1.2")
    assert (answer.json["request_id"], answer.headers["x-request-id"]) == ("my-id_1.2", "my-id_1.2")


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", "<script>"])
def test_a_request_id_that_is_not_sane_is_replaced(client: Client, given: str) -> None:
    answer = detect(client, x_request_id=given)
    request_id = answer.headers["x-request-id"]
    assert answer.json["request_id"] == request_id
    assert len(bytes.fromhex(request_id)) == 16


def test_every_answer_has_its_own_id(client: Client) -> None:
    assert len({client.get(path).headers["x-request-id"] for path in ("/healthz", "/nowhere", "/docs") * 3}) == 9


def test_the_queue_is_part_of_the_total(client: Client) -> None:
    timings = detect(client).json["timings_ms"]
    assert timings["total"] == pytest.approx(1 + timings["queue"], abs=0.01)


def test_a_failure_reveals_nothing_and_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes, options: DetectOptions) -> Any:
        raise RuntimeError("the password is hunter2")

    with client_of(fail) as client, caplog.at_level(logging.ERROR):
        alone = detect(client)
        batch = client.post("/detect", {"images": ["AAAA"]})
    assert (alone.status, alone.json["code"]) == (500, "internal")
    assert b"hunter2" not in alone.body + batch.body
    assert b"RuntimeError" not in alone.body + batch.body
    for answer in (alone, batch):
        record = next(record for record in caplog.records if answer.headers["x-request-id"] in record.message)
        assert "hunter2" in str(record.exc_info)


def test_a_gallery_that_is_away_is_told_in_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes, options: DetectOptions) -> Any:
        raise StorageError("Milvus at milvus://host:1 cannot be reached")

    with client_of(fail) as client, caplog.at_level(logging.ERROR):
        answer = detect(client)
    assert (answer.status, answer.json["code"]) == (503, "not_ready")
    assert b"host" not in answer.body
    (record,) = (record for record in caplog.records if answer.headers["x-request-id"] in record.message)
    assert record.message.endswith("failed: Milvus at milvus://host:1 cannot be reached")
    assert not record.exc_info


def test_results_of_a_batch_are_answers_or_problems_in_order() -> None:
    def by_content(data: bytes, options: DetectOptions) -> Any:
        if data == b"\0\0\0":
            raise FaceNotDetectedError("nobody")
        return {"faces": [data.hex()], "timings_ms": {"total": 0.0}}

    with client_of(by_content) as client:
        results = client.post("/detect", {"images": ["AAAB", "AAAA", "AAAC"]}).json["results"]
    assert [result.get("faces", result.get("code")) for result in results] == [["000001"], "face_not_found", ["000002"]]


def test_more_requests_than_admitted_are_told_to_come_back() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def block(data: bytes, options: DetectOptions) -> Any:
        inside.set()
        assert go_on.wait(10)
        return answering(data, options)

    answers: list[Answer] = []
    with served(block, max_pending=1) as port, closing(Client(port)) as one, closing(Client(port)) as other:
        first = threading.Thread(target=lambda: answers.append(detect(one)))
        first.start()
        assert inside.wait(10)
        refused = detect(other)
        assert other.get("/healthz").status == 200
        go_on.set()
        first.join()
    assert (refused.status, refused.json["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert answers[0].status == 200


def test_a_late_answer_is_a_504() -> None:
    go_on = threading.Event()

    def block(data: bytes, options: DetectOptions) -> Any:
        go_on.wait(10)
        return answering(data, options)

    with client_of(block, request_timeout_s=0.05) as client:
        answer = detect(client)
        go_on.set()
    assert (answer.status, answer.json["code"]) == (504, "timeout")


def test_not_ready_gives_the_reasons() -> None:
    with client_of(reasons=("the gallery cannot be read",)) as client:
        answer = client.get("/readyz")
    assert (answer.status, answer.json["code"]) == (503, "not_ready")
    assert answer.json["detail"] == "the gallery cannot be read"
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic c2VjcmV0"}, 401),
        ({"x_api_key": ""}, 401),
        ({"x_api_key": "secret2"}, 401),
        ({"authorization": "Bearer secret"}, 200),
        ({"authorization": "bearer secret"}, 200),
        ({"x_api_key": "secret"}, 200),
    ],
)
def test_the_key(headers: dict[str, str], status: int) -> None:
    with client_of(api_key="secret") as client:
        answer = detect(client, **headers)
        assert answer.status == status
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json["code"] == "unauthorized"
            assert b"secret" not in answer.body


def test_what_is_open_without_the_key() -> None:
    with client_of(api_key="secret") as client:
        for path in ("/healthz", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json"):
            assert client.get(path).status == 200, path
        for path in ("/metrics", "/info", "/models", "/gallery", "/docs_", "/nowhere"):
            assert client.get(path).status == 401, path


def test_metrics_count_rejections_and_faces(client: Client) -> None:
    client.post("/detect", {"image": 7})
    text = client.get("/metrics").body.decode()
    assert 'faceserve_rejected_total{code="invalid_request"}' in text
    assert 'faceserve_faces_total{route="/detect"}' in text
    assert 'faceserve_request_seconds_count{route="/detect"}' in text
