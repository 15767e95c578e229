"""Mixture heads: parameter layout, scale floor, gradients, initialization and loss; step heads: events and layout."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, vmap

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step
from mdnrnn.errors import InputError
from mdnrnn.nn.covariance import Covariance, StepCovariance
from mdnrnn.nn.heads import MixtureHead, StepHead
from mdnrnn.nn.parameters import MixtureShape, StepParameters, lower_triangular, smooth_floor

COVARIANCES: list[Covariance] = ["diagonal", "full", "isotropic", "shared", "per-dimension"]
EVERY_COVARIANCE = pytest.mark.parametrize("covariance", COVARIANCES)


def normal_entropy(scale: float) -> float:
    """Return the entropy of a univariate normal distribution, in nats."""
    return 0.5 * math.log(2 * math.pi * math.e * scale**2)


def mean_nll(head: MixtureHead, features: Tensor, targets: Tensor) -> float:
    return float(head.loss(head(features), targets).detach())


def test_a_mixture_head_trains_in_a_sequential() -> None:
    """The target is x or -x: two components learn both, where a regression would predict 0."""
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
    assert float(loss.detach()) < math.log(2) + normal_entropy(0.05) + 0.15


def test_scales_are_above_the_floor_and_have_gradients() -> None:
    shape = MixtureShape(features=1, components=1, log_floor=math.log(1e-3))
    raw = torch.linspace(-30, 5, 200)
    parameters = torch.stack([torch.zeros(200), torch.zeros(200), raw], -1).requires_grad_()
    mixture = shape.unpack(parameters)
    assert isinstance(mixture, GaussianMixture)
    log_scales = mixture.log_scales
    assert float(log_scales.min().detach()) >= math.log(1e-3) - 1e-6
    torch.testing.assert_close(log_scales[-1, 0, 0], raw[-1], rtol=1e-3, atol=1e-3)
    log_scales.sum().backward()
    assert parameters.grad is not None
    assert (parameters.grad[:, 2] > 0).all()
    expected = math.log(1e-3) + torch.nn.functional.softplus(raw - math.log(1e-3))
    torch.testing.assert_close(log_scales[:, 0, 0].detach(), expected)


def test_derivatives_of_the_floor_equal_difference_quotients() -> None:
    raw = torch.linspace(-12, 4, 9, dtype=torch.float64).requires_grad_()
    floor = math.log(1e-3)
    assert torch.autograd.gradcheck(lambda raw: smooth_floor(raw, floor), [raw])
    assert torch.autograd.gradgradcheck(lambda raw: smooth_floor(raw, floor), [raw])
    expected = torch.autograd.functional.hessian(lambda raw: smooth_floor(raw, floor).sum(), raw.detach())
    torch.testing.assert_close(hessian(lambda raw: smooth_floor(raw, floor).sum())(raw.detach()), expected)


def test_second_derivatives_of_the_floor_are_finite_for_any_output() -> None:
    raw = torch.tensor([-1e4, -100.0, -50.0, 0.0, 50.0, 1e4])
    assert vmap(hessian(lambda raw: smooth_floor(raw, math.log(1e-3))))(raw).isfinite().all()


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("features", [1, 3])
@EVERY_COVARIANCE
def test_mixture_heads_support_any_batch_shape(covariance: Covariance, features: int, shape: tuple[int, ...]) -> None:
    mixture = MixtureHead(8, features, 5, covariance)(torch.randn(*shape, 8))
    assert mixture.batch_shape == shape
    assert mixture.event_shape == (features,)
    assert mixture.log_prob(torch.zeros(*shape, features)).shape == shape


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)], ids=str)
def test_step_heads_support_any_batch_shape(shape: tuple[int, ...]) -> None:
    steps = StepHead(8, 2, 5, events=3)(torch.randn(*shape, 8))
    assert steps.batch_shape == shape
    assert steps.event_logits.shape == (*shape, 3)


def test_log_probs_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mixture = MixtureHead(8, 2, 3)(torch.randn(4, 8))
        assert mixture.means.dtype == torch.float32
        assert mixture.log_prob(torch.zeros(4, 2)).dtype == torch.float32


PARAMETER_COUNTS: dict[Covariance, int] = {
    "diagonal": 4 + 4 * 3 + 4 * 3,
    "full": 4 + 4 * 3 + 4 * 3 + 4 * 3,
    "isotropic": 4 + 4 * 3 + 4,
    "shared": 4 + 4 * 3 + 3,
    "per-dimension": 3 * (4 + 4 + 4),
}


@EVERY_COVARIANCE
def test_parameters_are_logits_means_scales_and_slopes(covariance: Covariance) -> None:
    """Four components in three dimensions."""
    head = MixtureHead(6, 3, 4, covariance, scale_floor=0.1)
    assert head.linear.out_features == PARAMETER_COUNTS[covariance]
    parameters = torch.randn(5, PARAMETER_COUNTS[covariance])
    mixture = head.shape.unpack(parameters)
    if isinstance(mixture, PerDimensionMixture):
        torch.testing.assert_close(mixture.logits, parameters[:, :12].view(5, 3, 4))
        torch.testing.assert_close(mixture.means, parameters[:, 12:24].view(5, 3, 4))
        torch.testing.assert_close(mixture.log_scales.exp(), parameters[:, 24:].view(5, 3, 4).exp() + 0.1)
        return
    torch.testing.assert_close(mixture.logits, parameters[:, :4])
    torch.testing.assert_close(mixture.means, parameters[:, 4:16].view(5, 4, 3))
    scale_shape = {"isotropic": (4, 1), "shared": (1, 3)}.get(covariance, (4, 3))
    raw = parameters[:, 16 : 16 + math.prod(scale_shape)].view(5, *scale_shape)
    torch.testing.assert_close(mixture.log_scales.exp(), (raw.exp() + 0.1).expand(5, 4, 3))
    if covariance != "full":
        assert mixture.slopes is None
        return
    assert mixture.slopes is not None
    slopes = parameters[:, 28:].view(5, 4, 3)
    for n, (i, j) in enumerate([(1, 0), (2, 0), (2, 1)]):
        assert torch.equal(mixture.slopes[..., i, j], slopes[..., n])
    assert int((mixture.slopes != 0).sum()) == slopes.numel()


def test_lower_triangular_fills_rows_below_the_diagonal() -> None:
    expected = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [2, 3, 0, 0], [4, 5, 6, 0]])
    assert torch.equal(lower_triangular(torch.arange(1.0, 7), 4), expected)
    assert torch.equal(lower_triangular(torch.zeros(2, 0), 1), torch.zeros(2, 1, 1))


@EVERY_COVARIANCE
def test_second_derivatives_by_the_parameters_equal_difference_quotients(covariance: Covariance) -> None:
    shape = MixtureShape(2, 2, math.log(1e-3), covariance)
    parameters = torch.randn(2, shape.size, dtype=torch.float64).requires_grad_()
    y = torch.randn(2, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda parameters: shape.unpack(parameters).log_prob(y), [parameters])


@EVERY_COVARIANCE
def test_the_jacobian_of_a_batch_equals_a_loop(covariance: Covariance) -> None:
    head = MixtureHead(3, 2, 2, covariance).double()
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in head.named_parameters()}
    jacobian = jacrev(lambda weights: functional_call(head, weights, (x,)).log_prob(y))(weights)
    for i in range(4):
        gradients = torch.autograd.grad(head(x[i]).log_prob(y[i]), list(head.parameters()))
        for name, expected in zip(weights, gradients, strict=True):
            torch.testing.assert_close(jacobian[name][i], expected)


def correlated_points(n: int = 1000) -> Tensor:
    """Return points of a normal distribution in the plane with correlation 0.9 and scales 2 and 0.5."""
    e = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.stack([2 * e[:, 0], 0.5 * (0.9 * e[:, 0] + math.sqrt(1 - 0.9**2) * e[:, 1])], -1) + 3


def fit(head: MixtureHead, y: Tensor) -> float:
    """Fit a head to targets with a constant input; return the mean negative log-likelihood in nats."""
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
    return mean_nll(head, x, y)


@EVERY_COVARIANCE
def test_one_fitted_component_reaches_the_entropy_of_the_covariance(covariance: Covariance) -> None:
    """The maximum likelihood normal has log det(2 pi e S) / 2 nats, where S is the covariance of the points, restricted
    to the structure of the component."""
    y = correlated_points()
    s = torch.cov(y.mT, correction=0)
    restricted: dict[Covariance, Tensor] = {"full": s, "isotropic": torch.eye(2).double() * s.trace() / 2}
    expected = 0.5 * float(torch.logdet(2 * math.pi * math.e * restricted.get(covariance, torch.diag(s.diagonal()))))
    assert fit(MixtureHead(1, 2, 1, covariance, scale_floor=1e-6), y) == pytest.approx(expected, abs=1e-6)


def test_full_covariances_fit_correlated_groups_better_than_diagonal_ones() -> None:
    """Two distant normals with correlations 0.9 and -0.9 have log 2 nats plus the mean entropy of their covariances;
    diagonal components have about -log(1 - 0.9^2) / 2 = 0.83 nats more."""
    y = correlated_points() - 3
    groups = (y[:500] + torch.tensor([0.0, 20.0]), y[500:] * torch.tensor([1.0, -1.0]))
    covariances = torch.stack([torch.cov(group.mT, correction=0) for group in groups])
    diagonals = torch.diag_embed(covariances.diagonal(dim1=-2, dim2=-1))
    nll = {}
    for covariance, s in (("full", covariances), ("diagonal", diagonals)):
        head = MixtureHead(1, 2, 2, covariance, scale_floor=1e-6).double()  # type: ignore[arg-type]
        head.initialize(torch.cat(groups))
        nll[covariance] = fit(head, torch.cat(groups))
        expected = math.log(2) + 0.5 * float(torch.logdet(2 * math.pi * math.e * s).mean())
        assert nll[covariance] == pytest.approx(expected, abs=1e-5)
    assert nll["diagonal"] > nll["full"] + 0.7


def make_groups(scale: float, n: int = 2000, distance: float = 1.0, d: int = 2) -> tuple[Tensor, float]:
    """Return points of four normal groups in one or two dimensions, and the entropy of their distribution."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.1], [0.2, 1.0], [1.1, 1.2]])[:, :d] * distance
    points = centers[torch.randint(4, (n,), generator=generator)] + scale * torch.randn(n, d, generator=generator)
    return points, math.log(4) + d * normal_entropy(scale)


@pytest.mark.parametrize("covariance", COVARIANCES[:-1])
@pytest.mark.parametrize("distance", [1e-2, 1.0, 100.0])
def test_an_initialized_head_is_the_mixture_of_the_groups(covariance: Covariance, distance: float) -> None:
    """Scales are 5% of the distance: within 0.05 nats of the entropy, for any features."""
    y, entropy = make_groups(0.05 * distance, distance=distance)
    head = MixtureHead(8, 2, 4, covariance, scale_floor=1e-5)
    head.initialize(y)
    for features in (torch.zeros(len(y), 8), torch.randn(len(y), 8), 100 * torch.randn(len(y), 8)):
        assert mean_nll(head, features, y) < entropy + 0.05


def test_an_initialized_per_dimension_head_clusters_each_dimension() -> None:
    """Two independent groups per dimension: within 0.05 nats of log 2 plus the entropy of a normal in each."""
    generator = torch.Generator().manual_seed(0)
    group = torch.rand(2000, 2, generator=generator).argsort(0) % 2  # exactly half each, so quantiles separate them
    y = group * torch.tensor([1.0, 30.0]) + torch.tensor([0.02, 0.5]) * torch.randn(2000, 2, generator=generator)
    entropy = sum(math.log(2) + normal_entropy(scale) for scale in (0.02, 0.5))
    head = MixtureHead(8, 2, 2, "per-dimension")
    head.initialize(y)
    assert mean_nll(head, torch.zeros(2000, 8), y) < entropy + 0.05


@EVERY_COVARIANCE
@pytest.mark.parametrize("features", [1, 2], ids=["1-D", "2-D"])
@pytest.mark.parametrize("distance", [0.05, 1.0, 20.0])
def test_initialization_from_targets_is_better_than_the_default(
    distance: float, features: int, covariance: Covariance
) -> None:
    y, _ = make_groups(0.05 * distance, distance=distance, d=features)
    x = torch.randn(len(y), 16, generator=torch.Generator().manual_seed(1))
    head = MixtureHead(16, features, 6, covariance, scale_floor=1e-4)
    default = mean_nll(head, x, y)
    head.initialize(y)
    assert mean_nll(head, x, y) < default - 0.3


def test_means_initialized_in_one_dimension_are_those_of_quantile_groups() -> None:
    """4096 quantiles of an exponential distribution: its mean between the quantiles of p and q is the integral of
    -log(1 - u) over (p, q), with antiderivative (1 - u) log(1 - u) + u, divided by q - p."""
    y = -torch.log1p(-(torch.arange(4096) + 0.5).unsqueeze(-1) / 4096)
    head = MixtureHead(3, 1, 8)
    head.initialize(y)
    antiderivative = [(1 - i / 8) * math.log(1 - i / 8) + i / 8 if i < 8 else 1.0 for i in range(9)]
    expected = [8 * (antiderivative[i + 1] - antiderivative[i]) for i in range(8)]
    assert head(torch.zeros(3)).means.flatten().tolist() == pytest.approx(expected, rel=0.01)


DEGENERATE = {
    "one target": torch.tensor([[1.5, -2.0]]),
    "fewer targets than components": torch.tensor([[1.0, 0.0], [2.0, 5.0], [0.0, 1.0]]),
    "equal targets": torch.full((40, 2), 7.0),
    "targets equal in one dimension": torch.stack([torch.linspace(-1, 1, 40), torch.zeros(40)], -1),
    "integers": (torch.arange(80) % 7).view(40, 2),
}


@EVERY_COVARIANCE
@pytest.mark.parametrize("targets", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_loss_and_gradients_are_finite_after_initialization_from_degenerate_targets(
    targets: Tensor, covariance: Covariance
) -> None:
    head = MixtureHead(4, 2, 8, covariance)
    head.initialize(targets)
    loss = head.loss(head(torch.randn(len(targets), 4)), targets.float())
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in head.parameters())


def test_noise_is_added_to_targets_during_training_only() -> None:
    """For a normal of scale s the expected loss increases by noise^2 / (2 s^2).

    400,000 targets, within 5 standard errors of z^2 / 2, whose standard deviation is 0.71 (1 + noise^2 / s^2):
    false-failure probability below 1e-6.
    """
    noise, scale, n = 0.5, 0.8, 400_000
    head = MixtureHead(1, 1, 1, noise=noise)
    with torch.no_grad():
        nn.init.zeros_(head.linear.weight)
        head.linear.bias.copy_(torch.tensor([0.0, 2.0, math.log(scale - 1e-3)]))
    y, mixture = 2 + scale * torch.randn(n, 1), head(torch.zeros(n, 1))
    without_noise = float(-mixture.log_prob(y).mean().detach())
    with_noise = float(head.train().loss(mixture, y).detach())
    error = 0.71 * (1 + noise**2 / scale**2) / math.sqrt(n)
    assert abs(with_noise - without_noise - noise**2 / (2 * scale**2)) < 5 * error
    assert float(head.eval().loss(mixture, y).detach()) == without_noise


def test_noise_does_not_modify_the_targets_in_place() -> None:
    head, y = MixtureHead(2, 2, 3, noise=1.0), torch.zeros(5, 2)
    head.loss(head(torch.randn(5, 2)), y)
    assert torch.equal(y, torch.zeros(5, 2))


@EVERY_COVARIANCE
@pytest.mark.parametrize("factor", [0.7, -0.3])
def test_weight_entropy_is_subtracted_during_training_only(factor: float, covariance: Covariance) -> None:
    head = MixtureHead(4, 2, 3, covariance, weight_entropy=factor)
    mixture, y = head(torch.randn(6, 4)), torch.randn(6, 2)
    nll = -mixture.log_prob(y).mean()
    entropy = torch.distributions.Categorical(logits=mixture.logits).entropy().mean()
    torch.testing.assert_close(head.train().loss(mixture, y), nll - factor * entropy)
    torch.testing.assert_close(head.eval().loss(mixture, y), nll)


@pytest.mark.parametrize("factor", [1.0, -1.0], ids=["equalize", "prune"])
def test_weight_entropy_has_the_gradient_of_the_entropy(factor: float) -> None:
    """With equal components the likelihood has no gradient by the logits; the entropy term has
    -factor dH/dlogits = factor w (log w + H)."""
    head = MixtureHead(1, 1, 3, weight_entropy=factor)
    with torch.no_grad():
        nn.init.zeros_(head.linear.weight)
        head.linear.bias.copy_(torch.tensor([1.0, 0.0, -1.0, 0, 0, 0, 0, 0, 0]))
    loss = head.loss(head(torch.zeros(4, 1)), torch.randn(4, 1))
    loss.backward()
    w = torch.softmax(torch.tensor([1.0, 0.0, -1.0]), 0)
    entropy = -(w * w.log()).sum()
    assert head.linear.bias.grad is not None
    torch.testing.assert_close(head.linear.bias.grad[:3], factor * w * (w.log() + entropy))
    assert float(head.linear.bias.grad[0] * factor) > 0


def test_two_event_logits_are_down_and_end() -> None:
    """UP has probability 0, and gradients are finite."""
    head, features = StepHead(5, 2, 3, 2), torch.randn(7, 5)
    torch.nn.init.normal_(head.linear.weight)
    steps = head(features)
    expected = torch.softmax(head.linear(features)[:, -2:], -1)
    probs = steps.event_probs
    torch.testing.assert_close(probs[:, [0, 2]], expected)
    assert (probs[:, 1] == 0).all()
    steps.event_log_prob(torch.tensor([0, 2, 0, 0, 2, 0, 0])).sum().backward()
    assert head.linear.weight.grad is not None
    assert head.linear.weight.grad.isfinite().all()
    assert set(steps.tempered(0).sample((50,)).event.unique().tolist()) <= {0, 2}


@pytest.mark.parametrize("events", [1, -1])
def test_other_numbers_of_events_are_rejected(events: int) -> None:
    with pytest.raises(InputError, match=f"events: received {events}, expected a whole number of 2 or more, or 0"):
        StepHead(5, 2, 3, events)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "per-dimension"])
@pytest.mark.parametrize("events", [3, 4, 10])
def test_the_last_outputs_of_a_step_head_are_the_event_logits(events: int, covariance: StepCovariance) -> None:
    head, features = StepHead(5, 2, 3, events, covariance), torch.randn(7, 5)
    steps = head(features)
    assert torch.equal(steps.event_logits, head.linear(features)[:, -events:])
    value = steps.sample((50,), generator=torch.Generator().manual_seed(0))
    assert int(value.event.max()) == events - 1
    motion, event = steps.nll(value)
    torch.testing.assert_close(-motion - event, steps.log_prob(value))
    torch.testing.assert_close(steps.tempered(0).sample().event, steps.event_logits.argmax(-1))


def test_a_shift_is_added_to_the_logit_of_end_only() -> None:
    """With any number of events; without END it has no effect."""
    shape, shift = MixtureShape(2, 3, math.log(1e-3)), torch.randn(7)
    for events in (0, 2, 3, 5):
        parameters = torch.randn(7, shape.size + events)
        plain, shifted = (StepParameters(parameters, shape, events, s).event_logits for s in (None, shift))
        expected = plain.clone()
        expected[:, 2:3] += shift.unsqueeze(-1)
        assert torch.equal(shifted, expected)


def test_a_per_dimension_step_head_has_the_published_number_of_outputs() -> None:
    """Ha and Schmidhuber: 3 K Z outputs for Z latent variables with K components each, 480 for the 32 of CarRacing."""
    head = StepHead(256, 32, 5, 0, "per-dimension")
    assert head.linear.out_features == 480
    assert head.component_choices == 32
    motion = head(torch.randn(4, 256)).motion
    assert motion.batch_shape == (4,)
    assert motion.logits.shape == (4, 32, 5)


def test_sampling_without_gradients_keeps_the_gradients_of_later_calls() -> None:
    """Parameters that are unpacked under `torch.no_grad` are still differentiable."""
    head, features = StepHead(8, 2, 5, events=2), torch.randn(4, 8)
    gradients: list[Tensor] = []
    for sample_first in (False, True):
        steps = head(features)
        with torch.no_grad():
            assert not sample_first or steps.sample().motion.shape == (4, 2)
        value = Step(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
        gradients += torch.autograd.grad(steps.log_prob(value).sum(), head.linear.weight)
    assert torch.equal(gradients[0], gradients[1])
    with torch.no_grad():
        assert not head(features).motion.means.requires_grad


@pytest.mark.parametrize("steps", [1, 255, 256, 700])
def test_padding_under_autocast_does_not_change_parameters_or_gradients(steps: int) -> None:
    """Within the rounding of bfloat16, for any number of steps."""
    head, features = StepHead(8, 2, 3, 3), torch.randn(steps, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        padded, expected = head(features).parameters, head.linear(features)
    assert padded.shape == expected.shape
    torch.testing.assert_close(padded, expected, rtol=1e-2, atol=1e-2)
    weights, leaves = torch.randn_like(padded), [features, head.linear.weight, head.linear.bias]
    gradients = [
        torch.autograd.grad((result * weights).sum(), leaves, retain_graph=True) for result in (padded, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2 * float(other.abs().max()))
