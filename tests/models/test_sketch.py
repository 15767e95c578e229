"""Tests of Sketch-RNN: steps, the influence of z, the encoder, dropout, KL annealing and free nats, bfloat16."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, Loss, StepShape, negative_log_likelihood
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import make_batches, make_model, make_sketch_model, random_corpus, to_float64
from tests.models.helpers import flatten_parameters, repeat_step

LENGTHS = [5, 9, 2, 7, 1]
CORPORA = {
    "plain": random_corpus(LENGTHS),
    "labels": random_corpus(LENGTHS, classes=("a", "b", "c")),
    "inputs": random_corpus(LENGTHS, inputs=3),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "diagonal": {"covariance": "diagonal"},
    "layer norm": {"cell": "layer-norm"},
    "layer norm, two layers": {"cell": "layer-norm", "layers": 2},
    "two layers": {"layers": 2},
    "no position": {"position": False},
    "no latent": {"latent": 0},
    "no KL weight": {"kl_weight": 0.0},
    "dropout": {"dropout": 0.5, "recurrent_dropout": 0.5},
}
EVERY_CORPUS = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
EVERY_CONFIG = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
EVERY_CELL = pytest.mark.parametrize("cell", ["plain", "layer-norm"])


def make_batch(corpus: Corpus, indices: list[int] | None = None) -> Batch:
    """Make a batch of all sequences, or of those with the given indices, in float64."""
    return to_float64(make_batches(corpus).batch(np.arange(len(LENGTHS)) if indices is None else np.array(indices)))


def sample_prior(model: SketchRNN, batch_size: int, seed: int = 0) -> Tensor | None:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch_size, model.latent, generator=generator, dtype=torch.float64) if model.latent else None


@EVERY_CONFIG
@EVERY_CORPUS
@pytest.mark.parametrize("copies", [1, 40], ids=["small batch", "large batch"])
def test_steps_equal_decode(corpus: Corpus, config: dict[str, Any], copies: int) -> None:
    model, batch = make_sketch_model(corpus, **config).eval(), make_batch(corpus)
    latent = sample_prior(model, batch.size)
    expected = flatten_parameters(model.decode(batch, latent))
    row = 0
    for b, length in enumerate(LENGTHS):
        label = None if batch.label is None else batch.label[b].expand(copies)
        repeated = None if latent is None else latent[b].expand(copies, -1)
        state = model.initial_state(copies, Condition(label, latent=repeated))
        for t in range(length):
            steps, state = model.step(repeat_step(batch.previous, row, copies), state)
            torch.testing.assert_close(flatten_parameters(steps)[-1], expected[row], msg=f"sequence {b}, step {t}")
            row += 1
    assert row == batch.points


@EVERY_CORPUS
def test_without_latent_it_equals_the_mdn_rnn_with_the_same_weights(corpus: Corpus) -> None:
    model = make_sketch_model(corpus, kl_weight=0.0).eval()
    other = make_model(corpus, hidden=16, covariance="full").eval()
    other.load_state_dict(model.state_dict())
    batch = make_batch(corpus)
    assert torch.equal(flatten_parameters(model(batch)), flatten_parameters(other(batch)))
    assert torch.equal(model.loss(batch).total, other.loss(batch).total)
    assert torch.equal(model.objective(model.loss(batch), batch, 0), other.loss(batch).total)


@EVERY_CELL
@pytest.mark.parametrize("path", ["initial state", "inputs"])
def test_latent_affects_the_initial_state_and_all_inputs(path: str, cell: str) -> None:
    """One path is tested at a time, with the other one cut off. With recurrent weights of 0 and a closed forget gate,
    later steps depend on z through their inputs only."""
    corpus = random_corpus([6])
    model = make_sketch_model(corpus, cell=cell).eval()
    batch, width = make_batch(corpus, [0]), model.decoder.features.width
    layer = model.decoder.core.layers[0]
    with torch.no_grad():
        if path == "inputs":
            model.initial_layer.weight.zero_()
            for name, weight in layer.named_parameters():
                if "weight_hh" in name:
                    weight.zero_()
            forget = layer.get_parameter("gate_norms.1.bias" if cell == "layer-norm" else "bias_ih_l0")
            (forget if cell == "layer-norm" else forget.chunk(4)[1]).fill_(-1e9)
        else:
            layer.get_parameter("weight_ih" if cell == "layer-norm" else "weight_ih_l0")[:, width:].zero_()
    one, other = (flatten_parameters(model.decode(batch, sample_prior(model, 1, seed))) for seed in (0, 1))
    is_changed = (one - other).abs().amax(-1) > 1e-6
    assert is_changed[0]
    if path == "inputs":
        assert is_changed.all()


def test_initial_state_is_tanh_of_a_linear_map_of_latent_and_label() -> None:
    corpus = CORPORA["labels"]
    model = make_sketch_model(corpus, layers=2)
    latent, label = sample_prior(model, 3), torch.tensor([2, 0, 1])
    assert latent is not None
    assert model.label.weight is not None
    state = model.initial_state(3, Condition(label, latent=latent))
    context = torch.cat([latent, model.label.weight[label]], -1)
    states = torch.tanh(context @ model.initial_layer.weight.T + model.initial_layer.bias)
    expected = [states[:, 16 * part : 16 * (part + 1)] for part in range(4)]
    torch.testing.assert_close(state.core.hidden, torch.stack(expected[:2]))
    torch.testing.assert_close(state.core.cell, torch.stack(expected[2:]))
    torch.testing.assert_close(state.context[0], context)
    assert torch.equal(state.position, torch.zeros(1, 3, 2).double())


@EVERY_CORPUS
@EVERY_CELL
def test_posterior_does_not_depend_on_padding_or_other_drawings(corpus: Corpus, cell: str) -> None:
    model = make_sketch_model(corpus, cell=cell).eval()

    def encode(indices: list[int]) -> dict[int, Tensor]:
        posterior = model.encode(make_batch(corpus, indices))
        assert posterior.mean.shape == posterior.log_scale.shape == (len(indices), 4)
        return dict(zip(indices, torch.cat(posterior, -1), strict=True))

    together, reverse, pair = encode([0, 1, 2, 3, 4]), encode([4, 3, 2, 1, 0]), encode([4, 3])
    alone = {i: encode([i])[i] for i in range(5)}
    for i in range(5):
        for other in (alone, reverse, *([pair] if i in pair else [])):
            torch.testing.assert_close(together[i], other[i])
        assert all(i == j or not torch.allclose(together[i], together[j]) for j in range(5))


@pytest.mark.parametrize("position", [True, False], ids=["position", "no position"])
@EVERY_CELL
def test_encoder_equals_a_reference_for_single_drawings(cell: str, position: bool) -> None:
    """Each direction reads motions, events and positions, which are summed in reading order."""
    corpus = CORPORA["labels"]
    model, batch = make_sketch_model(corpus, cell=cell, position=position).eval(), make_batch(corpus)
    posterior, row = model.encode(batch), 0
    assert batch.label is not None
    assert model.label.weight is not None
    for b, length in enumerate(LENGTHS):
        motion, event = batch.target.motion[row : row + length], batch.target.event[row : row + length]
        hiddens = []
        forward = torch.arange(length)
        for lstm, order in ((model.encoder_forward, forward), (model.encoder_backward, forward.flip(0))):
            features = [motion[order], functional.one_hot(event[order], 3)]
            features += [motion[order].cumsum(0)] if position else []
            outputs, _ = lstm(torch.cat(features, -1).unsqueeze(1), lstm.initial_state(1))
            hiddens.append(outputs[-1, 0])
        expected = model.posterior(torch.cat([*hiddens, model.label.weight[batch.label[b]]]))
        torch.testing.assert_close(torch.cat([posterior.mean[b], posterior.log_scale[b]]), expected)
        row += length


@pytest.mark.parametrize("direction", ["encoder_forward", "encoder_backward"])
@pytest.mark.parametrize("changed", ["first", "last"])
@pytest.mark.parametrize("part", ["motion", "event"])
def test_posterior_depends_on_first_and_last_step_in_both_directions(part: str, changed: str, direction: str) -> None:
    corpus = random_corpus([7, 9, 9])
    model, batch = make_sketch_model(corpus).eval(), make_batch(corpus, [0, 1, 2])
    with torch.no_grad():
        model.posterior.weight[:, :12] *= direction == "encoder_forward"
        model.posterior.weight[:, 12:] *= direction == "encoder_backward"
    row = 0 if changed == "first" else 6
    values = getattr(batch.target, part).clone()
    values[row] = (values[row] + 1) % 3
    other = replace(batch, target=batch.target._replace(**{part: values}))
    before, after = model.encode(batch), model.encode(other)
    assert (before.mean[0] - after.mean[0]).abs().max() > 1e-6
    assert (before.log_scale[0] - after.log_scale[0]).abs().max() > 1e-6
    torch.testing.assert_close(before.mean[1:], after.mean[1:])


def test_posterior_depends_on_the_label() -> None:
    corpus = CORPORA["labels"]
    model, batch = make_sketch_model(corpus).eval(), make_batch(corpus)
    assert batch.label is not None
    other = replace(batch, label=(batch.label + 1) % 3)
    assert ((model.encode(batch).mean - model.encode(other).mean).abs().amax(-1) > 1e-6).all()


@EVERY_CELL
def test_recurrent_dropout_is_applied_in_encoder_and_decoder_in_training_only(cell: str) -> None:
    corpus = CORPORA["plain"]
    model = make_sketch_model(corpus, cell=cell, recurrent_dropout=0.5).train()
    batch, latent = make_batch(corpus), sample_prior(model, 5)

    def run() -> tuple[Tensor, Tensor]:
        return model.encode(batch).mean, flatten_parameters(model.decode(batch, latent))

    for training in (True, False):
        model.train(training)
        for one, other in zip(run(), run(), strict=True):
            assert torch.equal(one, other) != training


def test_dropout_is_applied_in_the_decoder_only() -> None:
    corpus = CORPORA["plain"]
    model = make_sketch_model(corpus, dropout=0.5).train()
    batch, latent = make_batch(corpus), sample_prior(model, 5)
    assert torch.equal(model.encode(batch).mean, model.encode(batch).mean)
    assert not torch.equal(*(flatten_parameters(model.decode(batch, latent)) for _ in range(2)))


def test_initial_posteriors_are_narrow() -> None:
    """Log scales are about -2, and means of different drawings differ by more than 0.1 scales."""
    corpus = CORPORA["plain"]
    torch.manual_seed(0)
    model = SketchRNN(StepShape.from_corpus(corpus), SketchRNNConfig(encoder=64, hidden=64, latent=16))
    posterior = model.encode(make_batches(corpus).batch(np.arange(5)))
    distances = (posterior.mean[:, None] - posterior.mean).norm(dim=-1)[~torch.eye(5, dtype=torch.bool)]
    torch.testing.assert_close(posterior.log_scale.mean(), torch.tensor(-2.0), atol=0.1, rtol=0)
    assert float((distances / posterior.log_scale.exp().norm(dim=-1).mean()).min().detach()) > 0.1


@EVERY_CORPUS
@EVERY_CONFIG
def test_every_parameter_has_a_finite_nonzero_gradient(corpus: Corpus, config: dict[str, Any]) -> None:
    model, batch = make_sketch_model(corpus, **config), make_batch(corpus)
    model.objective(model.loss(batch), batch, 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def make_loss(kl: float) -> tuple[Loss, Tensor]:
    """Make a loss with a reconstruction of 3 nats and the given KL divergence, per point; return both."""
    divergence = torch.tensor(kl, dtype=torch.float64, requires_grad=True)
    terms = {"motion": torch.tensor(2.0).double(), "event": torch.tensor(1.0).double(), "kl": divergence}
    return Loss(sum(terms.values(), torch.zeros(()).double()), terms), divergence


@pytest.mark.parametrize(
    ("step", "fraction"),
    [(0, 0.01), (1, 0.01 + 0.99 * 0.00005), (13863, 0.505), (10_000_000, 1.0)],
    ids=["step 0", "step 1", "half-life", "limit"],
)
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_kl_annealing_equals_the_published_schedule(step: int, fraction: float, weight: float) -> None:
    """eta_step = 1 - (1 - eta_min) R^step (Ha and Eck), times the weight; the half-life is log(2) / 0.00005 steps."""
    model, batch = make_sketch_model(CORPORA["plain"], kl_weight=weight, kl_floor=0.0), make_batch(CORPORA["plain"])
    objective = model.objective(make_loss(0.7)[0], batch, step)
    assert float(objective.detach()) == pytest.approx(3 + weight * fraction * 0.7, rel=1e-5)


@pytest.mark.parametrize(("kl", "is_penalized"), [(0.99, False), (1.01, True)], ids=["below", "above"])
def test_kl_below_the_floor_has_no_gradient(kl: float, is_penalized: bool) -> None:
    """0.2 nats for each of 4 dimensions of 5 drawings with 24 points in total: 4 / 24 nats per point."""
    model, batch = make_sketch_model(CORPORA["plain"], kl_weight=0.5, kl_start=0.3), make_batch(CORPORA["plain"])
    loss, divergence = make_loss(kl * 4 / 24)
    objective = model.objective(loss, batch, 0)
    objective.backward()
    assert divergence.grad is not None
    assert float(divergence.grad) == pytest.approx(0.15 if is_penalized else 0.0)
    assert float(objective.detach()) == pytest.approx(3 + 0.15 * max(kl, 1) * 4 / 24)


@pytest.mark.parametrize(
    ("settings", "first"),
    [({"kl_rate": 0.0}, 1), ({"kl_start": 1.0}, 0)],
    ids=["from step 1", "from step 0"],
)
def test_objective_without_annealing_and_floor_is_the_bound(settings: dict[str, Any], first: int) -> None:
    model = make_sketch_model(CORPORA["plain"], kl_weight=1.0, kl_floor=0.0, **settings)
    batch = make_batch(CORPORA["plain"])
    loss = model.loss(batch)
    for step in (first, 7, 100_000):
        torch.testing.assert_close(model.objective(loss, batch, step), loss.total)


def test_trained_decoder_uses_the_latent() -> None:
    """24 lines in different directions: after 200 steps, the negative log-likelihood given the latent of the opposite
    direction is at least 10 nats higher than given the drawing's latent."""
    angles = 2 * np.pi * np.arange(24) / 24
    lines = [np.rint(40 * np.tile([np.cos(a), np.sin(a)], (6, 1))).astype(np.int16) for a in angles]
    corpus = pack(Metadata(name="lines", bin_width=1.0), {"train": [Sequence(m, mark_end(np.zeros(6))) for m in lines]})
    torch.manual_seed(0)
    config = SketchRNNConfig(encoder=24, hidden=32, latent=2, components=2, kl_rate=0.97, kl_floor=0.0)
    model = SketchRNN(StepShape.from_corpus(corpus), config)
    batch = Batches(corpus, "train", Normalizer.from_corpus(corpus)).batch(np.arange(24))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(200):
        optimizer.zero_grad()
        model.objective(model.loss(batch), batch, step).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        mean = model.encode(batch).mean
        nlls = []
        for latent in (mean, mean.roll(12, 0)):
            motion, event = negative_log_likelihood(model.decode(batch, latent), batch)
            nlls.append(float((motion + event).sum()) / 24)
    assert nlls[1] > nlls[0] + 10


@EVERY_CELL
def test_loss_in_bfloat16_is_close_to_float32(cell: str) -> None:
    """All terms agree within 2% and are float32."""
    corpus = CORPORA["labels"]
    model, batch = make_sketch_model(corpus, cell=cell).float(), make_batches(corpus).batch(np.arange(5))
    losses = []
    for autocast in (False, True):
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses.append(model.loss(batch))
    for name, term in losses[0].terms.items():
        assert losses[1].terms[name].dtype == torch.float32
        assert float(losses[1].terms[name].detach()) == pytest.approx(float(term.detach()), rel=0.02), name


@pytest.mark.parametrize("settings", [{"cell": "gru"}, {"covariance": "round"}], ids=["cell", "covariance"])
def test_unknown_cells_and_covariances_are_errors(settings: dict[str, Any]) -> None:
    """Raised by the config or, for the config of a damaged run, by the model."""
    with pytest.raises(InputError, match=next(iter(settings))):
        SketchRNN(StepShape(), SketchRNNConfig(**settings))


def test_missing_latent_is_an_error() -> None:
    model = make_sketch_model(CORPORA["plain"])
    with pytest.raises(InputError, match="latent: received none, expected 4 numbers per sequence"):
        model.initial_state(2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "model.hidden: received 0, expected 1 to"),
        ({"encoder": 0}, "model.encoder: received 0, expected 1 to"),
        ({"latent": -1}, "model.latent: received -1, expected 0 to"),
        ({"recurrent_dropout": 1.0}, "model.recurrent_dropout: received 1.0, expected 0 to 0.99"),
        ({"kl_weight": -0.5}, "model.kl_weight: received -0.5, expected 0 to"),
        ({"kl_rate": 1.5}, "model.kl_rate: received 1.5, expected 0 to 1"),
        ({"kl_start": float("nan")}, "model.kl_start: received nan, expected 0 to 1"),
        ({"scale_floor": 0.0}, "model.scale_floor: received 0.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_configs_are_errors(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SketchRNNConfig(**settings)  # type: ignore[arg-type]
