"""The same numbers on CUDA as on the CPU. Run with `pytest -m gpu` where there is a device."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batches, to_code_points
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.windows import Windows
from mdnrnn.distributions import GaussianMixture, Step
from mdnrnn.evaluation.likelihood import evaluate
from mdnrnn.generation.cuda_graph import GraphedFunction
from mdnrnn.generation.latent_completion import PROPOSALS, sample_latents_given_prefix
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.latent import require_encoder
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.parameters import MixtureShape, StepParameters
from mdnrnn.tasks.dream import dream
from mdnrnn.tasks.performer import Performer
from mdnrnn.tasks.toy_demos import run_demo
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.trainer import fit
from tests.helpers import controls, episodes, run_of, touches

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def mixture(device: str, slopes: bool) -> GaussianMixture:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(device)  # noqa: E731
    return GaussianMixture(draw(9, 4), draw(9, 4, 2), 0.3 * draw(9, 4, 2), draw(9, 4, 2, 2) if slopes else None)


@pytest.mark.parametrize("slopes", [False, True], ids=["diagonal", "full"])
def test_mixtures_agree(slopes: bool) -> None:
    """Every method that computes, on both; only draws have generators of their own."""
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    results = []
    for device in ("cpu", "cuda"):
        ours, there = mixture(device, slopes), points.to(device)
        line = ours.marginal(1)
        results.append(
            [
                ours.log_prob(there), ours.mean, ours.variance, ours.covariance, ours.mode, ours.pit(there),
                ours.component_posterior(there), ours.condition(0, there[:, :1]).mean, line.cdf(there[:, 1:]),
                line.icdf(torch.tensor(0.3, device=device)), line.crps(there[:, 1:]),
                ours.tempered(0.5).log_prob(there),
            ]
        )  # fmt: skip
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-4, atol=1e-4)


COVARIANCES: list[Covariance] = ["diagonal", "full", "per-dimension"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cells", [False, True], ids=["densities", "cells"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_kernel_of_a_step_agrees(covariance: Covariance, cells: bool, dtype: torch.dtype) -> None:
    """Nats and gradients of rows, the same ones on both, by the kernel there and by the plain path here."""
    torch.manual_seed(0)
    shape = MixtureShape(2, 20, math.log(1e-3), covariance)
    made = torch.randn(1001, shape.size + 3).to(dtype)
    step = Step(torch.randn(1001, 2), torch.randint(0, 3, (1001,)))
    width = 10 ** torch.empty(1001, 2).uniform_(-3, 2) if cells else None
    shift = torch.rand(1001).log()
    results = []
    for device in ("cpu", "cuda"):
        rows, ends = (t.detach().to(device).requires_grad_() for t in (made, shift))
        steps, there = StepParameters(rows, shape, 3, ends), Step(step.motion.to(device), step.event.to(device))
        assert steps.uses_kernel(there.motion) == (device == "cuda")
        motion, event = steps.nll(there, None if width is None else width.to(device))
        (motion.mean() + 2 * event.mean()).backward()
        assert rows.grad is not None
        assert ends.grad is not None
        assert rows.grad.dtype == dtype
        results.append([t.detach().float().cpu() for t in (motion, event, 1001 * rows.grad, 1001 * ends.grad)])
    narrow = 1e-5 if dtype == torch.float32 else 2**-7
    for tolerance, cpu, cuda in zip((1e-5, 1e-5, narrow, narrow), *results, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=tolerance, atol=1e-5)


def test_gradients_and_reparameterized_draws_work_there() -> None:
    ours = mixture("cuda", True)
    ours.means.requires_grad_()
    generator = torch.Generator("cuda").manual_seed(0)
    loss = ours.rsample((5,), generator=generator).square().mean() - ours.log_prob(torch.zeros(9, 2).cuda()).mean()
    (gradient,) = torch.autograd.grad(loss, ours.means)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


def test_a_demo_comes_near_the_floor_there() -> None:
    assert run_demo("sine", device="cuda").result.gap <= 0.05


SKETCH: dict[str, Any] = {"encoder": 32, "hidden": 64, "latent": 8, "components": 5}
KINDS: dict[str, Callable[[StepShape], SequenceModel]] = {
    "MDN-RNN": lambda shape: MDNRNN(shape, MDNRNNConfig(hidden=64, components=5, layers=2)),
    "Sketch-RNN": lambda shape: SketchRNN(shape, SketchRNNConfig(**SKETCH)),
    "Sketch-RNN, layer-normalized": lambda shape: SketchRNN(shape, SketchRNNConfig(cell="layer-norm", **SKETCH)),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def model_for(corpus: Corpus, kind: str) -> SequenceModel:
    torch.manual_seed(0)
    return KINDS[kind](StepShape.from_corpus(corpus))


@EVERY_KIND
def test_likelihoods_agree(kind: str, doodles: Corpus) -> None:
    data = Batches(doodles, "test", Normalizer.from_corpus(doodles))
    cpu, cuda = (evaluate(model_for(doodles, kind).to(device), data, importance=4) for device in ("cpu", "cuda"))
    assert cuda.nll_per_sequence == pytest.approx(cpu.nll_per_sequence, rel=1e-4)
    assert cuda.importance_nll_per_sequence == pytest.approx(cpu.importance_nll_per_sequence, rel=1e-4)
    for name, own in cpu.by_class.items():
        assert cuda.by_class[name].nll_per_sequence == pytest.approx(own.nll_per_sequence, rel=1e-4)


def test_writing_agrees() -> None:
    """The likelihood of lines, its derivatives, and what is written at temperature 0.3."""
    lines = make_pen_text(4, {"train": 8, "test": 2})
    data, gradients, drawn = Batches(lines, "test", Normalizer.from_corpus(lines)), [], []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=32, components=5)).to(device)
        loss = model.loss(next(iter(data)).to(torch.device(device))).total
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None]))
        text = Condition(text=to_code_points([str(lines[i].text) for i in range(3)]))
        drawn.append(generate(model, 3, text, sampling=Sampling(temperature=0.3), max_steps=20))
        gradients[-1] = torch.cat([gradients[-1], loss.detach().cpu()[None]])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-3)
    for ours, theirs in zip(*drawn, strict=True):
        np.testing.assert_array_equal(ours.event[:5], theirs.event[:5])
        np.testing.assert_allclose(ours.motion[:5], theirs.motion[:5], atol=1e-3)


def test_latents_given_a_prefix_agree(doodles: Corpus) -> None:
    """Resampling picks another proposal where a number falls within rounding of a bound: one of 20 may."""
    batch = Batches(doodles, "test", Normalizer.from_corpus(doodles)).batch(np.zeros(PROPOSALS, np.int64))
    drawn = []
    for device in ("cpu", "cuda"):
        model = model_for(doodles, "Sketch-RNN").to(device).eval()
        drawn.append(sample_latents_given_prefix(require_encoder(model), batch.to(torch.device(device)), 20).cpu())
    assert int((drawn[0] - drawn[1]).abs().amax(-1).gt(1e-3).sum()) <= 1


@EVERY_KIND
def test_drawings_agree(kind: str, doodles: Corpus) -> None:
    """Coordinates are rounded to the grid; a draw within 1e-5 of a boundary would differ: 1% of such runs."""
    cell = torch.full((2,), 0.05)
    condition = Condition(torch.arange(8) % 12)
    drawn = [
        generate(model.eval(), 8, condition, bin_width=cell, max_steps=20)
        for model in (model_for(doodles, kind), model_for(doodles, kind).cuda())
    ]
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one.event, other.event)
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-4)


def eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are run as they are, none is recorded."""
    monkeypatch.setattr(GraphedFunction, "__call__", lambda self: self.work())


@EVERY_KIND
def test_recorded_chunks_draw_what_they_draw_as_they_are(
    kind: str, doodles: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty drawings in eight slots, so that some begin in buffers that a graph was recorded from; the same kernels in
    the same order, so the same numbers."""
    model, limits = model_for(doodles, kind).cuda().eval(), np.random.default_rng(0).integers(1, 70, 40)
    how: dict[str, Any] = {"bin_width": torch.full((2,), 0.05), "max_steps": limits, "batch_size": 8}
    how["sampling"], condition = Sampling(temperature=0.8, endless=True), Condition(torch.arange(40) % 12)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "drawing without a CUDA graph")
        recorded = generate(model, 40, condition, **how)
    eagerly(monkeypatch)
    for one, other in zip(recorded, generate(model, 40, condition, **how), strict=True):
        np.testing.assert_array_equal(one.event, other.event)
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_lines_and_inputs_are_recorded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window over texts that ends lines, and inputs that are brought up with the noise."""
    lines = make_pen_text(4, {"train": 8})
    torch.manual_seed(0)
    writer = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=32, components=5)).cuda()
    text = Condition(text=to_code_points([str(lines[i % 8].text) for i in range(12)]))
    inputs = Condition(inputs=torch.randn(12, 50, 2))
    world = run_of(episodes(), covariance="per-dimension").model.cuda()
    draw = lambda: [  # noqa: E731
        generate(writer, 12, text, sampling=Sampling(temperature=0.3), max_steps=40, batch_size=5),
        generate(world, 12, inputs, sampling=Sampling(endless=True), batch_size=5),
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "drawing without a CUDA graph")
        recorded = draw()
    eagerly(monkeypatch)
    for ours, theirs in zip(recorded, draw(), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.event, other.event)
            np.testing.assert_allclose(one.motion, other.motion, atol=1e-4)


def test_work_that_waits_for_the_host_is_told_of_and_done_as_it_is() -> None:
    counted = torch.zeros(1, device="cuda")

    def work() -> float:
        return float(counted.add_(1))

    replayed = GraphedFunction(work, counted.device)
    assert replayed() == 1
    with pytest.warns(RuntimeWarning, match="without a CUDA graph"):
        assert replayed() == 2
    assert replayed() == 3


@EVERY_KIND
def test_training_learns_and_repeats_exactly(kind: str, doodles: Corpus, tmp_path: Path) -> None:
    config = SequenceTrainConfig(steps=60, batch_size=32, device="cuda", validations=3, warmup=5)
    data = config.splits(doodles, Normalizer.from_corpus(doodles))
    best = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        best.append(fit(model_for(doodles, kind), *data, tmp_path / name, config).progress.best)
    assert best[0] == best[1] < 10


def test_streams_touches_and_worlds_agree() -> None:
    """Their likelihoods, and the derivatives of windows that go on."""
    for corpus in (controls(), touches(), episodes()):
        config: dict[str, Any] = {"covariance": "per-dimension" if corpus.metadata.is_world else "full"}
        data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
        cpu, cuda = (
            evaluate(run_of(corpus, **config).model.to(device), data).nll_per_point for device in ("cpu", "cuda")
        )
        assert cuda == pytest.approx(cpu, rel=1e-4)
    gradients = []
    for device in ("cpu", "cuda"):
        model, left = run_of(controls()).model.to(device), None
        for batch in Windows(Batches(controls(), "train", Normalizer.from_corpus(controls()), 3), 9, carry=True).epoch(0):
            loss = model.loss_with_state(batch.to(torch.device(device)), left)
            loss.total.backward()
            left = loss.state
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-3)


def test_what_is_played_and_dreamt_agrees() -> None:
    for corpus in (controls(), touches()):
        there = run_of(corpus)
        there.model.to("cuda")
        players = [Performer(run, sampling=Sampling(endless=True)) for run in (run_of(corpus), there)]
        ours, theirs = ([player.play().motion for _ in range(10)] for player in players)
        np.testing.assert_allclose(ours, theirs, atol=0.02)
    there = run_of(episodes(), covariance="per-dimension")
    there.model.to("cuda")
    dreams = [
        dream(run, lambda z, h, rows: torch.tanh(z), 4, steps=10, sampling=Sampling(endless=True))
        for run in (run_of(episodes(), covariance="per-dimension"), there)
    ]
    np.testing.assert_allclose(dreams[0].motion, dreams[1].motion, atol=0.01)
