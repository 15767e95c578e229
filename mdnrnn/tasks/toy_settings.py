"""Networks and training options of the toy demos; this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mdnrnn.models.configs import BodyConfig, MDNConfig
from mdnrnn.training.config import TrainConfig

_MANY = 10
"""With at least this multiple of the published number of points, the mixture has more components, and batches are
larger."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Settings of the demo of one toy problem, for the published number of points."""

    description: str
    model: MDNConfig
    """Config of the mixture density network."""
    baseline: BodyConfig
    """Config of the squared-error network."""
    steps: int = 2000
    """Number of training steps."""
    axes: tuple[str, ...] = ("x", "y")
    """Names of the input and the targets."""

    def scale_to(self, growth: float) -> tuple[MDNConfig, TrainConfig]:
        """Return the model and training configs of the mixture density network for another number of points.

        With fewer points than published, the regularization noise is larger. With more points, the noise is smaller,
        the network resolves finer detail and is trained for more steps. With at least 10 times as many points, the
        mixture also has more components, and batches are larger.

        Args:
            growth: number of points, as a multiple of the published number.
        """
        noise, detail = min(1 / growth, 2.0), min(max(growth, 1.0) ** 0.5, 5.0)
        model = replace(
            self.model,
            input_noise=self.model.input_noise * noise,
            target_noise=self.model.target_noise * noise,
            detail=self.model.detail * detail,
            components=self.model.components if growth < _MANY else self.model.components * 3 // 2,
        )
        training = TrainConfig(
            steps=round(self.steps * min(detail, 4.0)),
            batch_size=500 if growth < _MANY else 2000,
            learning_rate=5e-3,
            final_rate=0.0,
            clip=10.0,
            precision="float32",
        )
        return model, training


DEMOS = {
    "sine": Demo(
        description="Several y per x: the squared-error network predicts their mean; the mixture predicts all of them.",
        model=MDNConfig(input_noise=0.06, target_noise=0.01),
        baseline=BodyConfig(),
    ),
    "forward-sine": Demo(
        description="One y per x with Gaussian noise: squared error is appropriate, and one component suffices.",
        model=MDNConfig(components=1, detail=3.0),
        baseline=BodyConfig(detail=3.0),
    ),
    "arcsine": Demo(
        description="The inverse sine, with the small networks of Charles Martin's lecture (286 and 510 parameters).",
        model=MDNConfig(widths=(15, 15), activation="relu", components=5),
        baseline=BodyConfig(widths=(15, 15), activation="tanh"),
        steps=6000,
    ),
    "spiral": Demo(
        description="A spiral that crosses each vertical line several times, with Gaussian noise.",
        model=MDNConfig(detail=3.0),
        baseline=BodyConfig(),
        steps=3000,
    ),
    "spiral-jitter": Demo(
        description="Ten spirals with uniform noise, whose sharp edges a Gaussian mixture can only approximate.",
        model=MDNConfig(detail=5.0),
        baseline=BodyConfig(),
        steps=3000,
    ),
    "spiral-2d": Demo(
        description="One input and two targets, the coordinates of a point in the plane.",
        model=MDNConfig(components=5),
        baseline=BodyConfig(),
        steps=3000,
        axes=("z", "x1", "x2"),
    ),
}
"""Settings of the demo of each problem in `mdnrnn.data.toys.TOYS`, by name."""
