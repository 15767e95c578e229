"""Tests of the recurrent decoder: input features of batches and steps, agreement of steps and forward pass."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batch import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.nn.decoder import StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState
from mdnrnn.pen_events import END, START, UP
from tests.helpers import make_batches, random_corpus, to_float64

LENGTHS = [5, 9, 2, 7, 1]
CORPORA = {"no inputs": random_corpus(LENGTHS), "three inputs": random_corpus(LENGTHS, inputs=3)}
EVERY_CORPUS = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
POSITION = pytest.mark.parametrize("position", [True, False], ids=["position", "no position"])
CONTEXT = 4


def make_batch(corpus: Corpus) -> Batch:
    return to_float64(make_batches(corpus).batch(np.arange(len(LENGTHS))))


def make_features(corpus: Corpus, position: bool) -> StepFeatures:
    return StepFeatures(2, 3, 0 if corpus.inputs is None else corpus.inputs.shape[1], 2 * position).double()


def make_decoder(
    corpus: Corpus, position: bool, lstm_class: type[LSTM] | type[LayerNormLSTM], layers: int
) -> StepDecoder:
    features = make_features(corpus, position)
    lstm = lstm_class(features.width + CONTEXT, 8, layers)
    return StepDecoder(features, lstm, StepHead(8, 2, 3, 3, "full")).double().eval()


def reference_features(steps: Step, rows: Tensor, position: bool) -> Tensor:
    """Return the features of the given rows of one sequence, in order, shape (T, width)."""
    parts = [steps.motion[rows], torch.stack([(steps.event[rows] == event).double() for event in range(3)], -1)]
    parts += [] if steps.inputs is None else [steps.inputs[rows]]
    parts += [steps.motion[rows].cumsum(0)] if position else []
    return torch.cat(parts, -1)


def rows_of(sequence: int) -> Tensor:
    return torch.arange(LENGTHS[sequence]) + sum(LENGTHS[:sequence])


@POSITION
@EVERY_CORPUS
def test_batch_features_are_motion_event_inputs_and_position(corpus: Corpus, position: bool) -> None:
    batch, features = make_batch(corpus), make_features(corpus, position)
    padded = features.from_batch(batch, batch.previous)
    assert padded.shape == (9, 5, features.width)
    for b, length in enumerate(LENGTHS):
        torch.testing.assert_close(padded[:length, b], reference_features(batch.previous, rows_of(b), position))
        assert torch.equal(padded[0, b, :5], torch.zeros(5).double())  # START is encoded as zeros


@POSITION
def test_backward_features_are_those_of_reversed_sequences(position: bool) -> None:
    batch, features = make_batch(CORPORA["no inputs"]), make_features(CORPORA["no inputs"], position)
    padded = features.from_batch(batch, batch.target, batch.backward_slots())
    for b, length in enumerate(LENGTHS):
        expected = reference_features(batch.target, rows_of(b).flip(0), position)
        torch.testing.assert_close(padded[:length, b], expected)
        assert padded[0, b, 2 + END] == 1
    last = padded.flatten(0, 1)[batch.last_slots()]
    torch.testing.assert_close(last[:, :5], features.from_batch(batch, batch.target)[0, :, :5])


@POSITION
def test_step_features_are_motion_event_inputs_position_and_context(position: bool) -> None:
    features = make_features(CORPORA["three inputs"], position)
    inputs, context = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, CONTEXT, dtype=torch.float64)
    step = Step(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.tensor([UP, START]), inputs)
    positions = torch.tensor([[5.0, 6.0], [7.0, 8.0]]).double()
    motion_and_event = torch.tensor([[1, 2, 0, 1, 0], [3, 4, 0, 0, 0]]).double()
    expected = torch.cat([motion_and_event, inputs, *([positions] if position else []), context], -1)
    assert torch.equal(features.from_step(step, positions, context), expected)


@pytest.mark.parametrize("copies", [1, 40], ids=["small batch", "large batch"])
@pytest.mark.parametrize("layers", [1, 2], ids=["one layer", "two layers"])
@pytest.mark.parametrize("lstm_class", [LSTM, LayerNormLSTM], ids=["plain", "layer norm"])
@POSITION
@EVERY_CORPUS
def test_steps_equal_forward_from_any_state(
    corpus: Corpus, position: bool, lstm_class: type[LSTM] | type[LayerNormLSTM], layers: int, copies: int
) -> None:
    decoder, batch = make_decoder(corpus, position, lstm_class, layers), make_batch(corpus)
    context = torch.randn(5, CONTEXT, dtype=torch.float64)
    lstm_state = LSTMState(*torch.randn(2, layers, 5, 8, dtype=torch.float64))
    expected = decoder(batch, decoder.initial_state(context, lstm_state)).log_prob(batch.target)
    previous = batch.previous
    for b in range(5):
        repeated = LSTMState(*(part[:, b : b + 1].expand(-1, copies, -1) for part in lstm_state))
        state = decoder.initial_state(context[b].expand(copies, -1), repeated)
        for row in rows_of(b).tolist():
            inputs = None if previous.inputs is None else previous.inputs[row].expand(copies, -1)
            step = Step(previous.motion[row].expand(copies, -1), previous.event[row].expand(copies), inputs)
            steps, state = decoder.step(step, state)
            target = Step(batch.target.motion[row], batch.target.event[row].expand(copies))
            torch.testing.assert_close(steps.log_prob(target), expected[row].expand(copies), msg=f"row {row}")


def test_state_keeps_the_context_and_sums_the_motions() -> None:
    decoder = make_decoder(CORPORA["no inputs"], True, LSTM, 1)
    context = torch.randn(2, CONTEXT, dtype=torch.float64)
    state = decoder.initial_state(context)
    assert torch.equal(state.position, torch.zeros(1, 2, 2).double())
    motions = torch.randn(4, 2, 2, dtype=torch.float64)
    for motion in motions:
        _, state = decoder.step(Step(motion, torch.tensor([0, 1])), state)
    torch.testing.assert_close(state.position[0], motions.sum(0))
    assert torch.equal(state.context[0], context)
    steps, _ = decoder.step(Step(motions[0], torch.tensor([0, 1])), state)
    other, _ = decoder.step(Step(motions[0], torch.tensor([0, 1])), state._replace(context=state.context + 1))
    assert not torch.allclose(other.event_logits, steps.event_logits)


def test_missing_inputs_are_an_error() -> None:
    decoder = make_decoder(CORPORA["three inputs"], True, LSTM, 1)
    step = Step(torch.zeros(1, 2).double(), torch.tensor([START]))
    with pytest.raises(InputError, match="inputs: received none, expected 3 numbers per step"):
        decoder.step(step, decoder.initial_state(torch.zeros(1, CONTEXT).double()))
