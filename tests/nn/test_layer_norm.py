"""Tests of the layer-normalized LSTM: published formulas, invariances, gradients, dropout, bfloat16."""

import inspect
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState
from tests.nn.helpers import HIDDEN, random_inputs, random_state, relative_error

LAYERS = pytest.mark.parametrize("layers", [1, 3], ids=["one layer", "three layers"])
SIZES = pytest.mark.parametrize(
    ("steps", "batch"), [(6, 4), (1, 4), (6, 1), (1, 1)], ids=["6 x 4", "one step", "one sequence", "1 x 1"]
)


def make_lstm(
    layers: int = 1, hidden: int = HIDDEN, dropout: float = 0.0, recurrent_dropout: float = 0.0
) -> LayerNormLSTM:
    """Make an LSTM in float64 with 3 input features and random gains and biases."""
    model = LayerNormLSTM(3, hidden, layers, dropout, recurrent_dropout).double()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def reference_forward(model: LayerNormLSTM, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
    """Compute the formulas of Ba, Kiros and Hinton, as in Sketch-RNN, by step, layer and gate."""
    hidden, cell = list(state.hidden), list(state.cell)
    outputs = []
    for x in inputs:
        for k, layer in enumerate(model.layers):
            parameters = dict(layer.named_parameters())
            gates = []
            for gate in range(4):
                rows = slice(gate * model.hidden, (gate + 1) * model.hidden)
                total = x @ parameters["weight_ih"][rows].T + hidden[k] @ parameters["weight_hh"][rows].T
                gain, bias = parameters[f"gate_norms.{gate}.weight"], parameters[f"gate_norms.{gate}.bias"]
                gates.append(functional.layer_norm(total, (model.hidden,), gain, bias, 1e-3))
            kept = torch.sigmoid(gates[1]) * cell[k]
            cell[k] = kept + torch.sigmoid(gates[0]) * torch.tanh(gates[2])
            gain, bias = parameters["cell_norm.weight"], parameters["cell_norm.bias"]
            squashed = torch.tanh(functional.layer_norm(cell[k], (model.hidden,), gain, bias, 1e-3))
            x = hidden[k] = torch.sigmoid(gates[3]) * squashed
        outputs.append(x)
    return torch.stack(outputs), LSTMState(torch.stack(hidden), torch.stack(cell))


@LAYERS
@SIZES
def test_forward_equals_the_published_formulas(layers: int, steps: int, batch: int) -> None:
    model, inputs, state = make_lstm(layers), random_inputs(steps, batch), random_state(layers, batch)
    expected = reference_forward(model, inputs, state)
    torch.testing.assert_close(model(inputs, state), expected, rtol=1e-12, atol=1e-12)


@LAYERS
@SIZES
def test_steps_equal_forward_in_float32(layers: int, steps: int, batch: int) -> None:
    model, inputs = make_lstm(layers).float(), random_inputs(steps, batch).float()
    expected, last = model(inputs, model.initial_state(batch))
    state = model.initial_state(batch)
    for t in range(steps):
        output, state = model.step(inputs[t], state)
        torch.testing.assert_close(output, expected[t], rtol=0, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


@LAYERS
def test_gradients_equal_finite_differences(layers: int) -> None:
    """Derivatives of outputs and last state by inputs, initial state and all parameters."""
    model = make_lstm(layers, hidden=3)
    names = [name for name, _ in model.named_parameters()]

    def run(inputs: Tensor, hidden: Tensor, cell: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        arguments = (inputs, LSTMState(hidden, cell))
        outputs, state = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), arguments)
        return outputs, *state

    arguments = (random_inputs(2, 2), *random_state(layers, 2, hidden=3), *model.parameters())
    assert torch.autograd.gradcheck(run, [argument.detach().requires_grad_() for argument in arguments])


def test_padding_and_other_sequences_change_neither_outputs_nor_gradients() -> None:
    model, inputs, state = make_lstm(2), random_inputs(9, 4), random_state(2, 4)
    inputs.requires_grad_()
    together, _ = model(inputs, state)
    alone, _ = model(inputs[:5, 1:2], LSTMState(state.hidden[:, 1:2], state.cell[:, 1:2]))
    torch.testing.assert_close(together[:5, 1:2], alone)
    (gradient,) = torch.autograd.grad(together[:5, 1].square().sum(), inputs)
    assert (gradient[:5, 1] != 0).all()
    assert (gradient[5:] == 0).all()
    assert (gradient[:, [0, 2, 3]] == 0).all()


def test_outputs_are_invariant_to_the_scale_of_a_gates_weights() -> None:
    """Table 1 of Ba et al.; the variances of the sums are 1e4 and 1e6, so the epsilon of 1e-3 is negligible."""
    model, inputs, state = make_lstm(), random_inputs(6, 4), random_state(1, 4)
    weights = [model.layers[0].get_parameter(name).data for name in ("weight_ih", "weight_hh")]
    for weight in weights:
        weight *= 100
    before, _ = model(inputs, state)
    for weight in weights:
        weight[7:14] *= 10  # the forget gate
    torch.testing.assert_close(model(inputs, state)[0], before, rtol=0, atol=1e-5)
    weights[0][7:14] *= 10  # its input weights without its recurrent weights: outputs change
    assert (model(inputs, state)[0] - before).abs().max() > 1e-2


def test_initialization() -> None:
    """Recurrent weights are orthogonal per gate, input weights within Glorot's bound; gains are 1, biases are 0 except
    the forget gate's, which are 1.

    The largest of at least 2,048 input weights is within 1% of the bound; false failure e^-20.
    """
    model = LayerNormLSTM(32, 64, layers=2)
    for layer, in_features in zip(model.layers, (32, 64), strict=True):
        parameters = dict(layer.named_parameters())
        bound = (6 / (in_features + 64)) ** 0.5
        for gate in range(4):
            recurrent, weight = (parameters[name].detach().chunk(4)[gate] for name in ("weight_hh", "weight_ih"))
            torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(64), atol=1e-5, rtol=0)
            assert 0.99 * bound < float(weight.abs().max()) <= bound
            assert (parameters[f"gate_norms.{gate}.weight"] == 1).all()
            assert (parameters[f"gate_norms.{gate}.bias"] == (gate == 1)).all()
        assert (parameters["cell_norm.weight"] == 1).all()
        assert (parameters["cell_norm.bias"] == 0).all()


def test_interface_equals_that_of_the_plain_lstm() -> None:
    """Except for skip connections and a layer below the stack, which only the plain LSTM supports."""
    for method in ("__init__", "initial_state", "forward", "step"):
        names, plain_names = (list(inspect.signature(getattr(cls, method)).parameters) for cls in (LayerNormLSTM, LSTM))
        assert names == [name for name in plain_names if name not in ("skip", "lower", "lower_features")]
    models = LayerNormLSTM(3, 7, 2, 0.4, 0.2), LSTM(3, 7, 2, 0.4, 0.2)
    settings, plain_settings = (
        (model.hidden, model.dropout, model.recurrent_dropout, len(model.layers)) for model in models
    )
    assert settings == plain_settings == (7, 0.4, 0.2, 2)
    state, plain_state = (model.initial_state(5) for model in models)
    torch.testing.assert_close(state, plain_state)


def test_dropout_uses_one_mask_per_sequence_and_leaves_the_state_unchanged() -> None:
    """Kept units are divided by 0.75. Of 2,000 units, the fraction that is kept is within 5 standard deviations; false
    failure 1 in 10^6."""
    model = make_lstm(hidden=100, dropout=0.25)
    inputs, state = random_inputs(6, 20), random_state(1, 20, hidden=100)
    dropped, last = model(inputs, state)
    outputs, expected = model.eval()(inputs, state)
    mask = dropped[0] != 0
    torch.testing.assert_close(dropped, outputs * mask / 0.75)
    torch.testing.assert_close(last, expected)
    assert float(mask.double().mean()) == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 2000) ** 0.5)


def test_dropout_is_applied_between_layers() -> None:
    """With the same seed, the layers run one after the other give the outputs of the stack."""
    model, inputs, state = make_lstm(layers=2, dropout=0.5), random_inputs(6, 4), random_state(2, 4)
    lower, upper = deepcopy(model), deepcopy(model)
    del lower.layers[1], upper.layers[0]
    torch.manual_seed(1)
    expected, _ = model(inputs, state)
    torch.manual_seed(1)
    between, _ = lower(inputs, LSTMState(state.hidden[:1], state.cell[:1]))
    outputs, _ = upper(between, LSTMState(state.hidden[1:], state.cell[1:]))
    torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_recurrent_dropout_uses_one_mask_per_pass(p: float) -> None:
    """Dropped weights have no gradient. Evaluation with the remaining weights divided by 1 - p gives the same outputs.

    Of 10,000 weights, the fraction that is kept is within 5 standard deviations; false failure 1 in 10^6.
    """
    model = make_lstm(hidden=50, recurrent_dropout=p)
    inputs, state = random_inputs(6, 4), random_state(1, 4, hidden=50)
    outputs, last = model(inputs, state)
    weight = model.layers[0].get_parameter("weight_hh")
    (gradient,) = torch.autograd.grad(outputs.square().sum(), weight)
    mask = gradient != 0
    assert float(mask.double().mean()) == pytest.approx(1 - p, abs=5 * (p * (1 - p) / weight.numel()) ** 0.5)
    model.eval()
    assert not torch.equal(model(inputs, state)[0], outputs)
    weight.data *= mask / (1 - p)
    torch.testing.assert_close(model(inputs, state), (outputs, last))


def test_recurrent_dropout_samples_a_new_mask_per_pass_and_layer_in_training_only() -> None:
    model, inputs, state = make_lstm(layers=2, recurrent_dropout=0.5), random_inputs(3, 4), random_state(2, 4)
    weights = [layer.get_parameter("weight_hh") for layer in model.layers]

    def masks() -> list[Tensor]:
        gradients = torch.autograd.grad(model(inputs, state)[0].square().sum(), weights)
        return [gradient != 0 for gradient in gradients]

    first, second = masks(), masks()
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[0], first[1])
    output, _ = model.step(inputs[0], state)
    model.eval()
    assert all(mask.all() for mask in masks())
    torch.testing.assert_close(model(inputs, state)[0][0], output)


@LAYERS
def test_bfloat16_is_close_to_float32(layers: int) -> None:
    """bfloat16 has 8 bits of precision: outputs and cell states agree within 3%, gradients within 10% in norm.

    Cell states and gradients are float32.
    """
    model = make_lstm(layers, hidden=64).float()
    inputs = random_inputs(20, 8).float()
    weights = list(model.parameters())
    expected, expected_state = model(inputs, model.initial_state(8))
    expected_gradients = torch.autograd.grad(expected.square().mean(), weights)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state = model(inputs, model.initial_state(8))
        first_output, _ = model.step(inputs[0], model.initial_state(8))
    assert outputs.dtype == first_output.dtype == state.hidden.dtype == torch.bfloat16
    assert state.cell.dtype == torch.float32
    assert (state.cell != state.cell.bfloat16()).any()
    assert relative_error(outputs, expected) < 0.03
    assert relative_error(state.cell, expected_state.cell) < 0.03
    torch.testing.assert_close(first_output, outputs[0])
    gradients = torch.autograd.grad(outputs.float().square().mean(), weights)
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    flat, expected_flat = (torch.cat([part.flatten() for part in parts]) for parts in (gradients, expected_gradients))
    assert relative_error(flat, expected_flat) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    model, inputs, state = make_lstm(2), random_inputs(6, 4), random_state(2, 4)
    results = []
    for device in ("cpu", "cuda"):
        model.to(device)
        outputs, last = model(inputs.to(device), LSTMState(*(part.to(device) for part in state)))
        gradients = torch.autograd.grad(outputs.square().sum(), list(model.parameters()))
        results.append([part.cpu() for part in (outputs, *last, *gradients)])
    torch.testing.assert_close(*results)
