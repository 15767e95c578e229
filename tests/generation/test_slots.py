"""Tests that sequences generated in slots, or by worker processes, equal sequences generated one at a time."""

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
from tests.helpers import (
    make_controls,
    make_episodes,
    make_model,
    make_run,
    make_sketch_model,
    make_touches,
    random_corpus,
)

N = 23
"""Number of sequences."""
LIMITS = np.random.default_rng(0).integers(1, 70, N)
LIMITS[5] = 150  # much longer than all remaining sequences
"""Maximum number of new steps of each sequence, shape (N,)."""


def check_equal(sequences: list[GeneratedSequence], expected: list[GeneratedSequence]) -> None:
    """Assert that events are equal, and motions and inputs are equal up to rounding."""
    assert len(sequences) == len(expected)
    for first, second in zip(sequences, expected, strict=True):
        np.testing.assert_array_equal(first.event, second.event)
        np.testing.assert_allclose(first.motion, second.motion, atol=1e-5)
        assert (first.inputs is None) == (second.inputs is None)
        if first.inputs is not None and second.inputs is not None:
            np.testing.assert_allclose(first.inputs, second.inputs, atol=1e-5)


def generate_and_check(
    model: SequenceModel, condition: Condition | None = None, limits: np.ndarray = LIMITS, **options: Any
) -> list[GeneratedSequence]:
    """Generate N sequences in five slots; assert that they equal sequences generated one at a time."""
    in_slots, one_at_a_time = (
        generate(model, N, condition, max_steps=limits, batch_size=batch_size, seed=4, **options)
        for batch_size in (5, 1)
    )
    check_equal(in_slots, one_at_a_time)
    assert len({len(sequence.event) for sequence in in_slots}) > 3
    return in_slots


def make_labels(classes: int) -> Tensor:
    return torch.arange(N) % classes


def make_handwriting_model() -> tuple[HandwritingRNN, Condition]:
    """Return a handwriting model and N texts of 1 to 7 characters."""
    lines = make_pen_text(1, {"train": N})
    torch.manual_seed(1)
    model = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=16, components=3)).double()
    return model, Condition(text=to_code_points([str(lines[i].text)[: 1 + i % 7] for i in range(N)]))


def lower_end_logit(model: MDNRNN) -> MDNRNN:
    """Lower the bias of the END logit by 1, so that sequences have different lengths."""
    with torch.no_grad():
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] -= 1
    return model


def test_slots_with_classes_until_end() -> None:
    model = lower_end_logit(make_model(random_corpus([3], classes=("a", "b", "c"))))
    generate_and_check(model, Condition(make_labels(3)), limits=np.full(N, 200))


def test_slots_with_limit_per_sequence() -> None:
    sequences = generate_and_check(make_model(random_corpus([4])), sampling=Sampling(endless=True))
    assert [len(sequence.event) for sequence in sequences] == LIMITS.tolist()


@pytest.mark.parametrize("covariance", ["full", "per-dimension"])
def test_slots_with_latents(covariance: str) -> None:
    """Latents are sampled from the prior or passed by the caller."""
    model = make_sketch_model(random_corpus([3], classes=("a", "b", "c")), covariance=covariance)
    for latent in (None, torch.randn(N, 4).double()):
        generate_and_check(model, Condition(make_labels(3), latent=latent), sampling=Sampling(endless=True))


def test_slots_with_layer_norm() -> None:
    generate_and_check(make_sketch_model(random_corpus([3]), cell="layer-norm"), sampling=Sampling(endless=True))


def test_slots_with_texts_until_the_window_passes_the_end() -> None:
    generate_and_check(*make_handwriting_model(), limits=np.full(N, 150))


def test_slots_with_prefix() -> None:
    model = lower_end_logit(make_model(random_corpus([3], classes=("a", "b"))))
    prefix = Step(torch.randn(7, 2).double(), torch.tensor([0, 0, 1, 0, 0, 0, 1]))
    sequences = generate_and_check(model, Condition(make_labels(2)), prefix=prefix)
    for sequence in sequences:
        np.testing.assert_array_equal(sequence.motion[:7], prefix.motion)


def test_slots_with_inputs_per_sequence_and_step() -> None:
    inputs = torch.randn(N, 90, 2, dtype=torch.float64)
    model = make_model(random_corpus([4], inputs=2))
    sequences = generate_and_check(model, Condition(inputs=inputs), sampling=Sampling(endless=True))
    for i, sequence in enumerate(sequences):
        assert len(sequence.event) == min(LIMITS[i], 90)
        np.testing.assert_array_equal(sequence.inputs, inputs[i, : len(sequence.event)])
    prefix = Step(torch.randn(3, 2).double(), torch.zeros(3, dtype=torch.long))
    generate_and_check(model, Condition(inputs=inputs), prefix=prefix, sampling=Sampling(endless=True))


def test_slots_with_policy() -> None:
    """A policy reads the motion, the state and the index of each sequence; inputs of first steps are 0."""
    model = make_run(make_episodes(), covariance="per-dimension").model
    assert isinstance(model, MDNRNN)

    def choose_inputs(motion: Tensor, state: Any, indices: Tensor) -> Tensor:
        return torch.stack([torch.tanh(motion[:, 0]) + 0.1 * indices, model.top_hidden(state).sum(1)], 1)

    for sampling in (Sampling(), Sampling(endless=True)):
        sequences = generate_and_check(model, policy=choose_inputs, sampling=sampling)
        for i, sequence in enumerate(sequences):
            assert sequence.inputs is not None
            np.testing.assert_array_equal(sequence.inputs[0], 0)
            expected = np.tanh(sequence.motion[:-1, 0]) + 0.1 * i
            np.testing.assert_allclose(sequence.inputs[1:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("corpus", [make_touches(), make_controls()], ids=["touches", "controls"])
def test_slots_with_bounds_and_bin_widths_of_first_steps(corpus: Any) -> None:
    """Times of first steps are multiples of their bin widths."""
    run = make_run(corpus)
    bin_width, first_bin_width = run.bin_widths()
    sequences = generate_and_check(
        run.model,
        bin_width=bin_width,
        first_bin_width=first_bin_width,
        bounds=run.bounds(),
        sampling=Sampling(endless=True),
    )
    times = list(corpus.metadata.time_features)
    assert first_bin_width is not None
    for sequence in sequences:
        multiples = sequence.motion[0, times] / first_bin_width.numpy()[times]
        np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-3)


def test_prefix_with_all_known_inputs_is_returned_unchanged() -> None:
    """The prefix has as many steps as inputs, so no new steps are generated."""
    model = make_model(random_corpus([4], inputs=2))
    prefix = Step(torch.randn(5, 2).double(), torch.zeros(5, dtype=torch.long), torch.randn(5, 2).double())
    sequences = generate(model, 2, None, prefix)
    for sequence in sequences:
        np.testing.assert_array_equal(sequence.motion, prefix.motion)
        np.testing.assert_array_equal(sequence.inputs, prefix.inputs)
    assert generate(model, 0) == []


def test_worker_processes_generate_equal_sequences_in_order() -> None:
    """Test uneven shares of seven sequences with labels and latents from the prior."""
    model = make_sketch_model(random_corpus([3], classes=("a", "b", "c")))
    draw = partial(generate, model, 7, Condition(make_labels(3)[:7]), max_steps=LIMITS[:7], seed=4)
    check_equal(draw(workers=3), draw())


def test_more_workers_than_sequences_generate_equal_sequences() -> None:
    model = make_model(random_corpus([4]))
    prefix = Step(torch.randn(3, 2).double(), torch.zeros(3, dtype=torch.long))
    check_equal(*(generate(model, 2, None, prefix, max_steps=5, workers=workers) for workers in (4, 1)))


def test_invalid_number_of_workers_raises() -> None:
    model = make_model(random_corpus([4], inputs=2))
    with pytest.raises(InputError, match="workers: received 0, expected 1 or more"):
        generate(model, 2, workers=0)
    with pytest.raises(InputError, match="workers: received 2 with a policy, expected 1"):
        generate(model, 2, policy=lambda motion, state, indices: torch.zeros(len(indices), 2), workers=2)


def test_killed_worker_process_raises() -> None:
    with pytest.raises(InputError, match="one of 2 worker processes was killed"):
        map_in_processes(os._exit, [1, 1], 2)
