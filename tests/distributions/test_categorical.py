"""Tempered, biased and truncated logits: very low temperatures, very large biases, top-k and top-p."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mdnrnn.distributions.categorical import bias_logits, temper_logits, truncate_logits

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


def truncate_reference(probs: np.ndarray, top_k: int | None, top_p: float | None) -> np.ndarray:
    """Return the renormalized probabilities (K,) of the most probable classes, selected one at a time."""
    order = np.argsort(-probs)[:top_k]
    kept: list[int] = []
    for index in order:
        kept.append(index)
        if top_p is not None and probs[kept].sum() / probs[order].sum() >= top_p:
            break
    result = np.zeros_like(probs)
    result[kept] = probs[kept] / probs[kept].sum()
    return result


@given(
    classes=st.integers(1, 8),
    top_k=st.none() | st.integers(1, 9),
    top_p=st.none() | st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_truncated_logits_keep_the_most_probable_classes(
    classes: int, top_k: int | None, top_p: float | None, seed: int
) -> None:
    """For random logits of three batch elements, one of them with an impossible class."""
    logits = torch.randn(3, classes + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    logits[0, 0] = -math.inf
    truncated = torch.softmax(truncate_logits(logits, top_k, top_p), -1).numpy()
    for row, probs in zip(truncated, torch.softmax(logits, -1).numpy(), strict=True):
        np.testing.assert_allclose(row, truncate_reference(probs, top_k, top_p), atol=1e-12)


def test_one_class_and_a_total_probability_near_0_keep_the_largest_logit() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [-1e4, -2e4, -3e4], [5.0, -math.inf, 6.0]])
    for truncated in (truncate_logits(logits, 1), truncate_logits(logits, None, 1e-30)):
        assert torch.equal(torch.softmax(truncated, -1), torch.eye(3)[logits.argmax(-1)])


def test_all_classes_and_a_total_probability_of_1_change_nothing() -> None:
    logits = torch.tensor([0.0, -100.0, -math.inf, math.nan])
    for truncated in (truncate_logits(logits), truncate_logits(logits, 4), truncate_logits(logits, 9, 1.0)):
        assert truncated is logits


def test_classes_as_probable_as_the_last_one_are_kept() -> None:
    logits = torch.tensor([2.0, 1.0, 1.0, 0.0])
    expected = torch.tensor([2.0, 1.0, 1.0, -math.inf])
    for truncated in (truncate_logits(logits, 2), truncate_logits(logits, None, 0.7)):
        assert torch.equal(truncated, expected)


def test_nan_logits_are_not_an_error() -> None:
    logits = torch.tensor([[math.nan, math.nan], [1.0, 2.0]])
    assert torch.equal(truncate_logits(logits, 1, 0.5)[1], torch.tensor([-math.inf, 2.0]))


@pytest.mark.parametrize(("top_k", "top_p"), [(0, None), (None, 0.0), (None, 1.1), (None, math.nan)])
def test_invalid_truncations_are_rejected(top_k: int | None, top_p: float | None) -> None:
    with pytest.raises(ValueError, match=r"top_[kp]: received .*, expected"):
        truncate_logits(torch.zeros(3), top_k, top_p)
