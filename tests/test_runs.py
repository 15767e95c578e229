"""Run folders from Python: what is trained can be loaded, drawn with, and told apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError
from mdnrnn.models.recurrent import MDNRNNConfig
from mdnrnn.presets import PRESETS
from mdnrnn.runs import Run
from mdnrnn.training.config import SequenceTrainConfig
from tests.conftest import random_corpus

SMALL = MDNRNNConfig(hidden=16, components=3)
BRIEF = SequenceTrainConfig(steps=3, batch_size=16, validations=1)


def trained(corpus: Corpus, folder: Path) -> Run:
    native.write(corpus, folder / "data.npz")
    mdnrnn.train(PRESETS["stroke"], str(folder / "data.npz"), folder / "run", model=SMALL, training=BRIEF)
    return mdnrnn.load(folder / "run")


def test_labels_are_drawn_in_turn_or_as_asked(doodles: Corpus, tmp_path: Path) -> None:
    run = trained(doodles, tmp_path)
    labels = run.generate(14, max_steps=2).label
    assert labels is not None
    assert labels.tolist() == [*range(12), 0, 1]
    labels = run.generate(2, labels=["cat", "tree"], max_steps=2).label
    assert labels is not None
    assert [doodles.facts.classes[i] for i in labels] == ["cat", "tree"]


def test_generated_coordinates_are_whole_where_the_datas_are(doodles: Corpus, tmp_path: Path) -> None:
    drawn = trained(doodles, tmp_path).generate(5, max_steps=20)
    np.testing.assert_array_equal(drawn.motion, np.rint(drawn.motion))


@pytest.mark.parametrize("corpus", [random_corpus([5] * 8, inputs=2), random_corpus([5] * 8, quantum=None)])
def test_corpora_with_inputs_or_without_a_grid_train_and_evaluate(corpus: Corpus, tmp_path: Path) -> None:
    run = trained(corpus, tmp_path)
    assert np.isfinite(run.evaluate().nats_per_sequence)


def test_inputs_are_asked_for_when_drawing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expects 2 inputs at every step; received none"):
        trained(random_corpus([5] * 8, inputs=2), tmp_path).generate(1)


def test_loading_disturbs_nobodys_random_numbers(doodles: Corpus, tmp_path: Path) -> None:
    run = trained(doodles, tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    mdnrnn.load(run.folder)
    assert torch.equal(torch.rand(2), expected)


def test_the_same_seed_trains_the_same_weights(doodles: Corpus, tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        weights.append(trained(doodles, tmp_path / name).model.state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
