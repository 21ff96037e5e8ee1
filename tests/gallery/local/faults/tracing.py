"""Watches a forked process through ptrace(2), and kills it at, or fails, any of its calls that change a file.

The kernel stops the process at the call itself, whoever makes it: SQLite, NumPy or Python. No compiler is needed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# asm/unistd.h of the two machines
_NUMBERS = {
    "x86_64": {
        1: "write", 18: "pwrite64", 20: "writev", 26: "msync", 74: "fsync", 75: "fdatasync", 77: "ftruncate",
        82: "rename", 87: "unlink", 263: "unlinkat", 264: "renameat", 285: "fallocate", 296: "pwritev",
        316: "renameat2",
    },
    "aarch64": {
        35: "unlinkat", 38: "renameat", 46: "ftruncate", 47: "fallocate", 64: "write", 66: "writev", 68: "pwrite64",
        70: "pwritev", 82: "fsync", 83: "fdatasync", 227: "msync", 276: "renameat2",
    },
}  # fmt: skip
_BY_NAME = {"msync", "rename", "unlink", "unlinkat", "renameat", "renameat2"}

# linux/ptrace.h
_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_SYSGOOD, _CLONE, _EXITKILL = 1, 1 << 3, 1 << 20
_INFO_BYTES, _ENTRY, _EXIT = 96, 1, 2
_ALL_THREADS = 0x40000000
_ORIG_RAX, _RAX = 15 * 8, 10 * 8  # asm/user_64.h

KILL = "kill"
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long] * 4


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`-th call (from 1) that would change a file; `file` is its path, "" where the call names it itself."""

    number: int
    name: str
    file: str


Meddle = Callable[[Call], str | int | None]
"""Asked before each call: KILL, an errno that it shall fail with (x86-64 only), or None to let it be."""


def why_not(*, failing: bool = False) -> str | None:
    """Why no process can be traced here (`failing`: and its calls be made to fail), or None."""
    if platform.system() != "Linux" or platform.machine() not in _NUMBERS:
        return "needs Linux on x86-64 or ARM64"
    if failing and platform.machine() != "x86_64":
        return "calls can be made to fail on x86-64 only"
    try:
        traced(begin, Path("/"), lambda call: None)
    except OSError as error:
        return f"ptrace is not allowed here: {error}"
    return None


def begin() -> None:
    """In the traced process: from here on its calls count."""
    _ptrace(_TRACEME, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def traced(
    work: Callable[[], object], folder: Path, meddle: Meddle, done: Callable[[Call], object] = lambda call: None
) -> bool:
    """Whether `work`, in a fork of this process, came to its end. It says `begin()` itself.

    `meddle` is asked before each of its calls on files in `folder` (resolved), `done` told after each that succeeded.
    The caller has no other children meanwhile. OSError where the process may not be traced.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSTOPPED(status):
        raise OSError(f"the process to be traced ended with status {status}")
    _ptrace(_SETOPTIONS, child, 0, _SYSGOOD | _CLONE | _EXITKILL)
    return _Tracer(child, folder, meddle, done).run()


class _Tracer:
    def __init__(self, child: int, folder: Path, meddle: Meddle, done: Callable[[Call], object]) -> None:
        self._child = child
        self._folder = f"{folder.resolve()}"
        self._meddle = meddle
        self._done = done
        self._numbers = _NUMBERS[platform.machine()]
        self._info = ctypes.create_string_buffer(_INFO_BYTES)
        self._count = 0
        self._inside: dict[int, tuple[Call, str | int | None]] = {}

    def run(self) -> bool:
        thread, pass_on = self._child, 0
        while True:
            with suppress(ProcessLookupError):  # this thread went with the process that was killed
                _ptrace(_SYSCALL, thread, 0, pass_on)
            thread, status = os.waitpid(-1, _ALL_THREADS)
            pass_on = 0
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if thread == self._child:
                    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            elif os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
                self._stopped(thread)
            elif os.WSTOPSIG(status) not in (signal.SIGTRAP, signal.SIGSTOP):
                pass_on = os.WSTOPSIG(status)

    def _stopped(self, thread: int) -> None:
        _ptrace(_SYSCALL_INFO, thread, _INFO_BYTES, ctypes.addressof(self._info))
        if self._info.raw[0] == _ENTRY:
            number, first = struct.unpack_from("=QQ", self._info.raw, 24)
            if number in self._numbers:
                self._enters(thread, self._numbers[number], first)
        elif self._info.raw[0] == _EXIT and thread in self._inside:
            call, answer = self._inside.pop(thread)
            if isinstance(answer, int):
                _ptrace(_POKEUSER, thread, _RAX, -answer)
            elif struct.unpack_from("=q", self._info.raw, 24)[0] >= 0:
                self._done(call)

    def _enters(self, thread: int, name: str, descriptor: int) -> None:
        file = ""
        if name not in _BY_NAME:
            file = str(Path(f"/proc/{thread}/fd/{descriptor}").readlink())
            if not file.startswith(self._folder):
                return
        self._count += 1
        call = Call(self._count, name, file)
        answer = self._meddle(call)
        if answer == KILL:
            os.kill(self._child, signal.SIGKILL)
            return
        if isinstance(answer, int):
            _ptrace(_POKEUSER, thread, _ORIG_RAX, -1)  # there is no such call: the kernel does nothing
        self._inside[thread] = call, answer


def _ptrace(request: int, thread: int, address: int, data: int) -> None:
    ctypes.set_errno(0)
    if _libc.ptrace(request, thread, address, data) == -1 and (error := ctypes.get_errno()):
        raise OSError(error, os.strerror(error))
