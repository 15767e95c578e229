"""Tests of the transformer: attention against a direct computation, relative positions and the cache."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.transformer import Transformer, TransformerState, make_rotation, rotate


def make_transformer(span: int = 100, **options: Any) -> Transformer:
    torch.manual_seed(0)
    return Transformer(5, 16, layers=2, heads=2, span=span, **options).double().eval()


def attend(layer: Any, features: Tensor, span: int) -> Tensor:
    """Return the output of one layer for one sequence (T, H), computed step by step and head by head."""
    steps, width = features.shape
    normalized = features / (features.square().mean(-1, keepdim=True) + torch.finfo(features.dtype).eps).sqrt()
    query, key, value = (normalized * layer.attention_norm.weight @ layer.attend.weight.T).chunk(3, -1)
    size = width // layer.heads
    attended = torch.zeros_like(features)
    for head in range(layer.heads):
        part = slice(head * size, (head + 1) * size)
        for t in range(steps):
            seen = range(max(0, t - span + 1), t + 1)
            scores = torch.stack([turn(query[t, part], t) @ turn(key[s, part], s) for s in seen]) / math.sqrt(size)
            attended[t, part] = torch.softmax(scores, 0) @ value[list(seen), part]
    features = features + attended @ layer.project.weight.T
    normalized = features / (features.square().mean(-1, keepdim=True) + torch.finfo(features.dtype).eps).sqrt()
    hidden = torch.nn.functional.gelu(normalized * layer.network_norm.weight @ layer.expand.weight.T)
    return features + hidden @ layer.contract.weight.T


def turn(vector: Tensor, position: int) -> Tensor:
    """Rotate the pairs (i, i + size / 2) of a vector, as complex numbers, by position x 10000^(-2 i / size)."""
    half = len(vector) // 2
    angles = position * 10_000.0 ** (-torch.arange(half).double() / half)
    rotated = torch.complex(vector[:half], vector[half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([rotated.real, rotated.imag])


@pytest.mark.parametrize("span", [1, 3, 100])
def test_outputs_equal_a_direct_computation(span: int) -> None:
    model, inputs = make_transformer(span), torch.randn(7, 1, 5, dtype=torch.float64)
    features = inputs[:, 0] @ model.embed.weight.T + model.embed.bias
    for layer in model.layers:
        features = attend(layer, features, span)
    expected = torch.nn.functional.rms_norm(features, (16,), model.norm.weight)
    torch.testing.assert_close(model(inputs, model.initial_state(1))[0][:, 0], expected)


def test_products_of_rotated_vectors_depend_only_on_the_distance() -> None:
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def product(first: int, second: int) -> float:
        rotations = [make_rotation(torch.full((1, 1, 1), float(t)).double(), 8) for t in (first, second)]
        return float((rotate(query, rotations[0]) * rotate(key, rotations[1])).sum())

    assert product(3, 1) == pytest.approx(product(1002, 1000))
    assert product(3, 1) != pytest.approx(product(3, 2))


@pytest.mark.parametrize("span", [1, 3, 100])
@pytest.mark.parametrize("split", [1, 4, 6])
def test_state_after_a_part_continues_the_sequence(span: int, split: int) -> None:
    model, inputs = make_transformer(span), torch.randn(7, 3, 5, dtype=torch.float64)
    whole, last = model(inputs, model.initial_state(3))
    first, state = model(inputs[:split], model.initial_state(3))
    second, end = model(inputs[split:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(tuple(end), tuple(last))


def test_cache_holds_at_most_the_steps_that_the_next_step_attends_to() -> None:
    model, state = make_transformer(span=4), None
    for t in range(9):
        state = model.initial_state(2) if state is None else state
        _, state = model.step(torch.randn(2, 5, dtype=torch.float64), state)
        assert state.keys.shape == state.values.shape == (2, min(t + 1, 3), 2, 16)
        assert state.time.flatten().tolist() == [t + 1] * 2


def test_padding_of_the_cache_has_no_effect() -> None:
    """A sequence that begins later than others has a cache that is padded with other numbers."""
    model, inputs = make_transformer(span=6), torch.randn(5, 2, 5, dtype=torch.float64)
    _, state = model(inputs[:2], model.initial_state(2))
    padding = torch.randn(2, 3, 2, 16, dtype=torch.float64)
    padded = state._replace(keys=torch.cat([padding, state.keys], 1), values=torch.cat([padding, state.values], 1))
    assert isinstance(padded, TransformerState)
    torch.testing.assert_close(model(inputs[2:], padded)[0], model(inputs[2:], state)[0])


def test_every_parameter_has_a_gradient() -> None:
    model, inputs = make_transformer().train(), torch.randn(7, 3, 5, dtype=torch.float64)
    model(inputs, model.initial_state(3))[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        is_key_bias = name.endswith("attend.bias")  # a constant added to all keys does not change the attention
        assert bool(parameter.grad.abs().sum() > 0) or is_key_bias, name


def test_gradients_of_a_first_step_of_zeros_are_not_large() -> None:
    model = make_transformer().train()
    model(torch.zeros(1, 3, 5, dtype=torch.float64), model.initial_state(3))[0].sum().backward()
    assert (
        max(float(parameter.grad.abs().max()) for parameter in model.parameters() if parameter.grad is not None) < 100
    )
