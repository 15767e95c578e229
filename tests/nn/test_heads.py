"""Heads: modules like any other, sound starts, a floor that is smooth and holds."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step
from mdnrnn.errors import InputError
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.heads import MixtureHead, StepHead
from mdnrnn.nn.parameters import MixtureShape, lower_triangular, smooth_floor

COVARIANCES: list[Covariance] = ["diagonal", "full", "isotropic", "shared", "per-dimension"]
EVERY_COVARIANCE = pytest.mark.parametrize("covariance", COVARIANCES)


def test_a_mixture_head_works_in_anyones_sequential() -> None:
    """y is x or -x: a mixture of two learns both branches, where a mean would be 0."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), MixtureHead(32, 1, components=2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x = torch.rand(2000, 1) + 1
    y = torch.where(torch.rand(2000, 1) < 0.5, x, -x) + 0.05 * torch.randn(2000, 1)
    for _ in range(300):
        loss = -net(x).log_prob(y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.05**2)
    assert float(loss.detach()) < entropy + 0.15


def test_the_scale_floor_holds_and_lets_gradients_through() -> None:
    shape = MixtureShape(features=1, components=1, log_floor=math.log(1e-3))
    raw = torch.linspace(-30, 5, 200)
    rows = torch.stack([torch.zeros(200), torch.zeros(200), raw], -1).requires_grad_()
    mixture = shape.unpack(rows)
    assert isinstance(mixture, GaussianMixture)
    log_scales = mixture.log_scales
    assert float(log_scales.min().detach()) >= math.log(1e-3) - 1e-6
    torch.testing.assert_close(log_scales[-1, 0, 0], raw[-1], rtol=1e-3, atol=1e-3)
    log_scales.sum().backward()
    assert rows.grad is not None
    assert (rows.grad[:, 2] > 0).all()
    expected = math.log(1e-3) + torch.nn.functional.softplus(raw - math.log(1e-3))
    torch.testing.assert_close(log_scales[:, 0, 0].detach(), expected)


def test_first_and_second_derivatives_of_the_floor_are_difference_quotients() -> None:
    raw = torch.linspace(-12, 4, 9, dtype=torch.float64).requires_grad_()
    floor = math.log(1e-3)
    assert torch.autograd.gradcheck(lambda raw: smooth_floor(raw, floor), [raw])
    assert torch.autograd.gradgradcheck(lambda raw: smooth_floor(raw, floor), [raw])


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("features", [1, 3])
@EVERY_COVARIANCE
def test_batches_of_any_shape(covariance: Covariance, features: int, shape: tuple[int, ...]) -> None:
    mixture = MixtureHead(8, features, 5, covariance)(torch.randn(*shape, 8))
    assert mixture.batch_shape == shape
    assert mixture.event_shape == (features,)
    assert mixture.log_prob(torch.zeros(*shape, features)).shape == shape


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)], ids=str)
def test_steps_of_any_shape(shape: tuple[int, ...]) -> None:
    steps = StepHead(8, 2, 5, events=3)(torch.randn(*shape, 8))
    assert steps.batch_shape == shape
    assert steps.event_logits.shape == (*shape, 3)


def test_likelihoods_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mixture = MixtureHead(8, 2, 3)(torch.randn(4, 8))
        assert mixture.means.dtype == torch.float32
        assert mixture.log_prob(torch.zeros(4, 2)).dtype == torch.float32


ROWS: dict[Covariance, int] = {
    "diagonal": 4 + 4 * 3 + 4 * 3,
    "full": 4 + 4 * 3 + 4 * 3 + 4 * 3,
    "isotropic": 4 + 4 * 3 + 4,
    "shared": 4 + 4 * 3 + 3,
    "per-dimension": 3 * (4 + 4 + 4),
}


@EVERY_COVARIANCE
def test_a_row_holds_logits_then_means_then_scales_then_slopes(covariance: Covariance) -> None:
    """Four components in three dimensions, the row written out."""
    head = MixtureHead(6, 3, 4, covariance, scale_floor=0.1)
    assert head.linear.out_features == ROWS[covariance]
    row = torch.randn(5, ROWS[covariance])
    mixture = head.shape.unpack(row)
    if isinstance(mixture, PerDimensionMixture):
        torch.testing.assert_close(mixture.logits, row[:, :12].view(5, 3, 4))
        torch.testing.assert_close(mixture.univariate.means, row[:, 12:24].view(5, 3, 4, 1))
        torch.testing.assert_close(mixture.univariate.log_scales.exp(), row[:, 24:].view(5, 3, 4, 1).exp() + 0.1)
        return
    torch.testing.assert_close(mixture.logits, row[:, :4])
    torch.testing.assert_close(mixture.means, row[:, 4:16].view(5, 4, 3))
    scales = {"isotropic": (4, 1), "shared": (1, 3)}.get(covariance, (4, 3))
    raw = row[:, 16 : 16 + math.prod(scales)].view(5, *scales)
    torch.testing.assert_close(mixture.log_scales.exp(), (raw.exp() + 0.1).expand(5, 4, 3))
    if covariance != "full":
        assert mixture.slopes is None
        return
    assert mixture.slopes is not None
    below = row[:, 28:].view(5, 4, 3)
    for place, (i, j) in enumerate([(1, 0), (2, 0), (2, 1)]):
        assert torch.equal(mixture.slopes[..., i, j], below[..., place])
    assert int((mixture.slopes != 0).sum()) == below.numel()


def test_numbers_below_the_diagonal_lie_row_by_row() -> None:
    expected = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [2, 3, 0, 0], [4, 5, 6, 0]])
    assert torch.equal(lower_triangular(torch.arange(1.0, 7), 4), expected)
    assert torch.equal(lower_triangular(torch.zeros(2, 0), 1), torch.zeros(2, 1, 1))


@EVERY_COVARIANCE
def test_second_derivatives_pass_through_a_row(covariance: Covariance) -> None:
    shape = MixtureShape(2, 2, math.log(1e-3), covariance)
    row = torch.randn(2, shape.size, dtype=torch.float64).requires_grad_()
    y = torch.randn(2, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda row: shape.unpack(row).log_prob(y), [row])


@EVERY_COVARIANCE
def test_the_jacobian_of_a_batch_is_the_loop(covariance: Covariance) -> None:
    head = MixtureHead(3, 2, 2, covariance).double()
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in head.named_parameters()}
    found = jacrev(lambda weights: functional_call(head, weights, (x,)).log_prob(y))(weights)
    for i in range(4):
        own = torch.autograd.grad(head(x[i]).log_prob(y[i]), list(head.parameters()))
        for name, expected in zip(weights, own, strict=True):
            torch.testing.assert_close(found[name][i], expected)


def correlated(n: int = 1000) -> Tensor:
    """Points of a normal in the plane, correlated by 0.9, with scales 2 and 0.5."""
    e = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.stack([2 * e[:, 0], 0.5 * (0.9 * e[:, 0] + math.sqrt(1 - 0.9**2) * e[:, 1])], -1) + 3


def fitted(head: MixtureHead, y: Tensor) -> float:
    """Nats after a fit that sees nothing but the targets."""
    head = head.double()
    x = torch.ones(len(y), 1, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=100, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head.loss(head(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(head.loss(head(x), y).detach())


@EVERY_COVARIANCE
def test_fitted_to_points_one_component_reaches_the_entropy_of_their_covariance(covariance: Covariance) -> None:
    """The most likely normal leaves log det(2 pi e S) / 2 nats, S the points' covariance or what the kind has of it."""
    y = correlated()
    s = torch.cov(y.mT, correction=0)
    own: dict[Covariance, Tensor] = {"full": s, "isotropic": torch.eye(2).double() * s.trace() / 2}
    allowed = own.get(covariance, torch.diag(s.diagonal()))
    expected = 0.5 * float(torch.logdet(2 * math.pi * math.e * allowed))
    assert fitted(MixtureHead(1, 2, 1, covariance, scale_floor=1e-6), y) == pytest.approx(expected, abs=1e-6)


def test_of_correlated_groups_full_covariances_learn_more_than_diagonal_ones() -> None:
    """Two normals, correlated by 0.9 and by -0.9, far apart: log 2 nats, and those of either group's own covariance;
    diagonal components miss about -log(1 - 0.9^2) / 2 = 0.83 of them."""
    y = correlated() - 3
    pair = (y[:500] + torch.tensor([0.0, 20.0]), y[500:] * torch.tensor([1.0, -1.0]))
    own = torch.stack([torch.cov(group.mT, correction=0) for group in pair])
    flat = torch.diag_embed(own.diagonal(dim1=-2, dim2=-1))
    nats = {}
    for covariance, s in (("full", own), ("diagonal", flat)):
        head = MixtureHead(1, 2, 2, covariance, scale_floor=1e-6).double()  # type: ignore[arg-type]
        head.initialize(torch.cat(pair))
        nats[covariance] = fitted(head, torch.cat(pair))
        expected = math.log(2) + 0.5 * float(torch.logdet(2 * math.pi * math.e * s).mean())
        assert nats[covariance] == pytest.approx(expected, abs=1e-5)
    assert nats["diagonal"] > nats["full"] + 0.7


def groups(scale: float, n: int = 2000, far: float = 1.0, d: int = 2) -> tuple[Tensor, float]:
    """Points of four groups on the corners of a square, or a line's thirds, and the entropy that they were drawn of."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.1], [0.2, 1.0], [1.1, 1.2]])[:, :d] * far
    points = centers[torch.randint(4, (n,), generator=generator)] + scale * torch.randn(n, d, generator=generator)
    return points, math.log(4) + 0.5 * d * math.log(2 * math.pi * math.e * scale**2)


JOINT = pytest.mark.parametrize("covariance", COVARIANCES[:-1])


@JOINT
@pytest.mark.parametrize("far", [1e-2, 1.0, 100.0])
def test_initialized_by_targets_a_head_is_the_mixture_of_their_groups(covariance: Covariance, far: float) -> None:
    """Groups of a twentieth of their distance: nats within 0.05 of the entropy, whatever the features."""
    y, entropy = groups(0.05 * far, far=far)
    head = MixtureHead(8, 2, 4, covariance, scale_floor=1e-5)
    head.initialize(y)
    for features in (torch.zeros(len(y), 8), torch.randn(len(y), 8), 100 * torch.randn(len(y), 8)):
        assert float(head.loss(head(features), y).detach()) < entropy + 0.05


def test_initialized_by_targets_each_dimension_has_its_own_groups() -> None:
    """Two groups in each dimension, not the same: log 2 and a normal's entropy each, within 0.05 nats."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2000, 2, generator=generator).argsort(0) % 2  # exactly half of each: quantiles fall between
    y = corner * torch.tensor([1.0, 30.0]) + torch.tensor([0.02, 0.5]) * torch.randn(2000, 2, generator=generator)
    entropy = sum(math.log(2) + 0.5 * math.log(2 * math.pi * math.e * scale**2) for scale in (0.02, 0.5))
    head = MixtureHead(8, 2, 2, "per-dimension")
    head.initialize(y)
    assert float(head.loss(head(torch.zeros(2000, 8)), y).detach()) < entropy + 0.05


@EVERY_COVARIANCE
@pytest.mark.parametrize("features", [1, 2], ids=["on a line", "in the plane"])
@pytest.mark.parametrize("far", [0.05, 1.0, 20.0])
def test_initialized_by_targets_a_head_starts_better_than_by_default(
    far: float, features: int, covariance: Covariance
) -> None:
    y, _ = groups(0.05 * far, far=far, d=features)
    x = torch.randn(len(y), 16, generator=torch.Generator().manual_seed(1))
    head = MixtureHead(16, features, 6, covariance, scale_floor=1e-4)
    before = float(head.loss(head(x), y).detach())
    head.initialize(y)
    assert float(head.loss(head(x), y).detach()) < before - 0.3


def test_initialized_by_targets_on_a_line_means_are_those_of_equal_parts() -> None:
    """Of an exponential distribution, by 4096 quantiles: between quantiles of p and q, its mean is the integral of
    -log(1 - u) over (p, q), which is that of ((1 - u) log(1 - u) + u)', over q - p."""
    y = -torch.log1p(-(torch.arange(4096) + 0.5).unsqueeze(-1) / 4096)
    head = MixtureHead(3, 1, 8)
    head.initialize(y)
    up_to = [(1 - i / 8) * math.log(1 - i / 8) + i / 8 if i < 8 else 1.0 for i in range(9)]
    expected = [8 * (up_to[i + 1] - up_to[i]) for i in range(8)]
    assert head(torch.zeros(3)).means.flatten().tolist() == pytest.approx(expected, rel=0.01)


SCARCE = {
    "one target": torch.tensor([[1.5, -2.0]]),
    "fewer targets than components": torch.tensor([[1.0, 0.0], [2.0, 5.0], [0.0, 1.0]]),
    "targets all alike": torch.full((40, 2), 7.0),
    "targets alike in one dimension": torch.stack([torch.linspace(-1, 1, 40), torch.zeros(40)], -1),
    "whole numbers": (torch.arange(80) % 7).view(40, 2),
}


@EVERY_COVARIANCE
@pytest.mark.parametrize("targets", SCARCE.values(), ids=SCARCE.keys())
def test_scarce_targets_give_a_sound_start(targets: Tensor, covariance: Covariance) -> None:
    head = MixtureHead(4, 2, 8, covariance)
    head.initialize(targets)
    loss = head.loss(head(torch.randn(len(targets), 4)), targets.float())
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in head.parameters())


def test_noise_widens_targets_in_training_alone() -> None:
    """One normal of scale s: its expected nats rise by noise^2 / (2 s^2). 400,000 targets, within 5 standard errors of
    z^2 / 2, whose deviation is 0.71 (1 + noise^2 / s^2): false failure below 1e-6."""
    noise, scale, n = 0.5, 0.8, 400_000
    head = MixtureHead(1, 1, 1, noise=noise)
    with torch.no_grad():
        nn.init.zeros_(head.linear.weight)
        head.linear.bias.copy_(torch.tensor([0.0, 2.0, math.log(scale - 1e-3)]))
    y, mixture = 2 + scale * torch.randn(n, 1), head(torch.zeros(n, 1))
    plain = float(-mixture.log_prob(y).mean().detach())
    noisy = float(head.train().loss(mixture, y).detach())
    error = 0.71 * (1 + noise**2 / scale**2) / math.sqrt(n)
    assert abs(noisy - plain - noise**2 / (2 * scale**2)) < 5 * error
    assert float(head.eval().loss(mixture, y).detach()) == plain


def test_noise_leaves_the_targets_as_they_are() -> None:
    head, y = MixtureHead(2, 2, 3, noise=1.0), torch.zeros(5, 2)
    head.loss(head(torch.randn(5, 2)), y)
    assert torch.equal(y, torch.zeros(5, 2))


@EVERY_COVARIANCE
@pytest.mark.parametrize("reward", [0.7, -0.3])
def test_the_entropy_of_weights_is_rewarded_in_training_alone(reward: float, covariance: Covariance) -> None:
    head = MixtureHead(4, 2, 3, covariance, weight_entropy=reward)
    mixture, y = head(torch.randn(6, 4)), torch.randn(6, 2)
    plain = -mixture.log_prob(y).mean()
    entropy = torch.distributions.Categorical(logits=mixture.logits).entropy().mean()
    torch.testing.assert_close(head.train().loss(mixture, y), plain - reward * entropy)
    torch.testing.assert_close(head.eval().loss(mixture, y), plain)


@pytest.mark.parametrize("reward", [1.0, -1.0], ids=["kept alive", "pruned"])
def test_the_reward_moves_weights_the_way_it_says(reward: float) -> None:
    """Where the data say nothing, components all alike, its gradient is -reward dH/dlogits = reward w (log w + H)."""
    head = MixtureHead(1, 1, 3, weight_entropy=reward)
    with torch.no_grad():
        nn.init.zeros_(head.linear.weight)
        head.linear.bias.copy_(torch.tensor([1.0, 0.0, -1.0, 0, 0, 0, 0, 0, 0]))
    loss = head.loss(head(torch.zeros(4, 1)), torch.randn(4, 1))
    loss.backward()
    w = torch.softmax(torch.tensor([1.0, 0.0, -1.0]), 0)
    entropy = -(w * w.log()).sum()
    assert head.linear.bias.grad is not None
    torch.testing.assert_close(head.linear.bias.grad[:3], reward * w * (w.log() + entropy))
    assert float(head.linear.bias.grad[0] * reward) > 0


def test_what_only_goes_on_or_ends_is_never_lifted() -> None:
    """Two logits: their softmax is that of going on and END, and gradients stay numbers."""
    head, features = StepHead(5, 2, 3, 2), torch.randn(7, 5)
    torch.nn.init.normal_(head.linear.weight)
    steps = head(features)
    expected = torch.softmax(head.linear(features)[:, -2:], -1)
    shares = steps.mean.event
    torch.testing.assert_close(shares[:, [0, 2]], expected)
    assert (shares[:, 1] == 0).all()
    steps.event_log_prob(torch.tensor([0, 2, 0, 0, 2, 0, 0])).sum().backward()
    assert head.linear.weight.grad is not None
    assert head.linear.weight.grad.isfinite().all()
    assert set(steps.tempered(0).sample((50,)).event.unique().tolist()) <= {0, 2}


@pytest.mark.parametrize("events", [1, 4])
def test_other_numbers_of_events_are_refused(events: int) -> None:
    with pytest.raises(InputError, match=f"events: received {events}, expected 3, 2 or 0"):
        StepHead(5, 2, 3, events)


def test_a_mixture_for_each_feature_has_the_published_layout() -> None:
    """Ha and Schmidhuber: of Z latents with K components each, 3 K Z numbers (480 of CarRacing's 32 latents)."""
    head = StepHead(256, 32, 5, 0, "per-dimension")
    assert head.linear.out_features == 480
    assert head.component_choices == 32
    motion = head(torch.randn(4, 256)).motion
    assert motion.batch_shape == (4,)
    assert motion.logits.shape == (4, 32, 5)


def test_what_is_first_looked_at_without_gradients_has_them_all_the_same() -> None:
    """Steps that are drawn from while they are learned from."""
    head, features = StepHead(8, 2, 5, events=2), torch.randn(4, 8)
    gradients: list[Tensor] = []
    for look in (False, True):
        steps = head(features)
        with torch.no_grad():
            assert not look or steps.sample().motion.shape == (4, 2)
        value = Step(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
        gradients += torch.autograd.grad(steps.log_prob(value).sum(), head.linear.weight)
    assert torch.equal(gradients[0], gradients[1])
    with torch.no_grad():
        assert not head(features).motion.means.requires_grad


@pytest.mark.parametrize("rows", [1, 255, 256, 700])
def test_under_autocast_rows_are_those_of_the_linear_layer(rows: int) -> None:
    """To the rounding of bfloat16, whatever number of rows the product was made of; gradients too."""
    head, features = StepHead(8, 2, 3, 3), torch.randn(rows, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = head(features).parameters, head.linear(features)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
    weights = torch.randn_like(found)
    gradients = [
        torch.autograd.grad((each * weights).sum(), [features, head.linear.weight, head.linear.bias], retain_graph=True)
        for each in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2 * float(other.abs().max()))
