"""The little of Python's pickle format that a PyTorch state dict needs.

A machine of its own instead of `pickle.Unpickler`: no opcode calls, imports or sets anything, and there is no size that
a file claims and memory is set aside for. (The standard one resizes its memo to any index and hashes any key, so it can
be made to fill the memory or to overflow the C stack, whatever `find_class` admits.) A global is a name in the table of
`admitted`; what is not in it is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engines.base import ModelError
from engines.weight_files.admitted import GLOBALS, SAVE, Global, Storage, key_of

MAX_BYTES = 2**24
"""A state dict of 1,000 tensors takes 0.2 MB."""
MAX_STEPS = 2**20


@dataclass(frozen=True, slots=True)
class Pickled:
    """A value that was pickled, where its pickle ends, and the storages it refers to."""

    value: Any
    end: int
    storages: Mapping[str, Storage]


def load(data: bytes, start: int = 0) -> Pickled:
    """The value pickled in `data` from `start` on. Tensors are those of `admitted`, all else is str, int, float, bool,
    None, list, tuple or dict; it may contain itself.

    Raises ModelError for a pickle that is damaged or has anything else in it, saying what.
    """
    machine = _Machine(data, start)
    for _ in range(MAX_STEPS):
        opcode = machine.take(1)
        if opcode == b".":
            return Pickled(machine.pop(), machine.position, machine.storages)
        if opcode not in OPCODES:
            raise ModelError(f"is damaged or no state dict: its pickle has the opcode {opcode!r}; {SAVE}")
        OPCODES[opcode](machine)
    raise ModelError(f"has a pickle of more than {MAX_STEPS:,} steps: {SAVE}")


class _Machine:
    """A stack of stacks, of which a mark starts a new one, and a memo."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.stacks: list[list[Any]] = [[]]
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise ModelError("is cut short: its pickle does not end")
        return self.data[start : self.position]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, form: str, encoding: str = "utf-8") -> str:
        try:
            return self.take(self.number(form)).decode(encoding)
        except UnicodeDecodeError as error:
            raise ModelError("is damaged: its pickle has text that is none") from error

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise ModelError("is damaged: its pickle has a name that does not end")
        return self.take(end + 1 - self.position)[:-1].decode("utf-8", "replace")

    def push(self, value: Any) -> None:
        self.stacks[-1].append(value)

    def pop(self) -> Any:
        if not self.stacks[-1]:
            raise ModelError("is damaged: its pickle takes what it has not given")
        return self.stacks[-1].pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def pop_to_mark(self) -> list[Any]:
        if len(self.stacks) == 1:
            raise ModelError("is damaged: its pickle takes what it has not given")
        return self.stacks.pop()

    def top(self, kind: type) -> Any:
        value = self.pop()
        if not isinstance(value, kind):
            raise ModelError(f"is damaged or no state dict: its pickle fills a {type(value).__name__}; {SAVE}")
        self.push(value)
        return value

    def mark(self) -> None:
        self.stacks.append([])

    def put(self, index: int) -> None:
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ModelError("is damaged: its pickle remembers what it has not seen")
        self.push(self.memo[index])

    def append(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise ModelError("is damaged: its pickle has a key without a value")
        into = self.top(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            into[key_of(key)] = value

    def name_global(self, module: object, name: object) -> None:
        whole = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "a name that is no text"
        if whole not in GLOBALS:
            raise ModelError(f"has code in it ({whole[:200]!r}), which is not run: {SAVE}")
        self.push(GLOBALS[whole])

    def reduce(self) -> None:
        called, arguments = self.pop_many(2)
        if not isinstance(called, Global) or called.make is None or not isinstance(arguments, tuple):
            raise ModelError(f"is damaged or no state dict: its pickle calls a {type(called).__name__}; {SAVE}")
        self.push(called.make(arguments))

    def build(self) -> None:
        """The attributes of a state dict, versions of its modules, are dropped."""
        self.pop()
        self.top(dict)

    def persistent(self) -> None:
        match self.pop():
            case ("storage", Global(code=code), str(key), str(), int(count), *view) if code and view in ([], [None]):
                self.storages[key] = storage = Storage(code, key, count)
                self.push(storage)
            case ("module", *_):
                raise ModelError(f"has a whole module in it, whose code is not run: {SAVE}")
            case _:
                raise ModelError(f"refers to something that is not a plain storage: {SAVE}")


OPCODES: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda machine: machine.take(1),  # PROTO
    b"\x95": lambda machine: machine.take(8),  # FRAME
    b"(": _Machine.mark,
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"K": lambda machine: machine.push(machine.number("<B")),
    b"M": lambda machine: machine.push(machine.number("<H")),
    b"J": lambda machine: machine.push(machine.number("<i")),
    b"\x8a": lambda machine: machine.push(int.from_bytes(machine.take(machine.number("<B")), "little", signed=True)),
    b"G": lambda machine: machine.push(machine.number(">d")),
    b"\x8c": lambda machine: machine.push(machine.text("<B")),
    b"X": lambda machine: machine.push(machine.text("<I")),
    b"U": lambda machine: machine.push(machine.text("<B", "latin-1")),  # Python 2's str
    b"T": lambda machine: machine.push(machine.text("<I", "latin-1")),
    b")": lambda machine: machine.push(()),
    b"\x85": lambda machine: machine.push(machine.pop_many(1)),
    b"\x86": lambda machine: machine.push(machine.pop_many(2)),
    b"\x87": lambda machine: machine.push(machine.pop_many(3)),
    b"t": lambda machine: machine.push(tuple(machine.pop_to_mark())),
    b"]": lambda machine: machine.push([]),
    b"a": lambda machine: machine.append([machine.pop()]),
    b"e": lambda machine: machine.append(machine.pop_to_mark()),
    b"}": lambda machine: machine.push({}),
    b"s": lambda machine: machine.set_items(list(machine.pop_many(2))),
    b"u": lambda machine: machine.set_items(machine.pop_to_mark()),
    b"q": lambda machine: machine.put(machine.number("<B")),
    b"r": lambda machine: machine.put(machine.number("<I")),
    b"\x94": lambda machine: machine.put(len(machine.memo)),
    b"h": lambda machine: machine.get(machine.number("<B")),
    b"j": lambda machine: machine.get(machine.number("<I")),
    b"c": lambda machine: machine.name_global(machine.line(), machine.line()),
    b"\x93": lambda machine: machine.name_global(*machine.pop_many(2)),
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
}
