"""How to train: the options of `fit`, and their help on the command line."""

from dataclasses import dataclass
from typing import Literal

from mdnrnn.data.batches import Augment, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.windows import Windows
from mdnrnn.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained. The budget is `steps` or `minutes`, whichever is given; else 10 minutes."""

    steps: int | None = None
    """Stop after this many steps."""
    minutes: float | None = None
    """Stop after this much time, validation included."""
    batch_size: int = 32
    """Sequences in a batch, or points of a static problem."""
    learning_rate: float = 6e-3
    """The highest, after the warm-up; from there it falls as a cosine."""
    final_rate: float = 0.02
    """The learning rate at the end, as a fraction of the highest."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.01
    """AdamW's, on weight matrices alone."""
    clip: float = 1.0
    """Gradients are scaled down to this norm."""
    validations: int = 20
    """How often the whole valid data are evaluated, evenly over the budget."""
    patience: int = 0
    """Stop after this many validations without a better one; 0: never."""
    checkpoint_seconds: float = 30.0
    """Time between checkpoints to resume from."""
    seed: int = 0
    """Of the weights, the order of the data, augmentation and dropout."""
    device: Device = "auto"
    """Where to train; auto: a GPU if there is one."""
    precision: Precision = "auto"
    """Of the matrix products; auto: bfloat16 where the machine is fast at it. Likelihoods are float32. Networks of
    a few units see finer detail with float32."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise InputError("both steps and minutes were given; expected one of them")
        budget = self.steps if self.steps is not None else self.minutes
        if budget is not None and not budget > 0:
            raise InputError(f"the budget is {budget}; expected a positive number of steps or minutes")
        _check_ranges(self, _RANGES)


@dataclass(frozen=True, kw_only=True)
class SequenceTrainConfig(TrainConfig):
    """How a model of sequences is trained: on stretched and thinned drawings."""

    augment_scale: float = 0.15
    """Each axis of a drawing is stretched by up to this fraction."""
    augment_drop: float = 0.1
    """Share of the points that are left out, from inside strokes."""
    by_points: bool = False
    """Whether batches have as many points each, batch_size being the mean of their sequences. For sequences of very
    different lengths: a loss is the mean over a batch's points, and in batches of few points each would count more,
    those at the ends of sequences above all."""
    window: int = 0
    """Steps of the windows that sequences are learned in; 0: whole."""
    carry: bool = True
    """Whether a window goes on from the state that the one before left: truncated backpropagation."""
    most_valid: int = 2500
    """Drawings to validate on: as many, evenly spread over the valid split, where it has more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ranges(self, (("augment_scale", 0, 0.99), ("augment_drop", 0, 0.99), ("most_valid", 1, 1e9)))
        _check_ranges(self, (("window", 0, 1e9),))
        if self.window == 1:
            raise InputError("window is 1; expected 2 or more, or 0 for whole sequences")
        if self.window and (self.augment_scale or self.augment_drop or self.by_points):
            raise InputError(
                "windows are cut from sequences as they are; expected --augment-scale 0 --augment-drop 0 --no-by-points"
            )

    def splits(self, corpus: Corpus, normalizer: Normalizer) -> tuple[Batches | Windows, Batches]:
        """The batches to train on and to validate on, these of whole sequences."""
        augment = Augment(self.augment_scale, self.augment_drop)
        train = Batches(corpus, "train", normalizer, self.batch_size, self.seed, augment, by_points=self.by_points)
        valid = Batches(corpus, "valid", normalizer, self.batch_size, max_sequences=self.most_valid)
        return Windows(train, self.window, self.carry) if self.window else train, valid


def _check_ranges(config: TrainConfig, ranges: tuple[tuple[str, float, float], ...]) -> None:
    for name, low, high in ranges:
        value = getattr(config, name)
        if not low <= value <= high:
            raise InputError(f"{name} is {value}; expected {low:g} to {high:g}")


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
DEFAULT_MINUTES = 10.0
