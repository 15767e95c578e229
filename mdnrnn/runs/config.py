"""Config of a run, stored in config.json of the run folder; this module does not import torch at module level."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdnrnn.data.drawing_sizes import DrawingSizes
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.runs.presets import KINDS
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.version import VERSION

if TYPE_CHECKING:
    from mdnrnn.models.base import SequenceModel, StepShape

CONFIG_FILE = "config.json"


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
    """Number of steps of the longest training sequence. In generation without a text, it is also the default maximum
    number of new steps."""
    longest_text: int = 0
    """Number of characters of the longest text of the training corpus; 0 if it has no texts."""
    steps_per_character: float = 0.0
    """Maximum ratio of steps to characters over the sequences of the training corpus; it determines the step limit of
    sequences generated from a text."""
    sizes: DrawingSizes = field(default_factory=DrawingSizes)
    """Sizes of the training drawings; empty if they are unknown or the data are not drawings."""
    version: str = VERSION

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """Read config.json of a run folder.

        Raises:
            InputError: the file is missing or damaged, or its kind of model is unknown.
        """
        path = folder / CONFIG_FILE
        if not path.is_file():
            raise InputError(f"{path} is missing; expected a run folder made by mdnrnn train")
        try:
            fields = json.loads(path.read_bytes())
            if fields["kind"] not in KINDS:
                raise InputError(f"{path}: received kind {fields['kind']!r}, expected one of {', '.join(KINDS)}")
            return cls.from_dict(fields)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); expected a file written by mdnrnn train") from error

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> RunConfig:
        """Return the config with these fields; the inverse of `dataclasses.asdict`."""
        from mdnrnn.models.base import StepShape

        classes: dict[str, Any] = {
            "shape": StepShape,
            "model": KINDS[fields["kind"]].config,
            "normalizer": Normalizer,
            "metadata": Metadata,
            "sizes": DrawingSizes,
            "training": SequenceTrainConfig,
        }
        return cls(**{name: classes[name](**value) if name in classes else value for name, value in fields.items()})

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
