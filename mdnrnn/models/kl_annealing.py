"""KL annealing of Sketch-RNN (Ha and Eck, arXiv:1704.03477): weight of the KL divergence in the training objective."""

from __future__ import annotations

from mdnrnn.models.configs import SketchRNNConfig


def kl_weight(config: SketchRNNConfig, step: int) -> float:
    """Return the weight of the KL divergence after `step` completed training steps; see `SketchRNNConfig`."""
    return config.kl_weight * (1 - (1 - config.kl_start) * config.kl_rate**step)
