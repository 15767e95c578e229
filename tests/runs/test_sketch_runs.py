"""Run folders of a model with a latent: trained, resumed, measured, drawn with, and what is refused."""

import copy
import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mdnrnn
from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.events import END, UP
from mdnrnn.generation.latent_completion import PROPOSALS, sample_latents_given_prefix
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Loss, StepShape
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.models.latent import LatentModel
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.trainer import fit
from tests.helpers import random_corpus

SMALL = SketchRNNConfig(encoder=8, hidden=16, latent=3, components=3)
BRIEF = SequenceTrainConfig(steps=3, batch_size=64, validations=1)
DECODER = dataclasses.replace(SMALL, kl_weight=0.0)


def trained(corpus: Corpus, folder: Path, model: SketchRNNConfig = SMALL) -> Run:
    folder.mkdir(exist_ok=True)
    native.write(corpus, folder / "data.npz")
    mdnrnn.train(PRESETS["sketch-small"], str(folder / "data.npz"), folder / "run", model=model, training=BRIEF)
    return mdnrnn.load(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Run:
    """Of labeled doodles."""
    return trained(doodles, tmp_path_factory.mktemp("labeled"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Without labels."""
    return trained(random_corpus([5, 9, 4, 7] * 4), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a decoder alone."""
    return trained(random_corpus([5, 9, 4, 7] * 4), tmp_path_factory.mktemp("decoder"), DECODER)


@pytest.fixture
def prefix(doodles: Corpus) -> Sequence:
    motion, event, label = doodles[3][:3]
    return Sequence(motion[:6], event[:6], label)


@pytest.mark.parametrize("name", ["run", "plain", "decoder"])
def test_a_run_is_measured_by_its_bound_and_by_importance(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    result = run.evaluate("valid", importance=2)
    assert result.importance_nll_per_sequence is not None
    assert (result.kl_per_sequence > 0) == (name != "decoder")
    total = result.reconstruction_nll_per_sequence + result.kl_per_sequence
    assert result.nll_per_sequence == pytest.approx(total)
    assert result.importance_nll_per_sequence == pytest.approx(total, rel=0.05)
    assert bool(result.by_class) == (name == "run")
    assert result == run.evaluate("valid", importance=2)


def test_drawings_are_of_the_class_that_is_asked_for(run: Run, doodles: Corpus) -> None:
    drawn = run.generate(5, labels=["cat"], max_steps=4)
    assert drawn.label is not None
    assert drawn.label.tolist() == [doodles.metadata.class_index("cat")] * 5
    weights = np.eye(12)[[doodles.metadata.class_index("cat")] * 5]
    for other in (run.generate(5, labels=["cat"] * 5, max_steps=4), run.generate(5, labels=weights, max_steps=4)):
        np.testing.assert_array_equal(drawn.motion, other.motion)
    assert drawn.motion.tobytes() != run.generate(5, labels=["tree"], max_steps=4).motion.tobytes()


def test_drawings_are_of_the_latents_that_are_given(run: Run) -> None:
    """The same ones twice are the same at temperature 0; encoded drawings have such latents."""
    calm = Sampling(temperature=0)
    latents = np.repeat(np.random.default_rng(0).normal(size=(2, 3)), 2, axis=0)
    drawn = run.generate(4, labels=["cat"], latents=latents, sampling=calm, max_steps=5)
    motions = [drawn[i].motion.tobytes() for i in range(4)]
    assert motions[0] == motions[1]
    assert motions[2] == motions[3]
    corpus = run.open_data()
    encoded = run.encode(corpus, "test")
    assert run.generate(2, latents=encoded[:2], max_steps=3).splits == {"test": (0, 2)}


@torch.no_grad()
def test_encoded_drawings_are_the_means_of_their_posteriors_in_order(run: Run) -> None:
    corpus, model = run.open_data(), run.model
    assert isinstance(model, LatentModel)
    data = Batches(corpus, "test", run.config.normalizer)
    expected = [model.encode(data.batch(np.array([i]))).mean[0].numpy() for i in corpus.indices("test")]
    found = run.encode(corpus, "test")
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-6)
    first, last = corpus.splits["test"]
    np.testing.assert_allclose(run.encode(corpus)[first:last], found, atol=1e-6)
    assert len(run.encode(corpus)) == len(corpus)


def test_the_classes_of_other_data_are_encoded_under_the_runs_numbers(run: Run, doodles: Corpus) -> None:
    cat = doodles.metadata.class_index("cat")
    chosen = [doodles[i] for i in range(len(doodles)) if doodles[i].label == cat]
    metadata = dataclasses.replace(doodles.metadata, classes=("cat",))
    alone = pack(metadata, {"test": [sequence._replace(label=0) for sequence in chosen]})
    expected = run.encode(pack(doodles.metadata, {"test": chosen}))
    np.testing.assert_array_equal(run.encode(alone), expected)


@pytest.mark.parametrize("name", ["plain", "decoder"])
def test_a_prefix_is_kept(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    prefix = random_corpus([5])[0]
    drawn = run.generate(3, prefix=prefix, max_steps=4)
    for i in range(3):
        np.testing.assert_array_equal(drawn[i].motion[:5], prefix.motion)
        np.testing.assert_array_equal(drawn[i].event[:5], [*prefix.event[:4], UP])
        assert 5 < len(drawn[i].event) <= 9
    assert len({drawn[i].motion.tobytes() for i in range(3)}) == 3


def test_a_prefix_is_completed_with_latents_that_it_may_come_from(run: Run, prefix: Sequence) -> None:
    """Of a model whose events depend on them: that the prefix ends is none."""
    model, n = copy.deepcopy(run.model), 20
    assert isinstance(model, SketchRNN)
    with torch.no_grad():
        model.start_of.weight[:, :3] *= 5
        model.decoder.head.linear.weight[model.decoder.head.shape.size :] *= 50
    run = dataclasses.replace(run, model=model)
    ended = prefix._replace(event=np.append(prefix.event[:-1], END).astype(np.uint8))
    data = Batches(pack(run.config.metadata, {"test": [ended]}), "test", run.config.normalizer)
    latents = sample_latents_given_prefix(model, data.batch(np.zeros(PROPOSALS, np.int64)), n, seed=4).numpy()
    expected = run.generate(n, latents=latents, prefix=prefix, seed=4, max_steps=9)
    found = run.generate(n, prefix=prefix, seed=4, max_steps=9)
    np.testing.assert_array_equal(found.motion, expected.motion)
    few = run.generate(2, prefix=prefix, seed=4, max_steps=9)
    np.testing.assert_array_equal(few.motion, found.motion[: len(few.motion)])


@pytest.mark.parametrize("labels", [None, ["cat"], ["cat", "tree"]], ids=["all in turn", "one", "one each"])
def test_a_prefix_of_no_known_class_is_completed_as_what_is_asked_for(
    run: Run, prefix: Sequence, labels: list[str] | None
) -> None:
    drawn = run.generate(2, labels=labels, prefix=prefix._replace(label=None), max_steps=4)
    assert len(drawn) == 2


def test_latents_for_a_prefix_are_of_the_class_that_is_asked_for(run: Run, prefix: Sequence, doodles: Corpus) -> None:
    """Whatever the prefix was a drawing of."""
    one, other = (
        run.generate(4, labels=["tree"], prefix=prefix._replace(label=doodles.metadata.class_index(name)), max_steps=6)
        for name in ("tree", "cat")
    )
    np.testing.assert_array_equal(one.motion, other.motion)


def test_a_prefix_of_no_points_is_completed_or_refused(plain: Run) -> None:
    """By an InputError at most: an MDN-RNN draws from the start."""
    prefix = random_corpus([5])[0]
    try:
        drawn = plain.generate(2, prefix=Sequence(prefix.motion[:0], prefix.event[:0]), max_steps=3)
    except InputError:
        return
    assert len(drawn) == 2


def test_a_seed_below_0_is_refused_with_a_prefix_too(plain: Run) -> None:
    for prefix in (None, random_corpus([5])[0]):
        with pytest.raises(InputError, match="the seed is -1; expected 0 or more"):
            plain.generate(2, prefix=prefix, seed=-1)


@pytest.mark.parametrize("inputs", [0, 2], ids=["no inputs", "two inputs"])
@pytest.mark.parametrize("bin_width", [1.0, None], ids=["a grid", "no grid"])
def test_corpora_with_inputs_or_without_a_grid_train_and_evaluate(
    bin_width: float | None, inputs: int, tmp_path: Path
) -> None:
    run = trained(random_corpus([5] * 8, inputs=inputs, bin_width=bin_width), tmp_path)
    assert np.isfinite(run.evaluate().nll_per_sequence)


@pytest.mark.parametrize(
    ("shape", "received"), [((2, 4), r"\(2, 4\)"), ((3, 3), r"\(3, 3\)"), ((3,), r"\(3,\)")], ids=str
)
def test_latents_of_another_shape_are_refused(plain: Run, shape: tuple[int, ...], received: str) -> None:
    with pytest.raises(InputError, match=rf"latents: received shape {received}, expected \(2, 3\)"):
        plain.generate(2, latents=np.zeros(shape))


def test_a_run_without_an_encoder_says_so(decoder: Run) -> None:
    with pytest.raises(InputError, match="the run has no encoder; expected one of a variational model"):
        decoder.encode(decoder.open_data())
    with pytest.raises(InputError, match="latents were given; the run's model takes none; leave them out"):
        decoder.generate(2, latents=np.zeros((2, 3)))


def test_a_split_that_is_not_there_cannot_be_encoded(plain: Run) -> None:
    with pytest.raises(InputError, match=r"split 'tset' is not in random; it has train, valid, test"):
        plain.encode(plain.open_data(), "tset")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"labels": ["unicorn"]}, r"unknown label 'unicorn'; expected one of butterfly"),
        ({"labels": ["cat"] * 3}, r"3 labels were asked for 2 drawings; expected one, or one each"),
        ({"labels": np.ones((2, 5))}, r"labels: received weights of shape \(2, 5\), expected \(2, 12\)"),
    ],
    ids=["unknown", "too many", "weights of other classes"],
)
def test_labels_that_do_not_fit_are_refused(run: Run, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        run.generate(2, **settings)


def test_data_without_classes_are_no_data_of_a_run_with_them(run: Run) -> None:
    with pytest.raises(InputError, match="random has no classes; expected some of butterfly"):
        run.encode(random_corpus([4, 5]))


class StopsAt(SketchRNN):
    """Sends itself a signal on the n-th call of loss in training."""

    signal_at = 0
    calls = 0

    def loss(self, batch: Batch) -> Loss:
        self.calls += self.training
        if self.calls == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(batch)


@pytest.mark.parametrize("cell", ["plain", "layer-norm"])
@pytest.mark.parametrize("step", [1, 7])
def test_stopped_and_resumed_ends_in_the_same_weights(doodles: Corpus, tmp_path: Path, step: int, cell: Any) -> None:
    """Draws of latents, dropped weights and the weight of the divergence go on where they were."""
    config = SequenceTrainConfig(
        steps=12, batch_size=16, warmup=3, validations=3, precision="float32", checkpoint_seconds=1000.0
    )
    data = config.splits(doodles, Normalizer.from_corpus(doodles))
    sizes = dataclasses.replace(SMALL, cell=cell, dropout=0.2, kl_rate=0.8, kl_floor=0.0)

    def model(kind: type[SketchRNN] = SketchRNN) -> SketchRNN:
        torch.manual_seed(0)
        return kind(StepShape.from_corpus(doodles), sizes)

    folders = [tmp_path / "whole", tmp_path / "stopped"]
    fit(model(), *data, folders[0], config)
    stopping = model(StopsAt)
    assert isinstance(stopping, StopsAt)
    stopping.signal_at = step
    assert fit(stopping, *data, folders[1], config).progress.step == step
    torch.manual_seed(99)  # whatever the process did meanwhile
    assert fit(model(), *data, folders[1], config).progress.step == 12
    whole, stopped = (torch.load(folder / CHECKPOINT_FILE, weights_only=True)["model"] for folder in folders)
    best, again = (load_file(folder / WEIGHTS_FILE) for folder in folders)
    for one, other in ((whole, stopped), (best, again)):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert any(not torch.equal(tensor, model().state_dict()[name]) for name, tensor in whole.items())
