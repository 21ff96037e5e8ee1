"""JSON on stdout: a line per object for programs, indented and coloured where a person looks."""

from __future__ import annotations

import sys
from typing import Any


def say(answer: dict[str, Any]) -> None:
    """Prints one object and flushes, so that a reader down the pipe sees it at once."""
    import orjson

    text = orjson.dumps(answer).decode()
    if sys.stdout.isatty():
        from rich import print_json

        print_json(text)
    else:
        print(text, flush=True)
