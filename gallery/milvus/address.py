"""Where a Milvus is, as one URL says it. The password is in no text that this gives."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEMES = ("milvus", "milvus+tls")
EXPECTED = (
    "expected milvus://[user:password@]host[:port][/database], milvus+tls://… for TLS, or milvus:///folder/file.db for "
    "milvus-lite"
)
INDEXES = ("AUTOINDEX", "FLAT", "HNSW", "DISKANN")
DEFAULT_PORT = 19530
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


@dataclass(frozen=True, slots=True)
class Address:
    """A server (`host`, `port`), or a `file` of milvus-lite. `index` is the kind of index that new collections get."""

    host: str = ""
    port: int = DEFAULT_PORT
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    file: Path | None = None
    index: str = "AUTOINDEX"

    def __str__(self) -> str:
        """Without user and password."""
        if self.file is not None:
            return f"{SCHEMES[0]}://{self.file.as_posix()}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEMES[self.tls]}://{host}:{self.port}" + (f"/{self.database}" if self.database else "")

    @property
    def uri(self) -> str:
        """Of a server, as pymilvus takes it; user and password are given apart."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def is_url(place: str) -> bool:
    """Whether it is meant for `parse`, and no folder."""
    return "://" in place


def parse(url: str) -> Address:
    """Raises ValueError, which tells what was not understood and what is expected, but never a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text would tell what stands where a password may
        raise _refusal("its host or port is none: a port is a number from 0 to 65535") from None
    if parts.scheme not in SCHEMES:
        raise _refusal(f"the scheme is {parts.scheme[:20]!r}")
    if (
        parts.netloc and "@" in f"{parts.path}?{parts.query}#{parts.fragment}"
    ):  # what follows would tell a part of the password
        raise _refusal("it has a '/', '?' or '#' before its '@': write %2F, %3F and %23 in a user or password")
    if parts.fragment:
        raise _refusal("it has a '#', after which nothing is expected: write %23 in a user or password")
    index = _index(parts.query)
    if not parts.netloc:
        return _file(parts, index)
    if not parts.hostname:
        raise _refusal("it has no host")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise _refusal("it has a user without a password, or a password without a user")
    database = parts.path.strip("/")
    if database and not _DATABASE.fullmatch(database):
        raise _refusal(f"the database is {database[:40]!r}, not letters, digits and '_'")
    tls = parts.scheme == SCHEMES[1]
    return Address(parts.hostname, port or DEFAULT_PORT, tls, user, password, database, index=index or "AUTOINDEX")


def _file(parts: SplitResult, index: str | None) -> Address:
    path = Path(unquote(parts.path))
    if parts.scheme != SCHEMES[0] or not path.is_absolute() or path.suffix != ".db":
        raise _refusal("it names neither a host nor a file that ends in .db")
    return Address(file=path, index=index or "FLAT")


def _index(query: str) -> str | None:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    kind = asked.pop("index", None)
    if asked:
        raise _refusal(f"{sorted(asked)[0][:20]!r} is not known after '?', index is")
    if kind is not None and kind.upper() not in INDEXES:
        raise _refusal(f"the index is {kind[:20]!r}, not one of {', '.join(INDEXES)}")
    return None if kind is None else kind.upper()


def _refusal(what: str) -> ValueError:
    return ValueError(f"the gallery's URL is not understood: {what}; {EXPECTED}")
