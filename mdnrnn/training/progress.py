"""Training progress: counters, position in the data and best validation loss."""

from dataclasses import dataclass


@dataclass
class Progress:
    """Training progress; stored in every checkpoint."""

    step: int = 0
    """Number of completed training steps."""
    points: int = 0
    """Number of points trained on, summed over all ranks; repeated points count again."""
    seconds: float = 0.0
    """Training time in seconds, including validation. After a resume, the time before the interruption is included."""
    epoch: int = 0
    """Index of the current epoch."""
    batch: int = 0
    """Number of completed batches of the current epoch."""
    validations: int = 0
    """Number of validations that the schedule had planned up to the last validation (`Schedule.validations_due`); can
    be larger than the number of validations that were run."""
    validated_step: int = 0
    """Number of completed training steps at the last validation."""
    best: float = float("inf")
    """Lowest validation loss so far, in nats per point."""
    validations_since_best: int = 0
    metrics_bytes: int = 0
    """Length of the training log metrics.jsonl in bytes. On resume the file is truncated to this length."""
    finished: bool = False
