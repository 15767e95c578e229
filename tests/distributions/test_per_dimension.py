"""Dimensions side by side: the product of as many mixtures on a line, whatever is asked."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.nn.heads import MixtureHead


def parameters(*batch: int, d: int = 3, k: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(*batch, d, k, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(), draw(), 0.5 * draw() - 0.3


def mixture(*batch: int, d: int = 3, k: int = 4, seed: int = 0) -> PerDimensionMixture:
    return PerDimensionMixture(*parameters(*batch, d=d, k=k, seed=seed))


def lines(ours: PerDimensionMixture) -> list[GaussianMixture]:
    """Its dimensions, each a mixture on a line, made from its parameters alone."""
    means, log_scales = ours.univariate.means, ours.univariate.log_scales
    return [
        GaussianMixture(ours.logits[..., d, :], means[..., d, :, :], log_scales[..., d, :, :])
        for d in range(ours.event_shape[0])
    ]


POINTS = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
WIDTH = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)

SUMS: dict[str, tuple[Callable[[PerDimensionMixture], Tensor], Callable[[GaussianMixture, Tensor, Tensor], Tensor]]] = {
    "log_prob": (lambda ours: ours.log_prob(POINTS), lambda line, x, width: line.log_prob(x)),
    "discretized_log_prob": (
        lambda ours: ours.discretized_log_prob(POINTS, WIDTH), lambda line, x, width: line.discretized_log_prob(x, width)
    ),
    "discretized_log_prob of a width each": (
        lambda ours: ours.discretized_log_prob(POINTS, WIDTH.expand(7, 5, 3)),
        lambda line, x, width: line.discretized_log_prob(x, width),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("whole", "of_one"), SUMS.values(), ids=SUMS.keys())
def test_log_probabilities_are_the_sums_over_the_dimensions(
    whole: Callable[[PerDimensionMixture], Tensor], of_one: Callable[[GaussianMixture, Tensor, Tensor], Tensor]
) -> None:
    ours = mixture(5)
    expected = torch.zeros(7, 5, dtype=torch.float64)
    for d, line in enumerate(lines(ours)):
        expected += of_one(line, POINTS[..., d : d + 1], WIDTH[d : d + 1])
    torch.testing.assert_close(whole(ours), expected)


STACKS: dict[str, tuple[Callable[[PerDimensionMixture], Tensor], Callable[[GaussianMixture, Tensor], Tensor]]] = {
    "mean": (lambda ours: ours.mean, lambda line, x: line.mean[..., 0]),
    "variance": (lambda ours: ours.variance, lambda line, x: line.variance[..., 0]),
    "mode": (lambda ours: ours.mode, lambda line, x: line.mode[..., 0]),
    "pit": (lambda ours: ours.pit(POINTS), lambda line, x: line.cdf(x)),
    "tempered": (
        lambda ours: ours.tempered(0.5, 2).variance, lambda line, x: line.tempered(0.5, 2).variance[..., 0]
    ),
    "biased": (lambda ours: ours.biased(0.5).variance, lambda line, x: line.biased(0.5).variance[..., 0]),
    "responsibilities of the first": (
        lambda ours: ours.component_posterior(POINTS)[..., 0], lambda line, x: line.component_posterior(x)[..., 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("whole", "of_one"), STACKS.values(), ids=STACKS.keys())
def test_every_dimension_is_its_own_mixture(
    whole: Callable[[PerDimensionMixture], Tensor], of_one: Callable[[GaussianMixture, Tensor], Tensor]
) -> None:
    ours = mixture(5)
    expected = [of_one(line, POINTS[..., d : d + 1]) for d, line in enumerate(lines(ours))]
    torch.testing.assert_close(whole(ours), torch.stack(expected, -1))


def test_the_covariance_is_diagonal() -> None:
    ours = mixture(5)
    assert torch.equal(ours.covariance, torch.diag_embed(ours.variance))


def test_the_density_integrates_to_one_over_the_plane() -> None:
    ours = mixture(d=2, k=3)
    axis = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    total = ours.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-6)


def test_it_is_the_joint_mixture_of_all_combinations_of_components() -> None:
    """K to the power of D components, the weight of each the product of its dimensions'."""
    ours = mixture(d=2, k=3)
    weights, means, scales = ours.log_weights, ours.univariate.means.squeeze(-1), ours.univariate.log_scales.squeeze(-1)
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    joint = GaussianMixture(
        weights[0, pairs[:, 0]] + weights[1, pairs[:, 1]],
        torch.stack([means[0, pairs[:, 0]], means[1, pairs[:, 1]]], -1),
        torch.stack([scales[0, pairs[:, 0]], scales[1, pairs[:, 1]]], -1),
    )
    x = POINTS[..., :2]
    torch.testing.assert_close(ours.log_prob(x), joint.log_prob(x))
    torch.testing.assert_close(ours.mean, joint.mean)
    torch.testing.assert_close(ours.covariance, joint.covariance)
    torch.testing.assert_close(ours.pit(x), joint.pit(x))
    assert float(ours.log_prob(ours.mode)) >= float(joint.log_prob(joint.mode)) - 1e-9


def test_samples_have_the_moments_and_no_correlation() -> None:
    """200,000 draws: 2 x 9 numbers and 2 x 3 products within 5 standard errors; false failure below 2e-5."""
    ours = mixture(2)
    centered = ours.sample((200_000,), generator=torch.Generator().manual_seed(0)) - ours.mean
    products = centered.unsqueeze(-1) * centered.unsqueeze(-2)
    for draws, expected in ((centered, torch.zeros(2, 3).double()), (products, ours.covariance)):
        assert ((draws.mean(0) - expected).abs() < 5 * draws.std(0) / math.sqrt(len(draws))).all()


def test_the_components_of_dimensions_are_drawn_independently() -> None:
    """Two far components each: four corners with the products of the weights, 100,000 draws, 5 standard errors; false
    failure below 3e-6."""
    means = torch.tensor([[-10.0, 10.0], [-10.0, 10.0]])
    ours = PerDimensionMixture(torch.tensor([[0.3, 0.7], [0.6, 0.4]]).log(), means, torch.zeros(2, 2))
    right = (ours.sample((100_000,), generator=torch.Generator().manual_seed(0)) > 0).double()
    for first, of_first in ((0, 0.3), (1, 0.7)):
        for second, of_second in ((0, 0.6), (1, 0.4)):
            share = float(((right[:, 0] == first) & (right[:, 1] == second)).double().mean())
            expected = of_first * of_second
            assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / 100_000)


def test_a_transform_is_that_of_every_dimension() -> None:
    ours, generator = mixture(5), torch.Generator().manual_seed(0)
    uniform, normal = (f(7, 5, 3, generator=generator, dtype=torch.float64) for f in (torch.rand, torch.randn))
    expected = [
        line.transform(uniform[..., d].contiguous(), normal[..., d : d + 1])[..., 0]
        for d, line in enumerate(lines(ours))
    ]
    torch.testing.assert_close(ours.transform(uniform, normal), torch.stack(expected, -1))


def test_the_entropy_is_the_sum_of_the_dimensions_entropies() -> None:
    """Within 5 standard errors of a numerical integral, 5 times: false failure below 3e-6."""
    ours = mixture(5)
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64).view(-1, 1, 1)
    expected = torch.zeros(5, dtype=torch.float64)
    for line in lines(ours):
        log_prob = line.log_prob(x.expand(-1, 5, 1))
        expected -= (log_prob.exp() * log_prob).sum(0) * 0.01
    found = ours.entropy(4000, generator=torch.Generator().manual_seed(0))
    assert ((found.value - expected).abs() < 5 * found.standard_error).all()
    assert (found.standard_error < 0.05).all()


def test_the_error_of_the_entropy_is_that_of_repeated_estimates() -> None:
    """The spread of 400 estimates is within 20% of what each says of itself; false failure below 1e-6."""
    ours = mixture().expand((400,))
    found = ours.entropy(500, generator=torch.Generator().manual_seed(0))
    assert float(found.value.std()) == pytest.approx(float(found.standard_error.mean()), rel=0.2)


def test_gradients_of_samples_are_those_of_quantiles_of_each_dimension() -> None:
    leaves = [part.requires_grad_() for part in parameters(5)]
    x = PerDimensionMixture(leaves[0], leaves[1], leaves[2]).rsample((6,), generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad(x.sin().sum(), leaves)
    again = [part.detach().requires_grad_() for part in leaves]
    each = lines(PerDimensionMixture(again[0], again[1], again[2]))
    total = torch.zeros((), dtype=torch.float64)
    for d, line in enumerate(each):
        own = x[..., d : d + 1].detach()
        total = total + line.icdf(line.cdf(own).detach()).sin().sum()
    for one, other in zip(found, torch.autograd.grad(total, again), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_samples_with_and_without_gradients_are_the_same() -> None:
    ours = mixture(5)
    drawn = [draw((4,), generator=torch.Generator().manual_seed(1)) for draw in (ours.sample, ours.rsample)]
    assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("dims", [0, -1, [2, 0], [1, 0, 2], [-1, -3]], ids=str)
def test_a_marginal_is_the_dimensions_asked_for(dims: int | list[int]) -> None:
    ours = mixture(5)
    order = [dims] if isinstance(dims, int) else dims
    expected = torch.zeros(7, 5, dtype=torch.float64)
    for place, dim in enumerate(order):
        expected += lines(ours)[dim].log_prob(POINTS[..., place : place + 1])
    torch.testing.assert_close(ours.marginal(dims).log_prob(POINTS[..., : len(order)]), expected)


@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 7, 5)], ids=["one point for all", "one each", "two each"])
@pytest.mark.parametrize("dims", [[0], [2, 0], [-2]], ids=str)
def test_marginal_times_conditional_is_the_joint(dims: list[int], shape: tuple[int, ...]) -> None:
    ours, x = mixture(5), torch.randn(*shape, 3, dtype=torch.float64)
    rest = [dim for dim in range(3) if dim not in [dim % 3 for dim in dims]]
    conditional = ours.condition(dims, x[..., dims])
    assert conditional.batch_shape == shape
    found = ours.marginal(dims).log_prob(x[..., dims]) + conditional.log_prob(x[..., rest])
    torch.testing.assert_close(found, ours.log_prob(x))


def test_shared_scales_are_those_they_stand_for() -> None:
    logits, means, log_scales = parameters(5)
    few = PerDimensionMixture(logits, means, log_scales[..., :1])
    many = PerDimensionMixture(logits, means, log_scales[..., :1].expand(5, 3, 4))
    assert torch.equal(few.log_prob(POINTS), many.log_prob(POINTS))


def test_of_parts_it_is_what_the_parts_are() -> None:
    ours = mixture(5)
    again = PerDimensionMixture.from_univariate(ours.univariate)
    assert again.batch_shape == (5,)
    assert again.event_shape == (3,)
    assert torch.equal(again.log_prob(POINTS), ours.log_prob(POINTS))


def test_a_head_lies_in_its_row_as_the_world_models_do() -> None:
    """D x 3 x K outputs: all logits, then all means, then all scales, each (D, K); the loss is the sum over the
    dimensions of -log sum_k w_dk N(z_d; m_dk, s_dk). Ha and Schmidhuber (2018): 32 latents, 5 normals each."""
    d, k = 32, 5
    head = MixtureHead(256, d, k, "per-dimension").double()
    assert head.linear.out_features == d * 3 * k
    features, z = torch.randn(6, 256, dtype=torch.float64), torch.randn(6, d, dtype=torch.float64)
    logits, means, raw = head.linear(features).view(6, 3, d, k).unbind(1)
    scales = raw.exp() + 1e-3
    normal = torch.exp(-0.5 * ((z.unsqueeze(-1) - means) / scales) ** 2) / (math.sqrt(2 * math.pi) * scales)
    expected = (torch.softmax(logits, -1) * normal).sum(-1).log().sum(-1)
    distribution = head(features)
    assert isinstance(distribution, PerDimensionMixture)
    torch.testing.assert_close(distribution.log_prob(z), expected)
    torch.testing.assert_close(head.loss(distribution, z), -expected.mean())


def test_quantiles_intervals_and_scores_are_those_of_each_dimension() -> None:
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    ours, x = PerDimensionMixture(draw(5, 3, 4), draw(5, 3, 4), draw(5, 3, 4)), draw(5, 3)
    torch.testing.assert_close(ours.icdf(ours.pit(x)), x, rtol=0, atol=1e-6)
    low, high = ours.interval(0.8)
    for i in range(3):
        line = ours.univariate[:, i]
        torch.testing.assert_close(low[:, i], line.interval(0.8).low[:, 0])
        torch.testing.assert_close(high[:, i], line.interval(0.8).high[:, 0])
        torch.testing.assert_close(ours.crps(x)[:, i], line.crps(x[:, i, None]))
    assert ours.means.shape == ours.log_scales.shape == (5, 3, 4)
