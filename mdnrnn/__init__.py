"""MDN-RNN sequence generation in PyTorch: sketches, handwriting, gestures, as mixtures over the next step."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mdnrnn.version import VERSION as __version__

if TYPE_CHECKING:
    from mdnrnn.data.catalog import open_corpus
    from mdnrnn.data.corpus import Corpus, Metadata, Sequence
    from mdnrnn.data.importing.pipeline import import_corpus
    from mdnrnn.data.importing.recipe import Recipe
    from mdnrnn.data.normalizer import Normalizer
    from mdnrnn.data.static import PointBatches, Points
    from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
    from mdnrnn.errors import DataError, InputError
    from mdnrnn.generation.loop import Sampling, generate
    from mdnrnn.models.configs import HandwritingConfig, MDNConfig, MDNRNNConfig, SketchRNNConfig
    from mdnrnn.models.feedforward import MDN
    from mdnrnn.models.handwriting import HandwritingRNN
    from mdnrnn.models.recurrent import MDNRNN
    from mdnrnn.models.sketch import SketchRNN
    from mdnrnn.nn.heads import MixtureHead, StepHead
    from mdnrnn.runs.run import Run, load
    from mdnrnn.runs.train import resume, train
    from mdnrnn.tasks.dream import dream
    from mdnrnn.tasks.handwriting import read_style, save_handwriting, wrap_text, write, write_pages
    from mdnrnn.tasks.latent_space import (
        combine,
        find_nearest,
        interpolate,
        project_to_plane,
        reconstruct,
        save_map,
        select,
        slerp,
    )
    from mdnrnn.tasks.performance import Performer, respond
    from mdnrnn.training.config import TrainConfig
    from mdnrnn.training.trainer import fit

_HOMES = {
    "mdnrnn.data.catalog": ["open_corpus"],
    "mdnrnn.data.corpus": ["Corpus", "Metadata", "Sequence"],
    "mdnrnn.data.normalizer": ["Normalizer"],
    "mdnrnn.data.importing.pipeline": ["import_corpus"],
    "mdnrnn.data.static": ["PointBatches", "Points"],
    "mdnrnn.data.importing.recipe": ["Recipe"],
    "mdnrnn.distributions": ["GaussianMixture", "PerDimensionMixture", "Step", "StepDistribution"],
    "mdnrnn.tasks.dream": ["dream"],
    "mdnrnn.errors": ["DataError", "InputError"],
    "mdnrnn.generation.loop": ["Sampling", "generate"],
    "mdnrnn.tasks.latent_space": [
        "combine",
        "interpolate",
        "find_nearest",
        "select",
        "project_to_plane",
        "reconstruct",
        "save_map",
        "slerp",
    ],
    "mdnrnn.runs.train": ["resume", "train"],
    "mdnrnn.models.configs": ["HandwritingConfig", "MDNConfig", "MDNRNNConfig", "SketchRNNConfig"],
    "mdnrnn.models.feedforward": ["MDN"],
    "mdnrnn.models.handwriting": ["HandwritingRNN"],
    "mdnrnn.models.recurrent": ["MDNRNN"],
    "mdnrnn.models.sketch": ["SketchRNN"],
    "mdnrnn.nn.heads": ["MixtureHead", "StepHead"],
    "mdnrnn.tasks.performance": ["Performer", "respond"],
    "mdnrnn.runs.run": ["Run", "load"],
    "mdnrnn.training.config": ["TrainConfig"],
    "mdnrnn.training.trainer": ["fit"],
    "mdnrnn.tasks.handwriting": ["wrap_text", "read_style", "save_handwriting", "write", "write_pages"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MDN",
    "MDNRNN",
    "Corpus",
    "DataError",
    "GaussianMixture",
    "HandwritingConfig",
    "HandwritingRNN",
    "InputError",
    "MDNConfig",
    "MDNRNNConfig",
    "Metadata",
    "MixtureHead",
    "Normalizer",
    "PerDimensionMixture",
    "Performer",
    "PointBatches",
    "Points",
    "Recipe",
    "Run",
    "Sampling",
    "Sequence",
    "SketchRNN",
    "SketchRNNConfig",
    "Step",
    "StepDistribution",
    "StepHead",
    "TrainConfig",
    "__version__",
    "combine",
    "dream",
    "find_nearest",
    "fit",
    "generate",
    "import_corpus",
    "interpolate",
    "load",
    "open_corpus",
    "project_to_plane",
    "read_style",
    "reconstruct",
    "respond",
    "resume",
    "save_handwriting",
    "save_map",
    "select",
    "slerp",
    "train",
    "wrap_text",
    "write",
    "write_pages",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import mdnrnn` does no work."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mdnrnn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
