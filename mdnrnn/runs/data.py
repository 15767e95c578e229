"""Argument `data` of training and of runs (a corpus, a path or a catalog name), and how config.json stores it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mdnrnn.data.catalog import is_catalog_name, open_corpus
from mdnrnn.data.corpus import Corpus, normalize_texts
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import InputError
from mdnrnn.runs.config import RunConfig

Data = Corpus | Path | str
"""A corpus in memory, the path of a file or folder of any known format, or a catalog name."""


def open_data(data: Data, recipe: Recipe | None = None) -> Corpus:
    """Return a corpus, opened from a path or a catalog name if it is not in memory; its texts are in Unicode form NFC.

    Args:
        data: a corpus, a path or a catalog name.
        recipe: import options of files that are not in the corpus format.
    """
    return normalize_texts(data if isinstance(data, Corpus) else open_corpus(str(data), recipe))


def label_single_class(corpus: Corpus, classes: tuple[str, ...]) -> Corpus:
    """Return the corpus with a label for each sequence if it has no classes and the run has exactly one class."""
    if corpus.label is not None or len(classes) != 1:
        return corpus
    return replace(corpus, metadata=replace(corpus.metadata, classes=classes), label=np.zeros(len(corpus), np.int32))


def describe_data(data: Data) -> str:
    """Return the field `data` of config.json: a catalog name, an absolute path, or the name of a corpus in memory."""
    if isinstance(data, Corpus):
        return data.metadata.name
    return str(data) if is_catalog_name(str(data)) else str(Path(data).resolve())


def is_in_memory(config: RunConfig) -> bool:
    """Return whether a run was trained on a corpus in memory, so that config.json has no source of its data."""
    return not is_catalog_name(config.data) and not Path(config.data).is_absolute()


def open_training_data(config: RunConfig, data: Data | None = None) -> Corpus:
    """Return the training corpus of a run.

    Args:
        config: config of the run.
        data: the training data; by default the source that config.json names.

    Raises:
        InputError: `data` is None, but the run was trained on a corpus in memory, which cannot be opened again.
    """
    if data is not None:
        return open_data(data)
    if is_in_memory(config):
        raise InputError(
            f"the run was trained on the corpus {config.data!r}, which was passed in memory; pass that corpus as data"
        )
    return open_data(config.data)
