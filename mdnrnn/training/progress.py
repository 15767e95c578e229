"""Training progress: counters, position in the data and best validation loss."""

from dataclasses import dataclass


@dataclass
class Progress:
    """Training progress, which every checkpoint contains."""

    step: int = 0
    """Number of completed steps."""
    points: int = 0
    """Number of points trained on, over all ranks."""
    seconds: float = 0.0
    """Training time in seconds, including validation and the time before a resume."""
    epoch: int = 0
    """Index of the current epoch."""
    batch: int = 0
    """Number of completed batches of the current epoch."""
    validations: int = 0
    """Number of validations that were due at the time of the last validation."""
    validated_step: int = 0
    """Step of the last validation."""
    best: float = float("inf")
    """Lowest validation loss so far, in nats per point."""
    validations_since_best: int = 0
    metrics_bytes: int = 0
    """Length of metrics.jsonl in bytes. On resume the file is truncated to this length."""
    finished: bool = False
