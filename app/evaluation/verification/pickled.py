"""The little of Python's pickle format that a pack needs: lists of bytes, of uint8 arrays and of bool.

The standard library takes the pickle apart into opcodes and runs none of it; what they mean is done here, and no opcode
calls or imports anything. What a pack does not need is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.evaluation.photos import EvaluationError

PLAIN = frozenset(
    {"NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG1", "NONE"}
    | {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
    | {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
)
PYTHON_2_STRINGS = frozenset({"SHORT_BINSTRING", "BINSTRING"})
CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False}
KINDS = ("u1", "b1")
"""NumPy's codes of uint8 and bool."""


@dataclass(slots=True)
class Array:
    """A NumPy array: its `kind`, "u1" or "b1", and its bytes; empty until they are given."""

    kind: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Kind:
    """A NumPy dtype."""

    code: str


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a module, of those in ADMITTED; nothing is imported."""

    whole: str


def load(data: bytes, name: str) -> Any:
    """The value pickled in `data`, by Python 2 or 3: bool, int, None, str, bytes (Python 2's strings too), Array,
    list and tuple.

    Raises EvaluationError for a pickle that is damaged or has anything else in it; `name` says whose it is.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return machine.pop()
    except (ValueError, IndexError, KeyError) as error:
        raise EvaluationError(f"{name} is no pack of images, or it is damaged: {error}") from error


@dataclass(slots=True)
class _Machine:
    """A stack of stacks, of which a mark starts a new one, and a memo. A fault is a ValueError or a LookupError."""

    stacks: list[list[Any]] = field(default_factory=lambda: [[]])
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        if name in PLAIN:
            self.push(CONSTANTS.get(name, bytes(argument) if isinstance(argument, bytearray) else argument))
        elif name in PYTHON_2_STRINGS:
            self.push(argument.encode("latin-1"))
        elif name in OPCODES:
            OPCODES[name](self, argument)
        else:
            raise ValueError(f"its pickle has {name}, which no pack needs")

    def push(self, value: Any) -> None:
        self.stacks[-1].append(value)

    def pop(self) -> Any:
        return self.stacks[-1].pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def pop_to_mark(self) -> list[Any]:
        if len(self.stacks) == 1:
            raise ValueError("its pickle takes what it has not given")
        return self.stacks.pop()

    def extend(self, values: list[Any]) -> None:
        into = self.stacks[-1][-1]
        if not isinstance(into, list):
            raise ValueError("its pickle fills what is no list")
        into.extend(values)

    def put(self, place: int) -> None:
        self.memo[place] = self.stacks[-1][-1]

    def name(self, whole: str) -> None:
        if whole not in ADMITTED:
            raise ValueError(f"it has code in it ({whole[:80]!r}), which is not run")
        self.push(Name(whole))

    def reduce(self) -> None:
        called, arguments = self.pop_many(2)
        make = ADMITTED[called.whole] if isinstance(called, Name) else None
        if make is None or not isinstance(arguments, tuple):
            raise ValueError("its pickle calls what cannot be called")
        self.push(make(*arguments))

    def build(self) -> None:
        into, state = self.pop_many(2)
        self.push(into)
        match into, state:
            case Kind(), tuple():
                pass
            case Array(), (_, tuple(), Kind(code), _, bytes(data)):
                into.kind, into.data = code, data
            case _:
                raise ValueError("its pickle fills what is no array of bytes")


def _encode(*arguments: Any) -> bytes:
    """How Python 3 writes bytes in protocol 2."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            return text.encode("latin-1")
    raise ValueError("its pickle encodes what is no latin-1")


def _empty(*arguments: Any) -> bytes:
    if arguments:
        raise ValueError("its pickle makes bytes of something")
    return b""


def _kind(code: Any = "", *_: Any) -> Kind:
    text = code.decode("latin-1") if isinstance(code, bytes) else code
    if text not in KINDS:
        raise ValueError(f"it has arrays of {str(text)[:20]!r}, where uint8 was expected")
    return Kind(text)


def _buffer(*arguments: Any) -> Array:
    """How protocol 5 writes arrays."""
    match arguments:
        case (bytes(data), Kind(code), *_):
            return Array(code, data)
    raise ValueError("its pickle makes an array of what is no bytes")


def _scalar(*arguments: Any) -> bool:
    match arguments:
        case (Kind("b1"), b"\x00" | b"\x01" as data):
            return bool(data[0])
    raise ValueError("its pickle has a number that is no bool")


ADMITTED: dict[str, Callable[..., Any] | None] = {
    "_codecs encode": _encode,
    "__builtin__ bytes": _empty,
    "builtins bytes": _empty,
    "numpy ndarray": None,
    "numpy dtype": _kind,
    **{f"numpy.{core}.multiarray _reconstruct": lambda *_: Array() for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": _buffer for core in ("core", "_core")},
}
"""What may be named, as `module name`, and what is done in its place where it is called."""

OPCODES: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": lambda machine, _: machine.stacks.append([]),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.pop_many(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.pop_many(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.pop_many(3)),
    "PUT": lambda machine, place: machine.put(place),
    "BINPUT": lambda machine, place: machine.put(place),
    "LONG_BINPUT": lambda machine, place: machine.put(place),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GET": lambda machine, place: machine.push(machine.memo[place]),
    "BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "GLOBAL": lambda machine, whole: machine.name(whole),
    "STACK_GLOBAL": lambda machine, _: machine.name(" ".join(map(str, machine.pop_many(2)))),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}
