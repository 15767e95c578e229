"""A touch model beside RoboJam of the same size, trained for as long in the same run, and beside the null model."""

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
from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, finished
from mdnrnn.data.formats.microjam import LONGEST_MOVE
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.device import choose_device, full_precision
from mdnrnn.distributions import Step
from mdnrnn.events import DOWN, START, UP
from mdnrnn.generation.loop import Sampling
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run, load
from mdnrnn.runs.train import train
from mdnrnn.tasks.performance import RESPONSE_SAMPLING, check_touches, respond
from mdnrnn.training.trainer import fit

_ANSWERS, _SECONDS, _NULL_STEPS = 200, 5.0, 5000
_ROBOJAM_RATE = 6e-3
"""Learning rate at which RoboJam learns fastest here; with the published 1e-3 it has hardly begun after minutes."""
_ROBOJAM_SAMPLING = Sampling(temperature=1.5, scale_temperature=0.01)


@dataclass(frozen=True, kw_only=True)
class TapFigures:
    """How well taps are told from touches that go on, on held-out events but each performance's first."""

    accuracy: float
    found: float
    """Share of the taps that are taken for taps."""
    right: float
    """Share of what is taken for taps that is one."""

    @classmethod
    def of(cls, taken: np.ndarray, true: np.ndarray) -> TapFigures:
        """Of booleans (N,)."""
        found = float((taken & true).sum())
        return cls(accuracy=float((taken == true).mean()), found=found / true.sum(), right=found / max(1, taken.sum()))


@dataclass(frozen=True, kw_only=True)
class Distances:
    """How far answers lie from real performances: Wasserstein distances, each over the real ones' deviation."""

    rate: float
    """Of touches a second."""
    dt: float
    """Of the logs of the times between touches."""
    width: float
    """Of the part of the screen that is used."""
    height: float


@dataclass(frozen=True, kw_only=True)
class TouchBenchmark:
    """Nats an event of the test split, in raw units; taps; answers to its performances."""

    ours: float
    robojam: float
    """Its ends cost it nothing."""
    null: float
    events: int
    predicted: TapFigures
    """From the events before."""
    inferred: TapFigures
    """From the event's own place and time, too."""
    robojam_predicted: TapFigures
    robojam_inferred: TapFigures
    rule: TapFigures
    """A touch comes down where dt is over 0.1 s."""
    answers: Distances
    """From the first five seconds of all held-out performances, as `respond` draws by default."""
    answers_at_temperature_one: Distances
    answers_as_robojam_samples: Distances
    """At temperatures 1.5 and 0.01."""
    null_answers: Distances
    whole: int
    """How many of the answers have times above 0 and end in time, with a touch to follow after it."""
    asked: int
    minutes: float
    hidden: int
    layers: int
    machine: Machine


def benchmark_touch(data: str, *, minutes: float = 10.0, out: Path | None = None, seed: int = 0) -> TouchBenchmark:
    """Train both, one after the other, and measure; `out` keeps our run."""
    corpus, preset = open_corpus(data), PRESETS["touch"]
    check_touches(corpus.metadata)
    training = replace(preset.training, minutes=minutes, seed=seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary) / "run"
        raise_if_interrupted(train(preset, data, folder, training=training))
        run = load(folder)
    likelihood, held_out = run.evaluate("test"), Batches(corpus, "test", run.config.normalizer)
    theirs = _robojam(corpus, run, minutes, seed)
    own, other = taps(run, held_out), robojam.taps(theirs, held_out)
    calls = [corpus[i] for i in corpus.indices("test")]
    real = [_begun(corpus[i]) for split in ("valid", "test") for i in corpus.indices(split)]
    longer = _answers(run, calls, RESPONSE_SAMPLING, 2 * _SECONDS)
    answers, null = [_begun(one) for one in longer], _null_answers(calls, corpus, run.config.normalizer, seed)
    dt = np.concatenate([call.motion[1:, 2] for call in sorted(calls, key=lambda one: len(one.event))])
    return TouchBenchmark(
        ours=likelihood.nll_per_point,
        robojam=robojam.nll(theirs, held_out),
        null=likelihood.null_nll_per_point,
        events=likelihood.points,
        predicted=TapFigures.of(own.predicted, own.true),
        inferred=TapFigures.of(own.inferred, own.true),
        robojam_predicted=TapFigures.of(other.predicted, other.true),
        robojam_inferred=TapFigures.of(other.inferred, other.true),
        rule=TapFigures.of(dt > LONGEST_MOVE, own.true),
        answers=_distances(answers, real),
        answers_at_temperature_one=_distances(_answers(run, calls, Sampling()), real),
        answers_as_robojam_samples=_distances(_answers(run, calls, _ROBOJAM_SAMPLING), real),
        null_answers=_distances(null, real),
        whole=sum(map(_is_whole, answers, longer)),
        asked=len(answers),
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
    model.head.initialize(torch.cat([model.rows(batch) for batch in data]))  # not published: it is the stronger for it
    raise_if_interrupted(fit(model, data, valid, config=training))
    return model


@full_precision()
@torch.no_grad()
def taps(run: Run, data: Batches) -> Taps:
    """Which events of a split are taps, and which the run takes for taps: all but each performance's first, in order of
    lengths.

    What an event's place and time tell is Bayes' rule: p(tap | motion) is in proportion to p(tap) p(motion | tap), the
    event before, which says that a tap follows, being an input.
    """
    device = next(run.model.parameters()).device
    parts = [torch.stack(list(_taps_of(run, batch.to(device)))) for batch in data]
    return Taps(*torch.cat(parts, 1).cpu().numpy())


def _taps_of(run: Run, batch: Batch) -> Iterator[Tensor]:
    """Predicted, inferred and true, of a batch's rows but the first of each sequence."""
    assert batch.bin_width is not None
    model, later = run.model, batch.previous.event != START
    lifted = model(batch).event_logits[:, [DOWN, UP]]  # whether a tap follows is said a row before
    before = torch.log_softmax(lifted, -1).roll(1, 0)
    motion, bin_widths, event = map(batch.pad, (batch.target.motion, batch.bin_width, batch.target.event.unsqueeze(-1)))
    previous, state = model.start(batch.size), model.initial_state(batch.size)
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
    """Answers to the calls in turn."""
    found = []
    for number, call in enumerate(calls):
        wanted = len(range(number, _ANSWERS, len(calls)))
        answers = respond(run, call, wanted, seconds=seconds, sampling=sampling, seed=number) if wanted else ()
        found += [answers[i] for i in range(len(answers))]
    return found


def _begun(performance: Sequence) -> Sequence:
    """What was played in as long as an answer lasts."""
    time = performance.motion[:, 2].astype(np.float64).cumsum()
    within = time - time[0] <= _SECONDS
    motion = performance.motion[within].copy()
    motion[0, 2] = 0
    return Sequence(motion, finished(performance.event[within]))


def _null_answers(calls: list[Sequence], corpus: Corpus, normalizer: Normalizer, seed: int) -> list[Sequence]:
    """What one Gaussian over offsets and logs of times answers, and the events' shares: from where each call ends, kept
    on the screen step by step, as long as ours."""
    rng, rows = np.random.default_rng(seed), corpus.rows("train")
    motion = normalizer.normalize(corpus.motion[rows][~corpus.begins(rows)], None, np.float64)
    mean, covariance = motion.mean(0), np.cov(motion.T)
    shares = np.bincount(corpus.event[rows], minlength=3)[[DOWN, UP]]
    found = []
    for number in range(_ANSWERS):
        steps = normalizer.restore(rng.multivariate_normal(mean, covariance, _NULL_STEPS))
        steps[0, 2] = 0
        steps = steps[steps[:, 2].cumsum() <= _SECONDS]
        place = calls[number % len(calls)].motion[:, :2].astype(np.float64).sum(0)
        places = []
        for offset in steps[:, :2]:
            place = (place + offset).clip(0, 1)
            places.append(place)
        steps[:, :2] = np.diff(places, axis=0, prepend=np.zeros((1, 2)))
        event = rng.choice([DOWN, UP], len(steps), p=shares / shares.sum())
        found.append(Sequence(steps, finished(event)))
    return found


def _is_whole(answer: Sequence, longer: Sequence) -> bool:
    """Whether times are above 0, the last touch is within the time, and the one that follows in the `longer` is not."""
    times, on = answer.motion[:, 2], longer.motion[: len(answer.event) + 1, 2].astype(np.float64)
    follows = len(on) == len(times) or on.sum() > _SECONDS  # none within twice the time: a wait that ends after it
    return bool(times[0] == 0 and (times[1:] > 0).all() and times.sum() <= _SECONDS and follows)


def _distances(answers: list[Sequence], real: list[Sequence]) -> Distances:
    ours, theirs = _statistics(answers), _statistics(real)
    return Distances(**{name: _wasserstein(ours[name], theirs[name]) / float(theirs[name].std()) for name in ours})


def _statistics(performances: list[Sequence]) -> dict[str, np.ndarray]:
    places = [performance.motion[:, :2].cumsum(0) for performance in performances]
    durations = np.array([performance.motion[1:, 2].sum() for performance in performances])
    touches = np.array([len(performance.event) for performance in performances])
    return {
        "rate": (touches / np.maximum(durations, 0.1))[touches > 1],
        "dt": np.log(np.concatenate([performance.motion[1:, 2] for performance in performances])),
        "width": np.array([np.ptp(place[:, 0]) for place in places]),
        "height": np.array([np.ptp(place[:, 1]) for place in places]),
    }


def _wasserstein(one: np.ndarray, other: np.ndarray) -> float:
    """The mean distance between the quantiles of two samples (N,), (M,)."""
    levels = (np.arange(1000) + 0.5) / 1000
    return float(np.abs(np.quantile(one, levels) - np.quantile(other, levels)).mean())
