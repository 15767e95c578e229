"""Speed and memory of `MixtureHead` and its loss, relative to a linear layer with `MixtureSameFamily`.

On a GPU the fused likelihood kernel is also measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.profiler import ProfilerActivity, profile

from mdnrnn.benchmark.head_kernel import benchmark_rows
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.nn.heads import MixtureHead


@dataclass(frozen=True, kw_only=True)
class HeadBenchmark:
    """Time and peak memory of one forward and backward pass of `MixtureHead` and of the baseline `PlainHead`.

    Fields that start with `compiled_` or `plain_compiled_` are results under torch.compile. These fields are None if
    compilation is not requested or fails.

    Fields that start with `step_` are results of the fused likelihood kernel, without the linear layer. The results in
    the fields `step_cell_*` are for bin probabilities, the results in all other `step_*` fields for densities. The
    baseline is the same loss in plain PyTorch. All `step_*` fields are None if no kernel is used, for example on a CPU.
    `step_copy_fraction` and `step_cell_copy_fraction` are the time to copy the mixture parameters divided by the time
    of the kernel. The kernel reads and writes as many bytes as the copy.
    """

    speedup: float
    """Time of the baseline divided by the time of `MixtureHead`, both in eager mode."""
    speedup_unchecked: float
    """`speedup` if the baseline does not validate arguments. `MixtureHead` never validates arguments."""
    memory_ratio: float
    """Peak memory of `MixtureHead` divided by the peak memory of the baseline, both in eager mode."""
    milliseconds: float
    plain_milliseconds: float
    megabytes: float
    plain_megabytes: float
    compiled_speedup: float | None
    """Time of the baseline without argument validation divided by the time of `MixtureHead`, both compiled."""
    compiled_milliseconds: float | None
    plain_compiled_milliseconds: float | None
    step_speedup: float | None
    """Time of plain PyTorch divided by the time of the kernel, both for densities."""
    step_milliseconds: float | None
    step_copy_fraction: float | None
    step_cell_speedup: float | None
    """Time of plain PyTorch divided by the time of the kernel, both for bin probabilities."""
    step_cell_milliseconds: float | None
    step_cell_copy_fraction: float | None
    step_rows: int | None
    step_copy_gigabytes_per_second: float | None
    """Bandwidth of a copy of the mixture parameters: bytes read plus bytes written, per second."""
    rows: int
    components: int
    features: int
    in_features: int
    machine: Machine


class PlainHead(nn.Module):
    """Baseline head: a linear layer and a `MixtureSameFamily` of diagonal Gaussians."""

    def __init__(self, in_features: int, features: int, components: int, checks: bool | None = None) -> None:
        super().__init__()
        self.checks = checks
        self.linear = nn.Linear(in_features, components * (1 + 2 * features))
        self.components, self.features = components, features

    def forward(self, inputs: Tensor) -> MixtureSameFamily:
        """Return the mixtures for inputs (B, in_features)."""
        k, d = self.components, self.features
        logits, means, log_scales = self.linear(inputs).split([k, k * d, k * d], -1)
        parts = Independent(Normal(means.view(-1, k, d), log_scales.view(-1, k, d).exp(), validate_args=self.checks), 1)
        weights = Categorical(logits=logits, validate_args=self.checks)
        return MixtureSameFamily(weights, parts, validate_args=self.checks)


def benchmark_head(
    *,
    rows: int = 25_000,
    components: int = 20,
    features: int = 2,
    in_features: int = 64,
    repeats: int = 20,
    compiled: bool = True,
    device: str = "auto",
) -> HeadBenchmark:
    """Compare `MixtureHead` and `PlainHead` on the same inputs and targets, in the forward and the backward pass.

    Args:
        rows: number of rows of the inputs and targets.
        components: number of mixture components K.
        features: number of target features D.
        in_features: input size of the heads.
        repeats: number of timed rounds.
        compiled: whether to compare the heads under torch.compile as well.
        device: name of the device, see `mdnrnn.device.choose_device`.
    """
    if rows < 1:
        raise InputError(f"rows: received {rows}, expected 1 or more")
    where = choose_device(device)
    torch.manual_seed(0)
    inputs = torch.randn(rows, in_features, device=where, requires_grad=True)
    targets = torch.randn(rows, features, device=where)

    def call(head: nn.Module) -> Callable[[], None]:
        def forward() -> Tensor:
            return -head(inputs).log_prob(targets).mean()

        return lambda: forward().backward()

    ours = MixtureHead(in_features, features, components).to(where)
    plain = PlainHead(in_features, features, components).to(where)
    unchecked = PlainHead(in_features, features, components, checks=False).to(where)
    contenders: dict[str, Callable[[], object]] = {
        "ours": call(ours),
        "plain": call(plain),
        "unchecked": call(unchecked),
    }
    times = take_turns(contenders, repeats, where)
    peaks = {
        name: peak_bytes(run, [inputs, *ours.parameters(), *plain.parameters(), *unchecked.parameters()])
        for name, run in contenders.items()
    }
    fused = _compiled(inputs, targets, ours, unchecked, repeats) if compiled else None
    density, discretized = (
        benchmark_rows(components, features, repeats, where, bin_widths=bin_widths) for bin_widths in (False, True)
    )
    return HeadBenchmark(
        speedup=times["plain"] / times["ours"],
        speedup_unchecked=times["unchecked"] / times["ours"],
        memory_ratio=peaks["ours"] / peaks["plain"],
        milliseconds=1e3 * times["ours"],
        plain_milliseconds=1e3 * times["plain"],
        megabytes=peaks["ours"] / 1e6,
        plain_megabytes=peaks["plain"] / 1e6,
        compiled_speedup=fused["plain"] / fused["ours"] if fused else None,
        compiled_milliseconds=1e3 * fused["ours"] if fused else None,
        plain_compiled_milliseconds=1e3 * fused["plain"] if fused else None,
        step_speedup=density.speedup if density else None,
        step_milliseconds=density.milliseconds if density else None,
        step_copy_fraction=density.copy_fraction if density else None,
        step_cell_speedup=discretized.speedup if discretized else None,
        step_cell_milliseconds=discretized.milliseconds if discretized else None,
        step_cell_copy_fraction=discretized.copy_fraction if discretized else None,
        step_rows=density.rows if density else None,
        step_copy_gigabytes_per_second=density.copy_gigabytes_per_second if density else None,
        rows=rows,
        components=components,
        features=features,
        in_features=in_features,
        machine=Machine.of(where),
    )


def _compiled(
    inputs: Tensor, targets: Tensor, ours: MixtureHead, plain: PlainHead, repeats: int
) -> dict[str, float] | None:
    """Return the seconds per forward and backward pass of each compiled head, or None if torch.compile fails."""

    def call(head: nn.Module) -> Callable[[], None]:
        loss = torch.compile(lambda x, y: -head(x).log_prob(y).mean())
        return lambda: loss(inputs, targets).backward()

    try:
        return take_turns({"ours": call(ours), "plain": call(plain)}, repeats, inputs.device)
    except RuntimeError as error:  # usually because there is no compiler for this device
        print(f"torch.compile failed: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def peak_bytes(run: Callable[[], object], leaves: list[Tensor]) -> int:
    """Return the peak number of bytes that `run` allocates, including the gradients of the tensors `leaves`."""
    for leaf in leaves:
        leaf.grad = None
    if leaves[0].device.type == "cuda":
        before = torch.cuda.memory_allocated(leaves[0].device)
        torch.cuda.reset_peak_memory_stats(leaves[0].device)
        run()
        return torch.cuda.max_memory_allocated(leaves[0].device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    held = peak = 0
    assert profiler.profiler is not None
    events = profiler.profiler.kineto_results.events()
    for event in sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
