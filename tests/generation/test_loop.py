"""Tests of `generate`: reproducibility, limits, grids, prefixes, inputs, latents, bounds, statistics, errors."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.pen_events import END
from tests.generation.helpers import assert_same_sequences, generate_reference
from tests.helpers import make_model, make_run, make_sketch_model, make_touches, random_corpus

BIN_WIDTH = torch.full((2,), 0.05)
MOST_PROBABLE = Sampling(temperature=0)


@pytest.fixture
def model() -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(StepShape(classes=3), MDNRNNConfig(hidden=32, components=4, layers=2))


@pytest.fixture
def sketch() -> SketchRNN:
    return make_sketch_model(random_corpus([3], classes=("a", "b", "c")), covariance="full").float()


def make_labels(n: int) -> Condition:
    return Condition(torch.arange(n) % 3)


@torch.no_grad()
def shift_end_logit(model: MDNRNN | SketchRNN, shift: float) -> None:
    model.decoder.head.linear.bias[model.decoder.head.shape.size + END] += shift


def test_sequences_do_not_depend_on_the_batch_size(model: MDNRNN) -> None:
    """Batch sizes 1, 7 and 64 use different kernels; rounding to the grid hides their rounding errors.

    Noise within 1e-6 of a boundary could give another sequence: with about 40 x 20 steps x 3 draws, false failure below
    0.3%; the seed is fixed.
    """
    expected = generate(model, 40, make_labels(40), bin_width=BIN_WIDTH, seed=5, max_steps=40)
    for batch_size in (1, 7, 64):
        actual = generate(model, 40, make_labels(40), bin_width=BIN_WIDTH, seed=5, max_steps=40, batch_size=batch_size)
        assert_same_sequences(actual, expected)


def test_sequences_with_different_indices_or_seeds_differ(model: MDNRNN) -> None:
    def motions(seed: int) -> list[bytes]:
        sequences = generate(model, 20, make_labels(20), seed=seed, max_steps=30)
        return [sequence.motion.tobytes() for sequence in sequences]

    assert len(set(motions(0) + motions(1))) == 40


def test_first_sequences_do_not_depend_on_the_number_of_sequences(model: MDNRNN) -> None:
    few, many = (generate(model, n, make_labels(n), bin_width=BIN_WIDTH) for n in (3, 30))
    assert_same_sequences(few, many[:3])


def test_sequences_end_with_end_or_at_the_limit(model: MDNRNN) -> None:
    for sequence in generate(model, 100, make_labels(100), max_steps=12):
        assert len(sequence.event) == len(sequence.motion) <= 12
        assert (sequence.event[:-1] != END).all()
        assert sequence.event[-1] == END or len(sequence.event) == 12


def test_motions_are_on_the_grid(model: MDNRNN) -> None:
    for sequence in generate(model, 10, make_labels(10), bin_width=BIN_WIDTH, max_steps=20):
        multiples = sequence.motion / 0.05
        np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-4)


def test_continuation_of_a_prefix_equals_the_rest_of_the_sequence() -> None:
    """At temperature 0 a sequence has no noise."""
    model = make_model(random_corpus([3]), hidden=16)
    shift_end_logit(model, -1e9)
    (whole,) = generate(model, 1, sampling=MOST_PROBABLE, max_steps=20)
    for length in (1, 7, 19):
        prefix = Step(torch.from_numpy(whole.motion[:length]), torch.from_numpy(whole.event[:length]))
        (continued,) = generate(model, 1, None, prefix, sampling=MOST_PROBABLE, max_steps=20 - length)
        np.testing.assert_allclose(continued.motion, whole.motion)
        np.testing.assert_array_equal(continued.event, whole.event)


def test_inputs_affect_their_step_and_limit_the_length() -> None:
    model = make_model(random_corpus([4], inputs=2), hidden=16)
    shift_end_logit(model, -1e9)
    inputs = torch.randn(2, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = inputs.clone()
    changed[:, 5] += 1
    before, after = (generate(model, 2, Condition(None, part), sampling=MOST_PROBABLE) for part in (inputs, changed))
    for one, other in zip(before, after, strict=True):
        assert len(one.motion) == 9
        np.testing.assert_array_equal(one.motion[:5], other.motion[:5])
        assert not np.allclose(one.motion[5], other.motion[5])


def test_first_steps_have_the_moments_of_the_models_distribution(model: MDNRNN) -> None:
    """4,000 first steps: means and event frequencies are within 5 standard errors; false failure below 1e-5."""
    model.eval()
    n = 4000
    sequences = generate(model, n, Condition(torch.zeros(n, dtype=torch.long)), max_steps=1)
    state = model.initial_state(1, Condition(torch.zeros(1, dtype=torch.long)))
    steps, _ = model.step(model.initial_step(1), state)
    motion = np.stack([sequence.motion[0] for sequence in sequences])
    mean, variance = (part.detach().numpy()[0] for part in (steps.motion.mean, steps.motion.variance))
    assert (np.abs(motion.mean(0) - mean) < 5 * np.sqrt(variance / n)).all()
    probabilities = steps.event_probs.detach().numpy()[0]
    frequencies = np.bincount([sequence.event[0] for sequence in sequences], minlength=3) / n
    assert (np.abs(frequencies - probabilities) < 5 * np.sqrt(probabilities * (1 - probabilities) / n)).all()


@torch.no_grad()
def test_mean_log_prob_of_generated_steps_equals_that_of_samples(doodles: Corpus) -> None:
    """3,000 generated first steps and 3,000 samples of the distribution; within 5 standard errors of the difference,
    false failure below 1e-5."""
    model = make_model(doodles).float().eval()
    n = 3000
    condition = Condition(torch.zeros(n, dtype=torch.long))
    steps, _ = model.step(model.initial_step(n), model.initial_state(n, condition))
    sequences = generate(model, n, condition, max_steps=1)
    motion = torch.from_numpy(np.stack([sequence.motion[0] for sequence in sequences]))
    event = torch.tensor([int(sequence.event[0]) for sequence in sequences])
    generated = steps.log_prob(Step(motion, event))
    sampled = steps.log_prob(steps.sample(generator=torch.Generator().manual_seed(0)))
    error = math.sqrt((float(generated.var()) + float(sampled.var())) / n)
    assert abs(float(generated.mean() - sampled.mean())) < 5 * error


def test_generation_restores_training_mode(model: MDNRNN) -> None:
    model.train()
    generate(model, 1, make_labels(1), max_steps=2)
    assert model.training


@pytest.mark.parametrize("settings", [{"temperature": -0.1}, {"temperature": math.nan}, {"scale_temperature": -1.0}])
def test_invalid_temperatures_are_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected a number >= 0"):
        Sampling(**settings)


def test_denormalized_motions_are_integers(doodles: Corpus) -> None:
    normalizer = Normalizer.from_corpus(doodles)
    bin_width = torch.from_numpy(normalizer.bin_widths(doodles.metadata))
    model = make_model(doodles).float()
    (sequence,) = generate(model, 1, Condition(torch.tensor([0])), bin_width=bin_width, max_steps=50)
    raw = normalizer.denormalize(sequence.motion)
    np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)


def test_times_are_positive_and_the_first_time_is_zero() -> None:
    """Times are continuous except for the first one; positions are on a grid."""
    corpus = make_touches()
    normalizer, model = Normalizer.from_corpus(corpus), make_model(corpus).float()
    bin_width, first = (torch.from_numpy(normalizer.bin_widths(corpus.metadata, first)) for first in (False, True))
    for sequence in generate(model, 5, bin_width=bin_width, first_bin_width=first, max_steps=40):
        raw = normalizer.denormalize(sequence.motion)
        assert sequence.motion[0, 2] == 0
        assert (raw[:, 2] > 0).all()
        assert len(np.unique(raw[:, 2])) == len(raw)
        np.testing.assert_allclose(raw[:, :2] * 1024, np.rint(raw[:, :2] * 1024), atol=1e-2)


@pytest.mark.parametrize("is_given", [False, True], ids=["prior", "given latent"])
@pytest.mark.parametrize("kind", ["MDN-RNN", "Sketch-RNN"])
def test_all_noise_of_a_sequence_comes_from_the_seed_and_its_index(
    model: MDNRNN, sketch: SketchRNN, kind: str, is_given: bool
) -> None:
    """Sequences equal the reference, which takes the latent, if none is given, from the start of the noise stream."""
    chosen: MDNRNN | SketchRNN = sketch if kind == "Sketch-RNN" else model
    chosen.eval()
    shift_end_logit(chosen, -2)  # sequences longer than a chunk of noise
    latent = torch.randn(6, 4) if is_given and chosen.latent else None
    condition = make_labels(6)._replace(latent=latent)
    sequences = generate(chosen, 6, condition, seed=3, max_steps=40, bin_width=BIN_WIDTH)
    assert max(len(sequence.event) for sequence in sequences) > 16
    expected = []
    for i in range(6):
        part = Condition(torch.tensor([i % 3]), latent=None if latent is None else latent[i : i + 1])
        expected.append(generate_reference(chosen, i, 3, 40, part, bin_width=BIN_WIDTH))
    assert_same_sequences(sequences, expected)


def test_sequences_from_the_prior_do_not_depend_on_batch_size_or_number(sketch: SketchRNN) -> None:
    """With full covariances, on a grid; false failure below 0.3%, the seed is fixed."""
    expected = generate(sketch, 40, make_labels(40), bin_width=BIN_WIDTH, seed=5, max_steps=40)
    for n, batch_size in ((40, 1), (40, 7), (40, 64), (5, 256)):
        actual = generate(sketch, n, make_labels(n), bin_width=BIN_WIDTH, seed=5, max_steps=40, batch_size=batch_size)
        assert_same_sequences(actual, expected[:n])


def test_sequences_depend_on_the_given_latent(sketch: SketchRNN) -> None:
    """At temperature 0 sequences depend on the latent only."""
    latent = torch.randn(8, 4)
    condition = Condition(torch.zeros(8, dtype=torch.long), latent=latent)

    def motions(condition: Condition, **settings: Any) -> list[bytes]:
        sequences = generate(sketch, 8, condition, max_steps=12, **settings)
        return [sequence.motion.tobytes() for sequence in sequences]

    first = motions(condition)
    assert motions(condition) == first
    moved = motions(condition._replace(latent=latent + 1))
    assert all(one != other for one, other in zip(first, moved, strict=True))
    assert len(set(motions(condition, sampling=MOST_PROBABLE))) == 8
    shared = condition._replace(latent=latent[:1].expand(8, -1))
    assert len(set(motions(shared, sampling=MOST_PROBABLE))) == 1
    assert len(set(motions(shared))) == 8


@torch.no_grad()
def test_first_events_from_the_prior_have_the_marginal_probabilities(sketch: SketchRNN) -> None:
    """4,000 generated events, and event probabilities given 4,000 latents from the prior; within 5 standard errors of
    the difference, false failure below 1e-5. Latents of scale 0 would fail."""
    n, sketch = 4000, sketch.eval()
    sketch.initial_layer.weight *= 12
    labels = torch.zeros(n, dtype=torch.long)
    sequences = generate(sketch, n, Condition(labels), max_steps=1)
    generated = np.eye(3)[[sequence.event[0] for sequence in sequences]]

    def event_probabilities(scale: float) -> np.ndarray:
        """Return event probabilities given latents of the given scale, shape (n, 3)."""
        latent = scale * torch.randn(n, 4, generator=torch.Generator().manual_seed(1))
        steps, _ = sketch.step(sketch.initial_step(n), sketch.initial_state(n, Condition(labels, latent=latent)))
        return torch.softmax(steps.event_logits, -1).numpy()

    expected = event_probabilities(1.0)
    error = np.sqrt((generated.var(0) + expected.var(0)) / n)
    assert (np.abs(generated.mean(0) - expected.mean(0)) < 5 * error).all()
    assert (np.abs(generated.mean(0) - event_probabilities(0.0).mean(0)) > 5 * error).any()


def test_continuation_of_a_prefix_depends_on_the_latent(sketch: SketchRNN) -> None:
    """At temperature 0, with the latent of the sequence, the continuation equals the rest of the sequence."""
    sketch = sketch.double()
    shift_end_logit(sketch, -1e9)
    latent, label = torch.randn(2, 4).double(), torch.tensor([1])
    (whole,) = generate(sketch, 1, Condition(label, latent=latent[:1]), sampling=MOST_PROBABLE, max_steps=20)
    prefix = Step(torch.from_numpy(whole.motion[:7]), torch.from_numpy(whole.event[:7]))
    condition = Condition(label.expand(2), latent=latent)
    same, other = generate(sketch, 2, condition, prefix, sampling=MOST_PROBABLE, max_steps=13)
    np.testing.assert_allclose(same.motion, whole.motion)
    np.testing.assert_allclose(other.motion[:7], whole.motion[:7])
    assert not np.allclose(other.motion[7:], whole.motion[7:])


def test_blend_of_one_class_equals_its_label(model: MDNRNN, sketch: SketchRNN) -> None:
    models: list[SequenceModel] = [model, sketch]
    for chosen in models:
        by_label = generate(chosen, 6, make_labels(6), max_steps=20)
        by_weights = generate(chosen, 6, Condition(torch.eye(3)[torch.arange(6) % 3]), max_steps=20)
        blends = generate(chosen, 6, Condition(torch.full((6, 3), 1 / 3)), max_steps=20)
        for one, other, blend in zip(by_label, by_weights, blends, strict=True):
            np.testing.assert_array_equal(one.motion, other.motion)
            assert one.motion.tobytes() != blend.motion.tobytes()


@pytest.mark.parametrize("label", [3, -1])
def test_invalid_labels_are_errors(model: MDNRNN, label: int) -> None:
    with pytest.raises(InputError, match=f"label: received {label} to {label}, expected 0 to 2"):
        generate(model, 1, Condition(torch.tensor([label])), max_steps=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n: received -1 sequences, expected a whole number >= 0"),
        ({"seed": -1}, "seed: received -1, expected a whole number >= 0"),
        ({"max_steps": 0}, "max_steps: received 0, expected a whole number >= 1"),
        ({"max_steps": np.array([3, 0])}, "max_steps: received 0, expected a whole number >= 1"),
        ({"max_steps": np.array([3])}, r"max_steps: received shape \(1,\), expected a number or \(2,\)"),
    ],
    ids=["n", "seed", "limit", "limits", "shape"],
)
def test_invalid_arguments_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(make_model(random_corpus([4])), **{"n": 2, **arguments})


def test_each_sequence_has_its_own_limit() -> None:
    """Sequences equal the start of those with a common limit; END has probability 0."""
    model = make_model(random_corpus([4])).eval()
    shift_end_logit(model, -100)
    limits = np.array([3, 40, 16, 1])
    sequences = generate(model, 4, max_steps=limits, seed=2)
    assert [len(sequence.event) for sequence in sequences] == limits.tolist()
    whole = generate(model, 4, max_steps=40, seed=2)
    for one, other, limit in zip(sequences, whole, limits, strict=True):
        np.testing.assert_array_equal(one.event, other.event[:limit])
        np.testing.assert_allclose(one.motion, other.motion[:limit], atol=1e-5)


def test_motions_are_shortened_at_the_bounds() -> None:
    """Sequences equal those without bounds up to the first step that leaves the bounds, which ends at the bounds."""
    run = make_run(make_touches())
    bounds = run.bounds()
    assert bounds is not None
    prefix = Step(torch.tensor([[6.0, 5.0, 0.0]]), torch.tensor([0]))
    run_generate = partial(
        generate, run.model, 6, prefix=prefix, sampling=Sampling(endless=True), max_steps=200, seed=2
    )
    low, high = bounds[:, 0].tolist()
    leaving = 0
    for free, bounded in zip(run_generate(), run_generate(bounds=bounds), strict=True):
        free_positions, positions = (part.motion[:, :2].cumsum(0) for part in (free, bounded))
        outside = np.flatnonzero(((free_positions < low) | (free_positions > high)).any(1))
        first = outside[0] if len(outside) else 201
        leaving += len(outside) > 0
        np.testing.assert_allclose(bounded.motion[:first], free.motion[:first], atol=1e-5)
        assert low - 1e-3 < positions.min() < positions.max() < high + 1e-3
        if len(outside):
            np.testing.assert_allclose(positions[first], free_positions[first].clip(low, high), atol=1e-3)
    assert leaving >= 3


def test_generated_touches_are_on_the_screen() -> None:
    sequences = make_run(make_touches()).generate(20, max_steps=100)
    positions = np.concatenate([sequences[i].motion[:, :2].cumsum(0) for i in range(20)])
    assert -1e-4 < positions.min() < positions.max() < 1 + 1e-4


def test_endless_sampling_gives_the_maximum_number_of_steps() -> None:
    run = make_run(random_corpus([20, 30]))
    sequences = run.generate(20, sampling=Sampling(endless=True), max_steps=150)
    assert sequences.lengths.tolist() == [150] * 20
    assert END not in sequences.event
    assert END in run.generate(20, max_steps=150).event
