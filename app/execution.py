"""How work gets done: admission at the door, one sized pool of threads, a deadline, and an eye on the client."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from starlette.types import Receive

from app.audit.actor import acting, requested
from app.errors import DeadlineError, OverloadedError
from engines.base import cancellation

T = TypeVar("T")
Job = Callable[[float], T]
"""Work for one thread. It is called with the milliseconds that it waited."""
PATIENCE_S = 0.1
"""Most requests are answered before anyone could leave: only after this long a task waits for the disconnect."""
BULK_THREADS = 2


class ClientGoneError(Exception):
    """The client left; nobody reads an answer any more."""


class TimeLimit:
    """Raises `error()` in the task inside the block after `seconds` (asyncio.timeout is not in Python 3.10)."""

    def __init__(self, seconds: float, error: Callable[[], Exception]) -> None:
        self._seconds, self._error = seconds, error
        self._passed = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._pass)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        if self._passed and isinstance(error, asyncio.CancelledError):
            if sys.version_info >= (3, 11):
                self._task.uncancel()
            raise self._error() from None

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel()


class Admission:
    """`with admission:` counts the requests inside; at most `limit`. For the event loop's thread only."""

    def __init__(self, limit: int) -> None:
        self.limit, self.pending = limit, 0

    def __enter__(self) -> None:
        if self.pending >= self.limit:
            raise OverloadedError(f"{self.pending} requests are being worked on already: try again shortly")
        self.pending += 1

    def __exit__(self, *_: object) -> None:
        self.pending -= 1


class Threads:
    """A fixed number of threads for jobs that never raise. A tenth of a lean request is saved by making no future of
    each: see docs/adr/0003-workers.md."""

    def __init__(self, count: int) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"job-{number}") for number in range(count)]
        for thread in self._threads:
            thread.start()

    def run(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def close(self) -> None:
        """Waits for the jobs given so far."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Execution:
    """Runs the jobs of requests on `threads` threads, each request for at most `timeout_s`.

    Belongs to one event loop; `close` waits for running jobs and may be called from any thread but theirs.
    """

    def __init__(self, *, threads: int, max_pending: int, timeout_s: float) -> None:
        self.admission = Admission(max_pending)
        self._timeout_s = timeout_s
        self._threads = Threads(threads)
        self._bulk = ThreadPoolExecutor(BULK_THREADS, thread_name_prefix="bulk")
        self._abreast = (threads + 1) // 2  # of one request: the other half of the threads stays for its neighbours

    async def each(self, receive: Receive, jobs: Sequence[Job[T]]) -> list[T | Exception]:
        """What each job returned or raised, in order; there must be at least one.

        Raises DeadlineError when the deadline passes and ClientGoneError when the client leaves; either way jobs not
        begun are dropped, and those running see `engines.base.current_cancellation` turn true.
        """
        batch = _Batch(self._threads, jobs)
        loop = asyncio.get_running_loop()
        patience_s = min(PATIENCE_S, self._timeout_s)
        watch: asyncio.Task[None] | None = None
        timer: asyncio.TimerHandle

        def look_out() -> None:
            nonlocal watch, timer
            watch = loop.create_task(_wait_for_disconnect(receive, batch))
            late = DeadlineError(f"no answer within {self._timeout_s:g} s")
            timer = loop.call_later(self._timeout_s - patience_s, batch.stop, late)

        timer = loop.call_later(patience_s, look_out)
        try:
            batch.start(self._abreast)
            await batch.done
        finally:
            batch.stopped = True
            timer.cancel()
            if watch is not None:
                watch.cancel()
        return batch.results

    async def one(self, receive: Receive, job: Job[T]) -> T:
        """What the job returned; its exception is raised, and those of `each`."""
        result = (await self.each(receive, (job,)))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def bulk(self, work: Callable[[], T]) -> T:
        """Runs `work` apart from the jobs and without a deadline: a slow export must not hold up anyone's image."""
        who = requested()  # a thread knows of no request

        def done() -> T:
            with acting(who):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._bulk, done)

    def close(self) -> None:
        self._threads.close()
        self._bulk.shutdown(wait=True, cancel_futures=True)


class _Batch(Generic[T]):
    """The jobs of one request: how far they are, and the flag that stops them."""

    def __init__(self, threads: Threads, jobs: Sequence[Job[T]]) -> None:
        self._threads, self._jobs = threads, jobs
        self._loop = asyncio.get_running_loop()
        self._since = time.perf_counter()
        self._actor = requested()  # a thread knows of no request
        self._begun = self._ended = 0
        self.results: list[Any] = [None] * len(jobs)
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.stopped = False

    def start(self, abreast: int) -> None:
        for _ in range(min(abreast, len(self._jobs))):
            self._next()

    def stop(self, error: Exception) -> None:
        self.stopped = True
        if not self.done.done():
            self.done.set_exception(error)

    def _next(self) -> None:
        self._threads.run(partial(self._work, self._begun))
        self._begun += 1

    def _work(self, index: int) -> None:
        if self.stopped:
            return
        try:
            with acting(self._actor), cancellation(self._is_stopped):
                self.results[index] = self._jobs[index](1e3 * (time.perf_counter() - self._since))
        except Exception as error:  # noqa: BLE001  whatever it is belongs to the request, which raises or tells it
            self.results[index] = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end)

    def _is_stopped(self) -> bool:
        return self.stopped

    def _end(self) -> None:
        self._ended += 1
        if self.stopped:
            return
        if self._begun < len(self._jobs):
            self._next()
        elif self._ended == len(self._jobs):
            self.done.set_result(None)


async def _wait_for_disconnect(receive: Receive, batch: _Batch[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    batch.stop(ClientGoneError())
