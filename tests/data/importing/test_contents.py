"""Zip archives and gzip files are imported as if they were unpacked, in bounded memory, without writing to disk."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.formats import decompression, native
from mdnrnn.data.formats.archives import ArchivePath
from mdnrnn.data.formats.decompression import close_archives
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.contents import list_contents
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import INKML, ndjson_line, object_array, saved_bytes
from tests.data.importing.helpers import SVG, classes_by_number, splits_by_number
from tests.helpers import random_corpus

CONTENTS = {
    "cat/1.svg": SVG.format("M0 0h1").encode(),
    "train/dog/2.svg": SVG.format("M0 0h2").encode(),
    "dog/test/3.svgz": gzip.compress(SVG.format("M0 0h3").encode()),
    "README": b"hello",
    ".hidden/4.svg": b"<svg",
    "__MACOSX/cat/._1.svg": b"\0",
}


def write_zip(path: Path, contents: dict[str, bytes] = CONTENTS, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("empty/"), b"")
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path) -> Path:
    for name, data in CONTENTS.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_zip_gives_the_corpus_of_the_unpacked_folder(tmp_path: Path, workers: int) -> None:
    write_zip(tmp_path / "drawings.zip")
    (tmp_path / "unpacked").mkdir()
    import_corpus(write_folder(tmp_path / "unpacked" / "drawings"), tmp_path / "a")
    report = import_corpus(tmp_path / "drawings.zip", tmp_path / "b", workers=workers)
    first, second = pipeline.read(tmp_path / "a"), pipeline.read(tmp_path / "b")
    np.testing.assert_array_equal(first.motion, second.motion)
    assert (first.metadata.classes, first.splits) == (second.metadata.classes, second.splits)
    assert classes_by_number(second) == {1: "cat", 2: "dog", 3: "dog"}
    assert (splits_by_number(second)[2], splits_by_number(second)[3]) == (["train"], ["test"])
    assert report.unknown_files == (1, str(tmp_path / "drawings.zip" / "README"))


def test_zip_in_a_folder_is_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_zip(tmp_path / "data" / "cat.zip", {"1.svg": SVG.format("M0 0h1").encode()})
    write_zip(tmp_path / "data" / "dog.zip", {"valid/2.svg": SVG.format("M0 0h2").encode()})
    import_corpus(tmp_path / "data", tmp_path / "out")
    corpus = pipeline.read(tmp_path / "out")
    assert classes_by_number(corpus) == {1: "cat", 2: "dog"}
    assert splits_by_number(corpus)[2] == ["valid"]


def test_other_documents_that_are_zip_archives_are_ignored_in_folders(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.svg").write_text(SVG.format("M0 0h1"))
    write_zip(tmp_path / "data" / "report.docx", {"media/2.svg": SVG.format("M0 0h2").encode()})
    report = import_corpus(tmp_path / "data", tmp_path / "out")
    assert (report.kept, report.unknown_files) == (1, (1, str(tmp_path / "data" / "report.docx")))


def test_corpus_in_a_zip_archive_is_a_corpus(tmp_path: Path) -> None:
    native.write(random_corpus([3, 4]), tmp_path / "x.npz")
    (tmp_path / "x.npz").rename(tmp_path / "x.zip")
    assert import_corpus(tmp_path / "x.zip", tmp_path / "out").kept == 6


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


GZIPPED: dict[str, tuple[str, bytes, str | None]] = {
    "JSON lines": ("cat.ndjson.gz", gz((ndjson_line(1)).encode()), "cat"),
    "another case": ("cat.NDJSON.GZ", gz((ndjson_line(1)).encode()), "cat"),
    "without extension": ("cat", gz(b'{"drawing":[[[0,1],[0,0]]]}'), "cat"),
    "extension of the content": ("cat.ndjson", gz((ndjson_line(1)).encode()), "cat"),
    "JSON": ("cat.json.gz", gz(b'[{"drawing":[[[0,1],[0,0]]]}]'), "cat"),
    "array": ("cat.npy.gz", gz(saved_bytes(np.save, np.array([[5, 5, 0], [1, 0, 1]]))), "cat"),
    "two members": ("cat.ndjson.gz", gz(ndjson_line(1).encode()) + gz(ndjson_line(1).encode()), "cat"),
    "SVG": ("cat.svgz", gz(SVG.format("M0 0h1").encode()), None),
    "InkML": ("cat.inkml.gz", gz(INKML), None),
}


@pytest.mark.parametrize(("name", "data", "label"), GZIPPED.values(), ids=GZIPPED.keys())
def test_gzip_is_transparent(name: str, data: bytes, label: str | None, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(data)
    import_corpus(tmp_path / "data" / name, tmp_path / "out", Recipe(labels="file" if label else "auto"))
    corpus = pipeline.read(tmp_path / "out")
    assert corpus.metadata.classes == ((label,) if label else ())
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}


def test_split_of_a_gzip_file_is_that_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "test.ndjson.gz").write_bytes(gz(ndjson_line(1).encode()))
    assert pipeline.read(tmp_path / "test.ndjson.gz").splits["test"] == (0, 1)


def test_format_is_forced_by_the_extension_inside(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"1.svg": SVG.format("M0 0h1").encode(), "2.ndjson.gz": gz(ndjson_line(2).encode())})
    assert import_corpus(tmp_path / "x.zip", tmp_path / "out", Recipe(format="ndjson")).kept == 1


def test_members_are_in_the_order_of_a_folder(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", dict.fromkeys(("b/2", "b/10", "a/z/1", "a/1", "c", "A", "d\\1"), b"x"))
    files = list(list_contents(tmp_path / "x.zip", None))
    names = [file.path.relative_to(tmp_path / "x.zip").as_posix() for file in files]
    assert names == ["A", "c", "a/1", "a/z/1", "b/10", "b/2", "d/1"]
    assert files[2].unpacked == tmp_path / "x" / "a" / "1"
    assert {file.root for file in files} == {tmp_path / "x"}
    close_archives()


def test_path_in_an_archive_is_read_like_a_file(tmp_path: Path) -> None:
    path = ArchivePath(write_zip(tmp_path / "x.zip", {"a/b.txt": b"one\ntwo\n"}), "a", "b.txt")
    assert (path.suffix, path.stem, path.read_bytes()) == (".txt", "b", b"one\ntwo\n")
    with path.open("rb") as file:
        assert file.readline() == b"one\n"
    with pytest.raises(ValueError, match="mode: received 'w', expected 'rb'"):
        path.open("w")
    close_archives()


def write_encrypted(path: Path) -> Path:
    """Set the flag of encryption in both headers of the member."""
    data = bytearray(write_zip(path, {"a.svg": b"x"}).read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.rindex(magic)
        data[start + offset] |= 1
    path.write_bytes(data)
    return path


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def write_overlapping(path: Path) -> Path:
    """Write an archive whose members all refer to the same 10 kB of zeros, as in a non-recursive zip bomb."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.svg", bytes(10_000))
        for number in range(20):
            info = zipfile.ZipInfo(f"{number}.svg")
            first = archive.infolist()[0]
            for name in ("CRC", "file_size", "compress_size", "compress_type", "header_offset"):
                setattr(info, name, getattr(first, name))
            archive.filelist.append(info)
    return write_bytes(path, buffer.getvalue())


def write_long_directory(path: Path) -> Path:
    """Declare a list of members of 1 GB."""
    data = bytearray(write_zip(path).read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\5\6") + 12, 1 << 30)
    return write_bytes(path, bytes(data))


UNNAMED = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, *[0] * 4, 0, 0, 0, *[0] * 5, 0, 0)
UNNAMED = b"PK\3\4" + bytes(26) + UNNAMED + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(UNNAMED), 30, 0)
BOMB = gz(ndjson_line(1).encode() + b" \n" * 100_000)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "encrypted": (lambda path: write_encrypted(path / "x.zip"), "a.svg: encrypted; expected a file without a password"),
    "parent folder": (lambda path: write_zip(path / "x.zip", {"../a.svg": b""}), "outside of the archive's"),
    "absolute": (lambda path: write_zip(path / "x.zip", {"/a.svg": b""}), "outside of the archive's folder"),
    "drive": (lambda path: write_zip(path / "x.zip", {"C:\\a.svg": b""}), "outside of the archive's folder"),
    "backslashes": (lambda path: write_zip(path / "x.zip", {"..\\..\\a.svg": b""}), "outside of the archive's"),
    "no name": (lambda path: write_bytes(path / "x.zip", UNNAMED), "its member '' would be outside"),
    "high ratio": (lambda path: write_zip(path / "x.zip", {"a.ndjson": bytes(200_000)}), "100 times the packed size"),
    "overlap": (lambda path: write_overlapping(path / "x.zip"), "expected at most 100 times the packed size"),
    "long directory": (lambda path: write_long_directory(path / "x.zip"), "its members has 1073741824 bytes"),
    "zip in a zip": (
        lambda path: write_zip(path / "x.zip", {"y.npz": write_zip(path / "y.zip").read_bytes()}),
        "y.npz: a zip archive inside an archive, which is not a known format; expected strokes; unpack it",
    ),
    "no known file": (lambda path: write_zip(path / "x.zip", {"a.txt": b"hello"}), "a zip archive without files of"),
    "empty": (lambda path: write_zip(path / "x.zip", {}), "an empty zip archive"),
    "truncated zip": (
        lambda path: write_bytes(path / "x.zip", write_zip(path / "y").read_bytes()[:200]),
        "a zip archive that is truncated; download it again",
    ),
    "method": (
        lambda path: write_zip(path / "x.zip", {"a.svg": b"<svg/>"}, zipfile.ZIP_LZMA),
        "a.svg: compressed by method 14; unpack the archive first",
    ),
    "gzip bomb": (lambda path: write_bytes(path / "x.ndjson.gz", BOMB), "unpacks to over 100000 bytes"),
    "truncated gzip": (
        lambda path: write_bytes(path / "x.ndjson.gz", gz(ndjson_line(1).encode())[:-6]),
        "a damaged or truncated archive",
    ),
    "damaged gzip": (lambda path: write_bytes(path / "x.ndjson.gz", b"\x1f\x8b\x08\0" + b"\xff" * 50), "damaged or"),
    "gzip in gzip": (lambda path: write_bytes(path / "x.ndjson.gz", gz(gz(b"a"))), "x.ndjson: a gzip file, which is"),
    "tar": (lambda path: write_bytes(path / "x.tar.gz", gz(bytes(257) + b"ustar" + bytes(250))), "a tar archive"),
    "npz": (
        lambda path: write_bytes(path / "x.gz", gz(saved_bytes(np.savez, train=object_array(np.ones((2, 3)))))),
        "a zip archive inside an archive, which is not a known format; expected strokes; unpack it",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_other_archives_are_refused_in_one_line(
    make: Callable[[Path], Path], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompression, "_MIN_PACKED_BYTES", 1000)
    path = make(tmp_path)
    with memory_limit(512 << 20), pytest.raises(DataError) as caught:
        import_corpus(path, tmp_path / "out")
    assert message in str(caught.value)
    assert len(str(caught.value)) <= 500 + len(str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_skip_bad_skips_members(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"a.svg": b"<svg", "b.svg": SVG.format("M0 0h1").encode(), "c.svgz": b"\x1f\x8bxx"})
    report = import_corpus(tmp_path / "x.zip", tmp_path / "out", Recipe(skip_bad=True))
    assert (report.kept, report.bad_files["cannot be read"][0]) == (1, 2)


def test_archives_are_closed_after_the_import(tmp_path: Path) -> None:
    import_corpus(write_zip(tmp_path / "x.zip"), tmp_path / "out")
    assert decompression._open_zip_version.cache_info().currsize == 0
