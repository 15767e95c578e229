"""Speed of generation: drawings per second by batch size, and time per step at batch size 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mdnrnn.benchmark.limits import matrix_product, operations_per_point
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.device import choose_device
from mdnrnn.generation.loop import generate
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.pen_events import END

_SIZES = (1, 16, 256, 1024)
_SHEEP = 1000
_SEQUENTIAL = 8
"""Number of drawings per timed call at batch size 1. At other batch sizes, a timed call generates one batch."""


@dataclass(frozen=True, kw_only=True)
class GenerateBenchmark:
    """Drawings per second by batch size, and time per step relative to a matrix-vector product."""

    drawings_per_second: dict[int, float]
    batch_256_over_1: float
    step_microseconds: float
    """Time per step at batch size 1, including LSTM, head and sampling."""
    matvec_microseconds: float
    """Time of one product of a matrix and a vector by `torch.mv`. The matrix contains all weights of the LSTM."""
    step_over_matvec: float
    fraction_of_matmul: dict[int, float]
    """For each batch size, the FLOP/s of generation divided by the FLOP/s of one large float32 matrix product."""
    sheep_seconds: float
    """Time to generate 1,000 drawings with lengths distributed as in the data set aaron_sheep. When a drawing ends, the
    next drawing takes its place in the batch."""
    sheep_mean_steps: float
    hidden: int
    steps: int
    machine: Machine


def benchmark_generate(
    *, hidden: int = 512, steps: int = 128, repeats: int = 5, device: str = "auto"
) -> GenerateBenchmark:
    """Measure generation by an untrained model at batch sizes 1, 16, 256 and 1,024, and with varying lengths.

    Args:
        hidden: hidden size of the LSTM.
        steps: number of time steps per drawing, except in the measurement with varying lengths.
        repeats: number of timed rounds.
        device: name of the device, see `mdnrnn.device.choose_device`.
    """
    where = choose_device(device)
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=hidden)).to(where).eval()
    with torch.no_grad():
        model.decoder.head.linear.bias[model.decoder.head.shape.size + END] = -1e9  # no drawing ends early
    bin_width = torch.full((2,), 0.05, device=where)
    lengths = sheep_lengths(_SHEEP)

    def draw(model: SequenceModel, n: int) -> None:
        generate(model, _SEQUENTIAL if n == 1 else n, max_steps=steps, bin_width=bin_width, batch_size=n)

    layer = model.decoder.core.layers[0]
    weights = torch.cat([layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0")], 1).detach()
    vector = torch.randn(weights.shape[1], device=where)
    contenders: dict[str, Callable[[], object]] = {str(n): (lambda n=n: draw(model, n)) for n in _SIZES}  # type: ignore[misc]
    contenders["matvec"] = lambda: [torch.mv(weights, vector) for _ in range(steps)]
    contenders["large product"], operations = matrix_product(where, "float32")
    contenders["sheep"] = lambda: generate(model, _SHEEP, max_steps=lengths, bin_width=bin_width)
    times = take_turns(contenders, repeats, where)
    times["1"] /= _SEQUENTIAL
    rates = {n: n / times[str(n)] for n in _SIZES}
    limit, each = operations / times["large product"], operations_per_point(model) / 3  # forward pass only
    return GenerateBenchmark(
        drawings_per_second=rates,
        batch_256_over_1=rates[256] / rates[1],
        step_microseconds=1e6 * times["1"] / steps,
        matvec_microseconds=1e6 * times["matvec"] / steps,
        step_over_matvec=times["1"] / times["matvec"],
        fraction_of_matmul={n: rate * steps * each / limit for n, rate in rates.items()},
        sheep_seconds=times["sheep"],
        sheep_mean_steps=float(lengths.mean()),
        hidden=hidden,
        steps=steps,
        machine=Machine.of(where),
    )


def sheep_lengths(n: int) -> np.ndarray:
    """Return n lengths, distributed approximately as in the data set aaron_sheep.

    The lengths are normal with mean 131 and standard deviation 51, clipped to the range 20 to 250.
    """
    return np.rint(np.random.default_rng(0).normal(131, 51, n)).clip(20, 250).astype(np.int64)
