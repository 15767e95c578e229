"""Training on millions of drawings: what it costs to open them, to begin, and in memory, beside a few thousand.

The drawings are the bundled doodles, each turned, slanted, stretched and mirrored anew and put back on the grid.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from mdnrnn.benchmark.timing import Machine
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Metadata
from mdnrnn.data.formats import native
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.prefetch import ahead
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.errors import InputError
from mdnrnn.files import make_folder, write_json
from mdnrnn.models.base import AnyBatch, StepShape
from mdnrnn.runs.presets import KINDS, PRESETS
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.memory import keep_freed_memory, peak_bytes, resident_bytes
from mdnrnn.training.step import Objective, make_optimizer, update

_HELD_OUT = 10_000
_BLOCK = 50_000
_TURN = 20
"""Steps that either corpus is trained on before the other has its turn."""
_CHILD = "import sys; from mdnrnn.benchmark.size import train_alone; train_alone(*sys.argv[1:])"


@dataclass(frozen=True, kw_only=True)
class SizeBenchmark:
    """Of a large corpus, on one machine, in a process of its own."""

    drawings: int
    points: int
    megabytes: float
    """On disk."""
    open_seconds: float
    first_batch_seconds: float
    """After it was opened, the order of the epoch included."""
    steps: int
    """Of training, on the large corpus alone, and then on either in turns."""
    peak_mb: float
    """Of resident memory, from the start of the process to the last step on the large corpus alone."""
    grown_mb: float
    """Resident memory after the last step over that after the first tenth."""
    points_per_second: float
    small_points_per_second: float
    large_over_small: float
    preset: str
    machine: Machine


def benchmark_size(
    *,
    drawings: int = 10_000_000,
    folder: Path | None = None,
    steps: int = 1000,
    preset: str = "stroke-small",
) -> SizeBenchmark:
    """Training of a preset on so many drawings, and on the bundled ones, in turns.

    `folder`: where the corpus is kept, and found again; by default it is removed.
    """
    if drawings < 4 * _HELD_OUT:
        raise InputError(f"{drawings} drawings were asked for; expected {4 * _HELD_OUT} or more")
    if preset not in PRESETS or PRESETS[preset].kind == "handwriting":
        raise InputError(f"preset {preset!r} is not for drawings; expected stroke, stroke-small, sketch or the like")
    if steps < 10:
        raise InputError(f"{steps} steps were asked for; expected 10 or more")
    with tempfile.TemporaryDirectory(prefix="mdnrnn-") as temporary:
        place = folder or Path(temporary) / "doodles"
        if not (place / native.HEADER).exists():
            make_doodles_again(place, drawings)
        command = [sys.executable, "-c", _CHILD, str(place), preset, str(steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout)
        megabytes = sum(path.stat().st_size for path in place.iterdir()) / 1e6
    return SizeBenchmark(
        **figures,
        megabytes=megabytes,
        steps=steps,
        preset=preset,
        machine=Machine.of(choose_device("auto")),
    )


def make_doodles_again(folder: Path, drawings: int, seed: int = 0) -> None:
    """A corpus folder of so many variations of the bundled doodles, written block after block."""
    base, rng = open_corpus("doodles"), np.random.default_rng(seed)
    chosen = rng.integers(0, len(base), drawings, dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(base.lengths[chosen])]).astype(np.int64)
    make_folder(folder)
    blocks = [slice(first, min(first + _BLOCK, drawings)) for first in range(0, drawings, _BLOCK)]
    label = np.asarray(base.label)
    _save(folder / "motion.npy", (int(offsets[-1]), 2), (_varied(base, chosen[block], rng) for block in blocks))
    events = (np.asarray(base.event)[_rows(base, chosen[block])] for block in blocks)
    _save(folder / "event.npy", (int(offsets[-1]),), events)
    _save(folder / "offsets.npy", offsets.shape, iter([offsets]))
    _save(folder / "label.npy", (drawings,), (label[chosen[block]].astype(np.int32) for block in blocks))
    train, valid = drawings - 2 * _HELD_OUT, drawings - _HELD_OUT
    splits = {"train": (0, train), "valid": (train, valid), "test": (valid, drawings)}
    metadata = Metadata(
        name="doodles-again", bin_width=1.0, license="MIT", source="made by mdnrnn", classes=base.metadata.classes
    )
    write_json(folder / native.HEADER, native.header_of(metadata, splits))


def _save(path: Path, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
    with path.open("wb") as file:
        for number, block in enumerate(blocks):
            if not number:
                header = {"descr": block.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(block).data)


def _rows(base: Corpus, chosen: np.ndarray) -> np.ndarray:
    """The rows of these drawings, end to end."""
    lengths = base.lengths[chosen]
    tops = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + (base.offsets[chosen] - tops).repeat(lengths)


def _varied(base: Corpus, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motions (n, 2) of these drawings, int16, each by a matrix of its own."""
    lengths = base.lengths[chosen]
    turn, slant = rng.normal(0, 0.1, (2, len(chosen)))
    wide, high = rng.uniform(0.8, 1.25, (2, len(chosen)))
    wide *= rng.choice([-1, 1], len(chosen))
    matrix = np.array(
        [[wide * np.cos(turn), high * (slant - np.sin(turn))], [wide * np.sin(turn), high * np.cos(turn)]], np.float32
    )
    motion = np.asarray(base.motion)[_rows(base, chosen)].astype(np.float32)
    moved = np.einsum("ijn,nj->ni", matrix.repeat(lengths, axis=2), motion)
    tops = np.cumsum(lengths) - lengths
    points = np.cumsum(moved, axis=0, dtype=np.float64)
    before = np.concatenate([np.zeros((1, 2)), points])[tops]  # of each drawing, whose origin stays on the grid
    places = np.rint(points - before.repeat(lengths, axis=0))
    steps = np.diff(places, axis=0, prepend=np.zeros((1, 2)))
    steps[tops] = places[tops]
    return steps.astype(np.int16)


def train_alone(folder: str, name: str, steps: str) -> None:
    """What the process runs: opens, begins, trains in turns; prints the figures as JSON."""
    keep_freed_memory()
    started = time.perf_counter()
    large = open_corpus(folder)
    opened = time.perf_counter()
    small = open_corpus("doodles")
    preset, normalizer = PRESETS[name], Normalizer.of(small)
    training = preset.training
    begun = time.perf_counter()
    data = {name: _epochs(training, corpus, normalizer) for name, corpus in (("large", large), ("small", small))}
    next(data["large"])
    first_batch = time.perf_counter() - begun
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    model = KINDS[preset.kind].build(StepShape.of(small), preset.model).to(device)
    objective, optimizer = Objective(model), make_optimizer(model, training)

    def train(batches: Iterator[AnyBatch]) -> int:
        points = 0
        for batch in islice(batches, _TURN):
            _, norm = update(objective, optimizer, batch.to(device), device, precision, training.clip)
            points += batch.points
        float(norm)
        return points

    points, seconds = dict.fromkeys(data, 0), dict.fromkeys(data, 0.0)
    settled, turns = 0, -(-int(steps) // _TURN)
    for turn in range(turns):
        train(data["large"])
        if turn == turns // 10:
            settled = resident_bytes()
    peak, grown = peak_bytes(), resident_bytes() - settled
    for turn in range(-1, turns):  # the first one warms up
        for name, batches in data.items():
            at = time.perf_counter()
            done = train(batches)
            if turn >= 0:
                points[name] += done
                seconds[name] += time.perf_counter() - at
    rates = {name: points[name] / seconds[name] for name in data}
    figures = {
        "drawings": len(large),
        "points": len(large.event),
        "open_seconds": opened - started,
        "first_batch_seconds": first_batch,
        "peak_mb": peak / 1e6,
        "grown_mb": grown / 1e6,
        "points_per_second": rates["large"],
        "small_points_per_second": rates["small"],
        "large_over_small": rates["large"] / rates["small"],
    }
    print(json.dumps(figures))


def _epochs(training: SequenceTrainConfig, corpus: Corpus, normalizer: Normalizer) -> Iterator[AnyBatch]:
    """Epoch after epoch, as in training."""
    data, _ = training.splits(corpus, normalizer)
    for number in count():
        yield from ahead(data.epoch(number))
