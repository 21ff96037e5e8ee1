"""The arrows between the layers: app -> engines, gallery; and each heavy runtime in its own file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("app", "engines", "gallery")
ALLOWED = {"app": {"app", "engines", "gallery"}, "engines": {"engines"}, "gallery": {"gallery"}}
HOMES = {
    "onnxruntime": ("engines/onnxruntime.py",),
    "cryptography": ("gallery/local/encryption/vault.py",),
    "faiss": ("gallery/local/index/flat.py", "gallery/local/index/proposals.py", "app/bench/gallery/contest.py"),
    "onnx": (
        *("app/bench/engines/recipe.py", "engines/architectures/", "engines/families/"),
        *("engines/build.py", "engines/canonical.py", "engines/folding.py", "engines/graphs.py", "engines/models.py"),
        "engines/precision.py",
    ),
    "h5py": ("engines/weight_files/keras.py",),
    "cv2": ("engines/cascade/", "engines/geometry/", "engines/quality.py", "app/"),
    "fastapi": ("app/",),
    "starlette": ("app/",),
    "uvicorn": ("app/",),
    "torch": ("app/bench/engines/pytorch/",),
    "typer": ("app/cli/", "app/bench/", "app/evaluation/"),
    "pydantic_settings": ("app/settings.py",),
    "grpc": ("gallery/milvus/connection.py",),
    "milvus_lite": ("gallery/milvus/lite.py",),
    "pymilvus": ("gallery/milvus/connection.py", "gallery/milvus/schema.py", "app/bench/gallery/lite.py"),
    "sqlite3": ("gallery/local/", "app/evaluation/cache.py"),
    "matplotlib": ("app/bench/plot.py", "app/evaluation/"),
    "scipy": ("app/evaluation/detection/wider_truth.py",),
    "urllib3": ("engines/downloads/",),
    "tensorrt": ("engines/tensorrt", "engines/build.py"),
    "pycuda": ("engines/cuda.py",),
    "cuda": ("engines/cuda.py",),
}


def imported(source: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(path: str, source: str) -> list[str]:
    """What is wrong with the imports of the module at `path` (relative, with forward slashes)."""
    layer = path.partition("/")[0]
    found = []
    for name in imported(source):
        top = name.partition(".")[0]
        if not top:
            found.append(f"{path}: relative import {name}; write the full name")
        elif top in LAYERS and top not in ALLOWED[layer]:
            found.append(f"{path}: {layer} must not import {name}")
        elif top in HOMES and not path.startswith(HOMES[top]):
            found.append(f"{path}: {top} belongs to {', '.join(HOMES[top])}")
    return found


def modules() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def test_every_arrow_points_the_right_way() -> None:
    assert len(modules()) > 20
    wrong = [
        fault for path in modules() for fault in faults(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engines/detector.py", "import gallery.types"),
        ("engines/detector.py", "from gallery import types"),
        ("engines/load.py", "def f():\n    from app.settings import Settings"),
        ("gallery/gallery.py", "from app.settings import Settings"),
        ("gallery/gallery.py", "if True:\n    import engines"),
        ("gallery/gallery.py", "import faiss"),
        ("gallery/types.py", "import sqlite3"),
        ("app/service.py", "import faiss.contrib"),
        ("engines/detector.py", "import onnxruntime as ort"),
        ("engines/onnxruntime.py", "from .base import Engine"),
        ("engines/batching.py", "import cv2"),
        ("engines/load.py", "import tensorrt"),
        ("engines/tensorrt.py", "import pycuda.autoinit"),
        ("app/build.py", "from cuda.bindings import driver"),
    ],
)
def test_the_checker_finds(path: str, source: str) -> None:
    assert len(faults(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("app/build.py", "from engines.load import load_engine\nfrom gallery.local.gallery import LocalGallery"),
        ("gallery/local/index/flat.py", "import faiss"),
        ("engines/onnxruntime.py", "import onnxruntime"),
        ("engines/families/arcface.py", "from onnx import helper"),
        ("engines/tensorrt_plan.py", "import tensorrt as trt"),
        ("engines/cuda.py", "import pycuda.driver\nfrom cuda.bindings import driver"),
    ],
)
def test_the_checker_lets_pass(path: str, source: str) -> None:
    assert not faults(path, source)


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["--fly"]])
def test_the_command_line_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = {"cv2", "onnxruntime", "faiss", "fastapi", "onnx", "numpy", "uvicorn", "tensorrt", "pycuda", "cuda"}
    command = f"""
import atexit, sys
from app.cli import main
atexit.register(lambda: print(*({heavy!r} & set(sys.modules)), file=sys.stderr))
sys.argv = ["faceserve", *{arguments!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == (2 if arguments == ["--fly"] else 0)
    assert done.stderr.splitlines()[-1] == ""
