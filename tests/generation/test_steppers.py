"""Tests of the steppers of the fast path: agreement with the decoder's own steps, replaced and selected rows."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.generation.packed_linear import PackedMatrix
from mdnrnn.generation.steppers import DecoderStepper, PackedStepper, make_decoder_stepper
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState
from mdnrnn.pen_events import START

HIDDEN, CONTEXT, INPUTS = 8, 4, 2
LSTMS: dict[str, Any] = {
    "one layer": lambda width: LSTM(width, HIDDEN),
    "three layers": lambda width: LSTM(width, HIDDEN, 3),
    "skip connections": lambda width: LSTM(width, HIDDEN, 3, skip=True),
    "layer norm": lambda width: LayerNormLSTM(width, HIDDEN, 2),
}
EVERY_LSTM = pytest.mark.parametrize("kind", LSTMS)


def make_decoder(kind: str, position_features: int = 2, scale: float = 0.5, events: int = 3) -> StepDecoder:
    features = StepFeatures(3, events, INPUTS, position_features, scale)
    lstm = LSTMS[kind](features.width + CONTEXT)
    for name, parameter in lstm.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    width = lstm.width if isinstance(lstm, LSTM) else HIDDEN
    return StepDecoder(features, lstm, StepHead(width, 3, 2, events)).double().eval()


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def make_sequences(decoder: StepDecoder, batch: int) -> tuple[Step, DecoderState]:
    """Make random previous steps and states."""
    layers = len(decoder.core.layers)
    lstm = LSTMState(randn(layers, batch, HIDDEN), randn(layers, batch, HIDDEN))
    state = decoder.initial_state(randn(batch, CONTEXT), lstm)._replace(position=randn(1, batch, 3))
    return Step(randn(batch, 3), torch.randint(START, 3, (batch,))), state


def select_rows(previous: Step, state: DecoderState, rows: Tensor) -> tuple[Step, DecoderState]:
    lstm = LSTMState(*(part[:, rows] for part in state.core))
    selected = DecoderState(lstm, state.position[:, rows], state.context[:, rows])
    return Step(previous.motion[rows], previous.event[rows]), selected


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("position_features", "events"), [(2, 3), (3, 3), (0, 3), (2, 0)])
@EVERY_LSTM
@torch.inference_mode()
def test_stepper_equals_the_decoder(kind: str, position_features: int, events: int, batch: int) -> None:
    decoder = make_decoder(kind, position_features, events=events)
    previous, state = make_sequences(decoder, batch)
    stepper = make_decoder_stepper(decoder, previous, state)
    assert isinstance(stepper, PackedStepper) == (kind in ("one layer", "three layers"))
    for _ in range(4):
        inputs = randn(batch, INPUTS)
        expected, state = decoder.step_hidden(previous._replace(inputs=inputs), state)
        torch.testing.assert_close(stepper.step(inputs), expected)
        torch.testing.assert_close(tuple(stepper.state.core), tuple(state.core))
        positions, expected_positions = (part.position[..., :position_features] for part in (stepper.state, state))
        torch.testing.assert_close(positions, expected_positions)
        previous = Step(randn(batch, 3), torch.randint(0, 3, (batch,)))
        stepper.set_previous(*previous[:2])
        assert torch.equal(stepper.motion, previous.motion)


@EVERY_LSTM
@torch.inference_mode()
def test_replaced_and_selected_rows_equal_single_sequences(kind: str) -> None:
    """Two of five sequences are replaced, then three are selected."""
    decoder = make_decoder(kind)
    old, new = make_sequences(decoder, 5), make_sequences(decoder, 2)
    stepper = make_decoder_stepper(decoder, *old)
    inputs = randn(5, INPUTS)
    _, state = decoder.step_hidden(old[0]._replace(inputs=inputs), old[1])
    stepper.step(inputs)
    previous = Step(randn(5, 3), torch.tensor([0, 1, 2, 1, 0]))
    stepper.set_previous(*previous[:2])
    stepper.replace_rows(torch.tensor([3, 1]), *new)
    stepper = stepper.select_rows(torch.tensor([1, 2, 3]))
    inputs = randn(3, INPUTS)
    hidden = stepper.step(inputs)
    single = [
        select_rows(*new, torch.tensor([1])),
        select_rows(previous, state, torch.tensor([2])),
        select_rows(*new, torch.tensor([0])),
    ]
    for row, (single_previous, single_state) in enumerate(single):
        single_inputs = inputs[row : row + 1]
        expected, _ = decoder.step_hidden(single_previous._replace(inputs=single_inputs), single_state)
        torch.testing.assert_close(hidden[row : row + 1], expected)


@torch.inference_mode()
def test_stepper_does_not_change_the_given_state() -> None:
    decoder = make_decoder("layer norm")
    previous, state = make_sequences(decoder, 2)
    before = state.core.hidden.clone()
    stepper = make_decoder_stepper(decoder, previous, state)
    assert isinstance(stepper, DecoderStepper)
    stepper.step(randn(2, INPUTS))
    assert torch.equal(state.core.hidden, before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 16, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_packed_products_equal_plain_products(dtype: torch.dtype, rows: int, threads: int) -> None:
    """In every memory layout, and after the buffer has changed."""
    torch.set_num_threads(threads)
    parts, buffer = list(torch.randn(24, 10, dtype=dtype).split([3, 6, 1], 1)), torch.zeros(rows, 10, dtype=dtype)
    matrix = PackedMatrix([part.contiguous() for part in parts])
    multiply, out = matrix.make_product(buffer)
    for _ in range(2):
        buffer.copy_(torch.randn(rows, 10))
        product = multiply()
        torch.testing.assert_close(product, buffer @ torch.cat(parts, 1).t())
        assert out is None or out.data_ptr() == product.data_ptr()
