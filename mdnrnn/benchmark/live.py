"""Live generation with a `Performer`: latency of single steps, and growth of memory over many steps."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mdnrnn.benchmark.timing import Machine
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.device import single_thread
from mdnrnn.errors import InputError
from mdnrnn.models.base import StepShape
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.tasks.performer import Performer
from mdnrnn.training.memory import resident_bytes

_WARM_UP = 2000


@dataclass(frozen=True, kw_only=True)
class LiveBenchmark:
    """Latency of consecutive steps of an untrained model on one core, and growth of memory.

    `median_ms`, `p99_ms`, `p999_ms` and `worst_ms` are the median, the 99th and 99.9th percentile and the maximum of
    the latency in milliseconds.
    """

    preset: str
    layers: int
    hidden: int
    steps: int
    median_ms: float
    p99_ms: float
    p999_ms: float
    worst_ms: float
    matvec_ms: float
    """Total time of the matrix-vector products with all weight matrices of the model, one product per matrix."""
    grown_bytes: int
    """Growth of resident memory after the first tenth of the steps."""
    machine: Machine


def benchmark_live(*, preset: str = "gesture-s", steps: int = 100_000) -> LiveBenchmark:
    """Measure the generation of gesture streams. The features are the time and three controls on a grid of 1/128.

    Args:
        preset: name of an MDN-RNN preset.
        steps: number of measured steps.
    """
    if preset not in PRESETS or PRESETS[preset].kind != "mdnrnn":
        raise InputError(f"preset: received {preset!r}, expected an MDN-RNN preset such as gesture, gesture-s or touch")
    if steps < 100:
        raise InputError(f"steps: received {steps}, expected 100 or more")
    with single_thread():
        player = Performer(_new_run(preset))
        for _ in range(_WARM_UP):
            player.play()
        times, settled = np.full(steps, np.nan), 0  # np.full allocates the memory before the measurement
        for i in range(steps):
            if i == steps // 10:
                gc.collect()
                settled = resident_bytes()
            started = time.perf_counter()
            player.play()
            times[i] = time.perf_counter() - started
        gc.collect()
        matvec = _matvec_seconds(player.run.model)
        grown = resident_bytes() - settled  # measured before np.quantile copies the times
        median, p99, p999 = (1e3 * np.quantile(times, [0.5, 0.99, 0.999])).tolist()
        config = PRESETS[preset].model
        return LiveBenchmark(
            preset=preset,
            layers=config.layers,
            hidden=config.hidden,
            steps=steps,
            median_ms=median,
            p99_ms=p99,
            p999_ms=p999,
            worst_ms=1e3 * float(times.max()),
            matvec_ms=1e3 * matvec,
            grown_bytes=grown,
            machine=Machine.of(torch.device("cpu")),
        )


def _matvec_seconds(model: nn.Module) -> float:
    """Return the total time in seconds of one matrix-vector product per weight matrix: the median of many repeats."""
    matrices = [weight.detach() for weight in model.parameters() if weight.ndim == 2]
    vectors = [torch.randn(weight.shape[1]) for weight in matrices]
    times = np.empty(_WARM_UP)
    for i in range(_WARM_UP):
        started = time.perf_counter()
        for weight, vector in zip(matrices, vectors, strict=True):
            torch.mv(weight, vector)
        times[i] = time.perf_counter() - started
    return float(np.median(times))


def _new_run(preset: str) -> Run:
    """Return a run with an untrained model. A step takes as long as with a trained model."""
    metadata = Metadata(name="controls", bin_width=1 / 128, features=("dt", "x1", "x2", "x3"))
    config = RunConfig(
        kind=PRESETS[preset].kind,
        shape=StepShape(features=4, events=0, offsets=0),
        model=PRESETS[preset].model,
        normalizer=Normalizer((-4.0, 0.5, 0.5, 0.5), (1.0, 0.25, 0.25, 0.25), (0,)),
        metadata=metadata,
        data="",
        fingerprint="",
        training=PRESETS[preset].training,
        max_steps=1,
    )
    return Run(Path(), config, config.build().eval())
