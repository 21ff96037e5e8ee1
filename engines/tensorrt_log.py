"""What TensorRT says: to the log, and into the text of the error that it is about.

TensorRT keeps to the first logger it is given as long as anything made with it lives, so a process has only this one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import tensorrt as trt

_log = logging.getLogger("faceserve.tensorrt")
_LEVELS = {
    trt.ILogger.INTERNAL_ERROR: logging.ERROR,
    trt.ILogger.ERROR: logging.ERROR,
    trt.ILogger.WARNING: logging.WARNING,
}


class _Log(trt.ILogger):  # type: ignore[misc]
    """Passes warnings and errors on; TensorRT calls it from any thread, also from its own."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._lock = threading.Lock()
        self._listeners: list[list[str]] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        level = _LEVELS.get(severity)
        if level is None:
            return
        _log.log(level, message)
        if level == logging.ERROR:
            with self._lock:
                for heard in self._listeners:
                    heard.append(message.strip())

    @contextmanager
    def errors(self) -> Iterator[list[str]]:
        """The list that gets the errors of the whole process, one a line, from now until the block ends."""
        heard: list[str] = []
        with self._lock:
            self._listeners.append(heard)
        try:
            yield heard
        finally:
            with self._lock:
                self._listeners = [each for each in self._listeners if each is not heard]


LOG = _Log()
