"""Names for description people train: a model, its size, and how it is trained."""

from dataclasses import dataclass, field
from typing import Any

from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.training.config import SequenceTrainConfig


@dataclass(frozen=True)
class Kind:
    """A kind of model, as a run's config names it."""

    config: type[Any]
    model: type[SequenceModel]

    def build(self, shape: StepShape, config: Any) -> SequenceModel:
        """A new model; its start comes from torch's random generator."""
        return self.model(shape, config)


KINDS = {
    "mdnrnn": Kind(MDNRNNConfig, MDNRNN),
    "sketchrnn": Kind(SketchRNNConfig, SketchRNN),
    "handwriting": Kind(HandwritingConfig, HandwritingRNN),
}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A kind of model with the sizes and the training that suit one use of it."""

    description: str
    kind: str
    model: Any
    training: SequenceTrainConfig = field(default_factory=SequenceTrainConfig)


_WRITING = SequenceTrainConfig(learning_rate=3e-3, augment_scale=0.1, augment_drop=0.0, batch_size=32)

_GESTURES = SequenceTrainConfig(learning_rate=3e-3, weight_decay=0.1, augment_scale=0.0, augment_drop=0.0, window=50)


def _impsy(hidden: int) -> MDNRNNConfig:
    return MDNRNNConfig(hidden=hidden, layers=2, components=5, dropout=0.0)


PRESETS = {
    "stroke": Preset(description="an MDN-RNN for drawings of any kind", kind="mdnrnn", model=MDNRNNConfig()),
    "stroke-small": Preset(
        description="the same, small: recognizable drawings within a minute or two",
        kind="mdnrnn",
        model=MDNRNNConfig(hidden=256, components=10, dropout=0.0),
        training=SequenceTrainConfig(learning_rate=4e-3, augment_scale=0.1, batch_size=64),
    ),
    "sketch": Preset(
        description="Sketch-RNN at its published sizes: a latent for each drawing, to reconstruct and interpolate",
        kind="sketchrnn",
        # Sizes and augmentation as published, the rates for a budget of minutes, not days: by the paper's annealing,
        # 0.99995 a step, two thousand steps would end at a tenth of the weight, by its learning rate, 1e-3, far from
        # where they can. A floor of 0.2 leaves less to a latent that few steps have taught the decoder to heed.
        model=SketchRNNConfig(dropout=0.15, kl_weight=0.5, kl_rate=0.9995, kl_floor=0.25),
        training=SequenceTrainConfig(batch_size=100, learning_rate=1.2e-2),
    ),
    "sketch-small": Preset(
        description="the same, small: learns in minutes",
        kind="sketchrnn",
        model=SketchRNNConfig(
            encoder=128, hidden=256, latent=32, components=10, dropout=0.1, kl_weight=0.5, kl_rate=0.999, kl_floor=0.2
        ),
        training=SequenceTrainConfig(learning_rate=4e-3, augment_scale=0.1, batch_size=64),
    ),
    "handwriting": Preset(
        description="writes texts, at the published sizes of Graves' synthesis network",
        kind="handwriting",
        model=HandwritingConfig(),
        training=_WRITING,
    ),
    "handwriting-small": Preset(
        description="the same, small: letters within a quarter of an hour on two cores",
        kind="handwriting",
        model=HandwritingConfig(hidden=256),
        training=_WRITING,
    ),
    "touch": Preset(
        description="goes on with performances on a touch screen, and answers them",
        kind="mdnrnn",
        # The screen is 13 deviations of an offset across: with the place among the inputs as it is, the valid loss
        # after 1,400 steps of H 256 is 5.88, with a tenth of it 5.79. Without it 5.76; but answers crowd at the edges.
        model=MDNRNNConfig(hidden=384, components=20, covariance="full", dropout=0.3, position=0.1),
        training=SequenceTrainConfig(
            learning_rate=4e-3, augment_scale=0.2, augment_drop=0.0, batch_size=32, by_points=True
        ),
    ),
    "gesture": Preset(
        description="plays controllers, (dt, x1, ...), on and on",
        kind="mdnrnn",
        model=MDNRNNConfig(hidden=256, components=20, dropout=0.5),
        training=_GESTURES,
    ),
    "gesture-s": Preset(
        description="the same, at IMPSY's size s: 2 layers of 64 units",
        kind="mdnrnn",
        model=_impsy(64),
        training=_GESTURES,
    ),
    "gesture-m": Preset(
        description="the same, at IMPSY's size m: 2 layers of 128 units",
        kind="mdnrnn",
        model=_impsy(128),
        training=_GESTURES,
    ),
    "gesture-l": Preset(
        description="the same, at IMPSY's size l: 2 layers of 256 units",
        kind="mdnrnn",
        model=_impsy(256),
        training=_GESTURES,
    ),
    "world": Preset(
        description="a world's next latents, given the last ones and description is done, to dream in",
        kind="mdnrnn",
        model=MDNRNNConfig(
            hidden=256, components=5, covariance="per-dimension", dropout=0.0, position=0.0, end_weight=10.0
        ),
        training=SequenceTrainConfig(learning_rate=3e-3, augment_scale=0.0, augment_drop=0.0, by_points=True),
    ),
    "handwriting-prediction": Preset(
        description="goes on with writing, whatever it may say, at the published sizes of Graves' prediction network",
        kind="mdnrnn",
        model=MDNRNNConfig(hidden=400, layers=3, skip=True, covariance="full", dropout=0.0, position=0.0),
        training=_WRITING,
    ),
}
