"""MDN-RNN sequence generation in PyTorch: sketches, handwriting, gestures and world-model latents.

A network returns a distribution over the next step. The loss is its negative log-likelihood; generation is sampling.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mdnrnn.version import VERSION as __version__

if TYPE_CHECKING:
    from mdnrnn.data.batches import Batch as Batch
    from mdnrnn.data.batches import Batches as Batches
    from mdnrnn.data.catalog import open_corpus as open_corpus
    from mdnrnn.data.corpus import Corpus as Corpus
    from mdnrnn.data.corpus import Sequence as Sequence
    from mdnrnn.data.corpus import pack as pack
    from mdnrnn.data.importing.pipeline import import_corpus as import_corpus
    from mdnrnn.data.importing.recipe import Recipe as Recipe
    from mdnrnn.data.metadata import Metadata as Metadata
    from mdnrnn.data.normalizer import Normalizer as Normalizer
    from mdnrnn.data.static import PointBatches as PointBatches
    from mdnrnn.data.static import Points as Points
    from mdnrnn.distributions import GaussianMixture as GaussianMixture
    from mdnrnn.distributions import PerDimensionMixture as PerDimensionMixture
    from mdnrnn.distributions import Step as Step
    from mdnrnn.distributions import StepDistribution as StepDistribution
    from mdnrnn.errors import DataError as DataError
    from mdnrnn.errors import InputError as InputError
    from mdnrnn.evaluation.likelihood import evaluate as evaluate
    from mdnrnn.generation.loop import generate as generate
    from mdnrnn.generation.sampling import Sampling as Sampling
    from mdnrnn.models.base import Condition as Condition
    from mdnrnn.models.base import SequenceModel as SequenceModel
    from mdnrnn.models.base import StepShape as StepShape
    from mdnrnn.models.configs import HandwritingConfig as HandwritingConfig
    from mdnrnn.models.configs import MDNConfig as MDNConfig
    from mdnrnn.models.configs import MDNRNNConfig as MDNRNNConfig
    from mdnrnn.models.configs import SketchRNNConfig as SketchRNNConfig
    from mdnrnn.models.feedforward import MDN as MDN
    from mdnrnn.models.handwriting import HandwritingRNN as HandwritingRNN
    from mdnrnn.models.recurrent import MDNRNN as MDNRNN
    from mdnrnn.models.sketch import SketchRNN as SketchRNN
    from mdnrnn.nn.heads import MixtureHead as MixtureHead
    from mdnrnn.nn.heads import StepHead as StepHead
    from mdnrnn.runs.presets import PRESETS as PRESETS
    from mdnrnn.runs.presets import Preset as Preset
    from mdnrnn.runs.run import Run as Run
    from mdnrnn.runs.run import load as load
    from mdnrnn.runs.train import resume as resume
    from mdnrnn.runs.train import train as train
    from mdnrnn.tasks.dream import dream as dream
    from mdnrnn.tasks.handwriting import read_style as read_style
    from mdnrnn.tasks.handwriting import write as write
    from mdnrnn.tasks.handwriting import write_pages as write_pages
    from mdnrnn.tasks.latent_space import combine as combine
    from mdnrnn.tasks.latent_space import find_nearest as find_nearest
    from mdnrnn.tasks.latent_space import interpolate as interpolate
    from mdnrnn.tasks.latent_space import reconstruct as reconstruct
    from mdnrnn.tasks.performance import respond as respond
    from mdnrnn.tasks.performer import Performer as Performer
    from mdnrnn.training.config import SequenceTrainConfig as SequenceTrainConfig
    from mdnrnn.training.config import TrainConfig as TrainConfig
    from mdnrnn.training.trainer import fit as fit

_NAMES_BY_MODULE = {
    "mdnrnn.data.batches": ["Batch", "Batches"],
    "mdnrnn.data.catalog": ["open_corpus"],
    "mdnrnn.data.corpus": ["Corpus", "Sequence", "pack"],
    "mdnrnn.data.importing.pipeline": ["import_corpus"],
    "mdnrnn.data.importing.recipe": ["Recipe"],
    "mdnrnn.data.metadata": ["Metadata"],
    "mdnrnn.data.normalizer": ["Normalizer"],
    "mdnrnn.data.static": ["PointBatches", "Points"],
    "mdnrnn.distributions": ["GaussianMixture", "PerDimensionMixture", "Step", "StepDistribution"],
    "mdnrnn.errors": ["DataError", "InputError"],
    "mdnrnn.evaluation.likelihood": ["evaluate"],
    "mdnrnn.generation.loop": ["generate"],
    "mdnrnn.generation.sampling": ["Sampling"],
    "mdnrnn.models.base": ["Condition", "SequenceModel", "StepShape"],
    "mdnrnn.models.configs": ["HandwritingConfig", "MDNConfig", "MDNRNNConfig", "SketchRNNConfig"],
    "mdnrnn.models.feedforward": ["MDN"],
    "mdnrnn.models.handwriting": ["HandwritingRNN"],
    "mdnrnn.models.recurrent": ["MDNRNN"],
    "mdnrnn.models.sketch": ["SketchRNN"],
    "mdnrnn.nn.heads": ["MixtureHead", "StepHead"],
    "mdnrnn.runs.presets": ["PRESETS", "Preset"],
    "mdnrnn.runs.run": ["Run", "load"],
    "mdnrnn.runs.train": ["resume", "train"],
    "mdnrnn.tasks.dream": ["dream"],
    "mdnrnn.tasks.handwriting": ["read_style", "write", "write_pages"],
    "mdnrnn.tasks.latent_space": ["combine", "find_nearest", "interpolate", "reconstruct"],
    "mdnrnn.tasks.performance": ["respond"],
    "mdnrnn.tasks.performer": ["Performer"],
    "mdnrnn.training.config": ["SequenceTrainConfig", "TrainConfig"],
    "mdnrnn.training.trainer": ["fit"],
}
"""Public names by module. They are imported on first use, so that `import mdnrnn` does not import torch or NumPy."""
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = ["__version__"]
__all__ += sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mdnrnn' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
