"""LayerNormLSTM: the formulas written out, their invariances, stepping is the forward pass, what dropouts drop."""

import inspect
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTM, LSTMState

LAYERS = pytest.mark.parametrize("layers", [1, 3], ids=["one layer", "three layers"])
SHAPES = pytest.mark.parametrize(
    ("steps", "batch"), [(6, 4), (1, 4), (6, 1), (1, 1)], ids=["many steps", "one step", "one sequence", "one of both"]
)


def model_of(layers: int = 1, hidden: int = 7, dropout: float = 0.0, recurrent_dropout: float = 0.0) -> LayerNormLSTM:
    """Three inputs, float64, every gain and bias off its start."""
    model = LayerNormLSTM(3, hidden, layers, dropout, recurrent_dropout).double()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def random_state(layers: int, batch: int, hidden: int = 7) -> LSTMState:
    return LSTMState(*torch.randn(2, layers, batch, hidden, dtype=torch.float64))


def inputs_of(steps: int, batch: int) -> Tensor:
    return torch.randn(steps, batch, 3, dtype=torch.float64)


def written_out(model: LayerNormLSTM, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
    """Ba, Kiros and Hinton's formulas in Sketch-RNN's arrangement: step by step, layer by layer, gate by gate."""
    hidden, cell = list(state.hidden), list(state.cell)
    outputs = []
    for x in inputs:
        for k, layer in enumerate(model.layers):
            own = dict(layer.named_parameters())
            normed = []
            for gate in range(4):
                rows = slice(gate * model.hidden, (gate + 1) * model.hidden)
                total = x @ own["weight_ih"][rows].T + hidden[k] @ own["weight_hh"][rows].T
                gain, bias = own[f"gate_norms.{gate}.weight"], own[f"gate_norms.{gate}.bias"]
                normed.append(functional.layer_norm(total, (model.hidden,), gain, bias, 1e-3))
            remembered = torch.sigmoid(normed[1]) * cell[k]
            cell[k] = remembered + torch.sigmoid(normed[0]) * torch.tanh(normed[2])
            gain, bias = own["cell_norm.weight"], own["cell_norm.bias"]
            shown = torch.tanh(functional.layer_norm(cell[k], (model.hidden,), gain, bias, 1e-3))
            x = hidden[k] = torch.sigmoid(normed[3]) * shown
        outputs.append(x)
    return torch.stack(outputs), LSTMState(torch.stack(hidden), torch.stack(cell))


@LAYERS
@SHAPES
def test_forward_is_the_formulas(layers: int, steps: int, batch: int) -> None:
    model, inputs, state = model_of(layers), inputs_of(steps, batch), random_state(layers, batch)
    torch.testing.assert_close(model(inputs, state), written_out(model, inputs, state), rtol=1e-12, atol=1e-12)


@LAYERS
@SHAPES
def test_stepping_is_the_forward_pass(layers: int, steps: int, batch: int) -> None:
    """In float32, from the initial state."""
    model, inputs = model_of(layers).float(), inputs_of(steps, batch).float()
    expected, last = model(inputs, model.initial_state(batch))
    state = model.initial_state(batch)
    for t in range(steps):
        output, state = model.step(inputs[t], state)
        torch.testing.assert_close(output, expected[t], rtol=0, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


@LAYERS
def test_gradients_are_difference_quotients(layers: int) -> None:
    """Of outputs and last state, to inputs, first state and every parameter."""
    model = model_of(layers, hidden=3)
    names = [name for name, _ in model.named_parameters()]

    def run(inputs: Tensor, hidden: Tensor, cell: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        arguments = (inputs, LSTMState(hidden, cell))
        outputs, state = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), arguments)
        return outputs, *state

    arguments = (inputs_of(3, 2), *random_state(layers, 2, hidden=3), *model.parameters())
    assert torch.autograd.gradcheck(run, [argument.detach().requires_grad_() for argument in arguments])


def test_padding_and_company_change_nothing() -> None:
    """Neither steps after a sequence's end nor sequences beside it, whatever is in them."""
    model, inputs, state = model_of(2), inputs_of(9, 4), random_state(2, 4)
    inputs.requires_grad_()
    together, _ = model(inputs, state)
    alone, _ = model(inputs[:5, 1:2], LSTMState(state.hidden[:, 1:2], state.cell[:, 1:2]))
    torch.testing.assert_close(together[:5, 1:2], alone)
    (gradient,) = torch.autograd.grad(together[:5, 1].square().sum(), inputs)
    assert (gradient[:5, 1] != 0).all()
    assert (gradient[5:] == 0).all()
    assert (gradient[:, [0, 2, 3]] == 0).all()


def test_the_scale_of_a_gates_weights_changes_nothing() -> None:
    """Ba et al.'s table 1, but for the epsilon: gates of variance 1e4 and 1e6 beside its 1e-3."""
    model, inputs, state = model_of(), inputs_of(6, 4), random_state(1, 4)
    weights = [model.layers[0].get_parameter(name).data for name in ("weight_ih", "weight_hh")]
    for weight in weights:
        weight *= 100
    before, _ = model(inputs, state)
    for weight in weights:
        weight[7:14] *= 10  # the forget gate's
    torch.testing.assert_close(model(inputs, state)[0], before, rtol=0, atol=1e-5)
    weights[0][7:14] *= 10  # the inputs' alone
    assert (model(inputs, state)[0] - before).abs().max() > 1e-2


def test_the_start_is_sound() -> None:
    """Orthogonal recurrent gates, Glorot's bound gate by gate, gains 1, biases 0 but the forget gate's, which are 1."""
    model = LayerNormLSTM(32, 64, layers=2)
    for layer, in_features in zip(model.layers, (32, 64), strict=True):
        own = dict(layer.named_parameters())
        for gate in range(4):
            recurrent, inward = (own[name].detach().chunk(4)[gate] for name in ("weight_hh", "weight_ih"))
            torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(64), atol=1e-5, rtol=0)
            bound = (6 / (in_features + 64)) ** 0.5  # of 2048 numbers or more the largest is within 1%: missed by e^-20
            assert 0.99 * bound < float(inward.abs().max()) <= bound
            assert (own[f"gate_norms.{gate}.weight"] == 1).all()
            assert (own[f"gate_norms.{gate}.bias"] == (gate == 1)).all()
        assert (own["cell_norm.weight"] == 1).all()
        assert (own["cell_norm.bias"] == 0).all()


def test_the_interface_is_the_fused_lstms() -> None:
    """But for layers beside each other, which it does not have: skip and below."""
    for method in ("__init__", "initial_state", "forward", "step"):
        own, other = (list(inspect.signature(getattr(kind, method)).parameters) for kind in (LayerNormLSTM, LSTM))
        assert own == [name for name in other if name not in ("skip", "lower", "lower_features")]
    models = LayerNormLSTM(3, 7, 2, 0.4, 0.2), LSTM(3, 7, 2, 0.4, 0.2)
    ours, fused = ((model.hidden, model.dropout, model.recurrent_dropout, len(model.layers)) for model in models)
    assert ours == fused == (7, 0.4, 0.2, 2)
    ours_state, fused_state = (model.initial_state(5) for model in models)
    torch.testing.assert_close(ours_state, fused_state)


def test_dropout_is_one_mask_for_all_steps() -> None:
    """Of outputs alone, scaled up by 1 / 0.75; of 2000 units, 5 standard deviations of those kept fail 1 in 10^6."""
    model, inputs, state = model_of(hidden=100, dropout=0.25), inputs_of(6, 20), random_state(1, 20, hidden=100)
    dropped, last = model(inputs, state)
    kept, expected = model.eval()(inputs, state)
    mask = dropped[0] != 0
    torch.testing.assert_close(dropped, kept * mask / 0.75)
    torch.testing.assert_close(last, expected)
    assert float(mask.double().mean()) == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 2000) ** 0.5)


def test_dropout_is_between_layers_too() -> None:
    """The same masks: a unit of the lower layer that is dropped is an input of zeros to the upper one."""
    model, inputs, state = model_of(layers=2, dropout=0.5), inputs_of(6, 4), random_state(2, 4)
    lower, upper = deepcopy(model), deepcopy(model)
    del lower.layers[1], upper.layers[0]
    torch.manual_seed(1)
    expected, _ = model(inputs, state)
    torch.manual_seed(1)
    between, _ = lower(inputs, LSTMState(state.hidden[:1], state.cell[:1]))
    outputs, _ = upper(between, LSTMState(state.hidden[1:], state.cell[1:]))
    torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_recurrent_dropout_is_one_mask_on_the_recurrent_weights(p: float) -> None:
    """Weights without a gradient are those dropped; with the others scaled up by 1 / (1 - p), evaluation gives the
    same. Of 10,000 weights, 5 standard deviations of those kept fail 1 in 10^6."""
    model, inputs, state = model_of(hidden=50, recurrent_dropout=p), inputs_of(6, 4), random_state(1, 4, hidden=50)
    outputs, last = model(inputs, state)
    weight = model.layers[0].get_parameter("weight_hh")
    (gradient,) = torch.autograd.grad(outputs.square().sum(), weight)
    mask = gradient != 0
    assert float(mask.double().mean()) == pytest.approx(1 - p, abs=5 * (p * (1 - p) / weight.numel()) ** 0.5)
    model.eval()
    assert not torch.equal(model(inputs, state)[0], outputs)
    weight.data *= mask / (1 - p)
    torch.testing.assert_close(model(inputs, state), (outputs, last))


def test_recurrent_dropout_draws_anew_for_each_pass_and_layer_in_training_only() -> None:
    model, inputs, state = model_of(layers=2, recurrent_dropout=0.5), inputs_of(3, 4), random_state(2, 4)
    weights = [layer.get_parameter("weight_hh") for layer in model.layers]

    def masks() -> list[Tensor]:
        gradients = torch.autograd.grad(model(inputs, state)[0].square().sum(), weights)
        return [gradient != 0 for gradient in gradients]

    one, other = masks(), masks()
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[0], one[1])
    stepped, _ = model.step(inputs[0], state)
    model.eval()
    assert all(mask.all() for mask in masks())
    torch.testing.assert_close(model(inputs, state)[0][0], stepped)


def off(found: Tensor, expected: Tensor) -> float:
    """The difference's norm, in units of what was expected."""
    return float((found - expected).detach().norm() / expected.detach().norm())


@LAYERS
def test_in_bfloat16_it_is_nearly_what_it_is_in_float32(layers: int) -> None:
    """A bfloat16 has 8 bits: outputs and cells within 3% of their norm, gradients within 10%. Cells stay float32."""
    model = model_of(layers, hidden=64).float()
    inputs = inputs_of(20, 8).float()
    weights = list(model.parameters())
    outputs, last = model(inputs, model.initial_state(8))
    gradients = torch.autograd.grad(outputs.square().mean(), weights)
    with torch.autocast("cpu", torch.bfloat16):
        narrow, state = model(inputs, model.initial_state(8))
        stepped, _ = model.step(inputs[0], model.initial_state(8))
    assert narrow.dtype == stepped.dtype == state.hidden.dtype == torch.bfloat16
    assert state.cell.dtype == torch.float32
    assert (state.cell != state.cell.bfloat16()).any()
    assert off(narrow, outputs) < 0.03
    assert off(state.cell, last.cell) < 0.03
    torch.testing.assert_close(stepped, narrow[0])
    found = torch.autograd.grad(narrow.float().square().mean(), weights)
    assert all(gradient.dtype == torch.float32 for gradient in found)
    assert off(*(torch.cat([part.flatten() for part in parts]) for parts in (found, gradients))) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_it_is_what_it_is_on_the_cpu() -> None:
    model, inputs, state = model_of(2), inputs_of(6, 4), random_state(2, 4)
    results = []
    for device in ("cpu", "cuda"):
        model.to(device)
        outputs, last = model(inputs.to(device), LSTMState(*(part.to(device) for part in state)))
        gradients = torch.autograd.grad(outputs.square().sum(), list(model.parameters()))
        results.append([part.cpu() for part in (outputs, *last, *gradients)])
    torch.testing.assert_close(*results)
