"""The service against the bare loop: photos a second under load, and how long one client waits for one photo."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pybase64

from app.bench.processes import BenchError, Child, Cores, Server, child, server
from app.bench.statistics import Json, Summary, Target, by_photo, percentiles, ratios

CLIENTS = (1, 4, 8, 16)
SHARE, WAIT = 0.90, 1.10
BARE, ONE_SCALE, ALONE = "bare", "one_scale", "alone"
ASKED = {BARE: "recognize", ONE_SCALE: "one_scale", ALONE: "alone"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float


class Contest:
    """The service, the bare loop and a client, each in a process of its own and on the same photos."""

    def __init__(self, running: Server, loop: Child, client: Child, photos: Sequence[Path]) -> None:
        self._server, self._loop, self._client = running, loop, client
        self._photos = [str(photo) for photo in photos]

    def run(self, contender: str | int, passes: int) -> Json:
        """`passes` times all photos, and a request a client at least: by so many clients, or by one of the bare loop's
        tasks."""
        count = passes * len(self._photos)
        if isinstance(contender, str):
            answer: Json = self._loop.ask(do=ASKED[contender], count=count)
            return answer
        return load(self._client, self._server.port, "/recognize", self._photos, contender, max(count, contender))


def load(client: Child, port: int, route: str, photos: Sequence[str], connections: int, count: int) -> Json:
    """One round of the client. Raises BenchError unless every answer was a 200."""
    asked = {"port": port, "route": route, "photos": photos, "connections": connections, "count": count}
    answer: Json = client.ask(**asked)
    if set(answer["statuses"]) != {"200"}:
        raise BenchError(f"{route} answered with statuses {answer['statuses']}, only 200 can be measured")
    return answer


def measure(photos: Sequence[Path], cores: Cores, plan: Plan, data_dir: Path) -> Json:
    """Rounds in which everyone has a turn, in an order that changes."""
    names = [str(photo) for photo in photos]
    with (
        server(cores.work, "app.cli", "serve", data_dir=data_dir) as running,
        child(cores.client, "app.bench.client") as client,
    ):
        enrolled = enrol(running, photos)
        with child(cores.work, "app.bench.bare", *names, FACESERVE_DATA_DIR=str(data_dir)) as loop:
            contest = Contest(running, loop, client, photos)
            contenders: list[str | int] = [BARE, ONE_SCALE, ALONE, *CLIENTS]
            passes = _passes(contest, contenders, plan.seconds)
            rounds = []
            for number in range(plan.rounds):
                order = random.Random(number).sample(contenders, len(contenders))
                rounds.append({contender: contest.run(contender, passes) for contender in order})
    return _told(rounds, names, {"passes": passes, "enrolled": enrolled})


def enrol(running: Server, photos: Sequence[Path]) -> int:
    """Everyone who is alone on a photo, so that there is someone to search for; returns how many."""
    enrolled = 0
    for photo in photos:
        body = {"identity": photo.stem, "image": pybase64.b64encode(photo.read_bytes()).decode()}
        status, answer = running.request("POST", "/gallery", body)
        enrolled += status in (200, 201)
        if status >= 400 and answer["code"] not in ("multiple_faces", "face_not_found"):
            raise BenchError(f"{photo.name} could not be enrolled: {answer}")
    return enrolled


def _passes(contest: Contest, contenders: Sequence[str | int], seconds: float) -> int:
    """Warms everyone, and chooses a number of passes over the photos that takes the bare loop `seconds`."""
    for contender in contenders:
        contest.run(contender, 1)
    return max(1, round(seconds / float(contest.run(BARE, 1)["seconds"])))


def _told(rounds: Sequence[dict[str | int, Json]], names: Sequence[str], facts: Json) -> Json:
    rates = {
        contender: [len(done["latencies_ms"]) / done["seconds"] for done in (turn[contender] for turn in rounds)]
        for contender in rounds[0]
    }
    service = {}
    for clients in CLIENTS:
        latencies = [value for turn in rounds for value in turn[clients]["latencies_ms"]]
        service[str(clients)] = {
            "photos_per_s": asdict(Summary.of(rates[clients])),
            "to_bare": asdict(ratios(rates[clients], rates[BARE])),
            "latency_ms": percentiles(latencies),
        }
    return facts | {
        "photos": [Path(name).name for name in names],
        "core_share": asdict(Summary.of(turn[BARE]["core_share"] for turn in rounds)),
        "bare_photos_per_s": asdict(Summary.of(rates[BARE])),
        "bare_latency_ms": percentiles([value for turn in rounds for value in turn[BARE]["latencies_ms"]]),
        "service": service,
        "one_client": _one_client(rounds, names),
        "small_scale": {
            "one_scale_photos_per_s": asdict(Summary.of(rates[ONE_SCALE])),
            "cost": asdict(ratios(rates[ONE_SCALE], rates[BARE])),
        },
    }


def _one_client(rounds: Sequence[dict[str | int, Json]], names: Sequence[str]) -> Json:
    """One client's median wait for each photo over decoding and networks alone, and the ratio of the sums."""
    rows, in_rounds = [], []
    for turn in rounds:
        waits, nets = (_medians(turn[contender]["latencies_ms"], len(names)) for contender in (1, ALONE))
        rows.append((waits, nets))
        in_rounds.append(sum(waits) / sum(nets))
    waits, nets = (np.median(part, axis=0).tolist() for part in zip(*rows, strict=True))
    photos = [
        {"photo": Path(name).name, "p50_ms": wait, "alone_ms": net, "ratio": wait / net}
        for name, wait, net in zip(names, waits, nets, strict=True)
    ]
    return {"photos": photos, "ratio": asdict(Summary.of(in_rounds))}


def _medians(latencies: Sequence[float], photos: int) -> list[float]:
    return [float(np.median(row)) for row in by_photo(latencies, photos)]


def targets(told: Json) -> list[Target]:
    """The worst of the loads that keep the core busy, and one client's wait; the aims are the project's own."""
    shares = [row["to_bare"]["median"] for clients, row in told["service"].items() if int(clients) > 1]
    wait = told["one_client"]["ratio"]["median"]
    return [
        Target.at_least("photos/s of the service over the bare loop", SHARE, min(shares)),
        Target.at_most("p50 of one client over decode + networks alone", WAIT, wait),
    ]
