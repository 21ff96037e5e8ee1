"""Every name of TensorRT, pycuda and cuda-bindings that the code uses, held against what their versions offer.

The lists in `names/` were read from the packages themselves by `names/make_names.py`. A name that some version lacks
may be used only where the code has looked for it first.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

ENGINES = Path(__file__).resolve().parents[2] / "engines"
FILES = [ENGINES / "build.py", *sorted(ENGINES.glob("cuda*.py")), *sorted(ENGINES.glob("tensorrt*.py"))]
LISTS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("names/*.json"))}

TRT, PYCUDA, BINDINGS = "tensorrt", "pycuda.driver", "cuda.bindings.driver"
Kind = tuple[str, str]
"""A package, and one of its classes or "" for the package itself."""
BUILDING: dict[str, Kind] = {
    **dict.fromkeys(("trt", "_trt", "tensorrt"), (TRT, "")),
    **dict.fromkeys(("builder", "_builder"), (TRT, "Builder")),
    **dict.fromkeys(("tensor", "out"), (TRT, "ITensor")),
    "network": (TRT, "INetworkDefinition"),
    "config": (TRT, "IBuilderConfig"),
    "parser": (TRT, "OnnxParser"),
    "error": (TRT, "ParserError"),
    "profile": (TRT, "IOptimizationProfile"),
    "layer": (TRT, "ILayer"),
    "flags": (TRT, "NetworkDefinitionCreationFlag"),
    "engine": (TRT, "ICudaEngine"),
}
RUNNING: dict[str, Kind] = {
    **dict.fromkeys(("engine", "_engine"), (TRT, "ICudaEngine")),
    "trt": (TRT, ""),
    "runtime": (TRT, "Runtime"),
    "context": (TRT, "IExecutionContext"),
}
ON_THE_GPU: dict[str, Kind] = {
    **dict.fromkeys(("driver", "pycuda()"), (PYCUDA, "")),
    **dict.fromkeys(("_done", "begin", "end"), (PYCUDA, "Event")),
    "stream": (PYCUDA, "Stream"),
    "allocation": (PYCUDA, "DeviceAllocation"),
    "base": (PYCUDA, "PagelockedHostAllocation"),
    "context": (TRT, "IExecutionContext"),
}
CALLED: dict[str, dict[str, Kind]] = {
    "build.py": BUILDING,
    "cuda.py": {
        **dict.fromkeys(("cuda", "pycuda()"), (PYCUDA, "")),
        "bindings()": (BINDINGS, ""),
        "card": (PYCUDA, "Device"),
        "context": (PYCUDA, "Context"),
    },
    "cudagraph.py": dict.fromkeys(("driver", "bindings()"), (BINDINGS, "")),
    "tensorrt.py": RUNNING,
    "tensorrt_executor.py": ON_THE_GPU,
    "tensorrt_log.py": RUNNING,
    "tensorrt_plan.py": RUNNING,
    "tensorrt_timing.py": ON_THE_GPU,
}
"""What the code calls the packages and their objects, file by file."""
GUARDS = {"hasattr", "_SINCE_10", "_strongly_typed"}
"""A function that mentions one of these has looked for what it uses."""
GUARDED_BY_CALLER = {"_hold_types"}


@dataclass(frozen=True)
class Use:
    """`line` of a file uses a name of a package or of one of its classes."""

    kind: Kind
    name: str
    guarded: bool
    line: int

    def __str__(self) -> str:
        return ".".join(part for part in (*self.kind, self.name) if part)


def uses(source: str, called: dict[str, Kind]) -> list[Use]:
    """The names that `source` uses of what `called` says."""

    def kind(node: ast.expr) -> Kind | None:
        if isinstance(node, ast.Name) and node.id in called:
            return called[node.id]
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            return called.get((node.func.id if isinstance(node.func, ast.Name) else node.func.attr) + "()")
        if isinstance(node, ast.Attribute):
            if (owner := kind(node.value)) and owner[1] == "" and node.attr[0].isupper():
                return owner[0], node.attr
            return called.get(node.attr)
        return None

    def walk(node: ast.AST, guarded: bool) -> Iterator[Use]:
        if isinstance(node, ast.FunctionDef):
            words = {each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in ast.walk(node)}
            guarded = guarded or bool(words & GUARDS) or node.name in GUARDED_BY_CALLER
        if isinstance(node, ast.Attribute) and not node.attr.startswith("__") and (owner := kind(node.value)):
            yield Use(owner, node.attr, guarded, node.lineno)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, guarded)

    return list(walk(ast.parse(source), guarded=False))


def lacks(names: dict[str, str], use: Use) -> bool:
    return use.name not in names.get(use.kind[1], "").split()


ALL = {path.name: uses(path.read_text("utf-8"), CALLED.get(path.name, {})) for path in FILES}


def of(package: str) -> list[Use]:
    return [use for found in ALL.values() for use in found if use.kind[0] == package]


def test_all_that_runs_on_a_gpu_is_looked_through() -> None:
    assert {path.name for path in FILES} == CALLED.keys()
    seen = {str(use) for found in ALL.values() for use in found}
    assert len(seen) > 80
    assert {
        "tensorrt.Builder.build_serialized_network",
        "tensorrt.BuilderFlag.TF32",
        "tensorrt.ICudaEngine.device_memory_size",
        "tensorrt.IExecutionContext.execute_async_v3",
        "tensorrt.ExecutionContextAllocationStrategy.USER_MANAGED",
        "pycuda.driver.Device.retain_primary_context",
        "pycuda.driver.Stream.synchronize",
        "cuda.bindings.driver.cuGraphLaunch",
    } <= seen


@pytest.mark.parametrize("version", LISTS)
def test_every_name_is_there_or_looked_for_first(version: str) -> None:
    package, names = LISTS[version]["package"], LISTS[version]["names"]
    wrong = [f"line {use.line}: {use}" for use in of(package) if lacks(names, use) and not use.guarded]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", [TRT, PYCUDA, BINDINGS])
def test_every_name_is_somewhere(package: str) -> None:
    lists = [each["names"] for each in LISTS.values() if each["package"] == package]
    assert lists
    wrong = [str(use) for use in of(package) if all(lacks(names, use) for names in lists)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", [TRT, PYCUDA, BINDINGS])
def test_every_name_is_in_the_package_installed_here(package: str) -> None:
    try:
        module = import_module(package)
    except (ImportError, UserWarning) as error:  # pycuda warns as well where it finds no driver
        pytest.skip(f"{package} cannot be imported here: {error}")
    wrong = [
        f"line {use.line}: {use}"
        for use in of(package)
        if not use.guarded and not hasattr(getattr(module, use.kind[1]) if use.kind[1] else module, use.name)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_versions_do_differ_where_the_code_looks_first() -> None:
    """Else the lists, or the guards, would not be worth having."""
    older, newer = LISTS["tensorrt-8.6"]["names"], LISTS["tensorrt-11.4"]["names"]
    assert {str(use) for use in of(TRT) if lacks(newer, use)} > {"tensorrt.ICudaEngine.device_memory_size"}
    assert {str(use) for use in of(TRT) if lacks(older, use)} > {"tensorrt.IExecutionContext.set_device_memory"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("trt.Runtime(log)", ["tensorrt.Runtime"]),
        ("self._trt.BuilderFlag.FP16", ["tensorrt.BuilderFlag", "tensorrt.BuilderFlag.FP16"]),
        ("bucket.context.execute_async_v3(1)", ["tensorrt.IExecutionContext.execute_async_v3"]),
        ("other.thing", []),
    ],
)
def test_the_reader_finds(source: str, expected: list[str]) -> None:
    assert sorted(str(use) for use in uses(source, {**BUILDING, **RUNNING})) == expected


def test_the_reader_knows_what_was_looked_for() -> None:
    plain, guarded = "def f(): engine.a", "def f():\n    if hasattr(engine, 'a'):\n        engine.a"
    assert [use.guarded for use in uses(plain, RUNNING)] == [False]
    assert [use.guarded for use in uses(guarded, RUNNING)] == [True]
