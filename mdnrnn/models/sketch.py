"""Sketch-RNN: a variational sequence model, whose latent is a whole drawing (Ha and Eck, arXiv:1704.03477)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, Loss, StepShape
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.models.latent import LatentModel, Posterior
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState

_NARROW = -2.0
"""Log scale of a new model's q(z | drawing)."""
_CELLS: dict[str, type[LSTM] | type[LayerNormLSTM]] = {"plain": LSTM, "layer-norm": LayerNormLSTM}


class SketchRNN(LatentModel):
    """p(step_t | steps before, z, label) with z ~ N(0, I), and q(z | drawing, label) to learn it by."""

    def __init__(self, shape: StepShape, config: SketchRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.latent = config.latent if config.kl_weight else 0
        self.label = LabelEmbedding(shape.classes)
        lstm = _CELLS[config.cell]
        features = StepFeatures(
            shape.features, shape.events, shape.inputs, shape.position_features if config.position else 0
        )
        context, drop = self.latent + self.label.width, config.recurrent_dropout
        self.decoder = StepDecoder(
            features,
            lstm(features.width + context, config.hidden, config.layers, config.dropout, drop),
            StepHead(
                config.hidden, shape.features, config.components, shape.events, config.covariance, config.scale_floor
            ),
        )
        self.component_choices = self.decoder.head.component_choices
        if self.latent:
            self.start_of = nn.Linear(context, 2 * config.layers * config.hidden)
            self.drawn = StepFeatures(
                shape.features, shape.events, 0, shape.position_features if config.position else 0
            )
            self.forth = lstm(self.drawn.width, config.encoder, recurrent_dropout=drop)
            self.back = lstm(self.drawn.width, config.encoder, recurrent_dropout=drop)
            self.posterior = nn.Linear(2 * config.encoder + self.label.width, 2 * self.latent)
            nn.init.xavier_uniform_(self.posterior.weight)
            nn.init.zeros_(self.posterior.bias)
            # Narrow at first, while the divergence hardly counts: a decoder fed with noise learns to ignore z.
            nn.init.constant_(self.posterior.bias.detach()[self.latent :], _NARROW)

    def encode(self, batch: Batch) -> Posterior:
        """q(z | drawing) of the batch's targets, from the last states of an LSTM either way."""
        steps, states = batch.target, []
        for lstm, slots in ((self.forth, batch.slots), (self.back, batch.backward_slots())):
            outputs, _ = lstm(self.drawn.from_batch(batch, steps, slots), lstm.initial_state(batch.size))
            states.append(outputs.flatten(0, 1).index_select(0, batch.last_slots()))
        label = self.label(batch.label, states[0])
        rows = self.posterior(torch.cat([*states, label], -1)).to(steps.motion.dtype)  # autocast makes them narrow
        return Posterior(*rows.chunk(2, -1))

    def decode(self, batch: Batch, latent: Tensor | None) -> StepDistribution:
        """The distributions of all real steps, flat (S,), teacher-forced, given z (B, Z)."""
        return self.decoder(batch, self.initial_state(batch.size, Condition(batch.label, latent=latent)))

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """tanh of a linear map of z and the label's embedding, which stand beside every input, too."""
        condition = condition or Condition()
        context = self.label(condition.label, self.decoder.head.linear.bias.expand(batch_size, -1))
        if not self.latent:
            return self.decoder.initial_state(context)
        if condition.latent is None:
            raise InputError(f"the model expects a latent of {self.latent} numbers; received none")
        context = torch.cat([condition.latent, context], -1)
        start = torch.tanh(self.start_of(context)).to(context.dtype)
        hidden, cell = start.unflatten(-1, (2 * self.config.layers, -1)).transpose(0, 1).chunk(2)
        return self.decoder.initial_state(context, LSTMState(hidden.contiguous(), cell.contiguous()))

    def objective(self, loss: Loss, batch: Batch, step: int) -> Tensor:
        """Reconstruction and the weighed KL divergence, a point; see the config."""
        if not self.latent:
            return loss.total
        config, kl = self.config, loss.terms["kl"]
        weight = config.kl_weight * (1 - (1 - config.kl_start) * config.kl_rate**step)
        floor = config.kl_floor * self.latent * batch.size / batch.points
        return loss.total - kl + weight * kl.clamp_min(floor)
