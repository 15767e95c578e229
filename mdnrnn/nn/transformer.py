"""Decoder-only transformer with a key/value cache as its state. It runs all time steps or a single step.

Sources: Vaswani et al. (arXiv:1706.03762), with normalization before each sublayer (Xiong et al., arXiv:2002.04745),
root mean square normalization (Zhang and Sennrich, arXiv:1910.07467) and rotary positions (Su et al.,
arXiv:2104.09864).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROTARY_BASE = 10_000.0


class TransformerState(NamedTuple):
    """State of a `Transformer` after P cached steps.

    `hidden`: output of the last step, shape (1, B, H). `time`: number of steps of each sequence so far, shape
    (1, B, 1). `keys`, `values`: cached keys and values of all layers, shape (layers, P, B, H) each. A sequence after t
    steps uses only its last t cached entries. Earlier entries are padding of sequences that began later than others.
    """

    hidden: Tensor
    time: Tensor
    keys: Tensor
    values: Tensor


class Transformer(nn.Module):
    """Stack of causal self-attention layers. Each step attends to itself and to at most `span` - 1 previous steps.

    Args:
        in_features: number of input features I.
        hidden: hidden size H, a multiple of 2 x heads.
        layers: number of layers.
        heads: number of attention heads.
        span: maximum number of steps that a step attends to, including itself.
        dropout: dropout probability of the input of each residual addition.

    The attribute `width` is the number of output features, H.
    """

    def __init__(
        self, in_features: int, hidden: int, layers: int = 1, heads: int = 4, span: int = 1024, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.span, self.head_size = hidden, span, hidden // heads
        self.embed = nn.Linear(in_features, hidden)
        self.layers = nn.ModuleList(TransformerLayer(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                # Smaller weights before the residual additions keep the variance independent of the number of layers.
                is_residual = name.endswith(("project.weight", "contract.weight"))
                nn.init.xavier_uniform_(parameter, (2 * layers) ** -0.5 if is_residual else 1.0)
        # The input of the first step of a sequence is 0. With a bias of 0, normalization would divide its features,
        # which are 0 in all layers, by almost 0, and gradients would overflow.
        nn.init.normal_(self.embed.bias, std=0.1)

    def initial_state(self, batch_size: int) -> TransformerState:
        """Return a state with an empty cache."""
        zeros = self.embed.weight.new_zeros(1, batch_size, self.width)
        cache = zeros.new_zeros(len(self.layers), 0, batch_size, self.width)
        return TransformerState(zeros, zeros.new_zeros(1, batch_size, 1), cache, cache)

    def forward(self, inputs: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """Run all time steps.

        Args:
            inputs: shape (T, B, I).
            state: state before the first step.

        Returns:
            Outputs, shape (T, B, H), and the state after the last step.
        """
        steps = torch.arange(inputs.shape[0], device=inputs.device)
        rotation = make_rotation(state.time + steps.view(-1, 1, 1), self.head_size)
        mask = self._attention_mask(inputs.shape[0], state)
        # Under autocast the linear layers run in half precision; their outputs are summed in full precision.
        features, keys, values = self.embed(inputs).to(self.embed.weight.dtype), [], []
        for layer, old_keys, old_values in zip(self.layers, state.keys, state.values, strict=True):
            features, key, value = layer(features, old_keys, old_values, rotation, mask)
            keys.append(key)
            values.append(value)
        outputs = self.norm(features)
        # Keep the steps that the next step attends to. Unlike `max`, `sym_max` does not fix sizes of exported graphs.
        kept = slice(torch.sym_max(0, keys[0].shape[0] + 1 - self.span), None)
        cache = (torch.stack([part[kept] for part in parts]) for parts in (keys, values))
        return outputs, TransformerState(outputs[-1:], state.time + inputs.shape[0], *cache)

    def step(self, inputs: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """Run one time step.

        Args:
            inputs: shape (B, I).
            state: state before the step.

        Returns:
            Outputs, shape (B, H), and the next state.
        """
        outputs, state = self(inputs.unsqueeze(0), state)
        return outputs[0], state

    def _attention_mask(self, steps: int, state: TransformerState) -> Tensor:
        """Return whether each of T steps attends to each of P cached and T new steps, shape (B, 1, T, P + T)."""
        cached = state.keys.shape[1]
        query = torch.arange(cached, cached + steps, device=state.time.device).unsqueeze(1)
        key = torch.arange(cached + steps, device=state.time.device)
        in_span = (key <= query) & (key > query - self.span)
        exists = key >= cached - state.time[0].unsqueeze(1)
        return in_span & exists.unsqueeze(1)


class TransformerLayer(nn.Module):
    """Self-attention and a network of two linear layers, each with normalization and a residual connection."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.attention_norm, self.network_norm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.attend = nn.Linear(hidden, 3 * hidden)
        self.project = nn.Linear(hidden, hidden)
        self.expand = nn.Linear(hidden, 4 * hidden)
        self.contract = nn.Linear(4 * hidden, hidden)

    def forward(
        self, features: Tensor, keys: Tensor, values: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs (T, B, H), and the keys and the values (P + T, B, H) of all cached and new steps.

        Args:
            features: shape (T, B, H).
            keys: cached keys, shape (P, B, H).
            values: cached values, shape (P, B, H).
            rotation: result of `make_rotation` for the new steps.
            mask: whether each new step attends to each cached or new step, shape (B, 1, T, P + T).
        """
        query, key, value = self.attend(self.attention_norm(features)).chunk(3, -1)
        query, key = (rotate(part.unflatten(-1, (self.heads, -1)), rotation).flatten(-2) for part in (query, key))
        keys, values = torch.cat([keys.to(key), key]), torch.cat([values.to(value), value])
        q, k, v = (part.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3) for part in (query, keys, values))
        attended = _attend(q, k, v, mask).permute(2, 0, 1, 3).flatten(-2)
        features = features + self.dropout(self.project(attended))
        network = self.contract(functional.gelu(self.expand(self.network_norm(features))))
        return features + self.dropout(network), keys, values


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return the attention of all heads (B, heads, T, head_size), in the dtype of the query.

    On a CPU, the attention runs in float32 or wider: PyTorch's backward pass takes four times as long in bfloat16.
    """
    if query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value, mask)
    dtype = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        attended = functional.scaled_dot_product_attention(query.to(dtype), key.to(dtype), value.to(dtype), mask)
    return attended.to(query.dtype)


def make_rotation(position: Tensor, head_size: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of the rotary angles, shape (T, B, 1, head_size / 2) each.

    Args:
        position: position of each step in its sequence, shape (T, B, 1).
        head_size: size of each attention head, an even number.
    """
    exponents = torch.arange(0, head_size, 2, device=position.device, dtype=position.dtype) / head_size
    angles = position.unsqueeze(-1) * _ROTARY_BASE**-exponents
    return angles.cos(), angles.sin()


def rotate(vectors: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the pairs (i, i + head_size / 2) of vectors (T, B, heads, head_size) by the angles of their step."""
    cosine, sine = rotation
    first, second = vectors.chunk(2, -1)
    rotated = torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)
    return rotated.to(vectors.dtype)
