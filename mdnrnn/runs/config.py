"""Config of a run, stored in config.json of the run folder; this module does not import torch at module level."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdnrnn.data.drawing_sizes import DrawingSizes
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.files.regular import parse_json, read_regular
from mdnrnn.runs.config_fields import describe, from_fields
from mdnrnn.runs.presets import KINDS
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.version import VERSION

if TYPE_CHECKING:
    from torch import Tensor

    from mdnrnn.models.base import SequenceModel, StepShape

CONFIG_FILE = "config.json"
_MAX_BYTES = 1 << 22
"""Maximum size of config.json in bytes, which is enough for 65,536 class names of 50 characters."""
_MAX_STEPS = 10**8
"""Maximum number of steps per sequence."""
_MAX_MOTION, _MAX_LOG_TIME = 1e30, 80.0
"""Maximum absolute mean and maximum scale of the normalizer: for a motion feature, and for the logarithm of a time in
seconds."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The run whose weights the training of a fine-tuned run started from."""

    run: str
    """Name of a bundled model, or absolute path of a run folder."""
    fingerprint: str
    """SHA-256 of the weights."""
    license: str
    """License of the data that the run was trained on."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Contents of config.json: everything needed to rebuild the model and to find its training data."""

    kind: str
    """Key of `KINDS`."""
    shape: StepShape
    model: Any
    """Model config, of the config class of `kind`."""
    normalizer: Normalizer
    metadata: Metadata
    """Metadata of the training corpus."""
    data: str
    """Source of the training corpus: a catalog name or an absolute path; for a corpus passed in memory, its name."""
    fingerprint: str
    """SHA-256 of the training corpus."""
    training: SequenceTrainConfig
    max_steps: int
    """Number of steps of the longest sequence of the training corpus, in all splits. This number is also the default
    maximum number of new steps when a sequence is generated without a text."""
    longest_text: int = 0
    """Number of characters of the longest text of the training corpus; 0 if it has no texts."""
    steps_per_character: float = 0.0
    """Maximum number of steps per character over the sequences of the training corpus. When a sequence is generated
    from a text, the step limit is proportional to this number."""
    sizes: DrawingSizes = field(default_factory=DrawingSizes)
    """Sizes of the training drawings; empty if they are unknown or the data are not drawings."""
    init: Origin | None = None
    """The run whose weights training started from; None if the weights were initialized at random."""
    version: str = VERSION

    def __post_init__(self) -> None:
        shape, metadata = self.shape, self.metadata
        _check_equal("shape.classes", shape.classes, "the number of metadata.classes", len(metadata.classes))
        _check_equal(
            "shape.features", shape.features, "the number of features of normalizer", len(self.normalizer.mean)
        )
        if metadata.features:
            _check_equal("shape.features", shape.features, "the number of metadata.features", len(metadata.features))
        _check_equal("normalizer.logs", self.normalizer.logs, "the time features of metadata", metadata.time_features)
        self._check_normalizer()
        if len(set(shape.alphabet)) < len(shape.alphabet):
            raise InputError("shape.alphabet: received a character twice, expected each character once")
        for name, value, low in (
            ("max_steps", self.max_steps, 1),
            ("longest_text", self.longest_text, 0),
            ("steps_per_character", self.steps_per_character, 0),
        ):
            if not low <= value <= _MAX_STEPS:
                raise InputError(f"{name}: received {value:g}, expected {low} to {_MAX_STEPS:g}")

    def _check_normalizer(self) -> None:
        """Raise `InputError` if normalized or denormalized motions would be beyond the range of float32."""
        for i, (mean, scale) in enumerate(zip(self.normalizer.mean, self.normalizer.scale, strict=True)):
            limit = _MAX_LOG_TIME if i in self.normalizer.logs else _MAX_MOTION
            for name, value, low in (("mean", abs(mean), 0.0), ("scale", scale, 1 / _MAX_MOTION)):
                if not low <= value <= limit:
                    raise InputError(f"normalizer.{name}[{i}]: received {value:g}, expected {low:g} to {limit:g}")

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """Read config.json of a run folder.

        Raises:
            InputError: the file is missing or damaged, or its kind of model is unknown.
        """
        path = folder / CONFIG_FILE
        if not os.path.lexists(path):
            raise InputError(f"{path} is missing; expected a run folder made by mdnrnn train")
        data = read_regular(path, _MAX_BYTES)
        try:
            return cls.decode(data)
        except ValueError as error:
            reason = str(error)[:300]
            raise InputError(f"{path} is damaged ({reason}); expected a file written by mdnrnn train") from error

    @classmethod
    def decode(cls, data: bytes) -> RunConfig:
        """Return the config with this JSON representation; the inverse of `encode`.

        Raises:
            ValueError: the data are not valid.
        """
        if len(data) > _MAX_BYTES:
            raise InputError(
                f"the config has {len(data)} bytes, expected at most {_MAX_BYTES}; use fewer or shorter class names"
            )
        return cls.from_dict(parse_json(data))

    @classmethod
    def from_dict(cls, fields: Any) -> RunConfig:
        """Return the config with these fields; the inverse of `dataclasses.asdict`.

        Raises:
            InputError: a field is missing or unknown, or has a value of another type or out of range.
        """
        from mdnrnn.models.base import StepShape

        kind = fields.get("kind") if isinstance(fields, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            raise InputError(f"received kind {describe(kind)}, expected one of {', '.join(KINDS)}")
        classes: dict[str, Any] = {
            "shape": StepShape,
            "model": KINDS[kind].config,
            "normalizer": Normalizer,
            "metadata": Metadata,
            "sizes": DrawingSizes,
            "training": SequenceTrainConfig,
        }
        if fields.get("init") is not None:
            classes["init"] = Origin
        parts = {name: from_fields(classes[name], fields[name], name) for name in classes if name in fields}
        return from_fields(cls, {**fields, **parts}, "config", {"StepShape": StepShape})

    def encode(self) -> bytes:
        """Return the content of config.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    def build(self) -> SequenceModel:
        """Return a new model with this config, initialized from the training seed.

        The states of torch's global random generators do not change.

        Raises:
            InputError: the model cannot be built, for example because of its size.
        """
        import torch

        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self.training.seed)
            try:
                return KINDS[self.kind].build(self.shape, self.model)
            except (RuntimeError, MemoryError, TypeError) as error:
                raise InputError(
                    f"cannot allocate the model {self.model} on this machine; choose smaller sizes"
                ) from error

    def weights_without_values(self) -> dict[str, Tensor]:
        """Return the weights of the model on the device "meta": names, shapes and dtypes; no memory is allocated.

        Raises:
            InputError: the model cannot be built.
        """
        import torch

        with torch.device("meta"):
            return self.build().state_dict()


def _check_equal(name: str, value: object, expected_name: str, expected: object) -> None:
    if value != expected:
        raise InputError(f"{name}: received {str(value)[:60]}, expected {str(expected)[:60]}, {expected_name}")
