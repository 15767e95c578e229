"""Baselines compute the same numbers as our models, and benchmarks measure memory and operations correctly."""

import contextlib
import io
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mdnrnn.benchmark import benchmark_size, benchmark_train, corpora, corpus_size
from mdnrnn.benchmark.baselines import PlainHandwriting, PlainMDNRNN, PlainSketchRNN
from mdnrnn.benchmark.corpora import benchmark_corpus
from mdnrnn.benchmark.corpus_size import SizeBenchmark
from mdnrnn.benchmark.head import PlainHead, peak_bytes
from mdnrnn.benchmark.head_kernel import benchmark_rows
from mdnrnn.benchmark.limits import operations_per_point
from mdnrnn.data.batch import Batch
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.device import choose_device, single_thread
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.kernels import TRITON_INSTALLED
from mdnrnn.models.base import StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.nn import parameters
from mdnrnn.nn.heads import MixtureHead
from mdnrnn.runs.presets import PRESETS
from tests.benchmark.helpers import shrink_benchmarks
from tests.helpers import make_batches, random_corpus, shorten


@pytest.fixture(autouse=True)
def _shrink_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_benchmarks(monkeypatch)


def test_baseline_head_has_equal_loss_and_gradient() -> None:
    ours, plain = MixtureHead(8, 2, 5, scale_floor=1e-20), PlainHead(8, 2, 5)
    plain.linear.load_state_dict(ours.linear.state_dict())
    features, targets = torch.randn(30, 8), torch.randn(30, 2)
    losses = [-head(features).log_prob(targets).mean() for head in (ours, plain)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(ours.linear.weight.grad, plain.linear.weight.grad)


def test_peak_bytes_counts_simultaneous_allocations() -> None:
    """One megabyte is held while two others are allocated in turn: the peak is two megabytes."""
    leaf = torch.zeros(1, requires_grad=True)

    def run() -> None:
        held = torch.empty(250_000)
        for _ in range(2):
            torch.empty(250_000)
        del held

    assert peak_bytes(run, [leaf]) == 2_000_000


def test_peak_bytes_includes_gradients_of_leaves() -> None:
    leaf = torch.zeros(250_000, requires_grad=True)
    leaf.grad = torch.zeros(250_000)
    assert peak_bytes(lambda: leaf.sum().backward(), [leaf]) >= 1_000_000


@pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
@pytest.mark.skipif(not TRITON_INSTALLED, reason="no Triton")
def test_likelihood_kernel_is_measured_if_available(monkeypatch: pytest.MonkeyPatch) -> None:
    device = choose_device("auto")
    monkeypatch.setattr(parameters, "kernels_available", lambda tensor: True)
    found = benchmark_rows(2, 2, 1, device, bin_widths=True, count=40)
    assert found is not None
    assert min(found.speedup, found.milliseconds, found.copy_fraction, found.copy_gigabytes_per_second) > 0
    assert benchmark_rows(2, 9, 1, device, bin_widths=False, count=40) is None
    monkeypatch.setattr(parameters, "kernels_available", lambda tensor: False)
    assert benchmark_rows(2, 2, 1, device, bin_widths=True, count=40) is None


def density_batch(corpus: Corpus) -> Batch:
    """Return a batch of the first drawings without classes and bin width, in float64."""
    corpus = replace(corpus, metadata=replace(corpus.metadata, bin_width=None, classes=()), label=None)
    batch = make_batches(corpus).batch(np.arange(8))
    target, previous = (Step(steps.motion.double(), steps.event) for steps in (batch.target, batch.previous))
    return replace(batch, target=target, previous=previous)


def test_baseline_mdnrnn_has_equal_loss_and_gradient(doodles: Corpus) -> None:
    config = MDNRNNConfig(hidden=16, components=4, dropout=0.0, position=False, scale_floor=1e-12)
    ours, plain = MDNRNN(StepShape(), config).double(), PlainMDNRNN(config).double()
    plain.lstm.load_state_dict(ours.decoder.core.layers[0].state_dict())
    plain.head.load_state_dict(ours.decoder.head.linear.state_dict())
    batch = density_batch(doodles)
    losses = [ours.loss(batch).total, plain.loss(batch)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(ours.decoder.head.linear.weight.grad, plain.head.weight.grad)


def copy_head(ours: torch.nn.Linear, plain: torch.nn.Linear) -> None:
    """Give both heads the same distribution of four full-covariance components.

    Our head predicts a slope = correlation scale_y / scale_x and the conditional scale of y given x; the baseline
    predicts the correlation and the marginal scales. A linear layer can represent both only if the correlation and the
    ratio of the scales are constant over the steps, so they are constant here, with different values per component.
    """
    parts, head = [4, 8, 8, 4, 3], plain.state_dict()
    _, _, scales, correlations, _ = head["weight"].split(parts)
    scales[1::2] = scales[::2]
    correlations.zero_()
    _, _, scales, correlations, _ = head["bias"].split(parts)
    correlations.normal_()
    ours.load_state_dict(head)
    _, _, own_scales, slopes, _ = ours.bias.detach().split(parts)
    correlation = correlations.tanh()
    slopes.copy_(correlation * (scales[1::2] - scales[::2]).exp())
    own_scales[1::2] += 0.5 * torch.log1p(-correlation.square())


def matching_sketch_rnns(factors: bool) -> tuple[SketchRNN, PlainSketchRNN]:
    """Return our Sketch-RNN and the baseline with equal distributions."""
    config = SketchRNNConfig(
        encoder=7, hidden=12, latent=5, components=4, recurrent_dropout=0.0, position=False, scale_floor=1e-12
    )
    ours, plain = SketchRNN(StepShape(), config).double(), PlainSketchRNN(config, factors).double()
    copy_head(ours.decoder.head.linear, plain.head)
    encoder = plain.encoder.state_dict()
    ours.initial_layer.load_state_dict(plain.start.state_dict())
    ours.posterior.load_state_dict(plain.posterior.state_dict())
    ours.decoder.core.layers[0].load_state_dict(plain.decoder.state_dict())
    ours.encoder_forward.layers[0].load_state_dict({name: w for name, w in encoder.items() if "reverse" not in name})
    back = {name.removesuffix("_reverse"): w for name, w in encoder.items() if "reverse" in name}
    ours.encoder_backward.layers[0].load_state_dict(back)
    return ours, plain


def matching_handwriting_models(alphabet: str) -> tuple[HandwritingRNN, PlainHandwriting]:
    """Return our handwriting model and the baseline with equal weights; the order of the gates differs."""
    config = HandwritingConfig(hidden=6, window=3, components=4, scale_floor=1e-12)
    ours = HandwritingRNN(StepShape(alphabet=alphabet), config).double()
    plain = PlainHandwriting(config, alphabet).double()
    copy_head(ours.decoder.head.linear, plain.head)
    first, h = ours.decoder.core.first, config.hidden
    order = torch.cat([torch.arange(gate * h, (gate + 1) * h) for gate in (1, 2, 3, 0)])
    plain.first.weight_ih.detach().copy_(torch.cat([first.inward.weight, first.recurrent[:, h:]], 1)[order])
    plain.first.weight_hh.detach().copy_(first.recurrent[order, :h])
    plain.first.bias_ih.detach().copy_(first.inward.bias[order])
    plain.first.bias_hh.detach().zero_()
    plain.window.load_state_dict(first.window.state_dict())
    for core, layer in zip(plain.above, ours.decoder.core.above.layers, strict=True):
        core.load_state_dict({name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()})
    return ours, plain


def test_baseline_handwriting_has_equal_loss_and_gradient() -> None:
    lines = shorten(make_pen_text(2, {"train": 4}), 40)
    batch = density_batch(lines)
    assert len(batch.lengths.unique()) > 1
    ours, plain = matching_handwriting_models(lines.alphabet)
    losses = [ours.loss(batch).total, plain.loss(batch)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(ours.decoder.core.first.window.weight.grad, plain.window.weight.grad)
    torch.testing.assert_close(
        ours.decoder.core.first.recurrent.grad[:6, :6],
        plain.first.weight_hh.grad[18:],  # type: ignore[index]
    )


@pytest.mark.parametrize("factors", [False, True], ids=["covariance matrices", "Cholesky factors"])
@pytest.mark.parametrize("padding", [False, True], ids=["equal lengths", "different lengths"])
def test_baseline_sketch_rnn_has_equal_bound_and_gradient(padding: bool, factors: bool, doodles: Corpus) -> None:
    """With padding, the baseline's backward encoder reads the padding first; its weights are set to 0 in that case."""
    ours, plain = matching_sketch_rnns(factors)
    batch = density_batch(doodles if padding else random_corpus([9] * 8))
    assert (len(batch.lengths.unique()) > 1) == padding
    if padding:
        for layer in (ours.posterior, plain.posterior):
            layer.weight.detach()[:, plain.encoder.hidden_size :] = 0
    torch.manual_seed(3)
    loss = ours.loss(batch)
    torch.manual_seed(3)
    plain_loss = plain.loss(batch)
    torch.testing.assert_close(loss.total, plain_loss)
    assert float(loss.terms["kl"].detach()) > 1e-3
    loss.total.backward()
    plain_loss.backward()
    torch.testing.assert_close(ours.initial_layer.weight.grad, plain.start.weight.grad)
    forth = ours.encoder_forward.layers[0].get_parameter("weight_hh_l0")
    torch.testing.assert_close(forth.grad, plain.encoder.get_parameter("weight_hh_l0").grad)


def test_baseline_parameters_differ_by_pen_position_inputs() -> None:
    """The pen position adds two inputs to each LSTM, with four gates per unit."""
    result = benchmark_train(random_corpus([6, 9, 4]), "sketch-small", hidden=16, batch_size=2, repeats=1)
    assert result.plain_parameters is not None
    assert result.plain_points_per_second is not None
    assert result.parameters - result.plain_parameters == 2 * 4 * (16 + 2 * 128)
    figures = {name: value for name, value in asdict(result).items() if isinstance(value, float | int)}
    assert {"speedup_scale_tril", "speedup_scale_tril_same_memory", "scale_tril_points_per_second"} <= figures.keys()
    assert all(np.isfinite(value) and value > 0 for value in figures.values())
    assert result.speedup == pytest.approx(result.points_per_second / result.plain_points_per_second)
    stroke = benchmark_train(random_corpus([6, 9, 4]), hidden=16, batch_size=2, repeats=1)
    assert stroke.plain_parameters is not None
    assert stroke.parameters - stroke.plain_parameters == 2 * 4 * 16
    assert stroke.speedup_scale_tril is None


@pytest.mark.parametrize(
    ("preset", "sizes", "complaint"),
    [
        ("nosuch", {}, "preset: received 'nosuch', expected one of stroke"),
        ("sketch", {"hidden": 0}, "hidden"),
        ("stroke", {"batch_size": 0}, "batch_size: received 0"),
    ],
    ids=["preset", "hidden", "batch size"],
)
def test_invalid_training_benchmark_is_refused(preset: str, sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        benchmark_train(random_corpus([6, 9]), preset, **sizes)  # type: ignore[arg-type]


make_pen_text_once = cache(lambda lines, writers: make_pen_text(lines, dict(writers)))
"""The lines are the same for all handwriting presets."""


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_measured(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines exist for drawings and for handwriting synthesis only."""
    monkeypatch.setattr(
        corpora, "make_pen_text", lambda lines, writers: make_pen_text_once(lines, tuple(writers.items()))
    )
    corpus = shorten(benchmark_corpus(preset, small=True), 60)
    result = benchmark_train(corpus, preset, hidden=8, batch_size=3, repeats=1, batches=1)
    assert 0 < result.fraction_of_matmul < 1
    other = preset in ("touch", "world", "handwriting-prediction") or preset.startswith("gesture")
    assert (result.speedup is None) == other


def test_operations_per_point_counts_matrix_products() -> None:
    """Agrees with FlopCounterMode for layer-normalized cells, whose products are visible to it."""
    corpus = random_corpus([7, 7, 7])
    config = SketchRNNConfig(cell="layer-norm", hidden=16, components=3, kl_weight=0.0, dropout=0.0)
    model = SketchRNN(StepShape.from_corpus(corpus), config)
    (batch,) = make_batches(corpus)
    with FlopCounterMode(display=False) as counted:
        model.loss(batch).total.backward()
    layer = model.decoder.core.layers[0]
    unneeded = 2 * layer.weight_ih.numel() + 2 * layer.weight_hh.numel() / 7  # constant inputs and initial state
    assert counted.get_total_flops() / batch.points == pytest.approx(operations_per_point(model) - unneeded)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[SizeBenchmark, Path]:
    """Measure training of a small model on 40,000 drawings; return the figures and the folder of the drawings.

    The program of the separate process runs in this process, because importing torch again takes most of its time.
    """

    def run_here(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        executable, flag, program, *arguments = command
        assert (executable, flag) == (sys.executable, "-c")
        assert options == {"stdout": subprocess.PIPE, "text": True, "check": True}
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
            patch.setattr(sys, "argv", [flag, *arguments])
            exec(program, {})
        return subprocess.CompletedProcess(command, 0, printed.getvalue())

    small = replace(PRESETS["stroke-small"], model=MDNRNNConfig(hidden=8, components=2))
    folder = tmp_path_factory.mktemp("large") / "many"
    with pytest.MonkeyPatch.context() as patch, single_thread():
        patch.setattr(subprocess, "run", run_here)
        patch.setitem(PRESETS, "stroke-small", small)
        patch.setattr(corpus_size, "_BLOCK", 15_000)  # several blocks, the last one smaller
        return benchmark_size(drawings=40_000, folder=folder, steps=10), folder


def test_doodle_variations_are_a_valid_corpus(large: tuple[SizeBenchmark, Path]) -> None:
    corpus = open_corpus(str(large[1]))
    corpus.check()
    assert len(corpus) == 40_000
    assert {name: last - first for name, (first, last) in corpus.splits.items()} == {
        "train": 20_000, "valid": 10_000, "test": 10_000,
    }  # fmt: skip
    assert abs(corpus.lengths.mean() - open_corpus("doodles").lengths.mean()) < 0.5
    assert len({corpus[i].motion.tobytes() for i in range(1000)}) > 990


def test_training_on_a_large_corpus_is_measured(large: tuple[SizeBenchmark, Path]) -> None:
    result, _ = large
    assert result.drawings == 40_000
    assert result.large_over_small == pytest.approx(result.points_per_second / result.small_points_per_second)
    assert 100 < result.peak_mb < 4000
    with pytest.raises(InputError, match="received 'handwriting', expected a preset for drawings"):
        benchmark_size(preset="handwriting")
