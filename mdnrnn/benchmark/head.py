"""One call of the head with its loss, forward and backward, against `MixtureSameFamily` on a plain linear layer; and on
a GPU the kernel that takes the nats of steps and their gradient from a head's rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.profiler import ProfilerActivity, profile

from mdnrnn.benchmark.rows import benchmark_rows
from mdnrnn.benchmark.timing import Machine, take_turns
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.nn.heads import MixtureHead


@dataclass(frozen=True, kw_only=True)
class HeadBenchmark:
    """Milliseconds of a call and the most memory that it holds at once; null where nothing could be compiled.

    Names with step_ are of the kernel, beside plain PyTorch on the same rows, without the linear layer; null where no
    kernel is taken, as on a CPU. A fraction of a copy: the fewest bytes that can be moved, a read and a write of the
    rows, over the kernel's time, beside those that a copy of the rows moves in its own, in the same run.
    """

    speedup: float
    """Plain, as one writes it, over ours, both eager."""
    speedup_unchecked: float
    """The same, PyTorch's checks of arguments switched off in the plain head; ours makes none of the values."""
    memory_ratio: float
    """Ours over plain, at their peaks, eager."""
    milliseconds: float
    plain_milliseconds: float
    megabytes: float
    plain_megabytes: float
    compiled_speedup: float | None
    """Plain over ours, both compiled."""
    compiled_milliseconds: float | None
    plain_compiled_milliseconds: float | None
    step_speedup: float | None
    """Plain over the kernel, of densities."""
    step_milliseconds: float | None
    step_copy_fraction: float | None
    step_cell_speedup: float | None
    """Plain over the kernel, of bin_widths."""
    step_cell_milliseconds: float | None
    step_cell_copy_fraction: float | None
    step_rows: int | None
    step_copy_gigabytes_per_second: float | None
    """What a copy of the rows reads and writes."""
    rows: int
    components: int
    features: int
    in_features: int
    machine: Machine


class PlainHead(nn.Module):
    """The usual head: a linear layer, a split, PyTorch's own mixture."""

    def __init__(self, in_features: int, features: int, components: int, checks: bool | None = None) -> None:
        super().__init__()
        self.checks = checks
        self.linear = nn.Linear(in_features, components * (1 + 2 * features))
        self.components, self.features = components, features

    def forward(self, inputs: Tensor) -> MixtureSameFamily:
        """inputs: (B, I)."""
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
    """Both heads on the same inputs and targets, gradients to the inputs included."""
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
    density, bin_width = (
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
        step_cell_speedup=bin_width.speedup if bin_width else None,
        step_cell_milliseconds=bin_width.milliseconds if bin_width else None,
        step_cell_copy_fraction=bin_width.copy_fraction if bin_width else None,
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
    """Seconds of each where torch.compile works, else None."""

    def call(head: nn.Module) -> Callable[[], None]:
        loss = torch.compile(lambda x, y: -head(x).log_prob(y).mean())
        return lambda: loss(inputs, targets).backward()

    try:
        return take_turns({"ours": call(ours), "plain": call(plain)}, repeats, inputs.device)
    except RuntimeError as error:  # no compiler for this device, as a rule
        print(f"not compiled: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def peak_bytes(run: Callable[[], object], leaves: list[Tensor]) -> int:
    """The most bytes that `run` holds at once beyond what was there before it, gradients of the leaves included."""
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
