"""Sequences that begin where others have ended are what they are alone."""

import os
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batches import to_code_points
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.slots import GeneratedSequence
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.multiprocess import map_in_processes
from tests.helpers import make_controls, make_episodes, make_model, make_run, make_sketch_model, make_touches, random_corpus

N = 23
LIMITS = np.random.default_rng(0).integers(1, 70, N)
LIMITS[5] = 150
"""One goes on long after all others."""


def same(together: list[GeneratedSequence], alone: list[GeneratedSequence]) -> None:
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.event, other.event)
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)
        assert (one.inputs is None) == (other.inputs is None)
        if one.inputs is not None and other.inputs is not None:
            np.testing.assert_allclose(one.inputs, other.inputs, atol=1e-5)


def in_turn_and_alone(
    model: SequenceModel, condition: Condition | None = None, limits: np.ndarray = LIMITS, **how: Any
) -> list[GeneratedSequence]:
    """Five at a time, each beginning when it can, and one at a time."""
    together, alone = (
        generate(model, N, condition, max_steps=limits, batch_size=size, seed=4, **how) for size in (5, 1)
    )
    same(together, alone)
    assert len({len(each.event) for each in together}) > 3
    return together


def labels(classes: int) -> Tensor:
    return torch.arange(N) % classes


def writer() -> tuple[HandwritingRNN, Condition]:
    lines = make_pen_text(4, {"train": 30})
    torch.manual_seed(1)
    model = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=16, components=3)).double()
    return model, Condition(text=to_code_points([str(lines[i].text)[: 1 + i % 7] for i in range(N)]))


def quick(model: MDNRNN) -> MDNRNN:
    """END comes sooner or later."""
    with torch.no_grad():
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] -= 1
    return model


def test_drawings_of_classes_that_end_when_they_end() -> None:
    model = quick(make_model(random_corpus([3], classes=("a", "b", "c"))))
    in_turn_and_alone(model, Condition(labels(3)), limits=np.full(N, 200))


def test_drawings_of_a_length_each() -> None:
    drawn = in_turn_and_alone(make_model(random_corpus([4])), sampling=Sampling(endless=True))
    assert [len(each.event) for each in drawn] == LIMITS.tolist()


@pytest.mark.parametrize("covariance", ["full", "per-dimension"])
def test_drawings_from_the_prior(covariance: str) -> None:
    sketch = make_sketch_model(random_corpus([3], classes=("a", "b", "c")), covariance=covariance)
    for latent in (None, torch.randn(N, 4).double()):
        in_turn_and_alone(sketch, Condition(labels(3), latent=latent), sampling=Sampling(endless=True))


def test_drawings_of_layer_normalized_cells() -> None:
    in_turn_and_alone(make_sketch_model(random_corpus([3]), cell="layer-norm"), sampling=Sampling(endless=True))


def test_lines_of_texts_that_the_window_leaves() -> None:
    in_turn_and_alone(*writer(), limits=np.full(N, 150))


def test_completions_go_on_from_the_prefix_and_the_noise_after_it() -> None:
    model = quick(make_model(random_corpus([3], classes=("a", "b"))))
    prefix = Step(torch.randn(7, 2).double(), torch.tensor([0, 0, 1, 0, 0, 0, 1]))
    drawn = in_turn_and_alone(model, Condition(labels(2)), prefix=prefix)
    for each in drawn:
        np.testing.assert_array_equal(each.motion[:7], prefix.motion)


def test_inputs_are_those_of_each_sequences_own_step() -> None:
    inputs = torch.randn(N, 90, 2, dtype=torch.float64)
    model = make_model(random_corpus([4], inputs=2))
    drawn = in_turn_and_alone(model, Condition(inputs=inputs), sampling=Sampling(endless=True))
    for i, each in enumerate(drawn):
        assert len(each.event) == min(LIMITS[i], 90)
        np.testing.assert_array_equal(each.inputs, inputs[i, : len(each.event)])
    prefix = Step(torch.randn(3, 2).double(), torch.zeros(3, dtype=torch.long))
    in_turn_and_alone(model, Condition(inputs=inputs), prefix=prefix, sampling=Sampling(endless=True))


def test_a_policy_acts_on_each_sequences_own_steps_and_never_before_the_first() -> None:
    world = make_run(make_episodes(), covariance="per-dimension").model
    assert isinstance(world, MDNRNN)

    def act(motion: Tensor, state: Any, numbers: Tensor) -> Tensor:
        return torch.stack([torch.tanh(motion[:, 0]) + 0.1 * numbers, world.top_hidden(state).sum(1)], 1)

    for sampling in (Sampling(), Sampling(endless=True)):
        drawn = in_turn_and_alone(world, policy=act, sampling=sampling)
        for i, each in enumerate(drawn):
            assert each.inputs is not None
            np.testing.assert_array_equal(each.inputs[0], 0)
            expected = np.tanh(each.motion[:-1, 0]) + 0.1 * i
            np.testing.assert_allclose(each.inputs[1:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("corpus", [make_touches(), make_controls()], ids=["touches", "controls"])
def test_first_steps_are_on_their_own_grid_and_all_within_bounds(corpus: Any) -> None:
    run = make_run(corpus)
    bin_width, first = run.bin_widths()
    drawn = in_turn_and_alone(
        run.model, bin_width=bin_width, first_bin_width=first, bounds=run.bounds(), sampling=Sampling(endless=True)
    )
    times = list(corpus.metadata.time_features)
    assert first is not None
    for each in drawn:
        steps = each.motion[0, times] / first.numpy()[times]
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_sequences_without_steps_to_draw_are_their_prefix() -> None:
    model = make_model(random_corpus([4], inputs=2))
    prefix = Step(torch.randn(5, 2).double(), torch.zeros(5, dtype=torch.long), torch.randn(5, 2).double())
    drawn = generate(model, 2, None, prefix)
    for each in drawn:
        np.testing.assert_array_equal(each.motion, prefix.motion)
        np.testing.assert_array_equal(each.inputs, prefix.inputs)
    assert generate(model, 0) == []


def test_processes_draw_what_one_does() -> None:
    """In the same order, of classes and from the prior, whatever the model's weights are by now."""
    sketch = make_sketch_model(random_corpus([3], classes=("a", "b", "c")))
    draw = partial(generate, sketch, 7, Condition(labels(3)[:7]), max_steps=LIMITS[:7], seed=4)
    same(draw(workers=3), draw())
    model = make_model(random_corpus([4]))
    prefix = Step(torch.randn(3, 2).double(), torch.zeros(3, dtype=torch.long))
    same(*(generate(model, 2, None, prefix, max_steps=5, workers=workers) for workers in (4, 1)))


def test_workers_that_cannot_be_are_refused() -> None:
    model = make_model(random_corpus([4], inputs=2))
    with pytest.raises(InputError, match="workers: received 0, expected 1 or more"):
        generate(model, 2, workers=0)
    with pytest.raises(InputError, match="beside a policy, which acts in one process"):
        generate(model, 2, policy=lambda motion, state, numbers: torch.zeros(len(numbers), 2), workers=2)


def test_a_process_that_is_ended_is_told_of() -> None:
    with pytest.raises(InputError, match="one of 2 worker processes was killed"):
        map_in_processes(os._exit, [1, 1], 2)
