"""Sketch-RNN: a variational sequence model, whose latent is a whole drawing (Ha and Eck, arXiv:1704.03477)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, Loss, StepShape
from mdnrnn.models.latent import LatentModel, Posterior
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepCovariance, StepHead
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState


@dataclass(frozen=True, kw_only=True)
class SketchRNNConfig:
    """The shape of a Sketch-RNN, and how its KL divergence counts in training.

    Training descends reconstruction + weight(step) max(KL, kl_floor Z), in nats a drawing, with
    weight(step) = kl_weight (1 - (1 - kl_start) kl_rate^step). The paper divides reconstruction by the longest
    drawing's points N_max and KL by Z, so that its w_KL of 0.5 is 0.5 N_max / Z here: 0.98 where N_max is 250.
    """

    encoder: int = 256
    """Units of the encoder, each way."""
    hidden: int = 512
    """H, units of a layer of the decoder."""
    layers: int = 1
    """LSTM layers of the decoder."""
    latent: int = 128
    """Z, numbers of the latent; 0: no encoder, the decoder alone."""
    components: int = 20
    """K, components of the mixture."""
    covariance: StepCovariance = "full"
    """Of a component: full, with correlation, as published, or diagonal."""
    cell: Literal["plain", "layer-norm"] = "plain"
    """Of the LSTMs; layer-norm is published too, and slower."""
    dropout: float = 0.0
    """Probability that a unit of the decoder's output is dropped, for a whole drawing, in training."""
    recurrent_dropout: float = 0.1
    """Probability that a recurrent weight is dropped, for a whole batch, in training."""
    position: bool = True
    """Whether the sum of the motions so far, the pen's place, is an input too."""
    kl_weight: float = 1.0
    """Of the KL divergence beside the reconstruction, in the end; 1: the bound. 0: the decoder alone."""
    kl_start: float = 0.01
    """Share of the weight at the first step."""
    kl_rate: float = 0.99995
    """What a step leaves of the weight's way to go."""
    kl_floor: float = 0.2
    """Nats of each of the latent's numbers that cost nothing."""
    scale_floor: float = 1e-3
    """The least scale of a component, in normalized units."""

    def __post_init__(self) -> None:
        if self.cell not in _CELLS:
            raise InputError(f"model.cell is {self.cell!r}; expected one of {', '.join(_CELLS)}")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"model.{name} is {value}; expected {low:g} to {high:g}")


_NARROW = -2.0
"""Log scale of a new model's q(z | drawing)."""
_CELLS: dict[str, type[LSTM] | type[LayerNormLSTM]] = {"plain": LSTM, "layer-norm": LayerNormLSTM}
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("encoder", 1, 1e6),
    ("hidden", 1, 1e6),
    ("layers", 1, 1e3),
    ("latent", 0, 1e6),
    ("components", 1, 1e6),
    ("dropout", 0, 0.99),
    ("recurrent_dropout", 0, 0.99),
    ("kl_weight", 0, 1e6),
    ("kl_start", 0, 1),
    ("kl_rate", 0, 1),
    ("kl_floor", 0, 1e6),
    ("scale_floor", 1e-12, 1e6),
)


class SketchRNN(LatentModel):
    """p(step_t | steps before, z, label) with z ~ N(0, I), and q(z | drawing, label) to learn it by."""

    def __init__(self, shape: StepShape, config: SketchRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.latent = config.latent if config.kl_weight else 0
        self.label = LabelEmbedding(shape.classes)
        lstm = _CELLS[config.cell]
        features = StepFeatures(shape.features, shape.events, shape.inputs, shape.places if config.position else 0)
        context, drop = self.latent + self.label.width, config.recurrent_dropout
        self.decoder = StepDecoder(
            features,
            lstm(features.width + context, config.hidden, config.layers, config.dropout, drop),
            StepHead(
                config.hidden, shape.features, config.components, shape.events, config.covariance, config.scale_floor
            ),
        )
        self.choices = self.decoder.head.choices
        if self.latent:
            self.start_of = nn.Linear(context, 2 * config.layers * config.hidden)
            self.drawn = StepFeatures(shape.features, shape.events, 0, shape.places if config.position else 0)
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
            outputs, _ = lstm(self.drawn.of_batch(batch, steps, slots), lstm.initial_state(batch.size))
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
            return self.decoder.start(context)
        if condition.latent is None:
            raise InputError(f"the model expects a latent of {self.latent} numbers; received none")
        context = torch.cat([condition.latent, context], -1)
        start = torch.tanh(self.start_of(context)).to(context.dtype)
        hidden, cell = start.unflatten(-1, (2 * self.config.layers, -1)).transpose(0, 1).chunk(2)
        return self.decoder.start(context, LSTMState(hidden.contiguous(), cell.contiguous()))

    def objective(self, loss: Loss, batch: Batch, step: int) -> Tensor:
        """Reconstruction and the weighed KL divergence, a point; see the config."""
        if not self.latent:
            return loss.total
        config, kl = self.config, loss.terms["kl"]
        weight = config.kl_weight * (1 - (1 - config.kl_start) * config.kl_rate**step)
        floor = config.kl_floor * self.latent * batch.size / batch.points
        return loss.total - kl + weight * kl.clamp_min(floor)
