"""PerDimensionMixture equals the product of D univariate mixtures in every method."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.nn.heads import MixtureHead


def random_parameters(*batch: int, d: int = 3, k: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(*batch, d, k, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(), draw(), 0.5 * draw() - 0.3


def random_mixture(*batch: int, d: int = 3, k: int = 4, seed: int = 0) -> PerDimensionMixture:
    return PerDimensionMixture(*random_parameters(*batch, d=d, k=k, seed=seed))


def split_dimensions(mixture: PerDimensionMixture) -> list[GaussianMixture]:
    """Return the univariate mixture of each dimension, built from the parameters."""
    means, log_scales = mixture.univariate.means, mixture.univariate.log_scales
    return [
        GaussianMixture(mixture.logits[..., d, :], means[..., d, :, :], log_scales[..., d, :, :])
        for d in range(mixture.event_shape[0])
    ]


POINTS = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
BIN_WIDTH = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)

SUMS: dict[str, tuple[Callable[[PerDimensionMixture], Tensor], Callable[[GaussianMixture, Tensor, Tensor], Tensor]]] = {
    "log_prob": (lambda m: m.log_prob(POINTS), lambda m, x, bin_width: m.log_prob(x)),
    "discretized_log_prob": (
        lambda m: m.discretized_log_prob(POINTS, BIN_WIDTH),
        lambda m, x, bin_width: m.discretized_log_prob(x, bin_width),
    ),
    "discretized_log_prob, batched bin width": (
        lambda m: m.discretized_log_prob(POINTS, BIN_WIDTH.expand(7, 5, 3)),
        lambda m, x, bin_width: m.discretized_log_prob(x, bin_width),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("joint", "univariate"), SUMS.values(), ids=SUMS.keys())
def test_log_probs_are_sums_over_dimensions(
    joint: Callable[[PerDimensionMixture], Tensor], univariate: Callable[[GaussianMixture, Tensor, Tensor], Tensor]
) -> None:
    mixture = random_mixture(5)
    expected = torch.zeros(7, 5, dtype=torch.float64)
    for d, dimension in enumerate(split_dimensions(mixture)):
        expected += univariate(dimension, POINTS[..., d : d + 1], BIN_WIDTH[d : d + 1])
    torch.testing.assert_close(joint(mixture), expected)


STACKS: dict[str, tuple[Callable[[PerDimensionMixture], Tensor], Callable[[GaussianMixture, Tensor], Tensor]]] = {
    "mean": (lambda m: m.mean, lambda m, x: m.mean[..., 0]),
    "variance": (lambda m: m.variance, lambda m, x: m.variance[..., 0]),
    "mode": (lambda m: m.mode, lambda m, x: m.mode[..., 0]),
    "pit": (lambda m: m.pit(POINTS), lambda m, x: m.cdf(x)),
    "tempered": (lambda m: m.tempered(0.5, 2).variance, lambda m, x: m.tempered(0.5, 2).variance[..., 0]),
    "biased": (lambda m: m.biased(0.5).variance, lambda m, x: m.biased(0.5).variance[..., 0]),
    "component_posterior": (
        lambda m: m.component_posterior(POINTS)[..., 0], lambda m, x: m.component_posterior(x)[..., 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("joint", "univariate"), STACKS.values(), ids=STACKS.keys())
def test_results_are_stacked_over_dimensions(
    joint: Callable[[PerDimensionMixture], Tensor], univariate: Callable[[GaussianMixture, Tensor], Tensor]
) -> None:
    mixture = random_mixture(5)
    expected = [univariate(dimension, POINTS[..., d : d + 1]) for d, dimension in enumerate(split_dimensions(mixture))]
    torch.testing.assert_close(joint(mixture), torch.stack(expected, -1))


def test_the_covariance_is_diagonal() -> None:
    mixture = random_mixture(5)
    assert torch.equal(mixture.covariance, torch.diag_embed(mixture.variance))


def test_the_density_integrates_to_one() -> None:
    mixture = random_mixture(d=2, k=3)
    axis = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    total = mixture.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-6)


def test_it_equals_the_joint_mixture_of_all_combinations_of_components() -> None:
    """K^D components; the weight of each is the product of the weights of its dimensions' components."""
    mixture = random_mixture(d=2, k=3)
    weights, means, scales = mixture.log_weights, mixture.means, mixture.log_scales
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    joint = GaussianMixture(
        weights[0, pairs[:, 0]] + weights[1, pairs[:, 1]],
        torch.stack([means[0, pairs[:, 0]], means[1, pairs[:, 1]]], -1),
        torch.stack([scales[0, pairs[:, 0]], scales[1, pairs[:, 1]]], -1),
    )
    x = POINTS[..., :2]
    torch.testing.assert_close(mixture.log_prob(x), joint.log_prob(x))
    torch.testing.assert_close(mixture.mean, joint.mean)
    torch.testing.assert_close(mixture.covariance, joint.covariance)
    torch.testing.assert_close(mixture.pit(x), joint.pit(x))
    assert float(mixture.log_prob(mixture.mode)) >= float(joint.log_prob(joint.mode)) - 1e-9


def test_samples_have_the_moments_and_no_correlation() -> None:
    """200,000 samples, 2 x 9 products, 2 x 3 values within 5 standard errors: false-failure probability below 2e-5."""
    mixture = random_mixture(2)
    centered = mixture.sample((200_000,), generator=torch.Generator().manual_seed(0)) - mixture.mean
    products = centered.unsqueeze(-1) * centered.unsqueeze(-2)
    for samples, expected in ((centered, torch.zeros(2, 3).double()), (products, mixture.covariance)):
        assert ((samples.mean(0) - expected).abs() < 5 * samples.std(0) / math.sqrt(len(samples))).all()


def test_components_of_different_dimensions_are_sampled_independently() -> None:
    """Two distant components per dimension: the shares of four corners are products of weights.

    100,000 samples, 5 standard errors: false-failure probability below 3e-6.
    """
    means = torch.tensor([[-10.0, 10.0], [-10.0, 10.0]])
    mixture = PerDimensionMixture(torch.tensor([[0.3, 0.7], [0.6, 0.4]]).log(), means, torch.zeros(2, 2))
    positive = (mixture.sample((100_000,), generator=torch.Generator().manual_seed(0)) > 0).double()
    for first, first_weight in ((0, 0.3), (1, 0.7)):
        for second, second_weight in ((0, 0.6), (1, 0.4)):
            share = float(((positive[:, 0] == first) & (positive[:, 1] == second)).double().mean())
            expected = first_weight * second_weight
            assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / 100_000)


def test_transform_transforms_every_dimension() -> None:
    mixture, generator = random_mixture(5), torch.Generator().manual_seed(0)
    uniform, normal = (f(7, 5, 3, generator=generator, dtype=torch.float64) for f in (torch.rand, torch.randn))
    expected = [
        dimension.transform(uniform[..., d].contiguous(), normal[..., d : d + 1])[..., 0]
        for d, dimension in enumerate(split_dimensions(mixture))
    ]
    torch.testing.assert_close(mixture.transform(uniform, normal), torch.stack(expected, -1))


def test_gradients_of_samples_equal_gradients_of_quantiles() -> None:
    leaves = [part.requires_grad_() for part in random_parameters(5)]
    x = PerDimensionMixture(leaves[0], leaves[1], leaves[2]).rsample((6,), generator=torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(x.sin().sum(), leaves)
    copies = [part.detach().requires_grad_() for part in leaves]
    total = torch.zeros((), dtype=torch.float64)
    for d, dimension in enumerate(split_dimensions(PerDimensionMixture(copies[0], copies[1], copies[2]))):
        value = x[..., d : d + 1].detach()
        total = total + dimension.icdf(dimension.cdf(value).detach()).sin().sum()
    for one, other in zip(gradients, torch.autograd.grad(total, copies), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_sample_and_rsample_give_equal_samples() -> None:
    mixture = random_mixture(5)
    samples = [draw((4,), generator=torch.Generator().manual_seed(1)) for draw in (mixture.sample, mixture.rsample)]
    assert torch.equal(samples[0], samples[1])


@pytest.mark.parametrize("dims", [0, -1, [2, 0], [1, 0, 2], [-1, -3]], ids=str)
def test_a_marginal_consists_of_the_given_dimensions(dims: int | list[int]) -> None:
    mixture = random_mixture(5)
    order = [dims] if isinstance(dims, int) else dims
    expected = torch.zeros(7, 5, dtype=torch.float64)
    for i, dim in enumerate(order):
        expected += split_dimensions(mixture)[dim].log_prob(POINTS[..., i : i + 1])
    torch.testing.assert_close(mixture.marginal(dims).log_prob(POINTS[..., : len(order)]), expected)


@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 7, 5)], ids=["one point", "a point each", "two points each"])
@pytest.mark.parametrize("dims", [[0], [2, 0], [-2]], ids=str)
def test_marginal_times_conditional_is_the_joint(dims: list[int], shape: tuple[int, ...]) -> None:
    mixture, x = random_mixture(5), torch.randn(*shape, 3, dtype=torch.float64)
    remaining = [dim for dim in range(3) if dim not in [dim % 3 for dim in dims]]
    conditional = mixture.condition(dims, x[..., dims])
    assert conditional.batch_shape == shape
    product = mixture.marginal(dims).log_prob(x[..., dims]) + conditional.log_prob(x[..., remaining])
    torch.testing.assert_close(product, mixture.log_prob(x))


def test_broadcast_scales_equal_expanded_scales() -> None:
    logits, means, log_scales = random_parameters(5)
    broadcast = PerDimensionMixture(logits, means, log_scales[..., :1])
    expanded = PerDimensionMixture(logits, means, log_scales[..., :1].expand(5, 3, 4))
    assert torch.equal(broadcast.log_prob(POINTS), expanded.log_prob(POINTS))


def test_from_univariate_keeps_the_distribution() -> None:
    mixture = random_mixture(5)
    rebuilt = PerDimensionMixture.from_univariate(mixture.univariate)
    assert rebuilt.batch_shape == (5,)
    assert rebuilt.event_shape == (3,)
    assert torch.equal(rebuilt.log_prob(POINTS), mixture.log_prob(POINTS))


def test_head_outputs_are_ordered_as_in_world_models() -> None:
    """D x 3 x K outputs: all logits, then all means, then all log scales, each (D, K).

    The loss is the sum over dimensions of -log sum_k w_dk N(z_d; m_dk, s_dk). Ha and Schmidhuber (2018): 32 latent
    variables, 5 normals each.
    """
    d, k = 32, 5
    head = MixtureHead(256, d, k, "per-dimension").double()
    assert head.linear.out_features == d * 3 * k
    features, z = torch.randn(6, 256, dtype=torch.float64), torch.randn(6, d, dtype=torch.float64)
    logits, means, raw = head.linear(features).view(6, 3, d, k).unbind(1)
    scales = raw.exp() + 1e-3
    normal = torch.exp(-0.5 * ((z.unsqueeze(-1) - means) / scales) ** 2) / (math.sqrt(2 * math.pi) * scales)
    expected = (torch.softmax(logits, -1) * normal).sum(-1).log().sum(-1)
    mixture = head(features)
    assert isinstance(mixture, PerDimensionMixture)
    torch.testing.assert_close(mixture.log_prob(z), expected)
    torch.testing.assert_close(head.loss(mixture, z), -expected.mean())


def test_quantiles_intervals_and_crps_equal_each_dimension() -> None:
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    mixture, x = PerDimensionMixture(draw(5, 3, 4), draw(5, 3, 4), draw(5, 3, 4)), draw(5, 3)
    torch.testing.assert_close(mixture.icdf(mixture.pit(x)), x, rtol=0, atol=1e-6)
    low, high = mixture.interval(0.8)
    for i in range(3):
        dimension = mixture.univariate[:, i]
        torch.testing.assert_close(low[:, i], dimension.interval(0.8).low[:, 0])
        torch.testing.assert_close(high[:, i], dimension.interval(0.8).high[:, 0])
        torch.testing.assert_close(mixture.crps(x)[:, i], dimension.crps(x[:, i, None]))
    assert mixture.means.shape == mixture.log_scales.shape == (5, 3, 4)
