"""Every reader with files damaged in a hundred ways, or thousands: drawings come out, or a DataError of one line."""

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
    IAM_LINE,
    IMPSY_LOG,
    INKML,
    INKSCAPE_SVG,
    KANJIVG_SVG,
    LIGHTPAD_LOG,
    MICROJAM_CSV,
    NICI_UNIPEN,
    PENDIGITS_UNIPEN,
    QUICKDRAW_DRAWINGS,
    TOUCH_ROWS,
    object_array,
    pack_quickdraw,
    saved_bytes,
    write_member,
)
from tests.helpers import random_corpus

SKETCH = np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16)
JSON = b"""{"word":"cat","countrycode":"DE","recognized":true,"key_id":"5891","drawing":[[[1,2],[3,4]],[[5],[6]]]}
{"key_id":"17","word":"d\\u00f6g","drawing":[[[0.5,1e2,-3],[7,8,9],[0,12,30]]]}
{"drawing":[[[255,0],[0,255]]]}
"""


def corpus_samples() -> list[Sample]:
    """A corpus in one file, and in a folder with each of its files to be damaged."""
    text, ends = np.frombuffer("é\nand more".encode(), np.uint8), np.array([0, 3, 3, 8, 8, 8, 11])
    corpus = replace(random_corpus([3, 1], classes=("a", "b")), text=text, text_offsets=ends)

    def beside_the_others(path: Path, data: bytes) -> Path:
        native.write(corpus, path.parent)
        path.write_bytes(data)
        return path.parent

    with tempfile.TemporaryDirectory() as folder:
        native.write(corpus, Path(folder, "x.npz"))
        native.write(corpus, Path(folder, "x"))
        files = [Sample(f"x/{path.name}", path.read_bytes(), beside_the_others) for path in Path(folder, "x").iterdir()]
        return [Sample("x.npz", Path(folder, "x.npz").read_bytes()), *sorted(files, key=lambda sample: sample.name)]


def members(name: str, *arrays: bytes) -> list[Sample]:
    """Members of an archive, damaged before they are packed: else a checksum tells it, and nobody looks further."""
    return [Sample("x.npz", array, partial(write_member, member=name)) for array in arrays]


def array(*records: object, **options: object) -> bytes:
    return saved_bytes(np.save, object_array(*records), **options)


SAMPLES: dict[str, list[Sample]] = {
    "corpus": corpus_samples(),
    "sketchrnn": [
        Sample("x.npz", saved_bytes(np.savez, train=object_array(SKETCH, SKETCH[:1]), test=object_array(SKETCH))),
        Sample("x.npz", saved_bytes(np.savez_compressed, train=np.array([SKETCH, SKETCH], np.float32))),
        *members(
            "train", array(SKETCH, SKETCH * 0.5), array(SKETCH.tolist(), SKETCH), saved_bytes(np.save, SKETCH[None])
        ),
    ],
    "ndjson": [Sample("x.ndjson", JSON)],
    "quickdraw-bin": [Sample("x.bin", pack_quickdraw(QUICKDRAW_DRAWINGS))],
    "svg": [Sample("x.svg", KANJIVG_SVG.encode()), Sample("x.svg", INKSCAPE_SVG.encode())],
    "inkml": [Sample("x.inkml", INKML)],
    "iam": [Sample("a01-000u-01.xml", IAM_LINE)],
    "unipen": [
        Sample("x.dat", NICI_UNIPEN.encode()),
        Sample("x.dat", PENDIGITS_UNIPEN.encode()),
        Sample("x.dat", b'.COORD T X Y\n.INCLUDE x.doc\n.SEGMENT A 0:0-1,2 ? "\\\\b"\n'),
    ],
    "microjam": [Sample("x.csv", MICROJAM_CSV.encode())],
    "microjam-arrays": [
        Sample("x.npz", saved_bytes(np.savez, raw_perfs=object_array(TOUCH_ROWS, TOUCH_ROWS[:2]))),
        Sample("x.npy", array(TOUCH_ROWS)),
        *members("raw_perfs", array(TOUCH_ROWS, TOUCH_ROWS[:, :3])),
    ],
    "impsy": [Sample("x.log", IMPSY_LOG.encode())],
    "impsy-arrays": [
        Sample("x.npz", saved_bytes(np.savez_compressed, perfs=object_array(CONTROL_ROWS))),
        Sample("x.npy", array(CONTROL_ROWS, CONTROL_ROWS[:1])),
        *members("perfs", array(CONTROL_ROWS, CONTROL_ROWS[:1])),
    ],
    "lightpad": [Sample("x.txt", LIGHTPAD_LOG.encode())],
}


def test_every_format_is_tried() -> None:
    assert set(SAMPLES) == {"corpus", *FORMATS}


def test_every_sample_is_good(tmp_path: Path) -> None:
    """Not damaged, each is a file of its format: else the damage would tell nothing."""
    for name, samples in SAMPLES.items():
        for number, sample in enumerate(samples):
            path = sample.write(tmp_path / f"{name}{number}" / sample.name, sample.data)
            assert formats.recognize_format(path) is FORMATS.get(name) or name == "corpus"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_file_is_read_or_told(name: str) -> None:
    check_damaged_files(SAMPLES[name], name if name in FORMATS else None, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_thousands_of_damaged_files_are_read_or_told(name: str) -> None:
    check_damaged_files(SAMPLES[name], name if name in FORMATS else None, MANY_EXAMPLES)


# Real files, cut down so that damage seldom misses.


def first_records(path: Path, keep: int) -> bytes:
    """The valid member of a sketch-rnn archive with its first records alone, as Python 2 pickled them."""
    with zipfile.ZipFile(path) as archive:
        head, *records = archive.read("valid.npy").split(_RECORD)
    counted = re.sub(rb"\(\d+,\)", lambda found: b"(%d,)".ljust(len(found[0]) + 1) % keep, head)
    counted = re.sub(rb"M..\x85", b"K%c\x85" % keep, counted, flags=re.DOTALL)
    return _RECORD.join([counted, *records[:keep]]) + b"etb."


_RECORD = b"h\x01h\x02K\x00\x85U\x01b\x87R"
"""How each record begins: _reconstruct(ndarray, (0,), "b")."""


def shortest(path: Path, key: str) -> np.ndarray:
    """Three of the shortest records of an archive that are not empty."""
    return object_array(*sorted(filter(len, read_records(path, key)), key=len)[:3])


def lines(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return b"".join(islice(file, count))


REAL: dict[str, Callable[[Path], list[Sample]]] = {
    "sketchrnn": lambda data: members(
        "train", *(first_records(data / "sketchrnn" / f"{name}.npz", 2) for name in ("aaron_sheep", "short_kanji"))
    ),
    "ndjson": lambda data: [
        Sample("cat.ndjson", lines(data / "quickdraw" / kind / "cat.ndjson", 2)) for kind in ("raw", "simplified")
    ],
    "quickdraw-bin": lambda data: [Sample("x.bin", path.read_bytes()) for path in (data / "quickdraw").glob("*.bin")],
    "svg": lambda data: [
        Sample(path.name, path.read_bytes()) for path in sorted((data / "kanjivg").glob("*.svg"))[::40]
    ],
    "microjam-arrays": lambda data: members(
        "raw_perfs", saved_bytes(np.save, shortest(data / "touch" / "tiny_performances_dev.npz", "raw_perfs"))
    ),
    "impsy-arrays": lambda data: members(
        "perfs",
        saved_bytes(
            np.save, object_array(*(rows[:20] for rows in shortest(data / "touch" / "impsy-4d-12ksmall.npz", "perfs")))
        ),
    ),
    "lightpad": lambda data: [Sample("x.txt", lines(data / "touch" / "lightpad-block-perf1.txt", 30))],
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_a_damaged_real_file_is_read_or_told(name: str, shared_data: Path, tmp_path: Path) -> None:
    samples = REAL[name](shared_data)
    for number, sample in enumerate(samples):
        whole = sample.write(tmp_path / str(number) / sample.name, sample.data)
        assert formats.recognize_format(whole) is FORMATS[name]
    check_damaged_files(samples, name, EXAMPLES)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_thousands_of_damaged_real_files_are_read_or_told(name: str, shared_data: Path) -> None:
    check_damaged_files(REAL[name](shared_data), name, MANY_EXAMPLES)
