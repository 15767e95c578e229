"""Ends of sequences: stroke limits, stopping rules and the history that they read, prefixes, errors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.slots import GeneratedSequence
from mdnrnn.generation.stopping import StepHistory
from mdnrnn.models.base import Condition, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.pen_events import DOWN, END, UP
from tests.generation.helpers import assert_same_sequences
from tests.generation.test_sampling import make_writer
from tests.helpers import make_model, random_corpus

N, MAX_STEPS = 40, 60
PREFIX = Step(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([0, 1, 0, 0, 1]))


@pytest.fixture(scope="module")
def model() -> MDNRNN:
    """Make a model whose sequences have 1 to 60 steps and 1 to 20 strokes."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=16, components=4, dropout=0.0)).double().eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.decoder.head.linear.weight, std=0.5)
        model.decoder.head.linear.bias[-1] -= 1
    return model


def draw(model: MDNRNN, sampling: Sampling | None = None, **options: Any) -> list[GeneratedSequence]:
    return generate(model, N, sampling=sampling, seed=1, **{"max_steps": MAX_STEPS, "batch_size": 7, **options})


def count_strokes(sequence: GeneratedSequence) -> int:
    return int((sequence.event != DOWN).sum())


def assert_begins_with(sequence: GeneratedSequence, beginning: GeneratedSequence) -> None:
    """Check the motions and events of the beginning, except its last event."""
    steps = len(beginning.event)
    np.testing.assert_allclose(sequence.motion[:steps], beginning.motion, atol=1e-5)
    np.testing.assert_array_equal(sequence.event[: steps - 1], beginning.event[:-1])


@pytest.mark.parametrize("prefix", [None, PREFIX], ids=["no prefix", "prefix"])
def test_drawings_that_would_end_too_early_go_on_with_a_lifted_pen(model: MDNRNN, prefix: Step | None) -> None:
    """All other drawings are unchanged: with the same noise, UP takes the place of END."""
    plain = draw(model, prefix=prefix)
    limited = draw(model, Sampling(min_strokes=6), prefix=prefix)
    early = [sequence.event[-1] == END and count_strokes(sequence) < 6 for sequence in plain]
    assert 5 < sum(early) < N
    for is_early, one, other in zip(early, plain, limited, strict=True):
        if is_early:
            assert_begins_with(other, one)
            assert other.event[len(one.event) - 1] == UP
            assert count_strokes(other) >= 6 or len(other.event) == MAX_STEPS
        else:
            assert_same_sequences([other], [one])


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize("prefix", [None, PREFIX], ids=["no prefix", "prefix"])
def test_drawings_end_with_the_last_stroke(model: MDNRNN, prefix: Step | None, endless: bool) -> None:
    """A drawing equals the beginning of the drawing without the limit."""
    plain = draw(model, Sampling(endless=endless), prefix=prefix)
    limited = draw(model, Sampling(endless=endless, max_strokes=3), prefix=prefix)
    assert sum(count_strokes(sequence) > 3 for sequence in plain) > 5
    for one, other in zip(plain, limited, strict=True):
        assert_begins_with(one, other)
        if count_strokes(one) >= 3:
            assert count_strokes(other) == 3
            assert other.event[-1] == END
            assert END not in other.event[:-1]
        else:
            assert_same_sequences([other], [one])


def test_equal_limits_give_this_number_of_strokes(model: MDNRNN) -> None:
    for sequence in draw(model, Sampling(min_strokes=4, max_strokes=4), max_steps=1000):
        assert count_strokes(sequence) == 4
        assert sequence.event[-1] == END


def test_first_events_have_the_probabilities_of_the_definition(model: MDNRNN) -> None:
    """UP gets the probability of END, or END that of UP.

    The share of DOWN in 4,000 events is within 5 standard errors; false failure below 1e-5.
    """
    with torch.no_grad():
        steps, _ = model.step(model.initial_step(1), model.initial_state(1, Condition()))
    down = float(torch.softmax(steps.event_logits, -1)[0, DOWN])
    for sampling, lifted in ((Sampling(min_strokes=2), UP), (Sampling(max_strokes=1), END)):
        events = [sequence.event[0] for sequence in generate(model, 4000, sampling=sampling, max_steps=1)]
        assert set(events) == {DOWN, lifted}
        assert abs(events.count(DOWN) / 4000 - down) < 5 * np.sqrt(down * (1 - down) / 4000)


def test_handwriting_stops_at_the_end_of_the_text_before_the_minimum() -> None:
    case = make_writer()
    options: dict[str, Any] = {"max_steps": 300, "seed": 2}
    plain = generate(case.model, 7, case.condition, **options)
    limited = generate(case.model, 7, case.condition, sampling=Sampling(min_strokes=1000), **options)
    finished = [sequence for sequence in limited if len(sequence.event) < 300]
    assert len(finished) > 3
    assert all(len(one.event) <= len(other.event) for one, other in zip(plain, limited, strict=True))


@pytest.mark.parametrize("prefix", [None, PREFIX], ids=["no prefix", "prefix"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_rule_reads_all_steps_so_far(model: MDNRNN, prefix: Step | None, batch_size: int) -> None:
    """The histories of a sequence are its beginnings, one per step; padding is 0. The rule ends no sequence."""
    histories: set[tuple[bytes, bytes]] = set()
    first = 0 if prefix is None else len(prefix.event)

    def record(history: StepHistory) -> Tensor:
        steps = history.event.shape[1]
        torch.testing.assert_close(history.position, history.motion.cumsum(1))
        for motion, event, length in zip(*history, strict=True):
            padding = steps - int(length)
            assert padding >= 0
            assert not motion[:padding].any()
            assert not event[:padding].any()
            histories.add((motion[padding:].float().numpy().tobytes(), event[padding:].numpy().tobytes()))
        return torch.zeros(len(history.length), dtype=torch.bool)

    sequences = draw(model, Sampling(stop=record), prefix=prefix, batch_size=batch_size)
    assert_same_sequences(sequences, draw(model, prefix=prefix, batch_size=batch_size))
    assert len({len(sequence.event) for sequence in sequences}) > 3
    for motion, event, _ in sequences:
        for length in range(first + 1, len(event) + 1):
            assert (motion[:length].astype(np.float32).tobytes(), event[:length].tobytes()) in histories


def leave_circle(history: StepHistory) -> Tensor:
    return history.position[:, -1].norm(dim=-1) > 3


@pytest.mark.parametrize("prefix", [None, PREFIX], ids=["no prefix", "prefix"])
def test_sequences_end_at_the_first_step_that_fulfills_the_rule(model: MDNRNN, prefix: Step | None) -> None:
    """They equal the beginnings of the sequences without the rule. The rule does not apply to the prefix alone."""
    first = 0 if prefix is None else len(prefix.event)
    plain, stopped = (draw(model, sampling, prefix=prefix) for sampling in (None, Sampling(stop=leave_circle)))
    shortened = 0
    for one, other in zip(plain, stopped, strict=True):
        outside = np.linalg.norm(one.motion.cumsum(0), axis=1)[first:] > 3
        length = first + outside.argmax() + 1 if outside.any() else len(one.event)
        shortened += length < len(one.event)
        assert len(other.event) == length
        assert_begins_with(one, other)
        assert other.event[-1] == END or len(other.event) == first + MAX_STEPS
    assert shortened > 10


def test_rule_ends_sequences_before_the_minimum_of_strokes(model: MDNRNN) -> None:
    sampling = Sampling(min_strokes=100, stop=lambda history: history.length >= 4)
    sequences = draw(model, sampling)
    assert [np.flatnonzero(sequence.event == END).tolist() for sequence in sequences] == [[3]] * N


def test_rule_ends_sequences_without_events() -> None:
    model = MDNRNN(StepShape(events=0), MDNRNNConfig(hidden=8, components=2))
    lengths = [len(sequence.event) for sequence in draw(model, Sampling(stop=leave_circle), max_steps=90)]
    assert len(set(lengths)) > 3


def test_history_appends_replaces_and_selects_rows() -> None:
    motion, event = torch.arange(12.0).view(2, 3, 2), torch.tensor([[0, 1, 0], [1, 0, 1]])
    history = StepHistory(motion, event, torch.tensor([3, 3])).append(torch.ones(2, 2), torch.tensor([0, 1]))
    assert history.motion.shape == (2, 4, 2)
    assert history.length.tolist() == [4, 4]
    prefix = Step(torch.full((1, 2), 7.0), torch.tensor([1]))
    replaced = history.replace_rows(torch.tensor([0]), prefix)
    assert torch.equal(replaced.motion[0], torch.tensor([[0.0, 0], [0, 0], [0, 0], [7, 7]]))
    assert replaced.event.tolist() == [[0, 0, 0, 1], [1, 0, 1, 1]]
    assert replaced.length.tolist() == [1, 4]
    assert torch.equal(replaced.motion[1], history.motion[1])
    selected = replaced.select_rows(torch.tensor([0]))
    assert torch.equal(selected.motion, prefix.motion.unsqueeze(0))
    assert (selected.event.tolist(), selected.length.tolist()) == ([[1]], [1])


def test_prefix_with_the_maximum_of_strokes_is_rejected(model: MDNRNN) -> None:
    message = "max_strokes: received 2 for a prefix of 2 strokes, expected 3 or more; increase max_strokes or shorten"
    with pytest.raises(InputError, match=message):
        draw(model, Sampling(max_strokes=2), prefix=PREFIX)


@pytest.mark.parametrize("events", [0, 2])
@pytest.mark.parametrize("name", ["min_strokes", "max_strokes"])
def test_stroke_limits_without_strokes_are_rejected(name: str, events: int) -> None:
    model = MDNRNN(StepShape(events=events), MDNRNNConfig(hidden=8, components=2))
    options: dict[str, Any] = {name: 2}
    with pytest.raises(InputError, match=f"{name}: received 2 for data without strokes, expected None; omit {name}"):
        generate(model, 2, sampling=Sampling(**options))


WRONG_MASKS: dict[str, tuple[Any, str]] = {
    "one element": (torch.ones(1, dtype=torch.bool), r"stop: mask: received shape \(1,\), expected \(3,\)"),
    "no tensor": (True, "stop: received bool, expected a tensor of 3 booleans"),
}


@pytest.mark.parametrize(("mask", "message"), WRONG_MASKS.values(), ids=WRONG_MASKS)
def test_wrong_masks_are_rejected(mask: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(make_model(random_corpus([4])), 3, sampling=Sampling(stop=lambda history: mask))


def test_rule_runs_in_one_process(model: MDNRNN) -> None:
    with pytest.raises(InputError, match="workers: received 2 with a stopping rule, expected 1"):
        draw(model, Sampling(stop=leave_circle), workers=2)
