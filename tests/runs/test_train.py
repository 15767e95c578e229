"""`train` and `resume`: kinds of data arguments, contents of the run folder, interruption, and errors."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import mdnrnn
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError
from mdnrnn.files.locks import LOCK_FILE, lock_folder
from mdnrnn.models.configs import MDNRNNConfig, SketchRNNConfig
from mdnrnn.runs.config import CONFIG_FILE, RunConfig
from mdnrnn.runs.data import Data, describe_data
from mdnrnn.runs.presets import KINDS, find_preset
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.metrics import METRICS_FILE
from tests.helpers import random_corpus

MODEL = MDNRNNConfig(hidden=8, components=2)
TRAINING = SequenceTrainConfig(steps=4, batch_size=8, validations=2)
CORPUS = random_corpus([5, 9, 4, 7] * 4)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links and flock")


class Stop(Callback):
    """Raises SIGTERM after step 3."""

    def on_step(self, state: TrainingState) -> None:
        if state.step == 3:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that was trained by preset name on a corpus in memory."""
    folder = tmp_path_factory.mktemp("run") / "run"
    mdnrnn.train("stroke", CORPUS, folder, model=MODEL, training=TRAINING)
    return folder


def test_run_folder_has_config_weights_checkpoint_metrics_and_previews(run_folder: Path) -> None:
    files = {CONFIG_FILE, WEIGHTS_FILE, CHECKPOINT_FILE, METRICS_FILE, "loss.svg", "samples"}
    assert {path.name for path in run_folder.iterdir()} == files
    assert [path.name for path in sorted((run_folder / "samples").iterdir())] == ["step-000002.svg", "step-000004.svg"]


def test_config_records_name_and_fingerprint_of_a_corpus_in_memory(run_folder: Path) -> None:
    config = json.loads((run_folder / CONFIG_FILE).read_text())
    assert config["data"] == "random"
    assert config["fingerprint"] == CORPUS.fingerprint
    assert RunConfig.read(run_folder).model == MODEL


def test_corpus_path_and_string_train_the_same_weights(tmp_path: Path) -> None:
    """The same seed trains bit-identical weights; preset and data may be passed as objects or by name."""
    path = tmp_path / "data.npz"
    native.write(CORPUS, path)
    arguments: list[tuple[mdnrnn.Preset | str, Data]] = [
        ("stroke", CORPUS), (mdnrnn.PRESETS["stroke"], path), ("stroke", str(path))
    ]  # fmt: skip
    weights = []
    for number, (preset, data) in enumerate(arguments):
        out = tmp_path / str(number)
        mdnrnn.train(preset, data, out, model=MODEL, training=TRAINING)
        weights.append(load_file(out / WEIGHTS_FILE))
        if number:
            assert RunConfig.read(out).data == str(path.resolve())
    for other in weights[1:]:
        assert all(torch.equal(tensor, weights[0][name]) for name, tensor in other.items())


def test_recorded_data_is_a_catalog_name_an_absolute_path_or_a_corpus_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert describe_data("doodles") == "doodles"
    assert describe_data("file") == describe_data(Path("file")) == str(tmp_path.resolve() / "file")
    assert describe_data(CORPUS) == "random"


def test_unknown_preset_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown preset 'strok'; expected one of stroke, stroke-small, sketch,"):
        mdnrnn.train("strok", CORPUS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folder_that_is_not_empty_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="exists already; choose another folder, or continue with --resume"):
        mdnrnn.train("stroke", CORPUS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_windows_are_rejected_for_a_model_of_whole_sequences(tmp_path: Path) -> None:
    training = replace(TRAINING, window=10, augment_scale=0.0, augment_drop=0.0)
    with pytest.raises(InputError, match="window: received 10, expected 0: this model trains on whole sequences only"):
        mdnrnn.train("sketch", CORPUS, tmp_path / "run", model=SketchRNNConfig(encoder=8, hidden=8), training=training)
    assert not (tmp_path / "run").exists()


def test_model_that_cannot_be_built_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on this machine; choose smaller sizes"):
        mdnrnn.train("stroke", CORPUS, tmp_path / "run", model=MDNRNNConfig(hidden=10**9), training=TRAINING)
    assert not (tmp_path / "run").exists()


def test_resumed_run_has_the_weights_of_an_uninterrupted_run(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    mdnrnn.train("stroke", CORPUS, whole, model=MODEL, training=TRAINING)
    result = mdnrnn.train("stroke", CORPUS, stopped, model=MODEL, training=TRAINING, callbacks=[Stop()])
    assert result.interrupted == signal.SIGTERM
    result = mdnrnn.resume(stopped, CORPUS)
    assert (result.interrupted, result.progress.step) == (None, 4)
    weights = [load_file(folder / WEIGHTS_FILE) for folder in (whole, stopped)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_finished_run_is_extended(tmp_path: Path) -> None:
    """config.json records the new budget, also for later resumptions. A refused budget changes nothing."""
    mdnrnn.train("stroke", CORPUS, tmp_path, model=MODEL, training=TRAINING)
    with pytest.raises(InputError, match=r"received steps 3 \(before: 4\), which leaves no step to train"):
        mdnrnn.resume(tmp_path, CORPUS, steps=3)
    with pytest.raises(InputError, match="received both steps and minutes; expected one of them"):
        mdnrnn.resume(tmp_path, CORPUS, steps=6, minutes=1)
    assert RunConfig.read(tmp_path).training == TRAINING
    result = mdnrnn.resume(tmp_path, CORPUS, steps=7)
    assert (result.progress.step, result.progress.finished) == (7, True)
    assert RunConfig.read(tmp_path).training == replace(TRAINING, steps=7)
    assert mdnrnn.resume(tmp_path, CORPUS).progress.step == 7
    minutes = result.progress.seconds / 60 + 0.01
    progress = mdnrnn.resume(tmp_path, CORPUS, minutes=minutes).progress
    assert progress.step > 7
    assert RunConfig.read(tmp_path).training == replace(TRAINING, steps=None, minutes=minutes)


def test_interrupted_extension_continues_up_to_the_new_budget(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    short = replace(TRAINING, steps=2)
    for folder, callbacks in ((whole, []), (stopped, [Stop()])):
        mdnrnn.train("stroke", CORPUS, folder, model=MODEL, training=short)
        mdnrnn.resume(folder, CORPUS, steps=6, callbacks=callbacks)
    assert mdnrnn.resume(stopped, CORPUS).progress.step == 6
    weights = [load_file(folder / WEIGHTS_FILE) for folder in (whole, stopped)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_resume_needs_the_corpus_that_was_in_memory(run_folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"trained on the corpus 'random', which was passed in memory; pass that corpus"
    ):
        mdnrnn.resume(run_folder)
    with pytest.raises(InputError, match="passed in memory"):
        mdnrnn.load(run_folder).evaluate()
    assert mdnrnn.resume(run_folder, CORPUS).progress.finished


def test_resume_with_other_data_is_rejected(run_folder: Path) -> None:
    with pytest.raises(InputError, match="random differs from the data that the run was trained on"):
        mdnrnn.resume(run_folder, random_corpus([5, 9, 4]))


def test_resume_without_a_checkpoint_is_rejected(tmp_path: Path) -> None:
    mdnrnn.train("stroke", CORPUS, tmp_path / "run", model=MODEL, training=TRAINING)
    (tmp_path / "run" / CHECKPOINT_FILE).unlink()
    with pytest.raises(InputError, match=r"last.pt is missing; a run cannot be resumed without it"):
        mdnrnn.resume(tmp_path / "run", CORPUS)


def test_config_of_an_unknown_kind_is_rejected(run_folder: Path, tmp_path: Path) -> None:
    config = json.loads((run_folder / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**config, "kind": "transformer"}))
    with pytest.raises(InputError, match="received kind 'transformer', expected one of mdnrnn, sketchrnn, handwriting"):
        mdnrnn.load(tmp_path)


@pytest.mark.parametrize("name", mdnrnn.PRESETS)
def test_preset_has_a_description_and_the_config_of_its_kind(name: str) -> None:
    preset = find_preset(name)
    assert preset.description
    assert isinstance(preset.model, KINDS[preset.kind].config)


def test_class_names_that_cannot_be_stored_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name, message in (("\udcff", "expected a text without surrogates"), ("x" * 5_000_000, "fewer or shorter")):
        corpus = random_corpus([5, 9, 4, 7], classes=("a", name))
        with pytest.raises(InputError, match=message):
            mdnrnn.train("stroke", corpus, tmp_path / "run", model=MODEL, training=TRAINING)
        assert not (tmp_path / "run").exists()


@posix_only
def test_second_training_in_a_folder_is_refused_with_the_process(run_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    metrics = (run / METRICS_FILE).read_bytes()
    with lock_folder(run):
        with pytest.raises(InputError, match=rf"run is in use by process {os.getpid()}; wait until it ends"):
            mdnrnn.resume(run, CORPUS)
        assert mdnrnn.load(run).generate(1).event.size  # readers do not need the lock
    assert (run / METRICS_FILE).read_bytes() == metrics
    assert mdnrnn.resume(run, CORPUS).progress.finished


@posix_only
def test_folder_is_locked_during_training(tmp_path: Path) -> None:
    class Resume(Callback):
        def on_step(self, state: TrainingState) -> None:
            with pytest.raises(InputError, match=rf"in use by process {os.getpid()}"):
                mdnrnn.resume(tmp_path / "run", CORPUS)

    mdnrnn.train("stroke", CORPUS, tmp_path / "run", model=MODEL, training=TRAINING, callbacks=[Resume()])
    assert not (tmp_path / "run" / LOCK_FILE).exists()


@posix_only
def test_folder_of_a_training_that_was_killed_at_its_start_counts_as_empty(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / LOCK_FILE).write_text("123\n")
    (run / ".config.json.0123abcd.tmp").write_bytes(b"{")
    mdnrnn.train("stroke", CORPUS, run, model=MODEL, training=TRAINING)
    assert not list(run.glob(".*"))


@posix_only
def test_only_temporary_files_of_the_run_are_deleted(run_folder: Path, tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(run_folder, run)
    outside.write_text("outside")
    kept = [run / name for name in (".notes.txt.0123abcd.tmp", ".draft.tmp", ".last.pt.draft.tmp")]
    for path in kept:
        path.touch()
    kept.append(run / ".loss.svg.0123abcd.tmp")
    kept[-1].symlink_to(outside)
    (run / "samples" / ".mine.svg.0123abcd.tmp").mkdir()
    leftovers = [run / ".last.pt.0123abcd.tmp", run / "samples" / ".step-000002.svg.0123abcd.tmp"]
    for path in leftovers:
        path.touch()
    mdnrnn.resume(run, CORPUS)
    assert sorted(run.glob(".*")) == sorted(kept)
    assert [path.name for path in (run / "samples").glob(".*")] == [".mine.svg.0123abcd.tmp"]
    assert outside.read_text() == "outside"


@posix_only
@pytest.mark.parametrize("name", [METRICS_FILE, "samples"])
def test_links_in_a_run_folder_are_not_followed_for_writing(run_folder: Path, tmp_path: Path, name: str) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(run_folder, run)
    (run / name).rename(outside)
    (run / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in [outside, *outside.glob("*")] if path.is_file()}
    with pytest.raises(InputError, match=rf"{name} is a symbolic link"):
        mdnrnn.resume(run, CORPUS)
    assert {path: path.read_bytes() for path in [outside, *outside.glob("*")] if path.is_file()} == before


def test_resume_of_a_run_with_damaged_weights_is_an_error_before_training(run_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    weights = load_file(run / WEIGHTS_FILE)
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, run / WEIGHTS_FILE)
    with pytest.raises(InputError, match="contains NaN or infinite values"):
        mdnrnn.resume(run, CORPUS)
    with pytest.raises(InputError, match="contains NaN or infinite values"):
        mdnrnn.load(run)


def test_resume_compares_the_config_with_the_checkpoint_before_the_model_is_built(
    run_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    config = json.loads((run / CONFIG_FILE).read_text())
    config["model"]["hidden"] = 10**7
    (run / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"last.pt is damaged or belongs to another model \(decoder"):
        mdnrnn.resume(run, CORPUS)
