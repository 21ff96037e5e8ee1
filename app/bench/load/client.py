"""The clients of a loaded service: processes that drive it at the same time, for a given time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import orjson

from app.bench.client import Drive, Sent, drive, image_request
from app.bench.processes import Child, answer_each, child
from app.bench.statistics import Json

ROUTE = "/recognize"
MOST_PROCESSES = 4
OUTSIDE = "outside"
"""What a client waits beyond the service's own `total`: the way there and back, and waiting at both ends."""
KEEP_EVERY = 20
"""Of so many answers one is parsed, once the clock has stopped."""


class Clients:
    """Processes that share the connections among them. For one thread."""

    def __init__(self, processes: Sequence[Child], connections: int) -> None:
        self._shares = [
            (process, connections // len(processes) + (number < connections % len(processes)))
            for number, process in enumerate(processes)
        ]

    def drive(self, port: int, photos: Sequence[Path], seconds: float) -> Json:
        """All connections send the photos in turns for `seconds`, then wait for what is under way.

        Told are `seconds` from the first request to the last answer, all `statuses`, `latencies_ms` of the answers
        with 200, what the kept ones said (`answers`: `timings_ms` and number of `faces`), and `client_share`: how busy
        the busiest client's core was. Raises BenchError when the service hung up on one of them.
        """
        for process, connections in self._shares:
            process.tell(port=port, photos=[str(photo) for photo in photos], seconds=seconds, connections=connections)
        done: list[Json] = [process.hear() for process, _ in self._shares]
        statuses: dict[str, int] = {}
        for part in done:
            for status, times in part["statuses"].items():
                statuses[status] = statuses.get(status, 0) + times
        return {
            "seconds": max(part["seconds"] for part in done),
            "statuses": statuses,
            "latencies_ms": [latency for part in done for latency in part["latencies_ms"]],
            "answers": [answer for part in done for answer in part["answers"]],
            "client_share": max(part["client_share"] for part in done),
        }


@contextmanager
def open_clients(cores: Sequence[int] | None, connections: int) -> Iterator[Clients]:
    """A client process a core, few enough that each has a connection; one process where nothing can be bound."""
    places: Sequence[int | None] = [None] if cores is None else cores[: min(MOST_PROCESSES, connections)]
    with ExitStack() as stack:
        processes = [stack.enter_context(child(core, "app.bench.load.client")) for core in places]
        yield Clients(processes, connections)


def _for(seconds: float, requests: Iterator[bytes]) -> Iterator[bytes]:
    """Counts from the first request, which is always sent."""
    deadline = time.perf_counter() + seconds
    yield next(requests)
    while time.perf_counter() < deadline:
        yield next(requests)


def _told(done: Drive, cpu_s: float) -> Json:
    return {
        "seconds": done.seconds,
        "statuses": done.statuses,
        "latencies_ms": [sent.latency_ms for sent in done.sent if sent.status == 200],
        "answers": [_read(sent, answer) for sent, answer in done.kept if sent.status == 200],
        "client_share": cpu_s / done.seconds,
    }


def _read(sent: Sent, answer: bytes) -> Json:
    body = orjson.loads(answer.partition(b"\r\n\r\n")[2])
    timings = body["timings_ms"]
    return {"timings_ms": timings | {OUTSIDE: sent.latency_ms - timings["total"]}, "faces": len(body["faces"])}


def main() -> None:
    """Answers `{"port", "photos", "seconds", "connections"}` with what became of the requests."""
    written: dict[str, bytes] = {}

    def answer(asked: Json) -> Json:
        for photo in asked["photos"]:
            if photo not in written:
                written[photo] = image_request(ROUTE, Path(photo).read_bytes())
        cpu_start = time.process_time()
        requests = _for(asked["seconds"], cycle(written[photo] for photo in asked["photos"]))
        done = drive(asked["port"], [requests] * asked["connections"], KEEP_EVERY)
        return _told(done, time.process_time() - cpu_start)

    answer_each(answer)


if __name__ == "__main__":
    main()
