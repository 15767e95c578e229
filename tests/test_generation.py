"""The one generation loop: seeded by sequence, whatever the batch; prefixes, temperatures, grids."""

import math

import numpy as np
import pytest
import torch

from mdnrnn.data.corpus import Corpus, Normalizer
from mdnrnn.distributions import END, Step
from mdnrnn.errors import InputError
from mdnrnn.generation import Sampling, generate
from mdnrnn.models.base import Condition, StepShape
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig
from tests.conftest import random_corpus, small_model

CELL = torch.full((2,), 0.05)


@pytest.fixture
def model() -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(StepShape(classes=3), MDNRNNConfig(hidden=32, components=4, layers=2))


def labels(n: int) -> Condition:
    return Condition(torch.arange(n) % 3)


def endless(model: MDNRNN) -> MDNRNN:
    """END is never drawn."""
    with torch.no_grad():
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] = -1e9
    return model


def test_a_sequence_is_the_same_drawing_in_any_batch(model: MDNRNN) -> None:
    """Batches of 1, 7 and 64 take different kernels; rounding to the grid hides their last bits. A draw that falls
    within 1e-6 of a boundary would differ: about 40 x 20 steps x 3 draws, so false failure below 0.3%; seed fixed."""
    together = generate(model, 40, labels(40), cell=CELL, seed=5, max_steps=40)
    for batch_size in (1, 7, 64):
        again = generate(model, 40, labels(40), cell=CELL, seed=5, max_steps=40, batch_size=batch_size)
        for one, other in zip(together, again, strict=True):
            np.testing.assert_array_equal(one.event, other.event)
            np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_sequences_and_seeds_differ(model: MDNRNN) -> None:
    def motions(seed: int) -> list[bytes]:
        return [drawn.motion.tobytes() for drawn in generate(model, 20, labels(20), seed=seed, max_steps=30)]

    assert len(set(motions(0) + motions(1))) == 40


def test_the_first_drawings_do_not_depend_on_how_many_are_asked_for(model: MDNRNN) -> None:
    few, many = generate(model, 3, labels(3), cell=CELL), generate(model, 30, labels(30), cell=CELL)
    for one, other in zip(few, many, strict=False):
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_sequences_end_with_end_or_at_the_limit(model: MDNRNN) -> None:
    for drawn in generate(model, 100, labels(100), max_steps=12):
        assert len(drawn.event) == len(drawn.motion) <= 12
        assert (drawn.event[:-1] != END).all()
        assert drawn.event[-1] == END or len(drawn.event) == 12


def test_motions_lie_on_the_grid(model: MDNRNN) -> None:
    for drawn in generate(model, 10, labels(10), cell=CELL, max_steps=20):
        steps = drawn.motion / 0.05
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_a_prefix_is_kept_and_gone_on_from() -> None:
    """At temperature 0 the rest of a drawing is drawn again exactly, from any of its beginnings."""
    model = endless(small_model(random_corpus([3]), hidden=16))
    (whole,) = generate(model, 1, sampling=Sampling(temperature=0), max_steps=20)
    for length in (1, 7, 19):
        prefix = Step(torch.from_numpy(whole.motion[:length]), torch.from_numpy(whole.event[:length]))
        (completed,) = generate(model, 1, None, prefix, sampling=Sampling(temperature=0), max_steps=20 - length)
        np.testing.assert_allclose(completed.motion, whole.motion)
        np.testing.assert_array_equal(completed.event, whole.event)


def test_inputs_reach_every_step_and_bound_the_length() -> None:
    corpus = random_corpus([4], inputs=2)
    model = endless(small_model(corpus, hidden=16))
    inputs = torch.randn(2, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = inputs.clone()
    changed[:, 5] += 1
    calm = Sampling(temperature=0)
    before, after = (generate(model, 2, Condition(None, given), sampling=calm) for given in (inputs, changed))
    for one, other in zip(before, after, strict=True):
        assert len(one.motion) == 9
        np.testing.assert_array_equal(one.motion[:5], other.motion[:5])
        assert not np.allclose(one.motion[5], other.motion[5])


def test_first_steps_follow_the_models_own_distribution(model: MDNRNN) -> None:
    """4,000 first steps: mean and event shares within 5 standard errors; false failure below 1e-5."""
    model.eval()
    n = 4000
    zero = Condition(torch.zeros(n, dtype=torch.long))
    drawn = generate(model, n, zero, max_steps=1)
    steps, _ = model.step(model.start(1), model.initial_state(1, Condition(torch.zeros(1, dtype=torch.long))))
    motion = np.stack([d.motion[0] for d in drawn])
    mean, variance = (part.detach().numpy()[0] for part in (steps.motion.mean, steps.motion.variance))
    assert (np.abs(motion.mean(0) - mean) < 5 * np.sqrt(variance / n)).all()
    share = steps.mean.event.detach().numpy()[0]
    got = np.bincount([d.event[0] for d in drawn], minlength=3) / n
    assert (np.abs(got - share) < 5 * np.sqrt(share * (1 - share) / n)).all()


@torch.no_grad()
def test_likelihood_of_what_is_drawn_is_the_entropy_of_the_model(doodles: Corpus) -> None:
    """Generation and evaluation agree: the mean of log p over 3,000 drawn first steps is that over fresh samples of
    the distribution itself, within 5 standard errors of both; false failure below 1e-5."""
    model = small_model(doodles).float().eval()
    n = 3000
    condition = Condition(torch.zeros(n, dtype=torch.long))
    steps, _ = model.step(model.start(n), model.initial_state(n, condition))
    drawn = generate(model, n, condition, max_steps=1)
    motion = torch.from_numpy(np.stack([d.motion[0] for d in drawn]))
    ours = steps.log_prob(Step(motion, torch.tensor([int(d.event[0]) for d in drawn])))
    fresh = steps.log_prob(steps.sample(generator=torch.Generator().manual_seed(0)))
    error = math.sqrt((float(ours.var()) + float(fresh.var())) / n)
    assert abs(float(ours.mean() - fresh.mean())) < 5 * error


def test_generation_leaves_the_model_in_training_as_it_was(model: MDNRNN) -> None:
    model.train()
    generate(model, 1, labels(1), max_steps=2)
    assert model.training


@pytest.mark.parametrize("settings", [{"temperature": -0.1}, {"temperature": math.nan}, {"scale_temperature": -1.0}])
def test_temperatures_below_zero_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected 0 or more"):
        Sampling(**settings)


def test_normalised_motions_come_back_as_whole_numbers(doodles: Corpus) -> None:
    normalizer = Normalizer.of_strokes(doodles)
    cell = torch.from_numpy(normalizer.cell(1.0))
    (drawn,) = generate(small_model(doodles).float(), 1, Condition(torch.tensor([0])), cell=cell, max_steps=50)
    raw = normalizer.restore(drawn.motion)
    np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)
