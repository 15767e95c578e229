"""MDN-RNN: an LSTM with a mixture density head, for strokes, gestures, performances and world models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.models.base import Condition, Loss, SequenceModel, StepShape, detach_state, where_state
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.nn.lstm import LSTM
from mdnrnn.pen_events import END


class MDNRNN(SequenceModel):
    """p(step_t | previous steps, label, inputs): a mixture density of the motion, times a categorical event.

    Sources: Graves (arXiv:1308.0850, section 4) and Ha (2015).
    """

    carries_state = True

    def __init__(self, shape: StepShape, config: MDNRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.label = LabelEmbedding(shape.classes)
        position_features = shape.position_features if config.position else 0
        features = StepFeatures(shape.features, shape.events, shape.inputs, position_features, float(config.position))
        in_features = features.width + self.label.width
        lstm = LSTM(in_features, config.hidden, config.layers, config.dropout, skip=config.skip)
        head = StepHead(
            lstm.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder, self.component_choices = StepDecoder(features, lstm, head), head.component_choices

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Return a state of zeros with the embedded label as context."""
        like = self.decoder.head.linear.bias.expand(batch_size, -1)
        return self.decoder.initial_state(self.label((condition or Condition()).label, like))

    def top_hidden(self, state: DecoderState) -> Tensor:
        """Return the hidden state of the top layer, shape (B, H)."""
        hidden: Tensor = state.lstm.hidden[-1]
        return hidden

    def forward(self, batch: Batch) -> StepDistribution:
        """Return the distributions of all real steps, of batch shape (S,)."""
        return self.decoder(batch, self.initial_state(batch.size, Condition(batch.label)))

    def loss_with_state(self, batch: Batch, state: Any) -> Loss:
        """Return the loss of a batch of windows; windows that continue a sequence start from `state`."""
        if batch.continues is None:
            return self.loss(batch)
        initial = self.initial_state(batch.size, Condition(batch.label))
        if state is not None:  # the context does not change over time and is taken from this batch's labels
            initial = where_state(state, initial, batch.continues)._replace(context=initial.context)
        steps, last = self.decoder.forward_with_state(batch, initial)
        return self.loss_under(steps, batch)._replace(state=detach_state(last))

    def loss_under(self, steps: StepDistribution, batch: Batch) -> Loss:
        """Return the loss under the given distributions.

        If `end_weight` is not 1, training minimizes the term "weighted_event" instead of "event".
        """
        loss = super().loss_under(steps, batch)
        if self.config.end_weight != 1 and self.shape.events:
            loss.terms["weighted_event"] = weighted_event_nll(
                steps.event_logits, batch.target.event, self.config.end_weight
            )
        return loss

    def objective(self, loss: Loss, batch: Batch, step: int) -> Tensor:
        """Return the loss, with END events weighted if `end_weight` is not 1."""
        terms = loss.terms
        return terms["motion"] + terms["weighted_event"] if "weighted_event" in terms else loss.total


def weighted_event_nll(logits: Tensor, event: Tensor, weight: float) -> Tensor:
    """Return the mean negative log-likelihood of events, in which END has weight `weight`, in nats per event.

    A weighted likelihood is maximized if the odds of END are `weight` times the true odds (Elkan, "The foundations of
    cost-sensitive learning", 2001). Therefore log(weight) is added to the logit of END before the weighted likelihood
    is computed, so that the given logits converge to the true probabilities.

    Args:
        logits: logits of the true event probabilities, shape (S, 3).
        event: shape (S,).
        weight: weight of END.
    """
    weights = torch.ones_like(logits[0])
    weights[END] = weight
    return functional.cross_entropy(logits + weights.log(), event, weights, reduction="sum") / len(event)
