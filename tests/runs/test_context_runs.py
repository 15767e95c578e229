"""Context vectors of corpora and runs: storage, checks, training, generation, completion and the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.cli import main
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.models.configs import MDNRNNConfig, SketchRNNConfig
from mdnrnn.runs.run import Run, load
from mdnrnn.tasks.performer import Performer
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import random_corpus

CONTEXT = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
CORPUS = replace(random_corpus([5, 9, 4, 7]), context=CONTEXT)
TRAINING = SequenceTrainConfig(steps=4, batch_size=4, validations=1)


@pytest.fixture(scope="module", params=["mdnrnn", "sketch"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run") / "run"
    sizes: dict[str, Any] = {"hidden": 8, "components": 2}
    if request.param == "mdnrnn":
        mdnrnn.train("stroke", CORPUS, folder, model=MDNRNNConfig(**sizes), training=TRAINING)
    else:
        model = SketchRNNConfig(encoder=6, latent=3, **sizes)
        mdnrnn.train("sketch", CORPUS, folder, model=model, training=TRAINING)
    return load(folder)


@pytest.mark.parametrize("name", ["corpus.npz", "corpus"])
def test_reading_inverts_writing(tmp_path: Path, name: str) -> None:
    native.write(CORPUS, tmp_path / name)
    stored = pipeline.read(tmp_path / name)
    assert stored.fingerprint == CORPUS.fingerprint != replace(CORPUS, context=CONTEXT + 1).fingerprint
    np.testing.assert_array_equal(stored[4].context, CONTEXT[4])
    np.testing.assert_array_equal(stored.select_split("valid").context, CONTEXT[4:8])


def test_from_arrays_assigns_each_vector_to_its_sequence() -> None:
    motions = [np.full((2 + i, 2), i) for i in range(5)]
    corpus = Corpus.from_arrays(motions, context=np.arange(10).reshape(5, 2), splits=["train"] * 5)
    assert [corpus[i].context.tolist() for i in range(5)] == [[2 * i, 2 * i + 1] for i in range(5)]  # type: ignore[union-attr]
    for context, message in (
        (np.zeros((4, 2)), r"context: received shape \(4, 2\), expected \(5, C\) with C >= 1"),
        (np.zeros((5, 0)), r"context: received shape \(5, 0\), expected \(5, C\)"),
        (np.full((5, 1), "a"), "context: received dtype <U1, expected integers or floats"),
        (np.full((5, 1), np.nan), "the context of sequence 0 is NaN or infinite"),
    ):
        with pytest.raises(InputError, match=message):
            Corpus.from_arrays(motions, context=context, splits=["train"] * 5)


def test_batches_contain_the_context_of_their_sequences() -> None:
    batches = Batches(CORPUS, "train", Normalizer.from_corpus(CORPUS), batch_size=3)
    for batch in [*batches, *batches.epoch(0)]:
        assert batch.context is not None
        np.testing.assert_array_equal(batch.context.numpy(), CONTEXT[batch.indices.numpy()])


def test_context_array_of_another_length_is_an_error() -> None:
    with pytest.raises(InputError, match=r"context \(3, 2\); expected \(12, C\)"):
        replace(CORPUS, context=np.zeros((3, 2)))


def test_run_is_evaluated_on_its_own_contexts(run: Run) -> None:
    own, other = (run.evaluate("test", data) for data in (CORPUS, replace(CORPUS, context=CONTEXT[::-1].copy())))
    assert own.nll_per_point != other.nll_per_point
    with pytest.raises(InputError, match="has a context vector of size 0; the run expects 3"):
        run.evaluate("test", replace(CORPUS, context=None))


def test_generation_depends_on_the_context_of_each_sequence(run: Run) -> None:
    endless = mdnrnn.Sampling(endless=True)
    drawings = run.generate(4, context=CONTEXT[:4], sampling=endless, seed=1, max_steps=12)
    changed = CONTEXT[:4].copy()
    changed[2] += 50
    others = run.generate(4, context=changed, sampling=endless, seed=1, max_steps=12)
    np.testing.assert_array_equal(drawings.context, CONTEXT[:4])
    same = [np.array_equal(drawings[i].motion, others[i].motion) for i in range(4)]
    assert same == [True, True, False, True]
    for context, message in (
        (None, r"context: received none, expected shape \(4, 3\)"),
        (CONTEXT[:2], r"context: received shape \(2, 3\), expected shape \(4, 3\)"),
        (np.full((4, 3), np.inf), "context: received NaN or infinite values"),
    ):
        with pytest.raises(InputError, match=message):
            run.generate(4, context=context)


def test_completion_uses_the_context_of_the_prefix(run: Run) -> None:
    prefix = CORPUS[1]
    drawings = run.generate(3, prefix=prefix, max_steps=5)
    np.testing.assert_array_equal(drawings.context, np.tile(CONTEXT[1], (3, 1)))
    given = run.generate(3, prefix=prefix._replace(context=None), context=np.tile(CONTEXT[1], (3, 1)), max_steps=5)
    np.testing.assert_array_equal(given.motion, drawings.motion)
    mixed = run.generate(3, prefix=prefix, context=CONTEXT[[1, 2, 1]], max_steps=5)
    np.testing.assert_array_equal(mixed[0].motion, drawings[0].motion)
    np.testing.assert_array_equal(mixed[2].motion, drawings[2].motion)


def test_command_reads_the_contexts_of_test_sequences(run: Run, tmp_path: Path, capsys: Any) -> None:
    native.write(CORPUS, tmp_path / "data.npz")
    arguments = ["generate", str(run.folder), "-n", "3", "--max-steps", "8"]
    out = tmp_path / "out.npz"
    assert main([*arguments, "--context", str(tmp_path / "data.npz"), "--out", str(out)]) == 0
    np.testing.assert_array_equal(native.read(out).context, CONTEXT[8:11])
    assert main([*arguments, "--out", str(tmp_path / "other.npz")]) == 2
    assert "context: received none, expected shape (3, 3)" in capsys.readouterr().err
    many = ["generate", str(run.folder), "-n", "5", "--context", str(tmp_path / "data.npz"), "--out", str(out)]
    assert main(many) == 2
    assert "-n: received 5, expected at most 4" in capsys.readouterr().err


def test_performer_plays_the_first_generated_sequence(run: Run) -> None:
    if run.model.latent:
        pytest.skip("performers need a model without a latent vector")
    performer = Performer(run, seed=5, context=CONTEXT[0])
    expected = run.generate(1, context=CONTEXT[:1], seed=5, max_steps=4)[0]
    for motion in expected.motion:
        np.testing.assert_allclose(performer.play().motion, motion, atol=1e-5)
