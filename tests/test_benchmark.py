"""The head's benchmark compares two ways to the same numbers, and counts bytes as they are."""

import torch

from mdnrnn.benchmark.head import PlainHead, peak_bytes
from mdnrnn.nn.heads import MixtureHead


def test_both_heads_compute_the_same_loss_and_gradient() -> None:
    ours, plain = MixtureHead(8, 2, 5, scale_floor=1e-20), PlainHead(8, 2, 5)
    plain.linear.load_state_dict(ours.linear.state_dict())
    features, targets = torch.randn(30, 8), torch.randn(30, 2)
    losses = [-head(features).log_prob(targets).mean() for head in (ours, plain)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(ours.linear.weight.grad, plain.linear.weight.grad)


def test_the_peak_is_what_is_held_at_once() -> None:
    """A megabyte held and another two in turn beside it: two at once."""
    leaf = torch.zeros(1, requires_grad=True)

    def run() -> None:
        held = torch.empty(250_000)
        for _ in range(2):
            torch.empty(250_000)
        del held

    assert peak_bytes(run, [leaf]) == 2_000_000


def test_gradients_of_the_leaves_count() -> None:
    leaf = torch.zeros(250_000, requires_grad=True)
    leaf.grad = torch.zeros(250_000)
    assert peak_bytes(lambda: leaf.sum().backward(), [leaf]) >= 1_000_000
