"""Checks of training: the use of a run, outliers, causes of infinite losses, and models worse than the null model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError, InputWarning
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.runs.training_checks import describe_largest_motion, is_worse, warn_about_use
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loss_check import LossCheck, NonFiniteLoss
from tests.helpers import make_controls, make_episodes, make_touches, random_corpus

MODEL = MDNRNNConfig(hidden=8, components=2)
CORPUS = random_corpus([9, 12, 7, 5] * 4)


def rename(corpus: Corpus, *features: str) -> Corpus:
    return replace(corpus, metadata=replace(corpus.metadata, features=features))


@pytest.mark.parametrize(
    ("preset", "metadata", "message"),
    [
        ("world", rename(make_episodes(), "mu1", "mu2", "reward").metadata, "dream needs latents z1, z2, ... and"),
        ("world", Metadata(name="x"), "features without names; mdnrnn.dream needs latents"),
        ("touch", CORPUS.metadata, "mdnrnn respond needs features dx, dy, dt, with the pen up"),
        ("gesture-s", CORPUS.metadata, "live generation of streams needs features dt, x1"),
        ("stroke", Metadata(name="x", features=("a", "b")), "x has features a, b; every command needs dx, dy;"),
    ],
)
def test_data_that_do_not_suit_the_preset_give_a_warning(preset: str, metadata: Metadata, message: str) -> None:
    with pytest.warns(InputWarning) as warned:
        warn_about_use(PRESETS[preset], metadata)
    assert message in str(warned[0].message)


@pytest.mark.parametrize(
    ("preset", "corpus"),
    [("world", make_episodes()), ("touch", make_touches()), ("gesture", make_controls()), ("sketch", CORPUS)],
)
def test_suitable_data_give_no_warning(preset: str, corpus: Corpus) -> None:
    warn_about_use(PRESETS[preset], corpus.metadata)


def test_world_with_other_names_of_latents_is_reported_when_training_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    native.write(rename(make_episodes(), "mu1", "mu2", "reward"), tmp_path / "episodes")
    data, out = str(tmp_path / "episodes"), str(tmp_path / "run")
    assert main(["train", "world", "--data", data, "--out", out, "--steps", "1", "--model.hidden", "8"]) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "mu1" in line]
    assert warning.startswith("warning: episodes has features mu1, mu2, reward; mdnrnn.dream needs latents z1, z2, ...")


def test_outlier_in_the_training_data_is_refused(tmp_path: Path) -> None:
    motions = [np.random.default_rng(i).normal(size=(6, 2)) for i in range(40)]
    motions[17][4, 1] = 1e30
    with pytest.raises(InputError, match=r"arrays: sequence \d+ has the motion 1e\+30 in row 4, but the median of the"):
        mdnrnn.train("stroke", Corpus.from_arrays(motions), tmp_path / "run", model=MODEL)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("losses", "expected"), [([2.0, 900.0], True), ([2.0, 1.5, 1.8], False), ([], False)])
def test_divergence_is_told_from_bad_data(losses: list[float], expected: bool) -> None:
    """The data are named as the cause only if the loss did not rise before."""
    check = LossCheck(Path("run"), SequenceTrainConfig(learning_rate=10, clip=1e9), lag=0)
    indices = torch.arange(300)
    for step, loss in enumerate(losses, 1):
        check.add(step, torch.tensor(loss), torch.tensor(1.0), indices)
    with pytest.raises(NonFiniteLoss) as caught:
        check.add(9, torch.tensor(np.nan), torch.tensor(np.inf), indices)
    message = str(caught.value)
    assert ("training has diverged: the loss had risen from 2 to 900; lower --learning-rate" in message) == expected
    assert ("check these examples, or lower --learning-rate (received 10)" in message) != expected
    assert ("--clip (received 1e+09)" in message) == expected
    assert caught.value.indices == ([] if expected else list(range(300)))
    assert len(message) <= 500


def test_samples_with_infinite_values_do_not_stop_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = replace(CORPUS, motion=np.full(CORPUS.motion.shape, np.inf))
    monkeypatch.setattr(Run, "generate", lambda *_, **__: samples)
    training = SequenceTrainConfig(steps=1, batch_size=4, validations=1)
    with pytest.warns(InputWarning, match=r"step-000001\.svg is not written: .* because training has diverged"):
        result = mdnrnn.train("stroke", CORPUS, tmp_path / "run", model=MODEL, training=training)
    assert result.progress.finished
    assert np.isfinite(result.null_nll_per_point)


def test_largest_motion_of_a_batch_is_named() -> None:
    corpus = random_corpus([5, 9, 4])
    corpus.motion[7, 0] = 3000
    normalizer = mdnrnn.Normalizer((0.0, 0.0), (10.0, 10.0))
    description = describe_largest_motion(corpus, normalizer, [2, 1, 0])
    assert description == "the largest motion is in sequence 1: 300 standard deviations"


def test_nan_is_worse_than_the_null_model() -> None:
    assert [is_worse(nll, 2.0) for nll in (1.0, 2.0, 3.0, np.nan)] == [False, True, True, True]
    assert not is_worse(1.0, np.nan)


def test_model_that_is_worse_than_the_null_model_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step at a high learning rate gives a worse model than a Gaussian fitted to the data."""
    native.write(CORPUS, tmp_path / "c")
    options = ["--steps", "1", "--warmup", "0", "--learning-rate", "1", "--model.hidden", "8"]
    assert main(["train", "stroke", "--data", str(tmp_path / "c"), "--out", str(tmp_path / "run"), *options]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "the model is worse than the null model: " in line
    assert "train longer (--minutes), lower --learning-rate" in line
    for json in ([], ["--json"]):
        assert main(["evaluate", str(tmp_path / "run"), *json]) == 0
        assert "warning: the model is worse than the null model: " in capsys.readouterr().err
