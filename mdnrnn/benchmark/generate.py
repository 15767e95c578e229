"""Generation in batches, and of drawings of many lengths; a step of it beside its matrix-vector product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdnrnn.benchmark.limits import matrix_product, operations_per_point
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.device import choose_device
from mdnrnn.events import END
from mdnrnn.generation.loop import generate
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig

_SIZES = (1, 16, 256, 1024)
_SHEEP = 1000
_ALONE = 8
"""Drawings in a turn at batch 1, one after the other."""


@dataclass(frozen=True, kw_only=True)
class GenerateBenchmark:
    """Drawings a second by batch size, and a step beside its matrix-vector product."""

    drawings_per_second: dict[int, float]
    batch_256_over_1: float
    step_microseconds: float
    """At batch 1, all of it: the model, the mixture, the draw."""
    matvec_microseconds: float
    """The LSTM's weights times a vector, alone, by torch.mv."""
    step_over_matvec: float
    product_microseconds: float
    """The same, and its biases, by the product that the step itself uses: on a CPU NumPy's, in as many threads as its
    BLAS likes."""
    step_over_product: float
    of_product: dict[int, float]
    """By batch size: operations a second in matrix products, over those of one large matrix product in float32."""
    sheep_seconds: float
    """For a thousand drawings of lengths as aaron_sheep's, each begun where another has ended."""
    sheep_mean_steps: float
    hidden: int
    steps: int
    machine: Machine


def benchmark_generate(
    *, hidden: int = 512, steps: int = 128, repeats: int = 5, device: str = "auto"
) -> GenerateBenchmark:
    """Drawings of exactly `steps` steps by a new model, in batches of 1, 16, 256 and 1,024; and of many lengths."""
    where = choose_device(device)
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=hidden)).to(where).eval()
    with torch.no_grad():
        model.decoder.head.linear.bias[
            model.decoder.head.shape.size + END
        ] = -1e9  # so that no drawing ends before its time
    bin_width = torch.full((2,), 0.05, device=where)
    lengths = sheep_lengths(_SHEEP)

    def draw(model: SequenceModel, n: int) -> None:
        generate(model, _ALONE if n == 1 else n, max_steps=steps, bin_width=bin_width, batch_size=n)

    layer = model.decoder.lstm.layers[0]
    weights = torch.cat([layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0")], 1).detach()
    vector = torch.randn(weights.shape[1], device=where)
    contenders: dict[str, Callable[[], object]] = {str(n): (lambda n=n: draw(model, n)) for n in _SIZES}  # type: ignore[misc]
    contenders["matvec"] = lambda: [torch.mv(weights, vector) for _ in range(steps)]
    contenders["product"] = _own_product(torch.cat([weights, weights[:, :1]], 1), steps)
    contenders["large product"], operations = matrix_product(where, "float32")
    contenders["sheep"] = lambda: generate(model, _SHEEP, max_steps=lengths, bin_width=bin_width)
    times = take_turns(contenders, repeats, where)
    times["1"] /= _ALONE
    rates = {n: n / times[str(n)] for n in _SIZES}
    limit, each = operations / times["large product"], operations_per_point(model) / 3  # forward alone
    return GenerateBenchmark(
        drawings_per_second=rates,
        batch_256_over_1=rates[256] / rates[1],
        step_microseconds=1e6 * times["1"] / steps,
        matvec_microseconds=1e6 * times["matvec"] / steps,
        step_over_matvec=times["1"] / times["matvec"],
        product_microseconds=1e6 * times["product"] / steps,
        step_over_product=times["1"] / times["product"],
        of_product={n: rate * steps * each / limit for n, rate in rates.items()},
        sheep_seconds=times["sheep"],
        sheep_mean_steps=float(lengths.mean()),
        hidden=hidden,
        steps=steps,
        machine=Machine.of(where),
    )


def _own_product(weights: Tensor, steps: int) -> Callable[[], object]:
    """The product of a step at batch 1, `steps` times."""
    if weights.is_cuda:
        row, turned = torch.randn(1, weights.shape[1], device=weights.device), weights.t().contiguous()
        return lambda: [torch.mm(row, turned) for _ in range(steps)]
    whole, vector = weights.numpy(), torch.randn(weights.shape[1]).numpy()
    found = whole[:, 0].copy()
    return lambda: [whole.dot(vector, out=found) for _ in range(steps)]


def sheep_lengths(n: int) -> np.ndarray:
    """Steps of n drawings, spread much as those of aaron_sheep: 20 to 250, 51 either way of 131."""
    return np.rint(np.random.default_rng(0).normal(131, 51, n)).clip(20, 250).astype(np.int64)
