"""Sketch-RNN: a variational autoencoder with one latent vector per drawing (Ha and Eck, arXiv:1704.03477)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdnrnn.data.batch import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, Loss, StepShape, require_context
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.models.kl_annealing import kl_weight
from mdnrnn.models.latent import LatentModel, Posterior
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState
from mdnrnn.nn.scan import scan_steps

_INITIAL_LOG_SCALE = -2.0
"""Approximate log standard deviation of q(z | drawing) before training."""
_CELLS: dict[str, type[LSTM] | type[LayerNormLSTM]] = {"plain": LSTM, "layer-norm": LayerNormLSTM}


class SketchRNN(LatentModel):
    """p(step_t | previous steps, z, label) with z ~ N(0, I), and an encoder q(z | drawing, label).

    The encoder is a bidirectional LSTM. The decoder is an LSTM that reads z, the embedded label and the context vector
    at every step. The initial state of the decoder is a function of the same three vectors.
    """

    def __init__(self, shape: StepShape, config: SketchRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.latent = config.latent if config.kl_weight else 0
        self.label = LabelEmbedding(shape.classes, shape.label_features)
        lstm, recurrent_dropout = _CELLS[config.cell], config.recurrent_dropout
        position_features = shape.position_features if config.position else 0
        features = StepFeatures(shape.features, shape.events, shape.inputs, position_features)
        context = self.latent + self.label.width + shape.context
        self.decoder = StepDecoder(
            features,
            lstm(features.width + context, config.hidden, config.layers, config.dropout, recurrent_dropout),
            StepHead(
                config.hidden, shape.features, config.components, shape.events, config.covariance, config.scale_floor
            ),
        )
        self.component_choices = self.decoder.head.component_choices
        if self.latent:
            self.initial_layer = nn.Linear(context, 2 * config.layers * config.hidden)
            self.encoder_features = StepFeatures(shape.features, shape.events, 0, position_features)
            width = self.encoder_features.width
            self.encoder_forward = lstm(width, config.encoder, recurrent_dropout=recurrent_dropout)
            self.encoder_backward = lstm(width, config.encoder, recurrent_dropout=recurrent_dropout)
            self.posterior = nn.Linear(2 * config.encoder + self.label.width, 2 * self.latent)
            nn.init.xavier_uniform_(self.posterior.weight)
            nn.init.zeros_(self.posterior.bias)
            # Start with small standard deviations of z. With large ones, the decoder would learn to ignore z.
            nn.init.constant_(self.posterior.bias.detach()[self.latent :], _INITIAL_LOG_SCALE)

    def encode(self, batch: Batch) -> Posterior:
        """Return q(z | drawing, label) of each drawing of a batch.

        The encoder reads the target steps. The parameters of q are a linear map of the last outputs of the forward and
        the backward LSTM and of the embedded label.
        """
        steps, hiddens = batch.target, []
        for lstm, slots in ((self.encoder_forward, batch.slots), (self.encoder_backward, batch.backward_slots())):
            inputs = self.encoder_features.from_batch(batch, steps, slots)
            state = lstm.initial_state(batch.size)
            outputs = scan_steps(lstm, inputs, state) if torch.compiler.is_exporting() else lstm(inputs, state)[0]
            hiddens.append(outputs.flatten(0, 1).index_select(0, batch.last_slots()))
        label = self.label(batch.label, hiddens[0])
        # Under autocast the parameters are in half precision; the posterior needs float32.
        parameters = self.posterior(torch.cat([*hiddens, label], -1)).to(steps.motion.dtype)
        return Posterior(*parameters.chunk(2, -1))

    def decode(self, batch: Batch, latent: Tensor | None) -> StepDistribution:
        """Return the distributions of all S real (unpadded) steps, given the true previous steps and z.

        Args:
            batch: the batch.
            latent: latent vectors z, shape (B, Z); None for a model without latent vector.

        Returns:
            One distribution of batch shape (S,).
        """
        return self.decoder(batch, self.initial_state(batch.size, Condition.from_batch(batch, latent)))

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Return the state before the first step, given z and the label.

        The context of the decoder is the concatenation of z, the embedded label and the context vector. The LSTM state
        is tanh of a linear map of the context. In a model without latent vector the LSTM state is 0.

        Raises:
            InputError: the condition lacks a latent vector, a label or a context vector that the model needs.
        """
        condition = condition or Condition()
        label = self.label(condition.label, self.decoder.head.linear.bias.expand(batch_size, -1))
        context = torch.cat([label, *require_context(condition.context, self.shape.context)], -1)
        if not self.latent:
            return self.decoder.initial_state(context)
        if condition.latent is None:
            raise InputError(f"latent: received none, expected {self.latent} numbers per sequence")
        context = torch.cat([condition.latent, context], -1)
        states = torch.tanh(self.initial_layer(context)).to(context.dtype)
        hidden, cell = states.unflatten(-1, (2 * self.config.layers, -1)).transpose(0, 1).chunk(2)
        return self.decoder.initial_state(context, LSTMState(hidden.contiguous(), cell.contiguous()))

    def objective(self, loss: Loss, batch: Batch, step: int) -> Tensor:
        """Return the scalar that training minimizes, in nats per point.

        The result is the reconstruction loss plus the weighted KL divergence. The weight increases during training; see
        `SketchRNNConfig`.

        Args:
            loss: loss of the batch.
            batch: the batch.
            step: number of completed training steps.
        """
        if not self.latent:
            return loss.total
        config, kl = self.config, loss.terms["kl"]
        weight = kl_weight(config, step)
        floor = config.kl_floor * self.latent * batch.size / batch.points
        return loss.total - kl + weight * kl.clamp_min(floor)
