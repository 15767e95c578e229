"""How fast files of each format become a corpus on one core, and that memory does not grow with them.

The files are made from the bundled doodles, written again and again; each import is a process of its own, whose
largest resident memory counts.
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
from mdnrnn.data.formats import ndjson, sketchrnn
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.strokes import resample
from mdnrnn.errors import InputError
from mdnrnn.training.memory import peak_bytes

_BASE = 2000
"""Different drawings in a file."""
_SMALL = 10_000
_RAW_SPACING = 7.0
"""Of the points of raw drawings, which gives them about 200, as those of Quick, Draw! have."""
_RAW_RECIPE = {"box": 255.0, "resample": 1.0, "simplify": 2.0}
_CHILD = "import sys; from mdnrnn.benchmark.importing import import_alone; import_alone(*sys.argv[1:])"


@dataclass(frozen=True, kw_only=True)
class ImportFigures:
    """Of one format: drawings in the larger file, how many a second, and MB of memory for 10,000 and for all."""

    drawings: int
    per_second: float
    parse_per_second: float | None
    """Where a line is a drawing, its JSON parsed, and nothing else."""
    peak_mb_small: float
    peak_mb: float


def benchmark_import(drawings: int = 100_000) -> dict[str, ImportFigures]:
    """By format; of raw drawings, resampled and simplified on the way, a tenth as many."""
    if drawings < _SMALL:
        raise InputError(f"{drawings} drawings were asked for; expected {_SMALL} or more")
    doodles = open_corpus("doodles")
    return {name: _measure(case, doodles, drawings) for name, case in _CASES.items()}


def _measure(case: _Case, doodles: Corpus, drawings: int) -> ImportFigures:
    large = max(_SMALL, drawings // 10) if case.recipe else drawings
    results = []
    with tempfile.TemporaryDirectory(prefix="mdnrnn-") as folder:
        for turn, count in enumerate((_SMALL, large)):
            source = Path(folder) / f"drawings{case.ending}"
            case.make(doodles, source, count)
            results.append(_import(source, Path(folder) / f"corpus-{turn}", case.recipe))
        parse = _parse_alone(source) if case.ending == ".ndjson" else None
    small, (kept, seconds, peak) = results[0][2], results[1]
    return ImportFigures(
        drawings=kept,
        per_second=kept / seconds,
        parse_per_second=large / parse if parse else None,
        peak_mb_small=small,
        peak_mb=peak,
    )


def _parse_alone(source: Path) -> float:
    """Seconds."""
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
    """What the processes run: an import; prints how many were kept, the seconds, and the peak of memory in MB."""
    started = time.perf_counter()
    report = import_corpus([source], out, Recipe(**json.loads(recipe)))
    print(json.dumps([report.kept, time.perf_counter() - started, peak_bytes() / 2**20]))


def _again(corpus: Corpus, count: int) -> Iterator[int]:
    """Numbers of drawings, `count` of them, the first few again and again."""
    return islice(cycle(range(min(_BASE, len(corpus)))), count)


def _make_npz(corpus: Corpus, path: Path, count: int) -> None:
    sequences = [corpus[i] for i in range(_BASE)]
    again = pack(corpus.metadata, {"train": (sequences[i] for i in _again(corpus, count))})
    sketchrnn.write(again, path)


def _make_ndjson(corpus: Corpus, path: Path, count: int) -> None:
    _write_lines(path, [ndjson.record(corpus, i) for i in range(_BASE)], _again(corpus, count))


def _make_raw(corpus: Corpus, path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    _write_lines(path, [_raw(ndjson.record(corpus, i), rng) for i in range(_BASE)], _again(corpus, count))


def _raw(record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The same drawing as a browser records it: pixels of any size, many points, fractions, times."""
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
    drawings = [_packed(ndjson.record(corpus, i)) for i in range(_BASE)]
    with path.open("wb") as file:
        file.writelines(drawings[i] for i in _again(corpus, count))


def _packed(record: dict[str, Any]) -> bytes:
    strokes = (struct.pack("<H", len(x)) + bytes(x) + bytes(y) for x, y in record["drawing"])
    head = struct.pack("<Q2sbIH", int(record["key_id"]), b"XX", 1, 0, len(record["drawing"]))
    return b"".join(chain((head,), strokes))


class _Case(NamedTuple):
    """A format: how its file is made, how called, and what is done to its drawings."""

    make: Callable[[Corpus, Path, int], None]
    ending: str
    recipe: dict[str, float]


_CASES = {
    "ndjson": _Case(_make_ndjson, ".ndjson", {}),
    "ndjson_raw": _Case(_make_raw, ".ndjson", _RAW_RECIPE),
    "bin": _Case(_make_bin, ".bin", {}),
    "sketchrnn": _Case(_make_npz, ".npz", {}),
}
