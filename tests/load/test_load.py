"""`faceserve bench load`: that it runs and what it writes; how its parts read what they are given."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.bench.load import photos, service, tables
from app.bench.load.client import Clients, open_clients
from app.bench.load.command import places_for
from app.bench.load.measure import Places, targets
from app.bench.load.usage import GpuWatch, Usage
from app.bench.pinned import cores_in
from app.bench.processes import BenchError
from engines.load import load_engine
from engines.models import SHIPPED
from engines.single_shot import SingleShotDetector
from tests.command import Done

PNG = b"\x89PNG\r\n\x1a\n"
Bench = Callable[..., Done]
ANSWER = {"timings_ms": {"queue": 1.0, "decode": 2.0, "total": 3.0}, "faces": [{}, {}]}


def test_quick_load(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_DEVICE", "cpu")
    monkeypatch.setenv("FACESERVE_API_KEY", "secret")
    done = bench("load", "--quick", "--out", tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "load.png").read_bytes().startswith(PNG)
    written = (tmp_path / "load.json").read_text()
    assert "secret" not in written
    told = json.loads(written)["load"]
    assert told["settings"]["FACESERVE_DEVICE"] == "cpu"

    (combination,) = told["combinations"]
    assert (combination["workers"], combination["pipeline_threads"]) == (1, 2)
    assert 0 < combination["cold_start_s"] <= combination["all_ready_s"]
    assert set(combination["engines"]) == {"detector_640x640", "detector_192x192", "embedder"}
    ((name, row),) = combination["rows"].items()
    assert name == "640x480, 1 face"
    assert row["failed"] == 0
    assert row["statuses"]["200"] >= 4
    assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
    assert row["mean_rows"].keys() == combination["engines"].keys()
    assert all(1 <= rows <= 4 for rows in row["mean_rows"].values())
    assert row["faces"] == 1
    timings = row["timings_ms"]
    assert 0 < timings["decode"] + timings["detect"] + timings["embed"] <= timings["total"]
    assert timings["outside"] > 0
    if sys.platform == "linux":
        assert row["resident_bytes"] > 50 * 2**20
        assert row["cores_busy"] > 0
    assert "/recognize, 640x480, 1 face" in done.out


def test_a_service_that_cannot_start_is_told(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_DETECTOR", "unheard_of")
    done = bench("load", "--quick", "--out", tmp_path)
    assert done.code == 1
    assert "nothing was measured" in done.err
    assert "service: faceserve cannot start: no model 'unheard_of'" in done.err
    assert (
        "ended with exit code" in json.loads((tmp_path / "load.json").read_bytes())["load"]["combinations"][0]["error"]
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workers", "1,x"], "expected numbers from 1 up"),
        (["--sizes", "640"], "expected width x height"),
        (["--server-cores", "a-b"], "cores are given as in 0-11"),
        (["--client-cores", "9999"], "may not use the cores [9999]"),
    ],
)
def test_flags_that_make_no_sense(bench: Bench, flags: list[str], said: str, tmp_path: Path) -> None:
    done = bench("load", *flags, "--out", tmp_path)
    assert done.code == 2
    assert said in done.err


@pytest.fixture(scope="module")
def detector() -> Iterator[SingleShotDetector]:
    detector = SingleShotDetector(
        [load_engine(SHIPPED / "retinaface_mnet025" / f"{size}.onnx") for size in ("640x640", "192x192")]
    )
    yield detector
    detector.close()


def test_made_photos_show_what_they_should(tmp_path: Path, detector: SingleShotDetector) -> None:
    sets = photos.make(tmp_path, [(640, 480), (1280, 960)], [1, 5])
    assert list(sets) == ["640x480, 1 face", "640x480, 5 faces", "1280x960, 1 face", "1280x960, 5 faces"]
    for name, files in sets.items():
        for file in files:
            image = np.asarray(cv2.imread(str(file)), np.uint8)
            assert f"{image.shape[1]}x{image.shape[0]}" == name.partition(",")[0]
            assert len(detector.detect(image)) == int(name.split()[1]), file
            assert 50_000 < file.stat().st_size < 400_000
    assert len({file.read_bytes() for files in sets.values() for file in files}) == 8


def test_made_photos_are_the_same_every_time(tmp_path: Path) -> None:
    made = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        made.append([file.read_bytes() for files in photos.make(folder, [(320, 240)], [3]).values() for file in files])
    assert made[0] == made[1]


@pytest.mark.parametrize(("text", "cores"), [("3", [3]), ("0-3", [0, 1, 2, 3]), ("0-1,6,8-9", [0, 1, 6, 8, 9])])
def test_cores(text: str, cores: list[int]) -> None:
    assert cores_in(text) == cores


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-2"])
def test_no_cores(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no core|invalid literal"):
        cores_in(text)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs cores to bind to")
@pytest.mark.parametrize(
    ("asked", "server", "clients"),
    [
        ((None, None), "0,1,2,3,4,5", [6, 7]),
        (("4-7", None), "4,5,6,7", [2, 3]),
        ((None, "0-2"), "3,4,5,6,7", [0, 1, 2]),
        (("0-7", None), "0,1,2,3,4,5,6,7", [*range(8)]),
    ],
)
def test_nobody_has_cores_that_the_other_was_given(
    asked: tuple[str | None, str | None], server: str, clients: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert places_for(*asked) == Places(server, clients)


class Recognizer(socketserver.StreamRequestHandler):
    """Answers every third request with 503, the others with ANSWER."""

    def handle(self) -> None:
        while self.rfile.readline():
            length = 0
            while (header := self.rfile.readline()) != b"\r\n":
                name, _, value = header.decode().partition(":")
                length = int(value) if name == "content-length" else length
            self.rfile.read(length)
            busy = next(self.server.numbers) % 3 == 2  # type: ignore[attr-defined]
            body = b"{}" if busy else json.dumps(ANSWER).encode()
            self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (503 if busy else 200, len(body)) + body)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recognizer)
        self.numbers = iter(range(10**9))


@pytest.fixture
def port() -> Iterator[int]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def test_clients_share_the_connections_and_tell_failures(port: int, samples: Path) -> None:
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    with open_clients(None if core is None else [core, core], 3) as clients:
        told = clients.drive(port, [samples / "face.jpg"], 0.5)
        assert told["seconds"] > 0
        answered, refused = told["statuses"]["200"], told["statuses"]["503"]
        assert abs(answered - 2 * refused) <= 2
        assert len(told["latencies_ms"]) == answered
        assert told["answers"][0]["faces"] == 2
        assert told["answers"][0]["timings_ms"]["decode"] == 2
        assert told["client_share"] > 0
        assert clients.drive(port, [samples / "face.jpg"], 0.05)["statuses"]["200"] > 0


def test_clients_of_nobody_are_an_error(port: int, samples: Path) -> None:
    with pytest.raises(BenchError, match="ended with exit code 1"), open_clients(None, 2) as clients:
        clients.drive(1, [samples / "face.jpg"], 0.1)


@pytest.mark.parametrize(("processes", "connections"), [(1, 64), (3, 64), (4, 5)])
def test_every_connection_has_a_process(processes: int, connections: int) -> None:
    asked: list[int] = []

    class Told:
        def tell(self, **question: Any) -> None:
            asked.append(question["connections"])

        def hear(self) -> Any:
            return {"seconds": 1.0, "statuses": {"200": 2}, "latencies_ms": [1.0], "answers": [], "client_share": 0.5}

    told = Clients([Told()] * processes, connections).drive(0, [], 1.0)  # type: ignore[list-item]
    assert sum(asked) == connections
    assert max(asked) - min(asked) <= 1
    assert told["statuses"] == {"200": 2 * processes}


def test_rows_a_run_are_those_between_two_readings() -> None:
    registry = CollectorRegistry()
    rows = Histogram("faceserve_batch_rows", "Rows of one engine run", ["engine"], registry=registry)

    def read() -> dict[str, tuple[float, float]]:
        return service.batches_in(generate_latest(registry).decode())

    rows.labels("detector_640x640").observe(30)
    before = read()
    for count in (2, 4):
        rows.labels("detector_640x640").observe(count)
    rows.labels("embedder").observe(5)
    assert before == {"detector_640x640": (30, 1)}
    assert service.mean_rows(before, read()) == {"detector_640x640": 3, "embedder": 5}
    assert service.mean_rows(read(), read()) == {}


def test_the_service_keeps_plans_and_models_but_not_the_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESERVE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FACESERVE_PORT", "1")
    monkeypatch.setenv("FACESERVE_CONTEXTS", "3")
    env = service.environment(tmp_path / "own", workers=4)
    assert env["FACESERVE_DATA_DIR"] == str(tmp_path / "own")
    assert env["FACESERVE_PLANS_DIR"] == str(tmp_path / "data" / "plans")
    assert (env["FACESERVE_WORKERS"], env["FACESERVE_CONTEXTS"]) == ("4", "3")
    assert "FACESERVE_PORT" not in env
    monkeypatch.setenv("FACESERVE_PLANS_DIR", str(tmp_path / "plans"))
    assert service.environment(tmp_path)["FACESERVE_PLANS_DIR"] == str(tmp_path / "plans")


def test_gpu_samples() -> None:
    watch = GpuWatch()
    watch.read("0, 99, 9999\n")
    begun = watch.samples[0].at
    for line in ("0, 40, 1000\n", "1, 10, 500\n", "0, 60, 1200\n", "1, [N/A], 500\n", "\n", "No devices were found\n"):
        watch.read(line)
    assert watch.between(np.nextafter(begun, np.inf), watch.samples[-1].at) == {
        "0": {"busy_percent": 50, "used_mib": 1200},
        "1": {"busy_percent": 10, "used_mib": 500},
    }
    assert watch.between(0, np.nextafter(begun, 0)) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_usage_grows_with_work() -> None:
    before = Usage.of(os.getpid())
    while (after := Usage.of(os.getpid())).cpu_s < before.cpu_s + 0.02:
        sum(range(10_000))
    assert after.cpu_s >= before.cpu_s + 0.02
    assert after.resident_bytes > 10 * 2**20


def told_of(rate: float, *, device: str, failed: int = 0) -> dict[str, Any]:
    row = {"requests_per_s": {"median": rate}, "failed": failed}
    engines = {"embedder": {"runtime": "any", "device": device}}
    done = {"workers": 1, "cold_start_s": 3.0, "engines": engines, "rows": {"640x480, 1 face": row}}
    return {"combinations": [{"workers": 2, "error": "died"}, done]}


def test_the_promises_of_a_gpu_hold_on_a_gpu_only() -> None:
    assert [(target.found, target.met) for target in targets(told_of(10, device="cpu"))] == [(0, True)]
    assert [target.met for target in targets(told_of(2100, device="cuda:0"))] == [True, True, True]
    assert [target.met for target in targets(told_of(1900, device="cuda:0", failed=1))] == [False, False, True]
    with pytest.raises(BenchError, match="nothing was measured: died"):
        targets({"combinations": [{"workers": 2, "error": "died"}]})


def test_failures_are_shown() -> None:
    assert tables.failures({"statuses": {"200": 5}}) == "–"
    assert tables.failures({"statuses": {"503": 2, "200": 5, "413": 1}}) == "413: 1, 503: 2"
    assert [tables.short(name) for name in ("detector_640x640", "detector_192x192", "embedder")] == [
        "d640",
        "d192",
        "e",
    ]
