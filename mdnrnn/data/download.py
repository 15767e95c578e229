"""Downloads into the user's cache: whole, with the right checksum, within bounds of size and time; or not at all."""

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
import requests
from tqdm import tqdm

from mdnrnn.errors import InputError
from mdnrnn.files import write_json

SECONDS, STALL = 3600.0, 30.0
_CHUNK = 1 << 14
_CHUNKS_AHEAD = 256


def cache_folder() -> Path:
    """Where downloads are kept: MDNRNN_CACHE, or else the place for caches of this system."""
    return Path(os.environ.get("MDNRNN_CACHE") or pooch.os_cache("mdnrnn")).expanduser()


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    largest: int,
    absent: str,
    seconds: float = SECONDS,
    stall: float = STALL,
) -> str:
    """See to it that `path` holds what `url` gives, and tell its sha256; an undamaged file is not loaded again.

    Args:
        sha256: what it must be; where nobody knows, that of the first download is remembered and expected ever after.
        largest: a server that sends more bytes is cut off.
        absent: what to tell the user where the server has no such file.
        seconds: for all of it.
        stall: seconds in which at least a chunk of 16 KiB must come.
    """
    there = path.exists()  # asked first: another process notes the checksum, then puts the file in place
    known = sha256 or remembered(url, path)
    try:
        if there:
            if known is not None and known == pooch.file_hash(path):
                return known
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        receive = partial(
            _receive,
            largest=largest,
            absent=absent,
            seconds=seconds,
            stall=stall,
            note=_note(path) if known is None else None,
        )
        with _quiet_pooch():
            pooch.retrieve(url, known, path.name, path.parent, downloader=receive)
        return known or str(remembered(url, path))
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot keep {path}: {reason}; free some space, or let MDNRNN_CACHE name a folder") from error
    except ValueError as error:  # pooch found another checksum, and deleted what came
        what_to_do = f"delete {_note(path)} to trust the new file" if sha256 is None else "try another network"
        origin = "the first download had" if sha256 is None else "the catalog expects"
        raise InputError(
            f"cannot download {url}: its sha256 is not {known}, which {origin}; try again later, or {what_to_do}"
        ) from error


def remembered(url: str | None, path: Path) -> str | None:
    """The sha256 that the first download from `url` to `path` had."""
    try:
        note = json.loads(_note(path).read_bytes())
        return str(note["sha256"]) if note["url"] == url else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{_note(path)} cannot be read; expected the checksum of a download; delete it") from error


def forget(path: Path) -> None:
    """Delete a download and what is remembered of it."""
    for each in (path, _note(path)):
        each.unlink(missing_ok=True)


def _note(path: Path) -> Path:
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
    largest: int,
    absent: str,
    seconds: float,
    stall: float,
    note: Path | None,
) -> None:
    """A downloader for pooch: write what `url` gives to `target`, and its checksum to `note`."""
    answer, received = _Answer(url, stall), 0
    name = url.rsplit("/", 1)[-1]
    # disable=None: no bar where stderr is not a terminal
    with open(target, "wb") as file, tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for chunk in answer.chunks(seconds, absent):
            received += len(chunk)
            if max(received, answer.length or 0) > largest:
                raise InputError(
                    f"cannot download {url}: it has over {largest} bytes, the most expected; do not use it"
                )
            file.write(chunk)
            bar.total = answer.length
            bar.update(len(chunk))
    if answer.length not in (None, received):  # urllib3 tells that itself only from version 2 on
        raise InputError(f"cannot download {url}: only {received} of {answer.length} bytes came; try again")
    if note is None:
        return
    if not answer.has_an_end:
        raise InputError(
            f"cannot download {url}: neither its length nor its checksum is known, so it may be cut short; "
            "load it with a browser and give its path"
        )
    write_json(note, {"url": url, "sha256": pooch.file_hash(target)})


class _Answer:
    """What a server answers, received in a thread: no timeout of a socket cuts off a slow name server, or a server
    that sends its headers byte by byte."""

    def __init__(self, url: str, stall: float) -> None:
        self.url, self.stall = url, stall
        self.length: int | None = None
        self.has_an_end = False
        """Whether a connection that breaks off can be told from the end of the file."""
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(_CHUNKS_AHEAD)
        self._given_up = threading.Event()

    def chunks(self, seconds: float, absent: str) -> Iterator[bytes]:
        """Its bytes; an InputError as soon as they do not come."""
        deadline = time.monotonic() + seconds
        threading.Thread(target=self._run, name=f"download {self.url}", daemon=True).start()
        try:
            while (item := self._next(deadline, seconds)) is not None:
                if isinstance(item, Exception):
                    raise InputError(f"cannot download {self.url}: {_explain(item, absent)}") from item
                yield item
        finally:
            self._given_up.set()

    def _next(self, deadline: float, seconds: float) -> bytes | Exception | None:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise queue.Empty
            return self._queue.get(timeout=min(self.stall, left))
        except queue.Empty as error:
            reason = (
                f"less than {_CHUNK} bytes came in {self.stall:g} seconds; check the network, or try again later"
                if left > self.stall
                else f"it was not complete after {seconds:g} seconds; try again on a faster network"
            )
            raise InputError(f"cannot download {self.url}: {reason}") from error

    def _run(self) -> None:
        plain = {"Accept-Encoding": "identity"}  # so that the length is that of the file
        try:
            with requests.get(self.url, stream=True, timeout=2 * self.stall, headers=plain) as response:
                response.raise_for_status()
                chunked, sized = (key in response.headers for key in ("Transfer-Encoding", "Content-Length"))
                self.has_an_end = chunked or sized
                if sized and not chunked and "Content-Encoding" not in response.headers:
                    self.length = int(response.headers["Content-Length"])
                self._put(b"")  # before its bytes are there: its length may be too much
                for chunk in response.iter_content(_CHUNK):
                    self._put(chunk)
                    if self._given_up.is_set():
                        return
            self._put(None)
        except Exception as error:  # whoever reads the chunks is to explain it
            self._put(error)

    def _put(self, item: bytes | Exception | None) -> None:
        while not self._given_up.is_set():
            try:
                return self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
        return None


def _explain(error: Exception, absent: str) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        missing = error.response.status_code == requests.codes.not_found
        what_to_do = absent if missing else "try again later"
        return f"the server answers {error.response.status_code} {error.response.reason}; {what_to_do}"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not valid; check this machine's clock, certificates and proxy"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off; try again"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server; check the network and the proxy, or load it elsewhere and give its path"
    return f"{type(error).__name__}: {error}; try again later"
