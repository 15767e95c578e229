"""Stopping rules of a run read motions in raw units."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.corpus import Corpus
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.stopping import StepHistory
from mdnrnn.pen_events import DOWN, END
from mdnrnn.tasks.performer import Performer
from tests.helpers import make_controls, make_episodes, make_run, make_touches, random_corpus

CORPORA = {
    "drawings": random_corpus([20, 9]),
    "drawings without a grid": random_corpus([20, 9], bin_width=None),
    "touches": make_touches(),
    "streams": make_controls(),
    "episodes": make_episodes(),
}


class Recorder:
    """Stopping rule that keeps the longest history of a batch and ends no sequence."""

    def __init__(self) -> None:
        self.motion = self.length = np.zeros(0)

    def __call__(self, history: StepHistory) -> Tensor:
        self.motion, self.length = history.motion.numpy(), history.length.numpy()
        return torch.zeros(len(self.length), dtype=torch.bool)


@pytest.mark.parametrize("with_prefix", [False, True], ids=["no prefix", "prefix"])
@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_rule_reads_the_motions_of_the_result(corpus: Corpus, with_prefix: bool) -> None:
    """The last history contains the whole sequences; times are in seconds, 0 in the first step."""
    run, recorder, prefix = make_run(corpus), Recorder(), None
    options: dict[str, Any] = {"seed": 2, "max_steps": 12}
    if with_prefix:
        prefix = corpus[0]._replace(motion=corpus[0].motion[:4], event=corpus[0].event[:4], inputs=None)
    if run.config.shape.inputs:
        options["inputs"] = np.ones((3, 30, 2), np.float32)
    sampling = Sampling(endless=True, stop=recorder)
    generated = run.generate(3, prefix=prefix, sampling=sampling, **options)
    for i in range(3):
        motion = generated[i].motion
        assert recorder.length[i] == len(motion)
        np.testing.assert_allclose(recorder.motion[i, -len(motion) :], motion, rtol=1e-5, atol=1e-5)


def test_rule_in_raw_units_ends_drawings_at_a_frame() -> None:
    """All positions but the last one are inside of a square of 100 units around the beginning."""

    def leave_frame(history: StepHistory) -> Tensor:
        return (history.position[:, -1].abs() > 100).any(1)

    run = make_run(random_corpus([40, 60]))
    drawings = run.generate(20, sampling=Sampling(endless=True, stop=leave_frame), max_steps=200)
    assert len(set(drawings.lengths.tolist())) > 5
    for i in range(20):
        outside = (np.abs(drawings[i].motion.cumsum(0)) > 100).any(1)
        assert not outside[:-1].any()
        assert outside[-1] or len(outside) == 200


@pytest.mark.parametrize("corpus", [CORPORA["drawings"], CORPORA["touches"]], ids=["drawings", "touches"])
def test_played_steps_obey_the_rule_and_the_stroke_limits(corpus: Corpus) -> None:
    """They are those of sequence 0 of `Run.generate`, up to its end; after `reset`, counting starts again."""

    def travel(history: StepHistory) -> Tensor:
        return history.motion[..., :2].norm(dim=-1).sum(1) > far

    run = make_run(corpus)
    far = 20 * float(np.linalg.norm(corpus.motion[:, :2], axis=1).mean())
    for sampling in (
        Sampling(min_strokes=3, max_strokes=3), Sampling(endless=True, max_strokes=4, top_p=0.9),
        Sampling(endless=True, stop=travel), Sampling(event_temperature=0.5, min_strokes=5, stop=travel),
    ):  # fmt: skip
        expected = run.generate(1, sampling=sampling, seed=3, max_steps=200)[0]
        assert 2 < len(expected.event) < 200
        performer = Performer(run, sampling=sampling, seed=3)
        steps = [performer.play() for _ in expected.event]
        np.testing.assert_allclose([step.motion for step in steps], expected.motion, atol=1e-5)
        assert [step.event for step in steps] == expected.event.tolist()
        performer.reset()
        assert performer.play().event != END


def test_observed_steps_count() -> None:
    """A performer that has observed a prefix continues like `Run.generate`."""

    def after_ten_steps(history: StepHistory) -> Tensor:
        return history.length >= 10

    corpus = CORPORA["drawings"]
    run, prefix = make_run(corpus), corpus[0]._replace(motion=corpus[0].motion[:6], event=corpus[0].event[:6])
    strokes = int((prefix.event != DOWN).sum())
    for sampling in (
        Sampling(max_strokes=strokes + 2, endless=True),
        Sampling(min_strokes=strokes + 2, max_strokes=strokes + 2),
        Sampling(endless=True, stop=after_ten_steps),
    ):
        expected = run.generate(1, prefix=prefix, sampling=sampling, seed=1, max_steps=100)[0].event[6:]
        performer = Performer(run, sampling=sampling, seed=1)
        for motion, event in zip(prefix.motion, prefix.event, strict=True):
            performer.observe(motion, int(event))
        assert [performer.play().event for _ in expected] == expected.tolist()
