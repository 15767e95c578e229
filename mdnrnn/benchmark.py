"""Speed as ratios, measured in one process: training against a plain loop, generation against its own parts.

Machines are shared and noisy: after a warm-up contenders take turns, and medians are compared. One goes first, alone:
the plain training loop in the memory that a process has by default, which ours gives up.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus, Normalizer
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.distributions import END
from mdnrnn.errors import InputError
from mdnrnn.generation import generate
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loop import make_optimizer, update
from mdnrnn.training.memory import keep_freed_memory

_WARM_UP = 1
_SAMPLE = 8
"""Batches timed in a repeat."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a figure was measured on."""

    device_name: str
    threads: int
    torch_version: str
    python_version: str

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """This machine."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        return cls(
            device_name=name,
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            python_version=platform.python_version(),
        )


@dataclass(frozen=True, kw_only=True)
class TrainBenchmark:
    """Real points a second in training: ours, and a plain loop's."""

    speedup: float
    speedup_same_memory: float
    """Over the same plain loop with the C library told to keep freed memory, as our training tells it."""
    points_per_second: float
    plain_points_per_second: float
    real_fraction: float
    """Of the steps that our LSTM computes; the rest is padding."""
    plain_real_fraction: float
    precision: str
    batch_size: int
    hidden: int
    components: int
    machine: Machine


@dataclass(frozen=True, kw_only=True)
class GenerateBenchmark:
    """Drawings a second by batch size, and a step beside its matrix-vector product."""

    drawings_per_second: dict[int, float]
    batch_256_over_1: float
    step_microseconds: float
    """At batch 1, all of it: the model, the mixture, the draw."""
    matvec_microseconds: float
    """The LSTM's weights times a vector, alone."""
    step_over_matvec: float
    hidden: int
    steps: int
    machine: Machine


def benchmark_train(
    corpus: Corpus, *, hidden: int = 512, batch_size: int = 100, repeats: int = 5, device: str = "auto"
) -> TrainBenchmark:
    """Training steps on batches of all lengths; making the batches is not timed.

    The plain loop takes batches as they come, padded to the longest.
    """
    where = choose_device(device)
    config = SequenceTrainConfig(batch_size=batch_size)
    precision = choose_precision(config.precision, where)
    data, _ = config.splits(corpus, Normalizer.of_strokes(corpus))
    torch.manual_seed(0)
    model = MDNRNN(StepShape.of(corpus), MDNRNNConfig(hidden=hidden)).to(where)
    plain = PlainModel(hidden, model.config.components).to(where)
    optimizer, plain_optimizer = make_optimizer(model, config), torch.optim.Adam(plain.parameters())
    ours, theirs = _sample_batches(data, where), _random_batches(data, where)

    def train() -> None:
        for batch in ours:
            update(model, optimizer, batch, where, precision, config.clip)

    def train_plainly() -> None:
        for batch in theirs:
            plain_optimizer.zero_grad()
            plain.loss(batch).backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), config.clip)
            plain_optimizer.step()

    # The plain loop first: what the C library has once been told to keep cannot be given back without a trace.
    as_it_comes = _take_turns({"plain": train_plainly}, repeats, where)
    keep_freed_memory()
    times = _take_turns({"ours": train, "plain": train_plainly}, repeats, where)
    rate, plain_rate = _points(ours) / times["ours"], _points(theirs) / as_it_comes["plain"]
    return TrainBenchmark(
        speedup=rate / plain_rate,
        speedup_same_memory=rate * times["plain"] / _points(theirs),
        points_per_second=rate,
        plain_points_per_second=plain_rate,
        real_fraction=_points(ours) / sum(batch.steps * batch.size for batch in ours),
        plain_real_fraction=_points(theirs) / sum(batch.steps * batch.size for batch in theirs),
        precision=precision,
        batch_size=batch_size,
        hidden=hidden,
        components=model.config.components,
        machine=Machine.of(where),
    )


class PlainModel(nn.Module):
    """The usual MDN-RNN, as one would write it first: nn.LSTM over padded batches, MixtureSameFamily, a mask."""

    def __init__(self, hidden: int, components: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, hidden)
        self.head = nn.Linear(hidden, 5 * components + 3)
        self.components = components

    def loss(self, batch: Batch) -> Tensor:
        """Mean nats a real point, with the density."""
        previous = functional.one_hot(batch.previous.event.clamp_min(0), 3).float()
        inputs = batch.pad(torch.cat([batch.previous.motion, previous], -1))
        target, event = batch.pad(batch.target.motion), batch.pad(batch.target.event.unsqueeze(-1)).squeeze(-1)
        mask = torch.arange(batch.steps, device=target.device)[:, None] < batch.lengths
        outputs, _ = self.lstm(inputs)
        k = self.components
        logits, mean, log_scale, pen = self.head(outputs).split([k, 2 * k, 2 * k, 3], -1)
        shape = (*logits.shape, 2)
        parts = Independent(Normal(mean.view(shape), log_scale.view(shape).exp()), 1)
        nats = -MixtureSameFamily(Categorical(logits=logits), parts).log_prob(target)
        nats = nats + functional.cross_entropy(pen.flatten(0, 1), event.flatten(), reduction="none").view_as(nats)
        return (nats * mask).sum() / mask.sum()


def benchmark_generate(
    *, hidden: int = 512, steps: int = 128, repeats: int = 5, device: str = "auto"
) -> GenerateBenchmark:
    """Drawings of exactly `steps` steps by a new model, in batches of 1, 16 and 256."""
    where = choose_device(device)
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=hidden)).to(where).eval()
    with torch.no_grad():
        model.head.linear.bias[model.head.shape.size + END] = -1e9  # so that no drawing ends before its time
    cell = torch.full((2,), 0.05, device=where)
    sizes = (1, 16, 256)

    def draw(model: SequenceModel, n: int) -> None:
        generate(model, n, max_steps=steps, cell=cell)

    layer = model.lstm.layers[0]
    weights = torch.cat([layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0")], 1).detach()
    vector = torch.randn(weights.shape[1], device=where)
    contenders: dict[str, Callable[[], object]] = {str(n): (lambda n=n: draw(model, n)) for n in sizes}  # type: ignore[misc]
    contenders["matvec"] = lambda: [torch.mv(weights, vector) for _ in range(steps)]
    times = _take_turns(contenders, repeats, where)
    rates = {n: n / times[str(n)] for n in sizes}
    return GenerateBenchmark(
        drawings_per_second=rates,
        batch_256_over_1=rates[256] / rates[1],
        step_microseconds=1e6 * times["1"] / steps,
        matvec_microseconds=1e6 * times["matvec"] / steps,
        step_over_matvec=times["1"] / times["matvec"],
        hidden=hidden,
        steps=steps,
        machine=Machine.of(where),
    )


def _take_turns(contenders: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each; they take turns, so that what disturbs the machine disturbs all of them."""
    if repeats < 1:
        raise InputError(f"{repeats} repeats were asked for; expected 1 or more")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_WARM_UP + repeats):
        for name, run in contenders.items():
            _wait(device)
            started = time.perf_counter()
            run()
            _wait(device)
            times[name].append(time.perf_counter() - started)
    return {name: median(seconds[_WARM_UP:]) for name, seconds in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _points(batches: list[Batch]) -> int:
    return sum(batch.points for batch in batches)


def _sample_batches(data: Batches, device: torch.device) -> list[Batch]:
    """Batches of an epoch as training has them, evenly over the lengths."""
    epoch = sorted(data.epoch(0), key=lambda batch: batch.steps)
    places = np.linspace(0, len(epoch) - 1, min(len(epoch), _SAMPLE)).round().astype(int)
    return [epoch[place].to(device) for place in places]


def _random_batches(data: Batches, device: torch.device) -> list[Batch]:
    order = np.random.default_rng(0).permutation(np.asarray(data.corpus.indices(data.split)))
    chunks = [order[i : i + data.batch_size] for i in range(0, len(order), data.batch_size)][:_SAMPLE]
    return [data.batch(chunk).to(device) for chunk in chunks]
