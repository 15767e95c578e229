"""Tests of `generate`: noise per sequence, batch sizes, prefixes, temperatures, grids, bounds and limits."""

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

BIN_WIDTH = torch.full((2,), 0.05)


@pytest.fixture
def model() -> MDNRNN:
    """Return an MDN-RNN with three classes."""
    torch.manual_seed(0)
    return MDNRNN(StepShape(classes=3), MDNRNNConfig(hidden=32, components=4, layers=2))


@pytest.fixture
def sketch_model() -> SketchRNN:
    """Return a Sketch-RNN with three classes and Z = 4, in float32."""
    return make_sketch_model(random_corpus([3], classes=("a", "b", "c")), covariance="full").float()


def make_labels(n: int) -> Condition:
    return Condition(torch.arange(n) % 3)


def exclude_end(model: MDNRNN) -> MDNRNN:
    """Set the bias of the END logit so low that END is never sampled."""
    with torch.no_grad():
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] = -1e9
    return model


def test_sequences_do_not_depend_on_the_batch_size(model: MDNRNN) -> None:
    """Batches of 1, 7 and 64 use different kernels, and rounding to the grid removes differences in the last bits.

    Noise within 1e-6 of a boundary would give a different step: about 40 x 20 steps x 3 choices, so false failure below
    0.3%; the seed is fixed.
    """
    reference = generate(model, 40, make_labels(40), bin_width=BIN_WIDTH, seed=5, max_steps=40)
    for batch_size in (1, 7, 64):
        sequences = generate(
            model, 40, make_labels(40), bin_width=BIN_WIDTH, seed=5, max_steps=40, batch_size=batch_size
        )
        for expected, sequence in zip(reference, sequences, strict=True):
            np.testing.assert_array_equal(expected.event, sequence.event)
            np.testing.assert_allclose(expected.motion, sequence.motion, atol=1e-5)


def test_sequences_and_seeds_give_different_motions(model: MDNRNN) -> None:
    def generate_motions(seed: int) -> list[bytes]:
        sequences = generate(model, 20, make_labels(20), seed=seed, max_steps=30)
        return [sequence.motion.tobytes() for sequence in sequences]

    assert len(set(generate_motions(0) + generate_motions(1))) == 40


def test_first_sequences_do_not_depend_on_the_number_of_sequences(model: MDNRNN) -> None:
    few, many = (generate(model, n, make_labels(n), bin_width=BIN_WIDTH) for n in (3, 30))
    for first, second in zip(few, many, strict=False):
        np.testing.assert_allclose(first.motion, second.motion, atol=1e-5)


def test_sequences_end_with_end_or_at_the_limit(model: MDNRNN) -> None:
    for sequence in generate(model, 100, make_labels(100), max_steps=12):
        assert len(sequence.event) == len(sequence.motion) <= 12
        assert (sequence.event[:-1] != END).all()
        assert sequence.event[-1] == END or len(sequence.event) == 12


def test_motions_are_multiples_of_the_bin_width(model: MDNRNN) -> None:
    for sequence in generate(model, 10, make_labels(10), bin_width=BIN_WIDTH, max_steps=20):
        multiples = sequence.motion / 0.05
        np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-4)


def test_prefix_is_kept_and_continued() -> None:
    """At temperature 0, every prefix of a sequence is completed to the same sequence."""
    model = exclude_end(make_model(random_corpus([3]), hidden=16))
    (whole,) = generate(model, 1, sampling=Sampling(temperature=0), max_steps=20)
    for length in (1, 7, 19):
        prefix = Step(torch.from_numpy(whole.motion[:length]), torch.from_numpy(whole.event[:length]))
        (completed,) = generate(model, 1, None, prefix, sampling=Sampling(temperature=0), max_steps=20 - length)
        np.testing.assert_allclose(completed.motion, whole.motion)
        np.testing.assert_array_equal(completed.event, whole.event)


def test_inputs_affect_their_step_and_limit_the_length() -> None:
    corpus = random_corpus([4], inputs=2)
    model = exclude_end(make_model(corpus, hidden=16))
    inputs = torch.randn(2, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = inputs.clone()
    changed[:, 5] += 1
    sampling = Sampling(temperature=0)
    before, after = (generate(model, 2, Condition(None, part), sampling=sampling) for part in (inputs, changed))
    for first, second in zip(before, after, strict=True):
        assert len(first.motion) == 9
        np.testing.assert_array_equal(first.motion[:5], second.motion[:5])
        assert not np.allclose(first.motion[5], second.motion[5])


def test_first_steps_follow_the_distribution_of_the_model(model: MDNRNN) -> None:
    """4,000 first steps: means and event frequencies within 5 standard errors; false failure below 1e-5."""
    model.eval()
    n = 4000
    condition = Condition(torch.zeros(n, dtype=torch.long))
    sequences = generate(model, n, condition, max_steps=1)
    state = model.initial_state(1, Condition(torch.zeros(1, dtype=torch.long)))
    distribution, _ = model.step(model.initial_step(1), state)
    motion = np.stack([sequence.motion[0] for sequence in sequences])
    mean, variance = (part.detach().numpy()[0] for part in (distribution.motion.mean, distribution.motion.variance))
    assert (np.abs(motion.mean(0) - mean) < 5 * np.sqrt(variance / n)).all()
    expected = distribution.mean.event.detach().numpy()[0]
    frequencies = np.bincount([sequence.event[0] for sequence in sequences], minlength=3) / n
    assert (np.abs(frequencies - expected) < 5 * np.sqrt(expected * (1 - expected) / n)).all()


@torch.no_grad()
def test_log_likelihood_of_generated_steps_equals_that_of_samples(doodles: Corpus) -> None:
    """The mean of log p over 3,000 generated first steps equals the mean over samples of the distribution.

    Tolerance: 5 standard errors of the difference; false failure below 1e-5.
    """
    model = make_model(doodles).float().eval()
    n = 3000
    condition = Condition(torch.zeros(n, dtype=torch.long))
    distribution, _ = model.step(model.initial_step(n), model.initial_state(n, condition))
    sequences = generate(model, n, condition, max_steps=1)
    motion = torch.from_numpy(np.stack([sequence.motion[0] for sequence in sequences]))
    generated = distribution.log_prob(Step(motion, torch.tensor([int(sequence.event[0]) for sequence in sequences])))
    sampled = distribution.log_prob(distribution.sample(generator=torch.Generator().manual_seed(0)))
    error = math.sqrt((float(generated.var()) + float(sampled.var())) / n)
    assert abs(float(generated.mean() - sampled.mean())) < 5 * error


def test_generation_keeps_training_mode(model: MDNRNN) -> None:
    model.train()
    generate(model, 1, make_labels(1), max_steps=2)
    assert model.training


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -0.1}, {"temperature": math.nan}, {"scale_temperature": -1.0}],
    ids=["negative", "NaN", "negative scale"],
)
def test_invalid_temperature_raises(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"temperature: received .*, expected a number >= 0"):
        Sampling(**settings)


def test_denormalized_motions_are_integers(doodles: Corpus) -> None:
    normalizer = Normalizer.from_corpus(doodles)
    bin_width = torch.from_numpy(normalizer.bin_widths(doodles.metadata))
    model, condition = make_model(doodles).float(), Condition(torch.tensor([0]))
    (sequence,) = generate(model, 1, condition, bin_width=bin_width, max_steps=50)
    raw = normalizer.denormalize(sequence.motion)
    np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)


def test_times_are_positive_and_continuous_and_the_first_is_constant() -> None:
    corpus = make_touches()
    normalizer, model = Normalizer.from_corpus(corpus), make_model(corpus).float()
    bin_width, first_bin_width = (
        torch.from_numpy(normalizer.bin_widths(corpus.metadata, is_first)) for is_first in (False, True)
    )
    for sequence in generate(model, 5, bin_width=bin_width, first_bin_width=first_bin_width, max_steps=40):
        raw = normalizer.denormalize(sequence.motion)
        assert sequence.motion[0, 2] == 0
        assert (raw[:, 2] > 0).all()
        assert len(np.unique(raw[:, 2])) == len(raw)  # continuous times do not repeat
        np.testing.assert_allclose(raw[:, :2] * 1024, np.rint(raw[:, :2] * 1024), atol=1e-2)


def generate_reference(
    model: SequenceModel, i: int, seed: int, max_steps: int, condition: Condition
) -> tuple[Tensor, list[int]]:
    """Generate sequence i with a simple loop over `model.step`.

    All noise comes from (seed, i): first the latent, if the model has one and the condition does not, then the noise of
    16 steps at a time.
    """
    generator = np.random.Generator(np.random.Philox([seed, i]))
    if model.latent and condition.latent is None:
        latent = torch.from_numpy(generator.standard_normal(model.latent, np.float32)).unsqueeze(0)
        condition = condition._replace(latent=latent)
    previous, state = model.initial_step(1), model.initial_state(1, condition)
    motions: list[Tensor] = []
    events: list[int] = []
    while len(events) < max_steps and END not in events:
        uniform = torch.from_numpy(generator.random((2, 16), np.float32))
        normal = torch.from_numpy(generator.standard_normal((16, 2), np.float32))
        for t in range(min(16, max_steps - len(events))):
            step = slice(t, t + 1)
            distribution, state = model.step(previous, state)
            previous = distribution.transform(Noise(uniform[0, step], uniform[1, step], normal[step]), BIN_WIDTH)
            motions.append(previous.motion[0])
            events.append(int(previous.event))
            if END in events:
                break
    return torch.stack(motions), events


@pytest.mark.parametrize("pass_latent", [False, True], ids=["no latent passed", "latent passed"])
@pytest.mark.parametrize("kind", ["MDN-RNN", "Sketch-RNN"])
@torch.no_grad()
def test_noise_of_a_sequence_depends_on_seed_and_index_only(
    model: MDNRNN, sketch_model: SketchRNN, kind: str, pass_latent: bool
) -> None:
    """`generate` equals the reference loop. An MDN-RNN has no latent, so the option has no effect on it."""
    for decoder_model in (model.eval(), sketch_model.eval()):
        head = decoder_model.decoder.head
        head.linear.bias[head.shape.size + END] -= 2  # sequences longer than 16 steps need a second chunk of noise
    tested: SequenceModel = sketch_model if kind == "Sketch-RNN" else model
    latent = torch.randn(6, 4) if pass_latent and tested.latent else None
    condition = make_labels(6)._replace(latent=latent)
    sequences = generate(tested, 6, condition, seed=3, max_steps=40, bin_width=BIN_WIDTH)
    assert max(len(sequence.event) for sequence in sequences) > 16
    for i, sequence in enumerate(sequences):
        row_latent = None if latent is None else latent[i : i + 1]
        motion, event = generate_reference(tested, i, 3, 40, Condition(torch.tensor([i % 3]), latent=row_latent))
        np.testing.assert_array_equal(sequence.event, event)
        np.testing.assert_allclose(sequence.motion, motion, atol=1e-5)


def test_sequences_from_the_prior_do_not_depend_on_batch_size_or_number(sketch_model: SketchRNN) -> None:
    """As `test_sequences_do_not_depend_on_the_batch_size`, for a Sketch-RNN with full covariance.

    False failure below 0.3%; the seed is fixed.
    """
    reference = generate(sketch_model, 40, make_labels(40), bin_width=BIN_WIDTH, seed=5, max_steps=40)
    for n, batch_size in ((40, 1), (40, 7), (40, 64), (5, 256)):
        sequences = generate(
            sketch_model, n, make_labels(n), bin_width=BIN_WIDTH, seed=5, max_steps=40, batch_size=batch_size
        )
        assert len(sequences) == n
        for expected, sequence in zip(reference, sequences, strict=False):
            np.testing.assert_array_equal(expected.event, sequence.event)
            np.testing.assert_allclose(expected.motion, sequence.motion, atol=1e-5)


def test_sequences_depend_on_the_latent(sketch_model: SketchRNN) -> None:
    """Equal latents and equal noise give equal sequences, and different latents give different sequences.

    At temperature 0 the latent is the only source of variation.
    """
    latent = torch.randn(8, 4)
    condition = Condition(torch.zeros(8, dtype=torch.long), latent=latent)

    def generate_motions(condition: Condition, **settings: Any) -> list[bytes]:
        sequences = generate(sketch_model, 8, condition, max_steps=12, **settings)
        return [sequence.motion.tobytes() for sequence in sequences]

    motions = generate_motions(condition)
    assert generate_motions(condition) == motions
    moved = generate_motions(condition._replace(latent=latent + 1))
    assert all(first != second for first, second in zip(motions, moved, strict=True))
    assert len(set(generate_motions(condition, sampling=Sampling(temperature=0)))) == 8
    equal_latents = condition._replace(latent=latent[:1].expand(8, -1))
    assert len(set(generate_motions(equal_latents, sampling=Sampling(temperature=0)))) == 1
    assert len(set(generate_motions(equal_latents))) == 8


@torch.no_grad()
def test_first_steps_from_the_prior_follow_the_marginal_distribution(sketch_model: SketchRNN) -> None:
    """Event frequencies of 4,000 sequences equal the mean event probabilities of 4,000 other latents.

    Tolerance: 5 standard errors of the difference; false failure below 1e-5. Latents of scale 0 would fail.
    """
    n, sketch_model = 4000, sketch_model.eval()
    sketch_model.start_of.weight *= 12
    labels = torch.zeros(n, dtype=torch.long)
    sequences = generate(sketch_model, n, Condition(labels), max_steps=1)
    event = np.array([sequence.event[0] for sequence in sequences])

    def compute_event_probabilities(scale: float) -> np.ndarray:
        """Return the event probabilities given each latent, shape (n, E), for latents of the given scale."""
        latent = scale * torch.randn(n, 4, generator=torch.Generator().manual_seed(1))
        state = sketch_model.initial_state(n, Condition(labels, latent=latent))
        distribution, _ = sketch_model.step(sketch_model.initial_step(n), state)
        return torch.softmax(distribution.event_logits, -1).numpy()

    expected = compute_event_probabilities(1.0)
    one_hot = np.eye(3)[event]
    error = np.sqrt((one_hot.var(0) + expected.var(0)) / n)
    assert (np.abs(one_hot.mean(0) - expected.mean(0)) < 5 * error).all()
    assert (np.abs(one_hot.mean(0) - compute_event_probabilities(0.0).mean(0)) > 5 * error).any()


def test_prefix_is_continued_with_the_latent_of_its_sequence(sketch_model: SketchRNN) -> None:
    """At temperature 0, a prefix and the latent of its sequence give the same sequence; another latent does not."""
    sketch_model = sketch_model.double()
    with torch.no_grad():
        sketch_model.decoder.head.linear.bias[sketch_model.decoder.head.shape.size + END] = -1e9
    latent, sampling = torch.randn(2, 4).double(), Sampling(temperature=0)
    label = torch.tensor([1])
    (whole,) = generate(sketch_model, 1, Condition(label, latent=latent[:1]), sampling=sampling, max_steps=20)
    prefix = Step(torch.from_numpy(whole.motion[:7]), torch.from_numpy(whole.event[:7]))
    condition = Condition(label.expand(2), latent=latent)
    same, other = generate(sketch_model, 2, condition, prefix, sampling=sampling, max_steps=13)
    np.testing.assert_allclose(same.motion, whole.motion)
    np.testing.assert_allclose(other.motion[:7], whole.motion[:7])
    assert not np.allclose(other.motion[7:], whole.motion[7:])


def test_one_hot_class_weights_equal_the_label(model: MDNRNN, sketch_model: SketchRNN) -> None:
    for tested in (model, sketch_model):
        by_label = generate(tested, 6, make_labels(6), max_steps=20)
        by_weights = generate(tested, 6, Condition(torch.eye(3)[torch.arange(6) % 3]), max_steps=20)
        blended = generate(tested, 6, Condition(torch.full((6, 3), 1 / 3)), max_steps=20)
        for first, second, blend in zip(by_label, by_weights, blended, strict=True):
            np.testing.assert_array_equal(first.motion, second.motion)
            assert first.motion.tobytes() != blend.motion.tobytes()


@pytest.mark.parametrize("label", [3, -1])
def test_label_out_of_range_raises(model: MDNRNN, label: int) -> None:
    with pytest.raises(InputError, match=f"label: received {label} to {label}, expected 0 to 2"):
        generate(model, 1, Condition(torch.tensor([label])), max_steps=2)


@pytest.mark.parametrize(
    ("n", "max_steps", "message"),
    [
        (-1, 5, "n: received -1 sequences, expected a whole number >= 0"),
        (2, 0, "max_steps: received 0, expected a whole number >= 1"),
        (2, np.array([3, 0]), "max_steps: received 0, expected a whole number >= 1"),
        (2, np.array([3]), r"max_steps: received shape \(1,\), expected a number or \(2,\)"),
    ],
    ids=["negative n", "0 steps", "0 steps in array", "array shape"],
)
def test_invalid_number_of_sequences_or_steps_raises(n: int, max_steps: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(make_model(random_corpus([4])), n, max_steps=max_steps)


def test_limit_per_sequence_only_truncates() -> None:
    """Each sequence equals the first steps of the sequence without its limit; END is never sampled."""
    model = make_model(random_corpus([4])).eval()
    with torch.no_grad():
        model.get_parameter("decoder.head.linear.bias")[-1] = -100.0
    limits = np.array([3, 40, 16, 1])
    sequences = generate(model, 4, max_steps=limits, seed=2)
    assert [len(sequence.event) for sequence in sequences] == limits.tolist()
    whole = generate(model, 4, max_steps=40, seed=2)
    for sequence, expected, limit in zip(sequences, whole, limits, strict=True):
        np.testing.assert_array_equal(sequence.event, expected.event[:limit])
        np.testing.assert_allclose(sequence.motion, expected.motion[:limit], atol=1e-5)


def test_positions_are_clipped_to_the_bounds() -> None:
    """Up to the first step out of bounds, bounds change nothing; all positions lie within the bounds."""
    run = make_run(make_touches())
    bounds = run.bounds()
    assert bounds is not None
    prefix = Step(torch.tensor([[6.0, 5.0, 0.0]]), torch.tensor([0]))
    draw = partial(generate, run.model, 6, prefix=prefix, sampling=Sampling(endless=True), max_steps=200, seed=2)
    unbounded, bounded = draw(), draw(bounds=bounds)
    low, high = bounds[:, 0].tolist()
    clipped_sequences = 0
    for free, clipped in zip(unbounded, bounded, strict=True):
        free_positions, positions = (part.motion[:, :2].cumsum(0) for part in (free, clipped))
        outside = np.flatnonzero(((free_positions < low) | (free_positions > high)).any(1))
        clipped_sequences += len(outside) > 0
        first = outside[0] if len(outside) else 201
        np.testing.assert_allclose(clipped.motion[:first], free.motion[:first], atol=1e-5)
        assert low - 1e-3 < positions.min() < positions.max() < high + 1e-3
        if len(outside):
            np.testing.assert_allclose(positions[first], free_positions[first].clip(low, high), atol=1e-3)
    assert clipped_sequences >= 3


def test_generated_touches_lie_on_the_screen() -> None:
    touches = make_run(make_touches()).generate(20, max_steps=100)
    positions = np.concatenate([touches[i].motion[:, :2].cumsum(0) for i in range(20)])
    assert -1e-4 < positions.min() < positions.max() < 1 + 1e-4


def test_endless_sampling_never_gives_end() -> None:
    run = make_run(random_corpus([20, 30]))
    corpus = run.generate(20, sampling=Sampling(endless=True), max_steps=150)
    assert corpus.lengths.tolist() == [150] * 20
    assert END not in corpus.event
    assert END in run.generate(20, max_steps=150).event
