"""Download files to the user's cache, with checksums and with limits of size and time."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pooch
from tqdm.auto import tqdm

from mdnrnn.errors import InputError
from mdnrnn.files.atomic import write_json

TIMEOUT, STALL_TIMEOUT = 3600.0, 30.0
_CHUNK_BYTES = 1 << 14
_MAX_QUEUED_CHUNKS = 256
_clock = time.monotonic


def cache_folder() -> Path:
    """Return the cache folder: the environment variable MDNRNN_CACHE if it is set, else the system's cache folder."""
    return Path(os.environ.get("MDNRNN_CACHE") or pooch.os_cache("mdnrnn")).expanduser()


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    max_bytes: int,
    not_found_hint: str,
    timeout: float = TIMEOUT,
    stall_timeout: float = STALL_TIMEOUT,
) -> str:
    """Download `url` to `path` if `path` is not an intact copy already. Return the SHA-256 of the file.

    Args:
        url: address of the file.
        path: file to write.
        sha256: expected checksum. If None, the checksum of the first download is recorded, and later downloads must
            have this checksum.
        max_bytes: maximum size in bytes; a larger download is aborted.
        not_found_hint: advice in the error message if the server does not have the file.
        timeout: maximum duration of the download, in seconds.
        stall_timeout: maximum time to receive a chunk of 16 KiB, in seconds.

    Raises:
        InputError: if the download fails. No partial file is left at `path`.
    """
    # Check existence before reading the checksum: a concurrent download writes the checksum, then moves the file.
    exists = path.exists()
    known = sha256 or recorded_checksum(url, path)
    try:
        if exists:
            if known is not None and known == pooch.file_hash(path):
                return known
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        receive = partial(
            _receive,
            max_bytes=max_bytes,
            not_found_hint=not_found_hint,
            timeout=timeout,
            stall_timeout=stall_timeout,
            checksum_path=_checksum_path(path) if known is None else None,
        )
        with _quiet_pooch():
            pooch.retrieve(url, known, path.name, path.parent, downloader=receive)
        return known or str(recorded_checksum(url, path))
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}; free some space, or set MDNRNN_CACHE to another folder"
        ) from error
    except ValueError as error:  # pooch deleted the file because its checksum differs
        advice = f"delete {_checksum_path(path)} to trust the new file" if sha256 is None else "try another network"
        origin = "of the first download" if sha256 is None else "in the catalog"
        raise InputError(
            f"cannot download {url}: its SHA-256 differs from the one {origin}, {known}; try again later, or {advice}"
        ) from error


def recorded_checksum(url: str | None, path: Path) -> str | None:
    """Return the recorded SHA-256 of the first download from `url` to `path`; None if there is no record."""
    checksum_path = _checksum_path(path)
    try:
        record = json.loads(checksum_path.read_bytes())
        return str(record["sha256"]) if record["url"] == url else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{checksum_path} cannot be read; expected the checksum of a download; delete the file and try again"
        ) from error


def delete_download(path: Path) -> None:
    """Delete a downloaded file and its recorded checksum."""
    for each in (path, _checksum_path(path)):
        each.unlink(missing_ok=True)


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _receive(
    url: str,
    target: str,
    _pooch: object,
    *,
    max_bytes: int,
    not_found_hint: str,
    timeout: float,
    stall_timeout: float,
    checksum_path: Path | None,
) -> None:
    """Download `url` to `target`. If `checksum_path` is given, write the checksum of the file there.

    `pooch.retrieve` receives this function as its argument `downloader`.
    """
    response, received = _Response(url, stall_timeout), 0
    name = url.rsplit("/", 1)[-1]
    # disable=None: no progress bar if stderr is not a terminal
    with open(target, "wb") as file, tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for chunk in response.chunks(timeout, not_found_hint):
            received += len(chunk)
            if max(received, response.length or 0) > max_bytes:
                raise InputError(
                    f"cannot download {url}: it has over {max_bytes} bytes, the maximum; it is not the expected file"
                )
            file.write(chunk)
            bar.total = response.length
            bar.update(len(chunk))
    if response.length not in (None, received):  # urllib3 checks this only since version 2
        raise InputError(f"cannot download {url}: received {received} of {response.length} bytes; try again")
    if checksum_path is None:
        return
    if not response.has_end_marker:
        raise InputError(
            f"cannot download {url}: neither its length nor its checksum is known, so it may be incomplete; "
            "download it with a browser and pass its path"
        )
    write_json(checksum_path, {"url": url, "sha256": pooch.file_hash(target)})


class _Response:
    """HTTP response that a background thread receives and puts into a queue.

    Socket timeouts do not limit the time that is spent on slow name servers, or on servers that send headers byte by
    byte. Therefore `chunks` enforces the time limits when it reads the queue.
    """

    def __init__(self, url: str, stall_timeout: float) -> None:
        self.url, self.stall_timeout = url, stall_timeout
        self.length: int | None = None
        self.has_end_marker = False
        """Whether the end of the file can be distinguished from a broken connection."""
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(_MAX_QUEUED_CHUNKS)
        self._canceled = threading.Event()

    def chunks(self, timeout: float, not_found_hint: str) -> Iterator[bytes]:
        """Yield the content in chunks; raise `InputError` on failure, stall or timeout."""
        deadline = _clock() + timeout
        threading.Thread(target=self._run, name=f"download {self.url}", daemon=True).start()
        try:
            while (item := self._next(deadline, timeout)) is not None:
                if isinstance(item, Exception):
                    raise InputError(f"cannot download {self.url}: {_explain(item, not_found_hint)}") from item
                yield item
        finally:
            self._canceled.set()

    def _next(self, deadline: float, timeout: float) -> bytes | Exception | None:
        remaining = deadline - _clock()
        try:
            if remaining <= 0:
                raise queue.Empty
            return self._queue.get(timeout=min(self.stall_timeout, remaining))
        except queue.Empty as error:
            reason = (
                f"received less than {_CHUNK_BYTES} bytes in {self.stall_timeout:g} seconds; check the network, or try "
                "again later"
                if remaining > self.stall_timeout
                else f"it was not complete after {timeout:g} seconds; try again on a faster network"
            )
            raise InputError(f"cannot download {self.url}: {reason}") from error

    def _run(self) -> None:
        import requests  # imported here: slow to import, and most commands download nothing

        headers = {"Accept-Encoding": "identity"}  # so that Content-Length is the size of the file
        try:
            with requests.get(self.url, stream=True, timeout=2 * self.stall_timeout, headers=headers) as response:
                response.raise_for_status()
                is_chunked, is_sized = (key in response.headers for key in ("Transfer-Encoding", "Content-Length"))
                self.has_end_marker = is_chunked or is_sized
                if is_sized and not is_chunked and "Content-Encoding" not in response.headers:
                    self.length = int(response.headers["Content-Length"])
                self._put(b"")  # lets `_receive` check the length before any content arrives
                for chunk in response.iter_content(_CHUNK_BYTES):
                    self._put(chunk)
                    if self._canceled.is_set():
                        return
            self._put(None)
        except Exception as error:  # `chunks` reports it in the caller's thread
            self._put(error)

    def _put(self, item: bytes | Exception | None) -> None:
        while not self._canceled.is_set():
            try:
                return self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
        return None


def _explain(error: Exception, not_found_hint: str) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        is_missing = error.response.status_code == requests.codes.not_found
        advice = not_found_hint if is_missing else "try again later"
        return f"the server answers {error.response.status_code} {error.response.reason}; {advice}"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not valid; check this machine's clock, certificates and proxy"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was closed early; try again"
    if isinstance(error, requests.ConnectionError):
        return (
            "no connection to the server; check the network and the proxy, or download it elsewhere and pass its path"
        )
    return f"{type(error).__name__}: {error}; try again later"
