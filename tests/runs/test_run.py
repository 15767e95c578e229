"""Run folders from Python: what is trained can be loaded, drawn with, and told apart."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.data.corpus import Corpus, pack
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run, read_prefix
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import random_corpus

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
    assert [doodles.metadata.classes[i] for i in labels] == ["cat", "tree"]


def test_generated_coordinates_are_whole_where_the_datas_are(doodles: Corpus, tmp_path: Path) -> None:
    drawn = trained(doodles, tmp_path).generate(5, max_steps=20)
    np.testing.assert_array_equal(drawn.motion, np.rint(drawn.motion))


@pytest.mark.parametrize("corpus", [random_corpus([5] * 8, inputs=2), random_corpus([5] * 8, bin_width=None)])
def test_corpora_with_inputs_or_without_a_grid_train_and_evaluate(corpus: Corpus, tmp_path: Path) -> None:
    run = trained(corpus, tmp_path)
    assert np.isfinite(run.evaluate().nll_per_sequence)


def test_inputs_are_asked_for_when_drawing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expects 2 inputs at every step; received none"):
        trained(random_corpus([5] * 8, inputs=2), tmp_path).generate(1)


def test_data_of_some_of_the_classes_are_measured_under_the_same_names(doodles: Corpus, tmp_path: Path) -> None:
    run = trained(doodles, tmp_path)
    cat, tree = (doodles.metadata.class_index(name) for name in ("cat", "tree"))
    chosen = [doodles[i] for i in range(len(doodles)) if doodles[i].label in (cat, tree)]
    expected = pack(doodles.metadata, {"test": chosen})
    native.write(expected, tmp_path / "same.npz")
    renumbered = [sequence._replace(label=int(sequence.label == cat)) for sequence in chosen]
    some = pack(replace(doodles.metadata, classes=("tree", "cat")), {"test": renumbered})
    native.write(some, tmp_path / "some.npz")
    assert run.evaluate(data=str(tmp_path / "some.npz")) == run.evaluate(data=str(tmp_path / "same.npz"))


def test_classes_that_the_run_does_not_know_are_told(doodles: Corpus, tmp_path: Path) -> None:
    run = trained(doodles, tmp_path)
    native.write(pack(replace(doodles.metadata, classes=("unicorn",)), {"test": [doodles[0]]}), tmp_path / "other.npz")
    with pytest.raises(InputError, match=r"classes that the run does not know: unicorn; expected some of butterfly"):
        run.evaluate(data=str(tmp_path / "other.npz"))


def test_a_prefix_is_counted_in_the_order_of_its_file(tmp_path: Path) -> None:
    run = trained(random_corpus([4] * 30), tmp_path)
    lines = [json.dumps({"drawing": [[[0, 1, i], [0, 0, 2 * i]]], "key_id": str(i)}) for i in range(40)]
    (tmp_path / "x.ndjson").write_text("\n".join(lines))
    for i in range(40):  # a tenth of them would not be in train
        assert read_prefix(run, str(tmp_path / "x.ndjson"), i).motion[-1].tolist() == [i - 1, 2 * i]


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
