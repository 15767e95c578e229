"""Training on millions of drawings: opening time, time to the first batch, memory and speed relative to a small corpus.

The drawings are variations of the bundled doodles: randomly rotated, slanted, stretched and mirrored. Their coordinates
are rounded to integers.
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
from mdnrnn.data.batch import Batch
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.prefetch import prefetch
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import make_folder, write_json
from mdnrnn.models.base import StepShape
from mdnrnn.runs.presets import KINDS, PRESETS
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.memory import keep_freed_memory, peak_bytes, resident_bytes
from mdnrnn.training.step import Objective, make_optimizer, train_step

_HELD_OUT = 10_000
_BLOCK = 50_000
_TURN = 20
"""Number of training steps per turn. Training alternates between the large and the small corpus."""
_CHILD = "import sys; from mdnrnn.benchmark.corpus_size import train_alone; train_alone(*sys.argv[1:])"


@dataclass(frozen=True, kw_only=True)
class SizeBenchmark:
    """Memory and speed of training on a large corpus, compared with a small one. 1 MB is 10^6 bytes.

    One separate process trains on both corpora.
    """

    drawings: int
    points: int
    megabytes: float
    """Size of the large corpus on disk."""
    open_seconds: float
    first_batch_seconds: float
    """Time to the first batch of the large corpus after both corpora have been opened, including shuffling."""
    steps: int
    """Requested number of training steps per corpus in each of two phases. The first phase trains on the large corpus
    only; the second phase alternates between both corpora. The actual number of steps per corpus and phase is rounded
    up to a multiple of the steps per turn."""
    peak_mb: float
    """Peak resident memory of the process up to the end of the first phase."""
    grown_mb: float
    """Growth of resident memory in the first phase, after its first tenth."""
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
    """Measure the training of a preset's model on many generated drawings, and compare with the bundled doodles.

    Args:
        drawings: number of generated drawings.
        folder: folder of the generated corpus. If the folder contains a corpus, this corpus is used. Otherwise a new
            corpus is generated and kept in the folder. By default a temporary folder.
        steps: number of training steps; see `SizeBenchmark`.
        preset: name of a preset for drawings.
    """
    if drawings < 4 * _HELD_OUT:
        raise InputError(f"drawings: received {drawings}, expected {4 * _HELD_OUT} or more")
    if preset not in PRESETS or PRESETS[preset].kind == "handwriting":
        raise InputError(
            f"preset: received {preset!r}, expected a preset for drawings such as stroke, stroke-small or sketch"
        )
    if steps < 10:
        raise InputError(f"steps: received {steps}, expected 10 or more")
    with tempfile.TemporaryDirectory(prefix="mdnrnn-") as temporary:
        corpus_folder = folder or Path(temporary) / "doodles"
        if not (corpus_folder / native.HEADER).exists():
            make_doodle_variations(corpus_folder, drawings)
        command = [sys.executable, "-c", _CHILD, str(corpus_folder), preset, str(steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout)
        megabytes = sum(path.stat().st_size for path in corpus_folder.iterdir()) / 1e6
    return SizeBenchmark(
        **figures,
        megabytes=megabytes,
        steps=steps,
        preset=preset,
        machine=Machine.of(choose_device("auto")),
    )


def make_doodle_variations(folder: Path, drawings: int, seed: int = 0) -> None:
    """Write a corpus folder with random variations of the bundled doodles, block by block to limit memory."""
    base, rng = open_corpus("doodles"), np.random.default_rng(seed)
    chosen = rng.integers(0, len(base), drawings, dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(base.lengths[chosen])]).astype(np.int64)
    make_folder(folder)
    blocks = [slice(first, min(first + _BLOCK, drawings)) for first in range(0, drawings, _BLOCK)]
    label = np.asarray(base.label)
    _save(folder / "motion.npy", (int(offsets[-1]), 2), (_vary(base, chosen[block], rng) for block in blocks))
    events = (np.asarray(base.event)[_rows(base, chosen[block])] for block in blocks)
    _save(folder / "event.npy", (int(offsets[-1]),), events)
    _save(folder / "offsets.npy", offsets.shape, iter([offsets]))
    _save(folder / "label.npy", (drawings,), (label[chosen[block]].astype(np.int32) for block in blocks))
    train, valid = drawings - 2 * _HELD_OUT, drawings - _HELD_OUT
    splits = {"train": (0, train), "valid": (train, valid), "test": (valid, drawings)}
    metadata = Metadata(
        name="doodles-again", bin_width=1.0, license="MIT", source="made by mdnrnn", classes=base.metadata.classes
    )
    write_json(folder / native.HEADER, native.make_header(metadata, splits))


def _save(path: Path, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
    with path.open("wb") as file:
        for number, block in enumerate(blocks):
            if not number:
                header = {"descr": block.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(block).data)


def _rows(base: Corpus, chosen: np.ndarray) -> np.ndarray:
    """Return the indices in `base` of all rows of the chosen drawings, concatenated, shape (N,)."""
    lengths = base.lengths[chosen]
    tops = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + (base.offsets[chosen] - tops).repeat(lengths)


def _vary(base: Corpus, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the motions of the chosen drawings, each drawing transformed by a random matrix, shape (N, 2), int16."""
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
    before = np.concatenate([np.zeros((1, 2)), points])[tops]  # sum of all offsets before each drawing
    positions = np.rint(points - before.repeat(lengths, axis=0))
    steps = np.diff(positions, axis=0, prepend=np.zeros((1, 2)))
    steps[tops] = positions[tops]
    return steps.astype(np.int16)


def train_alone(folder: str, name: str, steps: str) -> None:
    """Measure training and print the results as JSON. This is the entry point of the separate process.

    Args:
        folder: folder of the large corpus.
        name: name of the preset.
        steps: number of training steps, as text.
    """
    keep_freed_memory()
    started = time.perf_counter()
    large = open_corpus(folder)
    opened = time.perf_counter()
    small = open_corpus("doodles")
    preset, normalizer = PRESETS[name], Normalizer.from_corpus(small)
    training = preset.training
    corpora_open = time.perf_counter()
    data = {name: _epochs(training, corpus, normalizer) for name, corpus in (("large", large), ("small", small))}
    next(data["large"])
    first_batch = time.perf_counter() - corpora_open
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    model = KINDS[preset.kind].build(StepShape.from_corpus(small), preset.model).to(device)
    objective, optimizer = Objective(model), make_optimizer(model, training)
    turn_steps = min(_TURN, int(steps))

    def train(batches: Iterator[Batch]) -> int:
        points = 0
        for batch in islice(batches, turn_steps):
            _, norm = train_step(objective, optimizer, batch.to(device), device, precision, training.clip)
            points += batch.points
        float(norm)
        return points

    points, seconds = dict.fromkeys(data, 0), dict.fromkeys(data, 0.0)
    settled, turns = 0, -(-int(steps) // turn_steps)
    for turn in range(turns):
        train(data["large"])
        if turn == turns // 10:
            settled = resident_bytes()
    peak, grown = peak_bytes(), resident_bytes() - settled
    for turn in range(-1, turns):  # turn -1 is a warm-up
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


def _epochs(training: SequenceTrainConfig, corpus: Corpus, normalizer: Normalizer) -> Iterator[Batch]:
    """Yield the batches of all epochs without end, prefetched as in training."""
    data, _ = training.splits(corpus, normalizer)
    for number in count():
        yield from prefetch(data.epoch(number))
