"""Contenders that take turns, and the machine that they ran on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from mdnrnn.errors import InputError
from mdnrnn.training.trainer import Result

_WARM_UP = 1
_PAUSE = 0.1
"""Seconds before each turn: threads of the one before look out for more work for a while, in the way of others."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a figure was measured on."""

    device_name: str
    threads: int
    torch_version: str
    python_version: str

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """This machine."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        return cls(
            device_name=name,
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            python_version=platform.python_version(),
        )


def whole(result: Result) -> None:
    """Stop where a training was stopped: what it has learned is no figure."""
    if result.interrupted:
        raise KeyboardInterrupt


def take_turns(contenders: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each; they take turns, so that what disturbs the machine disturbs all of them."""
    if repeats < 1:
        raise InputError(f"{repeats} repeats were asked for; expected 1 or more")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_WARM_UP + repeats):
        for name, run in contenders.items():
            _wait(device)
            time.sleep(_PAUSE)
            started = time.perf_counter()
            run()
            _wait(device)
            times[name].append(time.perf_counter() - started)
    return {name: median(seconds[_WARM_UP:]) for name, seconds in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
