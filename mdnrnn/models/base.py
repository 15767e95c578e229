"""Base classes of all models, and data structures that the models share: shapes, conditions, losses and states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mdnrnn.data.batches import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.nn.decoder import StepDecoder
from mdnrnn.pen_events import START


@dataclass(frozen=True, kw_only=True)
class StepShape:
    """Sizes of the time steps of a corpus, which determine the inputs and outputs of a model."""

    features: int = 2
    """Number of motion features, D."""
    events: int = 3
    """Number of events, E: 3 (DOWN, UP, END) for strokes; 2 (DOWN, END) for sequences without strokes that end; 0 for
    sequences without an end."""
    inputs: int = 0
    """Number of additional inputs per step, A, for example actions."""
    classes: int = 0
    """Number of classes of the label; 0 for no label."""
    alphabet: str = ""
    """Characters of the texts, in order; empty if there are no texts."""
    offsets: int | None = None
    """Number of leading motion features that are offsets (their running sums are the position); None for all."""

    @classmethod
    def from_corpus(cls, corpus: Corpus) -> StepShape:
        """Return the shape of the steps of a corpus."""
        return cls(
            features=corpus.motion.shape[1],
            events=corpus.events,
            inputs=0 if corpus.inputs is None else corpus.inputs.shape[1],
            classes=len(corpus.metadata.classes),
            alphabet=corpus.alphabet,
            offsets=len(corpus.metadata.offset_features(corpus.motion.shape[1])) if corpus.metadata.features else None,
        )

    def __post_init__(self) -> None:
        for name, minimum in (("features", 1), ("inputs", 0), ("classes", 0)):
            if getattr(self, name) < minimum:
                raise InputError(f"shape.{name}: received {getattr(self, name)}, expected a whole number >= {minimum}")
        if self.events not in (0, 2, 3):
            raise InputError(f"shape.events: received {self.events}, expected 3, 2 or 0")

    @property
    def position_features(self) -> int:
        """Number of leading motion features whose running sums are the position."""
        return self.features if self.offsets is None else self.offsets


class Condition(NamedTuple):
    """Variables that sequences are conditioned on; each may be None.

    `label`: integers, shape (B,), or weights of a blend of classes, shape (B, classes). `inputs`: additional inputs of
    each step, shape (B, T, A). `latent`: latent vectors z, shape (B, Z). `text`: code points, zeros after the end of
    each text, shape (B, U).
    """

    label: Tensor | None = None
    inputs: Tensor | None = None
    latent: Tensor | None = None
    text: Tensor | None = None


class Loss(NamedTuple):
    """Loss of a batch.

    `total`: mean over the points, a negative log-likelihood in nats per point unless the model defines another loss.
    `terms`: parts of the loss by name. `state`: state after the batch for truncated backpropagation through time, as
    nested tuples of detached tensors, or None.
    """

    total: Tensor
    terms: dict[str, Tensor]
    state: Any = None


class BatchLike(Protocol):
    """Interface of a batch that the training loop uses."""

    @property
    def points(self) -> int:
        """Number of points over which the loss is averaged."""
        ...

    @property
    def indices(self) -> Tensor:
        """Indices of the examples in the data, shape (B,)."""
        ...

    def to(self, device: torch.device) -> BatchLike:
        """Return the batch on another device."""
        ...


class Model(nn.Module, ABC):
    """Base class of trainable modules, which compute a loss."""

    @abstractmethod
    def loss(self, batch: Any) -> Loss:
        """Return the loss of a batch, a mean over its points."""

    def loss_with_state(self, batch: Any, state: Any) -> Loss:
        """Return the loss of a batch, given the state after the preceding batch (`Loss.state`) or None.

        By default the state is ignored.
        """
        return self.loss(batch)

    def objective(self, loss: Loss, batch: Any, step: int) -> Tensor:
        """Return the scalar that training minimizes at training step `step`.

        By default this is the loss; override the method to weight the terms of the loss.
        """
        return loss.total


class SequenceModel(Model):
    """Distribution over the next time step, given the previous steps and a condition.

    The state is explicit and is never stored on the module. It is a (nested) NamedTuple of tensors whose second-to-last
    dimension is the batch. Evaluation and generation call `initial_step`, `initial_state`, `step`, `finished` and
    `forward`. The default `step` requires a `StepDecoder`.
    """

    shape: StepShape
    decoder: StepDecoder
    """Decoder used by the default `step`."""
    latent: int = 0
    """Size of the latent vector, Z; 0 for models without latent variables."""
    uses_text: bool = False
    """Whether the model is text-conditional."""
    carries_state: bool = False
    """Whether the model can be trained on windows of sequences, with the state carried over to the next window."""
    component_choices: int = 1
    """Number of components that are selected per sampled step: D for per-dimension mixtures, otherwise 1."""

    def initial_step(self, batch_size: int) -> Step:
        """Return the input of the first step: zero motion, event START."""
        like = next(self.parameters())
        motion = like.new_zeros(batch_size, self.shape.features)
        return Step(motion, torch.full((batch_size,), START, device=like.device))

    @abstractmethod
    def initial_state(self, batch_size: int, condition: Condition | None = None) -> Any:
        """Return the state before the first step."""

    def step(self, previous: Step, state: Any) -> tuple[StepDistribution, Any]:
        """Return the distribution of the step after `previous`, of batch shape (B,), and the next state.

        Args:
            previous: motion (B, D), event (B,) and inputs (B, A) or None.
            state: state before the step.
        """
        return self.decoder.step(previous, state)

    def finished(self, state: Any) -> Tensor | None:
        """Return a mask (B,) of the sequences that end with the last step, regardless of its event.

        Args:
            state: state after the last step.

        Returns:
            A boolean mask, or None if the model ends sequences only by the event END.
        """
        return None

    @abstractmethod
    def forward(self, batch: Batch) -> StepDistribution:
        """Return the teacher-forced distributions of all real (unpadded) steps of a batch, of batch shape (S,)."""

    def loss(self, batch: Batch) -> Loss:
        """Return the mean negative log-likelihood of the real steps.

        Motions are scored by the probability of their bins if the data have a bin width, otherwise by their density.
        """
        return self.loss_under(self(batch), batch)

    def loss_under(self, steps: StepDistribution, batch: Batch) -> Loss:
        """Return the loss of a batch, given the distributions of its real steps, of batch shape (S,)."""
        motion, event = negative_log_likelihood(steps, batch)
        terms = {"motion": motion.mean(), "event": event.mean()}
        return Loss(terms["motion"] + terms["event"], terms)


def negative_log_likelihood(steps: StepDistribution, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihoods of all motions and of all events in nats, shape (S,) each."""
    return steps.nll(batch.target, batch.bin_width)


def map_state(function: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Apply a function to each tensor of a state, together with the corresponding tensors of the other states."""
    if isinstance(state, Tensor):
        return function(state, *others)
    parts = [map_state(function, *part) for part in zip(state, *others, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def where_state(carried: Any, initial: Any, continues: Tensor) -> Any:
    """Return the carried-over state where sequences continue and the initial state elsewhere.

    Args:
        carried: state of at least B sequences. Batches only become smaller within an epoch, so a state of fewer
            sequences is from the preceding epoch and is ignored.
        initial: state of B sequences.
        continues: boolean mask of the sequences that continue, shape (B,).
    """
    if isinstance(initial, Tensor):
        if carried.shape[-2] < len(continues):
            return initial
        rows = carried[..., : len(continues), :].to(initial)
        return torch.where(continues.unsqueeze(-1), rows, initial)
    return type(initial)(*(where_state(old, new, continues) for old, new in zip(carried, initial, strict=True)))


def unshard_state(parts: list[Any]) -> Any:
    """Return the state of all sequences, given the states of the ranks; the inverse of `shard_state`.

    Args:
        parts: one state per rank, in order; None for a rank without state.

    Returns:
        Nested tuples of tensors, or None if no rank has a state.
    """
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    if not isinstance(parts[0], Tensor):
        return tuple(unshard_state(list(part)) for part in zip(*parts, strict=True))
    rows = torch.cat(parts, -2)
    indices = torch.cat([torch.arange(part.shape[-2]) * len(parts) + rank for rank, part in enumerate(parts)])
    return rows.index_select(-2, torch.argsort(indices).to(rows.device))


def shard_state(state: Any, rank: int, world_size: int) -> Any:
    """Return the part of a state that belongs to a rank: every `world_size`-th sequence, beginning with `rank`."""
    if isinstance(state, Tensor):
        return state[..., rank::world_size, :]
    return None if state is None else tuple(shard_state(part, rank, world_size) for part in state)


def detach_state(state: Any) -> Any:
    """Return a state as nested tuples of detached tensors."""
    return state.detach() if isinstance(state, Tensor) else tuple(map(detach_state, state))
