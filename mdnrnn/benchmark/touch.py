"""Comparison of a touch model with RoboJam (see `mdnrnn.benchmark.robojam`): likelihood, tap prediction, responses.

Both models have the same hidden size, number of layers and training time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdnrnn.benchmark import robojam
from mdnrnn.benchmark.robojam import RoboJam, Taps
from mdnrnn.benchmark.timing import Machine, raise_if_interrupted
from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, mark_end
from mdnrnn.data.formats.microjam import MAX_MOVE_DT
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.device import choose_device, full_precision
from mdnrnn.distributions import Step
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import DOWN, START, UP
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run, load
from mdnrnn.runs.train import train
from mdnrnn.tasks.performance import RESPONSE_SAMPLING, check_touches, respond
from mdnrnn.training.trainer import fit

_ANSWERS, _SECONDS, _NULL_STEPS = 200, 5.0, 5000
_ROBOJAM_RATE = 6e-3
"""Learning rate at which RoboJam trains fastest. The published 1e-3 is too low for a training time of minutes."""
_ROBOJAM_SAMPLING = Sampling(temperature=1.5, scale_temperature=0.01)


@dataclass(frozen=True, kw_only=True)
class TapFigures:
    """Quality of the classification of held-out events as taps or movements; taps are the positive class.

    An event is a tap if the finger touches down. The first event of each performance is excluded.
    """

    accuracy: float
    recall: float
    precision: float

    @classmethod
    def from_predictions(cls, predicted: np.ndarray, true: np.ndarray) -> TapFigures:
        """Return accuracy, recall and precision of boolean predictions (N,)."""
        hits = float((predicted & true).sum())
        accuracy = float((predicted == true).mean())
        return cls(accuracy=accuracy, recall=hits / true.sum(), precision=hits / max(1, predicted.sum()))


@dataclass(frozen=True, kw_only=True)
class Distances:
    """For each statistic, the Wasserstein distance between its distributions in responses and in real performances.

    Each distance is divided by the standard deviation of the statistic in the real performances.
    """

    rate: float
    """Distance for the number of touches per second."""
    dt: float
    """Distance for the logarithm of the time between consecutive touches."""
    width: float
    """Distance for the width of the bounding box of all touches."""
    height: float
    """Distance for the height of the bounding box of all touches."""


@dataclass(frozen=True, kw_only=True)
class TouchBenchmark:
    """Results on the test split.

    `ours`, `robojam` and `null` are negative log-likelihoods in nats per event, in raw units, under the touch model,
    RoboJam and the null model (see `mdnrnn.evaluation.null_model`).
    """

    ours: float
    robojam: float
    """Negative log-likelihood of RoboJam. The end of a performance, which RoboJam does not model, is not included."""
    null: float
    events: int
    predicted: TapFigures
    """Taps that the touch model predicts from the previous events."""
    inferred: TapFigures
    """Taps that the touch model infers from the previous events and from the position and time of the event itself."""
    robojam_predicted: TapFigures
    robojam_inferred: TapFigures
    rule: TapFigures
    """Baseline: an event is a tap if it occurs more than 0.1 s after the previous event."""
    answers: Distances
    """Distances between responses of 5 s at the default temperatures and the first 5 s of held-out performances."""
    answers_at_temperature_one: Distances
    answers_as_robojam_samples: Distances
    """`answers` at the sampling temperatures of RoboJam: temperature 1.5 and scale temperature 0.01."""
    null_answers: Distances
    complete: int
    """Number of responses that cover the full 5 s and in which all times between touches are positive."""
    requested: int
    """Number of generated responses."""
    minutes: float
    hidden: int
    layers: int
    machine: Machine


def benchmark_touch(data: str, *, minutes: float = 10.0, out: Path | None = None, seed: int = 0) -> TouchBenchmark:
    """Train a touch model, then RoboJam, and compare them.

    Args:
        data: corpus of touch performances: a path or a catalog name.
        minutes: training time of each model in minutes.
        out: run folder of the touch model; by default a temporary folder.
        seed: random seed of both training runs and of the null model's responses.
    """
    corpus, preset = open_corpus(data), PRESETS["touch"]
    check_touches(corpus.metadata)
    training = replace(preset.training, minutes=minutes, seed=seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary) / "run"
        raise_if_interrupted(train(preset, data, folder, training=training))
        run = load(folder)
    likelihood, held_out = run.evaluate("test"), Batches(corpus, "test", run.config.normalizer)
    theirs = _robojam(corpus, run, minutes, seed)
    taps, robojam_taps = predict_taps(run, held_out), robojam.predict_taps(theirs, held_out)
    calls = [corpus[i] for i in corpus.indices("test")]
    real = [_first_seconds(corpus[i]) for split in ("valid", "test") for i in corpus.indices(split)]
    longer = _answers(run, calls, RESPONSE_SAMPLING, 2 * _SECONDS)
    answers, null = [_first_seconds(one) for one in longer], _null_answers(calls, corpus, run.config.normalizer, seed)
    dt = np.concatenate([call.motion[1:, 2] for call in sorted(calls, key=lambda one: len(one.event))])
    return TouchBenchmark(
        ours=likelihood.nll_per_point,
        robojam=robojam.nll(theirs, held_out),
        null=likelihood.null_nll_per_point,
        events=likelihood.points,
        predicted=TapFigures.from_predictions(taps.predicted, taps.true),
        inferred=TapFigures.from_predictions(taps.inferred, taps.true),
        robojam_predicted=TapFigures.from_predictions(robojam_taps.predicted, robojam_taps.true),
        robojam_inferred=TapFigures.from_predictions(robojam_taps.inferred, robojam_taps.true),
        rule=TapFigures.from_predictions(dt > MAX_MOVE_DT, taps.true),
        answers=_distances(answers, real),
        answers_at_temperature_one=_distances(_answers(run, calls, Sampling()), real),
        answers_as_robojam_samples=_distances(_answers(run, calls, _ROBOJAM_SAMPLING), real),
        null_answers=_distances(null, real),
        complete=sum(map(_is_complete, answers, longer)),
        requested=len(answers),
        minutes=minutes,
        hidden=preset.model.hidden,
        layers=preset.model.layers,
        machine=Machine.of(choose_device(training.device)),
    )


def _robojam(corpus: Corpus, run: Run, minutes: float, seed: int) -> RoboJam:
    config = run.config
    torch.manual_seed(seed)
    model = RoboJam(corpus.metadata, config.normalizer, config.model.hidden, config.model.layers)
    training = replace(
        config.training,
        minutes=minutes,
        learning_rate=_ROBOJAM_RATE,
        augment_scale=0.0,
        augment_drop=0.0,
        weight_decay=0.0,
        precision="float32",
    )
    data = Batches(corpus, "train", config.normalizer, training.batch_size, seed, by_points=training.by_points)
    valid = Batches(corpus, "valid", config.normalizer, training.batch_size)
    model.head.initialize(torch.cat([model.rows(batch) for batch in data]))  # not in the paper; improves RoboJam
    raise_if_interrupted(fit(model, data, valid, config=training))
    return model


@full_precision()
@torch.no_grad()
def predict_taps(run: Run, data: Batches) -> Taps:
    """Return the predicted, inferred and true taps of a split under a touch model.

    The inference from the position and time of a step uses Bayes' rule: p(tap | motion) is proportional to
    p(tap) p(motion | tap). A step is a tap if the event of the previous step is UP. Therefore p(tap) is the probability
    that the previous event is UP. The model receives the previous step as input. To compute p(motion | tap), the event
    of this input is set to UP.
    """
    device = next(run.model.parameters()).device
    parts = [torch.stack(list(_taps_of(run, batch.to(device)))) for batch in data]
    return Taps(*torch.cat(parts, 1).cpu().numpy())


def _taps_of(run: Run, batch: Batch) -> Iterator[Tensor]:
    """Yield the predicted, the inferred and the true taps of a batch, without the first step of each sequence."""
    assert batch.bin_width is not None
    model, later = run.model, batch.previous.event != START
    pen_logits = model(batch).event_logits[:, [DOWN, UP]]  # step t + 1 is a tap if event t is UP
    before = torch.log_softmax(pen_logits, -1).roll(1, 0)
    motion, bin_widths, event = map(batch.pad, (batch.target.motion, batch.bin_width, batch.target.event.unsqueeze(-1)))
    previous, state = model.initial_step(batch.size), model.initial_state(batch.size)
    logs = motion.new_zeros(batch.steps, batch.size, 2)
    for time in range(batch.steps):
        if time:
            for kind in (DOWN, UP):
                steps, _ = model.step(previous._replace(event=torch.full_like(previous.event, kind)), state)
                logs[time, :, kind] = steps.motion.discretized_log_prob(motion[time], bin_widths[time])
        _, state = model.step(previous, state)
        previous = Step(motion[time], event[time, :, 0])
    seen = before + batch.unpad(logs)
    yield (before[:, UP] > before[:, DOWN])[later]
    yield (seen[:, UP] > seen[:, DOWN])[later]
    yield (batch.previous.event == UP)[later]


def _answers(run: Run, calls: list[Sequence], sampling: Sampling, seconds: float = _SECONDS) -> list[Sequence]:
    """Return `_ANSWERS` responses in total, about the same number to each performance in `calls`."""
    found = []
    for number, call in enumerate(calls):
        wanted = len(range(number, _ANSWERS, len(calls)))
        answers = respond(run, call, wanted, seconds=seconds, sampling=sampling, seed=number) if wanted else ()
        found += [answers[i] for i in range(len(answers))]
    return found


def _first_seconds(performance: Sequence) -> Sequence:
    """Return the touches of the first `_SECONDS` seconds of a performance."""
    time = performance.motion[:, 2].astype(np.float64).cumsum()
    inside = time - time[0] <= _SECONDS
    motion = performance.motion[inside].copy()
    motion[0, 2] = 0
    return Sequence(motion, mark_end(performance.event[inside]))


def _null_answers(calls: list[Sequence], corpus: Corpus, normalizer: Normalizer, seed: int) -> list[Sequence]:
    """Return `_ANSWERS` responses of the null model, each `_SECONDS` seconds long.

    Offsets and log times are sampled from a Gaussian, and events from their frequencies, both fitted to the train
    split. The first offset of a response starts at the last position of a performance in `calls`. Positions are clipped
    to the screen.
    """
    rng, rows = np.random.default_rng(seed), corpus.rows("train")
    motion = normalizer.normalize(corpus.motion[rows][~corpus.is_first_row(rows)], None, np.float64)
    mean, covariance = motion.mean(0), np.cov(motion.T)
    shares = np.bincount(corpus.event[rows], minlength=3)[[DOWN, UP]]
    found = []
    for number in range(_ANSWERS):
        steps = normalizer.denormalize(rng.multivariate_normal(mean, covariance, _NULL_STEPS))
        steps[0, 2] = 0
        steps = steps[steps[:, 2].cumsum() <= _SECONDS]
        position = calls[number % len(calls)].motion[:, :2].astype(np.float64).sum(0)
        positions = []
        for offset in steps[:, :2]:
            position = (position + offset).clip(0, 1)
            positions.append(position)
        steps[:, :2] = np.diff(positions, axis=0, prepend=np.zeros((1, 2)))
        event = rng.choice([DOWN, UP], len(steps), p=shares / shares.sum())
        found.append(Sequence(steps, mark_end(event)))
    return found


def _is_complete(answer: Sequence, longer: Sequence) -> bool:
    """Return whether a response covers `_SECONDS` seconds and has positive times between its touches.

    A response covers `_SECONDS` seconds if the next touch after the shortened response is later than `_SECONDS`.

    Args:
        answer: the response, shortened by `_first_seconds`.
        longer: the response before it was shortened.
    """
    times, on = answer.motion[:, 2], longer.motion[: len(answer.event) + 1, 2].astype(np.float64)
    # `longer` covers 2 * `_SECONDS`. If it has no more touches than `answer`, the next touch is later than `_SECONDS`.
    follows = len(on) == len(times) or on.sum() > _SECONDS
    return bool(times[0] == 0 and (times[1:] > 0).all() and times.sum() <= _SECONDS and follows)


def _distances(answers: list[Sequence], real: list[Sequence]) -> Distances:
    ours, theirs = _statistics(answers), _statistics(real)
    return Distances(**{name: _wasserstein(ours[name], theirs[name]) / float(theirs[name].std()) for name in ours})


def _statistics(performances: list[Sequence]) -> dict[str, np.ndarray]:
    positions = [performance.motion[:, :2].cumsum(0) for performance in performances]
    durations = np.array([performance.motion[1:, 2].sum() for performance in performances])
    touches = np.array([len(performance.event) for performance in performances])
    return {
        "rate": (touches / np.maximum(durations, 0.1))[touches > 1],
        "dt": np.log(np.concatenate([performance.motion[1:, 2] for performance in performances])),
        "width": np.array([np.ptp(position[:, 0]) for position in positions]),
        "height": np.array([np.ptp(position[:, 1]) for position in positions]),
    }


def _wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean absolute difference between the quantiles of two samples, shapes (N,) and (M,)."""
    levels = (np.arange(1000) + 0.5) / 1000
    return float(np.abs(np.quantile(first, levels) - np.quantile(second, levels)).mean())
