"""Damaged files of every format either import as a valid corpus or are refused with a one-line `DataError`."""

import gzip
import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data import formats
from mdnrnn.data.formats import FORMATS, native
from mdnrnn.data.formats.arrays import read_records
from tests.data.formats.fuzzing import EXAMPLES, MANY_EXAMPLES, Sample, check_damaged_files
from tests.data.formats.samples import (
    CONTROL_ROWS,
    EXCALIDRAW,
    IAM_LINE,
    IMPSY_LOG,
    INKML,
    INKSCAPE_SVG,
    KANJIVG_SVG,
    LIGHTPAD_LOG,
    MEDIANS,
    MICROJAM_CSV,
    NICI_UNIPEN,
    OMNIGLOT,
    PEN_CSV,
    PEN_STROKE_CSV,
    PENDIGITS_UNIPEN,
    QUICKDRAW_DRAWINGS,
    TLDRAW,
    TOUCH_CSV,
    TOUCH_ROWS,
    UJI,
    XOURNAL,
    object_array,
    pack_quickdraw,
    saved_bytes,
    write_member,
)
from tests.helpers import random_corpus

STROKE3 = np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16)
STROKE5 = np.array([[3, 0, 1, 0, 0], [0, 4, 0, 1, 0], [5, 5, 0, 1, 0], [0, 0, 0, 0, 1]], np.float32)
NDJSON = b"""{"word":"cat","countrycode":"DE","recognized":true,"key_id":"5891","drawing":[[[1,2],[3,4]],[[5],[6]]]}
{"key_id":"17","word":"d\\u00f6g","drawing":[[[0.5,1e2,-3],[7,8,9],[0,12,30]]]}
{"drawing":[[[255,0],[0,255]]]}
"""


def corpus_samples() -> list[Sample]:
    """Return a corpus in one file, and a corpus folder for each of its files, in which that file is damaged."""
    text, text_ends = np.frombuffer("é\nand more".encode(), np.uint8), np.array([0, 3, 3, 8, 8, 8, 11])
    corpus = replace(random_corpus([3, 1], classes=("a", "b")), text=text, text_offsets=text_ends)

    def write_with_other_files(path: Path, data: bytes) -> Path:
        native.write(corpus, path.parent)
        path.write_bytes(data)
        return path.parent

    with tempfile.TemporaryDirectory() as temporary:
        archive, folder = Path(temporary, "x.npz"), Path(temporary, "x")
        native.write(corpus, archive)
        native.write(corpus, folder)
        files = [Sample(f"x/{path.name}", path.read_bytes(), write_with_other_files) for path in folder.iterdir()]
        return [Sample("x.npz", archive.read_bytes()), *sorted(files, key=lambda sample: sample.name)]


def member_samples(name: str, *arrays: bytes) -> list[Sample]:
    """Return archive members that are damaged before they are packed, since a checksum detects damage in an archive."""
    return [Sample("x.npz", array, partial(write_member, member=name)) for array in arrays]


def save_objects(*records: object) -> bytes:
    """Return records as an `.npy` with an object array."""
    return saved_bytes(np.save, object_array(*records))


SAMPLES: dict[str, list[Sample]] = {
    "corpus": corpus_samples(),
    "sketchrnn": [
        Sample("x.npz", saved_bytes(np.savez, train=object_array(STROKE3, STROKE3[:1]), test=object_array(STROKE3))),
        Sample("x.npz", saved_bytes(np.savez_compressed, train=np.array([STROKE3, STROKE3], np.float32))),
        *member_samples(
            "train",
            save_objects(STROKE3, STROKE3 * 0.5),
            save_objects(STROKE3.tolist(), STROKE3),
            saved_bytes(np.save, STROKE3[None]),
        ),
    ],
    "ndjson": [Sample("x.ndjson", NDJSON)],
    "json": [
        Sample("x.json", b'[{"word": "a", "drawing": [[[1, 2], [3, 4]], [[5], [6]]]},\n {"drawing": [[[1], [2]]]}]'),
        Sample("x.json", b'{\n"label": "a", "strokes": [[[1, 2], [3, 4], [5, 6]], [[7, 8.5]]]}\n{"strokes": []}'),
        Sample(
            "x.json", b'{"class": "a",\n"drawings": [{"strokes": [{"x": [1, 2], "y": [3, 4]}]}, {"x": [1], "y": [2]}]}'
        ),
        Sample(
            "x.json", b'[{"points": [{"x": 1, "y": 2, "time": 3}, {"x": 4, "y": 5}]}, {"points": [{"x": 1, "y": 2}]}]'
        ),
    ],
    "excalidraw": [Sample("x.excalidraw", EXCALIDRAW)],
    "tldraw": [Sample("x.tldr", TLDRAW)],
    "medians": [Sample("x.txt", MEDIANS)],
    "stroke-arrays": [
        Sample("x.npy", saved_bytes(np.save, STROKE3)),
        Sample("x.npy", save_objects(STROKE3, STROKE5[:3, [0, 1, 3]])),
        Sample("x.npy", saved_bytes(np.save, np.stack([STROKE5, STROKE5]))),
        Sample("x.npz", saved_bytes(np.savez, drawings=object_array(STROKE3, STROKE3[:1]), y=np.arange(2))),
        *member_samples("drawings", save_objects(STROKE3, STROKE3[:1]), saved_bytes(np.save, STROKE5)),
    ],
    "quickdraw-bin": [Sample("x.bin", pack_quickdraw(QUICKDRAW_DRAWINGS))],
    "svg": [Sample("x.svg", KANJIVG_SVG.encode()), Sample("x.svg", INKSCAPE_SVG.encode())],
    "inkml": [Sample("x.inkml", INKML)],
    "iam": [Sample("a01-000u-01.xml", IAM_LINE)],
    "unipen": [
        Sample("x.dat", NICI_UNIPEN.encode()),
        Sample(
            "x.dat", b'.COORD X Y P\n.START_SET\n.SEGMENT A 0 ? "a"\n.PEN_DOWN\n1 2 3\n.START_SET\n.PEN_DOWN\n1 2 3\n'
        ),
        Sample("x.dat", PENDIGITS_UNIPEN.encode()),
        Sample("x.dat", b'.COORD T X Y\n.INCLUDE x.doc\n.SEGMENT A 0:0-1,2 ? "\\\\b"\n'),
    ],
    "microjam": [Sample("x.csv", MICROJAM_CSV.encode())],
    "microjam-arrays": [
        Sample("x.npz", saved_bytes(np.savez, raw_perfs=object_array(TOUCH_ROWS, TOUCH_ROWS[:2]))),
        Sample("x.npy", save_objects(TOUCH_ROWS)),
        *member_samples("raw_perfs", save_objects(TOUCH_ROWS, TOUCH_ROWS[:, :3])),
    ],
    "impsy": [Sample("x.log", IMPSY_LOG.encode())],
    "impsy-arrays": [
        Sample("x.npz", saved_bytes(np.savez_compressed, perfs=object_array(CONTROL_ROWS))),
        Sample("x.npy", save_objects(CONTROL_ROWS, CONTROL_ROWS[:1])),
        *member_samples("perfs", save_objects(CONTROL_ROWS, CONTROL_ROWS[:1])),
    ],
    "lightpad": [Sample("x.txt", LIGHTPAD_LOG.encode())],
    "pen-csv": [
        Sample("x.csv", PEN_CSV.encode()),
        Sample("x.csv", PEN_STROKE_CSV.encode()),
        Sample("x.tsv", b'"X"\t"Y"\t"Event"\t"class"\n1\t2,5\t"down"\t"a"\n3\t4\tmove\ta\n5\t6\tup\t"b"\n'),
    ],
    "touch-csv": [
        Sample("x.csv", TOUCH_CSV.encode()),
        Sample("x.csv", b"time,device_id,x_pos,y_pos,velocity\n2014-03-17T17:40:46.1,a,43.5,61,0.0\n7,b,1,1,2\n"),
    ],
    "omniglot": [Sample("x.txt", OMNIGLOT.encode())],
    "uji": [Sample("x.txt", UJI.encode())],
    "xournal": [Sample("x.xopp", XOURNAL.encode())],
}


STYLED_SVG = """<?xml version='1.0' encoding='{}'?>
<svg xmlns='http://www.w3.org/2000/svg' width='9mm' height='5mm' viewBox='0 0 9 9' preserveAspectRatio='none'>
<title class='text'>{}</title><style>/* x */ @media print {{ .a {{ display: none }} }}
.s, g#b {{ fill: none; stroke: #000 }} path.h {{ opacity: 0 !important; visibility: hidden }}
g > path {{ stroke: none }}</style>
<g class='s h' id='b' inkscape:groupmode='layer'><path d='M1 1L2 3'/>
<path class='h' style='opacity:1' d='M0 0c1 2 3 4 5 6z'/>
<g clip-path='url(#c)'><use xlink:href='#p'/></g>
<rect id='p' width='5' height='3' fill='red' stroke='rgba(0,0,0,0)'/></g></svg>
"""
"""A document with style sheets, undeclared prefixes and areas; its encoding and text are left open."""
SVG_VARIANTS = {
    "style sheets": [Sample("x.svg", STYLED_SVG.format("utf-8", "仂").encode())],
    "encodings": [
        Sample("x.svg", STYLED_SVG.format(encoding, text).encode(encoding))
        for encoding, text in (("shift_jis", "漢字"), ("gb18030", "汉🦊"), ("koi8-r", "жук"), ("iso-2022-jp", "漢"))
    ]
    + [Sample("x.svg", STYLED_SVG.format("utf-16", "仂").encode(encoding)) for encoding in ("utf-16", "utf-32")],
}


@pytest.mark.parametrize("name", SVG_VARIANTS)
def test_damaged_svg_variant_is_imported_or_refused(name: str) -> None:
    check_damaged_files(SVG_VARIANTS[name], "svg", EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SVG_VARIANTS)
def test_each_of_many_damaged_svg_variants_is_imported_or_refused(name: str) -> None:
    check_damaged_files(SVG_VARIANTS[name], "svg", MANY_EXAMPLES)


def test_every_format_has_samples() -> None:
    assert set(SAMPLES) == {"corpus", *FORMATS}


def test_samples_are_recognized_before_they_are_damaged(tmp_path: Path) -> None:
    for name, samples in SAMPLES.items():
        for number, sample in enumerate(samples):
            path = sample.write(tmp_path / f"{name}{number}" / sample.name, sample.data)
            assert formats.recognize_format(path) is FORMATS.get(name) or name == "corpus"


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_file_is_imported_or_refused(name: str) -> None:
    check_damaged_files(SAMPLES[name], name if name in FORMATS else None, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_each_of_many_damaged_files_is_imported_or_refused(name: str) -> None:
    check_damaged_files(SAMPLES[name], name if name in FORMATS else None, MANY_EXAMPLES)


def zip_files(**files: bytes) -> bytes:
    """Return a zip archive, without compression so that damage often hits the files, and with compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, data) in enumerate(files.items()):
            archive.writestr(f"{name}/x.ndjson", data, zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED)
    return buffer.getvalue()


ARCHIVES: dict[str, list[Sample]] = {
    "gzip": [
        Sample("x.ndjson.gz", gzip.compress(NDJSON, mtime=0)),
        Sample("x.ndjson.gz", gzip.compress(NDJSON, 0, mtime=0)),
        Sample("x.svgz", gzip.compress(INKSCAPE_SVG.encode(), mtime=0)),
    ],
    "zip": [
        Sample("x.zip", zip_files(cat=NDJSON, dog=NDJSON)),
        Sample("x.zip", zip_files(cat=gzip.compress(NDJSON, mtime=0))),
    ],
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archive_is_imported_or_refused(name: str) -> None:
    check_damaged_files(ARCHIVES[name], None, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHIVES)
def test_each_of_many_damaged_archives_is_imported_or_refused(name: str) -> None:
    check_damaged_files(ARCHIVES[name], None, MANY_EXAMPLES)


# Real files, shortened so that random damage often hits their structure.


def first_records(path: Path, count: int) -> bytes:
    """Return `valid.npy` of a sketch-rnn archive that Python 2 pickled, shortened to its first records."""
    with zipfile.ZipFile(path) as archive:
        head, *records = archive.read("valid.npy").split(RECORD_START)
    head = re.sub(rb"\(\d+,\)", lambda found: b"(%d,)".ljust(len(found[0]) + 1) % count, head)
    head = re.sub(rb"M..\x85", b"K%c\x85" % count, head, flags=re.DOTALL)
    return RECORD_START.join([head, *records[:count]]) + b"etb."


RECORD_START = b"h\x01h\x02K\x00\x85U\x01b\x87R"
"""Opcodes at the start of each record: _reconstruct(ndarray, (0,), "b")."""


def shortest_records(path: Path, key: str) -> list[np.ndarray]:
    """Return the three shortest records of an archive that are not empty."""
    return sorted((record for record in read_records(path, key) if record is not None and len(record)), key=len)[:3]


def first_lines(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return b"".join(islice(file, count))


REAL: dict[str, Callable[[Path], list[Sample]]] = {
    "sketchrnn": lambda data: member_samples(
        "train", *(first_records(data / "sketchrnn" / f"{name}.npz", 2) for name in ("aaron_sheep", "short_kanji"))
    ),
    "ndjson": lambda data: [
        Sample("cat.ndjson", first_lines(data / "quickdraw" / kind / "cat.ndjson", 2)) for kind in ("raw", "simplified")
    ],
    "quickdraw-bin": lambda data: [Sample("x.bin", path.read_bytes()) for path in (data / "quickdraw").glob("*.bin")],
    "svg": lambda data: [
        Sample(path.name, path.read_bytes()) for path in sorted((data / "kanjivg").glob("*.svg"))[::40]
    ],
    "microjam-arrays": lambda data: member_samples(
        "raw_perfs", save_objects(*shortest_records(data / "touch" / "tiny_performances_dev.npz", "raw_perfs"))
    ),
    "impsy-arrays": lambda data: member_samples(
        "perfs",
        save_objects(*(rows[:20] for rows in shortest_records(data / "touch" / "impsy-4d-12ksmall.npz", "perfs"))),
    ),
    "lightpad": lambda data: [Sample("x.txt", first_lines(data / "touch" / "lightpad-block-perf1.txt", 30))],
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_damaged_real_file_is_imported_or_refused(name: str, shared_data: Path, tmp_path: Path) -> None:
    samples = REAL[name](shared_data)
    for number, sample in enumerate(samples):
        path = sample.write(tmp_path / str(number) / sample.name, sample.data)
        assert formats.recognize_format(path) is FORMATS[name]
    check_damaged_files(samples, name, EXAMPLES)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_each_of_many_damaged_real_files_is_imported_or_refused(name: str, shared_data: Path) -> None:
    check_damaged_files(REAL[name](shared_data), name, MANY_EXAMPLES)
