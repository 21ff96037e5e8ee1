"""`python -m tests.load.steps`: what each step of a request costs, the usual way and ours, and prints it as JSON.

One photo of 1280x960 with one face. JPEG decoding, the bare networks and the search are the same for both and left
out of the comparison. The canonical networks' own input nodes and heads, which stand in for NumPy, are charged to us:
they are cut out of the shipped files and timed alone.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from app import images
from app.bench.statistics import Json, Summary, ratios
from app.pipeline import Pipeline
from app.present import faces_json
from engines.base import TensorSpec
from engines.crops import Cropper
from engines.embedder import Embedder
from engines.geometry.letterbox import letterbox
from engines.models import SHIPPED
from engines.single_shot import SingleShotDetector
from tests.load import numpy_baseline as usual
from tests.load import stages, yardstick

DETECTOR = SHIPPED / "retinaface_mnet025" / "640x640.onnx"
EMBEDDER = SHIPPED / "mobilefacenet_256" / "112x112.onnx"
SAMPLE = Path(images.__file__).parent / "samples" / "astronaut.jpg"
MIN_SCORE = 0.5
Work = Callable[[], object]


@dataclass(frozen=True)
class Step:
    """One step of a request, the usual way and ours."""

    name: str
    usual: Work
    ours: Work


class Replay:
    """An Engine that gives one answer again and again at no cost: what is measured is the code around it."""

    max_batch_size = 1
    concurrency = 1
    fault = None

    def __init__(self, net: stages.Net, feed: NDArray[Any]) -> None:
        self._answer = net.run(feed)
        self.inputs = (_spec(net.inputs[0], feed),)
        self.outputs = tuple(_spec(name, array) for name, array in self._answer.items())
        self.description: Mapping[str, str] = {}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return self._answer

    def close(self) -> None: ...


def _spec(name: str, array: NDArray[Any]) -> TensorSpec:
    return TensorSpec(name, array.dtype.name, (None, *array.shape[1:]))


def photo() -> bytes:
    """A JPEG of 1280x960 and 169 kB with one face."""
    sample = cv2.imread(str(SAMPLE))
    assert sample is not None
    enlarged = cv2.resize(sample[:384], (1280, 960), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", enlarged, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


class Request:
    """What goes in and comes out of the steps of one request, made beforehand."""

    def __init__(self) -> None:
        self.jpeg = photo()
        self.text = base64.b64encode(self.jpeg).decode()
        self.image = usual.decode_image(self.text)
        self.theirs = usual.UsualCode(DETECTOR, EMBEDDER)
        self.canvas, self.scale = usual.letterbox(self.image, 640, 640)
        self.tensor = self.theirs.normalise(self.canvas)
        self.raw = self.theirs.infer(self.tensor)
        self.candidates = usual.candidates(*self.raw, self.theirs.priors, self.scale)
        self.faces = usual.faces(self.candidates, MIN_SCORE)
        self.crops = [usual.align(self.image, points) for points in self.faces.landmarks]
        self.crop_tensor = self.theirs.crop_tensor(self.crops)
        self.vectors = self.theirs.embed(self.crop_tensor)

        self.detector_net, self.embedder_net = stages.Net(DETECTOR), stages.Net(EMBEDDER)
        self.detector = SingleShotDetector([Replay(self.detector_net, letterbox(self.image, 640, 640)[0][np.newaxis])])
        self.embedder = Embedder(Replay(self.embedder_net, np.stack(self.crops)[:1]))
        self.pipeline = Pipeline(self.detector, self.embedder, Cropper("template", (112, 112)))
        self.detections = self.detector.detect(self.image, min_score=MIN_SCORE)


def steps(r: Request) -> list[Step]:
    """What the two ways do differently.

    Our detector is given an image that needs no letterbox and a network that answers at once: what it then does is
    the step from candidates to faces.
    """
    inputs = [stages.Net(stages.cut(path, "input").SerializeToString()) for path in (DETECTOR, EMBEDDER)]
    heads = [stages.Net(stages.cut(path, "head").SerializeToString()) for path in (DETECTOR, EMBEDDER)]
    answers = stages.Net(stages.cut(DETECTOR, "body").SerializeToString()).run(r.tensor)
    raw = [answers[name] for name in heads[0].inputs]
    stacked = np.stack(r.crops)
    return [
        Step("base64", lambda: base64.b64decode(r.text), lambda: images.decode_base64(r.text)),
        Step("letterbox", lambda: usual.letterbox(r.image, 640, 640), lambda: letterbox(r.image, 640, 640)),
        Step("detector's input", lambda: r.theirs.normalise(r.canvas), lambda: inputs[0].run(r.canvas[np.newaxis])),
        Step(
            "priors to candidates",
            lambda: usual.candidates(*r.raw, r.theirs.priors, r.scale),
            lambda: heads[0].run(*raw),
        ),
        Step(
            "candidates to faces",
            lambda: usual.faces(r.candidates, MIN_SCORE),
            lambda: r.detector.detect(r.canvas, min_score=MIN_SCORE),
        ),
        Step(
            "align",
            lambda: [usual.align(r.image, points) for points in r.faces.landmarks],
            lambda: r.pipeline.crops(r.image, r.detections),
        ),
        Step("embedder's input", lambda: r.theirs.crop_tensor(r.crops), lambda: inputs[1].run(stacked)),
        Step(
            "unit length",
            lambda: usual.unit(r.vectors),
            lambda: (heads[1].run(r.vectors), r.pipeline.embed(stacked)),
        ),
        Step("JSON", lambda: usual.to_json(r.faces), lambda: _our_json(r)),
    ]


def shared(r: Request) -> dict[str, Work]:
    """What both do alike, or what is the network itself."""
    return {
        "JPEG": lambda: cv2.imdecode(np.frombuffer(r.jpeg, np.uint8), cv2.IMREAD_COLOR),
        "bare detector": lambda: r.theirs.infer(r.tensor),
        "bare embedder": lambda: r.theirs.embed(r.crop_tensor),
        "canonical detector": lambda: r.detector_net.run(r.canvas[np.newaxis]),
        "canonical embedder": lambda: r.embedder_net.run(np.stack(r.crops)),
    }


def _our_json(r: Request) -> bytes:
    return orjson.dumps(faces_json(r.detections, r.image, normalized=False, landmarks=True))


def cost_us(work: Work, calls: int) -> float:
    """The median of `calls` calls, after one that warms the caches."""
    work()
    spent = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        work()
        spent.append(time.perf_counter_ns() - start)
    return float(np.median(spent)) / 1e3


def measure(rounds: int, calls: int) -> Json:
    """Every step in every round, so that the machine's moods strike all alike."""
    cv2.setNumThreads(1)
    request = Request()
    pairs, rest, marks = steps(request), shared(request), yardstick.steps(request.image)
    costs: list[dict[str, float]] = []
    for _ in range(rounds):
        row = {f"usual {step.name}": cost_us(step.usual, calls) for step in pairs}
        row |= {f"our {step.name}": cost_us(step.ours, calls) for step in pairs}
        row |= {name: cost_us(work, calls) for name, work in rest.items()}
        row |= {f"mark {mark.name}": cost_us(mark.work, calls) for mark in marks}
        costs.append(row | _totals(row, pairs))
    return _told(costs, pairs, rest, marks, request)


def _totals(row: Mapping[str, float], pairs: Sequence[Step]) -> dict[str, float]:
    return {f"{side} total": sum(row[f"{side} {step.name}"] for step in pairs) for side in ("usual", "our")}


def _told(
    costs: Sequence[Mapping[str, float]],
    pairs: Sequence[Step],
    rest: Mapping[str, Work],
    marks: Sequence[yardstick.Mark],
    request: Request,
) -> Json:
    def column(name: str) -> list[float]:
        return [row[name] for row in costs]

    def compared(name: str) -> Json:
        theirs, ours = column(f"usual {name}"), column(f"our {name}")
        return {
            "step": name,
            "usual_us": asdict(Summary.of(theirs)),
            "ours_us": asdict(Summary.of(ours)),
            "ratio": asdict(ratios(theirs, ours)),
        }

    return {
        "photo": {"width": 1280, "height": 960, "bytes": len(request.jpeg), "faces": len(request.faces.scores)},
        "candidates": len(request.candidates.scores),
        "steps": [compared(step.name) for step in pairs],
        "total": compared("total"),
        "left_out_us": {name: asdict(Summary.of(column(name))) for name in rest},
        "yardstick": [
            mark.told(Summary.of(column(f"mark {mark.name}")), ratios(column(f"mark {mark.name}"), column("JPEG")))
            for mark in marks
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=20)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.rounds, asked.calls)))


if __name__ == "__main__":
    main()
