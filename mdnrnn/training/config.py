"""Training options: budget, optimizer, schedule, device and batches. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mdnrnn.device import check_device_name
from mdnrnn.errors import InputError

if TYPE_CHECKING:
    from mdnrnn.data.batches import Batches
    from mdnrnn.data.corpus import Corpus
    from mdnrnn.data.normalizer import Normalizer
    from mdnrnn.data.training_windows import Windows

Precision = Literal["auto", "float32", "bfloat16"]
DEFAULT_MINUTES = 10.0
"""Training time in minutes if neither `steps` nor `minutes` is set."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training options of `mdnrnn.fit`.

    The training budget is a number of steps or a number of minutes; by default 10 minutes.
    """

    steps: int | None = None
    """Number of training steps; cannot be combined with minutes."""
    minutes: float | None = None
    """Training time in minutes, including validation; cannot be combined with steps. If neither is set, training takes
    10 minutes."""
    batch_size: int = 32
    """Number of sequences per batch, or number of points if the data are not sequences."""
    learning_rate: float = 6e-3
    """Peak learning rate. The schedule is a linear warmup multiplied by a cosine decay over the whole training run."""
    final_rate: float = 0.02
    """Learning rate at the end of training, as a fraction of the peak learning rate."""
    warmup: int = 100
    """Number of steps over which the learning rate increases linearly."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; it is not applied to biases and other vectors."""
    clip: float = 1.0
    """Maximum norm of the gradient; gradients with a larger norm are scaled down to this norm."""
    validations: int = 20
    """Number of validations, evenly spaced over the training run."""
    patience: int = 0
    """Number of consecutive validations without improvement after which training stops; 0 disables early stopping."""
    checkpoint_seconds: float = 30.0
    """Minimum time between two checkpoints, in seconds."""
    seed: int = 0
    """Random seed for the initial weights, the order of the data, augmentation and dropout."""
    device: str = "auto"
    """Device to train on: auto (CUDA if it is available, else the CPU), cpu, cuda, cuda:N (the GPU with index N) or
    mps (the GPU of an Apple processor)."""
    precision: Precision = "auto"
    """Precision of matrix products; auto selects bfloat16 if the hardware accelerates it, else float32. Likelihoods are
    always computed in float32. In small networks, float32 can fit finer detail than bfloat16."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise InputError("received both steps and minutes; expected one of them")
        budget = self.steps if self.steps is not None else self.minutes
        if budget is not None and not budget > 0:
            raise InputError(f"budget: received {budget}, expected a positive number of steps or minutes")
        check_device_name(self.device)
        _check_ranges(self, _RANGES)


@dataclass(frozen=True, kw_only=True)
class SequenceTrainConfig(TrainConfig):
    """Training options for sequence models: those of `TrainConfig`, and options for augmentation and batches."""

    augment_scale: float = 0.15
    """Augmentation: maximum relative change of the size. In training, x and y are each multiplied by a random factor
    between 1 - augment_scale and 1 + augment_scale. 0 disables scaling."""
    augment_drop: float = 0.1
    """Augmentation: fraction of the points that are dropped at random in training. The first and the last point of each
    stroke are kept. 0 disables dropping."""
    by_points: bool = False
    """Whether batches have about the same number of points instead of the same number of sequences; batch_size is then
    the mean number of sequences per batch. This is useful if lengths differ much. The loss is a mean over the points of
    a batch, so with batches of equally many sequences the points of short sequences have larger weights."""
    window: int = 0
    """Maximum number of time steps per training window. Sequences are cut into windows; 0 trains on whole sequences."""
    carry: bool = True
    """Whether a training window starts from the final recurrent state of the preceding window of the same sequence
    (truncated backpropagation through time)."""
    most_valid: int = 2500
    """Maximum number of validation sequences; if the valid split is larger, an evenly spaced subset is used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ranges(self, _SEQUENCE_RANGES)
        if self.window == 1:
            raise InputError("window: received 1, expected 2 or more, or 0 for whole sequences")
        if self.window and (self.augment_scale or self.augment_drop or self.by_points):
            raise InputError(
                f"window: received {self.window} together with augmentation or by_points, which need whole sequences; "
                "pass --augment-scale 0 --augment-drop 0 --no-by-points"
            )

    def splits(self, corpus: Corpus, normalizer: Normalizer) -> tuple[Batches | Windows, Batches]:
        """Return the training data and the validation data of a corpus.

        Args:
            corpus: corpus with a train split and a valid split.
            normalizer: defines the units of the motions in the batches.

        Returns:
            Batches of the train split, as windows if `window` is not 0; and batches of the valid split.
        """
        from mdnrnn.data.batches import Augment, Batches
        from mdnrnn.data.training_windows import Windows

        augment = Augment(self.augment_scale, self.augment_drop)
        train = Batches(corpus, "train", normalizer, self.batch_size, self.seed, augment, by_points=self.by_points)
        valid = Batches(corpus, "valid", normalizer, self.batch_size, max_sequences=self.most_valid)
        return Windows(train, self.window, self.carry) if self.window else train, valid


def _check_ranges(config: TrainConfig, ranges: tuple[tuple[str, float, float], ...]) -> None:
    for name, low, high in ranges:
        value = getattr(config, name)
        if not low <= value <= high:
            raise InputError(f"{name}: received {value}, expected {low:g} to {high:g}")


_RANGES = (
    ("batch_size", 1, 1e6),
    ("learning_rate", 1e-12, 10),
    ("final_rate", 0, 1),
    ("warmup", 0, 1e9),
    ("weight_decay", 0, 10),
    ("clip", 1e-6, 1e9),
    ("validations", 1, 1e6),
    ("patience", 0, 1e9),
    ("checkpoint_seconds", 0, 1e9),
    ("seed", 0, 2**32 - 1),
)
_SEQUENCE_RANGES = (("augment_scale", 0, 0.99), ("augment_drop", 0, 0.99), ("most_valid", 1, 1e9), ("window", 0, 1e9))
