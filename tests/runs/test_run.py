"""Runs from Python: loading, labels, generated units, classes of other data, prefixes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.runs.run import Run, read_prefix
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import random_corpus

MODEL = MDNRNNConfig(hidden=16, components=3)
TRAINING = SequenceTrainConfig(steps=3, batch_size=16, validations=1)


def train_run(corpus: Corpus, folder: Path) -> Run:
    mdnrnn.train("stroke", corpus, folder / "run", model=MODEL, training=TRAINING)
    return mdnrnn.load(folder / "run")


@pytest.fixture(scope="module")
def run(doodles: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run on doodles of 12 classes."""
    return train_run(doodles, tmp_path_factory.mktemp("doodles"))


@pytest.fixture(scope="module")
def run_with_inputs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_run(random_corpus([5] * 8, inputs=2), tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def run_without_grid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_run(random_corpus([5] * 8, bin_width=None), tmp_path_factory.mktemp("no-grid"))


def test_default_labels_are_all_classes_in_turn(run: Run) -> None:
    labels = run.generate(14, max_steps=2).label
    assert labels is not None
    assert labels.tolist() == [*range(12), 0, 1]


def test_labels_by_name(run: Run, doodles: Corpus) -> None:
    labels = run.generate(2, labels=["cat", "tree"], max_steps=2).label
    assert labels is not None
    assert [doodles.metadata.classes[i] for i in labels] == ["cat", "tree"]


def test_generated_motion_is_on_the_grid_of_the_data(run: Run) -> None:
    generated = run.generate(5, max_steps=20)
    np.testing.assert_array_equal(generated.motion, np.rint(generated.motion))


@pytest.mark.parametrize("name", ["run_with_inputs", "run_without_grid"])
def test_likelihood_with_inputs_or_without_a_grid_is_finite(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    corpus = random_corpus([5] * 8, inputs=run.config.shape.inputs, bin_width=run.config.metadata.bin_width)
    assert np.isfinite(run.evaluate(data=corpus).nll_per_sequence)


def test_missing_inputs_are_rejected(run_with_inputs: Run) -> None:
    with pytest.raises(InputError, match="inputs: received none, expected 2 numbers per step"):
        run_with_inputs.generate(1)


def test_data_with_some_classes_are_evaluated_by_class_name(run: Run, doodles: Corpus, tmp_path: Path) -> None:
    """The same drawings with differently numbered classes, from memory and from a file."""
    cat, tree = (doodles.metadata.class_index(name) for name in ("cat", "tree"))
    sequences = [doodles[i] for i in range(len(doodles)) if doodles[i].label in (cat, tree)]
    expected = run.evaluate(data=pack(doodles.metadata, {"test": sequences}))
    renumbered = [sequence._replace(label=int(sequence.label == cat)) for sequence in sequences]
    some = pack(replace(doodles.metadata, classes=("tree", "cat")), {"test": renumbered})
    native.write(some, tmp_path / "some.npz")
    assert run.evaluate(data=tmp_path / "some.npz") == expected
    assert run.evaluate(data=some) == expected


def test_unknown_classes_are_rejected(run: Run, doodles: Corpus) -> None:
    other = pack(replace(doodles.metadata, classes=("unicorn",)), {"test": [doodles[0]]})
    with pytest.raises(
        InputError, match=r"classes that the run does not have: unicorn; expected classes from butterfly"
    ):
        run.evaluate(data=other)


@pytest.mark.filterwarnings("ignore:.*times as large:mdnrnn.errors.InputWarning")
def test_prefix_index_follows_the_order_of_the_file(run_without_grid: Run, tmp_path: Path) -> None:
    """With the default split a tenth of the drawings would be in valid and test, and thus later in the corpus."""
    lines = [json.dumps({"drawing": [[[0, 1, i], [0, 0, 2 * i]]], "key_id": str(i)}) for i in range(40)]
    (tmp_path / "x.ndjson").write_text("\n".join(lines))
    for i in range(40):
        prefix = read_prefix(run_without_grid, str(tmp_path / "x.ndjson"), i, rescale=False)
        assert prefix.motion[-1].tolist() == [i - 1, 2 * i]
    with pytest.raises(InputError, match="prefix index: received 40, expected 0 to 39"):
        read_prefix(run_without_grid, str(tmp_path / "x.ndjson"), 40)


def test_loading_does_not_change_the_global_random_state(run: Run) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    mdnrnn.load(run.folder)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("value", [1e20, 1e38, 1e300])
def test_prefix_that_overflows_is_rejected(run: Run, value: float) -> None:
    prefix = Sequence(np.array([[1.0, 2.0], [value, 0.0]]), np.zeros(2, np.uint8))
    with pytest.raises(InputError, match=r"prefix: received .* too large for the model"):
        run.generate(2, prefix=prefix, max_steps=3)


def test_data_that_overflow_are_rejected_with_their_sequence(run_without_grid: Run) -> None:
    motions = [np.ones((3, 2)) for _ in range(4)]
    motions[2][1, 0] = -1e30
    corpus = Corpus.from_arrays(motions, splits=["test"] * 4)
    with pytest.raises(InputError, match=r"arrays, sequence 2, row 1: received -1e\+30, which is too large"):
        run_without_grid.evaluate(data=corpus)
