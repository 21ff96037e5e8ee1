"""Everything but JPEG decoding, networks and search, against the usual NumPy code.

That code and what cuts the networks open live beside the tests (`tests/load/`), so a checkout is needed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson

import app
from app.bench.processes import BenchError, Cores, command, environment
from app.bench.statistics import Json, Target

CHECKOUT = Path(app.__file__).parents[1]
MODULE = "tests.load.steps"
CHEAPER = 4.0


def is_here() -> bool:
    """Whether the baseline can be run: it is not part of an installed package."""
    return (CHECKOUT / "tests" / "load" / "steps.py").is_file()


def measure(cores: Cores, rounds: int, calls: int) -> Json:
    """The answer of `tests.load.steps`, run on the work core."""
    done = subprocess.run(
        command(cores.work, MODULE, ["--rounds", str(rounds), "--calls", str(calls)]),
        cwd=CHECKOUT,
        env=environment(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{MODULE} ended with exit code {done.returncode}; its errors are above")
    told: Json = orjson.loads(done.stdout)
    return told


def targets(told: Json) -> list[Target]:
    """The aim is the project's own."""
    return [
        Target.at_least(
            "usual NumPy code over ours, all but JPEG, networks, search", CHEAPER, told["total"]["ratio"]["median"]
        )
    ]
