"""Who is at work: the key and address of a request, or the user of this machine who runs a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Actor:
    """`who` is a key's name, `anonymous` where no key is asked, or `cli:USER` and `sdk:USER` outside the service.

    `via` gives the route's template, once it is known: a path itself would name people.
    """

    who: str
    address: str | None = None
    request_id: str | None = None
    via: Callable[[], str | None] = lambda: None


_acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


@dataclass(slots=True)
class _Process:
    """What this process is where no request is at work."""

    kind: str = "sdk"


_process = _Process()


def enter_command_line() -> None:
    """From now on what no request asked for is the command line's, not a program's that uses the library."""
    _process.kind = "cli"


def requested() -> Actor | None:
    """The request at work in this task or thread, None outside of one."""
    return _acting.get()


def current() -> Actor:
    """The request at work, or else this process's user."""
    return _acting.get() or Actor(f"{_process.kind}:{_user()}")


@contextmanager
def acting(actor: Actor | None) -> Iterator[None]:
    """What is done inside, in this task or thread, is done by `actor`."""
    if actor is None:
        yield
        return
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


@cache  # the system reads a file for each answer
def _user() -> str:
    """The user whom the system knows, not the one whom the environment names."""
    try:
        import pwd
    except ImportError:  # not on Windows
        import getpass

        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return str(os.getuid())
