"""One file from the net, right to the byte: resumed where it broke off, from the next address where one fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import parse_url

from engines.base import ModelError
from engines.catalogue import Download
from engines.downloads.checks import is_whole

CHUNK = 2**18
PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that may be others a moment later."""
Progress = Callable[[str, int, int], None]
"""Hears a file's name, how many of its bytes are there, and how many there will be."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often one address is tried again, after how long (doubled each time, half a minute at most), and how long a
    server may say nothing."""

    retries: int = 5
    backoff_s: float = 1.0
    timeout_s: float = 30.0

    def policy(self) -> Retry:
        return Retry(
            total=self.retries,
            backoff_factor=self.backoff_s,
            backoff_max=30,
            status_forcelist=PASSING,
            respect_retry_after_header=False,  # which may say hours
        )


def fetch(
    wanted: Download,
    folder: Path,
    *,
    mirrors: Sequence[str] = (),
    patience: Patience = Patience(),
    progress: Progress = lambda name, done, total: None,
) -> Path:
    """Downloads a file into `folder`, unless it lies there whole, and returns its path.

    The addresses are tried in turn: each of the `mirrors`, the folders that the file may lie in, then the file's own.
    What came of a file before it broke off is kept beside it as `.part`; the file appears once it is right. Proxies and
    certificate authorities are those of the environment (`HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`). One at a time
    may fetch a file. Raises ModelError, saying what each address answered, and OSError where the disk fails.
    """
    target, part = folder / wanted.name, folder / f"{wanted.name}.part"
    if is_whole(target, wanted):
        return target
    failures = []
    for url in [*(f"{mirror.rstrip('/')}/{wanted.name}" for mirror in mirrors), *wanted.urls]:
        failure = _failure(url, wanted, part, patience, progress)
        if failure is None:
            part.replace(target)
            return target
        failures.append(f"{url}: {failure}")
    raise ModelError(
        f"{wanted.name} could not be downloaded: {'; '.join(failures)}. Try again later (what came is kept), or give "
        "--mirror URL, or --from FOLDER with the file in it"
    )


def _failure(url: str, wanted: Download, part: Path, patience: Patience, progress: Progress) -> str | None:
    """Why this address did not give the file; None when it did."""
    try:
        with _pool(url, patience) as pool:
            _fetch_from(url, wanted, part, pool, patience.policy(), progress)
    except (ModelError, HTTPError) as error:
        return str(getattr(error, "reason", None) or error).rstrip(".")
    return None


def _pool(url: str, patience: Patience) -> PoolManager:
    parts = parse_url(url)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ModelError("only http:// and https:// addresses are understood")
    timeout = Timeout(connect=patience.timeout_s, read=patience.timeout_s)
    proxy = None if proxy_bypass(parts.host) else getproxies().get(parts.scheme)
    if not proxy:
        return PoolManager(timeout=timeout)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    auth = parse_url(proxy).auth
    headers = make_headers(proxy_basic_auth=unquote(auth)) if auth else None
    return ProxyManager(proxy, timeout=timeout, proxy_headers=headers)


def _fetch_from(url: str, wanted: Download, part: Path, pool: PoolManager, policy: Retry, progress: Progress) -> None:
    """Completes `part` from one address: what is there already may be of another file, then once more from nothing.

    This does without `If-Range`: mirrors name the same file by different tags, and its SHA-256 is known anyway.
    """
    for kept in sorted({_size(part), 0}, reverse=True):
        if kept == 0:
            part.unlink(missing_ok=True)
        _complete(url, wanted, part, pool, policy, progress)
        if is_whole(part, wanted):
            return
    part.unlink()
    raise ModelError(f"this is another file: its SHA-256 is not {wanted.sha256}")


def _complete(url: str, wanted: Download, part: Path, pool: PoolManager, policy: Retry, progress: Progress) -> None:
    while (have := _size(part)) < wanted.bytes:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        response = pool.request("GET", url, headers=headers, preload_content=False, retries=policy)
        try:
            _append(response, have, wanted, part, progress)
        except HTTPError as error:
            policy = policy.increment("GET", url, error=error)
            policy.sleep()
        finally:
            response.close()


def _append(response: BaseHTTPResponse, have: int, wanted: Download, part: Path, progress: Progress) -> None:
    """Adds to `part` what one answer has for it, or begins it anew where the answer is the whole file."""
    continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if have and response.status in (206, 416) and not continues:
        part.unlink()
        raise ProtocolError(f"asked for the bytes from {have} on, it answered {response.status} with others")
    if response.status != 200 and not continues:
        raise ModelError(f"answered {response.status} {response.reason or ''}".rstrip())
    have = have if continues else 0
    length = response.length_remaining
    if length is not None and have + length != wanted.bytes:
        raise ModelError(f"has {have + length} bytes, {wanted.name} must have {wanted.bytes}")
    with part.open("ab" if continues else "wb") as file:
        for chunk in response.stream(CHUNK, decode_content=False):
            have += len(chunk)
            if have > wanted.bytes:
                raise ModelError(f"sends more than the {wanted.bytes} bytes of {wanted.name}")
            file.write(chunk)
            progress(wanted.name, have, wanted.bytes)
        file.flush()
        os.fsync(file.fileno())
    if have < wanted.bytes:
        raise ProtocolError(f"ended after {have} of {wanted.bytes} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
