"""MDN-RNN: an LSTM whose head is a mixture over the next motion beside a categorical over the next event."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.events import END
from mdnrnn.models.base import Condition, Loss, SequenceModel, StepShape, detach_state, where_state
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.nn.lstm import LSTM


class MDNRNN(SequenceModel):
    """p(step_t | steps before, label, inputs): the model of Graves (2013) and Ha (2015), one head for all its uses."""

    carries_state = True

    def __init__(self, shape: StepShape, config: MDNRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.label = LabelEmbedding(shape.classes)
        features = StepFeatures(
            shape.features,
            shape.events,
            shape.inputs,
            shape.position_features if config.position else 0,
            float(config.position),
        )
        width = features.width + self.label.width
        lstm = LSTM(width, config.hidden, config.layers, config.dropout, skip=config.skip)
        head = StepHead(
            lstm.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder, self.component_choices = StepDecoder(features, lstm, head), head.component_choices

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Zeros; the condition's label embedded."""
        like = self.decoder.head.linear.bias.expand(batch_size, -1)
        return self.decoder.initial_state(self.label((condition or Condition()).label, like))

    def top_hidden(self, state: DecoderState) -> Tensor:
        """What the model remembers, the hidden state of its top layer, (B, H)."""
        hidden: Tensor = state.lstm.hidden[-1]
        return hidden

    def forward(self, batch: Batch) -> StepDistribution:
        """The distributions of all real steps, flat (S,)."""
        return self.decoder(batch, self.initial_state(batch.size, Condition(batch.label)))

    def loss_with_state(self, batch: Batch, carried: Any) -> Loss:
        """The loss of windows: those that go on do so from `carried`, the others from the start."""
        if batch.continues is None:
            return self.loss(batch)
        state = self.initial_state(batch.size, Condition(batch.label))
        if carried is not None:
            state = where_state(carried, state, batch.continues)._replace(
                context=state.context
            )  # the labels are as they were
        steps, after = self.decoder.forward_with_state(batch, state)
        return self.loss_from(steps, batch)._replace(state=detach_state(after))

    def loss_from(self, steps: StepDistribution, batch: Batch) -> Loss:
        """The loss under the distributions of all real steps; its "weighed" term is what training descends for
        "event", where ends are weighed."""
        loss = super().loss_from(steps, batch)
        if self.config.end_weight != 1 and self.shape.events:
            loss.terms["weighed"] = weighted_event_nll(steps.event_logits, batch.target.event, self.config.end_weight)
        return loss

    def objective(self, loss: Loss, batch: Batch, step: int) -> Tensor:
        """The loss, its ends weighed."""
        terms = loss.terms
        return terms["motion"] + terms["weighed"] if "weighed" in terms else loss.total


def weighted_event_nll(logits: Tensor, event: Tensor, weight: float) -> Tensor:
    """Mean nats of events (S,) where each END counts `weight` times, of logits (S, 3) of their true probabilities.

    So weighed, nats are least at odds of an end that are `weight` times too high (Elkan, "The foundations of
    cost-sensitive learning", 2001): it is those that are scored, and what the logits say is true again.
    """
    weights = torch.ones_like(logits[0])
    weights[END] = weight
    high = logits + weights.log()
    return functional.cross_entropy(high, event, weights, reduction="sum") / len(event)
