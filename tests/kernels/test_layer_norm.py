"""The kernels of LayerNormLSTM compute the outputs, last states and gradients of its loop.

They run on a GPU or in Triton's interpreter.
"""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.layer_norm import LayerNormLSTM
from mdnrnn.nn.lstm import LSTMState
from tests.kernels.helpers import DEVICE, largest_error

INPUTS = 3


def make_model(hidden: int, layers: int, **dropouts: float) -> LayerNormLSTM:
    """Return a model whose gains and biases differ from their initial values."""
    model = LayerNormLSTM(INPUTS, hidden, layers, **dropouts)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.to(DEVICE)


def run(
    model: LayerNormLSTM, inputs: Tensor, state: LSTMState, kernels: bool, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Return outputs, last states, and gradients by inputs, initial state and parameters of a random linear loss."""
    leaves = [part.detach().requires_grad_() for part in (inputs, *state)]
    torch.manual_seed(1)
    with pytest.MonkeyPatch.context() as patch, torch.autocast(DEVICE, dtype, enabled=dtype == torch.bfloat16):
        patch.setattr("mdnrnn.nn.layer_norm.kernels_available", lambda tensor: kernels)
        outputs, last = model(leaves[0], LSTMState(*leaves[1:]))
        results = [outputs, *last]
        weights = [torch.randn(part.shape, generator=torch.Generator().manual_seed(2)).to(part) for part in results]
        loss = sum((part * weight).sum() for part, weight in zip(results, weights, strict=True))
        assert isinstance(loss, Tensor)
        gradients = torch.autograd.grad(loss, [*leaves, *model.parameters()])
    return [part.detach() for part in (*results, *gradients)]


def run_loop_in_float64(model: LayerNormLSTM, inputs: Tensor, state: LSTMState) -> list[Tensor]:
    return run(deepcopy(model).double(), inputs.double(), LSTMState(*(part.double() for part in state)), False)


def random_inputs(steps: int, batch: int) -> Tensor:
    return torch.randn(steps, batch, INPUTS).to(DEVICE)


def random_state(layers: int, batch: int, hidden: int) -> LSTMState:
    return LSTMState(*torch.randn(2, layers, batch, hidden).to(DEVICE))


CASES: dict[str, tuple[int, int, int, int]] = {  # steps, batch, H, layers
    "one tile": (3, 3, 64, 1),
    "three layers": (2, 3, 64, 3),
    "two programs": (2, 19, 64, 1),
    "three tiles": (2, 2, 192, 1),
    "tiles of 64 or 128": (2, 2, 128, 1),
    "one step": (1, 3, 64, 1),
    "one sequence": (2, 1, 64, 1),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)


@EVERY_CASE
def test_float32_kernels_match_the_loop_in_float64(case: str) -> None:
    steps, batch, hidden, layers = CASES[case]
    model = make_model(hidden, layers)
    inputs, state = random_inputs(steps, batch), random_state(layers, batch, hidden)
    results = run(model, inputs, state, True)
    assert all(part.dtype == torch.float32 for part in results)
    assert largest_error(results, run_loop_in_float64(model, inputs, state)) < 1e-5


@EVERY_CASE
def test_bfloat16_kernels_match_the_bfloat16_loop(case: str) -> None:
    """bfloat16 has 8 significant bits: within 2% of a norm. The dtypes are equal."""
    steps, batch, hidden, layers = CASES[case]
    arguments = make_model(hidden, layers), random_inputs(steps, batch), random_state(layers, batch, hidden)
    results, expected = (run(*arguments, kernels, torch.bfloat16) for kernels in (True, False))
    assert [part.dtype for part in results] == [part.dtype for part in expected]
    assert largest_error(results, expected) < 0.02


def test_kernels_apply_the_dropouts_of_the_loop() -> None:
    """With the same random draws, for units between layers and for recurrent weights."""
    model = make_model(64, 2, dropout=0.3, recurrent_dropout=0.2)
    inputs, state = random_inputs(3, 2), random_state(2, 2, 64)
    results, expected = (run(model, inputs, state, kernels) for kernels in (True, False))
    assert (results[0] == 0).any()
    assert largest_error(results, expected) < 1e-5


def test_variances_are_accurate_for_large_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean 1000, standard deviation 3, float32: variances as differences of squares would be wrong by a percent."""
    model, inputs, state = make_model(192, 1), random_inputs(2, 3), random_state(1, 3, 192)
    inputs[..., 0] = 1
    model.layers[0].get_parameter("weight_ih").data[:, 0] = 1000
    expected = run_loop_in_float64(model, inputs, state)
    monkeypatch.setattr("mdnrnn.nn.layer_norm.kernels_available", lambda tensor: True)
    outputs, last = model(inputs, state)
    assert largest_error([outputs.detach(), *(part.detach() for part in last)], expected[:3]) < 5e-4


def test_overwriting_outputs_does_not_change_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdnrnn.nn.layer_norm.kernels_available", lambda tensor: True)
    model = make_model(64, 1)
    outputs, _ = model(random_inputs(2, 3), random_state(1, 3, 64))
    loss = outputs.sum()
    expected = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    outputs.detach().zero_()
    torch.testing.assert_close(torch.autograd.grad(loss, list(model.parameters())), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("steps", "dtype", "tolerance"),
    [(10, torch.float32, 5e-5), (10, torch.bfloat16, 0.05), (100, torch.float32, 0.01)],
    ids=["float32", "bfloat16", "float32, 100 steps"],
)
@pytest.mark.parametrize(("batch", "hidden"), [(64, 512), (100, 256), (7, 320)])
def test_kernels_match_the_loop_on_a_gpu_at_typical_sizes(
    batch: int, hidden: int, steps: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Two layers; repeated calls give identical bits.

    Differences grow with every step: on a CPU, the loops in float32 and float64 differ by 1.4e-6 after 10 steps and by
    6e-4 after 100; in bfloat16 they differ by 0.016 after 10 steps and by more than 1 after 100.
    """
    model, state = make_model(hidden, 2), random_state(2, batch, hidden)
    inputs = random_inputs(steps, batch)
    results, repeated, expected = (run(model, inputs, state, kernels, dtype) for kernels in (True, True, False))
    torch.testing.assert_close(repeated, results, rtol=0, atol=0)
    assert largest_error(results, expected) < tolerance
