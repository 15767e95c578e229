"""The kernels of LayerNormLSTM: outputs, last states and all gradients are those of its loop. Where there is no GPU
they run in Triton's interpreter."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTMState
from tests.kernels.helpers import DEVICE, furthest

INPUTS = 3


def model_of(hidden: int, layers: int, **dropouts: float) -> LayerNormLSTM:
    """Every gain and bias off its start."""
    model = LayerNormLSTM(INPUTS, hidden, layers, **dropouts)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.to(DEVICE)


def results(
    model: LayerNormLSTM, inputs: Tensor, state: LSTMState, kernels: bool, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Outputs, last states, and the gradients of a random sum of them by inputs, first state and all parameters."""
    leaves = [part.detach().requires_grad_() for part in (inputs, *state)]
    torch.manual_seed(1)
    with pytest.MonkeyPatch.context() as patch, torch.autocast(DEVICE, dtype, enabled=dtype == torch.bfloat16):
        patch.setattr("mdnrnn.nn.layer_norm.kernels_available", lambda tensor: kernels)
        outputs, last = model(leaves[0], LSTMState(*leaves[1:]))
        found = [outputs, *last]
        weights = [torch.randn(part.shape, generator=torch.Generator().manual_seed(2)).to(part) for part in found]
        loss = sum((part * weight).sum() for part, weight in zip(found, weights, strict=True))
        assert isinstance(loss, Tensor)
        gradients = torch.autograd.grad(loss, [*leaves, *model.parameters()])
    return [part.detach() for part in (*found, *gradients)]


def state_of(layers: int, batch: int, hidden: int) -> LSTMState:
    return LSTMState(*torch.randn(2, layers, batch, hidden).to(DEVICE))


CASES: dict[str, tuple[int, int, int, int]] = {  # steps, batch, H, layers
    "one tile": (5, 3, 64, 1),
    "three layers": (4, 3, 64, 3),
    "more rows than a program takes": (3, 19, 64, 1),
    "three tiles": (3, 2, 192, 1),
    "two tiles or one": (2, 2, 128, 1),
    "one step": (1, 3, 64, 1),
    "one sequence": (4, 1, 64, 1),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)


@EVERY_CASE
def test_in_float32_kernels_are_the_loop_in_float64(case: str) -> None:
    steps, batch, hidden, layers = CASES[case]
    model, inputs, state = model_of(hidden, layers), torch.randn(steps, batch, INPUTS), state_of(layers, batch, hidden)
    truth = results(
        deepcopy(model).double(), inputs.to(DEVICE).double(), LSTMState(*(x.double() for x in state)), False
    )
    found = results(model, inputs.to(DEVICE), state, True)
    assert all(part.dtype == torch.float32 for part in found)
    assert furthest(found, truth) < 1e-5


@EVERY_CASE
def test_in_bfloat16_kernels_are_the_loop_nearly(case: str) -> None:
    """A bfloat16 has 8 bits; 2% of a norm. Types are the loop's."""
    steps, batch, hidden, layers = CASES[case]
    model, inputs, state = model_of(hidden, layers), torch.randn(steps, batch, INPUTS), state_of(layers, batch, hidden)
    arguments = model, inputs.to(DEVICE), state
    found, expected = (results(*arguments, kernels, torch.bfloat16) for kernels in (True, False))
    assert [part.dtype for part in found] == [part.dtype for part in expected]
    assert furthest(found, expected) < 0.02


def test_dropouts_are_the_loops() -> None:
    """The same draws, of units between layers and of recurrent weights."""
    model, inputs, state = (
        model_of(64, 2, dropout=0.3, recurrent_dropout=0.2),
        torch.randn(3, 2, INPUTS),
        state_of(2, 2, 64),
    )
    found, expected = (results(model, inputs.to(DEVICE), state, kernels) for kernels in (True, False))
    assert (found[0] == 0).any()
    assert furthest(found, expected) < 1e-5


def test_a_large_mean_does_not_drown_the_spread() -> None:
    """Sums of mean 1000 and spread 3 in float32: variances as differences of squares would be off by a percent."""
    model, inputs, state = model_of(192, 1), torch.randn(2, 3, INPUTS), state_of(1, 3, 192)
    inputs[..., 0] = 1
    model.layers[0].get_parameter("weight_ih").data[:, 0] = 1000
    truth = results(
        deepcopy(model).double(), inputs.to(DEVICE).double(), LSTMState(*(x.double() for x in state)), False
    )
    assert furthest(results(model, inputs.to(DEVICE), state, True)[:3], truth[:3]) < 5e-4


def test_what_comes_out_may_be_written_over() -> None:
    """Gradients are from what the kernels saved, not from what others hold."""
    model, inputs, state = model_of(64, 1), torch.randn(2, 3, INPUTS).to(DEVICE), state_of(1, 3, 64)
    gradients = []
    for overwrite in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mdnrnn.nn.layer_norm.kernels_available", lambda tensor: True)
            outputs, _ = model(inputs, state)
        loss = outputs.sum()
        if overwrite:
            outputs.detach().zero_()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(*gradients)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("steps", "dtype", "within"),
    [(10, torch.float32, 5e-5), (10, torch.bfloat16, 0.05), (100, torch.float32, 0.01)],
    ids=["float32", "bfloat16", "long, float32"],
)
@pytest.mark.parametrize(("batch", "hidden"), [(64, 512), (100, 256), (7, 320)])
def test_at_real_sizes_kernels_are_the_loop_on_the_same_device(
    batch: int, hidden: int, steps: int, dtype: torch.dtype, within: float
) -> None:
    """Two layers, twice the same to the bit. Differences grow from step to step: on a CPU, the loop in float32 and in
    float64 differ by 1.4e-6 after 10 steps and by 6e-4 after 100, in bfloat16 by 0.016 and by more than there is."""
    model, state = model_of(hidden, 2), state_of(2, batch, hidden)
    inputs = torch.randn(steps, batch, INPUTS).to(DEVICE)
    found, again, expected = (results(model, inputs, state, kernels, dtype) for kernels in (True, True, False))
    torch.testing.assert_close(again, found, rtol=0, atol=0)
    assert furthest(found, expected) < within
