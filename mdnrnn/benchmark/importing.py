"""Import speed and peak memory for each format, on one core.

The imported files contain repetitions of the bundled doodles. Each import runs in a separate process, so that its peak
resident memory can be measured.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, pack
from mdnrnn.data.formats import ndjson, sketchrnn_writer
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.strokes import resample
from mdnrnn.errors import InputError
from mdnrnn.training.memory import peak_bytes

_BASE = 2000
"""Number of different drawings in a file. The file contains each drawing several times."""
_SMALL = 10_000
_RAW_SPACING = 7.0
"""Distance between consecutive points of a raw drawing, in the units of its coordinates.

This distance results in about 200 points per drawing, as in the raw Quick, Draw! data.
"""
_RAW_RECIPE = {"box": 255.0, "resample": 1.0, "simplify": 2.0}
_CHILD = "import sys; from mdnrnn.benchmark.importing import import_alone; import_alone(*sys.argv[1:])"


@dataclass(frozen=True, kw_only=True)
class ImportFigures:
    """Import results of one format. A small and a large file are imported.

    `drawings` is the number of drawings imported from the large file, and `per_second` is this number divided by the
    duration of the import in seconds. 1 MB is 2^20 bytes.
    """

    drawings: int
    per_second: float
    parse_per_second: float | None
    """Drawings per second if the lines of the large file are only parsed as JSON; None for binary formats."""
    peak_mb_small: float
    """Peak memory of the import of the small file, which contains 10,000 drawings."""
    peak_mb: float
    """Peak memory of the import of the large file."""


def benchmark_import(drawings: int = 100_000) -> dict[str, ImportFigures]:
    """Measure imports and return the results by format.

    Args:
        drawings: number of drawings in the large file. The file of raw drawings, which are resampled and
            simplified, contains a tenth of this number, but at least 10,000.
    """
    if drawings < _SMALL:
        raise InputError(f"drawings: received {drawings}, expected {_SMALL} or more")
    doodles = open_corpus("doodles")
    return {name: _measure(case, doodles, drawings) for name, case in _CASES.items()}


def _measure(case: _Case, doodles: Corpus, drawings: int) -> ImportFigures:
    large = max(_SMALL, drawings // 10) if case.recipe else drawings
    results = []
    with tempfile.TemporaryDirectory(prefix="mdnrnn-") as folder:
        for turn, count in enumerate((_SMALL, large)):
            source = Path(folder) / f"drawings{case.extension}"
            case.make(doodles, source, count)
            results.append(_import(source, Path(folder) / f"corpus-{turn}", case.recipe))
        parse = _parse_alone(source) if case.extension == ".ndjson" else None
    small, (kept, seconds, peak) = results[0][2], results[1]
    return ImportFigures(
        drawings=kept,
        per_second=kept / seconds,
        parse_per_second=large / parse if parse else None,
        peak_mb_small=small,
        peak_mb=peak,
    )


def _parse_alone(source: Path) -> float:
    """Return the time to parse all lines of a file as JSON, in seconds."""
    started = time.perf_counter()
    with source.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - started


def _import(source: Path, out: Path, recipe: dict[str, float]) -> tuple[int, float, float]:
    command = [sys.executable, "-c", _CHILD, str(source), str(out), json.dumps(recipe)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    kept, seconds, peak = json.loads(done.stdout)
    return kept, seconds, peak


def import_alone(source: str, out: str, recipe: str) -> None:
    """Import a file. This is the entry point of the separate process.

    Print a JSON list: number of imported drawings, seconds, peak memory in units of 2^20 bytes.

    Args:
        source: file to import.
        out: corpus to write.
        recipe: import options, as a JSON object.
    """
    started = time.perf_counter()
    report = import_corpus([source], out, Recipe(**json.loads(recipe)))
    print(json.dumps([report.kept, time.perf_counter() - started, peak_bytes() / 2**20]))


def _repeat(corpus: Corpus, count: int) -> Iterator[int]:
    """Return `count` indices of drawings: 0 to `_BASE` - 1, repeated."""
    return islice(cycle(range(min(_BASE, len(corpus)))), count)


def _make_npz(corpus: Corpus, path: Path, count: int) -> None:
    sequences = [corpus[i] for i in range(_BASE)]
    repeated = pack(corpus.metadata, {"train": (sequences[i] for i in _repeat(corpus, count))})
    sketchrnn_writer.write(repeated, path)


def _make_ndjson(corpus: Corpus, path: Path, count: int) -> None:
    _write_lines(path, [ndjson.to_json_object(corpus, i) for i in range(_BASE)], _repeat(corpus, count))


def _make_raw(corpus: Corpus, path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    _write_lines(path, [_raw(ndjson.to_json_object(corpus, i), rng) for i in range(_BASE)], _repeat(corpus, count))


def _raw(record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Convert a drawing to the form that a browser records.

    The result has a random scale, many points, fractional coordinates, and a time per point.
    """
    size, time, strokes = rng.uniform(2, 4), 0, []
    for stroke in record["drawing"]:
        points, _ = resample(np.array(stroke, np.float64).T * size, _RAW_SPACING)
        x, y = (points + rng.normal(0, 0.3, points.shape)).astype(np.float32).astype(np.float64).T.tolist()
        times = (time + np.cumsum(rng.integers(5, 30, len(points)))).tolist()
        time = times[-1]
        strokes.append([x, y, times])
    return {**record, "drawing": strokes}


def _write_lines(path: Path, records: list[dict[str, Any]], order: Iterator[int]) -> None:
    lines = [f"{json.dumps(record)}\n".encode() for record in records]
    with path.open("wb") as file:
        file.writelines(lines[i] for i in order)


def _make_bin(corpus: Corpus, path: Path, count: int) -> None:
    drawings = [_encode_binary(ndjson.to_json_object(corpus, i)) for i in range(_BASE)]
    with path.open("wb") as file:
        file.writelines(drawings[i] for i in _repeat(corpus, count))


def _encode_binary(record: dict[str, Any]) -> bytes:
    strokes = (struct.pack("<H", len(x)) + bytes(x) + bytes(y) for x, y in record["drawing"])
    head = struct.pack("<Q2sbIH", int(record["key_id"]), b"XX", 1, 0, len(record["drawing"]))
    return b"".join(chain((head,), strokes))


class _Case(NamedTuple):
    """A format to import: function that writes a file, file extension, and import options."""

    make: Callable[[Corpus, Path, int], None]
    extension: str
    recipe: dict[str, float]


_CASES = {
    "ndjson": _Case(_make_ndjson, ".ndjson", {}),
    "ndjson_raw": _Case(_make_raw, ".ndjson", _RAW_RECIPE),
    "bin": _Case(_make_bin, ".bin", {}),
    "sketchrnn": _Case(_make_npz, ".npz", {}),
}
