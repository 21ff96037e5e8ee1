"""The one way to a Milvus: every call has a deadline, every failure is an error of ours, and what was away is reached
again without a restart."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gallery.milvus import lite
from gallery.milvus.address import Address
from gallery.types import StorageError, StorageFullError

PAGE = 1000
MOST_HITS = 16_384
"""The most neighbours that Milvus gives to one question (milvus.io/docs/limitations.md)."""
DEFINING_TIMEOUT_S = 60.0
"""For making, indexing and loading a collection, which takes seconds even when it is empty."""
_AT_ONCE = 16
_COLLECTION_NOT_FOUND, _NOT_LOADED, _DISK_FULL = 100, 101, 7  # pkg/util/merr/errors.go of Milvus
_UNAVAILABLE = 2

Fields = Mapping[str, Any]
T = TypeVar("T")
U = TypeVar("U")


class AwayError(StorageError):
    """Milvus did not answer in time, or cannot be reached. What was asked may have happened: ask again."""


class GoneError(StorageError):
    """A collection of Milvus is not there (any more)."""


class Connection:
    """A Milvus, reached when it is first asked. Any thread may call; `timeout_s` is the deadline of a call, which a
    server that went away may double. Every read is of consistency level Strong: it sees all that was answered before.
    """

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: Any = None
        self._failed_at = -math.inf
        self._closing = self._closed = False
        self._working = 0
        self._idle = threading.Condition()
        self._inside = threading.local()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="milvus")
        _pymilvus()  # what is missing is said at the start

    def close(self) -> None:
        """Waits for what is being worked on; later work raises StorageError. May be called twice."""
        with self._idle:
            self._closing = True
            self._idle.wait_for(lambda: self._working == 0)
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._threads.shutdown()
            self._leave(self._client)

    @contextmanager
    def working(self) -> Iterator[None]:
        """For the length of a block that asks several times, `close` waits. Such blocks may lie within each other."""
        depth: int = getattr(self._inside, "depth", 0)
        with self._idle:
            if self._closing and not depth:
                raise StorageError("the gallery is closed")
            self._working += 1
        self._inside.depth = depth + 1
        try:
            yield
        finally:
            self._inside.depth = depth
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    # --- rows

    def rows(self, collection: str, where: str, fields: Sequence[str], *, after: str = "") -> Iterator[dict[str, Any]]:
        """All rows for which the expression holds, by rising `pk` from the first past `after`, a page at a time."""
        while True:
            page = self.page(collection, where, fields, after=after, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1]["pk"]

    def page(
        self, collection: str, where: str, fields: Sequence[str], *, after: str = "", limit: int
    ) -> list[dict[str, Any]]:
        """The first `limit` of them."""
        expression = f"({where}) and pk > {quoted(after)}"
        # These two options are how pymilvus's own iterator has rows come in the order of their keys.
        options: Fields = {"iterator": "True", "reduce_stop_for_best": "True", "limit": limit}
        answer = self._call(
            "query", collection, filter=expression, output_fields=["pk", *fields], consistency_level="Strong", **options
        )
        found: list[dict[str, Any]] = [dict(row) for row in answer]
        return found

    def count(self, collection: str, where: str = "") -> int:
        answer = self._call("query", collection, filter=where, output_fields=["count(*)"], consistency_level="Strong")
        return int(answer[0]["count(*)"])

    def search(
        self,
        collection: str,
        queries: NDArray[np.float32],
        where: str,
        fields: Sequence[str],
        *,
        limit: int,
        options: Fields,
    ) -> list[list[tuple[float, dict[str, Any]]]]:
        """For each row of (n, D) float32 the `limit` nearest rows by inner product, best first, with that product."""
        answer = self._call(
            "search",
            collection,
            data=list(queries),
            anns_field="embedding",
            filter=where,
            limit=limit,
            output_fields=list(fields),
            search_params={"metric_type": "IP", "params": dict(options)},
            consistency_level="Strong",
        )
        return [[(float(hit["distance"]), dict(hit["entity"])) for hit in hits] for hits in answer]

    def upsert(self, collection: str, rows: Sequence[Fields]) -> None:
        """Writes rows, over those with the same keys; done again it changes nothing."""
        if rows:
            self._call("upsert", collection, data=[dict(row) for row in rows])

    def delete(self, collection: str, where: str) -> None:
        self._call("delete", collection, filter=where, consistency_level="Strong")

    # --- collections

    def names(self) -> list[str]:
        return sorted(self._call("list_collections"))

    def describe(self, name: str) -> dict[str, Any]:
        """Raises GoneError."""
        return dict(self._call("describe_collection", name))

    def drop(self, name: str) -> None:
        """It may be gone already."""
        try:
            self._call("drop_collection", name, timeout=DEFINING_TIMEOUT_S)
        except GoneError:
            return

    def define(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A call that makes, indexes or loads a collection."""
        return self._call(method, *arguments, timeout=DEFINING_TIMEOUT_S, **named)

    # --- calls

    def together(self, one: Callable[[], T], other: Callable[[], U]) -> tuple[T, U]:
        """Both answers, waited for at the same time. Neither may call this itself."""
        later = self._threads.submit(other)
        try:
            first = one()
        except BaseException:
            later.cancel()
            raise
        return first, later.result()

    def each(self, work: Callable[[T], U], items: Sequence[T]) -> list[U]:
        """`work` of each, several at a time. `work` may not call this itself."""
        return list(self._threads.map(work, items))

    def _call(self, method: str, *arguments: Any, timeout: float | None = None, **named: Any) -> Any:
        options = {"timeout": timeout or self._timeout_s} | named
        try:
            return self._try(method, *arguments, **options)
        except _NotLoadedError:  # released by its operator, or by a restart: bring it back
            self._try("load_collection", arguments[0], timeout=DEFINING_TIMEOUT_S)
            return self._try(method, *arguments, **options)

    def _try(self, method: str, *arguments: Any, **named: Any) -> Any:
        client = self._reached()
        try:
            return getattr(client, method)(*arguments, **named)
        except Exception as error:
            failure = self._failure(error)
            if isinstance(failure, _UnreachableError):
                self._forget(client)
            raise failure from error

    def _reached(self) -> Any:
        asked_at = time.monotonic()
        with self._lock:
            if self._closed:
                raise StorageError("the gallery is closed")
            if self._client is None:
                if self._failed_at > asked_at:  # somebody tried while this waited: it would only wait once more
                    raise AwayError(f"Milvus at {self._address} cannot be reached, or did not answer in time")
                try:
                    self._client = self._connected()
                except StorageError:
                    raise
                except Exception as error:
                    self._failed_at = time.monotonic()
                    raise self._failure(error) from error
            return self._client

    def _connected(self) -> Any:
        address = self._address
        uri = address.uri if address.file is None else lite.opened(address.file)
        options: dict[str, Any] = {"user": address.user, "password": address.password} if address.user else {}
        if address.file is not None:
            options["grpc_options"] = lite.CHANNEL
        try:
            return _pymilvus().MilvusClient(
                uri, db_name=address.database, timeout=self._timeout_s, dedicated=True, **options
            )
        except BaseException:
            if address.file is not None:
                lite.released(address.file)
            raise

    def _forget(self, client: Any) -> None:
        """The next call connects anew: a connection's own attempts grow rarer the longer the server is away."""
        with self._lock:
            if self._client is not client:
                return
            self._client = None
        self._leave(client)

    def _leave(self, client: Any) -> None:
        if client is not None:
            client.close()
            if self._address.file is not None:
                lite.released(self._address.file)

    def _failure(self, error: Exception) -> StorageError:
        import grpc

        code = error.code() if isinstance(error, grpc.RpcError) else getattr(error, "code", None)
        text = error.details() if isinstance(error, grpc.RpcError) else getattr(error, "message", str(error))
        told = " ".join(str(text).split())[:300]
        said = f"Milvus at {self._address}: {told or type(error).__name__}"
        if "closed channel" in said:  # another thread has just given the connection up
            return AwayError(said)
        kinds: dict[Any, type[StorageError]] = {
            grpc.StatusCode.UNAVAILABLE: _UnreachableError,
            grpc.StatusCode.DEADLINE_EXCEEDED: AwayError,
            grpc.StatusCode.CANCELLED: AwayError,
            _UNAVAILABLE: _UnreachableError,
            _COLLECTION_NOT_FOUND: GoneError,
            _NOT_LOADED: _NotLoadedError,
            _DISK_FULL: StorageFullError,
        }
        kind = kinds.get(code, StorageError)
        if issubclass(kind, AwayError):
            said = f"Milvus at {self._address} cannot be reached, or did not answer in time: {told}"
        return kind(said)


class _UnreachableError(AwayError): ...


class _NotLoadedError(StorageError): ...


def quoted(text: str) -> str:
    """As an expression of Milvus holds it; for keys and digests of ours, which need no escaping."""
    return f'"{text}"'


def one_of(field: str, texts: Sequence[str]) -> str:
    """The expression that the field is one of those keys or digests."""
    return f"{field} in [{', '.join(map(quoted, texts))}]"


def _pymilvus() -> Any:
    """Imported when it is asked for: it takes seconds. Raises StorageError."""
    try:
        import pymilvus
    except ImportError as error:
        raise StorageError("a gallery in Milvus needs pymilvus: pip install 'faceserve[milvus]'") from error
    # It logs every failure with a traceback; each is raised to us too, and said once, in our words.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus
