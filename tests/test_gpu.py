"""The same numbers on CUDA as on the CPU. Run with `pytest -m gpu` where there is a device."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Normalizer
from mdnrnn.evaluation import evaluate
from mdnrnn.generation import generate
from mdnrnn.models.base import Condition, StepShape
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loop import fit

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def model_for(corpus: Corpus) -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(StepShape.of(corpus), MDNRNNConfig(hidden=64, components=5, layers=2))


def test_likelihoods_agree(doodles: Corpus) -> None:
    data = Batches(doodles, "test", Normalizer.of_strokes(doodles))
    cpu, cuda = evaluate(model_for(doodles), data), evaluate(model_for(doodles).cuda(), data)
    assert cuda.nats_per_sequence == pytest.approx(cpu.nats_per_sequence, rel=1e-4)


def test_drawings_agree(doodles: Corpus) -> None:
    """Coordinates are rounded to the grid; a draw within 1e-5 of a boundary would differ: 1% of such runs."""
    cell = torch.full((2,), 0.05)
    condition = Condition(torch.arange(8) % 12)
    drawn = [
        generate(model.eval(), 8, condition, cell=cell, max_steps=20)
        for model in (model_for(doodles), model_for(doodles).cuda())
    ]
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one.event, other.event)
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-4)


def test_training_learns_and_repeats_exactly(doodles: Corpus, tmp_path: Path) -> None:
    config = SequenceTrainConfig(steps=60, batch_size=32, device="cuda", validations=3)
    data = config.splits(doodles, Normalizer.of_strokes(doodles))
    best = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        best.append(fit(model_for(doodles), *data, tmp_path / name, config).progress.best)
    assert best[0] == best[1] < 10
