"""Training speed in real (unpadded) points per second, relative to a plain PyTorch loop with the same network.

The plain loop is measured first, with the default memory settings of the C library, because training with this package
changes these settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from mdnrnn.benchmark.baselines import PlainHandwriting, PlainMDNRNN, PlainModel, PlainSketchRNN
from mdnrnn.benchmark.limits import matrix_product, operations_per_point
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.training_windows import Windows
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.errors import InputError
from mdnrnn.models.base import StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.runs.presets import KINDS, PRESETS
from mdnrnn.training.memory import keep_freed_memory
from mdnrnn.training.step import Objective, make_optimizer, train_step

_BATCH = {"mdnrnn": 100, "sketchrnn": 100, "handwriting": 32}
_PLAIN: dict[str, dict[str, Callable[[Any, StepShape], PlainModel]]] = {
    "mdnrnn": {"plain": lambda config, _: PlainMDNRNN(config)},
    "sketchrnn": {
        "plain": lambda config, _: PlainSketchRNN(config),
        "scale_tril": lambda config, _: PlainSketchRNN(config, factors=True),
    },
    "handwriting": {"plain": lambda config, shape: PlainHandwriting(config, shape.alphabet)},
}
"""Functions that make a baseline model, by kind of model and name of the baseline."""


@dataclass(frozen=True, kw_only=True)
class TrainBenchmark:
    """Training speed in real (unpadded) points per second, and speedup over baselines in plain PyTorch.

    If there is no baseline for the model and the data, all results of baselines are None. Fields with `scale_tril` in
    their name are results of a second baseline, which uses Cholesky factors instead of covariance matrices. Only
    Sketch-RNN has a second baseline; for other models, the `scale_tril` fields are None.
    """

    speedup: float | None
    speedup_same_memory: float | None
    """Speedup if the baseline also keeps freed memory for reuse, as training with this package does; see
    `keep_freed_memory`."""
    speedup_scale_tril: float | None
    """Speedup over the baseline that uses Cholesky factors instead of covariance matrices."""
    speedup_scale_tril_same_memory: float | None
    points_per_second: float
    plain_points_per_second: float | None
    scale_tril_points_per_second: float | None
    real_fraction: float
    """Fraction of real steps among all steps in the batches of this package; the other steps are padding."""
    plain_real_fraction: float | None
    operations_per_second: float
    """FLOP/s of training with this package. Only matrix products for real points are counted."""
    product_operations_per_second: float
    """FLOP/s of one large matrix product in the same precision."""
    fraction_of_matmul: float
    """`operations_per_second` divided by `product_operations_per_second`."""
    precision: str
    preset: str
    batch_size: int
    hidden: int
    components: int
    parameters: int
    plain_parameters: int | None
    """Number of parameters of the baseline. It differs from `parameters`: the baseline has no inputs for pen position
    and class, and `nn.LSTM` has two biases per gate."""
    machine: Machine


def benchmark_train(
    corpus: Corpus,
    preset: str = "stroke",
    *,
    hidden: int | None = None,
    batch_size: int | None = None,
    repeats: int = 5,
    batches: int = 8,
    device: str = "auto",
) -> TrainBenchmark:
    """Measure the training speed of a preset's model on prepared batches.

    The batches of this package contain sequences of similar length. The measured batches are evenly spaced from
    the shortest to the longest batch of an epoch. The baseline trains on batches of random sequences, each padded to
    the longest sequence of the batch.

    Args:
        corpus: training data.
        preset: name of the preset.
        hidden: hidden size; by default the hidden size of the preset.
        batch_size: number of sequences per batch; by default 100, or 32 for handwriting models.
        repeats: number of timed rounds.
        batches: number of batches per round.
        device: name of the device, see `mdnrnn.device.choose_device`.
    """
    if preset not in PRESETS:
        raise InputError(f"preset: received {preset!r}, expected one of {', '.join(PRESETS)}")
    where, kind = choose_device(device), PRESETS[preset].kind
    batch_size = _BATCH[kind] if batch_size is None else batch_size
    training = replace(PRESETS[preset].training, batch_size=batch_size)
    config = PRESETS[preset].model if hidden is None else replace(PRESETS[preset].model, hidden=hidden)
    precision = choose_precision(training.precision, where)
    data, _ = training.splits(corpus, Normalizer.from_corpus(corpus))
    torch.manual_seed(0)
    shape = StepShape.from_corpus(corpus)
    model = KINDS[kind].build(shape, config).to(where)
    makes = _PLAIN[kind] if _has_plain_counterpart(config, shape) else {}
    plain = {name: make(config, shape).to(where) for name, make in makes.items()}
    objective, optimizer = Objective(model), make_optimizer(model, training)
    ours, theirs = _sample_batches(data, where, batches), _random_batches(data, where, batches) if plain else []

    def train() -> None:
        for batch in ours:
            train_step(objective, optimizer, batch, where, precision, training.clip)

    loops: dict[str, Callable[[], object]] = {
        name: _plain_loop(network, theirs, training.clip) for name, network in plain.items()
    }
    # The baselines are measured first, because the memory settings of the C library cannot be restored completely.
    default_times = take_turns(loops, repeats, where)
    keep_freed_memory()
    product, operations = matrix_product(where, precision)
    times = take_turns({"ours": train, "product": product, **loops}, repeats, where)
    rate = _points(ours) / times["ours"]
    achieved, limit = rate * operations_per_point(model), operations / times["product"]
    rates = {name: _points(theirs) / seconds for name, seconds in default_times.items()}
    speedups = {name: rate / baseline for name, baseline in rates.items()}
    same_memory = {name: rate * times[name] / _points(theirs) for name in rates}
    network = plain.get("plain")
    return TrainBenchmark(
        speedup=speedups.get("plain"),
        speedup_same_memory=same_memory.get("plain"),
        speedup_scale_tril=speedups.get("scale_tril"),
        speedup_scale_tril_same_memory=same_memory.get("scale_tril"),
        points_per_second=rate,
        plain_points_per_second=rates.get("plain"),
        scale_tril_points_per_second=rates.get("scale_tril"),
        real_fraction=_real_fraction(ours),
        plain_real_fraction=_real_fraction(theirs) if theirs else None,
        operations_per_second=achieved,
        product_operations_per_second=limit,
        fraction_of_matmul=achieved / limit,
        precision=precision,
        preset=preset,
        batch_size=batch_size,
        hidden=config.hidden,
        components=config.components,
        parameters=_parameters(model),
        plain_parameters=_parameters(network) if network else None,
        machine=Machine.of(where),
    )


def _has_plain_counterpart(config: Any, shape: StepShape) -> bool:
    """Return whether a baseline supports the model and the features of its time steps.

    Baselines support drawings (two features, three events) without additional inputs. The MDN-RNN baseline has one
    layer and diagonal covariances.
    """
    simple = not isinstance(config, MDNRNNConfig) or (config.layers == 1 and config.covariance == "diagonal")
    return simple and shape.features == 2 and shape.events == 3 and not shape.inputs


def _plain_loop(model: PlainModel, batches: list[Batch], clip: float) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters())

    def train() -> None:
        for batch in batches:
            optimizer.zero_grad()
            model.loss(batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()

    return train


def _points(batches: list[Batch]) -> int:
    return sum(batch.points for batch in batches)


def _real_fraction(batches: list[Batch]) -> float:
    return _points(batches) / sum(batch.steps * batch.size for batch in batches)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _sample_batches(data: Batches | Windows, device: torch.device, count: int) -> list[Batch]:
    """Return up to `count` batches of an epoch, evenly spaced from the shortest to the longest batch."""
    epoch = sorted(data.epoch(0), key=lambda batch: batch.steps)
    chosen = np.linspace(0, len(epoch) - 1, min(len(epoch), count)).round().astype(int)
    return [epoch[index].to(device) for index in chosen]


def _random_batches(data: Batches | Windows, device: torch.device, count: int) -> list[Batch]:
    data = data.batches if isinstance(data, Windows) else data
    order = np.random.default_rng(0).permutation(np.asarray(data.corpus.indices(data.split)))
    chunks = [order[i : i + data.batch_size] for i in range(0, len(order), data.batch_size)][:count]
    return [data.batch(chunk).to(device) for chunk in chunks]
