"""Tests of the GRU against the formula in its module."""

import pytest
import torch

from mdnrnn.nn.gru import GRU, GRUState


@pytest.mark.parametrize("skip", [False, True])
def test_outputs_equal_the_formula(skip: bool) -> None:
    torch.manual_seed(0)
    model = GRU(5, 8, layers=2, skip=skip).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    inputs, state = torch.randn(6, 3, 5, dtype=torch.float64), torch.randn(2, 3, 8, dtype=torch.float64)
    outputs, last = model(inputs, GRUState(state))
    hidden = list(state)
    for t in range(6):
        lower = inputs[t]
        for index, layer in enumerate(model.layers):
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            w, v, b, c = (layer.get_parameter(name) for name in names)
            (x_r, x_u, x_n), (h_r, h_u, h_n) = (lower @ w.T + b).chunk(3, -1), (hidden[index] @ v.T + c).chunk(3, -1)
            r, u = torch.sigmoid(x_r + h_r), torch.sigmoid(x_u + h_u)
            hidden[index] = (1 - u) * torch.tanh(x_n + r * h_n) + u * hidden[index]
            lower = torch.cat([inputs[t], hidden[index]], -1) if skip else hidden[index]
        torch.testing.assert_close(outputs[t], torch.cat(hidden, -1) if skip else hidden[-1])
    torch.testing.assert_close(last.hidden, torch.stack(hidden))


def test_initialization() -> None:
    """Recurrent gates are orthogonal, and all biases are 0."""
    layer = GRU(5, 16).layers[0]
    for gate in layer.get_parameter("weight_hh_l0").chunk(3):
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)
    assert not layer.get_parameter("bias_ih_l0").any()
    assert not layer.get_parameter("bias_hh_l0").any()


def test_autocast_runs_in_half_precision() -> None:
    model = GRU(5, 8, layers=2)
    inputs, state = torch.randn(4, 3, 5), model.initial_state(3)
    expected, _ = model(inputs, state)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, last = model(inputs, state)
    assert outputs.dtype == last.hidden.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), expected, atol=0.02, rtol=0.02)
