"""`faceserve serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import DataDir, settings_from


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    data_dir: DataDir = None,
    runtime: Annotated[str | None, typer.Option(help="auto, onnxruntime or tensorrt.")] = None,
    device: Annotated[str | None, typer.Option(help="`auto`, `cpu`, `cuda` or `cuda:N`.")] = None,
    contexts: Annotated[int | None, typer.Option(help="Engine runs at once in a worker, with TensorRT.")] = None,
    auto_build: Annotated[bool | None, typer.Option("--auto-build", help="Build missing TensorRT plans.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start the service.

    A flag overrides its FACESERVE_… variable; every other setting is read from the environment (see the README).
    """
    settings = settings_from(
        host=host,
        port=port,
        workers=workers,
        data_dir=data_dir,
        runtime=runtime,
        device=device,
        contexts=contexts,
        auto_build=auto_build,
        log_level=log_level,
    )
    from app.server import serve as run

    run(settings)
