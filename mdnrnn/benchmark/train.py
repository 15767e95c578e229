"""Training against a plain loop, in real points a second.

The plain loop goes first, alone, in the memory that a process has by default, which ours gives up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional

from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus, Normalizer
from mdnrnn.device import choose_device, choose_precision
from mdnrnn.models.base import StepShape
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loop import make_optimizer, update
from mdnrnn.training.memory import keep_freed_memory

_SAMPLE = 8
"""Batches timed in a repeat."""


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
    as_it_comes = take_turns({"plain": train_plainly}, repeats, where)
    keep_freed_memory()
    times = take_turns({"ours": train, "plain": train_plainly}, repeats, where)
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
