"""The stacked LSTM: PyTorch's own, stepping is the forward pass, what dropouts drop."""

import pytest
import torch
from torch import Tensor, nn

from mdnrnn.nn.lstm import LSTM, LSTMState

LAYERS = pytest.mark.parametrize("layers", [1, 3], ids=["one layer", "three layers"])


def random_state(layers: int, batch: int, hidden: int = 7) -> LSTMState:
    return LSTMState(*torch.randn(2, layers, batch, hidden, dtype=torch.float64))


def inputs_of(steps: int, batch: int) -> Tensor:
    return torch.randn(steps, batch, 3, dtype=torch.float64)


def recurrent(model: LSTM) -> list[Tensor]:
    return [layer.get_parameter("weight_hh_l0") for layer in model.layers]


@LAYERS
def test_it_is_pytorchs_stacked_lstm(layers: int) -> None:
    model, theirs = LSTM(3, 7, layers).double(), nn.LSTM(3, 7, layers).double()
    for number, layer in enumerate(model.layers):
        for name, weight in layer.named_parameters():
            theirs.get_parameter(name.replace("_l0", f"_l{number}")).data.copy_(weight)
    inputs, state = inputs_of(6, 4), random_state(layers, 4)
    outputs, last = model(inputs, state)
    expected, (hidden, cell) = theirs(inputs, tuple(state))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(tuple(last), (hidden, cell))


@LAYERS
@pytest.mark.parametrize("batch", [1, 31, 32, 40])
def test_stepping_is_the_forward_pass_from_any_state(layers: int, batch: int) -> None:
    """Either side of 32 sequences, from which on steps take another kernel; dropouts are not of steps."""
    model, inputs, state = LSTM(3, 7, layers, 0.5, 0.5).double(), inputs_of(5, batch), random_state(layers, batch)
    expected, last = LSTM.forward(model.eval(), inputs, state)
    model.train()
    for t in range(5):
        output, state = model.step(inputs[t], state)
        torch.testing.assert_close(output, expected[t])
    torch.testing.assert_close(tuple(state), tuple(last))


@LAYERS
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_recurrent_dropout_is_one_mask_of_each_layers_recurrent_weights_for_all_steps(p: float, layers: int) -> None:
    """Weights without a gradient are those dropped; with the others scaled up by 1 / (1 - p), evaluation gives the
    same. Of 10,000 weights, 5 standard deviations of those kept fail 1 in 10^6."""
    model, inputs, state = LSTM(3, 50, layers, 0.0, p).double(), inputs_of(6, 4), random_state(layers, 4, 50)
    outputs, last = model(inputs, state)
    gradients = torch.autograd.grad(outputs.square().sum(), recurrent(model))
    masks = [gradient != 0 for gradient in gradients]
    for mask in masks:
        assert float(mask.double().mean()) == pytest.approx(1 - p, abs=5 * (p * (1 - p) / mask.numel()) ** 0.5)
    assert layers == 1 or not torch.equal(masks[0], masks[1])
    model.eval()
    assert not torch.allclose(model(inputs, state)[0], outputs)
    for weight, mask in zip(recurrent(model), masks, strict=True):
        weight.data *= mask / (1 - p)
    torch.testing.assert_close(model(inputs, state), (outputs, last))


def test_recurrent_dropout_draws_anew_for_each_pass_in_training_only() -> None:
    model, plain = LSTM(3, 7, 2, 0.0, 0.5).double(), LSTM(3, 7, 2).double()
    plain.load_state_dict(model.state_dict())
    inputs, state = inputs_of(6, 4), random_state(2, 4)
    assert not torch.allclose(model(inputs, state)[0], model(inputs, state)[0])
    torch.manual_seed(1)
    first, _ = model(inputs, state)
    torch.manual_seed(1)
    assert torch.equal(model(inputs, state)[0], first)
    for narrow in (False, True):  # under an autocast, too, weights are not taken as they are
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            assert torch.equal(model.eval()(inputs, state)[0], plain(inputs, state)[0])


def test_the_gradient_with_recurrent_dropout_is_a_difference_quotient() -> None:
    """Through the scale of the weights that are kept, for one draw of the mask."""
    model, inputs, state = LSTM(3, 4, 1, 0.0, 0.3).double(), inputs_of(3, 2), random_state(1, 2, 4)

    def run(weight: Tensor) -> Tensor:
        torch.manual_seed(2)
        found: Tensor = torch.func.functional_call(model, {"layers.0.weight_hh_l0": weight}, (inputs, state))[0]
        return found

    assert torch.autograd.gradcheck(run, [recurrent(model)[0].detach().clone().requires_grad_()])


def test_dropout_is_one_mask_for_all_steps_of_a_sequence_and_not_of_the_state() -> None:
    """Scaled up by 1 / 0.75; of 2000 units, 5 standard deviations of those kept fail 1 in 10^6."""
    model, inputs, state = LSTM(3, 100, 1, 0.25).double(), inputs_of(6, 20), random_state(1, 20, 100)
    dropped, last = model(inputs, state)
    kept, expected = model.eval()(inputs, state)
    mask = dropped[0] != 0
    torch.testing.assert_close(dropped, kept * mask / 0.75)
    torch.testing.assert_close(last, expected)
    assert not torch.equal(mask[0], mask[1])
    assert float(mask.double().mean()) == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 2000) ** 0.5)


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["whole weights", "dropped weights"])
def test_in_bfloat16_it_is_nearly_what_it_is_in_float32(dropout: float) -> None:
    """A bfloat16 has 8 bits: outputs within 3% of their norm, of one mask; weights' gradients come in float32."""
    model, inputs = LSTM(3, 64, 2, 0.0, dropout), inputs_of(20, 8).float()
    results = []
    for narrow in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            outputs, _ = model(inputs, model.initial_state(8))
        gradients = torch.autograd.grad(outputs.float().square().mean(), recurrent(model))
        results.append((outputs.detach(), torch.stack(gradients)))
    assert results[1][0].dtype == torch.bfloat16
    assert results[1][1].dtype == torch.float32
    for part, bound in ((0, 0.03), (1, 0.1)):
        expected, found = results[0][part], results[1][part].float()
        assert float((found - expected).norm() / expected.norm()) < bound
    assert torch.equal(results[0][1] == 0, results[1][1] == 0)
