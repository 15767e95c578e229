"""Tests of the stacked LSTM: agreement with torch.nn.LSTM and torch.lstm_cell, steps, dropout, bfloat16."""

import pytest
import torch
from torch import Tensor, nn

from mdnrnn.nn.lstm import LSTM, Gates, update_state, update_state_
from tests.nn.helpers import HIDDEN, random_inputs, random_state, relative_error

LAYERS = pytest.mark.parametrize("layers", [1, 3], ids=["one layer", "three layers"])


def recurrent_weights(model: LSTM) -> list[Tensor]:
    return [layer.get_parameter("weight_hh_l0") for layer in model.layers]


@LAYERS
def test_forward_equals_torch_lstm(layers: int) -> None:
    model, reference = LSTM(3, HIDDEN, layers).double(), nn.LSTM(3, HIDDEN, layers).double()
    for index, layer in enumerate(model.layers):
        for name, weight in layer.named_parameters():
            reference.get_parameter(name.replace("_l0", f"_l{index}")).data.copy_(weight)
    inputs, state = random_inputs(6, 4), random_state(layers, 4)
    outputs, last = model(inputs, state)
    expected, (hidden, cell) = reference(inputs, tuple(state))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(tuple(last), (hidden, cell))


def test_state_updates_equal_torch_lstm_cell() -> None:
    """Both the functional and the in-place update."""
    inputs, (hidden, cell) = random_inputs(1, 4)[0], (part[0] for part in random_state(1, 4))
    layer = LSTM(3, HIDDEN).double().layers[0]
    input_weight, weight, input_bias, bias = (part.detach() for part in layer.parameters())
    expected = torch.lstm_cell(inputs, (hidden, cell), input_weight, weight, input_bias, bias)
    sums = inputs @ input_weight.T + hidden @ weight.T + input_bias + bias
    i, f, g, o = sums.chunk(4, 1)
    torch.testing.assert_close(update_state(i, f, g, o, cell), expected)
    next_hidden = update_state_(Gates.from_product(sums), cell, hidden)
    assert next_hidden is hidden
    torch.testing.assert_close((hidden, cell), expected)


@LAYERS
@pytest.mark.parametrize("batch", [1, 31, 32, 40])
def test_steps_equal_forward_from_any_state(layers: int, batch: int) -> None:
    """From 32 sequences on, steps call another kernel. Steps apply no dropout, even in training mode."""
    model = LSTM(3, HIDDEN, layers, 0.5, 0.5).double()
    inputs, state = random_inputs(5, batch), random_state(layers, batch)
    expected, last = LSTM.forward(model.eval(), inputs, state)
    model.train()
    for t in range(5):
        output, state = model.step(inputs[t], state)
        torch.testing.assert_close(output, expected[t])
    torch.testing.assert_close(tuple(state), tuple(last))


@LAYERS
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_recurrent_dropout_uses_one_mask_per_layer_and_pass(p: float, layers: int) -> None:
    """Dropped weights have no gradient. Evaluation with the remaining weights divided by 1 - p gives the same outputs.

    Of 10,000 weights, the fraction that is kept is within 5 standard deviations; false failure 1 in 10^6.
    """
    model = LSTM(3, 50, layers, 0.0, p).double()
    inputs, state = random_inputs(6, 4), random_state(layers, 4, 50)
    outputs, last = model(inputs, state)
    gradients = torch.autograd.grad(outputs.square().sum(), recurrent_weights(model))
    masks = [gradient != 0 for gradient in gradients]
    for mask in masks:
        assert float(mask.double().mean()) == pytest.approx(1 - p, abs=5 * (p * (1 - p) / mask.numel()) ** 0.5)
    assert layers == 1 or not torch.equal(masks[0], masks[1])
    model.eval()
    assert not torch.allclose(model(inputs, state)[0], outputs)
    for weight, mask in zip(recurrent_weights(model), masks, strict=True):
        weight.data *= mask / (1 - p)
    torch.testing.assert_close(model(inputs, state), (outputs, last))


def test_recurrent_dropout_samples_a_new_mask_per_pass_in_training_only() -> None:
    model, plain = LSTM(3, HIDDEN, 2, 0.0, 0.5).double(), LSTM(3, HIDDEN, 2).double()
    plain.load_state_dict(model.state_dict())
    inputs, state = random_inputs(6, 4), random_state(2, 4)
    assert not torch.allclose(model(inputs, state)[0], model(inputs, state)[0])
    torch.manual_seed(1)
    first, _ = model(inputs, state)
    torch.manual_seed(1)
    assert torch.equal(model(inputs, state)[0], first)
    for autocast in (False, True):  # the autocast branch has its own call of the kernel
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert torch.equal(model.eval()(inputs, state)[0], plain(inputs, state)[0])


def test_gradient_with_recurrent_dropout_equals_finite_differences() -> None:
    model, inputs, state = LSTM(3, 4, 1, 0.0, 0.3).double(), random_inputs(3, 2), random_state(1, 2, 4)

    def run(weight: Tensor) -> Tensor:
        torch.manual_seed(2)  # the same mask at every call
        outputs: Tensor = torch.func.functional_call(model, {"layers.0.weight_hh_l0": weight}, (inputs, state))[0]
        return outputs

    assert torch.autograd.gradcheck(run, [recurrent_weights(model)[0].detach().clone().requires_grad_()])


def test_dropout_uses_one_mask_per_sequence_and_leaves_the_state_unchanged() -> None:
    """Kept units are divided by 0.75. Of 2,000 units, the fraction that is kept is within 5 standard deviations; false
    failure 1 in 10^6."""
    model, inputs, state = LSTM(3, 100, 1, 0.25).double(), random_inputs(6, 20), random_state(1, 20, 100)
    dropped, last = model(inputs, state)
    outputs, expected = model.eval()(inputs, state)
    mask = dropped[0] != 0
    torch.testing.assert_close(dropped, outputs * mask / 0.75)
    torch.testing.assert_close(last, expected)
    assert not torch.equal(mask[0], mask[1])
    assert float(mask.double().mean()) == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 2000) ** 0.5)


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["no dropout", "recurrent dropout"])
def test_bfloat16_is_close_to_float32(dropout: float) -> None:
    """bfloat16 has 8 bits of precision: with the same mask, outputs agree within 3% and gradients within 10% in norm.

    A different mask changes outputs by more than 10%. Gradients of the weights are float32.
    """
    model, inputs = LSTM(3, 64, 2, 0.0, dropout), random_inputs(20, 8).float()

    def run(seed: int, autocast: bool) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs, _ = model(inputs, model.initial_state(8))
        gradients = torch.autograd.grad(outputs.float().square().mean(), recurrent_weights(model))
        return outputs.detach(), torch.stack(gradients)

    expected, expected_gradient = run(3, autocast=False)
    actual, gradient = run(3, autocast=True)
    assert actual.dtype == torch.bfloat16
    assert gradient.dtype == torch.float32
    assert relative_error(actual.float(), expected) < 0.03
    assert relative_error(gradient, expected_gradient) < 0.1
    other_mask, _ = run(4, autocast=False)
    assert (relative_error(other_mask, expected) > 0.1) == (dropout > 0)
