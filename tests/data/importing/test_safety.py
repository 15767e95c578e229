"""Hostile files are refused in one line, in bounded memory, and nothing else is read, fetched or run."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import (
    KANJIVG_SVG,
    ODD_FILE_NAMES,
    PickledCall,
    ndjson_line,
    object_array,
    pack_quickdraw,
    saved_bytes,
    write_member,
)

Capture = pytest.CaptureFixture[str]
needs_posix_paths = pytest.mark.skipif(os.name != "posix", reason="uses links and file names that only POSIX allows")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">%s</svg>'
SVG_PATH = b'<path id="a" fill="none" stroke="black" d="M0 0L5 5"/>'


def file(name: str, data: bytes) -> Callable[[Path], Path]:
    """Return a function that writes a file into a folder and returns its path."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def entity_bomb(root: str, inside: str, name: str) -> Callable[[Path], Path]:
    """An XML file of 1 kB with an entity that expands to 10^12 characters."""
    entities = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12))
    return file(name, f'<!DOCTYPE {root} [<!ENTITY a "1 1">{entities}]><{root}>{inside}</{root}>'.encode())


def external_entity(root: str, inside: str, name: str) -> Callable[[Path], Path]:
    doctype = f'<!DOCTYPE {root} [<!ENTITY m SYSTEM "file:///etc/passwd">]>'
    return file(name, f"{doctype}<{root}>{inside}</{root}>".encode())


def write_bomb(path: Path, name: str, start: bytes, fill: bytes) -> Path:
    """Write an archive of about 1 MB with a member of 256 MB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        member.write(start)
        for _ in range(1 << 8):
            member.write(fill * (1 << 20))
    return path


def array_bomb(key: str) -> Callable[[Path], Path]:
    """An archive with an array of zeros."""

    def make(folder: Path) -> Path:
        header = saved_bytes(np.save, np.zeros((1, 1, 3)))[:128].replace(b"(1, 1, 3)", b"(99999999,)")
        return write_bomb(folder / "x.npz", f"{key}.npy", header, b"\0")

    return make


def header_bomb(folder: Path) -> Path:
    """A corpus whose header unpacks to 256 MB."""
    return write_bomb(folder / "x.npz", "header.json", b"", b" ")


def sparse_file(name: str, start: bytes) -> Callable[[Path], Path]:
    """A file of 1 GB that takes no space on the disk."""

    def make(folder: Path) -> Path:
        path = file(name, start)(folder)
        os.truncate(path, 1 << 30)
        return path

    return make


def link_to_itself(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loo*"


NESTED_USES = b"".join(
    b'<g id="u%d">%s</g>' % (i, b'<use xlink:href="#u%d"/>' % (i - 1) * 10 if i else SVG_PATH) for i in range(12)
)
IAM_ROOT = "WhiteboardCaptureSession"
DOT = pack_quickdraw([(1, [[(0, 0), (1, 1)]])])
HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "entity bomb in SVG": (entity_bomb("svg", "<text>&m;</text>", "x.svg"), "entit"),
    "entity bomb in InkML": (entity_bomb("ink", "<trace>&m;</trace>", "x.inkml"), "entit"),
    "entity bomb in IAM-OnDB": (entity_bomb(IAM_ROOT, "<StrokeSet>&m;</StrokeSet>", "x.xml"), "entit"),
    "external entity in SVG": (external_entity("svg", "<text>&m;</text>", "x.svg"), "entit"),
    "external entity in InkML": (external_entity("ink", "<trace>&m;</trace>", "x.inkml"), "entit"),
    "external entity in IAM-OnDB": (external_entity(IAM_ROOT, "<a>&m;</a>", "x.xml"), "entit"),
    "nested uses in SVG": (file("x.svg", SVG % NESTED_USES), "x.svg"),
    "zip bomb of sketches": (array_bomb("train"), r"unpacks from \d+ bytes to over \d+ bytes"),
    "zip bomb of touches": (array_bomb("raw_perfs"), r"unpacks from \d+ bytes to over \d+ bytes"),
    "zip bomb of a header": (header_bomb, r"header has \d+ bytes"),
    "false count of strokes": (file("x.bin", DOT + b"\0" * 8 + b"DE\1\0\0\0\0\xff\xff\xff\xff"), "truncated"),
    "1 GB of SVG": (sparse_file("x.svg", b"<svg>"), "x.svg"),
    "1 GB of InkML": (sparse_file("x.inkml", b"<ink>"), "over 64 MB"),
    "1 GB of UNIPEN": (sparse_file("x.dat", b".VERSION 1.0\n.PEN_DOWN\n"), "x.dat"),
    "1 GB of touches": (sparse_file("x.csv", b"time,x,y,z,moving\n"), "over 64 MB"),
    "1 GB of a log": (sparse_file("x.log", b"2019-01-17T12:37:38.1,interface,0.25\n"), "over 64 MB"),
    "1 GB of zeros": (sparse_file("x.ndjson", b""), "not a known format"),
    "1 GB that is not an archive": (sparse_file("x.npz", b"PK\3\4"), "truncated"),
    "1 GB of strokes": (sparse_file("x.bin", DOT), "neither a key nor points"),
}  # fmt: skip


def check_refused(path: Path, message: str, capsys: Capture) -> None:
    """Check that an import fails with exit status 2 and one line that matches `message`, and writes nothing."""
    folder = path.parent
    before = set(folder.iterdir())
    with memory_limit():
        assert main(["data", "import", str(path), "--out", str(folder / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(("make", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_file_is_refused_in_one_line_and_bounded_memory(
    make: Callable[[Path], Path], message: str, tmp_path: Path, capsys: Capture
) -> None:
    check_refused(make(tmp_path), message, capsys)


@needs_posix_paths
def test_link_to_itself_is_refused(tmp_path: Path, capsys: Capture) -> None:
    check_refused(link_to_itself(tmp_path), "cannot be read", capsys)


def test_line_of_400_mb_is_dropped_and_counted_in_200_mb_of_memory(tmp_path: Path) -> None:
    path = file("x.ndjson", ndjson_line(1).encode())(tmp_path)
    os.truncate(path, 400 << 20)
    with path.open("ab") as end:
        end.write(b"\n" + ndjson_line(2).encode())
    with memory_limit(200 << 20):
        report = import_corpus([path], tmp_path / "out")
    assert report.kept == 2
    count, first = report.dropped["line too long"]
    assert count == 1
    assert "x.ndjson, line 2: over 32 MB" in first


def test_deeply_nested_lines_are_dropped_and_counted(tmp_path: Path) -> None:
    nested = ['{"drawing":' + "[" * depth + "]" * depth + "}\n" for depth in (900, 10_000, 1_000_000)]
    not_closed = '{"a":' * 1_000_000 + "\n"
    (tmp_path / "x.ndjson").write_text(ndjson_line(1) + "".join(nested) + not_closed + ndjson_line(2))
    with memory_limit():
        report = import_corpus([tmp_path / "x.ndjson"], tmp_path / "out")
    assert (report.read, report.kept) == (6, 2)


@pytest.mark.parametrize("key", ["train", "raw_perfs", "perfs", "anything"])
def test_pickle_runs_nothing(tmp_path: Path, key: str) -> None:
    records = saved_bytes(np.save, object_array(PickledCall(os.system, f"touch {tmp_path / 'ran'}")))
    path = write_member(tmp_path / "x.npz", records, key)
    with pytest.raises(DataError):
        import_corpus([path], tmp_path / "out")
    with pytest.raises(DataError):
        pipeline.read(path)
    assert set(tmp_path.iterdir()) == {path}


def test_kanjivg_is_read_without_fetching_its_dtd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its document type has the address of a DTD, and declares attributes only. A declared entity is refused."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    (tmp_path / "x.svg").write_text(KANJIVG_SVG, encoding="utf-8")
    assert import_corpus([tmp_path / "x.svg"], tmp_path / "out").kept == 1
    entity = '<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x; <!ATTLIST g'
    (tmp_path / "y.svg").write_text(KANJIVG_SVG.replace("<!ATTLIST g", entity, 1), encoding="utf-8")
    with pytest.raises(DataError, match="entit"):
        import_corpus([tmp_path / "y.svg"], tmp_path / "out2")


CYCLES = {
    "itself": b'<g id="e">%s<use xlink:href="#e"/></g>' % SVG_PATH,
    "two groups": b'<g id="b"><use xlink:href="#c"/></g><g id="c"><use xlink:href="#b"/></g>' + SVG_PATH,
    "ancestor": b'<g id="d"><g><use xlink:href="#d"/></g></g>' + SVG_PATH,
}


@pytest.mark.parametrize("body", CYCLES.values(), ids=CYCLES.keys())
def test_cyclic_use_is_drawn_once_or_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.svg").write_bytes(SVG % body)
    with contextlib.suppress(DataError):
        report = import_corpus([tmp_path / "x.svg"], tmp_path / "out")
        assert report.kept == 1
        assert report.points < 10


@needs_posix_paths
def test_folder_with_links_to_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "x.ndjson").write_text(ndjson_line(1) + ndjson_line(2))
    (tmp_path / "data" / "a" / "up").symlink_to("..")
    (tmp_path / "data" / "self").symlink_to(".")
    (tmp_path / "data" / "loop").symlink_to("loop")
    report = import_corpus([tmp_path / "data"], tmp_path / "out")
    assert (report.files, report.kept) == (1, 2)


@needs_posix_paths
@pytest.mark.parametrize("name", ODD_FILE_NAMES, ids=repr)
def test_odd_path_is_reported_in_one_line_and_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "x.svg").write_text("<svg")
    with pytest.raises(DataError) as raised:
        import_corpus([folder], tmp_path / "out")
    assert len(str(raised.value).splitlines()) == 1
    (folder / "x.svg").unlink()
    (folder / f"{name}.ndjson").write_text(ndjson_line(1) + "no\n")
    report = import_corpus([folder], tmp_path / "out")
    assert report.kept == 1


@needs_posix_paths
def test_report_of_a_path_with_a_line_break_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "two\nlines.ndjson").write_text(ndjson_line(1) + "no\n")
    assert main(["data", "import", str(tmp_path / "two\nlines.ndjson"), "--out", str(tmp_path / "out")]) == 0
    dropped = [line for line in capsys.readouterr().out.splitlines() if "not JSON" in line]
    assert len(dropped) == 1
    assert "lines.ndjson, line 2" in dropped[0]


@needs_posix_paths
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_file_name_that_is_not_utf8_is_printed_on_a_strict_utf8_terminal(tmp_path: Path, options: list[str]) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.ndjson")
    Path(path).write_text(ndjson_line(1) + "no\n")
    command = [sys.executable, "-m", "mdnrnn", "data", "import", path, "--out", str(tmp_path / "out"), *options]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_skip_bad_skips_hostile_files_and_reads_the_others(tmp_path: Path) -> None:
    for number, name in enumerate(("entity bomb in SVG", "false count of strokes")):
        make, _ = HOSTILE[name]
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        make(tmp_path / "data" / str(number))
    (tmp_path / "data" / "valid.ndjson").write_text(ndjson_line(5))
    report = import_corpus([tmp_path / "data"], tmp_path / "out", Recipe(skip_bad=True))
    assert report.kept == 2
    assert report.bad_files["cannot be read"][0] == 2
