"""Runs of a few training steps, shared by the tests of all commands."""

from pathlib import Path

import pytest

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_pen_text
from tests.cli.helpers import train_run
from tests.helpers import make_touches, shorten


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show each frame of a GIF for half a second, so that there are few of them."""
    monkeypatch.setattr("mdnrnn.render.animation.FRAME", 500)
    monkeypatch.setattr("mdnrnn.render.touch_animation.FRAME", 500)


@pytest.fixture(scope="session")
def stroke_run(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Path:
    """Return an MDN-RNN run on labeled doodles; its data are data.npz beside the folder."""
    options = ["--steps", "12", "--model.hidden", "32", "--model.components", "4", "--validations", "2"]
    return train_run(tmp_path_factory.mktemp("stroke"), doodles, "stroke-small", *options)


@pytest.fixture(scope="session")
def sketch_run(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Path:
    """Return a Sketch-RNN run on labeled doodles, with one drawing of each of 12 classes in its test split."""
    sizes = ["--model.encoder", "8", "--model.hidden", "16", "--model.latent", "4", "--model.components", "3"]
    options = [*sizes, "--steps", "8", "--validations", "1"]
    return train_run(tmp_path_factory.mktemp("sketch"), doodles, "sketch-small", *options)


@pytest.fixture(scope="session")
def touch_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on touch performances."""
    options = ["--steps", "2", "--batch-size", "8", "--model.hidden", "16", "--model.components", "3"]
    return train_run(tmp_path_factory.mktemp("touch"), make_touches(), "touch", *options)


@pytest.fixture(scope="session")
def handwriting_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a text-conditional run on the first steps of 36 lines of pen text, 12 of them in the test split."""
    lines = shorten(make_pen_text(12, {"train": 1, "valid": 1, "test": 1}), 90)
    sizes = ["--model.hidden", "8", "--model.window", "2", "--model.components", "2"]
    options = [*sizes, "--steps", "3", "--validations", "1"]
    return train_run(tmp_path_factory.mktemp("handwriting"), lines, "handwriting-small", *options)
