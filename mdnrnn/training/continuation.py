"""Continuation of a run with other training options than those in its checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdnrnn.errors import InputError
from mdnrnn.training.config import DEFAULT_MINUTES, TrainConfig
from mdnrnn.training.progress import Progress
from mdnrnn.training.schedule import Schedule

_BUDGET = {"steps", "minutes"}
_FIXED = ("batch_size", "seed", "augment_scale", "augment_drop", "by_points", "window", "carry")
"""Options that determine the batches of an epoch. They cannot be changed, because training could not continue in the
middle of the epoch."""
_WITHOUT_EFFECT = {"device", "precision", "checkpoint_seconds", "most_valid"}
"""Options whose change does not matter if no training step remains."""


Changes = dict[str, tuple[Any, Any]]
"""Options that differ from the checkpoint: the values before and after the change, by name."""


def check_changes(progress: Progress, saved: dict[str, Any], path: Path, config: TrainConfig) -> Changes:
    """Return the options of `config` that differ from those of a checkpoint.

    Args:
        progress: progress in the checkpoint.
        saved: options in the checkpoint.
        path: path of the checkpoint, for error messages.
        config: new options.

    Raises:
        InputError: the run cannot continue with the new options, or they would have no effect.
    """
    before, after = _with_default_budget(saved), _with_default_budget(asdict(config))
    changes = {name: (before[name], after[name]) for name in after if before.get(name, after[name]) != after[name]}
    for name in [name for name in _FIXED if name in changes]:
        raise InputError(
            f"{name}: received {after[name]}, expected {before[name]} as in {path}; pass {before[name]}, or train in "
            "a new folder"
        )
    effective = {name: values for name, values in changes.items() if name not in _WITHOUT_EFFECT}
    is_over = Schedule(config).progress(progress.step, progress.seconds) >= 1
    if is_over and (progress.finished or effective.keys() & _BUDGET) and effective:
        raise InputError(
            f"{path.parent} has completed {progress.step} steps in {progress.seconds / 60:.3g} minutes; received "
            f"{describe_changes(effective)}, which leaves no step to train; expected a larger budget (steps or "
            "minutes), or a new folder"
        )
    return changes


def describe_changes(changes: Changes) -> str:
    """Return a description of changes, such as "steps 40 (before: 4), weight_decay 0.1 (before: 0.01)"."""
    names = [name for name, (_, after) in changes.items() if after is not None]
    return ", ".join(f"{name} {changes[name][1]} (before: {_describe_before(name, changes)})" for name in names)


def _describe_before(name: str, changes: Changes) -> str:
    """Return the value of an option before the changes; for a new kind of budget, the name and value of the old one."""
    before = changes[name][0]
    if before is None and name in _BUDGET:
        (other,) = _BUDGET - {name}
        return f"{other} {changes[other][0]}"
    return str(before)


def apply_changes(changes: Changes, config: TrainConfig, progress: Progress) -> None:
    """Adapt the progress of a run to the changed options.

    If the schedule of validations has changed, set the number of planned validations to that of the new schedule. If
    the run was finished and training continues, early stopping counts again from 0.

    Args:
        changes: result of `check_changes`.
        config: new options.
        progress: progress of the run; it is modified.
    """
    if progress.finished and not changes.keys() <= _WITHOUT_EFFECT:
        progress.finished, progress.validations_since_best = False, 0
    if changes.keys() & (_BUDGET | {"validations"}):
        progress.validations = Schedule(config).validations_due(progress.step, progress.seconds)


def _with_default_budget(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("steps") is None and options.get("minutes") is None:
        return {**options, "minutes": DEFAULT_MINUTES}
    return options
