"""Writes down the names that a GPU package offers: `python make_names.py PACKAGE > FILE`, where PACKAGE imports.

Names need no GPU. TensorRT's bindings import beside libraries that merely have the right names (`libnvinfer.so.10` and
the like, made from an empty C file and the functions that `nm -D --undefined-only` lists), pycuda beside such a
`libcuda.so.1`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

CLASSES = {
    "tensorrt": (
        "Builder BuilderFlag DataType ExecutionContextAllocationStrategy IBuilderConfig ICudaEngine IExecutionContext "
        "IHostMemory ILayer ILogger INetworkDefinition IOptimizationProfile IProgressMonitor ITensor ITimingCache "
        "LayerType MemoryPoolType NetworkDefinitionCreationFlag OnnxParser ParserError PreviewFeature Runtime "
        "TacticSource TensorIOMode"
    ),
    "pycuda.driver": "Context Device DeviceAllocation Event PagelockedHostAllocation Stream event_flags",
    "cuda.bindings.driver": "CUresult CUstreamCaptureMode",
}
OURS = ("cuCtx", "cuDevice", "cuGet", "cuGraph", "cuInit", "cuMem", "cuStream", "CU")
"""Of the thousands of names in cuda.bindings.driver only those that begin so are kept."""


def names(package: str) -> dict[str, list[str]]:
    """The public names of the package, under "", and the members of each class that is of interest."""
    module = import_module(package)
    found = {"": [name for name in dir(module) if not name.startswith("_")]}
    if package.startswith("cuda."):
        found[""] = [name for name in found[""] if name.startswith(OURS) and "_" not in name]
    for name in CLASSES[package].split():
        if hasattr(module, name):
            found[name] = [member for member in dir(getattr(module, name)) if not member.startswith("_")]
    return found


def installed_version(package: str) -> str:
    try:
        return str(import_module(package.partition(".driver")[0]).__version__)
    except AttributeError:
        return version(package.partition(".")[0])


def main(package: str) -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(' '.join(members))}" for name, members in names(package).items()]
    try:
        said = installed_version(package)
    except PackageNotFoundError:
        said = "unknown"
    print(f'{{\n"package": "{package}",\n"version": "{said}",\n"names": {{\n' + ",\n".join(lines) + "\n}\n}")


if __name__ == "__main__":
    main(sys.argv[1])
