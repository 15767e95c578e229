"""Training against a plain loop of the same network, in real points a second.

The plain loop goes first, alone, in the memory that a process has by default, which ours gives up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from mdnrnn.benchmark.limits import matrix_product, operations_per_point
from mdnrnn.benchmark.plain import PlainHandwriting, PlainMDNRNN, PlainModel, PlainSketchRNN
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.windows import Windows
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
"""What each kind of model is measured against."""


@dataclass(frozen=True, kw_only=True)
class TrainBenchmark:
    """Real points a second in training: ours, and a plain loop's; null where the preset has no plain counterpart, and
    for Cholesky factors where the network has no covariances, or its plain loop has such factors already."""

    speedup: float | None
    speedup_same_memory: float | None
    """Over the same plain loop with the C library told to keep freed memory, as our training tells it."""
    speedup_scale_tril: float | None
    """Over the same plain loop with Cholesky factors in place of covariance matrices, which PyTorch must factor."""
    speedup_scale_tril_same_memory: float | None
    points_per_second: float
    plain_points_per_second: float | None
    scale_tril_points_per_second: float | None
    real_fraction: float
    """Of the steps that our LSTM computes; the rest is padding."""
    plain_real_fraction: float | None
    operations_per_second: float
    """In matrix products, counted on real points alone."""
    product_operations_per_second: float
    """Of one large matrix product in the same precision."""
    of_product: float
    """The one over the other: how near to the limit training is."""
    precision: str
    preset: str
    batch_size: int
    hidden: int
    components: int
    parameters: int
    plain_parameters: int | None
    """Other than ours: the plain network has no place of the pen among its inputs, no classes, and in an LSTM bin_width a
    bias more."""
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
    """Training steps of a preset's model on batches of all lengths; making the batches is not timed.

    The plain loop takes batches as they come, padded to the longest. `hidden`: by default the preset's; `batch_size`:
    by default 100, of lines of text 32; `batches`: how many are timed in a repeat.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}; expected one of {', '.join(PRESETS)}")
    where, kind = choose_device(device), PRESETS[preset].kind
    batch_size = _BATCH[kind] if batch_size is None else batch_size
    training = replace(PRESETS[preset].training, batch_size=batch_size)
    config = PRESETS[preset].model if hidden is None else replace(PRESETS[preset].model, hidden=hidden)
    precision = choose_precision(training.precision, where)
    data, _ = training.splits(corpus, Normalizer.from_corpus(corpus))
    torch.manual_seed(0)
    shape = StepShape.of(corpus)
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
    # The plain loops first: what the C library has once been told to keep cannot be given back without a trace.
    as_it_comes = take_turns(loops, repeats, where)
    keep_freed_memory()
    product, operations = matrix_product(where, precision)
    times = take_turns({"ours": train, "product": product, **loops}, repeats, where)
    rate = _points(ours) / times["ours"]
    achieved, limit = rate * operations_per_point(model), operations / times["product"]
    rates = {name: _points(theirs) / seconds for name, seconds in as_it_comes.items()}
    speedups = {name: rate / own for name, own in rates.items()}
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
        of_product=achieved / limit,
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
    """Drawings, whole, by the simplest network of each kind."""
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
    """Batches of an epoch as training has them, evenly over the lengths."""
    epoch = sorted(data.epoch(0), key=lambda batch: batch.steps)
    places = np.linspace(0, len(epoch) - 1, min(len(epoch), count)).round().astype(int)
    return [epoch[place].to(device) for place in places]


def _random_batches(data: Batches | Windows, device: torch.device, count: int) -> list[Batch]:
    data = data.whole if isinstance(data, Windows) else data
    order = np.random.default_rng(0).permutation(np.asarray(data.corpus.indices(data.split)))
    chunks = [order[i : i + data.batch_size] for i in range(0, len(order), data.batch_size)][:count]
    return [data.batch(chunk).to(device) for chunk in chunks]
