"""Tests of downloads from a local server that can fail in many ways."""

import hashlib
import queue
import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pooch
import pytest

from mdnrnn.data import download as download_module
from mdnrnn.data.download import cache_folder, delete_download, download, recorded_checksum
from mdnrnn.errors import InputError

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = b"another file"


class Server(ThreadingHTTPServer):
    """Server whose response depends on the first part of the path; `stopped` ends endless responses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stopped = threading.Event()
        self.requests: list[str] = []
        self.body = BODY

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close the connection."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        getattr(self, "_" + self.path.strip("/").split("/")[0])()

    def log_message(self, *_: object) -> None:
        pass

    def _send_head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def _send_forever(self, data: bytes, pause: float) -> None:
        while not self.server.stopped.wait(pause):
            self.wfile.write(data)
            self.wfile.flush()

    def _good(self) -> None:
        self._send_head(Content_Length=len(self.server.body))
        self.wfile.write(self.server.body)

    def _chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self._send_head(Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))

    def _chunked_half(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self._send_head(Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(b"%x\r\n%s" % (len(BODY), BODY[: len(BODY) // 2]))

    def _half(self) -> None:
        self._send_head(Content_Length=len(BODY))
        self.wfile.write(BODY[: len(BODY) // 2])

    def _half_without_length(self) -> None:
        self._send_head()
        self.wfile.write(BODY[: len(BODY) // 2])

    def _hangs_up(self) -> None:
        self.close_connection = True

    def _silent(self) -> None:
        self.server.stopped.wait()

    def _drips_headers(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
        self._send_forever(b"x", 0.02)

    def _drips(self) -> None:
        self._send_head(Content_Length=len(BODY))
        self._send_forever(b"x", 0.02)

    def _slow(self) -> None:
        self._send_head(Content_Length=10 << 20)
        self._send_forever(bytes(1 << 14), 0.01)

    def _endless(self) -> None:
        self._send_head()
        self._send_forever(bytes(1 << 16), 0)

    def _huge(self) -> None:
        self._send_head(Content_Length=1 << 40)
        self._send_forever(bytes(1 << 10), 0.1)

    def _missing(self) -> None:
        self.send_error(404)

    def _broken(self) -> None:
        self.send_error(503)

    def _redirect(self) -> None:
        self._send_head(302, Location=self.server.url("good"))

    def _redirect_to_file(self) -> None:
        self._send_head(302, Location="file:///etc/hostname")

    def _circle(self) -> None:
        self._send_head(302, Location=self.server.url("circle"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server on the loopback interface, without a proxy; afterwards check that no download continues."""
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.stopped.set()
        running.shutdown()
        thread.join()
    for other in threading.enumerate():
        if other.name.startswith("download "):
            other.join(60)
            assert not other.is_alive()


def fetch(
    url: str,
    path: Path,
    sha256: str | None = SHA256,
    *,
    max_bytes: int = 1 << 20,
    timeout: float = 600.0,
    stall_timeout: float = 300.0,
) -> str:
    return download(
        url,
        path,
        sha256=sha256,
        max_bytes=max_bytes,
        not_found_hint="ask for another",
        timeout=timeout,
        stall_timeout=stall_timeout,
    )


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", ["good", "chunked", "redirect", "good/The%20Eiffel%20Tower"])
def test_intact_download_is_not_requested_again(server: Server, tmp_path: Path, path: str) -> None:
    target = tmp_path / "deep" / "The Eiffel Tower é.npz"
    assert fetch(server.url(path), target) == SHA256
    requests = len(server.requests)
    assert fetch(server.url(path), target) == SHA256
    assert target.read_bytes() == BODY
    assert len(server.requests) == requests
    assert list_files(tmp_path) == ["deep/The Eiffel Tower é.npz"]


def test_download_prints_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for handler in pooch.get_logger().handlers:
        monkeypatch.setattr(handler, "stream", sys.stderr)
    fetch(server.url("good"), tmp_path / "file", None)
    assert capsys.readouterr() == ("", "")


def test_terminal_shows_a_progress_bar(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "write", written.append)
    fetch(server.url("good"), tmp_path / "file")
    assert "good:" in "".join(written)


@pytest.mark.parametrize(
    ("path", "limits", "message"),
    [
        ("half", {}, "closed early|received 51200 of 102400 bytes"),
        ("chunked_half", {}, "closed early"),
        ("half_without_length", {}, f"its SHA-256 differs from the one in the catalog, {SHA256}"),
        ("half_without_length", {"sha256": None}, "neither its length nor its checksum is known"),
        ("half", {"sha256": None}, "closed early|received 51200 of 102400 bytes"),
        ("hangs_up", {}, "no connection"),
        ("silent", {"stall_timeout": 0.3}, "in 0.3 seconds"),
        ("drips_headers", {"stall_timeout": 0.3}, "in 0.3 seconds"),
        ("drips", {"stall_timeout": 0.3}, "in 0.3 seconds"),
        ("endless", {"max_bytes": 1 << 20}, "over 1048576 bytes"),
        ("huge", {}, "over 1048576 bytes"),
        ("missing", {}, "404 Not Found; ask for another"),
        ("broken", {}, "503 Service Unavailable; try again later"),
        ("redirect_to_file", {}, "InvalidSchema"),
        ("circle", {}, "TooManyRedirects"),
    ],
)
def test_failed_download_raises_in_one_line_and_leaves_no_file(
    server: Server, tmp_path: Path, path: str, limits: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match="cannot download") as caught:
        fetch(server.url(path), tmp_path / "file", **limits)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    assert list_files(tmp_path) == []


@pytest.mark.parametrize("path", ["slow", "endless"])
def test_download_stops_at_the_timeout(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The clock advances by a second per reading, and it is read once per chunk."""
    seconds = count()
    monkeypatch.setattr(download_module, "_clock", lambda: float(next(seconds)))
    with pytest.raises(InputError, match="it was not complete after 20 seconds"):
        fetch(server.url(path), tmp_path / "file", timeout=20, max_bytes=1 << 40)
    assert next(seconds) <= 22
    assert list_files(tmp_path) == []


def test_no_wait_exceeds_the_stall_timeout_or_the_remaining_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    get = queue.Queue.get

    def record(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        if threading.current_thread() is threading.main_thread():
            waits.append(float("inf") if timeout is None else timeout)
        return get(self, block, timeout)

    seconds = count()
    monkeypatch.setattr(download_module, "_clock", lambda: float(next(seconds)))
    monkeypatch.setattr(queue.Queue, "get", record)
    fetch(server.url("good"), tmp_path / "file", timeout=12, stall_timeout=7)
    assert waits == [min(7.0, 12.0 - second) for second in range(1, 1 + len(waits))]
    assert len(waits) == 2 + -(-len(BODY) // (1 << 14))  # the header, the chunks and the end


def test_wrong_checksum_raises(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"in the catalog, {'0' * 64}; try again later"):
        fetch(server.url("good"), tmp_path / "file", "0" * 64)
    assert list_files(tmp_path) == []


def test_missing_server_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for host in (f"127.0.0.1:{unused.getsockname()[1]}", "nosuch.invalid"):
            with pytest.raises(InputError, match=r"no connection|bytes in 3 seconds"):
                fetch(f"http://{host}/file", tmp_path / "file", stall_timeout=3)
    assert list_files(tmp_path) == []


def test_first_download_is_trusted_and_another_file_raises(server: Server, tmp_path: Path) -> None:
    target, url = tmp_path / "file", server.url("good")
    assert fetch(url, target, None) == SHA256
    assert recorded_checksum(url, target) == SHA256
    assert list_files(tmp_path) == ["file", "file.json"]
    target.unlink()
    server.body = OTHER
    with pytest.raises(InputError, match=r"one of the first download, \w{64}; try again later, or delete .*file\.json"):
        fetch(url, target, None)
    assert list_files(tmp_path) == ["file.json"]
    (tmp_path / "file.json").unlink()
    assert fetch(url, target, None) == hashlib.sha256(OTHER).hexdigest()
    delete_download(target)
    assert list_files(tmp_path) == []


def test_new_url_is_not_compared_with_the_old_checksum(server: Server, tmp_path: Path) -> None:
    fetch(server.url("good/old"), tmp_path / "file", None)
    server.body = OTHER
    fetch(server.url("good/new"), tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == OTHER


@pytest.mark.parametrize("sha256", [SHA256, None])
@pytest.mark.parametrize("damage", [BODY[:1000], BODY[:-1] + b"x", b""])
def test_damaged_file_is_downloaded_again(server: Server, tmp_path: Path, sha256: str | None, damage: bytes) -> None:
    target = tmp_path / "file"
    fetch(server.url("good"), target, sha256)
    target.write_bytes(damage)
    fetch(server.url("good"), target, sha256)
    assert target.read_bytes() == BODY


def test_file_without_a_recorded_checksum_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OTHER)
    fetch(server.url("good"), tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"sha256": 1}'])
def test_damaged_checksum_record_raises(server: Server, tmp_path: Path, record: str) -> None:
    (tmp_path / "file.json").write_text(record)
    with pytest.raises(InputError, match=r"file\.json cannot be read"):
        fetch(server.url("good"), tmp_path / "file", None)


def test_full_disk_raises_and_leaves_no_file(server: Server, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file sizes exist on POSIX only")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*file: File too large; free some space"):
            fetch(server.url("good"), tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list_files(tmp_path) == []


@pytest.mark.parametrize("folder", ["cache", "cache/deeper"])
def test_file_in_place_of_the_folder_raises(server: Server, tmp_path: Path, folder: str) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .* or set MDNRNN_CACHE to another folder"):
        fetch(server.url("good"), tmp_path / folder / "file")
    assert list_files(tmp_path) == ["cache"]


def test_concurrent_downloads_leave_one_intact_file(server: Server, tmp_path: Path) -> None:
    results: list[str] = []
    target = tmp_path / "file"
    threads = [
        threading.Thread(target=lambda: results.append(fetch(server.url("good"), target, None))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [SHA256] * 8
    assert list_files(tmp_path) == ["file", "file.json"]


def test_environment_variable_sets_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDNRNN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("MDNRNN_CACHE", "~/cache")
    assert cache_folder() == Path.home() / "cache"
    monkeypatch.delenv("MDNRNN_CACHE")
    assert cache_folder().name == "mdnrnn"
