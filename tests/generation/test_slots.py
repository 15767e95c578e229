"""Tests of batched generation in slots and in worker processes: sequences equal those generated one at a time."""

import os
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batch import to_code_points
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.generation import loop
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.slots import GeneratedSequence
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.multiprocess import map_in_processes
from mdnrnn.pen_events import END
from tests.generation.helpers import assert_same_sequences
from tests.helpers import (
    each_core,
    make_controls,
    make_episodes,
    make_model,
    make_run,
    make_sketch_model,
    make_touches,
    random_corpus,
)

N = 13
LIMITS = np.random.default_rng(0).integers(1, 40, N)
LIMITS[5] = 80  # remains when all other sequences have ended
ENDLESS = Sampling(endless=True)


def check_slots(
    model: SequenceModel, condition: Condition | None = None, limits: np.ndarray = LIMITS, **options: Any
) -> list[GeneratedSequence]:
    """Compare sequences generated in five slots with those generated one at a time; return the former."""
    in_slots, single = (
        generate(model, N, condition, max_steps=limits, batch_size=size, seed=4, **options) for size in (5, 1)
    )
    assert_same_sequences(in_slots, single)
    assert len({len(sequence.event) for sequence in in_slots}) > 3
    return in_slots


def make_labels(classes: int) -> Tensor:
    return torch.arange(N) % classes


def make_text_model() -> tuple[HandwritingRNN, Condition]:
    lines = make_pen_text(4, {"train": 4})
    torch.manual_seed(1)
    model = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=16, components=3)).double()
    return model, Condition(text=to_code_points([str(lines[i].text)[: 1 + i % 7] for i in range(N)]))


def lower_end_logit(model: MDNRNN) -> MDNRNN:
    """Make END less probable, so that sequences have different lengths."""
    with torch.no_grad():
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] -= 1
    return model


@each_core
def test_slots_with_end_events_and_labels(core: dict[str, Any]) -> None:
    model = lower_end_logit(make_model(random_corpus([3], classes=("a", "b", "c")), **core))
    check_slots(model, Condition(make_labels(3)), limits=np.full(N, 200))


@each_core
def test_slots_with_individual_limits(core: dict[str, Any]) -> None:
    sequences = check_slots(make_model(random_corpus([4]), **core), sampling=ENDLESS)
    assert [len(sequence.event) for sequence in sequences] == LIMITS.tolist()


@pytest.mark.parametrize("covariance", ["full", "per-dimension"])
def test_slots_with_latents(covariance: str) -> None:
    """From the prior and given."""
    sketch = make_sketch_model(random_corpus([3], classes=("a", "b", "c")), covariance=covariance)
    for latent in (None, torch.randn(N, 4).double()):
        check_slots(sketch, Condition(make_labels(3), latent=latent), sampling=ENDLESS)


def test_slots_with_layer_norm() -> None:
    check_slots(make_sketch_model(random_corpus([3]), cell="layer-norm"), sampling=ENDLESS)


def test_slots_with_texts_that_the_window_passes() -> None:
    check_slots(*make_text_model(), limits=np.full(N, 150))


@each_core
def test_slots_with_a_prefix(core: dict[str, Any]) -> None:
    model = lower_end_logit(make_model(random_corpus([3], classes=("a", "b")), **core))
    prefix = Step(torch.randn(7, 2).double(), torch.tensor([0, 0, 1, 0, 0, 0, 1]))
    for sequence in check_slots(model, Condition(make_labels(2)), prefix=prefix):
        np.testing.assert_array_equal(sequence.motion[:7], prefix.motion)


@each_core
def test_slots_with_inputs(core: dict[str, Any]) -> None:
    """Each sequence reads the inputs of its own steps, with and without a prefix."""
    inputs = torch.randn(N, 60, 2, dtype=torch.float64)
    model = make_model(random_corpus([4], inputs=2), **core)
    for i, sequence in enumerate(check_slots(model, Condition(inputs=inputs), sampling=ENDLESS)):
        assert len(sequence.event) == min(LIMITS[i], 60)
        np.testing.assert_array_equal(sequence.inputs, inputs[i, : len(sequence.event)])
    prefix = Step(torch.randn(3, 2).double(), torch.zeros(3, dtype=torch.long))
    check_slots(model, Condition(inputs=inputs), prefix=prefix, sampling=ENDLESS)


@each_core
@pytest.mark.parametrize("sampling", [Sampling(), ENDLESS], ids=["default", "endless"])
def test_slots_with_a_policy(sampling: Sampling, core: dict[str, Any]) -> None:
    """The policy reads the previous motion, the state and the index of each sequence; inputs of first steps are 0."""
    world = make_run(make_episodes(), covariance="per-dimension", **core).model.double()
    assert isinstance(world, MDNRNN)
    with torch.no_grad():
        world.decoder.head.linear.bias[-1] -= 3  # END less probable

    def policy(motion: Tensor, state: Any, indices: Tensor) -> Tensor:
        return torch.stack([torch.tanh(motion[:, 0]) + 0.1 * indices, world.top_hidden(state).sum(1)], 1)

    for i, sequence in enumerate(check_slots(world, policy=policy, sampling=sampling)):
        assert sequence.inputs is not None
        np.testing.assert_array_equal(sequence.inputs[0], 0)
        expected = np.tanh(sequence.motion[:-1, 0]) + 0.1 * i
        np.testing.assert_allclose(sequence.inputs[1:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("corpus", [make_touches(), make_controls()], ids=["touches", "controls"])
def test_slots_with_first_bin_widths_and_bounds(corpus: Corpus) -> None:
    run = make_run(corpus)
    bin_width, first = run.bin_widths()
    assert first is not None
    times = list(corpus.metadata.time_features)
    sequences = check_slots(
        run.model, bin_width=bin_width, first_bin_width=first, bounds=run.bounds(), sampling=ENDLESS
    )
    for sequence in sequences:
        multiples = sequence.motion[0, times] / first.numpy()[times]
        np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-3)


def test_sequences_without_new_steps_equal_the_prefix() -> None:
    """The known inputs are those of the prefix."""
    model = make_model(random_corpus([4], inputs=2))
    prefix = Step(torch.randn(5, 2).double(), torch.zeros(5, dtype=torch.long), torch.randn(5, 2).double())
    for sequence in generate(model, 2, None, prefix):
        np.testing.assert_array_equal(sequence.motion, prefix.motion)
        np.testing.assert_array_equal(sequence.inputs, prefix.inputs)
    assert generate(model, 0) == []


def test_worker_processes_generate_the_same_sequences() -> None:
    """With labels, latents from the prior and sampling options."""
    sampling = Sampling(top_p=0.9, event_temperature=0.8, min_strokes=2, max_strokes=4)
    sketch = make_sketch_model(random_corpus([3], classes=("a", "b", "c")))
    run = partial(generate, sketch, 7, Condition(make_labels(3)[:7]), max_steps=LIMITS[:7], seed=4, sampling=sampling)
    assert_same_sequences(run(workers=2), run())


def test_more_workers_than_sequences_generate_the_same_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix; in this process, with pickled arguments."""

    def map_in_this_process(function: Any, items: list[Any], workers: int) -> list[Any]:
        return [function(pickle.loads(pickle.dumps(item))) for item in items]  # noqa: S301

    monkeypatch.setattr(loop, "map_in_processes", map_in_this_process)
    model = make_model(random_corpus([4]))
    prefix = Step(torch.randn(3, 2).double(), torch.zeros(3, dtype=torch.long))
    assert_same_sequences(*(generate(model, 2, None, prefix, max_steps=5, workers=workers) for workers in (3, 1)))


def test_invalid_numbers_of_workers_are_errors() -> None:
    model = make_model(random_corpus([4], inputs=2))
    with pytest.raises(InputError, match="workers: received 0, expected 1 or more"):
        generate(model, 2, workers=0)
    with pytest.raises(InputError, match="workers: received 2 with a policy, expected 1"):
        generate(model, 2, policy=lambda motion, state, indices: torch.zeros(len(indices), 2), workers=2)


def test_killed_worker_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", abs)  # the process does not have to import PyTorch
    with pytest.raises(InputError, match="one of 2 worker processes was killed"):
        map_in_processes(os._exit, [1], 2)
