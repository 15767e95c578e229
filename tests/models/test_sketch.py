"""Sketch-RNN: stepping is the forward pass, a drawing's latent is its own, training descends what the config says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.distributions import GaussianMixture, Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.models.base import Condition, Loss, StepShape, negative_log_likelihood
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.models.sketch import SketchRNN
from tests.helpers import make_batches, make_model, make_sketch_model, random_corpus, to_float64

LENGTHS = [5, 9, 2, 7, 1]
CORPORA = {
    "plain": random_corpus(LENGTHS),
    "labels": random_corpus(LENGTHS, classes=("a", "b", "c")),
    "inputs": random_corpus(LENGTHS, inputs=3),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "as published": {},
    "diagonal": {"covariance": "diagonal"},
    "layer-normalized": {"cell": "layer-norm"},
    "layer-normalized, two layers": {"cell": "layer-norm", "layers": 2},
    "two layers": {"layers": 2},
    "no position": {"position": False},
    "no latent": {"latent": 0},
    "no weight on the latent": {"kl_weight": 0.0},
    "dropout, which evaluation ignores": {"dropout": 0.5, "recurrent_dropout": 0.5},
}
EVERY_CORPUS = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
EVERY_CONFIG = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
CELLS = pytest.mark.parametrize("cell", ["plain", "layer-norm"])


def batch_of(corpus: Corpus, indices: list[int] | None = None) -> Batch:
    """All sequences of a corpus, or some, in float64."""
    return to_float64(make_batches(corpus).batch(np.arange(len(LENGTHS)) if indices is None else np.array(indices)))


def latents_for(model: SketchRNN, batch_size: int, seed: int = 0) -> Tensor | None:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch_size, model.latent, generator=generator, dtype=torch.float64) if model.latent else None


def parameters_of(steps: StepDistribution) -> Tensor:
    motion = steps.motion
    assert isinstance(motion, GaussianMixture)
    parts = [motion.logits, motion.means.flatten(-2), motion.log_scales.flatten(-2), steps.event_logits]
    return torch.cat([*parts, *([] if motion.slopes is None else [motion.slopes.flatten(-3)])], -1)


def one_step(steps: Step, row: int, copies: int) -> Step:
    """Row `row` of flat steps, `copies` times."""
    inputs = None if steps.inputs is None else steps.inputs[row].expand(copies, -1)
    return Step(steps.motion[row].expand(copies, -1), steps.event[row].expand(copies), inputs)


@EVERY_CONFIG
@EVERY_CORPUS
@pytest.mark.parametrize("copies", [1, 40], ids=["small batch", "large batch"])
def test_stepping_gives_the_distributions_that_decode_gives(
    corpus: Corpus, config: dict[str, Any], copies: int
) -> None:
    model, batch = make_sketch_model(corpus, **config).eval(), batch_of(corpus)
    latent = latents_for(model, batch.size)
    whole = parameters_of(model.decode(batch, latent))
    row = 0
    for b, length in enumerate(LENGTHS):
        label = None if batch.label is None else batch.label[b].expand(copies)
        own = None if latent is None else latent[b].expand(copies, -1)
        state = model.initial_state(copies, Condition(label, latent=own))
        for t in range(length):
            steps, state = model.step(one_step(batch.previous, row, copies), state)
            torch.testing.assert_close(parameters_of(steps)[-1], whole[row], msg=f"sequence {b}, step {t}")
            row += 1
    assert row == batch.points


@EVERY_CORPUS
def test_without_a_latent_it_is_the_mdn_rnn_of_the_same_weights(corpus: Corpus) -> None:
    model = make_sketch_model(corpus, kl_weight=0.0).eval()
    other = make_model(corpus, hidden=16, covariance="full").eval()
    other.load_state_dict(model.state_dict())
    batch = batch_of(corpus)
    assert torch.equal(parameters_of(model(batch)), parameters_of(other(batch)))
    assert torch.equal(model.loss(batch).total, other.loss(batch).total)
    assert torch.equal(model.objective(model.loss(batch), batch, 0), other.loss(batch).total)


@CELLS
@pytest.mark.parametrize("way", ["the state before the first step", "every input"])
def test_a_latent_reaches_the_start_and_every_step(way: str, cell: str) -> None:
    """With the other way cut off; what is beside every input is told from the start by steps that have no memory."""
    corpus = random_corpus([6])
    model = make_sketch_model(corpus, cell=cell).eval()
    batch, width = batch_of(corpus, [0]), model.decoder.features.width
    core = model.decoder.lstm.layers[0]
    with torch.no_grad():
        if way == "every input":
            model.start_of.weight.zero_()
            for name, weight in core.named_parameters():  # neither hidden state nor cell is kept
                if "weight_hh" in name:
                    weight.zero_()
            forget = core.get_parameter("gate_norms.1.bias" if cell == "layer-norm" else "bias_ih_l0")
            (forget if cell == "layer-norm" else forget.chunk(4)[1]).fill_(-1e9)
        else:
            core.get_parameter("weight_ih" if cell == "layer-norm" else "weight_ih_l0")[:, width:].zero_()
    one, other = (parameters_of(model.decode(batch, latents_for(model, 1, seed))) for seed in (0, 1))
    changed = (one - other).abs().amax(-1) > 1e-6
    assert changed[0]
    if way == "every input":
        assert changed.all()


def test_the_state_before_the_first_step_is_tanh_of_latent_and_label() -> None:
    corpus = CORPORA["labels"]
    model = make_sketch_model(corpus, layers=2)
    latent, label = latents_for(model, 3), torch.tensor([2, 0, 1])
    assert latent is not None
    assert model.label.weight is not None
    state = model.initial_state(3, Condition(label, latent=latent))
    context = torch.cat([latent, model.label.weight[label]], -1)
    rows = torch.tanh(context @ model.start_of.weight.T + model.start_of.bias)
    expected = [rows[:, 16 * part : 16 * (part + 1)] for part in range(4)]
    torch.testing.assert_close(state.lstm.hidden, torch.stack(expected[:2]))
    torch.testing.assert_close(state.lstm.cell, torch.stack(expected[2:]))
    torch.testing.assert_close(state.context[0], context)
    assert torch.equal(state.place, torch.zeros(1, 3, 2).double())


@EVERY_CORPUS
@CELLS
def test_the_latent_of_a_drawing_is_its_own(corpus: Corpus, cell: str) -> None:
    """Whatever is beside it, in whatever order, however long."""
    model = make_sketch_model(corpus, cell=cell).eval()

    def posteriors(indices: list[int]) -> dict[int, Tensor]:
        found = model.encode(batch_of(corpus, indices))
        assert found.mean.shape == found.log_scale.shape == (len(indices), 4)
        return dict(zip(indices, torch.cat(found, -1), strict=True))

    together, reversed_, pair = posteriors([0, 1, 2, 3, 4]), posteriors([4, 3, 2, 1, 0]), posteriors([4, 3])
    alone = {i: posteriors([i])[i] for i in range(5)}
    for i in range(5):
        for other in (alone, reversed_, *([pair] if i in pair else [])):
            torch.testing.assert_close(together[i], other[i])
        assert all(i == j or not torch.allclose(together[i], together[j]) for j in range(5))


@pytest.mark.parametrize("position", [True, False], ids=["position", "no position"])
@CELLS
def test_the_encoder_reads_a_drawing_from_either_end(cell: str, position: bool) -> None:
    """Written out for one drawing at a time: motions, events and the place, counted from the end that is read from."""
    corpus = CORPORA["labels"]
    model, batch = make_sketch_model(corpus, cell=cell, position=position).eval(), batch_of(corpus)
    found, row = model.encode(batch), 0
    assert batch.label is not None
    assert model.label.weight is not None
    for b, length in enumerate(LENGTHS):
        motion, event = batch.target.motion[row : row + length], batch.target.event[row : row + length]
        last = []
        for lstm, steps in ((model.forth, torch.arange(length)), (model.back, torch.arange(length).flip(0))):
            rows = [motion[steps], functional.one_hot(event[steps], 3)]
            rows += [motion[steps].cumsum(0)] if position else []
            outputs, _ = lstm(torch.cat(rows, -1).unsqueeze(1), lstm.initial_state(1))
            last.append(outputs[-1, 0])
        expected = model.posterior(torch.cat([*last, model.label.weight[batch.label[b]]]))
        torch.testing.assert_close(torch.cat([found.mean[b], found.log_scale[b]]), expected)
        row += length


@pytest.mark.parametrize("read", ["forth", "back"])
@pytest.mark.parametrize("changed", ["first", "last"])
@pytest.mark.parametrize("what", ["motion", "event"])
def test_every_step_reaches_the_latent_either_way(what: str, changed: str, read: str) -> None:
    corpus = random_corpus([7, 9, 9])
    model, batch = make_sketch_model(corpus).eval(), batch_of(corpus, [0, 1, 2])
    with torch.no_grad():
        model.posterior.weight[:, :12] *= read == "forth"
        model.posterior.weight[:, 12:] *= read == "back"
    row = 0 if changed == "first" else 6
    part = getattr(batch.target, what).clone()
    part[row] = (part[row] + 1) % 3
    other = replace(batch, target=batch.target._replace(**{what: part}))
    before, after = model.encode(batch), model.encode(other)
    assert (before.mean[0] - after.mean[0]).abs().max() > 1e-6
    assert (before.log_scale[0] - after.log_scale[0]).abs().max() > 1e-6
    torch.testing.assert_close(before.mean[1:], after.mean[1:])


def test_a_label_is_part_of_what_the_latent_comes_from() -> None:
    corpus = CORPORA["labels"]
    model, batch = make_sketch_model(corpus).eval(), batch_of(corpus)
    assert batch.label is not None
    other = replace(batch, label=(batch.label + 1) % 3)
    assert ((model.encode(batch).mean - model.encode(other).mean).abs().amax(-1) > 1e-6).all()


@CELLS
def test_recurrent_dropout_is_in_encoder_and_decoder_in_training_only(cell: str) -> None:
    corpus = CORPORA["plain"]
    model = make_sketch_model(corpus, cell=cell, recurrent_dropout=0.5).train()
    batch, latent = batch_of(corpus), latents_for(model, 5)

    def found() -> tuple[Tensor, Tensor]:
        return model.encode(batch).mean, parameters_of(model.decode(batch, latent))

    for training in (True, False):
        model.train(training)
        for one, other in zip(found(), found(), strict=True):
            assert torch.equal(one, other) != training


def test_dropout_is_in_the_decoder_in_training_only() -> None:
    corpus = CORPORA["plain"]
    model = make_sketch_model(corpus, dropout=0.5).train()
    batch, latent = batch_of(corpus), latents_for(model, 5)
    assert torch.equal(model.encode(batch).mean, model.encode(batch).mean)
    assert not torch.equal(*(parameters_of(model.decode(batch, latent)) for _ in range(2)))


def test_posteriors_start_narrow() -> None:
    """So that draws of z tell drawings apart before the decoder has learned to ignore them."""
    corpus = CORPORA["plain"]
    torch.manual_seed(0)
    model = SketchRNN(StepShape.from_corpus(corpus), SketchRNNConfig(encoder=64, hidden=64, latent=16))
    posterior = model.encode(make_batches(corpus).batch(np.arange(5)))
    apart = (posterior.mean[:, None] - posterior.mean).norm(dim=-1)[~torch.eye(5, dtype=torch.bool)]
    torch.testing.assert_close(posterior.log_scale.mean(), torch.tensor(-2.0), atol=0.1, rtol=0)
    assert float((apart / posterior.log_scale.exp().norm(dim=-1).mean()).min().detach()) > 0.1


@EVERY_CORPUS
@EVERY_CONFIG
def test_every_weight_has_a_gradient(corpus: Corpus, config: dict[str, Any]) -> None:
    model, batch = make_sketch_model(corpus, **config), batch_of(corpus)
    model.objective(model.loss(batch), batch, 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def made_up(kl: float) -> tuple[Loss, Tensor]:
    """A loss of 3 nats a point and this KL divergence a point, which has a gradient."""
    divergence = torch.tensor(kl, dtype=torch.float64, requires_grad=True)
    terms = {"motion": torch.tensor(2.0).double(), "event": torch.tensor(1.0).double(), "kl": divergence}
    return Loss(sum(terms.values(), torch.zeros(()).double()), terms), divergence


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.01), (1, 0.01 + 0.99 * 0.00005), (13863, 0.505), (10_000_000, 1.0)],
    ids=["at first", "a step later", "half way after log 2 / 0.00005", "in the limit"],
)
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_the_weight_of_kl_rises_from_its_start_to_its_end(step: int, share: float, weight: float) -> None:
    """Ha and Eck's eta_step = 1 - (1 - eta_min) R^step, times the weight."""
    model, batch = make_sketch_model(CORPORA["plain"], kl_weight=weight, kl_floor=0.0), batch_of(CORPORA["plain"])
    objective = model.objective(made_up(0.7)[0], batch, step)
    assert float(objective.detach()) == pytest.approx(3 + weight * share * 0.7, rel=1e-5)


@pytest.mark.parametrize(("kl", "counts"), [(0.99, False), (1.01, True)], ids=["below", "above"])
def test_kl_below_its_floor_has_no_gradient(kl: float, counts: bool) -> None:
    """A floor of 0.2 nats of each of 4 numbers, for 5 drawings of 24 points in all: 4 / 24 nats a point."""
    model, batch = make_sketch_model(CORPORA["plain"], kl_weight=0.5, kl_start=0.3), batch_of(CORPORA["plain"])
    loss, divergence = made_up(kl * 4 / 24)
    objective = model.objective(loss, batch, 0)
    objective.backward()
    assert divergence.grad is not None
    assert float(divergence.grad) == pytest.approx(0.15 if counts else 0.0)
    assert float(objective.detach()) == pytest.approx(3 + 0.15 * max(kl, 1) * 4 / 24)


@pytest.mark.parametrize(
    ("settings", "first"),
    [({"kl_rate": 0.0}, 1), ({"kl_start": 1.0}, 0)],
    ids=["from the second step on", "from the first on"],
)
def test_with_nothing_held_back_training_descends_the_bound(settings: dict[str, Any], first: int) -> None:
    model = make_sketch_model(CORPORA["plain"], kl_weight=1.0, kl_floor=0.0, **settings)
    batch = batch_of(CORPORA["plain"])
    loss = model.loss(batch)
    for step in (first, 7, 100_000):
        torch.testing.assert_close(model.objective(loss, batch, step), loss.total)


def test_what_the_encoder_keeps_the_decoder_uses() -> None:
    """24 lines of six steps, each in a direction of its own: after 200 steps a drawing is likelier given its own latent
    than given that of the opposite direction, by 10 nats and more. A latent that is not heeded makes no difference."""
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
        own = model.encode(batch).mean
        nats = []
        for latent in (own, own.roll(12, 0)):
            motion, event = negative_log_likelihood(model.decode(batch, latent), batch)
            nats.append(float((motion + event).sum()) / 24)
    assert nats[1] > nats[0] + 10


@pytest.mark.parametrize("cell", ["plain", "layer-norm"])
def test_in_bfloat16_the_bound_is_nearly_what_it_is_in_float32(cell: str) -> None:
    corpus = CORPORA["labels"]
    model, batch = make_sketch_model(corpus, cell=cell).float(), make_batches(corpus).batch(np.arange(5))
    losses = []
    for narrow in (False, True):
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            losses.append(model.loss(batch))
    for name, term in losses[0].terms.items():
        assert losses[1].terms[name].dtype == torch.float32
        assert float(losses[1].terms[name].detach()) == pytest.approx(float(term.detach()), rel=0.02), name


@pytest.mark.parametrize("settings", [{"cell": "gru"}, {"covariance": "round"}], ids=["cell", "covariance"])
def test_kinds_that_there_are_not_are_refused(settings: dict[str, Any]) -> None:
    """When the config is made or, as of a damaged run, when the model is."""
    with pytest.raises(InputError, match=next(iter(settings))):
        SketchRNN(StepShape(), SketchRNNConfig(**settings))


def test_a_latent_is_asked_for() -> None:
    model = make_sketch_model(CORPORA["plain"])
    with pytest.raises(InputError, match="latent: received none, expected 4 numbers per sequence"):
        model.initial_state(2)


@pytest.mark.parametrize(
    ("settings", "complaint"),
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
)
def test_impossible_configs_are_refused(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        SketchRNNConfig(**settings)  # type: ignore[arg-type]
