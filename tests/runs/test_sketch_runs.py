"""Runs of a model with a latent vector: evaluation, generation, encoding, prefixes, resume, and errors."""

import copy
import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mdnrnn
from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.generation.latent_completion import PROPOSALS, sample_latents_given_prefix
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Loss, StepShape
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.models.latent import LatentModel
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.pen_events import END, UP
from mdnrnn.runs.run import Run
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.trainer import fit
from tests.helpers import random_corpus

MODEL = SketchRNNConfig(encoder=8, hidden=16, latent=3, components=3)
DECODER_ONLY = dataclasses.replace(MODEL, kl_weight=0.0)
TRAINING = SequenceTrainConfig(steps=3, batch_size=64, validations=1)
CORPUS = random_corpus([5, 9, 4, 7] * 4)


def train_run(corpus: Corpus, folder: Path, model: SketchRNNConfig = MODEL) -> Run:
    """Train a run; `Run.open_data` of the result needs the corpus, which is not saved."""
    mdnrnn.train("sketch-small", corpus, folder / "run", model=model, training=TRAINING)
    return mdnrnn.load(folder / "run")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Run:
    """Run on doodles of 12 classes."""
    return train_run(doodles, tmp_path_factory.mktemp("labeled"))


@pytest.fixture(scope="module")
def unlabeled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_run(CORPUS, tmp_path_factory.mktemp("unlabeled"))


@pytest.fixture(scope="module")
def decoder_only(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run without an encoder and a latent vector."""
    return train_run(CORPUS, tmp_path_factory.mktemp("decoder"), DECODER_ONLY)


@pytest.fixture
def prefix(doodles: Corpus) -> Sequence:
    """The first six points of a labeled doodle."""
    motion, event, label = doodles[3][:3]
    return Sequence(motion[:6], event[:6], label)


@pytest.mark.parametrize("name", ["labeled", "unlabeled", "decoder_only"])
def test_likelihood_is_reconstruction_plus_kl(name: str, doodles: Corpus, request: pytest.FixtureRequest) -> None:
    """The importance-sampling estimate is within 5% of the bound after three steps of training."""
    run: Run = request.getfixturevalue(name)
    data = doodles if name == "labeled" else CORPUS
    result = run.evaluate("valid", data, importance=2)
    assert result.importance_nll_per_sequence is not None
    assert (result.kl_per_sequence > 0) == (name != "decoder_only")
    total = result.reconstruction_nll_per_sequence + result.kl_per_sequence
    assert result.nll_per_sequence == pytest.approx(total)
    assert result.importance_nll_per_sequence == pytest.approx(total, rel=0.05)
    assert bool(result.by_class) == (name == "labeled")
    assert result == run.evaluate("valid", data, importance=2)


def test_generated_drawings_have_the_requested_class(labeled: Run, doodles: Corpus) -> None:
    """One name for all, one name per drawing and one-hot weights give the same drawings."""
    cat = doodles.metadata.class_index("cat")
    generated = labeled.generate(5, labels=["cat"], max_steps=4)
    assert generated.label is not None
    assert generated.label.tolist() == [cat] * 5
    for labels in (["cat"] * 5, np.eye(12)[[cat] * 5]):
        other = labeled.generate(5, labels=labels, max_steps=4)
        np.testing.assert_array_equal(generated.motion, other.motion)
    assert generated.motion.tobytes() != labeled.generate(5, labels=["tree"], max_steps=4).motion.tobytes()


def test_drawings_depend_on_the_latents_only_at_temperature_0(labeled: Run, doodles: Corpus) -> None:
    latents = np.repeat(np.random.default_rng(0).normal(size=(2, 3)), 2, axis=0)
    generated = labeled.generate(4, labels=["cat"], latents=latents, sampling=Sampling(temperature=0), max_steps=5)
    motions = [generated[i].motion.tobytes() for i in range(4)]
    assert motions[0] == motions[1]
    assert motions[2] == motions[3]
    encoded = labeled.encode(doodles, "test")
    assert labeled.generate(2, latents=encoded[:2], max_steps=3).splits == {"test": (0, 2)}


@torch.no_grad()
def test_encode_returns_posterior_means_in_the_order_of_the_corpus(labeled: Run, doodles: Corpus) -> None:
    model = labeled.model
    assert isinstance(model, LatentModel)
    data = Batches(doodles, "test", labeled.config.normalizer)
    expected = [model.encode(data.batch(np.array([i]))).mean[0].numpy() for i in doodles.indices("test")]
    encoded = labeled.encode(doodles, "test")
    np.testing.assert_allclose(encoded, np.stack(expected), atol=1e-6)
    first, last = doodles.splits["test"]
    np.testing.assert_allclose(labeled.encode(doodles)[first:last], encoded, atol=1e-6)
    assert len(labeled.encode(doodles)) == len(doodles)


def test_latents_that_would_not_be_finite_raise(labeled: Run, doodles: Corpus) -> None:
    model = copy.deepcopy(labeled.model)
    torch.nn.init.constant_(model.get_parameter("posterior.bias"), torch.inf)
    run = dataclasses.replace(labeled, model=model)
    with pytest.raises(InputError, match="received drawings whose latent vectors are NaN or infinite"):
        run.encode(doodles, "test")


def test_encode_matches_classes_by_name(labeled: Run, doodles: Corpus) -> None:
    cat = doodles.metadata.class_index("cat")
    cats = [doodles[i] for i in range(len(doodles)) if doodles[i].label == cat]
    metadata = dataclasses.replace(doodles.metadata, classes=("cat",))
    renumbered = pack(metadata, {"test": [sequence._replace(label=0) for sequence in cats]})
    expected = labeled.encode(pack(doodles.metadata, {"test": cats}))
    np.testing.assert_array_equal(labeled.encode(renumbered), expected)


@pytest.mark.parametrize("name", ["unlabeled", "decoder_only"])
def test_generated_drawings_start_with_the_prefix(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    prefix = random_corpus([5])[0]
    generated = run.generate(3, prefix=prefix, max_steps=4)
    for i in range(3):
        np.testing.assert_array_equal(generated[i].motion[:5], prefix.motion)
        np.testing.assert_array_equal(generated[i].event[:5], [*prefix.event[:4], UP])
        assert 5 < len(generated[i].event) <= 9
    assert len({generated[i].motion.tobytes() for i in range(3)}) == 3


def test_prefix_is_completed_with_latents_sampled_given_the_prefix(labeled: Run, prefix: Sequence) -> None:
    """The model's events depend strongly on the latent vector; the end of the prefix is not an event of it."""
    model, n = copy.deepcopy(labeled.model), 20
    assert isinstance(model, SketchRNN)
    with torch.no_grad():
        model.initial_layer.weight[:, :3] *= 5
        model.decoder.head.linear.weight[model.decoder.head.shape.size :] *= 50
    run = dataclasses.replace(labeled, model=model)
    ended = prefix._replace(event=np.append(prefix.event[:-1], END).astype(np.uint8))
    data = Batches(pack(run.config.metadata, {"test": [ended]}), "test", run.config.normalizer)
    batch = data.batch(np.zeros(PROPOSALS, np.int64))
    latents = sample_latents_given_prefix(model, batch, n, seed=4).numpy()
    expected = run.generate(n, latents=latents, prefix=prefix, seed=4, max_steps=9)
    generated = run.generate(n, prefix=prefix, seed=4, max_steps=9)
    np.testing.assert_array_equal(generated.motion, expected.motion)
    fewer = run.generate(2, prefix=prefix, seed=4, max_steps=9)
    np.testing.assert_array_equal(fewer.motion, generated.motion[: len(fewer.motion)])


@pytest.mark.parametrize("labels", [None, ["cat"], ["cat", "tree"]], ids=["none", "one name", "two names"])
def test_prefix_without_a_label_is_completed(labeled: Run, prefix: Sequence, labels: list[str] | None) -> None:
    assert len(labeled.generate(2, labels=labels, prefix=prefix._replace(label=None), max_steps=4)) == 2


def test_requested_class_overrides_the_label_of_the_prefix(labeled: Run, prefix: Sequence, doodles: Corpus) -> None:
    one, other = (
        labeled.generate(
            4, labels=["tree"], prefix=prefix._replace(label=doodles.metadata.class_index(name)), max_steps=6
        )
        for name in ("tree", "cat")
    )
    np.testing.assert_array_equal(one.motion, other.motion)


def test_prefix_of_no_points_is_accepted(unlabeled: Run) -> None:
    prefix = random_corpus([5])[0]
    assert len(unlabeled.generate(2, prefix=Sequence(prefix.motion[:0], prefix.event[:0]), max_steps=3)) == 2


@pytest.mark.parametrize("with_prefix", [False, True], ids=["no prefix", "prefix"])
def test_negative_seed_is_rejected(unlabeled: Run, with_prefix: bool) -> None:
    with pytest.raises(InputError, match="seed: received -1, expected"):
        unlabeled.generate(2, prefix=CORPUS[0] if with_prefix else None, seed=-1)


@pytest.mark.parametrize("inputs", [0, 2], ids=["no inputs", "two inputs"])
@pytest.mark.parametrize("bin_width", [1.0, None], ids=["grid", "no grid"])
def test_likelihood_with_inputs_or_without_a_grid_is_finite(
    bin_width: float | None, inputs: int, tmp_path: Path
) -> None:
    corpus = random_corpus([5] * 8, inputs=inputs, bin_width=bin_width)
    assert np.isfinite(train_run(corpus, tmp_path).evaluate(data=corpus).nll_per_sequence)


@pytest.mark.parametrize(
    ("shape", "received"), [((2, 4), r"\(2, 4\)"), ((3, 3), r"\(3, 3\)"), ((3,), r"\(3,\)")], ids=str
)
def test_latents_of_wrong_shape_are_rejected(unlabeled: Run, shape: tuple[int, ...], received: str) -> None:
    with pytest.raises(InputError, match=rf"latents: received shape {received}, expected \(2, 3\)"):
        unlabeled.generate(2, latents=np.zeros(shape))


def test_latents_that_are_not_finite_are_rejected(unlabeled: Run) -> None:
    with pytest.raises(InputError, match="latents: received NaN or infinite values, expected real numbers"):
        unlabeled.generate(2, latents=np.full((2, 3), np.nan))


def test_run_without_an_encoder_cannot_encode_and_takes_no_latents(decoder_only: Run) -> None:
    with pytest.raises(InputError, match="encoder"):
        decoder_only.encode(CORPUS)
    with pytest.raises(InputError, match="latents: received values for a model without a latent vector; omit latents"):
        decoder_only.generate(2, latents=np.zeros((2, 3)))


def test_unknown_split_is_rejected(unlabeled: Run) -> None:
    with pytest.raises(InputError, match=r"'tset'.*train, valid, test"):
        unlabeled.encode(CORPUS, "tset")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["unicorn"]}, r"'unicorn'.*expected one of butterfly"),
        ({"labels": ["cat"] * 3}, r"labels: received 3 for 2 sequences, expected one, or one per sequence"),
        ({"labels": np.ones((2, 5))}, r"labels: received weights of shape \(2, 5\), expected \(2, 12\)"),
    ],
    ids=["unknown name", "three names", "five classes"],
)
def test_invalid_labels_are_rejected(labeled: Run, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        labeled.generate(2, **options)


def test_labels_for_a_run_without_classes_are_rejected(unlabeled: Run) -> None:
    with pytest.raises(InputError, match=r"labels: received \['cat'\] for a run without classes; omit the labels"):
        unlabeled.generate(2, labels=["cat"])


def test_data_without_classes_are_rejected_by_a_run_with_classes(labeled: Run) -> None:
    with pytest.raises(InputError, match="random has no classes; expected classes from butterfly"):
        labeled.encode(CORPUS)


class StoppingModel(SketchRNN):
    """Raises SIGTERM in the given training step."""

    stop_step = 0
    calls = 0

    def loss(self, batch: Batch) -> Loss:
        self.calls += self.training
        if self.calls == self.stop_step:
            signal.raise_signal(signal.SIGTERM)
        return super().loss(batch)


@pytest.mark.parametrize("cell", ["plain", "layer-norm"])
def test_resumed_training_has_the_weights_of_an_uninterrupted_one(tmp_path: Path, cell: Any) -> None:
    """Samples of the latent vector, dropout masks and KL annealing continue exactly, after step 1 and after step 7."""
    training = SequenceTrainConfig(
        steps=12, batch_size=16, warmup=3, validations=3, precision="float32", checkpoint_seconds=1000.0
    )
    corpus = random_corpus([5, 9, 4, 7] * 20, classes=("a", "b", "c"))  # five batches per epoch
    data = training.splits(corpus, Normalizer.from_corpus(corpus))
    config = dataclasses.replace(MODEL, cell=cell, dropout=0.2, kl_rate=0.8, kl_floor=0.0)

    def make_model(model_class: type[SketchRNN] = SketchRNN) -> Any:
        torch.manual_seed(0)
        return model_class(StepShape.from_corpus(corpus), config)

    def read_weights(folder: Path) -> list[dict[str, torch.Tensor]]:
        return [torch.load(folder / CHECKPOINT_FILE, weights_only=True)["model"], load_file(folder / WEIGHTS_FILE)]

    fit(make_model(), *data, tmp_path / "whole", training)
    whole = read_weights(tmp_path / "whole")
    for step in (1, 7):
        folder, stopping = tmp_path / f"stopped-{step}", make_model(StoppingModel)
        stopping.stop_step = step
        assert fit(stopping, *data, folder, training).progress.step == step
        torch.manual_seed(99)  # the state of the generators comes from the checkpoint
        assert fit(make_model(), *data, folder, training).progress.step == 12
        for one, other in zip(whole, read_weights(folder), strict=True):
            assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert any(not torch.equal(tensor, make_model().state_dict()[name]) for name, tensor in whole[0].items())
