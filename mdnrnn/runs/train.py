"""Training of runs: `train` starts a run in a new folder; `resume` continues a run from its last checkpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.drawing_sizes import DrawingSizes
from mdnrnn.data.outliers import check_outliers
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.files.atomic import is_temporary, make_folder, remove_leftovers, write_bytes
from mdnrnn.files.locks import LOCK_FILE, lock_folder
from mdnrnn.models.base import StepShape
from mdnrnn.models.handwriting import check_text_corpus
from mdnrnn.runs.config import CONFIG_FILE, RunConfig
from mdnrnn.runs.data import Data, describe_data, label_single_class, open_data, open_training_data
from mdnrnn.runs.fine_tuning import AdaptedData, Source, adapt_data, initial_weights, make_origin
from mdnrnn.runs.fine_tuning_options import check_model, fine_tuning_preset
from mdnrnn.runs.presets import KINDS, PRESETS, Preset, find_preset
from mdnrnn.runs.previews import LOSS_CURVE_FILE, SAMPLES_FOLDER, PreviewWriter
from mdnrnn.runs.run import Run
from mdnrnn.runs.training_checks import describe_largest_motion, warn_about_use
from mdnrnn.training import distributed
from mdnrnn.training.callbacks import Callback
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE, read_progress
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.continuation import check_changes
from mdnrnn.training.loggers import TensorBoardLogger
from mdnrnn.training.loss_check import NonFiniteLoss
from mdnrnn.training.metrics import METRICS_FILE
from mdnrnn.training.trainer import TrainingResult, fit


class _PreparedRun(NamedTuple):
    """Config and corpus of a run that is ready to train.

    `null_nll_per_point`: negative log-likelihood of the null model on the split "valid", in nats per point; NaN on
    ranks other than 0, which do not need it.
    """

    config: RunConfig
    corpus: Corpus
    null_nll_per_point: float


def train(
    preset: Preset | str | None,
    data: Data,
    out: Path | str,
    *,
    model: Any = None,
    training: SequenceTrainConfig | None = None,
    init: Run | Path | str | None = None,
    callbacks: Iterable[Callback] = (),
) -> TrainingResult:
    """Train a new run in the folder `out`.

    If torchrun started several ranks, all of them must call this function. Only rank 0 writes files.

    Args:
        preset: a preset or its name, a key of `PRESETS`. With `init` it can be None; see
            `fine_tuning.fine_tuning_preset`.
        data: a corpus, the path of a file or folder of any known format, or a catalog name.
        out: folder of the new run.
        model: model config; by default the preset's or, with `init`, that of the source.
        training: training options; by default the preset's or, with `init`, the preset's with a lower learning rate.
        init: source of a fine-tuning: a run, a run folder or the name of a bundled model. Training starts from the
            weights in its folder, and the new model has the sizes of the source. By default the weights are random.
        callbacks: loggers and other callbacks.

    Returns:
        Progress at the end of training, and the signal that stopped it, if any.

    Raises:
        InputError: the preset is unknown, the folder is not empty, or the data or options are invalid, or the preset
            or the data do not fit the source; nothing is written.
    """
    out = Path(out)
    prepared: list[_PreparedRun] = []

    def prepare() -> dict[str, Any]:
        source = None if init is None else Source.read(init)
        chosen = _choose_preset(preset, source)
        prepared.append(_prepare_new(chosen, data, out, model or chosen.model, training or chosen.training, source))
        return asdict(prepared[0].config)

    with distributed.process_group():
        config = RunConfig.from_dict(distributed.from_rank_zero(prepare))
        return _fit(prepared[0] if prepared else _PreparedRun(config, open_data(data), math.nan), out, callbacks)


def resume(
    folder: Path | str,
    data: Data | None = None,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    callbacks: Iterable[Callback] = (),
) -> TrainingResult:
    """Continue the training of a run from its last checkpoint.

    With a budget in steps and the same number of ranks, the result is the same as without the interruption. The number
    of ranks may also differ from that of the interrupted training.

    With `steps` or `minutes`, a finished run can be extended; config.json records the new budget. The learning rate
    then follows the schedule of the whole new budget, so it increases at the restart. The completed steps were made
    with the lower learning rates of the old schedule. The weights therefore differ from those of a run that had the new
    budget from the beginning, except with `final_rate` 1, which disables the decay.

    Args:
        folder: the run folder.
        data: the training data; needed if the run was trained on a corpus in memory or if the data have moved.
        steps: new total number of steps, including the completed ones; by default the budget of the run.
        minutes: new total training time in minutes, including the time so far; cannot be combined with `steps`.
        callbacks: loggers and other callbacks.

    Raises:
        InputError: the folder is not a run folder, a file in it is missing or damaged, or the data differ from those
            that the run was trained on; or the new budget is used up already.
    """
    folder = Path(folder)
    prepared: list[_PreparedRun] = []

    def prepare() -> dict[str, Any]:
        prepared.append(_prepare_resume(folder, data, steps, minutes))
        return asdict(prepared[0].config)

    with distributed.process_group():
        config = RunConfig.from_dict(distributed.from_rank_zero(prepare))
        if not prepared:
            prepared.append(_PreparedRun(config, open_training_data(config, data), math.nan))
        return _fit(prepared[0], folder, callbacks)


def _choose_preset(preset: Preset | str | None, source: Source | None) -> Preset:
    """Return the preset of a new run, adapted to the source if there is one."""
    found = None if preset is None else find_preset(preset)
    if source is not None:
        return fine_tuning_preset(source.config, found)
    if found is None:
        raise InputError(f"preset: received none, expected one of {', '.join(PRESETS)}, or a run to start from (init)")
    return found


def _prepare_new(
    preset: Preset, data: Data, folder: Path, model: Any, training: SequenceTrainConfig, source: Source | None
) -> _PreparedRun:
    """Check all arguments and the data, then create the folder and write config.json."""
    _check_empty(folder)
    choose_device(training.device)
    model_class = KINDS[preset.kind].model_class
    if training.window and not model_class.carries_state:
        raise InputError(f"window: received {training.window}, expected 0: this model trains on whole sequences only")
    if source is not None:
        check_model(model, source.config)
    corpus = open_data(data)
    corpus.check()
    check_outliers(corpus)
    warn_about_use(preset, corpus.metadata)
    if model_class.uses_text:
        check_text_corpus(corpus)
    shape = StepShape.from_corpus(corpus)
    if model_class.uses_text:
        shape = replace(shape, classes=0)  # text-conditional models are not conditioned on the class
    adapted = AdaptedData.from_corpus(corpus, shape) if source is None else adapt_data(source, corpus, shape)
    config = RunConfig(
        kind=preset.kind,
        shape=adapted.shape,
        model=model,
        normalizer=adapted.normalizer,
        metadata=replace(corpus.metadata, classes=adapted.classes),
        data=describe_data(data),
        fingerprint=corpus.fingerprint,
        training=training,
        max_steps=int(corpus.lengths.max()),
        longest_text=int(corpus.text_lengths.max(initial=0)),
        steps_per_character=corpus.max_steps_per_character,
        sizes=DrawingSizes.from_corpus(corpus),
        init=None if source is None else make_origin(source),
    )
    config.build()  # raises InputError before anything is written
    content = config.encode()
    RunConfig.decode(content)  # raises InputError if the run could not be read
    prepared = _PreparedRun(config, corpus, _null_nll_per_point(config, corpus))
    make_folder(folder)
    with lock_folder(folder):
        _check_empty(folder)  # another process can have started a run meanwhile
        write_bytes(folder / CONFIG_FILE, content)
    return prepared


def _check_empty(folder: Path) -> None:
    """Raise `InputError` if `folder` exists and is not empty, except for leftovers of a training that was killed at its
    start."""
    if folder.exists() and (not folder.is_dir() or any(not _is_leftover(path) for path in folder.iterdir())):
        raise InputError(f"{folder} exists already; choose another folder, or continue with --resume {folder}")


def _is_leftover(path: Path) -> bool:
    return path.name == LOCK_FILE or is_temporary(path, re.escape(CONFIG_FILE))


def _prepare_resume(folder: Path, data: Data | None, steps: int | None, minutes: float | None) -> _PreparedRun:
    """Check the folder, the data and the new budget, then write the new budget to config.json."""
    config = RunConfig.read(folder)
    has_new_budget = steps is not None or minutes is not None
    if has_new_budget:
        config = replace(config, training=replace(config.training, steps=steps, minutes=minutes))
    with lock_folder(folder):  # reports a running training before the data are read
        _check_checkpoint(folder, config)
    corpus = open_training_data(config, data)
    if corpus.fingerprint != config.fingerprint:
        name = config.data if data is None else describe_data(data)
        raise InputError(
            f"{name} differs from the data that the run was trained on; restore the data, or train a new run"
        )
    if has_new_budget:
        with lock_folder(folder):
            write_bytes(folder / CONFIG_FILE, config.encode())
    return _PreparedRun(config, corpus, _null_nll_per_point(config, corpus))


def _check_checkpoint(folder: Path, config: RunConfig) -> None:
    """If the run has been trained, check that its checkpoint exists and that training can continue with `config`.

    The check does not allocate the model, because the sizes in a damaged config can be arbitrary.
    """
    path = folder / CHECKPOINT_FILE
    if path.exists():
        progress, saved = read_progress(path, config.weights_without_values())
        check_changes(progress, saved, path, config.training)
    elif any((folder / name).exists() for name in (METRICS_FILE, WEIGHTS_FILE)):
        raise InputError(f"{path} is missing; a run cannot be resumed without it; train a new run")


def _null_nll_per_point(config: RunConfig, corpus: Corpus) -> float:
    rows = corpus.rows("valid")
    return null_model_nll(corpus, "valid", config.normalizer, raw=False) / (rows.stop - rows.start)


def _fit(prepared: _PreparedRun, folder: Path, callbacks: Iterable[Callback]) -> TrainingResult:
    config, model = prepared.config, prepared.config.build()
    corpus = label_single_class(prepared.corpus, config.metadata.classes)
    distributed.from_rank_zero(lambda: _prepare_folder(folder))
    if config.init is not None:
        is_new = distributed.from_rank_zero(lambda: not (folder / CHECKPOINT_FILE).exists())
        if is_new:
            model.load_state_dict(distributed.from_rank_zero(lambda: initial_weights(config, model)))
    train_batches, valid_batches = config.training.splits(corpus, config.normalizer)
    callbacks = list(callbacks)
    boards = [callback for callback in callbacks if isinstance(callback, TensorBoardLogger)]
    previews = PreviewWriter(Run(folder, config, model), corpus, prepared.null_nll_per_point, boards)
    try:
        result = fit(model, train_batches, valid_batches, folder, config.training, [previews, *callbacks])
    except NonFiniteLoss as error:
        if error.indices:
            largest = describe_largest_motion(corpus, config.normalizer, error.indices)
            raise NonFiniteLoss(f"{error}; {largest}", error.indices) from error
        raise
    return replace(result, null_nll_per_point=prepared.null_nll_per_point)


def _prepare_folder(folder: Path) -> None:
    """Create the folder for samples, and delete the temporary files of killed processes."""
    samples = folder / SAMPLES_FOLDER
    if samples.is_symlink():
        raise InputError(f"{samples} is a symbolic link; expected a folder; delete the link")
    make_folder(samples)
    remove_leftovers(folder, "|".join(map(re.escape, (CONFIG_FILE, WEIGHTS_FILE, CHECKPOINT_FILE, LOSS_CURVE_FILE))))
    remove_leftovers(samples, r"step-\d+\.svg")
