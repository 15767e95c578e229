"""Generation in batches, and a step of it beside its matrix-vector product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.device import choose_device
from mdnrnn.distributions import END
from mdnrnn.generation import generate
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.recurrent import MDNRNN, MDNRNNConfig


@dataclass(frozen=True, kw_only=True)
class GenerateBenchmark:
    """Drawings a second by batch size, and a step beside its matrix-vector product."""

    drawings_per_second: dict[int, float]
    batch_256_over_1: float
    step_microseconds: float
    """At batch 1, all of it: the model, the mixture, the draw."""
    matvec_microseconds: float
    """The LSTM's weights times a vector, alone."""
    step_over_matvec: float
    hidden: int
    steps: int
    machine: Machine


def benchmark_generate(
    *, hidden: int = 512, steps: int = 128, repeats: int = 5, device: str = "auto"
) -> GenerateBenchmark:
    """Drawings of exactly `steps` steps by a new model, in batches of 1, 16 and 256."""
    where = choose_device(device)
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=hidden)).to(where).eval()
    with torch.no_grad():
        model.decoder.head.linear.bias[
            model.decoder.head.shape.size + END
        ] = -1e9  # so that no drawing ends before its time
    cell = torch.full((2,), 0.05, device=where)
    sizes = (1, 16, 256)

    def draw(model: SequenceModel, n: int) -> None:
        generate(model, n, max_steps=steps, cell=cell)

    layer = model.decoder.lstm.layers[0]
    weights = torch.cat([layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0")], 1).detach()
    vector = torch.randn(weights.shape[1], device=where)
    contenders: dict[str, Callable[[], object]] = {str(n): (lambda n=n: draw(model, n)) for n in sizes}  # type: ignore[misc]
    contenders["matvec"] = lambda: [torch.mv(weights, vector) for _ in range(steps)]
    times = take_turns(contenders, repeats, where)
    rates = {n: n / times[str(n)] for n in sizes}
    return GenerateBenchmark(
        drawings_per_second=rates,
        batch_256_over_1=rates[256] / rates[1],
        step_microseconds=1e6 * times["1"] / steps,
        matvec_microseconds=1e6 * times["matvec"] / steps,
        step_over_matvec=times["1"] / times["matvec"],
        hidden=hidden,
        steps=steps,
        machine=Machine.of(where),
    )
