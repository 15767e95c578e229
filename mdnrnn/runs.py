"""Run folders: all there is to know of a training, from its first step to the drawings that its model makes."""

from __future__ import annotations

import json
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdnrnn import render
from mdnrnn.data.batches import Batches
from mdnrnn.data.catalog import is_name, open_corpus
from mdnrnn.data.corpus import Corpus, Facts, Normalizer, Sequence, pack
from mdnrnn.data.recipe import Recipe
from mdnrnn.device import choose_device
from mdnrnn.distributions import END, UP, Step
from mdnrnn.errors import InputError
from mdnrnn.evaluation import Likelihood, evaluate, null_nats
from mdnrnn.files import is_leftover, make_folder, write_bytes, write_json
from mdnrnn.generation import Sampling, generate
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.presets import KINDS, Preset
from mdnrnn.training.checkpoint import load_weights
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.loop import LAST, WEIGHTS, Result, fit
from mdnrnn.training.metrics import METRICS, read_metrics
from mdnrnn.version import VERSION

CONFIG, CURVE, SAMPLES = "config.json", "loss.svg", "samples"
_SAMPLE_TEMPERATURE = 0.4


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What config.json holds: enough to build the model again, and to find its data."""

    kind: str
    shape: StepShape
    model: Any
    """The config of the kind's model."""
    normalizer: Normalizer
    facts: Facts
    """Of the corpus."""
    data: str
    """What the corpus was opened as: a catalog name or an absolute path."""
    fingerprint: str
    training: SequenceTrainConfig
    max_steps: int
    """The longest sequence of the corpus: longer ones are not drawn."""
    version: str = VERSION

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """From a run folder."""
        path = folder / CONFIG
        if not path.is_file():
            raise InputError(f"{path} is missing; expected a run folder, as mdnrnn train makes it")
        try:
            fields = json.loads(path.read_bytes())
            if fields["kind"] not in KINDS:
                raise InputError(
                    f"{path}: the run is of kind {fields['kind']!r}; this version knows {', '.join(KINDS)}"
                )
            parts: dict[str, Any] = {
                "shape": StepShape,
                "model": KINDS[fields["kind"]].config,
                "normalizer": Normalizer,
                "facts": Facts,
                "training": SequenceTrainConfig,
            }
            return cls(**{name: parts[name](**value) if name in parts else value for name, value in fields.items()})
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); expected what mdnrnn train wrote") from error

    def build(self) -> SequenceModel:
        """A new model of this run's kind and size, started from the training's seed."""
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # nobody else's numbers change
            torch.manual_seed(self.training.seed)
            try:
                return KINDS[self.kind].build(self.shape, self.model)
            except (RuntimeError, MemoryError, TypeError) as error:
                raise InputError(f"{self.model} cannot be built on this machine; choose smaller sizes") from error


@dataclass(frozen=True)
class Run:
    """A trained model with what belongs to it."""

    folder: Path
    config: RunConfig
    model: SequenceModel

    def open_data(self, data: str | None = None, recipe: Recipe | None = None) -> Corpus:
        """The corpus that it was trained on, or another of the same make; all of it is checked."""
        corpus = open_corpus(data if data is not None else self.config.data, recipe)
        corpus.check()
        shape = StepShape.of(corpus)
        if (shape.features, shape.inputs) != (self.config.shape.features, self.config.shape.inputs):
            raise InputError(
                f"{corpus.facts.name} has {shape.features} features and {shape.inputs} inputs a step; "
                f"the run expects {self.config.shape.features} and {self.config.shape.inputs}"
            )
        if corpus.facts.start != self.config.facts.start:
            raise InputError(
                f"{corpus.facts.name} starts {corpus.facts.start!r}; the run expects {self.config.facts.start!r}"
            )
        return corpus

    def evaluate(self, split: str = "test", data: str | None = None) -> Likelihood:
        """The exact likelihood of a split."""
        corpus = self.open_data(data)
        if self.config.shape.classes:
            corpus = self._relabelled(corpus)
        return evaluate(self.model, Batches(corpus, split, self.config.normalizer))

    def _relabelled(self, corpus: Corpus) -> Corpus:
        """With the run's own numbers for its classes, which it must know all of."""
        known, names = self.config.facts.classes, corpus.facts.classes
        other = [name for name in names if name not in known]
        if corpus.label is None or other:
            found = f"classes that the run does not know: {', '.join(other[:5])}" if other else "no classes"
            raise InputError(f"{corpus.facts.name} has {found}; expected some of {', '.join(known)}")
        numbers = np.array([known.index(name) for name in names], np.int32)
        return replace(corpus, facts=replace(corpus.facts, classes=known), label=numbers[corpus.label])

    def generate(
        self,
        n: int,
        *,
        labels: Items[str] | None = None,
        prefix: Sequence | None = None,
        inputs: np.ndarray | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        max_steps: int | None = None,
    ) -> Corpus:
        """n drawings as a corpus, raw units.

        Args:
            labels: class names, one for all or one each; by default the prefix's, or all classes in turn.
            prefix: an unfinished drawing that all of them complete; an END in it counts as a lifted pen.
            inputs: what is known before each step, (n, T, A), for a model that takes them.
            max_steps: of new steps, by default as many as the longest training sequence has.
        """
        numbers = self._labels(n, labels, None if prefix is None else prefix.label)
        normalizer, facts = self.config.normalizer, self.config.facts
        cell = normalizer.cell(facts.quantum)
        drawn = generate(
            self.model,
            n,
            Condition(
                None if numbers is None else torch.tensor(numbers),
                None if inputs is None else torch.from_numpy(np.asarray(inputs, dtype=np.float32)),
            ),
            None if prefix is None else self._prefix(prefix),
            sampling=sampling,
            seed=seed,
            max_steps=self.config.max_steps if max_steps is None else max_steps,
            cell=None if cell is None else torch.from_numpy(cell),
        )
        sequences = [
            Sequence(self._raw(motion), event, None if numbers is None else numbers[i])
            for i, (motion, event) in enumerate(drawn)
        ]
        source = f"generated by a run on {facts.name}, seed {seed}"
        return pack(
            Facts(**{**asdict(facts), "name": f"{facts.name} (generated)", "source": source}),
            {"test": sequences},
        )

    def _raw(self, motion: np.ndarray) -> np.ndarray:
        raw, quantum = self.config.normalizer.restore(motion), self.config.facts.quantum
        return raw if quantum is None else np.rint(raw / quantum) * quantum

    def _labels(self, n: int, names: Items[str] | None, default: int | None) -> list[int] | None:
        facts, classes = self.config.facts, self.config.shape.classes
        if names is not None:
            if not classes:
                raise InputError(f"labels {', '.join(names)} were asked for; the run has none; leave them out")
            if len(names) not in (1, n):
                raise InputError(f"{len(names)} labels were asked for {n} drawings; expected one, or one each")
            numbers = [facts.label(name) for name in names]
            return numbers * n if len(numbers) == 1 else numbers
        if not classes:
            return None
        return [i % classes if default is None else default for i in range(n)]

    def _prefix(self, prefix: Sequence) -> Step:
        if prefix.motion.shape[-1] != self.config.shape.features:
            raise InputError(
                f"the prefix has {prefix.motion.shape[-1]} features a step; "
                f"the run expects {self.config.shape.features}"
            )
        event = np.where(np.asarray(prefix.event) == END, UP, prefix.event).astype(np.int64)
        return Step(torch.from_numpy(self.config.normalizer.normalise(prefix.motion)), torch.from_numpy(event))


def load(folder: Path | str, device: torch.device | str = "cpu") -> Run:
    """A run's best weights in its model, ready to draw."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder; expected one that mdnrnn train made")
    config = RunConfig.read(folder)
    model = config.build()
    load_weights(folder / WEIGHTS, model)
    return Run(folder, config, model.to(device).eval())


def read_prefix(run: Run, data: str, index: int = 0, points: int | None = None) -> Sequence:
    """Drawing `index` of some data, its first `points` steps, for `run` to complete; its label where both know it."""
    corpus = run.open_data(data, Recipe(split="1,0,0"))  # in the order of the file
    if not 0 <= index < len(corpus):
        raise InputError(f"prefix {index} was asked for; {data} has drawings 0 to {len(corpus) - 1}")
    if points is not None and points < 1:
        raise InputError(f"{points} points of the prefix were asked for; expected 1 or more")
    prefix, known = corpus[index], run.config.facts.classes
    name = None if prefix.label is None else corpus.facts.classes[prefix.label]
    label = known.index(name) if name is not None and name in known else None
    return Sequence(prefix.motion[:points], prefix.event[:points], label)


def train(
    preset: Preset, data: str, folder: Path | str, *, model: Any = None, training: SequenceTrainConfig | None = None
) -> Result:
    """A new run in `folder`: of a preset, with another model config or another training where they are given."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(not is_leftover(path) for path in folder.iterdir())):
        raise InputError(f"{folder} is there already; choose another folder, or go on with --resume {folder}")
    training = training or preset.training
    choose_device(training.device)
    corpus = open_corpus(data)
    corpus.check()
    config = RunConfig(
        kind=preset.kind,
        shape=StepShape.of(corpus),
        model=model or preset.model,
        normalizer=Normalizer.of_strokes(corpus),
        facts=corpus.facts,
        data=data if is_name(data) else str(Path(data).resolve()),
        fingerprint=corpus.fingerprint,
        training=training,
        max_steps=int(corpus.lengths.max()),
    )
    network, null = config.build(), _null_nats_per_point(config, corpus)
    make_folder(folder)
    write_json(folder / CONFIG, asdict(config))
    return _fit(config, corpus, folder, network, null)


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
    null = null_nats(corpus, "valid", config.normalizer) / (rows.stop - rows.start)
    return null if corpus.facts.quantum is not None else null - config.normalizer.log_volume


def _fit(config: RunConfig, corpus: Corpus, folder: Path, model: SequenceModel, null: float) -> Result:
    make_folder(folder / SAMPLES)
    for path in [*folder.iterdir(), *(folder / SAMPLES).iterdir()]:
        if is_leftover(path):
            path.unlink()

    def draw() -> None:
        records = read_metrics(folder)
        figure = render.loss_figure(records, {"null model": null})
        write_bytes(folder / CURVE, render.figure_bytes(figure, ".svg"))
        if config.shape.features == 2 and not config.shape.inputs:  # nothing else can be drawn unasked
            drawn = Run(folder, config, model).generate(16, sampling=Sampling(temperature=_SAMPLE_TEMPERATURE))
            drawings = [drawn.drawing(i) for i in range(len(drawn))]
            render.save(drawings, folder / SAMPLES / f"step-{records[-1]['step']:06d}.svg")

    train_data, valid = config.training.splits(corpus, config.normalizer)
    return fit(model, train_data, valid, folder, config.training, draw)
