"""What config.json of a run folder holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mdnrnn.data.corpus import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.runs.presets import KINDS
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.version import VERSION

CONFIG_FILE = "config.json"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Enough to build the model again, and to find its data."""

    kind: str
    shape: StepShape
    model: Any
    """The config of the kind's model."""
    normalizer: Normalizer
    metadata: Metadata
    """Of the corpus."""
    data: str
    """What the corpus was opened as: a catalog name or an absolute path."""
    fingerprint: str
    training: SequenceTrainConfig
    max_steps: int
    """The longest sequence of the corpus: longer ones are not drawn, unless of a text."""
    longest_text: int = 0
    """Characters of the longest text of the corpus; 0: it has none."""
    steps_per_character: float = 0.0
    """The most, of a text of the corpus: what a text may take follows from it."""
    version: str = VERSION

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """From a run folder."""
        path = folder / CONFIG_FILE
        if not path.is_file():
            raise InputError(f"{path} is missing; expected a run folder, as mdnrnn train makes it")
        try:
            fields = json.loads(path.read_bytes())
            if fields["kind"] not in KINDS:
                raise InputError(
                    f"{path}: the run is of kind {fields['kind']!r}; this version knows {', '.join(KINDS)}"
                )
            return cls.from_dict(fields)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); expected what mdnrnn train wrote") from error

    @classmethod
    def of(cls, fields: dict[str, Any]) -> RunConfig:
        """From what `dataclasses.asdict` makes of one."""
        parts: dict[str, Any] = {
            "shape": StepShape,
            "model": KINDS[fields["kind"]].config,
            "normalizer": Normalizer,
            "metadata": Metadata,
            "training": SequenceTrainConfig,
        }
        return cls(**{name: parts[name](**value) if name in parts else value for name, value in fields.items()})

    def build(self) -> SequenceModel:
        """A new model of this run's kind and size, started from the training's seed."""
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # nobody else's numbers change
            torch.manual_seed(self.training.seed)
            try:
                return KINDS[self.kind].build(self.shape, self.model)
            except (RuntimeError, MemoryError, TypeError) as error:
                raise InputError(f"{self.model} cannot be built on this machine; choose smaller sizes") from error
