"""Downloads from a real server on this machine, one that does all that servers do wrong."""

import hashlib
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from mdnrnn.data.download import cache_folder, download, forget, remembered
from mdnrnn.errors import InputError

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = b"another file"


class Server(ThreadingHTTPServer):
    """Answers by the first word of the path; `stopped` ends those that would go on for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stopped = threading.Event()
        self.asked: list[str] = []
        self.body = BODY

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error here."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        getattr(self, "_" + self.path.strip("/").split("/")[0])()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def _again(self, data: bytes, pause: float) -> None:
        while not self.server.stopped.wait(pause):
            self.wfile.write(data)
            self.wfile.flush()

    def _good(self) -> None:
        self._head(Content_Length=len(self.server.body))
        self.wfile.write(self.server.body)

    def _chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self._head(Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))

    def _chunked_half(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self._head(Transfer_Encoding="chunked", Connection="close")
        self.wfile.write(b"%x\r\n%s" % (len(BODY), BODY[: len(BODY) // 2]))

    def _half(self) -> None:
        self._head(Content_Length=len(BODY))
        self.wfile.write(BODY[: len(BODY) // 2])

    def _half_unsaid(self) -> None:
        self._head()
        self.wfile.write(BODY[: len(BODY) // 2])

    def _hangs_up(self) -> None:
        self.close_connection = True

    def _silent(self) -> None:
        self.server.stopped.wait()

    def _drips_headers(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
        self._again(b"x", 0.02)

    def _drips(self) -> None:
        self._head(Content_Length=len(BODY))
        self._again(b"x", 0.02)

    def _slow(self) -> None:
        self._head(Content_Length=10 << 20)
        self._again(bytes(1 << 14), 0.1)

    def _endless(self) -> None:
        self._head()
        self._again(bytes(1 << 16), 0)

    def _huge(self) -> None:
        self._head(Content_Length=1 << 40)
        self._again(bytes(1 << 10), 0.1)

    def _missing(self) -> None:
        self.send_error(404)

    def _broken(self) -> None:
        self.send_error(503)

    def _redirect(self) -> None:
        self._head(302, Location=self.server.url("good"))

    def _redirect_to_file(self) -> None:
        self._head(302, Location="file:///etc/hostname")

    def _circle(self) -> None:
        self._head(302, Location=self.server.url("circle"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """On loopback, past any proxy; afterwards no download goes on."""
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
            other.join(5)
            assert not other.is_alive()


def fetch(
    url: str,
    path: Path,
    sha256: str | None = SHA256,
    *,
    largest: int = 1 << 20,
    seconds: float = 20.0,
    stall: float = 10.0,
) -> str:
    return download(url, path, sha256=sha256, largest=largest, absent="ask for another", seconds=seconds, stall=stall)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", ["good", "chunked", "redirect", "good/The%20Eiffel%20Tower"])
def test_a_download_is_kept_and_not_asked_for_again(server: Server, tmp_path: Path, path: str) -> None:
    target = tmp_path / "deep" / "The Eiffel Tower é.npz"
    assert fetch(server.url(path), target) == SHA256
    asked = len(server.asked)
    assert fetch(server.url(path), target) == SHA256
    assert target.read_bytes() == BODY
    assert len(server.asked) == asked
    assert files(tmp_path) == ["deep/The Eiffel Tower é.npz"]


def test_nothing_is_printed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for handler in pooch.get_logger().handlers:
        monkeypatch.setattr(handler, "stream", sys.stderr)
    fetch(server.url("good"), tmp_path / "file", None)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_progress_bar(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "write", written.append)
    fetch(server.url("good"), tmp_path / "file")
    assert "good:" in "".join(written)


@pytest.mark.parametrize(
    ("path", "limits", "told"),
    [
        ("half", {}, "broke off"),
        ("chunked_half", {}, "broke off"),
        ("half_unsaid", {}, f"its sha256 is not {SHA256}"),
        ("half_unsaid", {"sha256": None}, "neither its length nor its checksum is known"),
        ("half", {"sha256": None}, "broke off"),
        ("hangs_up", {}, "no connection"),
        ("silent", {"stall": 0.3}, "in 0.3 seconds"),
        ("drips_headers", {"stall": 0.3}, "in 0.3 seconds"),
        ("drips", {"stall": 0.3}, "in 0.3 seconds"),
        ("slow", {"seconds": 0.5, "largest": 1 << 30}, "not complete after 0.5 seconds"),
        ("endless", {"largest": 1 << 20}, "over 1048576 bytes"),
        ("endless", {"seconds": 0.3, "largest": 1 << 40}, "not complete after 0.3 seconds"),
        ("huge", {}, "over 1048576 bytes"),
        ("missing", {}, "404 Not Found; ask for another"),
        ("broken", {}, "503 Service Unavailable; try again later"),
        ("redirect_to_file", {}, "InvalidSchema"),
        ("circle", {}, "TooManyRedirects"),
    ],
)
def test_a_download_that_fails_is_told_in_a_line_and_leaves_nothing(
    server: Server, tmp_path: Path, path: str, limits: dict[str, float], told: str
) -> None:
    settings = {"stall": 30.0, **limits}
    started = time.monotonic()
    with pytest.raises(InputError, match="cannot download") as caught:
        fetch(server.url(path), tmp_path / "file", **settings)  # type: ignore[arg-type]
    assert time.monotonic() - started < 4
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"is not {'0' * 64}, which the catalog expects; try again later"):
        fetch(server.url("good"), tmp_path / "file", "0" * 64)
    assert files(tmp_path) == []


def test_no_server_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for host in (f"127.0.0.1:{unused.getsockname()[1]}", "nosuch.invalid"):
            with pytest.raises(InputError, match=r"no connection|bytes came in 3 seconds"):
                fetch(f"http://{host}/file", tmp_path / "file", stall=3)
    assert files(tmp_path) == []


def test_the_first_download_is_trusted_and_no_other(server: Server, tmp_path: Path) -> None:
    target, url = tmp_path / "file", server.url("good")
    assert fetch(url, target, None) == SHA256
    assert remembered(url, target) == SHA256
    assert files(tmp_path) == ["file", "file.json"]
    target.unlink()
    server.body = OTHER
    with pytest.raises(InputError, match=r"which the first download had; try again later, or delete .*file\.json"):
        fetch(url, target, None)
    assert files(tmp_path) == ["file.json"]
    (tmp_path / "file.json").unlink()
    assert fetch(url, target, None) == hashlib.sha256(OTHER).hexdigest()
    forget(target)
    assert files(tmp_path) == []


def test_a_new_address_is_not_held_to_the_old_checksum(server: Server, tmp_path: Path) -> None:
    fetch(server.url("good/old"), tmp_path / "file", None)
    server.body = OTHER
    fetch(server.url("good/new"), tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == OTHER


@pytest.mark.parametrize("sha256", [SHA256, None])
@pytest.mark.parametrize("damage", [BODY[:1000], BODY[:-1] + b"x", b""])
def test_a_damaged_file_is_loaded_anew(server: Server, tmp_path: Path, sha256: str | None, damage: bytes) -> None:
    target = tmp_path / "file"
    fetch(server.url("good"), target, sha256)
    target.write_bytes(damage)
    fetch(server.url("good"), target, sha256)
    assert target.read_bytes() == BODY


def test_a_file_whose_checksum_was_not_noted_is_loaded_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OTHER)
    fetch(server.url("good"), tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"sha256": 1}'])
def test_a_damaged_note_is_told(server: Server, tmp_path: Path, note: str) -> None:
    (tmp_path / "file.json").write_text(note)
    with pytest.raises(InputError, match=r"file\.json cannot be read"):
        fetch(server.url("good"), tmp_path / "file", None)


def test_a_full_disk_is_told_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, hard))
    try:
        with pytest.raises(InputError, match=r"cannot keep .*file: File too large; free some space"):
            fetch(server.url("good"), tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []


@pytest.mark.parametrize("place", [lambda path: path / "cache", lambda path: path / "cache" / "deeper"])
def test_a_file_where_the_folder_should_be_is_told(
    server: Server, tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot keep .* or let MDNRNN_CACHE name a folder"):
        fetch(server.url("good"), place(tmp_path) / "file")
    assert files(tmp_path) == ["cache"]


def test_many_at_once_leave_one_good_file(server: Server, tmp_path: Path) -> None:
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
    assert files(tmp_path) == ["file", "file.json"]


def test_the_cache_can_be_put_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDNRNN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("MDNRNN_CACHE", "~/cache")
    assert cache_folder() == Path.home() / "cache"
    monkeypatch.delenv("MDNRNN_CACHE")
    assert cache_folder().name == "mdnrnn"
