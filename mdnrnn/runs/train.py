"""New runs, and going on with old ones."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from mdnrnn import render
from mdnrnn.data.catalog import is_catalog_name, open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.evaluation.null_model import null_model_nll
from mdnrnn.files import is_temporary, make_folder, write_bytes, write_json
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.handwriting import check_text_corpus
from mdnrnn.render.save import draw, draw_performances
from mdnrnn.runs.config import CONFIG_FILE, RunConfig
from mdnrnn.runs.presets import KINDS, Preset
from mdnrnn.runs.run import Run
from mdnrnn.training import distributed
from mdnrnn.training.checkpoint import CHECKPOINT_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.metrics import METRICS_FILE, read_metrics
from mdnrnn.training.trainer import TrainingResult, fit

CURVE, SAMPLES = "loss.svg", "samples"
_SAMPLE_TEMPERATURE = 0.4
_SAMPLE_STEPS = 300
"""Of performances and streams: some go on for thousands, or never end."""


def train(
    preset: Preset, data: str, folder: Path | str, *, model: Any = None, training: SequenceTrainConfig | None = None
) -> TrainingResult:
    """A new run in `folder`: of a preset, with another model config or another training where they are given.

    Of several processes that torchrun has started the first makes the folder, and writes in it.
    """
    folder, made = Path(folder), []

    def begin() -> dict[str, Any]:
        made.append(_begin(preset, data, folder, model or preset.model, training or preset.training))
        return asdict(made[0].config)

    with distributed.process_group():
        config = RunConfig.from_dict(distributed.from_rank_zero(begin))
        return _fit(made[0] if made else _Begun(config, open_corpus(data), math.nan), folder)


class _Begun(NamedTuple):
    """A run whose training can begin: its config, its corpus, and the nats a point of the null model on its valid
    split, in the units of the training's own loss."""

    config: RunConfig
    corpus: Corpus
    null: float


def _begin(preset: Preset, data: str, folder: Path, model: Any, training: SequenceTrainConfig) -> _Begun:
    """A new run, its config in its folder, which is made last: nothing is left of what cannot be."""
    if folder.exists() and (not folder.is_dir() or any(not is_temporary(path) for path in folder.iterdir())):
        raise InputError(f"{folder} is there already; choose another folder, or go on with --resume {folder}")
    choose_device(training.device)
    if training.window and not KINDS[preset.kind].model_class.carries_state:
        raise InputError(f"a window of {training.window} steps was asked for; this model learns whole sequences alone")
    corpus = open_corpus(data)
    corpus.check()
    if KINDS[preset.kind].model_class.uses_text:
        check_text_corpus(corpus)
    shape = _shape(preset, corpus)
    config = RunConfig(
        kind=preset.kind,
        shape=shape,
        model=model,
        normalizer=Normalizer.from_corpus(corpus),
        metadata=corpus.metadata if shape.classes else replace(corpus.metadata, classes=()),
        data=data if is_catalog_name(data) else str(Path(data).resolve()),
        fingerprint=corpus.fingerprint,
        training=training,
        max_steps=int(corpus.lengths.max()),
        longest_text=int(corpus.text_lengths.max(initial=0)),
        steps_per_character=corpus.max_steps_per_character,
    )
    config.build()  # where it cannot be, nothing is written
    begun = _Begun(config, corpus, _null_nll_per_point(config, corpus))
    make_folder(folder)
    write_json(folder / CONFIG_FILE, asdict(config))
    return begun


def _shape(preset: Preset, corpus: Corpus) -> StepShape:
    """Of the steps; a model that writes is told the text, and no class."""
    shape = StepShape.from_corpus(corpus)
    return replace(shape, classes=0) if KINDS[preset.kind].model_class.uses_text else shape


def resume(folder: Path | str) -> TrainingResult:
    """Go on with a run from its last checkpoint, to the end that it would have had, in as many processes as there are
    now."""
    folder, made = Path(folder), []

    def begin() -> dict[str, Any]:
        made.append(_begin_again(folder))
        return asdict(made[0].config)

    with distributed.process_group():
        config = RunConfig.from_dict(distributed.from_rank_zero(begin))
        return _fit(made[0] if made else _Begun(config, open_corpus(config.data), math.nan), folder)


def _begin_again(folder: Path) -> _Begun:
    config = RunConfig.read(folder)
    corpus = open_corpus(config.data)
    if corpus.fingerprint != config.fingerprint:
        raise InputError(f"{config.data} is not what the run was trained on; put the same data there, or train anew")
    if (folder / METRICS_FILE).exists() and not (folder / CHECKPOINT_FILE).exists():
        raise InputError(
            f"{folder / CHECKPOINT_FILE} is missing; it holds what a resume needs; train anew in another folder"
        )
    return _Begun(config, corpus, _null_nll_per_point(config, corpus))


def _null_nll_per_point(config: RunConfig, corpus: Corpus) -> float:
    rows = corpus.rows("valid")
    return null_model_nll(corpus, "valid", config.normalizer, raw=False) / (rows.stop - rows.start)


def _fit(begun: _Begun, folder: Path) -> TrainingResult:
    config, corpus, model = begun.config, begun.corpus, begun.config.build()
    if distributed.rank() == 0:
        make_folder(folder / SAMPLES)
        for path in [*folder.iterdir(), *(folder / SAMPLES).iterdir()]:
            if is_temporary(path):
                path.unlink()
    train_data, valid = config.training.splits(corpus, config.normalizer)
    return fit(model, train_data, valid, folder, config.training, lambda: _picture(begun, model, folder))


def _picture(begun: _Begun, model: SequenceModel, folder: Path) -> None:
    """The losses so far, and drawings as the model makes them now."""
    config, corpus, records = begun.config, begun.corpus, read_metrics(folder)
    figure = render.loss_figure(records, {"null model": begun.null})
    write_bytes(folder / CURVE, render.figure_bytes(figure, ".svg"))
    metadata = config.metadata
    timed = metadata.is_stream or metadata.is_touch
    if not timed and (config.shape.features != 2 or config.shape.inputs):
        return  # nothing else can be drawn unasked
    lines = corpus.indices("valid")
    texts = [str(corpus[lines[i % len(lines)]].text) for i in range(16)] if model.uses_text else None
    drawn = Run(folder, config, model).generate(
        16,
        texts=texts,
        sampling=Sampling(temperature=1.0 if timed else _SAMPLE_TEMPERATURE),
        max_steps=min(config.max_steps, _SAMPLE_STEPS) if timed else None,
    )
    path = folder / SAMPLES / f"step-{records[-1]['step']:06d}.svg"
    (draw_performances if metadata.is_touch else draw)(drawn, range(len(drawn)), path)
