"""Stepping in place is the decoder's own step, whatever it is made of and whoever comes and goes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import Step
from mdnrnn.events import START
from mdnrnn.generation.packed_linear import PackedMatrix
from mdnrnn.generation.steppers import DecoderStepper, PackedStepper, make_decoder_stepper
from mdnrnn.nn.decoder import DecoderState, StepDecoder, StepFeatures
from mdnrnn.nn.heads import StepHead
from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState

HIDDEN, CONTEXT, INPUTS = 8, 4, 2
KINDS: dict[str, Any] = {
    "one layer": lambda width: LSTM(width, HIDDEN),
    "three layers": lambda width: LSTM(width, HIDDEN, 3),
    "three layers, skipping": lambda width: LSTM(width, HIDDEN, 3, skip=True),
    "layer-normalized": lambda width: LayerNormLSTM(width, HIDDEN, 2),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def decoder_of(kind: str, places: int = 2, scale: float = 0.5, events: int = 3) -> StepDecoder:
    features = StepFeatures(3, events, INPUTS, places, scale)
    lstm = KINDS[kind](features.width + CONTEXT)
    for name, parameter in lstm.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    width = lstm.width if isinstance(lstm, LSTM) else HIDDEN
    return StepDecoder(features, lstm, StepHead(width, 3, 2, events)).double().eval()


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def sequences(decoder: StepDecoder, batch: int) -> tuple[Step, DecoderState]:
    layers = len(decoder.lstm.layers)
    state = decoder.initial_state(
        random(batch, CONTEXT), LSTMState(random(layers, batch, HIDDEN), random(layers, batch, HIDDEN))
    )
    return Step(random(batch, 3), torch.randint(START, 3, (batch,))), state._replace(position=random(1, batch, 3))


def rows_of(previous: Step, state: DecoderState, rows: Tensor) -> tuple[Step, DecoderState]:
    lstm = LSTMState(*(part[:, rows] for part in state.lstm))
    return Step(previous.motion[rows], previous.event[rows]), DecoderState(
        lstm, state.position[:, rows], state.context[:, rows]
    )


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("places", "events"), [(2, 3), (3, 3), (0, 3), (2, 0)])
@EVERY_KIND
@torch.inference_mode()
def test_steps_are_the_decoders_own(kind: str, places: int, events: int, batch: int) -> None:
    decoder = decoder_of(kind, places, events=events)
    previous, state = sequences(decoder, batch)
    steps = make_decoder_stepper(decoder, previous, state)
    assert isinstance(steps, PackedStepper) == (kind in ("one layer", "three layers"))
    for _ in range(4):
        inputs = random(batch, INPUTS)
        expected, state = decoder.step_hidden(previous._replace(inputs=inputs), state)
        torch.testing.assert_close(steps.step(inputs), expected)
        torch.testing.assert_close(tuple(steps.state.lstm), tuple(state.lstm))
        torch.testing.assert_close(steps.state.position[..., :places], state.position[..., :places])
        previous = Step(random(batch, 3), torch.randint(0, 3, (batch,)))
        steps.set_previous(*previous[:2])
        assert torch.equal(steps.motion, previous.motion)


@EVERY_KIND
@torch.inference_mode()
def test_sequences_come_and_go(kind: str) -> None:
    """Two of five are replaced, then three stay: each as if it were alone."""
    decoder = decoder_of(kind)
    old, new = sequences(decoder, 5), sequences(decoder, 2)
    steps = make_decoder_stepper(decoder, *old)
    inputs = random(5, INPUTS)
    _, state = decoder.step_hidden(old[0]._replace(inputs=inputs), old[1])
    steps.step(inputs)
    previous = Step(random(5, 3), torch.tensor([0, 1, 2, 1, 0]))
    steps.set_previous(*previous[:2])
    steps.replace_rows(torch.tensor([3, 1]), *new)
    steps = steps.select_rows(torch.tensor([1, 2, 3]))
    inputs = random(3, INPUTS)
    found = steps.step(inputs)
    alone = [
        rows_of(*new, torch.tensor([1])),
        rows_of(previous, state, torch.tensor([2])),
        rows_of(*new, torch.tensor([0])),
    ]
    for row, (before, own) in enumerate(alone):
        expected, _ = decoder.step_hidden(before._replace(inputs=inputs[row : row + 1]), own)
        torch.testing.assert_close(found[row : row + 1], expected)


@torch.inference_mode()
def test_what_it_was_given_stays_as_it_was() -> None:
    decoder = decoder_of("layer-normalized")
    previous, state = sequences(decoder, 2)
    before = state.lstm.hidden.clone()
    steps = make_decoder_stepper(decoder, previous, state)
    assert isinstance(steps, DecoderStepper)
    steps.step(random(2, INPUTS))
    assert torch.equal(state.lstm.hidden, before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 16, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_the_plain_one(dtype: torch.dtype, rows: int, threads: int) -> None:
    """However they are laid out, and whatever is in the buffer by then; of float32, within its rounding."""
    torch.set_num_threads(threads)
    parts, buffer = list(torch.randn(24, 10, dtype=dtype).split([3, 6, 1], 1)), torch.zeros(rows, 10, dtype=dtype)
    matrix = PackedMatrix([part.contiguous() for part in parts])
    product, fixed = matrix.make_product(buffer)
    for _ in range(2):
        buffer.copy_(torch.randn(rows, 10))
        found = product()
        torch.testing.assert_close(found, buffer @ torch.cat(parts, 1).t())
        assert fixed is None or fixed.data_ptr() == found.data_ptr()
