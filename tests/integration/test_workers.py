"""Worker processes: they agree, they are replaced when they die, and they end gracefully."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.integration.running import (
    LOG,
    Answer,
    Client,
    Running,
    encoded,
    free_port,
    launch,
    running,
    wait_for,
    wait_until_ready,
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


def test_what_one_worker_learns_the_other_knows_at_once(service: Running, astronaut: bytes) -> None:
    with service.one_client_a_worker(2) as (one, other):
        assert other.names(astronaut) == [None]
        for _ in range(3):
            assert one.enroll("learned", astronaut).status == 201
            assert other.names(astronaut) == ["learned"]
            assert other.erase("learned").status == 200
            assert one.names(astronaut) == [None]


def test_metrics_are_summed_over_the_workers(service: Running, astronaut: bytes) -> None:
    with service.one_client_a_worker(2) as (one, other):
        before = counted(one, 'faceserve_requests_total{route="/detect",status="200"}')
        for client in (one, other, other):
            assert client.ask("POST", "/detect", astronaut, content_type="image/jpeg").status == 200
        for client in (one, other):  # a request is counted once its answer is out
            wait_for(
                lambda ask=client: counted(ask, 'faceserve_requests_total{route="/detect",status="200"}') == before + 3
            )
        wait_for(lambda: counted(one, "faceserve_requests_in_flight") == 1)


def test_labels_are_templates_not_what_clients_send(client: Client) -> None:
    for number in range(5):
        client.get(f"/gallery/somebody-{number}")
        client.get(f"/somewhere-{number}")
    text = client.get("/metrics").body.decode()
    assert 'route="/gallery/{identity}",status="404"' in text
    assert "somebody" not in text
    assert "somewhere" not in text


def test_a_killed_worker_is_replaced_and_nothing_is_forgotten(service: Running, astronaut: bytes) -> None:
    with service.client() as client:
        assert client.enroll("alice", astronaut).status == 201
        killed = client.worker
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: killed not in service.worker_pids() and len(service.worker_pids()) == 2)
    with service.one_client_a_worker(2) as clients:
        for client in clients:
            assert client.names(astronaut) == ["alice"]
        first = clients[0]
        wait_for(lambda: counted(first, "faceserve_requests_in_flight") == 1)  # the dead one's are not in it
        assert first.erase("alice").status == 200
    assert f"worker {killed} ended by SIGKILL and is replaced" in service.log


def test_requests_under_way_are_answered_before_the_end(data_dir: Path, astronaut: bytes) -> None:
    answers: list[Answer] = []
    with running(data_dir) as service, service.client() as client:

        def ask() -> None:
            answers.append(client.post("/detect", {"images": [encoded(astronaut)] * 20}))

        asking = threading.Thread(target=ask)
        asking.start()
        with service.client() as other:
            wait_for(lambda: counted(other, "faceserve_requests_in_flight") == 2)
        assert service.stop() == 0
        asking.join()
        assert [len(result["faces"]) for result in answers[0].json["results"]] == [1] * 20
        assert "Traceback" not in service.log
        assert not psutil.pid_exists(service.process.pid)


def test_port_0_takes_a_free_port_and_prints_it_and_ctrl_c_ends_the_service_quietly(data_dir: Path) -> None:
    process = launch(data_dir, port=0, runtime="onnxruntime")
    try:
        log = data_dir / LOG
        wait_for(lambda: "FaceServe is ready: http://127.0.0.1:" in log.read_text())
        port = int(log.read_text().rpartition(":")[2].removesuffix("/docs\n"))
        service = Running(process, port, data_dir)
        wait_until_ready(service)
        for pid in (process.pid, *service.worker_pids()):  # as a terminal does
            os.kill(pid, signal.SIGINT)
        assert process.wait(timeout=20) == 0
        chosen, ready = service.log.splitlines()
        assert "INFO" in chosen
        assert "the models run on onnxruntime, device cpu" in chosen
        assert ready == f"FaceServe is ready: http://127.0.0.1:{port}/docs"
    finally:
        process.kill()
        process.wait()


def test_workers_do_not_outlive_a_killed_parent(data_dir: Path) -> None:
    with running(data_dir, workers=2) as service:
        orphans = [psutil.Process(pid) for pid in service.worker_pids()]
        service.process.kill()
        _, alive = psutil.wait_procs(orphans, timeout=20)
        assert not alive


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"detector": "nothing", "workers": 2}, "nothing"),
        ({"runtime": "onnxruntime", "device": "cuda:99"}, "cuda:99"),
        ({"runtime": "tensorrt", "device": "cuda:99"}, r"cuda:99|pip install 'faceserve\[tensorrt\]'"),
        ({"device": "cuda:99"}, "cuda:99"),
    ],
)
def test_a_failed_start_says_why_and_ends(data_dir: Path, settings: dict[str, object], told: str) -> None:
    process = launch(data_dir, port=free_port(), **settings)
    assert process.wait(timeout=30) == 3
    log = (data_dir / LOG).read_text()
    assert re.search(told, log)
    assert "Traceback" not in log


def test_a_taken_port_is_told(service: Running, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for port in (service.port, listener.getsockname()[1]):
            process = launch(data_dir, port=port)
            assert process.wait(timeout=30) == 3
            assert f"cannot listen on 127.0.0.1:{port}" in (data_dir / LOG).read_text()


def test_the_parent_stays_light() -> None:
    heavy = {"cv2", "numpy", "onnx", "onnxruntime", "faiss", "fastapi", "starlette", "uvicorn", "prometheus_client"}
    code = f"import sys, app.server, app.cli; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def counted(client: Client, name: str) -> float:
    lines = client.get("/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
