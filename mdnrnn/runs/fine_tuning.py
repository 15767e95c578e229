"""Fine-tuning: a new run that starts from the weights of another run, the source.

The model has the sizes of the source. The classes are those of the new data, in their order. The alphabet is the union
of both alphabets, so that a handwriting model can still write characters that the new lines do not contain.
"""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError, InputWarning, quantity
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.nn.label_embedding import LabelEmbedding
from mdnrnn.runs.bundled import find_run, name_run
from mdnrnn.runs.config import Origin, RunConfig
from mdnrnn.runs.run import Run
from mdnrnn.training.checkpoint import WEIGHTS_FILE, check_weights, read_weights

_MIN_SCALE_RATIO, _MAX_SCALE_RATIO, _MAX_SHIFT = 0.25, 1.25, 2.0
"""Conditions for the units of the source: range of the scale of the new data relative to that of the source, and
maximum difference of the means in scales of the source.

Measured with `doodles` on 50 bicycles that were scaled by different factors, relative to the NLL with fitted units:
with the units of the source, the NLL is 0.1% higher at a factor of 0.25, 1.1% lower at 0.5, and 0.9% higher at 1.25,
3.5% at 2 and 9.8% at 4."""
_ADAPTED = frozenset({"classes", "label_width", "alphabet", "offsets"})
"""Fields of `StepShape` that can differ between the source and the new run, or that are compared by other values."""


class Source(NamedTuple):
    """The run from whose weights a fine-tuning starts.

    `folder`: the run folder. `config`: its config. `weights`: its weights with the lowest validation loss, by name.
    """

    folder: Path
    config: RunConfig
    weights: dict[str, Tensor]

    @classmethod
    def read(cls, run: Run | Path | str) -> Source:
        """Read a run; unlike `mdnrnn.load`, only the calling rank reads it.

        Args:
            run: a run, a run folder or the name of a bundled model.

        Raises:
            InputError: there is no such run, or a file in its folder is missing or damaged.
        """
        folder = run.folder if isinstance(run, Run) else find_run(run)
        config, path = RunConfig.read(folder), folder / WEIGHTS_FILE
        check_weights(path, config.weights_without_values(), only_header=True)  # before the model is allocated
        return cls(folder, config, read_weights(path, config.build().state_dict()))


class AdaptedData(NamedTuple):
    """Properties of a new run that depend on its corpus and on the source.

    `shape`: shape of the time steps. `classes`: class names. `normalizer`: units of the motion.
    """

    shape: StepShape
    classes: tuple[str, ...]
    normalizer: Normalizer

    @classmethod
    def from_corpus(cls, corpus: Corpus, shape: StepShape) -> AdaptedData:
        """Return the properties of a run that does not start from another run."""
        return cls(shape, corpus.metadata.classes if shape.classes else (), Normalizer.from_corpus(corpus))


def adapt_data(source: Source, corpus: Corpus, shape: StepShape) -> AdaptedData:
    """Return the shape, the class names and the normalizer of a run that starts from the weights of the source.

    If the source has classes and the corpus has none, all sequences get one class, which has the name of the corpus. If
    the source has no classes, those of the corpus are ignored, with a warning.

    Args:
        source: the source.
        corpus: training corpus of the new run.
        shape: shape of the time steps of the corpus.

    Raises:
        InputError: the steps of the corpus have another format than those of the source.
    """
    old, classes = source.config.shape, corpus.metadata.classes
    received, expected = _step_format(shape, corpus.metadata), _step_format(old, source.config.metadata)
    for name, value in received.items():
        if value != expected[name]:
            raise InputError(
                f"{corpus.metadata.name}: received steps with {name} {value}, expected {expected[name]} as in the data "
                f"of {source.folder.name}; use data of the same kind, or train a new model"
            )
    shape = replace(shape, alphabet="".join(sorted({*old.alphabet, *shape.alphabet})))
    if old.classes:
        classes = classes or (corpus.metadata.name,)
        shape = replace(shape, classes=len(classes), label_width=old.label_features)
    elif shape.classes:
        warnings.warn(
            f"{corpus.metadata.name}: received {quantity(shape.classes, 'classes')}, which are ignored, because the "
            f"run {source.folder.name} has none",
            InputWarning,
            stacklevel=4,
        )
    if not old.classes:
        classes, shape = (), replace(shape, classes=0)
    return AdaptedData(shape, classes, _choose_normalizer(source.config.normalizer, Normalizer.from_corpus(corpus)))


def _step_format(shape: StepShape, metadata: Metadata) -> dict[str, Any]:
    """Return the properties of the steps that must be equal in the source and the new run, by name."""
    sizes = {name: value for name, value in asdict(shape).items() if name not in _ADAPTED}
    return {
        **sizes,
        "offsets": shape.position_features,
        "times": list(metadata.time_features),
        "start": f"pen {metadata.start}",
    }


def _choose_normalizer(old: Normalizer, new: Normalizer) -> Normalizer:
    """Return the normalizer of the source or, if the new data have other units, the one that is fitted to them.

    The weights of the source fit motions in its units. Motions that are larger than those of the source harm more than
    smaller ones.
    """
    ratio = np.divide(new.scale, old.scale)
    shift = np.abs(np.subtract(new.mean, old.mean)) / old.scale
    keeps = (ratio >= _MIN_SCALE_RATIO) & (ratio <= _MAX_SCALE_RATIO) & (shift <= _MAX_SHIFT)
    return old if keeps.all() else new


def make_origin(source: Source) -> Origin:
    """Return the field `init` of the config of a run that starts from the weights of the source."""
    config = source.config
    licenses = [config.metadata.license] if config.init is None else [config.metadata.license, config.init.license]
    return Origin(
        run=name_run(source.folder),
        fingerprint=_fingerprint(source.weights),
        license="; ".join(dict.fromkeys(licenses)),
    )


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def initial_weights(config: RunConfig, model: SequenceModel) -> dict[str, Tensor]:
    """Return the weights with which the training of a fine-tuned run starts.

    Args:
        config: config of the new run, whose field `init` is not None.
        model: model of the new run; its weights are not used.

    Raises:
        InputError: the source is missing, or its weights have changed since the new run was created.
    """
    assert config.init is not None
    source = Source.read(config.init.run)
    if _fingerprint(source.weights) != config.init.fingerprint:
        raise InputError(f"{config.init.run}: the weights have changed since the training started; train a new run")
    weights = dict(source.weights)
    classes = _find_sources(config.metadata.classes, source.config.metadata.classes)
    for module_name, module in model.named_modules():
        if isinstance(module, LabelEmbedding) and module.classes:
            name = f"{module_name}.weight"
            weights[name] = _select_rows(weights[name], classes)
    old = source.config.shape.alphabet
    characters = [old.find(_closest_character(each, old)) for each in config.shape.alphabet]
    for name, first in model.character_columns().items():
        columns = weights[name].t()
        block = columns[first : first + len(old)]
        selected = _select_rows(block, [None if index < 0 else index for index in characters])
        weights[name] = torch.cat([columns[:first], selected, columns[first + len(old) :]]).t().contiguous()
    return weights


def _find_sources(names: Items[str], old: Items[str]) -> list[int | None]:
    return [old.index(name) if name in old else None for name in names]


def _select_rows(rows: Tensor, indices: Items[int | None]) -> Tensor:
    """Return rows by their indices, shape (n, ...). For None, the result is the mean of all rows."""
    mean = rows.mean(0)
    return torch.stack([mean if index is None else rows[index] for index in indices]) if indices else rows[:0]


def _closest_character(character: str, alphabet: str) -> str:
    """Return the character of the alphabet that looks most like `character`; the replacement character if none does.

    The candidates are the character itself, the letter without its diacritics, and this letter in the other case.
    """
    base = unicodedata.normalize("NFKD", character)[0]
    return next((each for each in (character, base, base.swapcase()) if each in alphabet), "\ufffd")
