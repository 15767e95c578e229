"""MDN-RNN: an LSTM whose head is a mixture over the next motion beside a categorical over the next event."""

from __future__ import annotations

from dataclasses import dataclass

from mdnrnn.data.batches import Batch
from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepCovariance, StepHead
from mdnrnn.nn.labels import LabelEmbedding
from mdnrnn.nn.lstm import LSTM


@dataclass(frozen=True, kw_only=True)
class MDNRNNConfig:
    """The shape of an MDN-RNN."""

    hidden: int = 512
    """H, units in a layer."""
    layers: int = 1
    """LSTM layers."""
    components: int = 20
    """K, components of the mixture."""
    covariance: StepCovariance = "diagonal"
    """Of a component: diagonal, or full, with correlation."""
    skip: bool = False
    """Whether the input goes into every layer and every layer into the head, as Graves has it, or one into the next."""
    dropout: float = 0.4
    """Probability that a unit of a layer is dropped, for a whole sequence, in training."""
    position: bool = True
    """Whether the sum of the motions so far, the pen's place, is an input too."""
    scale_floor: float = 1e-3
    """The least scale of a component, in normalised units."""

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "components"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; expected at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}; expected 0 up to, not with, 1")
        if not self.scale_floor > 0:
            raise InputError(f"model.scale_floor is {self.scale_floor}; expected a positive number")


class MDNRNN(SequenceModel):
    """p(step_t | steps before, label): the model of Graves (2013) and Ha (2015), one head for all its uses."""

    def __init__(self, shape: StepShape, config: MDNRNNConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.label = LabelEmbedding(shape.classes)
        features = StepFeatures(shape.features, shape.events, shape.inputs, config.position)
        width = features.width + self.label.width
        lstm = LSTM(width, config.hidden, config.layers, config.dropout, skip=config.skip)
        head = StepHead(
            lstm.width, shape.features, config.components, shape.events, config.covariance, config.scale_floor
        )
        self.decoder = StepDecoder(features, lstm, head)

    def initial_state(self, batch_size: int, condition: Condition | None = None) -> DecoderState:
        """Zeros; the condition's label embedded."""
        like = self.decoder.head.linear.bias.expand(batch_size, -1)
        return self.decoder.start(self.label((condition or Condition()).label, like))

    def step(self, previous: Step, state: DecoderState) -> tuple[StepDistribution, DecoderState]:
        """One step of B sequences."""
        return self.decoder.step(previous, state)

    def forward(self, batch: Batch) -> StepDistribution:
        """The distributions of all real steps, flat (S,)."""
        return self.decoder(batch, self.initial_state(batch.size, Condition(batch.label)))
