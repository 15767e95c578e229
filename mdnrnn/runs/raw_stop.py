"""Stopping rules in raw units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.stopping import StepHistory, StoppingRule

if TYPE_CHECKING:
    from mdnrnn.runs.run import Run


@dataclass(frozen=True)
class RawStop:
    """Stopping rule for normalized motions that calls the rule `stop` with motions in raw units."""

    run: Run
    stop: StoppingRule

    def __call__(self, history: StepHistory) -> Tensor:
        """Return the mask of `stop`."""
        batch, steps, features = history.motion.shape
        rows = history.motion.cpu().numpy().reshape(-1, features)
        raw = self.run.to_raw(rows, starts_sequence=False).reshape(batch, steps, features)
        first = steps - history.length.cpu().numpy()
        raw[np.arange(batch)[:, None], first[:, None], list(self.run.config.metadata.time_features)] = 0
        raw[np.arange(steps) < first[:, None]] = 0  # padding
        return self.stop(history._replace(motion=torch.from_numpy(raw).to(history.motion)))


def stop_in_raw_units(run: Run, sampling: Sampling | None) -> Sampling | None:
    """Return sampling options whose stopping rule, if there is one, receives motions in raw units.

    Args:
        run: run that generates the sequences.
        sampling: sampling options of a user; None for the default options.
    """
    stop = getattr(sampling, "stop", None)
    return sampling if sampling is None or stop is None else replace(sampling, stop=RawStop(run, stop))
