"""Fine-tuning: initial predictions, classes and characters mapped by name, exact resumption, and errors."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mdnrnn
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError, InputWarning
from mdnrnn.models.base import Condition
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.runs.config import CONFIG_FILE, RunConfig
from mdnrnn.runs.description import describe_run, format_description
from mdnrnn.runs.fine_tuning import Source, _choose_normalizer, initial_weights
from mdnrnn.runs.fine_tuning_options import LEARNING_RATE_FACTOR, fine_tuning_preset
from mdnrnn.runs.run import Run
from mdnrnn.runs.train import _prepare_new
from mdnrnn.runs.training_command import training_command
from mdnrnn.training.callbacks import Callback
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import make_controls, make_touches, random_corpus

TRAINING = SequenceTrainConfig(steps=4, batch_size=4, validations=2, precision="float32", warmup=0)
LENGTHS = [5, 9, 4, 7, 6, 8]
ALPHABET = "abe"
SOURCES: dict[str, tuple[str, Any]] = {
    "MDN-RNN": ("stroke", MDNRNNConfig(hidden=8, layers=2, components=2, skip=True)),
    "Sketch-RNN": ("sketch", SketchRNNConfig(encoder=6, hidden=8, latent=3, components=2)),
    "layer norm": ("sketch", SketchRNNConfig(encoder=6, hidden=8, latent=3, components=2, cell="layer-norm")),
    "handwriting": ("handwriting", HandwritingConfig(hidden=8, components=2, window=2)),
}  # fmt: skip


def make_lines(texts: list[str], seed: int = 0) -> Corpus:
    """Make lines of random strokes with the given texts; the same lines in every split."""
    corpus = random_corpus([6] * len(texts), seed=seed)
    sequences = [corpus[i]._replace(text=text) for i, text in enumerate(texts)]
    return mdnrnn.pack(corpus.metadata, dict.fromkeys(("train", "valid", "test"), sequences))


def make_corpus(name: str, classes: tuple[str, ...] = ("a", "b", "c"), seed: int = 0) -> Corpus:
    if name == "handwriting":
        return make_lines(["ab", "be", "eab", "aa"], seed)
    return random_corpus(LENGTHS, classes=classes, seed=seed)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that trains a run of a kind of model, or finds the run that it has trained before."""
    folder = tmp_path_factory.mktemp("sources")

    def train(name: str) -> Path:
        if not (folder / name).exists():
            preset, model = SOURCES[name]
            mdnrnn.train(preset, make_corpus(name), folder / name, model=model, training=TRAINING)
        return folder / name

    return train


def prepare(source: Path | str, corpus: Corpus, folder: Path) -> Run:
    """Return a fine-tuned run before its first training step."""
    read = Source.read(source)
    preset = fine_tuning_preset(read.config)
    config = _prepare_new(preset, corpus, folder, preset.model, preset.training, read).config
    model = config.build()
    model.load_state_dict(initial_weights(config, model))
    return Run(folder, config, model.eval())


def predict(run: Run, corpus: Corpus, label: list[float] | None = None) -> torch.Tensor:
    """Return the log probabilities of the steps of a corpus, given class weights or the labels of the corpus."""
    batch = Batches(corpus, "test", run.config.normalizer).batch(np.arange(len(corpus.indices("test"))))
    if label is not None:
        batch = replace(batch, label=torch.tensor([label]).expand(batch.size, -1))
    torch.manual_seed(0)  # the same samples of z
    with torch.no_grad():
        motion, event = run.model(batch).nll(batch.target, batch.bin_width)
    return motion + event


@pytest.mark.parametrize("name", SOURCES)
def test_weights_before_the_first_step_predict_the_same_as_the_source(
    name: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    """For known classes in another order and for known characters in a larger alphabet."""
    old = mdnrnn.load(sources(name))
    if name == "handwriting":
        corpus = make_corpus(name)
        new = prepare(sources(name), make_lines(["aéb", "E#"], seed=1), tmp_path)
        assert new.config.shape.alphabet == "#Eabeé"
        predictions = [predict(run, corpus) for run in (old, new)]
    else:
        corpus = make_corpus(name)
        new = prepare(sources(name), make_corpus(name, ("c", "new", "a")), tmp_path)
        assert new.config.metadata.classes == ("c", "new", "a")
        predictions = [predict(old, corpus, [0.0, 0.0, 1.0]), predict(new, corpus, [1.0, 0.0, 0.0])]
        torch.testing.assert_close(*predictions)
        predictions = [predict(old, corpus, [1.0, 0.0, 0.0]), predict(new, corpus, [0.0, 0.0, 1.0])]
    torch.testing.assert_close(*predictions)


def test_new_class_is_the_mean_of_the_known_classes(sources: Callable[[str], Path], tmp_path: Path) -> None:
    old, corpus = mdnrnn.load(sources("MDN-RNN")), make_corpus("MDN-RNN")
    new = prepare(sources("MDN-RNN"), make_corpus("MDN-RNN", ("c", "new", "a")), tmp_path)
    torch.testing.assert_close(predict(old, corpus, [1 / 3] * 3), predict(new, corpus, [0.0, 1.0, 0.0]))


def test_new_character_starts_like_its_letter(sources: Callable[[str], Path], tmp_path: Path) -> None:
    """é like e; E, which the source does not know, like e; # like the mean of all known characters."""
    new = prepare(sources("handwriting"), make_lines(["éE#"]), tmp_path)
    alphabet, weights = new.config.shape.alphabet, new.model.state_dict()
    for name, first in new.model.character_columns().items():
        columns = {letter: weights[name][:, first + i] for i, letter in enumerate(alphabet)}
        for letter in "éE":
            assert torch.equal(columns[letter], columns["e"])
        torch.testing.assert_close(columns["#"], torch.stack([columns[each] for each in ALPHABET]).mean(0))


def test_text_of_the_new_and_the_old_alphabet_can_be_written(sources: Callable[[str], Path], tmp_path: Path) -> None:
    new = prepare(sources("handwriting"), make_lines(["éE#"]), tmp_path)
    state = new.model.initial_state(1, Condition(text=torch.tensor([[ord(letter) for letter in "abeé#"]])))
    assert state.core.text.characters.shape[-1] == len("#Eabeé") + 1


def test_data_without_classes_get_one_class(sources: Callable[[str], Path], tmp_path: Path) -> None:
    """The class has the name of the corpus; evaluation and generation need no label."""
    corpus = random_corpus(LENGTHS, seed=1)
    mdnrnn.train(None, corpus, tmp_path / "run", training=TRAINING, init=sources("Sketch-RNN"))
    run = mdnrnn.load(tmp_path / "run")
    assert run.config.metadata.classes == ("random",)
    assert run.config.shape.label_features == 3  # as in the source, which has three classes
    assert np.isfinite(run.evaluate("test", corpus).nll_per_sequence)
    assert run.generate(2, max_steps=3).metadata.classes == ("random",)
    assert run.encode(corpus, "test").shape == (len(LENGTHS), 3)
    assert mdnrnn.resume(tmp_path / "run", corpus, steps=6).progress.step == 6


def test_classes_are_ignored_if_the_source_has_none(tmp_path: Path) -> None:
    source, run = tmp_path / "source", tmp_path / "run"
    mdnrnn.train("stroke", random_corpus(LENGTHS), source, model=SOURCES["MDN-RNN"][1], training=TRAINING)
    corpus = random_corpus(LENGTHS, classes=("a", "b"), seed=1)
    with pytest.warns(InputWarning, match="random: received 2 classes, which are ignored, because the run source has"):
        mdnrnn.train(None, corpus, run, training=TRAINING, init=source)
    config = RunConfig.read(run)
    assert (config.shape.classes, config.metadata.classes) == (0, ())
    assert np.isfinite(mdnrnn.load(run).evaluate("test", corpus).nll_per_sequence)


@pytest.mark.parametrize(
    ("ratio", "shift", "keeps"),
    [(1, 0, True), (0.3, 0, True), (1.2, 1.9, True), (0.2, 0, False), (1.5, 0, False), (1, 2.1, False)],
)  # fmt: skip
def test_units_of_the_source_are_kept_unless_the_new_data_have_other_units(
    ratio: float, shift: float, keeps: bool
) -> None:
    old = Normalizer((3.0, 0.0), (2.0, 5.0))
    for feature in range(2):
        mean, scale = np.array(old.mean), np.array(old.scale)
        mean[feature] += shift * scale[feature]
        scale[feature] *= ratio
        new = Normalizer(tuple(mean), tuple(scale))
        assert _choose_normalizer(old, new) == (old if keeps else new)


def test_config_records_the_source_and_the_options_are_those_of_its_preset(
    sources: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = sources("Sketch-RNN")
    corpus = make_corpus("Sketch-RNN", seed=1)
    corpus = replace(corpus, metadata=replace(corpus.metadata, license="CC0"))
    new = prepare(folder, corpus, tmp_path / "run").config
    sketch = mdnrnn.PRESETS["sketch"]
    assert new.training == replace(sketch.training, learning_rate=LEARNING_RATE_FACTOR * sketch.training.learning_rate)
    assert new.model == replace(SOURCES["Sketch-RNN"][1], kl_start=1.0)
    assert new.init is not None
    assert (new.init.run, new.init.license) == (str(folder), "unknown")
    assert RunConfig.read(tmp_path / "run") == new
    description = describe_run(tmp_path / "run")
    assert format_description(description)["from"] == f"{folder} (license of its data: unknown)"
    twice = prepare_from_run(tmp_path / "run", corpus, tmp_path)
    assert twice.init is not None
    assert twice.init.license == "CC0; unknown"


def prepare_from_run(folder: Path, corpus: Corpus, parent: Path) -> RunConfig:
    """Return the config of a run that starts from a prepared run, to whose folder weights are added."""
    config = RunConfig.read(folder)
    save_file(config.build().state_dict(), folder / WEIGHTS_FILE)
    return prepare(folder, corpus, parent / "twice").config


def test_command_of_a_fine_tuned_run(sources: Callable[[str], Path], tmp_path: Path) -> None:
    config = prepare(sources("MDN-RNN"), make_corpus("MDN-RNN"), tmp_path / "run").config
    config = replace(config, data="/data", training=replace(config.training, steps=7, learning_rate=0.01))
    expected = "mdnrnn train --from {} --data /data --out run --steps 7 --learning-rate 0.01"
    assert training_command(config, "run") == expected.format(sources("MDN-RNN"))
    assert config.init is not None
    lost = replace(config, init=replace(config.init, run="/nosuch"))
    assert training_command(lost, "run") == expected.format("/nosuch")


class Stop(Callback):
    """Raises SIGTERM after step 2."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, *_: Any) -> None:
        self.steps += 1
        if self.steps == 2:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("name", ["Sketch-RNN", "handwriting"])
def test_interrupted_fine_tuning_resumes_exactly(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    """Stopped after two steps, or killed before the first checkpoint."""
    corpus = make_corpus(name, ("c", "new"), seed=1)
    whole, stopped, killed = (tmp_path / each for each in ("whole", "stopped", "killed"))
    mdnrnn.train(None, corpus, whole, training=TRAINING, init=sources(name))
    assert mdnrnn.train(None, corpus, stopped, training=TRAINING, init=sources(name), callbacks=[Stop()]).interrupted
    killed.mkdir()
    shutil.copy(whole / CONFIG_FILE, killed)
    for folder in (stopped, killed):
        assert mdnrnn.resume(folder, corpus).progress.finished
        weights = [load_file(each / WEIGHTS_FILE) for each in (whole, folder)]
        assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())


def test_changed_source_is_an_error_before_the_first_step_and_does_not_matter_later(
    sources: Callable[[str], Path], tmp_path: Path
) -> None:
    source, run, corpus = tmp_path / "source", tmp_path / "run", make_corpus("MDN-RNN", seed=1)
    shutil.copytree(sources("MDN-RNN"), source)
    mdnrnn.train(None, corpus, run, training=TRAINING, init=source)
    weights = load_file(source / WEIGHTS_FILE)
    weights["label.weight"] += 1
    save_file(weights, source / WEIGHTS_FILE)
    assert mdnrnn.resume(run, corpus, steps=5).progress.step == 5
    for name in (CHECKPOINT_FILE, WEIGHTS_FILE, "metrics.jsonl"):
        (run / name).unlink()
    with pytest.raises(InputError, match="source: the weights have changed since the training started"):
        mdnrnn.resume(run, corpus)
    shutil.rmtree(source)
    with pytest.raises(InputError, match="source: no such run folder"):
        mdnrnn.resume(run, corpus)


def test_fine_tuning_needs_fewer_steps(tmp_path: Path) -> None:
    """After three steps on 30 doodles of one class, the NLL is far below that of a model from scratch."""
    doodles = mdnrnn.open_corpus("doodles")
    cats = [doodles[i]._replace(label=None) for i in range(len(doodles)) if doodles[i].label == 2][:60]
    metadata = replace(doodles.metadata, name="cats", classes=())
    corpus = mdnrnn.pack(metadata, {"train": cats[:30], "valid": cats[30:40], "test": cats[40:]})
    results = {}
    for name, preset, init in (("scratch", "sketch-small", None), ("tuned", None, "doodles")):
        mdnrnn.train(preset, corpus, tmp_path / name, training=replace(TRAINING, steps=3), init=init)
        results[name] = mdnrnn.load(tmp_path / name).evaluate("test", corpus).nll_per_point
    assert results["tuned"] < results["scratch"] - 2


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no preset": ("MDN-RNN", {"init": None}, "preset: received none, expected one of stroke"),
    "other kind": ("MDN-RNN", {"preset": "sketch"}, "received sketchrnn .*expected the model of the run, mdnrnn"),
    "other sizes": ("MDN-RNN", {"preset": "stroke"}, r"received mdnrnn \(.*hidden 512.*hidden 8.*omit the preset"),
    "model option": (
        "MDN-RNN", {"model": replace(SOURCES["MDN-RNN"][1], position=0.5)}, "position: received 0.5, expected 1.0 as",
    ),
    "model kind": ("MDN-RNN", {"model": SketchRNNConfig()}, "model: received SketchRNNConfig, expected MDNRNNConfig"),
    "no latent": (
        "Sketch-RNN", {"model": replace(SOURCES["Sketch-RNN"][1], kl_weight=0)}, "kl_weight: received 0, expected 1.0",
    ),
    "features": ("MDN-RNN", {"data": make_controls()}, "received steps with features 4, expected 2 as in"),
    "inputs": ("MDN-RNN", {"data": random_corpus(LENGTHS, inputs=2)}, "received steps with inputs 2, expected 0"),
    "times": ("MDN-RNN", {"data": make_touches()}, "touches: received steps with features 3, expected 2"),
    "start": (
        "MDN-RNN",
        {"data": replace(random_corpus(LENGTHS), metadata=replace(random_corpus([3]).metadata, start="up"))},
        "received steps with start pen up, expected pen down",
    ),
    "texts": ("handwriting", {"data": random_corpus(LENGTHS)}, "have no text"),
    "missing source": ("MDN-RNN", {"init": "nosuch"}, "nosuch: no such run folder"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_errors_and_write_nothing(
    name: str, changes: dict[str, Any], message: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    arguments = {"preset": None, "data": make_corpus(name), "init": sources(name), "training": TRAINING, **changes}
    with pytest.raises(InputError, match=message):
        mdnrnn.train(out=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        ("doodles", "init: received 'doodles', expected an object"),
        ({}, "init: the field run is missing"),
        ({"run": 3, "fingerprint": "", "license": ""}, "init.run: received 3, expected a text"),
    ],
)
def test_invalid_source_in_a_config_is_rejected(
    init: Any, reason: str, sources: Callable[[str], Path], tmp_path: Path
) -> None:
    fields = json.loads((sources("MDN-RNN") / CONFIG_FILE).read_text())
    with pytest.raises(InputError, match=reason):
        RunConfig.from_dict({**fields, "init": init})
    with pytest.raises(InputError, match=r"shape\.label_width: received 0 for 3 classes, expected 1 or more"):
        RunConfig.from_dict({**fields, "shape": {**fields["shape"], "label_width": 0}})
