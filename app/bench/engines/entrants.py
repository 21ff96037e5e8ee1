"""Who takes part in which row, and why the others do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from app.bench.engines import runtimes
from app.bench.engines.measure import Job
from app.bench.engines.options import EngineOptions
from app.bench.engines.rows import Row
from app.bench.engines.runtimes import Running, Runtime
from app.bench.processes import BenchError
from app.bench.statistics import Json
from engines.plans import Precision


class Library(str, Enum):
    """What can be measured."""

    tensorrt = "tensorrt"
    onnxruntime = "onnxruntime"
    pytorch = "pytorch"


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to ask. `options` are TensorRT's, `precisions` those of its plans; `half` has PyTorch in float16 too."""

    libraries: Sequence[Library]
    options: EngineOptions
    precisions: Sequence[Precision] = ("fp16",)
    torch_python: Path | None = None
    half: bool = False


@dataclass(slots=True)
class Entrants:
    """`together` take turns in each row; each of `alone` goes through all rows by itself afterwards.

    `here` is what each said of itself, `absent` why the others cannot run on this machine.
    """

    together: list[Running] = field(default_factory=list)
    alone: list[Running] = field(default_factory=list)
    here: Json = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def jobs(self, rows: Sequence[Row]) -> list[Job]:
        """Everything to be done, in order."""
        first = [Job(row, self.together) for row in rows] if self.together else []
        return first + [Job(row, [running]) for running in self.alone for row in rows]


@contextmanager
def entrants(choice: Choice) -> Iterator[Entrants]:
    """The processes of all that can run here, to the end of the block."""
    found, wanted = Entrants(), choice.libraries
    with ExitStack() as stack:
        if Library.tensorrt in wanted:
            plans = [dataclasses.replace(choice.options, precision=each) for each in choice.precisions]
            running = _present([runtimes.tensorrt(each) for each in plans], found, stack)
            found.together, found.alone = running[:1], running[1:]
        if Library.onnxruntime in wanted:
            found.together += _present([runtimes.onnxruntime(choice.options.device)], found, stack)
        if Library.pytorch in wanted:
            found.together += _present(_torch(choice, found), found, stack)
        yield found


def _torch(choice: Choice, found: Entrants) -> list[Runtime]:
    precisions: list[Precision] = ["fp32", "fp16"] if choice.half else ["fp32"]
    if find_spec("onnx") is None:
        found.absent["PyTorch"] = "its networks are written with the extra `convert`: pip install 'faceserve[convert]'"
        return []
    try:
        python = runtimes.find_torch(choice.torch_python)
    except BenchError as error:
        found.absent["PyTorch"] = str(error)
        return []
    return [runtimes.pytorch(python, precision) for precision in precisions]


def _present(asked: Sequence[Runtime], found: Entrants, stack: ExitStack) -> list[Running]:
    """Those of `asked` that answer, running."""
    present = []
    for runtime in asked:
        running = Running(runtime)
        stack.callback(running.close)
        try:
            answer = running.ask(do="here")
        except BenchError as error:
            answer = {"left_out": str(error)}
        if "left_out" in answer:
            found.absent[runtime.name] = answer["left_out"]
            running.close()
        else:
            found.here[runtime.name] = answer["here"]
            present.append(running)
    return present
