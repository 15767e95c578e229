"""The kernels of WindowLSTM compute the results and gradients of its loops.

They run on a GPU or in Triton's interpreter.
"""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.attention_window import Text, WindowLSTM, WindowState
from mdnrnn.nn.lstm import LSTMState
from tests.kernels.helpers import DEVICE, largest_error

INPUTS = 3


def make_case(
    steps: int, batch: int, hidden: int, length: int, characters: int, components: int
) -> tuple[WindowLSTM, Tensor, Text, WindowState]:
    """Return a layer with random weights, inputs, texts of several lengths and a state with the window inside them."""
    layer = WindowLSTM(INPUTS, hidden, characters, components)
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    letters = torch.randint(0, characters, (length, batch))
    lengths = torch.randint(1, length + 1, (batch,))
    mask = torch.arange(length)[:, None, None] < lengths[:, None]
    one_hot = torch.nn.functional.one_hot(letters, characters) * mask
    draw = lambda *shape: torch.randn(1, batch, *shape)  # noqa: E731
    state = WindowState(
        LSTMState(draw(hidden), draw(hidden)), length / 2 + draw(components), draw(characters), torch.zeros(1, batch, 1)
    )
    inputs = torch.randn(steps, batch, INPUTS)
    return layer, inputs, Text(one_hot.float(), lengths.float().view(1, batch, 1)), state


def run(
    layer: WindowLSTM,
    inputs: Tensor,
    text: Text,
    state: WindowState,
    kernels: bool,
    dtype: torch.dtype = torch.float32,
    used: tuple[bool, bool] = (True, True),
) -> list[Tensor]:
    """Return hidden states, contexts, phi, and gradients by inputs, initial state and parameters.

    The loss is a random linear function of hidden states and contexts, as far as they are `used`. With float64
    everything is float64.
    """
    parameter_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    layer = deepcopy(layer).to(DEVICE, parameter_dtype)
    leaves = [
        x.to(DEVICE, parameter_dtype).requires_grad_() for x in (inputs, *state.lstm, state.centers, state.context)
    ]
    initial = WindowState(LSTMState(leaves[1], leaves[2]), leaves[3], leaves[4], state.finished)
    text = Text(*(part.to(DEVICE, parameter_dtype) for part in text))
    with pytest.MonkeyPatch.context() as patch, torch.autocast(DEVICE, dtype, enabled=dtype == torch.bfloat16):
        patch.setattr("mdnrnn.nn.attention_window_loop.kernels_available", lambda tensor: kernels)
        results = layer(leaves[0], text, initial)
        with torch.no_grad():  # on a GPU this is another program, which may round differently
            without_grad, tolerance = layer(leaves[0], text, initial), 0 if DEVICE == "cpu" else 0.02
            torch.testing.assert_close(without_grad, results, rtol=tolerance, atol=tolerance)
        generator = torch.Generator().manual_seed(2)
        weights = [torch.randn(part.shape, generator=generator).to(part) for part in results[:2]]
        terms = [(part * weight).sum() for part, weight, use in zip(results, weights, used, strict=False) if use]
        gradients = torch.autograd.grad(torch.stack(terms).sum(), [*leaves, *layer.parameters()])
    return [part.detach() for part in (*results, *gradients)]


CASES: dict[str, tuple[int, int, int, int, int, int]] = {  # steps, batch, H, U, C, K
    "small": (3, 3, 16, 5, 6, 2),
    "two programs": (2, 19, 16, 4, 3, 1),
    "several tiles": (2, 2, 80, 70, 9, 3),
    "H and C in two tiles": (2, 2, 64, 3, 70, 12),
    "one step, one sequence": (1, 1, 32, 17, 5, 10),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)


@EVERY_CASE
def test_float32_kernels_match_the_loops_in_float64(case: str) -> None:
    arguments = make_case(*CASES[case])
    results, expected = run(*arguments, True), run(*arguments, False, torch.float64)
    assert all(part.dtype == torch.float32 for part in results)
    assert largest_error(results, expected) < 1e-5


@EVERY_CASE
def test_bfloat16_kernels_match_the_bfloat16_loops(case: str) -> None:
    """bfloat16 has 8 significant bits: within 3% of a norm. The dtypes are equal."""
    arguments = make_case(*CASES[case])
    results, expected = (run(*arguments, kernels, torch.bfloat16) for kernels in (True, False))
    assert [part.dtype for part in results] == [part.dtype for part in expected]
    assert largest_error(results, expected) < 0.03


@pytest.mark.parametrize("used", [(True, False), (False, True)], ids=["hidden states", "contexts"])
def test_gradients_of_one_of_two_outputs(used: tuple[bool, bool]) -> None:
    arguments = make_case(*CASES["small"])
    results, expected = run(*arguments, True, used=used), run(*arguments, False, torch.float64, used)
    assert largest_error(results, expected) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("steps", "dtype", "tolerance"),
    [(10, torch.float32, 5e-5), (10, torch.bfloat16, 0.05), (100, torch.float32, 0.01)],
    ids=["float32", "bfloat16", "float32, 100 steps"],
)
@pytest.mark.parametrize("batch", [64, 7])
def test_kernels_match_the_loops_on_a_gpu_at_typical_sizes(
    batch: int, steps: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Repeated calls give identical bits.

    Differences grow with every step: on a CPU, the loops in float32 and float64 differ by 2.9e-6 after 10 steps and by
    9e-4 after 100.
    """
    arguments = make_case(steps, batch, 400, 60, 79, 10)
    results, repeated, expected = (run(*arguments, kernels, dtype) for kernels in (True, True, False))
    torch.testing.assert_close(repeated, results, rtol=0, atol=0)
    assert largest_error(results, expected) < tolerance
