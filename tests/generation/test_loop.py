"""The one generation loop: seeded by sequence, whatever the batch; prefixes, temperatures, grids."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Noise, Step
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import make_model, make_run, make_sketch_model, make_touches, random_corpus

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
    together = generate(model, 40, labels(40), bin_width=CELL, seed=5, max_steps=40)
    for batch_size in (1, 7, 64):
        again = generate(model, 40, labels(40), bin_width=CELL, seed=5, max_steps=40, batch_size=batch_size)
        for one, other in zip(together, again, strict=True):
            np.testing.assert_array_equal(one.event, other.event)
            np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_sequences_and_seeds_differ(model: MDNRNN) -> None:
    def motions(seed: int) -> list[bytes]:
        return [drawn.motion.tobytes() for drawn in generate(model, 20, labels(20), seed=seed, max_steps=30)]

    assert len(set(motions(0) + motions(1))) == 40


def test_the_first_drawings_do_not_depend_on_how_many_are_asked_for(model: MDNRNN) -> None:
    few, many = generate(model, 3, labels(3), bin_width=CELL), generate(model, 30, labels(30), bin_width=CELL)
    for one, other in zip(few, many, strict=False):
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_sequences_end_with_end_or_at_the_limit(model: MDNRNN) -> None:
    for drawn in generate(model, 100, labels(100), max_steps=12):
        assert len(drawn.event) == len(drawn.motion) <= 12
        assert (drawn.event[:-1] != END).all()
        assert drawn.event[-1] == END or len(drawn.event) == 12


def test_motions_lie_on_the_grid(model: MDNRNN) -> None:
    for drawn in generate(model, 10, labels(10), bin_width=CELL, max_steps=20):
        steps = drawn.motion / 0.05
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_a_prefix_is_kept_and_gone_on_from() -> None:
    """At temperature 0 the rest of a drawing is drawn again exactly, from any of its beginnings."""
    model = endless(make_model(random_corpus([3]), hidden=16))
    (whole,) = generate(model, 1, sampling=Sampling(temperature=0), max_steps=20)
    for length in (1, 7, 19):
        prefix = Step(torch.from_numpy(whole.motion[:length]), torch.from_numpy(whole.event[:length]))
        (completed,) = generate(model, 1, None, prefix, sampling=Sampling(temperature=0), max_steps=20 - length)
        np.testing.assert_allclose(completed.motion, whole.motion)
        np.testing.assert_array_equal(completed.event, whole.event)


def test_inputs_reach_every_step_and_bound_the_length() -> None:
    corpus = random_corpus([4], inputs=2)
    model = endless(make_model(corpus, hidden=16))
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
    steps, _ = model.step(model.initial_step(1), model.initial_state(1, Condition(torch.zeros(1, dtype=torch.long))))
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
    model = make_model(doodles).float().eval()
    n = 3000
    condition = Condition(torch.zeros(n, dtype=torch.long))
    steps, _ = model.step(model.initial_step(n), model.initial_state(n, condition))
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
def test_temperatures_below_zero_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected 0 or more"):
        Sampling(**settings)


def test_normalized_motions_come_back_as_whole_numbers(doodles: Corpus) -> None:
    normalizer = Normalizer.from_corpus(doodles)
    bin_width = torch.from_numpy(normalizer.bin_widths(doodles.metadata))
    (drawn,) = generate(
        make_model(doodles).float(), 1, Condition(torch.tensor([0])), bin_width=bin_width, max_steps=50
    )
    raw = normalizer.denormalize(drawn.motion)
    np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)


def test_times_are_above_0_and_the_first_is_no_news() -> None:
    corpus = make_touches()
    normalizer, model = Normalizer.from_corpus(corpus), make_model(corpus).float()
    bin_width, first = (torch.from_numpy(normalizer.bin_widths(corpus.metadata, begins)) for begins in (False, True))
    for drawn in generate(model, 5, bin_width=bin_width, first_bin_width=first, max_steps=40):
        raw = normalizer.denormalize(drawn.motion)
        assert drawn.motion[0, 2] == 0
        assert (raw[:, 2] > 0).all()
        assert len(np.unique(raw[:, 2])) == len(raw)  # on no grid
        np.testing.assert_allclose(raw[:, :2] * 1024, np.rint(raw[:, :2] * 1024), atol=1e-2)


@pytest.fixture
def sketch() -> SketchRNN:
    return make_sketch_model(random_corpus([3], classes=("a", "b", "c")), covariance="full").float()


def one_by_one(model: SequenceModel, i: int, seed: int, steps: int, condition: Condition) -> tuple[Tensor, list[int]]:
    """Sequence i by the plainest loop, with all noise from (seed, i): 16 steps at a time, after the latent's if its
    own is drawn."""
    generator = np.random.Generator(np.random.Philox([seed, i]))
    if model.latent and condition.latent is None:
        latent = torch.from_numpy(generator.standard_normal(model.latent, np.float32)).unsqueeze(0)
        condition = condition._replace(latent=latent)
    previous, state = model.initial_step(1), model.initial_state(1, condition)
    motions: list[Tensor] = []
    events: list[int] = []
    while len(events) < steps and END not in events:
        uniform = torch.from_numpy(generator.random((2, 16), np.float32))
        normal = torch.from_numpy(generator.standard_normal((16, 2), np.float32))
        for t in range(min(16, steps - len(events))):
            now = slice(t, t + 1)
            found, state = model.step(previous, state)
            previous = found.transform(Noise(uniform[0, now], uniform[1, now], normal[now]), CELL)
            motions.append(previous.motion[0])
            events.append(int(previous.event))
            if END in events:
                break
    return torch.stack(motions), events


@pytest.mark.parametrize("given", [False, True], ids=["no latent, or from the prior", "a latent that is given"])
@pytest.mark.parametrize("kind", ["an MDN-RNN", "a Sketch-RNN"])
@torch.no_grad()
def test_all_noise_of_a_sequence_comes_from_the_seed_and_its_number(
    model: MDNRNN, sketch: SketchRNN, kind: str, given: bool
) -> None:
    """A latent takes the first of it, where there is one and none is given; drawings without one are what they were."""
    both = (model.eval(), sketch.eval())
    for each in both:
        each.decoder.head.linear.bias[each.decoder.head.shape.size + END] -= 2  # long enough for more noise
    chosen: SequenceModel = both[kind == "a Sketch-RNN"]
    latent = torch.randn(6, 4) if given and chosen.latent else None
    drawn = generate(chosen, 6, labels(6)._replace(latent=latent), seed=3, max_steps=40, bin_width=CELL)
    assert max(len(one.event) for one in drawn) > 16
    for i, one in enumerate(drawn):
        own = None if latent is None else latent[i : i + 1]
        motion, event = one_by_one(chosen, i, 3, 40, Condition(torch.tensor([i % 3]), latent=own))
        np.testing.assert_array_equal(one.event, event)
        np.testing.assert_allclose(one.motion, motion, atol=1e-5)


def test_a_sequence_from_the_prior_is_the_same_drawing_in_any_batch(sketch: SketchRNN) -> None:
    """As above, of the prior and on the grid, slopes and all; false failure below 0.3%, seed fixed."""
    together = generate(sketch, 40, labels(40), bin_width=CELL, seed=5, max_steps=40)
    for n, batch_size in ((40, 1), (40, 7), (40, 64), (5, 256)):
        again = generate(sketch, n, labels(n), bin_width=CELL, seed=5, max_steps=40, batch_size=batch_size)
        assert len(again) == n
        for one, other in zip(together, again, strict=False):
            np.testing.assert_array_equal(one.event, other.event)
            np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_the_latent_that_is_given_is_drawn_from(sketch: SketchRNN) -> None:
    """The same latent and the same noise: the same drawing; another latent: another. At temperature 0 there is no other
    noise: all of one latent are alike."""
    latent = torch.randn(8, 4)
    same = Condition(torch.zeros(8, dtype=torch.long), latent=latent)

    def motions(condition: Condition, **settings: Any) -> list[bytes]:
        drawn = generate(sketch, 8, condition, max_steps=12, **settings)
        return [one.motion.tobytes() for one in drawn]

    first = motions(same)
    assert motions(same) == first
    moved = motions(same._replace(latent=latent + 1))
    assert all(one != other for one, other in zip(first, moved, strict=True))
    assert len(set(motions(same, sampling=Sampling(temperature=0)))) == 8
    alike = same._replace(latent=latent[:1].expand(8, -1))
    assert len(set(motions(alike, sampling=Sampling(temperature=0)))) == 1
    assert len(set(motions(alike))) == 8


@torch.no_grad()
def test_first_steps_from_the_prior_follow_the_marginal_distribution(sketch: SketchRNN) -> None:
    """4,000 of them against 4,000 other latents' own moments: within 5 standard errors of the difference, false
    failure below 1e-5. Latents of another scale would be told."""
    n, sketch = 4000, sketch.eval()
    sketch.start_of.weight *= 12
    zero = torch.zeros(n, dtype=torch.long)
    drawn = generate(sketch, n, Condition(zero), max_steps=1)
    event = np.array([d.event[0] for d in drawn])

    def shares(scale: float) -> np.ndarray:
        """Of each event given each latent (n, E)."""
        latent = scale * torch.randn(n, 4, generator=torch.Generator().manual_seed(1))
        steps, _ = sketch.step(sketch.initial_step(n), sketch.initial_state(n, Condition(zero, latent=latent)))
        return torch.softmax(steps.event_logits, -1).numpy()

    expected = shares(1.0)
    got = np.eye(3)[event]
    error = np.sqrt((got.var(0) + expected.var(0)) / n)
    assert (np.abs(got.mean(0) - expected.mean(0)) < 5 * error).all()
    assert (np.abs(got.mean(0) - shares(0.0).mean(0)) > 5 * error).any()


def test_a_prefix_is_gone_on_from_with_the_latent_that_it_was_drawn_with(sketch: SketchRNN) -> None:
    """At temperature 0 the rest of a drawing is drawn again exactly, from its latent alone."""
    sketch = sketch.double()
    with torch.no_grad():
        sketch.decoder.head.linear.bias[sketch.decoder.head.shape.size + END] = -1e9
    latent, calm = torch.randn(2, 4).double(), Sampling(temperature=0)
    label = torch.tensor([1])
    (whole,) = generate(sketch, 1, Condition(label, latent=latent[:1]), sampling=calm, max_steps=20)
    prefix = Step(torch.from_numpy(whole.motion[:7]), torch.from_numpy(whole.event[:7]))
    both = Condition(label.expand(2), latent=latent)
    same, other = generate(sketch, 2, both, prefix, sampling=calm, max_steps=13)
    np.testing.assert_allclose(same.motion, whole.motion)
    np.testing.assert_allclose(other.motion[:7], whole.motion[:7])
    assert not np.allclose(other.motion[7:], whole.motion[7:])


def test_a_blend_of_one_class_draws_what_its_label_draws(model: MDNRNN, sketch: SketchRNN) -> None:
    for chosen in (model, sketch):
        by_label = generate(chosen, 6, labels(6), max_steps=20)
        by_weights = generate(chosen, 6, Condition(torch.eye(3)[torch.arange(6) % 3]), max_steps=20)
        between = generate(chosen, 6, Condition(torch.full((6, 3), 1 / 3)), max_steps=20)
        for one, other, blend in zip(by_label, by_weights, between, strict=True):
            np.testing.assert_array_equal(one.motion, other.motion)
            assert one.motion.tobytes() != blend.motion.tobytes()


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_beyond_the_classes_is_refused(model: MDNRNN, label: int) -> None:
    with pytest.raises(InputError, match="label"):
        generate(model, 1, Condition(torch.tensor([label])), max_steps=2)


@pytest.mark.parametrize(
    ("n", "max_steps", "complaint"),
    [(-1, 5, "-1 sequences of 5 steps"), (2, 0, "of 0 steps"), (2, np.array([3, 0]), "of 0 steps"),
     (2, np.array([3]), r"max_steps: received shape \(1,\), expected a number or \(2,\)")],
)  # fmt: skip
def test_requests_that_cannot_be(n: int, max_steps: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        generate(make_model(random_corpus([4])), n, max_steps=max_steps)


def test_every_sequence_has_a_limit_of_its_own() -> None:
    """As drawn alone with it; END has no chance here."""
    model = make_model(random_corpus([4])).eval()
    with torch.no_grad():
        model.get_parameter("decoder.head.linear.bias")[-1] = -100.0
    limits = np.array([3, 40, 16, 1])
    drawn = generate(model, 4, max_steps=limits, seed=2)
    assert [len(each.event) for each in drawn] == limits.tolist()
    whole = generate(model, 4, max_steps=40, seed=2)
    for one, other, limit in zip(drawn, whole, limits, strict=True):
        np.testing.assert_array_equal(one.event, other.event[:limit])
        np.testing.assert_allclose(one.motion, other.motion[:limit], atol=1e-5)


def test_what_would_leave_the_bounds_ends_at_them_and_is_gone_on_from() -> None:
    """The same noise without bounds is the same up to the first step that leaves; no place lies beyond them."""
    run = make_run(make_touches())
    bounds = run.bounds()
    assert bounds is not None
    start = Step(torch.tensor([[6.0, 5.0, 0.0]]), torch.tensor([0]))
    draw = partial(generate, run.model, 6, prefix=start, sampling=Sampling(endless=True), max_steps=200, seed=2)
    free, bound = draw(), draw(bounds=bounds)
    low, high = bounds[:, 0].tolist()
    left = 0
    for one, other in zip(free, bound, strict=True):
        free_places, places = (part.motion[:, :2].cumsum(0) for part in (one, other))
        out = np.flatnonzero(((free_places < low) | (free_places > high)).any(1))
        left += len(out) > 0
        first = out[0] if len(out) else 201
        np.testing.assert_allclose(other.motion[:first], one.motion[:first], atol=1e-5)
        assert low - 1e-3 < places.min() < places.max() < high + 1e-3
        if len(out):
            np.testing.assert_allclose(places[first], free_places[first].clip(low, high), atol=1e-3)
    assert left >= 3


def test_touches_are_drawn_on_the_screen() -> None:
    drawn = make_run(make_touches()).generate(20, max_steps=100)
    places = np.concatenate([drawn[i].motion[:, :2].cumsum(0) for i in range(20)])
    assert -1e-4 < places.min() < places.max() < 1 + 1e-4


def test_an_endless_sampling_never_ends() -> None:
    run = make_run(random_corpus([20, 30]))
    drawn = run.generate(20, sampling=Sampling(endless=True), max_steps=150)
    assert drawn.lengths.tolist() == [150] * 20
    assert END not in drawn.event
    assert END in run.generate(20, max_steps=150).event
