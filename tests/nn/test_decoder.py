"""What goes into a decoder's LSTM, row by row; stepping is the forward pass, whatever the state before the first."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batches import Batch
from mdnrnn.data.corpus import Corpus
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.events import END, START, UP
from mdnrnn.nn.decoder import StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState
from tests.helpers import make_batches, random_corpus, to_float64

LENGTHS = [5, 9, 2, 7, 1]
CORPORA = {"no inputs": random_corpus(LENGTHS), "three inputs": random_corpus(LENGTHS, inputs=3)}
EVERY_CORPUS = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
POSITION = pytest.mark.parametrize("position", [True, False], ids=["position", "no position"])
CONTEXT = 4


def batch_of(corpus: Corpus) -> Batch:
    return to_float64(make_batches(corpus).batch(np.arange(len(LENGTHS))))


def features_for(corpus: Corpus, position: bool) -> StepFeatures:
    return StepFeatures(2, 3, 0 if corpus.inputs is None else corpus.inputs.shape[1], 2 * position).double()


def decoder_for(
    corpus: Corpus, position: bool, lstm_class: type[LSTM] | type[LayerNormLSTM], layers: int
) -> StepDecoder:
    features = features_for(corpus, position)
    lstm = lstm_class(features.width + CONTEXT, 8, layers)
    return StepDecoder(features, lstm, StepHead(8, 2, 3, 3, "full")).double().eval()


def written_out(batch: Batch, steps: Step, rows: Tensor, position: bool) -> Tensor:
    """Rows of one sequence, in the order given, as (T, width)."""
    parts = [steps.motion[rows], torch.stack([(steps.event[rows] == event).double() for event in range(3)], -1)]
    parts += [] if steps.inputs is None else [steps.inputs[rows]]
    parts += [steps.motion[rows].cumsum(0)] if position else []
    return torch.cat(parts, -1)


def rows_of(b: int) -> Tensor:
    return torch.arange(LENGTHS[b]) + sum(LENGTHS[:b])


@POSITION
@EVERY_CORPUS
def test_steps_of_a_batch_are_motions_events_inputs_and_the_place(corpus: Corpus, position: bool) -> None:
    batch, features = batch_of(corpus), features_for(corpus, position)
    padded = features.from_batch(batch, batch.previous)
    assert padded.shape == (9, 5, features.width)
    for b, length in enumerate(LENGTHS):
        expected = written_out(batch, batch.previous, rows_of(b), position)
        torch.testing.assert_close(padded[:length, b], expected)
        assert torch.equal(padded[0, b, :5], torch.zeros(5).double())  # START: no motion, no event


@POSITION
def test_from_their_ends_the_steps_of_a_batch_are_each_sequence_turned_round(position: bool) -> None:
    batch, features = batch_of(CORPORA["no inputs"]), features_for(CORPORA["no inputs"], position)
    padded = features.from_batch(batch, batch.target, batch.backward_slots())
    for b, length in enumerate(LENGTHS):
        expected = written_out(batch, batch.target, rows_of(b).flip(0), position)
        torch.testing.assert_close(padded[:length, b], expected)
        assert padded[0, b, 2 + END] == 1
    last = padded.flatten(0, 1)[batch.last_slots()]
    torch.testing.assert_close(last[:, :5], features.from_batch(batch, batch.target)[0, :, :5])


@POSITION
def test_one_step_has_the_place_after_it_and_the_context(position: bool) -> None:
    features = features_for(CORPORA["three inputs"], position)
    inputs, context = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, CONTEXT, dtype=torch.float64)
    step = Step(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.tensor([UP, START]), inputs)
    place = torch.tensor([[5.0, 6.0], [7.0, 8.0]]).double()
    rows = torch.tensor([[1, 2, 0, 1, 0], [3, 4, 0, 0, 0]]).double()
    expected = torch.cat([rows, inputs, *([place] if position else []), context], -1)
    assert torch.equal(features.from_step(step, place, context), expected)


@pytest.mark.parametrize("copies", [1, 40], ids=["small batch", "large batch"])
@pytest.mark.parametrize("layers", [1, 2], ids=["one layer", "two layers"])
@pytest.mark.parametrize("lstm_class", [LSTM, LayerNormLSTM], ids=["plain", "layer-normalized"])
@POSITION
@EVERY_CORPUS
def test_stepping_is_the_forward_pass_from_any_state(
    corpus: Corpus, position: bool, lstm_class: type[LSTM] | type[LayerNormLSTM], layers: int, copies: int
) -> None:
    decoder, batch = decoder_for(corpus, position, lstm_class, layers), batch_of(corpus)
    context = torch.randn(5, CONTEXT, dtype=torch.float64)
    state = LSTMState(*torch.randn(2, layers, 5, 8, dtype=torch.float64))
    whole = decoder(batch, decoder.initial_state(context, state)).log_prob(batch.target)
    previous = batch.previous
    for b in range(5):
        own = LSTMState(*(part[:, b : b + 1].expand(-1, copies, -1) for part in state))
        now = decoder.initial_state(context[b].expand(copies, -1), own)
        for row in rows_of(b).tolist():
            inputs = None if previous.inputs is None else previous.inputs[row].expand(copies, -1)
            step = Step(previous.motion[row].expand(copies, -1), previous.event[row].expand(copies), inputs)
            steps, now = decoder.step(step, now)
            target = Step(batch.target.motion[row], batch.target.event[row].expand(copies))
            torch.testing.assert_close(steps.log_prob(target), whole[row].expand(copies), msg=f"row {row}")


def test_the_state_keeps_context_and_place() -> None:
    """The place is the sum of the motions gone through; the context is as it was given, beside every step."""
    decoder = decoder_for(CORPORA["no inputs"], True, LSTM, 1)
    context = torch.randn(2, CONTEXT, dtype=torch.float64)
    state = decoder.initial_state(context)
    assert torch.equal(state.position, torch.zeros(1, 2, 2).double())
    motion = torch.randn(4, 2, 2, dtype=torch.float64)
    for part in motion:
        _, state = decoder.step(Step(part, torch.tensor([0, 1])), state)
    torch.testing.assert_close(state.position[0], motion.sum(0))
    assert torch.equal(state.context[0], context)
    other, _ = decoder.step(Step(motion[0], torch.tensor([0, 1])), state._replace(context=state.context + 1))
    same, _ = decoder.step(Step(motion[0], torch.tensor([0, 1])), state)
    assert not torch.allclose(other.event_logits, same.event_logits)


def test_inputs_are_asked_for() -> None:
    decoder = decoder_for(CORPORA["three inputs"], True, LSTM, 1)
    step = Step(torch.zeros(1, 2).double(), torch.tensor([START]))
    with pytest.raises(InputError, match="inputs: received none, expected 3 numbers per step"):
        decoder.step(step, decoder.initial_state(torch.zeros(1, CONTEXT).double()))
