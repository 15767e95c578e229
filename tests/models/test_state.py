"""Tests of states that grow from step to step: padding, and division among ranks."""

from typing import Any

import pytest
import torch

from mdnrnn.models.state import detach_state, pad_growing, shard_state, unshard_state, where_state
from mdnrnn.nn.transformer import Transformer


def make_state(steps: int, batch: int) -> Any:
    model = Transformer(3, 8, layers=2, heads=2).double()
    return model(torch.randn(steps, batch, 3, dtype=torch.float64), model.initial_state(batch))[1]


def test_padding_is_inserted_before_the_existing_entries() -> None:
    cache = torch.randn(2, 3, 4, 8)
    padded = pad_growing(cache, torch.Size([2, 5, 4, 8]))
    assert torch.equal(padded[:, 2:], cache)
    assert not padded[:, :2].any()
    assert pad_growing(cache, cache.shape) is cache


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_unsharding_inverts_sharding(world_size: int) -> None:
    state = detach_state(make_state(4, 5))
    parts = [shard_state(state, rank, world_size) for rank in range(world_size)]
    torch.testing.assert_close(unshard_state(parts), state)


def test_ranks_with_caches_of_different_lengths_are_combined() -> None:
    """A rank whose sequences are all shorter has a shorter cache."""
    long, short = detach_state(make_state(4, 2)), detach_state(make_state(1, 1))
    combined = unshard_state([long, short])
    for part, expected in ((0, [part[..., :1, :] for part in long]), (2, [part[..., 1:, :] for part in long])):
        torch.testing.assert_close([tensor[..., part : part + 1, :] for tensor in combined], expected)
    hidden, time, keys, values = (tensor[..., 1:2, :] for tensor in combined)
    torch.testing.assert_close((hidden, time, keys[:, 3:], values[:, 3:]), short)
    assert not keys[:, :3].any()


def test_rows_that_do_not_continue_get_an_empty_cache_of_the_length_of_the_others() -> None:
    state = make_state(4, 3)
    initial = Transformer(3, 8, layers=2, heads=2).double().initial_state(2)
    mixed = where_state(state, initial, torch.tensor([True, False]))
    torch.testing.assert_close(mixed.keys[:, :, 0], state.keys[:, :, 0])
    assert not mixed.keys[:, :, 1].any()
    assert mixed.time.flatten().tolist() == [4, 0]
