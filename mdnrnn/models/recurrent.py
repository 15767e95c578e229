"""MDN-RNN: a core (LSTM, GRU or transformer) with a mixture density head, for all kinds of sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.models.base import Condition, Loss, SequenceModel, StepShape, require_context
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.state import detach_state, where_state
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.gru import GRU
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.nn.lstm import LSTM
from mdnrnn.nn.transformer import Transformer
from mdnrnn.pen_events import END


class MDNRNN(SequenceModel):
    """p(step_t | previous steps, label, inputs): mixture density of the motion times probability of the event.

    Sources: Graves (arXiv:1308.0850, section 4) and Ha, "Handwriting Generation Demo in TensorFlow" (2015).

    Args:
        shape: sizes of the time steps.
        config: sizes and hyperparameters.
        core: function that makes the core, given its number of input features; see `StepDecoder` for the methods of a
            core. None: the core that `config` describes.
        context_encoder: module that maps the context vectors (B, C) to the features (B, F) that the decoder reads, for
            example a convolutional network for images. None: the decoder reads the context vectors.
    """

    carries_state = True

    def __init__(
        self,
        shape: StepShape,
        config: MDNRNNConfig,
        core: Callable[[int], nn.Module] | None = None,
        context_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.label = LabelEmbedding(shape.classes, shape.label_features)
        position_features = shape.position_features if config.position else 0
        features = StepFeatures(shape.features, shape.events, shape.inputs, position_features, float(config.position))
        self.context_encoder = context_encoder or nn.Identity()
        context_features = self.context_encoder(torch.zeros(2, shape.context)).shape[-1]
        in_features = features.width + self.label.width + context_features
        network: Any = make_core(config, in_features) if core is None else core(in_features)
        head = StepHead(
            network.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder, self.component_choices = StepDecoder(features, network, head), head.component_choices

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Return the state before the first step.

        The context of the decoder is the concatenation of the embedded label and the encoded context vector.
        """
        condition = condition or Condition()
        label = self.label(condition.label, self.decoder.head.linear.bias.expand(batch_size, -1))
        vectors = require_context(condition.context, self.shape.context)
        return self.decoder.initial_state(torch.cat([label, *map(self.context_encoder, vectors)], -1))

    def top_hidden(self, state: DecoderState) -> Tensor:
        """Return the hidden state of the core's top layer, shape (B, H)."""
        hidden: Tensor = state.core.hidden[-1]
        return hidden

    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all S real (unpadded) steps of a batch, given the true previous steps.

        The result is one distribution of batch shape (S,).
        """
        return self.decoder(batch, self.initial_state(batch.size, Condition.from_batch(batch)))

    def loss_with_state(self, batch: Batch, state: Any) -> Loss:
        """Return the loss of a batch of windows of sequences.

        Args:
            batch: batch of windows.
            state: state after the preceding batch, or None. A window that continues a window of the preceding batch
                starts from this state. All other windows start from the initial state.
        """
        if batch.continues is None:
            return self.loss(batch)
        initial = self.initial_state(batch.size, Condition.from_batch(batch))
        if state is not None:  # the context is not carried over: it is computed from the condition of this batch
            initial = where_state(state, initial, batch.continues)._replace(context=initial.context)
        steps, last = self.decoder.forward_with_state(batch, initial)
        return self.loss_under(steps, batch)._replace(state=detach_state(last))

    def loss_under(self, steps: StepDistribution, batch: Batch) -> Loss:
        """Return the loss of a batch, given the distributions of its steps.

        If `end_weight` is not 1, the terms include "weighted_event", the event loss in which END is weighted. The total
        loss contains the unweighted event loss; `objective` contains the weighted event loss.

        Args:
            steps: distributions of the S real (unpadded) steps, batch shape (S,).
            batch: the batch.
        """
        loss = super().loss_under(steps, batch)
        if self.config.end_weight != 1 and self.shape.events:
            loss.terms["weighted_event"] = weighted_event_nll(
                steps.event_logits, batch.target.event, self.config.end_weight
            )
        return loss

    def objective(self, loss: Loss, batch: Batch, step: int) -> Tensor:
        """Return the scalar that training minimizes: the loss, with END events weighted if `end_weight` is not 1."""
        terms = loss.terms
        return terms["motion"] + terms["weighted_event"] if "weighted_event" in terms else loss.total


def make_core(config: MDNRNNConfig, in_features: int) -> LSTM | GRU | Transformer:
    """Return the core that a config describes, for `in_features` input features."""
    if config.core == "lstm":
        return LSTM(in_features, config.hidden, config.layers, config.dropout, skip=config.skip)
    if config.core == "gru":
        return GRU(in_features, config.hidden, config.layers, config.dropout, config.skip)
    return Transformer(in_features, config.hidden, config.layers, config.heads, config.span, config.dropout)


def weighted_event_nll(logits: Tensor, event: Tensor, weight: float) -> Tensor:
    """Return the mean weighted negative log-likelihood of events, in nats per event; END has weight `weight`.

    A weighted likelihood is maximized if the predicted odds of END are `weight` times the true odds (Elkan, "The
    foundations of cost-sensitive learning", 2001). Therefore log(weight) is added to the logit of END before the
    weighted likelihood is computed. In training, `logits` then converge to the logits of the true probabilities.

    Args:
        logits: predicted event logits, without log(weight), shape (S, 3).
        event: true events, shape (S,).
        weight: weight of END; DOWN and UP have weight 1.
    """
    weights = torch.ones_like(logits[0])
    weights[END] = weight
    return functional.cross_entropy(logits + weights.log(), event, weights, reduction="sum") / len(event)
