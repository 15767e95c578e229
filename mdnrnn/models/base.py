"""What every sequence model is: a start, a step, a fused pass over a batch, a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mdnrnn.data.batches import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.events import START
from mdnrnn.nn.decoder import StepDecoder


@dataclass(frozen=True, kw_only=True)
class StepShape:
    """What the steps of a corpus are made of."""

    features: int = 2
    """D, motion features."""
    events: int = 3
    """E, kinds of event: 3, of strokes; 2, of what can only go on or end; 0, of what never ends."""
    inputs: int = 0
    """A, what is known beside each step before."""
    classes: int = 0
    """Labels to condition on; 0: none."""
    alphabet: str = ""
    """The characters of the texts that are written, in order; empty: there are no texts."""
    offsets: int | None = None
    """How many of the first features are offsets, whose sums are a place; none given: all."""

    @classmethod
    def from_corpus(cls, corpus: Corpus) -> StepShape:
        """The shape of a corpus's steps."""
        return cls(
            features=corpus.motion.shape[1],
            events=corpus.events,
            inputs=0 if corpus.inputs is None else corpus.inputs.shape[1],
            classes=len(corpus.metadata.classes),
            alphabet=corpus.alphabet,
            offsets=len(corpus.metadata.offset_features(corpus.motion.shape[1])) if corpus.metadata.features else None,
        )

    def __post_init__(self) -> None:
        for name, least in (("features", 1), ("inputs", 0), ("classes", 0)):
            if getattr(self, name) < least:
                raise InputError(f"a step has {getattr(self, name)} {name}; expected at least {least}")
        if self.events not in (0, 2, 3):
            raise InputError(f"a step has {self.events} events; expected 3, 2 or 0")

    @property
    def position_features(self) -> int:
        """How many features are offsets."""
        return self.features if self.offsets is None else self.offsets


class Condition(NamedTuple):
    """What sequences are drawn given, or None.

    label (B,), integers, or weights (B, classes) of a blend; inputs (B, T, A), known before each step; latent (B, Z);
    text (B, U), code points, zeros after the end of each.
    """

    label: Tensor | None = None
    inputs: Tensor | None = None
    latent: Tensor | None = None
    text: Tensor | None = None


class Loss(NamedTuple):
    """Negative log-likelihood in nats a point, its terms by name, and the state to carry to the next batch, if any.

    `state`: nested tuples of tensors, without gradients.
    """

    total: Tensor
    terms: dict[str, Tensor]
    state: Any = None


class BatchLike(Protocol):
    """What training needs to know of a batch, whatever is in it."""

    @property
    def points(self) -> int:
        """How many points the loss is the mean of."""
        ...

    @property
    def indices(self) -> Tensor:
        """Numbers of its examples in the data, shape (B,)."""
        ...

    def to(self, device: torch.device) -> BatchLike:
        """The same batch on `device`."""
        ...


class Model(nn.Module, ABC):
    """What can be trained: it has a loss."""

    @abstractmethod
    def loss(self, batch: Any) -> Loss:
        """Mean over the batch's points, of the batches that this model takes."""

    def loss_with_state(self, batch: Any, carried: Any) -> Loss:
        """The same, given the state that the loss of the batch before left; None: it left none."""
        return self.loss(batch)

    def objective(self, loss: Loss, batch: Any, step: int) -> Tensor:
        """What training descends at its `step`: the loss itself, unless a model weighs its terms."""
        return loss.total


class SequenceModel(Model):
    """A distribution over the next step, given the steps before and a condition.

    State is whatever the model carries: a (nested) NamedTuple of tensors whose batch dimension is the one before
    the last; explicit, never on the module.
    """

    shape: StepShape
    decoder: StepDecoder
    """What steps through a sequence, once it is given the initial state."""
    latent: int = 0
    """Z, numbers of the latent that a sequence is drawn given; 0: none."""
    uses_text: bool = False
    """Whether a sequence is drawn given a text."""
    carries_state: bool = False
    """Whether it can learn from windows of sequences, and carry its state from one to the next."""
    component_choices: int = 1
    """How many components a step is drawn from: one, or one for each of its features."""

    def initial_step(self, batch_size: int) -> Step:
        """What stands before the first step: no motion, the event START."""
        like = next(self.parameters())
        motion = like.new_zeros(batch_size, self.shape.features)
        return Step(motion, torch.full((batch_size,), START, device=like.device))

    @abstractmethod
    def initial_state(self, batch_size: int, condition: Condition | None = None) -> Any:
        """The state before the first step."""

    def step(self, previous: Step, state: Any) -> tuple[StepDistribution, Any]:
        """The distribution of the step after `previous`, motion (B, D), event (B,), and the next state."""
        return self.decoder.step(previous, state)

    def finished(self, state: Any) -> Tensor | None:
        """Which sequences end with the step that led to this state, (B,), whatever event is drawn; None: none do."""
        return None

    @abstractmethod
    def forward(self, batch: Batch) -> StepDistribution:
        """The distributions of all real steps of a batch, flat (S,), teacher-forced."""

    def loss(self, batch: Batch) -> Loss:
        """Mean over the batch's real steps: bin_widths where a feature lies on a grid, densities elsewhere."""
        return self.loss_from(self(batch), batch)

    def loss_from(self, steps: StepDistribution, batch: Batch) -> Loss:
        """The loss under the distributions of all real steps."""
        motion, event = negative_log_likelihood(steps, batch)
        terms = {"motion": motion.mean(), "event": event.mean()}
        return Loss(terms["motion"] + terms["event"], terms)


def negative_log_likelihood(steps: StepDistribution, batch: Batch) -> tuple[Tensor, Tensor]:
    """Nats of every real step's motion and of its event, each (S,)."""
    return steps.nll(batch.target, batch.bin_width)


def where_state(carried: Any, start: Any, continues: Tensor) -> Any:
    """The state of B sequences: as `carried`, of B or more, where they go on, continues (B,), else as `start`."""
    if isinstance(start, Tensor):
        if carried.shape[-2] < len(continues):  # lanes only end within an epoch: these are the first of the next one
            return start
        rows = carried[..., : len(continues), :].to(start)
        return torch.where(continues.unsqueeze(-1), rows, start)
    return type(start)(*(where_state(old, new, continues) for old, new in zip(carried, start, strict=True)))


def unshard_state(parts: list[Any]) -> Any:
    """The state of all sequences, from those of the first, second and so on of P processes that share them in turn;
    None where they carry none."""
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    if not isinstance(parts[0], Tensor):
        return tuple(unshard_state(list(part)) for part in zip(*parts, strict=True))
    rows = torch.cat(parts, -2)
    turns = torch.cat([torch.arange(part.shape[-2]) * len(parts) + i for i, part in enumerate(parts)])
    return rows.index_select(-2, torch.argsort(turns).to(rows.device))


def shard_state(state: Any, rank: int, processes: int) -> Any:
    """The state of one process's share, of that of all sequences: the inverse of `unshard_state`."""
    if isinstance(state, Tensor):
        return state[..., rank::processes, :]
    return None if state is None else tuple(shard_state(part, rank, processes) for part in state)


def detach_state(state: Any) -> Any:
    """A state as nested tuples of tensors that no gradient goes through: what can be saved."""
    return state.detach() if isinstance(state, Tensor) else tuple(map(detach_state, state))
