"""Tempered and biased logits: very low temperatures and very large biases."""

import math

import pytest
import torch

from mdnrnn.distributions.categorical import bias_logits, temper_logits

LOW_TEMPERATURES = [5e-324, 1e-310, 1e-45, 1e-40, 1e-38, 1.2e-38, 1e-37, 1e-30, 1e-20, 1e-7]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", LOW_TEMPERATURES)
def test_low_temperatures_select_the_largest_logit(temperature: float, dtype: torch.dtype) -> None:
    """Logits of every sign and size; -inf is a class that cannot be selected."""
    logits = torch.tensor(
        [[1, 3, 2], [-1, -2, -3], [5e4, 6e4, -math.inf], [-7e30, -6e30, -8e30], [-0.01, 0.01, 0]], dtype=dtype
    )
    probabilities = torch.softmax(temper_logits(logits, temperature), -1)
    assert torch.equal(probabilities, torch.eye(3, dtype=dtype)[logits.argmax(-1)])


@pytest.mark.parametrize("temperature", LOW_TEMPERATURES)
def test_equal_logits_keep_equal_probabilities(temperature: float) -> None:
    tempered = temper_logits(torch.tensor([2.0, 1.0, 2.0], requires_grad=True), temperature)
    torch.testing.assert_close(torch.softmax(tempered, -1), torch.tensor([0.5, 0.0, 0.5]))


def test_ordinary_temperatures_divide_the_logits() -> None:
    logits = torch.tensor([1.0, 3.0, -2.0])
    for temperature in (1e-6, 0.3, 2.0):
        assert torch.equal(temper_logits(logits, temperature), logits / temperature)


@pytest.mark.parametrize("bias", [1e7, 1e30, 1e39, 1e308])
def test_large_biases_select_the_largest_logit(bias: float) -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [-1e4, -2e4, -3e4], [5.0, -math.inf, 6.0]])
    assert torch.equal(torch.softmax(bias_logits(logits, bias), -1), torch.eye(3)[logits.argmax(-1)])
