"""The recorder: a line for each deed, written before its answer is given, and no deed while none can be written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from app.audit import actor
from app.audit.errors import AuditUnavailableError, UnrecordedError
from app.audit.subjects import Subjects
from app.audit.trail import Trail
from app.errors import kind_of
from app.execution import ClientGoneError
from gallery.names import check_collection
from gallery.types import InvalidNameError

Level = Literal["off", "changes", "all"]
SUBJECTS_A_LINE = 100
log = logging.getLogger("faceserve")
_current: ContextVar[Deed | None] = ContextVar("deed", default=None)


@dataclass(slots=True)
class Deed:
    """What is being done; whoever does it adds what it finds out. `people` are names of identities, which leave as
    digests, `facts` numbers and flags, which stand in the line as they are."""

    what: str
    collection: str | None
    people: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def note(**facts: float | str | bool | None) -> None:
    """Adds to the line of the deed that is noted for, if there is one."""
    deed = _current.get()
    if deed is not None:
        deed.facts |= facts


@contextmanager
def noting(deed: Deed) -> Iterator[None]:
    """What `note` adds inside is for that deed, in whichever thread: a search may do the work of its neighbours."""
    token = _current.set(deed)
    try:
        yield
    finally:
        _current.reset(token)


class Recorder:
    """Writes to one trail, from any thread. At the level `changes` only what changes a gallery or takes one out."""

    def __init__(self, trail: Trail, subjects: Subjects, level: Level) -> None:
        self._trail = trail
        self._subjects = subjects
        self._level = level
        self._owed: list[dict[str, Any]] = []
        """Lines of deeds that were done and could not be written. No more than there are threads: none begins a deed
        while there is one."""
        self._lock = threading.Lock()

    @contextmanager
    def deed(self, what: str, collection: str | None, *people: str, changes: bool = True) -> Iterator[Deed]:
        """The deed is done inside the block, and its line written when that ends, whichever way.

        Raises AuditUnavailableError before the block, and UnrecordedError after it, in the place of what it raised.
        """
        deed = Deed(what, collection, list(people))
        if self._level == "off" or not (changes or self._level == "all"):
            yield deed
            return
        self.settle()
        try:
            yield deed
        except BaseException as error:
            self._write(deed, _outcome(error), sync=changes, cause=error)
            raise
        else:
            self._write(deed, "ok", sync=changes, cause=None)

    def record(self, deed: Deed, outcome: str) -> None:
        """The line of something that is no block, such as a stream that begins. Raises what `deed` raises."""
        if self._level != "off":
            self.settle()
            self._write(deed, outcome, sync=True, cause=None)

    def ready(self) -> None:
        """Raises AuditUnavailableError when deeds would be refused."""
        self.settle()
        try:
            self._trail.probe()
        except OSError as error:
            raise _unavailable(error) from error

    def settle(self) -> None:
        """Writes the lines that are owed, if there are any; raises AuditUnavailableError while that cannot be."""
        if not self._owed:
            return
        with self._lock:
            try:
                if self._owed:
                    self._trail.append(self._owed, sync=True)
                    log.warning("the audit is written again; %d lines came late", len(self._owed))
                    self._owed.clear()
            except OSError as error:
                raise _unavailable(error) from error

    def close(self) -> None:
        """Tries once more to write what is owed; says in the log what is lost."""
        try:
            self.settle()
        except AuditUnavailableError:
            log.error("%d lines of the audit are lost: it could not be written to the end", len(self._owed))
            for each in self._owed:  # they name nobody
                log.error("lost: %s", each)

    def _write(self, deed: Deed, outcome: str, *, sync: bool, cause: BaseException | None) -> None:
        line = self._line(deed, outcome)
        try:
            self._trail.append([line], sync=sync)
        except OSError as error:
            with self._lock:
                self._owed.append(line | {"late": True})
            log.error("the audit cannot be written, what it records is refused from now on: %s", error)
            raise UnrecordedError(
                "what was asked may have been done, but could not be recorded in the audit; ask again when /readyz "
                "says that the service is ready"
            ) from cause or error

    def _line(self, deed: Deed, outcome: str) -> dict[str, Any]:
        who = actor.current()
        people = list(dict.fromkeys(deed.people))
        subjects = [self._subjects.digest(deed.collection or "", name) for name in people[:SUBJECTS_A_LINE]]
        line: dict[str, Any] = {
            "at": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
            "who": who.who,
            "from": who.address,
            "request": who.request_id,
            "via": who.via(),
            "deed": deed.what,
            "collection": _sayable(deed.collection),
            "outcome": outcome,
        }
        if subjects:
            line |= {"subjects": subjects, "key": self._subjects.fingerprint}
        if len(people) > len(subjects):
            line["subjects_left_out"] = len(people) - len(subjects)
        return line | deed.facts


def _sayable(collection: str | None) -> str | None:
    """The collection's name, None for what cannot be one: it could be anything, even somebody's name or a book."""
    try:
        return None if collection is None else check_collection(collection)
    except InvalidNameError:
        return None


def _outcome(error: BaseException) -> str:
    """The code that a client reads."""
    if isinstance(error, ClientGoneError):
        return "client_gone"
    return kind_of(error).code if isinstance(error, Exception) else "interrupted"


def _unavailable(error: OSError) -> AuditUnavailableError:
    log.error("the audit cannot be written: %s", error)
    return AuditUnavailableError("nothing was done: the audit cannot be written, and without it nothing is recorded")
