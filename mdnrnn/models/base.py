"""Base classes of all models, and the data structures that the models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mdnrnn.data.batch import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.nn.decoder import StepDecoder
from mdnrnn.nn.label_embedding import default_width
from mdnrnn.pen_events import START


@dataclass(frozen=True, kw_only=True)
class StepShape:
    """Sizes that determine a model's inputs and outputs: motion, event, inputs, label, text and context."""

    features: int = 2
    """Number of motion features, D."""
    events: int = 3
    """Number of events, E: 3 (DOWN, UP, END) for strokes; 2 (DOWN, END) for sequences that end but have no strokes; 0
    for sequences without an end."""
    inputs: int = 0
    """Number of additional inputs per step, A, for example the size of an action vector."""
    classes: int = 0
    """Number of classes of the label; 0 for no label."""
    label_width: int | None = None
    """Number of features of the label's embedding. None: min(classes, 32). A fine-tuned model keeps the number of the
    model that it started from."""
    alphabet: str = ""
    """Characters of the texts, in the order of their one-hot encoding; empty if there are no texts."""
    context: int = 0
    """Size of the context vector, C; 0 for no context vector."""
    offsets: int | None = None
    """Number of leading motion features that are offsets, for example 2 for dx and dy. The running sums of the offsets
    are the position. None: all motion features are offsets."""

    @classmethod
    def from_corpus(cls, corpus: Corpus) -> StepShape:
        """Return the shape of the time steps of a corpus."""
        return cls(
            features=corpus.motion.shape[1],
            events=corpus.events,
            inputs=0 if corpus.inputs is None else corpus.inputs.shape[1],
            classes=len(corpus.metadata.classes),
            alphabet=corpus.alphabet,
            context=0 if corpus.context is None else corpus.context.shape[1],
            offsets=len(corpus.metadata.offset_features(corpus.motion.shape[1])) if corpus.metadata.features else None,
        )

    def __post_init__(self) -> None:
        for name, minimum in (("features", 1), ("inputs", 0), ("classes", 0), ("context", 0)):
            if getattr(self, name) < minimum:
                raise InputError(f"shape.{name}: received {getattr(self, name)}, expected a whole number >= {minimum}")
        if self.events not in (0, 2, 3):
            raise InputError(f"shape.events: received {self.events}, expected 3, 2 or 0")
        if self.label_width is not None and (self.label_width < 1 or not self.classes):
            raise InputError(
                f"shape.label_width: received {self.label_width} for {self.classes} classes, expected 1 or more"
            )

    @property
    def label_features(self) -> int:
        """Number of features of the label's embedding."""
        return default_width(self.classes) if self.label_width is None else self.label_width

    @property
    def position_features(self) -> int:
        """Number of leading motion features whose running sums are the position."""
        return self.features if self.offsets is None else self.offsets


class Condition(NamedTuple):
    """Variables that sequences are conditioned on; each may be None.

    `label`: class indices, shape (B,), or weights of a blend of classes, shape (B, classes). `inputs`: additional
    inputs of each step, shape (B, T, A). `latent`: latent vectors z, shape (B, Z). `text`: Unicode code points of the
    texts, padded with zeros, shape (B, U). `context`: context vectors, shape (B, C), for example embeddings of images.
    """

    label: Tensor | None = None
    inputs: Tensor | None = None
    latent: Tensor | None = None
    text: Tensor | None = None
    context: Tensor | None = None

    @classmethod
    def from_batch(cls, batch: Batch, latent: Tensor | None = None) -> Condition:
        """Return the condition of the sequences of a batch, given their latent vectors z (B, Z), if any."""
        return cls(batch.label, latent=latent, text=batch.text, context=batch.context)


class Loss(NamedTuple):
    """Loss of a batch.

    `total`: mean over the points of the batch; for most models a negative log-likelihood in nats per point. `terms`:
    parts of the loss by name, for example "motion" and "event". `state`: recurrent state after the batch, from which
    the next batch starts in truncated backpropagation through time. It is None or nested tuples of detached tensors.
    """

    total: Tensor
    terms: dict[str, Tensor]
    state: Any = None


class Model(nn.Module, ABC):
    """Base class of all trainable models: a module with the methods `loss`, `loss_with_state` and `objective`."""

    @abstractmethod
    def loss(self, batch: Any) -> Loss:
        """Return the loss of a batch: the mean over its points."""

    def loss_with_state(self, batch: Any, state: Any) -> Loss:
        """Return the loss of a batch that starts from the state after the preceding batch.

        This base class ignores the state. Models that support truncated backpropagation through time override the
        method.

        Args:
            batch: the batch.
            state: `Loss.state` of the preceding batch, or None.
        """
        return self.loss(batch)

    def objective(self, loss: Loss, batch: Any, step: int) -> Tensor:
        """Return the scalar that training minimizes.

        This base class returns `loss.total`. Override the method to weight the terms of the loss.

        Args:
            loss: loss of the batch.
            batch: the batch.
            step: number of completed training steps.
        """
        return loss.total


class SequenceModel(Model):
    """Base class of autoregressive models: a distribution over the next step, given the previous steps and a condition.

    The recurrent state is an argument and a result of the methods and is never stored on the module. It is a NamedTuple
    of tensors, possibly nested. The second-to-last dimension of each tensor is the batch. Other dimensions may grow
    from step to step, as in a key/value cache. Evaluation and generation call `initial_step`, `initial_state`,
    `step`, `finished` and `forward`. A subclass defines the attribute `decoder` or overrides `step`.
    """

    shape: StepShape
    decoder: StepDecoder
    """Decoder that `step` calls."""
    latent: int = 0
    """Size of the latent vector, Z; 0 for models without latent variables."""
    uses_text: bool = False
    """Whether the model is text-conditional."""
    carries_state: bool = False
    """Whether training on windows of sequences can start each window from the final state of the preceding window."""
    component_choices: int = 1
    """Number of mixture components that sampling selects per step: D for per-dimension mixtures, otherwise 1."""

    def initial_step(self, batch_size: int) -> Step:
        """Return the input of the first step of `batch_size` sequences: motion 0 and event START."""
        like = next(self.parameters())
        motion = like.new_zeros(batch_size, self.shape.features)
        return Step(motion, torch.full((batch_size,), START, device=like.device))

    @abstractmethod
    def initial_state(self, batch_size: int, condition: Condition | None = None) -> Any:
        """Return the state before the first step of `batch_size` sequences, given their condition."""

    def step(self, previous: Step, state: Any) -> tuple[StepDistribution, Any]:
        """Return the distribution of the step that follows `previous`, and the updated state.

        Args:
            previous: motion (B, D), event (B,) and inputs (B, A) or None.
            state: state before the step.

        Returns:
            A distribution of batch shape (B,), and the state after the step.
        """
        return self.decoder.step(previous, state)

    def finished(self, state: Any) -> Tensor | None:
        """Return a mask of the sequences that the model ends after the current step.

        A model can end a sequence although the event of the step is not END. For example, a handwriting model ends a
        sequence when the attention window has passed the end of the text.

        Args:
            state: state after the current step.

        Returns:
            A boolean mask, shape (B,), or None if sequences end only with the event END.
        """
        return None

    def character_columns(self) -> dict[str, int]:
        """Return the weight matrices that have one input column per character of the alphabet.

        The result is the first of these columns by the name of the matrix. The columns have the order of the alphabet.
        Fine-tuning inserts columns for new characters. This base class returns {}.
        """
        return {}

    @abstractmethod
    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all S real (unpadded) steps of a batch, given the true previous steps.

        The result is one distribution of batch shape (S,).
        """

    def loss(self, batch: Batch) -> Loss:
        """Return the mean negative log-likelihood of the real (unpadded) steps, in nats per step.

        If the data have a bin width, the likelihood of a motion is the probability of its bin. Otherwise, the
        likelihood of a motion is its density.
        """
        return self.loss_under(self(batch), batch)

    def loss_under(self, steps: StepDistribution, batch: Batch) -> Loss:
        """Return the loss of a batch, given the distributions of its steps.

        Args:
            steps: distributions of the S real (unpadded) steps, batch shape (S,).
            batch: the batch.
        """
        motion, event = negative_log_likelihood(steps, batch)
        terms = {"motion": motion.mean(), "event": event.mean()}
        return Loss(terms["motion"] + terms["event"], terms)


def negative_log_likelihood(steps: StepDistribution, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihoods of the motion and of the event of each step, in nats, shape (S,) each.

    Args:
        steps: distributions of the S real (unpadded) steps, batch shape (S,).
        batch: the batch; contains the targets and their bin widths.
    """
    return steps.nll(batch.target, batch.bin_width)


def require_context(context: Tensor | None, size: int) -> list[Tensor]:
    """Return a list with the context vectors (B, C), or an empty list if the model has no context vector.

    Raises:
        InputError: the model has a context vector, and `context` is None or does not have `size` columns.
    """
    if not size:
        return []
    if context is None or context.shape[-1] != size:
        received = "none" if context is None else f"shape {tuple(context.shape)}"
        raise InputError(f"context: received {received}, expected {size} numbers per sequence")
    return [context]
