"""Files made to do harm: each ends in one clear line, in seconds, in little memory, and nothing else is read or run."""

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
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">%s</svg>'
SQUARE = b'<path id="a" fill="none" stroke="black" d="M0 0L5 5"/>'


def file(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def entities(root: str, inside: str, name: str) -> Callable[[Path], Path]:
    """Ten to the twelfth times the same, in a kilobyte."""
    bomb = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12))
    return file(name, f'<!DOCTYPE {root} [<!ENTITY a "1 1">{bomb}]><{root}>{inside}</{root}>'.encode())


def external(root: str, inside: str, name: str) -> Callable[[Path], Path]:
    return file(name, f'<!DOCTYPE {root} [<!ENTITY m SYSTEM "file:///etc/passwd">]><{root}>{inside}</{root}>'.encode())


def bomb(path: Path, name: str, start: bytes, fill: bytes) -> Path:
    """An archive of a megabyte, with a member of a quarter of a gigabyte."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        member.write(start)
        for _ in range(1 << 8):
            member.write(fill * (1 << 20))
    return path


def zip_bomb(*, key: str) -> Callable[[Path], Path]:
    """An array of zeros."""

    def make(folder: Path) -> Path:
        header = saved_bytes(np.save, np.zeros((1, 1, 3)))[:128].replace(b"(1, 1, 3)", b"(99999999,)")
        return bomb(folder / "x.npz", f"{key}.npy", header, b"\0")

    return make


def long_line(folder: Path) -> Path:
    """A gigabyte without an end of line after a good line; on the disk it takes nothing."""
    path = file("x.ndjson", ndjson_line(1).encode())(folder)
    os.truncate(path, 1 << 30)
    return path


def sparse(name: str, start: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = file(name, start)(folder)
        os.truncate(path, 1 << 30)
        return path

    return make


def looped(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loo*"


def header_bomb(folder: Path) -> Path:
    """A corpus whose header unpacks to far more."""
    return bomb(folder / "x.npz", "header.json", b"", b" ")


USES = b"".join(
    b'<g id="u%d">%s</g>' % (i, b'<use xlink:href="#u%d"/>' % (i - 1) * 10 if i else SQUARE) for i in range(12)
)
ROOT = "WhiteboardCaptureSession"
HARMFUL: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an entity bomb in SVG": (entities("svg", "<text>&m;</text>", "x.svg"), "entit"),
    "an entity bomb in InkML": (entities("ink", "<trace>&m;</trace>", "x.inkml"), "entit"),
    "an entity bomb in IAM-OnDB": (entities(ROOT, "<StrokeSet>&m;</StrokeSet>", "x.xml"), "entit"),
    "a file as an entity in SVG": (external("svg", "<text>&m;</text>", "x.svg"), "entit"),
    "a file as an entity in InkML": (external("ink", "<trace>&m;</trace>", "x.inkml"), "entit"),
    "a file as an entity in IAM-OnDB": (external(ROOT, "<a>&m;</a>", "x.xml"), "entit"),
    "uses of uses of uses": (file("x.svg", SVG % USES), "x.svg"),
    "a zip bomb of sketches": (zip_bomb(key="train"), r"unpacks \d+ bytes to \d+; not read"),
    "a zip bomb of touches": (zip_bomb(key="raw_perfs"), r"unpacks \d+ bytes to \d+; not read"),
    "a zip bomb of a header": (header_bomb, r"header is over \d+ bytes"),
    "absurd counts of strokes": (
        file("x.bin", pack_quickdraw([(1, [[(0, 0), (1, 1)]])]) + b"\0" * 8 + b"DE\1\0\0\0\0\xff\xff\xff\xff"),
        "cut short",
    ),
    "a gigabyte of SVG": (sparse("x.svg", b"<svg>"), "x.svg"),
    "a gigabyte of InkML": (sparse("x.inkml", b"<ink>"), "over 64 MB"),
    "a gigabyte of UNIPEN": (sparse("x.dat", b".VERSION 1.0\n.PEN_DOWN\n"), "x.dat"),
    "a gigabyte of touches": (sparse("x.csv", b"time,x,y,z,moving\n"), "over 64 MB"),
    "a gigabyte of a log": (sparse("x.log", b"2019-01-17T12:37:38.1,interface,0.25\n"), "over 64 MB"),
    "a gigabyte of nothing": (sparse("x.ndjson", b""), "not a known format"),
    "a gigabyte that is no archive": (sparse("x.npz", b"PK\3\4"), "cut short"),
    "a gigabyte of strokes": (sparse("x.bin", pack_quickdraw([(1, [[(0, 0), (1, 1)]])])), "neither a key nor points"),
    "a link to itself": (looped, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "complaint"), HARMFUL.values(), ids=HARMFUL.keys())
def test_a_harmful_file_is_refused_in_one_line_in_bounded_time_and_memory(
    make: Callable[[Path], Path], complaint: str, tmp_path: Path, capsys: Capture
) -> None:
    path = make(tmp_path)
    before = set(tmp_path.iterdir())
    with memory_limit():
        assert main(["data", "import", str(path), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(complaint, err)
    assert set(tmp_path.iterdir()) == before


def test_a_line_of_a_gigabyte_is_passed_over_and_counted(tmp_path: Path) -> None:
    path = long_line(tmp_path)
    with path.open("ab") as end:
        end.write(b"\n" + ndjson_line(2).encode())
    with memory_limit():
        report = import_corpus([path], tmp_path / "out")
    assert report.kept == 2
    count, first = report.dropped["line too long"]
    assert count == 1
    assert "x.ndjson, line 2: over 32 MB" in first


def test_lines_nested_beyond_measure_are_passed_over_and_counted(tmp_path: Path) -> None:
    deep = ['{"drawing":' + "[" * depth + "]" * depth + "}\n" for depth in (900, 10_000, 1_000_000)]
    (tmp_path / "x.ndjson").write_text(ndjson_line(1) + "".join(deep) + '{"a":' * 1_000_000 + "\n" + ndjson_line(2))
    with memory_limit():
        report = import_corpus([tmp_path / "x.ndjson"], tmp_path / "out")
    assert (report.read, report.kept) == (6, 2)


@pytest.mark.parametrize("key", ["train", "raw_perfs", "perfs", "anything"])
def test_a_pickle_runs_nothing(tmp_path: Path, key: str) -> None:
    records = saved_bytes(np.save, object_array(PickledCall(os.system, f"touch {tmp_path / 'ran'}")))
    path = write_member(tmp_path / "x.npz", records, key)
    with pytest.raises(DataError):
        import_corpus([path], tmp_path / "out")
    with pytest.raises(DataError):
        pipeline.read(path)
    assert set(tmp_path.iterdir()) == {path}


def test_nothing_is_fetched_and_kanjivg_still_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its DTD names an address, and declares attributes only."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    (tmp_path / "x.svg").write_text(KANJIVG_SVG)
    assert import_corpus([tmp_path / "x.svg"], tmp_path / "out").kept == 1
    fetching = KANJIVG_SVG.replace("<!ATTLIST g", '<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x; <!ATTLIST g', 1)
    (tmp_path / "y.svg").write_text(fetching)
    with pytest.raises(DataError, match="entit"):
        import_corpus([tmp_path / "y.svg"], tmp_path / "out2")


CYCLES = {
    "itself": b'<g id="e">%s<use xlink:href="#e"/></g>' % SQUARE,
    "each other": b'<g id="b"><use xlink:href="#c"/></g><g id="c"><use xlink:href="#b"/></g>' + SQUARE,
    "what it stands in": b'<g id="d"><g><use xlink:href="#d"/></g></g>' + SQUARE,
}


@pytest.mark.parametrize("body", CYCLES.values(), ids=CYCLES.keys())
def test_a_use_that_uses_itself_is_drawn_once_or_told(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.svg").write_bytes(SVG % body)
    with contextlib.suppress(DataError):
        report = import_corpus([tmp_path / "x.svg"], tmp_path / "out")
        assert report.kept == 1
        assert report.points < 10


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "x.ndjson").write_text(ndjson_line(1) + ndjson_line(2))
    (tmp_path / "data" / "a" / "up").symlink_to("..")
    (tmp_path / "data" / "self").symlink_to(".")
    (tmp_path / "data" / "loop").symlink_to("loop")
    report = import_corpus([tmp_path / "data"], tmp_path / "out")
    assert (report.files, report.kept) == (1, 2)


@pytest.mark.parametrize("name", ODD_FILE_NAMES, ids=repr)
def test_a_path_with_any_name_is_told_in_one_line_and_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "x.svg").write_text("<svg")
    with pytest.raises(DataError) as told:
        import_corpus([folder], tmp_path / "out")
    assert len(str(told.value).splitlines()) == 1
    (folder / "x.svg").unlink()
    (folder / f"{name}.ndjson").write_text(ndjson_line(1) + "no\n")
    report = import_corpus([folder], tmp_path / "out")
    assert report.kept == 1


def test_reports_of_paths_with_newlines_are_one_line_each(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "two\nlines.ndjson").write_text(ndjson_line(1) + "no\n")
    assert main(["data", "import", str(tmp_path / "two\nlines.ndjson"), "--out", str(tmp_path / "out")]) == 0
    dropped = [text for text in capsys.readouterr().out.splitlines() if "not JSON" in text]
    assert len(dropped) == 1
    assert "lines.ndjson, line 2" in dropped[0]


def test_names_that_are_no_text_are_borne(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, as old discs have them, on a terminal of today."""
    name = os.fsencode(tmp_path) + b"/caf\xe9.ndjson"
    Path(os.fsdecode(name)).write_text(ndjson_line(1) + "no\n")
    for number, options in enumerate(([], ["--json"])):
        arguments = [
            sys.executable,
            "-m",
            "mdnrnn",
            "data",
            "import",
            os.fsdecode(name),
            "--out",
            str(tmp_path / f"out{number}"),
            *options,
        ]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_is_beyond_measure_in_one_file_does_not_stop_the_others(tmp_path: Path) -> None:
    """With --skip-bad, whatever is wrong."""
    for number, (make, _) in enumerate([HARMFUL["an entity bomb in SVG"], HARMFUL["absurd counts of strokes"]]):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        make(tmp_path / "data" / str(number))
    (tmp_path / "data" / "good.ndjson").write_text(ndjson_line(5))
    report = import_corpus([tmp_path / "data"], tmp_path / "out", Recipe(skip_bad=True))
    assert report.kept == 2
    assert report.bad_files["cannot be read"][0] == 2
