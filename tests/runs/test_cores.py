"""Runs with every core: exact resumption, also of windows with carried-over state, evaluation, and prefixes."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mdnrnn
from mdnrnn.data.corpus import Corpus
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.runs.run import load
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.checkpoint import WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.trainer import TrainingResult
from tests.helpers import each_core, make_controls, random_corpus

DATA = {"strokes": random_corpus([9, 4, 12, 7]), "windows": make_controls((40, 30, 55))}


class Stop(Callback):
    """Raises SIGTERM after step 3."""

    def on_step(self, state: TrainingState) -> None:
        if state.step == 3:
            signal.raise_signal(signal.SIGTERM)


def train(corpus: Corpus, folder: Path, core: dict[str, Any], *callbacks: Stop) -> TrainingResult:
    torch.set_num_threads(1)
    config = MDNRNNConfig(**{"hidden": 16, "components": 2, "dropout": 0.2, **core})
    is_stream = corpus.metadata.is_stream
    training = SequenceTrainConfig(
        steps=8,
        batch_size=3,
        validations=4,
        window=10 if is_stream else 0,
        augment_scale=0.0 if is_stream else 0.15,
        augment_drop=0.0 if is_stream else 0.1,
        precision="float32",
    )
    return mdnrnn.train("stroke", corpus, folder, model=config, training=training, callbacks=callbacks)


@each_core
@pytest.mark.parametrize("corpus", DATA.values(), ids=DATA)
def test_resumed_run_has_the_weights_of_an_uninterrupted_run(
    corpus: Corpus, core: dict[str, Any], tmp_path: Path
) -> None:
    train(corpus, tmp_path / "whole", core)
    assert train(corpus, tmp_path / "stopped", core, Stop()).interrupted == signal.SIGTERM
    assert mdnrnn.resume(tmp_path / "stopped", corpus).progress.step == 8
    whole, stopped = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("whole", "stopped"))
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())


@each_core
def test_run_is_evaluated_and_continues_a_prefix(core: dict[str, Any], tmp_path: Path) -> None:
    corpus = DATA["strokes"]
    train(corpus, tmp_path / "run", core)
    run = load(tmp_path / "run")
    assert np.isfinite(run.evaluate("test", corpus).nll_per_point)
    drawings = run.generate(5, prefix=corpus[2], max_steps=20)
    for i in range(5):
        np.testing.assert_array_equal(drawings[i].motion[:12], corpus[2].motion)
