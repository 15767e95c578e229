"""The kernels of WindowLSTM: what goes out and all gradients are those of its loops. Where there is no GPU they run in
Triton's interpreter."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.lstm import LSTMState
from mdnrnn.nn.window import Text, WindowLSTM, WindowState
from tests.kernels.helpers import DEVICE, furthest

INPUTS = 3


def case_of(
    steps: int, batch: int, hidden: int, length: int, characters: int, components: int
) -> tuple[WindowLSTM, Tensor, Text, WindowState]:
    """Weights spread, texts of several lengths, a state on the way, where the window is somewhere on its text."""
    layer = WindowLSTM(INPUTS, hidden, characters, components)
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    letters = torch.randint(0, characters, (length, batch))
    lengths = torch.randint(1, length + 1, (batch,))
    shown = torch.nn.functional.one_hot(letters, characters) * (torch.arange(length)[:, None, None] < lengths[:, None])
    draw = lambda *shape: torch.randn(1, batch, *shape)  # noqa: E731
    state = WindowState(
        LSTMState(draw(hidden), draw(hidden)), length / 2 + draw(components), draw(characters), torch.zeros(1, batch, 1)
    )
    inputs = torch.randn(steps, batch, INPUTS)
    return layer, inputs, Text(shown.float(), lengths.float().view(1, batch, 1)), state


def results(
    layer: WindowLSTM,
    inputs: Tensor,
    text: Text,
    state: WindowState,
    kernels: bool,
    dtype: torch.dtype = torch.float32,
    used: tuple[bool, bool] = (True, True),
) -> list[Tensor]:
    """Hidden states, what is seen, phi, and the gradients of a random sum of those used by inputs, first state and all
    parameters. Dtype float64 is that of all."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    layer = deepcopy(layer).to(DEVICE, wide)
    leaves = [x.to(DEVICE, wide).requires_grad_() for x in (inputs, *state.lstm, state.centers, state.context)]
    start = WindowState(LSTMState(leaves[1], leaves[2]), leaves[3], leaves[4], state.finished)
    there = Text(*(part.to(DEVICE, wide) for part in text))
    with pytest.MonkeyPatch.context() as patch, torch.autocast(DEVICE, dtype, enabled=dtype == torch.bfloat16):
        patch.setattr("mdnrnn.nn.window_steps.kernels_available", lambda tensor: kernels)
        found = layer(leaves[0], there, start)
        with torch.no_grad():  # on a GPU another program, which may round otherwise
            lean, apart = layer(leaves[0], there, start), 0 if DEVICE == "cpu" else 0.02
            torch.testing.assert_close(lean, found, rtol=apart, atol=apart)
        generator = torch.Generator().manual_seed(2)
        weights = [torch.randn(part.shape, generator=generator).to(part) for part in found[:2]]
        parts = [(part * weight).sum() for part, weight, use in zip(found, weights, used, strict=False) if use]
        gradients = torch.autograd.grad(torch.stack(parts).sum(), [*leaves, *layer.parameters()])
    return [part.detach() for part in (*found, *gradients)]


CASES: dict[str, tuple[int, int, int, int, int, int]] = {  # steps, batch, H, U, C, K
    "small": (5, 3, 16, 5, 6, 2),
    "more rows than a program takes": (3, 19, 16, 4, 3, 1),
    "several tiles": (2, 2, 80, 70, 9, 3),
    "H and C beyond a tile": (2, 2, 64, 3, 70, 12),
    "one step, one sequence": (1, 1, 32, 17, 5, 10),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)


@EVERY_CASE
def test_in_float32_kernels_are_the_loops_in_float64(case: str) -> None:
    arguments = case_of(*CASES[case])
    found, truth = results(*arguments, True), results(*arguments, False, torch.float64)
    assert all(part.dtype == torch.float32 for part in found)
    assert furthest(found, truth) < 1e-5


@EVERY_CASE
def test_in_bfloat16_kernels_are_the_loops_nearly(case: str) -> None:
    """A bfloat16 has 8 bits; 3% of a norm. Types are the loops'."""
    arguments = case_of(*CASES[case])
    found, expected = (results(*arguments, kernels, torch.bfloat16) for kernels in (True, False))
    assert [part.dtype for part in found] == [part.dtype for part in expected]
    assert furthest(found, expected) < 0.03


@pytest.mark.parametrize("used", [(True, False), (False, True)], ids=["hidden states", "what is seen"])
def test_one_of_both_may_go_unused(used: tuple[bool, bool]) -> None:
    arguments = case_of(*CASES["small"])
    found, truth = results(*arguments, True, used=used), results(*arguments, False, torch.float64, used)
    assert furthest(found, truth) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("steps", "dtype", "within"),
    [(10, torch.float32, 5e-5), (10, torch.bfloat16, 0.05), (100, torch.float32, 0.01)],
    ids=["float32", "bfloat16", "long, float32"],
)
@pytest.mark.parametrize("batch", [64, 7])
def test_at_real_sizes_kernels_are_the_loops_on_the_same_device(
    batch: int, steps: int, dtype: torch.dtype, within: float
) -> None:
    """Twice the same, to the bit. Differences grow from step to step: on a CPU, the loops in float32 and in float64
    differ by 2.9e-6 after 10 steps and by 9e-4 after 100."""
    arguments = case_of(steps, batch, 400, 60, 79, 10)
    found, again, expected = (results(*arguments, kernels, dtype) for kernels in (True, True, False))
    torch.testing.assert_close(again, found, rtol=0, atol=0)
    assert furthest(found, expected) < within
