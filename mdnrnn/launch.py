"""New runs, and going on with old ones."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mdnrnn import render
from mdnrnn.data.catalog import is_name, open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.evaluation import null_nats
from mdnrnn.files import is_leftover, make_folder, write_bytes, write_json
from mdnrnn.generation import Sampling
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.handwriting import check_lines
from mdnrnn.presets import KINDS, Preset
from mdnrnn.run_config import CONFIG, RunConfig
from mdnrnn.runs import Run
from mdnrnn.saving import draw, draw_performances
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loop import LAST, Result, fit
from mdnrnn.training.metrics import METRICS, read_metrics

CURVE, SAMPLES = "loss.svg", "samples"
_SAMPLE_TEMPERATURE = 0.4
_SAMPLE_STEPS = 300
"""Of performances and streams: some go on for thousands, or never end."""


def train(
    preset: Preset, data: str, folder: Path | str, *, model: Any = None, training: SequenceTrainConfig | None = None
) -> Result:
    """A new run in `folder`: of a preset, with another model config or another training where they are given."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(not is_leftover(path) for path in folder.iterdir())):
        raise InputError(f"{folder} is there already; choose another folder, or go on with --resume {folder}")
    training = training or preset.training
    choose_device(training.device)
    if training.window and not KINDS[preset.kind].model.carries:
        raise InputError(f"a window of {training.window} steps was asked for; this model learns whole sequences alone")
    corpus = open_corpus(data)
    corpus.check()
    if KINDS[preset.kind].model.writes:
        check_lines(corpus)
    shape = _shape(preset, corpus)
    config = RunConfig(
        kind=preset.kind,
        shape=shape,
        model=model or preset.model,
        normalizer=Normalizer.of(corpus),
        facts=corpus.facts if shape.classes else replace(corpus.facts, classes=()),
        data=data if is_name(data) else str(Path(data).resolve()),
        fingerprint=corpus.fingerprint,
        training=training,
        max_steps=int(corpus.lengths.max()),
        longest_text=int(corpus.characters.max(initial=0)),
        steps_per_character=corpus.steps_per_character,
    )
    network, null = config.build(), _null_nats_per_point(config, corpus)
    make_folder(folder)
    write_json(folder / CONFIG, asdict(config))
    return _fit(config, corpus, folder, network, null)


def _shape(preset: Preset, corpus: Corpus) -> StepShape:
    """Of the steps; a model that writes is told the text, and no class."""
    shape = StepShape.of(corpus)
    return replace(shape, classes=0) if KINDS[preset.kind].model.writes else shape


def resume(folder: Path | str) -> Result:
    """Go on with a run from its last checkpoint, to the end that it would have had."""
    folder = Path(folder)
    config = RunConfig.read(folder)
    corpus = open_corpus(config.data)
    if corpus.fingerprint != config.fingerprint:
        raise InputError(f"{config.data} is not what the run was trained on; put the same data there, or train anew")
    if (folder / METRICS).exists() and not (folder / LAST).exists():
        raise InputError(f"{folder / LAST} is missing; it holds what a resume needs; train anew in another folder")
    return _fit(config, corpus, folder, config.build(), _null_nats_per_point(config, corpus))


def _null_nats_per_point(config: RunConfig, corpus: Corpus) -> float:
    """Of the valid split, in the units of the training's own loss."""
    rows = corpus.rows("valid")
    return null_nats(corpus, "valid", config.normalizer, raw=False) / (rows.stop - rows.start)


def _fit(config: RunConfig, corpus: Corpus, folder: Path, model: SequenceModel, null: float) -> Result:
    make_folder(folder / SAMPLES)
    for path in [*folder.iterdir(), *(folder / SAMPLES).iterdir()]:
        if is_leftover(path):
            path.unlink()

    valid_lines = corpus.indices("valid")
    texts = [str(corpus[valid_lines[i % len(valid_lines)]].text) for i in range(16)] if model.writes else None

    def picture() -> None:
        records = read_metrics(folder)
        figure = render.loss_figure(records, {"null model": null})
        write_bytes(folder / CURVE, render.figure_bytes(figure, ".svg"))
        facts = config.facts
        timed = facts.stream or facts.touches
        if timed or (config.shape.features == 2 and not config.shape.inputs):  # nothing else can be drawn unasked
            drawn = Run(folder, config, model).generate(
                16,
                texts=texts,
                sampling=Sampling(temperature=1.0 if timed else _SAMPLE_TEMPERATURE),
                max_steps=min(config.max_steps, _SAMPLE_STEPS) if timed else None,
            )
            path = folder / SAMPLES / f"step-{records[-1]['step']:06d}.svg"
            (draw_performances if facts.touches else draw)(drawn, range(len(drawn)), path)

    train_data, valid = config.training.splits(corpus, config.normalizer)
    return fit(model, train_data, valid, folder, config.training, picture)
