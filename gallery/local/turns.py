"""Calls of many threads that share one piece of work, without a thread or a timer of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class _Call(Generic[Job, Answer]):
    """One caller's job, and in the end its answer or an error; `woken` with neither means: lead the next batch."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.woken = threading.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None


class Turns(Generic[Job, Answer]):
    """At most `at_once` callers work at a time, each for itself and for those who came meanwhile.

    A caller that finds nobody at work begins at once; others stand in line. Who has finished wakes the head of the
    line, which takes up to `most` jobs of it. So nothing waits for a batch to fill, and batches grow only under load.
    `work` gives an answer, not None, for each job; jobs of a batch that fails are worked on again one by one, unless
    the error is `everybodys`: one that `work` would raise for each of them, perhaps after as long a wait.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Answer]],
        *,
        at_once: int = 1,
        most: int = 32,
        everybodys: tuple[type[Exception], ...] = (),
    ) -> None:
        self._work = work
        self._at_once = at_once
        self._most = most
        self._everybodys = everybodys
        self._lock = threading.Lock()
        self._line: deque[_Call[Job, Answer]] = deque()
        self._leaders = 0

    def __call__(self, job: Job) -> Answer:
        """The job's answer; raises what `work` raises for it. Any thread may call."""
        call = _Call[Job, Answer](job)
        with self._lock:
            leads = self._leaders < self._at_once
            if leads:
                self._leaders += 1
            else:
                self._line.append(call)
        if not leads:
            self._wait(call)
        if call.answer is None and call.error is None:
            self._lead(call)
        if call.answer is not None:
            return call.answer
        assert call.error is not None
        raise call.error

    def _wait(self, call: _Call[Job, Answer]) -> None:
        try:
            call.woken.wait()
        except BaseException:  # interrupted: whoever comes after it must not wait for it
            with self._lock:
                if call in self._line:
                    self._line.remove(call)
                elif call.woken.is_set() and call.answer is None and call.error is None:
                    self._pass_on()
            raise

    def _pass_on(self) -> None:
        """With the lock held: somebody of the line leads next."""
        if self._line:
            self._line.popleft().woken.set()
        else:
            self._leaders -= 1

    def _lead(self, call: _Call[Job, Answer]) -> None:
        try:
            with self._lock:
                batch = [call, *(self._line.popleft() for _ in range(min(self._most - 1, len(self._line))))]
            try:
                self._run(batch)
            finally:
                for other in batch[1:]:
                    if other.answer is None and other.error is None:
                        other.error = RuntimeError("the thread that worked for this one was ended")
                    other.woken.set()
        finally:
            with self._lock:
                self._pass_on()

    def _run(self, batch: Sequence[_Call[Job, Answer]]) -> None:
        try:
            answers = self._work([call.job for call in batch])
        except Exception as error:  # noqa: BLE001  (whatever it is belongs to the caller who caused it)
            alike = len(batch) == 1 or isinstance(error, self._everybodys)
            for call in batch:
                if alike:
                    call.error = error
                else:
                    self._run([call])
            return
        for call, answer in zip(batch, answers, strict=True):
            call.answer = answer
