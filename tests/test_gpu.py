"""CUDA against the CPU: likelihoods, gradients, generation and training agree. Run with `pytest -m gpu`."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batch import to_code_points
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.training_windows import Windows
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
from mdnrnn.runs.run import Run
from mdnrnn.tasks.dream import dream
from mdnrnn.tasks.performer import Performer
from mdnrnn.tasks.toy_demos import run_demo
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.trainer import fit
from tests.helpers import make_controls, make_episodes, make_run, make_touches

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

DEVICES = ("cpu", "cuda")
COVARIANCES: list[Covariance] = ["diagonal", "full", "per-dimension"]
SKETCH: dict[str, Any] = {"encoder": 32, "hidden": 64, "latent": 8, "components": 5}
MODELS: dict[str, Callable[[StepShape], SequenceModel]] = {
    "MDN-RNN": lambda shape: MDNRNN(shape, MDNRNNConfig(hidden=64, components=5, layers=2)),
    "Sketch-RNN": lambda shape: SketchRNN(shape, SketchRNNConfig(**SKETCH)),
    "layer-norm Sketch-RNN": lambda shape: SketchRNN(shape, SketchRNNConfig(cell="layer-norm", **SKETCH)),
}
each_model = pytest.mark.parametrize("name", MODELS)


def make_model(corpus: Corpus, name: str) -> SequenceModel:
    torch.manual_seed(0)
    return MODELS[name](StepShape.from_corpus(corpus))


def make_cuda_run(corpus: Corpus, **config: Any) -> Run:
    run = make_run(corpus, **config)
    run.model.to("cuda")
    return run


def collect_gradients(model: SequenceModel) -> Tensor:
    return torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])


def make_mixture(device: str, full: bool) -> GaussianMixture:
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    return GaussianMixture(randn(9, 4), randn(9, 4, 2), 0.3 * randn(9, 4, 2), randn(9, 4, 2, 2) if full else None)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_deterministic_methods_of_mixtures_agree(full: bool) -> None:
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    results = []
    for device in DEVICES:
        mixture, value = make_mixture(device, full), points.to(device)
        marginal = mixture.marginal(1)
        results.append(
            [
                mixture.log_prob(value), mixture.mean, mixture.variance, mixture.covariance, mixture.mode,
                mixture.pit(value), mixture.component_posterior(value), mixture.condition(0, value[:, :1]).mean,
                marginal.cdf(value[:, 1:]), marginal.icdf(torch.tensor(0.3, device=device)),
                marginal.crps(value[:, 1:]), mixture.tempered(0.5).log_prob(value),
            ]
        )  # fmt: skip
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("discretized", [False, True], ids=["density", "discretized"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_step_kernel_agrees_with_pytorch(covariance: Covariance, discretized: bool, dtype: torch.dtype) -> None:
    """NLL and gradients of the same parameters, by the Triton kernel on CUDA and by PyTorch on the CPU."""
    torch.manual_seed(0)
    shape = MixtureShape(2, 20, math.log(1e-3), covariance)
    parameters = torch.randn(1001, shape.size + 3).to(dtype)
    step = Step(torch.randn(1001, 2), torch.randint(0, 3, (1001,)))
    bin_width = 10 ** torch.empty(1001, 2).uniform_(-3, 2) if discretized else None
    end_shift = torch.rand(1001).log()
    results = []
    for device in DEVICES:
        rows, shift = (tensor.detach().to(device).requires_grad_() for tensor in (parameters, end_shift))
        steps = StepParameters(rows, shape, 3, shift)
        target = Step(step.motion.to(device), step.event.to(device))
        assert steps.uses_kernel(target.motion) == (device == "cuda")
        motion, event = steps.nll(target, None if bin_width is None else bin_width.to(device))
        (motion.mean() + 2 * event.mean()).backward()
        assert rows.grad is not None
        assert shift.grad is not None
        assert rows.grad.dtype == dtype
        tensors = (motion, event, 1001 * rows.grad, 1001 * shift.grad)
        results.append([tensor.detach().float().cpu() for tensor in tensors])
    gradient_tolerance = 1e-5 if dtype == torch.float32 else 2**-7
    tolerances = (1e-5, 1e-5, gradient_tolerance, gradient_tolerance)
    for tolerance, cpu, cuda in zip(tolerances, *results, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=tolerance, atol=1e-5)


def test_gradients_of_reparameterized_samples_are_finite() -> None:
    mixture = make_mixture("cuda", full=True)
    mixture.means.requires_grad_()
    generator = torch.Generator("cuda").manual_seed(0)
    samples = mixture.rsample((5,), generator=generator)
    loss = samples.square().mean() - mixture.log_prob(torch.zeros(9, 2).cuda()).mean()
    (gradient,) = torch.autograd.grad(loss, mixture.means)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


def test_demo_reaches_the_lower_bound_of_the_loss() -> None:
    assert run_demo("sine", device="cuda").result.gap <= 0.05


@each_model
def test_likelihoods_agree(name: str, doodles: Corpus) -> None:
    data = Batches(doodles, "test", Normalizer.from_corpus(doodles))
    cpu, cuda = (evaluate(make_model(doodles, name).to(device), data, importance=4) for device in DEVICES)
    assert cuda.nll_per_sequence == pytest.approx(cpu.nll_per_sequence, rel=1e-4)
    assert cuda.importance_nll_per_sequence == pytest.approx(cpu.importance_nll_per_sequence, rel=1e-4)
    for class_name, likelihood in cpu.by_class.items():
        assert cuda.by_class[class_name].nll_per_sequence == pytest.approx(likelihood.nll_per_sequence, rel=1e-4)


def test_handwriting_agrees() -> None:
    """Loss, gradients and the first five steps of lines that are generated at temperature 0.3."""
    lines = make_pen_text(4, {"train": 8, "test": 2})
    batch = next(iter(Batches(lines, "test", Normalizer.from_corpus(lines))))
    results, generated = [], []
    for device in DEVICES:
        torch.manual_seed(0)
        model = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=32, components=5)).to(device)
        loss = model.loss(batch.to(torch.device(device))).total
        loss.backward()
        results.append(torch.cat([collect_gradients(model), loss.detach().cpu()[None]]))
        text = Condition(text=to_code_points([str(lines[i].text) for i in range(3)]))
        generated.append(generate(model, 3, text, sampling=Sampling(temperature=0.3), max_steps=20))
    torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-3)
    for cpu, cuda in zip(*generated, strict=True):
        np.testing.assert_array_equal(cpu.event[:5], cuda.event[:5])
        np.testing.assert_allclose(cpu.motion[:5], cuda.motion[:5], atol=1e-3)


def test_latents_given_a_prefix_agree(doodles: Corpus) -> None:
    """Resampling may select another proposal if a random number is within rounding of a boundary: at most one of 20."""
    batch = Batches(doodles, "test", Normalizer.from_corpus(doodles)).batch(np.zeros(PROPOSALS, np.int64))
    samples = []
    for device in DEVICES:
        model = require_encoder(make_model(doodles, "Sketch-RNN").to(device).eval())
        samples.append(sample_latents_given_prefix(model, batch.to(torch.device(device)), 20).cpu())
    assert int((samples[0] - samples[1]).abs().amax(-1).gt(1e-3).sum()) <= 1


@each_model
def test_generated_drawings_agree(name: str, doodles: Corpus) -> None:
    """Coordinates are rounded to the grid.

    A sample within 1e-5 of a boundary between bins would differ: false-failure probability 1%, with a fixed seed.
    """
    bin_width, condition = torch.full((2,), 0.05), Condition(torch.arange(8) % 12)
    generated = [
        generate(make_model(doodles, name).to(device).eval(), 8, condition, bin_width=bin_width, max_steps=20)
        for device in DEVICES
    ]
    for cpu, cuda in zip(*generated, strict=True):
        np.testing.assert_array_equal(cpu.event, cuda.event)
        np.testing.assert_allclose(cpu.motion, cuda.motion, atol=1e-4)


def disable_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphedFunction, "__call__", lambda self: self.function())


GRAPH_SAMPLINGS = {
    "endless": Sampling(temperature=0.8, endless=True),
    "truncated": Sampling(event_temperature=0.7, top_k=4, top_p=0.9, event_top_p=0.999, min_strokes=2, max_strokes=5),
}


@pytest.mark.parametrize("sampling", GRAPH_SAMPLINGS.values(), ids=GRAPH_SAMPLINGS)
@each_model
def test_cuda_graph_generates_the_same_drawings(
    name: str, sampling: Sampling, doodles: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty drawings in batches of eight: some start in buffers of a recorded graph. The kernels are the same."""
    model, condition = make_model(doodles, name).cuda().eval(), Condition(torch.arange(40) % 12)
    options: dict[str, Any] = {
        "bin_width": torch.full((2,), 0.05),
        "max_steps": np.random.default_rng(0).integers(1, 70, 40),
        "batch_size": 8,
        "sampling": sampling,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "generating without a CUDA graph")
        with_graph = generate(model, 40, condition, **options)
    disable_graphs(monkeypatch)
    for one, other in zip(with_graph, generate(model, 40, condition, **options), strict=True):
        np.testing.assert_array_equal(one.event, other.event)
        np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)


def test_cuda_graph_generates_the_same_lines_and_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window over a text that ends lines, and inputs that are copied to the device with the noise."""
    lines = make_pen_text(4, {"train": 8})
    torch.manual_seed(0)
    writer = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=32, components=5)).cuda()
    text = Condition(text=to_code_points([str(lines[i % 8].text) for i in range(12)]))
    world = make_cuda_run(make_episodes(), covariance="per-dimension").model
    inputs = Condition(inputs=torch.randn(12, 50, 2))

    def generate_both() -> list[Any]:
        return [
            generate(writer, 12, text, sampling=Sampling(temperature=0.3), max_steps=40, batch_size=5),
            generate(world, 12, inputs, sampling=Sampling(endless=True), batch_size=5),
        ]

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "generating without a CUDA graph")
        with_graph = generate_both()
    disable_graphs(monkeypatch)
    for sequences, references in zip(with_graph, generate_both(), strict=True):
        for one, other in zip(sequences, references, strict=True):
            np.testing.assert_array_equal(one.event, other.event)
            np.testing.assert_allclose(one.motion, other.motion, atol=1e-4)


def test_function_that_cannot_be_recorded_warns_and_is_called_directly() -> None:
    counter = torch.zeros(1, device="cuda")

    def count() -> float:
        return float(counter.add_(1))  # waits for the host

    graphed = GraphedFunction(count, counter.device)
    assert graphed() == 1
    with pytest.warns(RuntimeWarning, match="without a CUDA graph"):
        assert graphed() == 2
    assert graphed() == 3


@each_model
def test_training_learns_and_is_deterministic(name: str, doodles: Corpus, tmp_path: Path) -> None:
    config = SequenceTrainConfig(steps=60, batch_size=32, device="cuda", validations=3, warmup=5)
    data = config.splits(doodles, Normalizer.from_corpus(doodles))
    losses = [
        fit(make_model(doodles, name), *data, tmp_path / folder, config).progress.best for folder in ("one", "other")
    ]
    assert losses[0] == losses[1] < 10


@pytest.mark.parametrize("corpus", [make_controls(), make_touches(), make_episodes()], ids=["stream", "touch", "world"])
def test_likelihoods_of_streams_touches_and_worlds_agree(corpus: Corpus) -> None:
    config: dict[str, Any] = {"covariance": "per-dimension" if corpus.metadata.is_world else "full"}
    data = Batches(corpus, "test", Normalizer.from_corpus(corpus))
    cpu, cuda = (evaluate(make_run(corpus, **config).model.to(device), data).nll_per_point for device in DEVICES)
    assert cuda == pytest.approx(cpu, rel=1e-4)


def test_gradients_of_windows_with_carried_state_agree() -> None:
    corpus, gradients = make_controls(), []
    windows = Windows(Batches(corpus, "train", Normalizer.from_corpus(corpus), 3), 9, carry=True)
    for device in DEVICES:
        model, state = make_run(corpus).model.to(device), None
        for batch in windows.epoch(0):
            loss = model.loss_with_state(batch.to(torch.device(device)), state)
            loss.total.backward()
            state = loss.state
        gradients.append(collect_gradients(model))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("corpus", [make_controls(), make_touches()], ids=["stream", "touch"])
def test_performed_steps_agree(corpus: Corpus) -> None:
    performers = [Performer(run, sampling=Sampling(endless=True)) for run in (make_run(corpus), make_cuda_run(corpus))]
    cpu, cuda = ([performer.play().motion for _ in range(10)] for performer in performers)
    np.testing.assert_allclose(cpu, cuda, atol=0.02)


def test_dreams_agree() -> None:
    config: dict[str, Any] = {"covariance": "per-dimension"}
    cpu, cuda = (
        dream(run, lambda z, h, rows: torch.tanh(z), 4, steps=10, sampling=Sampling(endless=True))
        for run in (make_run(make_episodes(), **config), make_cuda_run(make_episodes(), **config))
    )
    np.testing.assert_allclose(cpu.motion, cuda.motion, atol=0.01)
