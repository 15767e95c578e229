"""Measure the time of functions that run in turns, and describe the machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from mdnrnn.errors import InputError
from mdnrnn.training.trainer import TrainingResult

_WARM_UP = 1
_PAUSE = 0.1
"""Pause before each call, in seconds.

After a call, its worker threads still busy-wait for a short time. Without a pause, these threads would slow down the
next function.
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine that a result was measured on."""

    device_name: str
    threads: int
    torch_version: str
    python_version: str

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """Return the description of this machine."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        return cls(
            device_name=name,
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            python_version=platform.python_version(),
        )


def raise_if_interrupted(result: TrainingResult) -> None:
    """Raise `KeyboardInterrupt` if training was interrupted, because its results are then not comparable."""
    if result.interrupted:
        raise KeyboardInterrupt


def take_turns(
    contenders: dict[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the median time of each function in seconds.

    The functions run in turns, so that other processes on the machine affect all functions equally.

    Args:
        contenders: functions to compare, by name.
        repeats: number of timed rounds, after one round of warm-up.
        device: device that the functions use. It is synchronized before and after each call.
        clock: function that returns the time in seconds: wall-clock time, or `time.process_time` for CPU time.
    """
    if repeats < 1:
        raise InputError(f"repeats: received {repeats}, expected 1 or more")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_WARM_UP + repeats):
        for name, run in contenders.items():
            _synchronize(device)
            time.sleep(_PAUSE)
            started = clock()
            run()
            _synchronize(device)
            times[name].append(clock() - started)
    return {name: median(seconds[_WARM_UP:]) for name, seconds in times.items()}


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
