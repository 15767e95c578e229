"""Builders of small corpora, models and runs, shared by several test modules."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import SPLITS, Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step
from mdnrnn.models.base import StepShape
from mdnrnn.models.configs import MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.pen_events import DOWN, END
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.run import Run
from mdnrnn.training.config import SequenceTrainConfig


def random_corpus(
    lengths: list[int], *, classes: tuple[str, ...] = (), inputs: int = 0, bin_width: float | None = 1.0, seed: int = 0
) -> Corpus:
    """Make sequences of the given lengths with random integer motions and events; the same sequences in every split."""
    rng = np.random.default_rng(seed)

    def draw_sequence(length: int) -> Sequence:
        return Sequence(
            rng.integers(-30, 30, (length, 2)).astype(np.int16),
            mark_end(rng.random(length) < 0.3),
            int(rng.integers(len(classes))) if classes else None,
            rng.normal(size=(length, inputs)).astype(np.float32) if inputs else None,
        )

    sequences = [draw_sequence(length) for length in lengths]
    metadata = Metadata(name="random", bin_width=bin_width, classes=classes)
    return pack(metadata, dict.fromkeys(("train", "valid", "test"), sequences))


def shorten(corpus: Corpus, steps: int) -> Corpus:
    """Return the corpus with `steps` or slightly fewer steps per sequence; the last event of a sequence is kept."""

    def cut(index: int) -> Sequence:
        sequence = corpus[index]
        n = min(len(sequence.event), steps - index % 5)
        event = np.append(sequence.event[: n - 1], sequence.event[-1]).astype(np.uint8)
        inputs = None if sequence.inputs is None else sequence.inputs[:n]
        return sequence._replace(motion=sequence.motion[:n], event=event, inputs=inputs)

    splits = {split: [cut(i) for i in corpus.indices(split)] for split in SPLITS if split in corpus.splits}
    return pack(corpus.metadata, splits)


def make_touches(performances: int = 60, bin_width: float | None = 1 / 1024, seed: int = 0) -> Corpus:
    """Make performances of 30 touches on a screen, with log-normal times."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(performances):
        offsets = np.rint(rng.normal(0, [40, 90], (30, 2))) / 1024
        dt = rng.lognormal(-4, 0.5, 30)
        dt[0] = 0
        sequences.append(
            Sequence(np.column_stack([offsets, dt]).astype(np.float32), mark_end((rng.random(30) < 0.2).astype(int)))
        )
    metadata = Metadata(name="touches", start="up", bin_width=bin_width, features=("dx", "dy", "dt"))
    return pack(metadata, {"train": sequences[:40], "valid": sequences[40:50], "test": sequences[50:]})


def make_controls(lengths: tuple[int, ...] = (30, 45, 12), seed: int = 0) -> Corpus:
    """Make streams of three controls on a grid of 1/128, with log-normal times; the same sequences in every split."""
    rng = np.random.default_rng(seed)
    sequences = []
    for length in lengths:
        values = rng.integers(0, 129, (length, 3)) / 128
        dt = rng.lognormal(-4, 0.5, (length, 1))
        sequences.append(Sequence(np.hstack([dt, values]).astype(np.float32), np.zeros(length, np.uint8)))
    metadata = Metadata(name="controls", bin_width=1 / 128, features=("dt", "x1", "x2", "x3"))
    return pack(metadata, dict.fromkeys(("train", "valid", "test"), sequences))


def make_episodes(
    lengths: tuple[int, ...] = (9, 4, 14, 1), *, ends: bool = True, posteriors: bool = False, seed: int = 0
) -> Corpus:
    """Make episodes of latents (z1, z2) and a reward, with two inputs per step; the same episodes in every split.

    Args:
        lengths: number of steps of each episode.
        ends: whether the episodes with even numbers end with END; the remaining episodes have no END.
        posteriors: whether the latents have log variances.
        seed: random seed.
    """
    rng = np.random.default_rng(seed)
    sequences = []
    for number, length in enumerate(lengths):
        event = np.zeros(length, np.uint8)
        event[-1] = END if ends and number % 2 == 0 else DOWN
        inputs = rng.normal(size=(length, 2)).astype(np.float32)
        inputs[0] = 0
        logvar = rng.normal(-1, 1, (length, 3)).astype(np.float32) if posteriors else None
        motion = rng.normal(2, 3, (length, 3)).astype(np.float32)
        sequences.append(Sequence(motion, event, inputs=inputs, logvar=logvar))
    metadata = Metadata(name="episodes", features=("z1", "z2", "reward"))
    return pack(metadata, dict.fromkeys(("train", "valid", "test"), sequences))


def make_run(corpus: Corpus, seed: int = 0, **config: Any) -> Run:
    """Make an untrained run, with weights large enough that predictions depend on the preceding steps."""
    settings: dict[str, Any] = {"hidden": 16, "components": 3, "dropout": 0.0, "position": False, **config}
    run_config = RunConfig(
        kind="mdnrnn",
        shape=StepShape.from_corpus(corpus),
        model=MDNRNNConfig(**settings),
        normalizer=Normalizer.from_corpus(corpus),
        metadata=corpus.metadata,
        data="",
        fingerprint="",
        training=SequenceTrainConfig(seed=seed),
        max_steps=50,
    )
    model = run_config.build()
    torch.manual_seed(seed)
    head = model.get_submodule("decoder.head.linear")
    torch.nn.init.normal_(head.get_parameter("weight"), std=0.5)
    return Run(Path(), run_config, model.eval())


def make_batches(corpus: Corpus, batch_size: int = 100) -> Batches:
    """Make batches of the training split, with a normalizer fitted to it."""
    return Batches(corpus, "train", Normalizer.from_corpus(corpus), batch_size)


CORES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"core": "gru", "layers": 2},
    "transformer": {"core": "transformer", "layers": 2},
    "short span": {"core": "transformer", "layers": 2, "heads": 2, "span": 3},
}
"""Config fields of all cores of an MDN-RNN."""
each_core = pytest.mark.parametrize("core", CORES.values(), ids=CORES)


def make_model(corpus: Corpus, seed: int = 0, **config: Any) -> MDNRNN:
    """Make a small MDN-RNN for a corpus, in float64 for strict comparisons."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"hidden": 24, "components": 3, "dropout": 0.0, **config}
    return MDNRNN(StepShape.from_corpus(corpus), MDNRNNConfig(**settings)).double()


def make_sketch_model(corpus: Corpus, seed: int = 0, **config: Any) -> SketchRNN:
    """Make a small Sketch-RNN for a corpus, in float64, with posteriors that differ from the prior."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "encoder": 12, "hidden": 16, "latent": 4, "components": 3, "recurrent_dropout": 0.0, **config
    }  # fmt: skip
    model = SketchRNN(StepShape.from_corpus(corpus), SketchRNNConfig(**settings)).double()
    torch.nn.init.normal_(model.decoder.head.linear.weight, std=0.3)
    if model.latent:
        torch.nn.init.normal_(model.posterior.weight, std=0.3)
        torch.nn.init.zeros_(model.posterior.bias)
    return model


def to_float64(batch: Batch) -> Batch:
    """Return the batch with its floating-point tensors in float64."""

    def convert(step: Step) -> Step:
        return Step(step.motion.double(), step.event, None if step.inputs is None else step.inputs.double())

    bin_width = None if batch.bin_width is None else batch.bin_width.double()
    return replace(batch, target=convert(batch.target), previous=convert(batch.previous), bin_width=bin_width)
