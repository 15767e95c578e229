"""The command that trains a run: parsing it gives the model options and the training options of the run."""

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdnrnn
from mdnrnn import cli
from mdnrnn.runs import train as runs_train
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.presets import PRESETS, Preset, find_preset
from mdnrnn.runs.training_command import training_command
from tests.helpers import make_run, random_corpus

CONFIG = make_run(random_corpus([3])).config
CHANGES: dict[str, Any] = {
    "hidden": 48, "layers": 2, "dropout": 0.25, "scale_floor": 1e-05, "skip": True, "position": 0.5,
    "cell": "layer-norm", "components": 7, "kl_weight": 0.0, "covariance": "per-dimension", "encoder": 32, "latent": 0,
    "window": 3, "batch_size": 7, "learning_rate": 1e-05, "warmup": 0, "patience": 3, "seed": 4, "device": "cuda:1",
    "precision": "float32", "augment_scale": 0.0, "augment_drop": 0.0, "carry": False, "minutes": 2.0,
    "weight_decay": 0.0,
}  # fmt: skip
"""Values that fields of any config can have. `by_points` and the window of a training need other options, too."""


def make_config(preset: Preset, data: str, **changes: Any) -> RunConfig:
    """Return the config of a run of a preset, in which some fields of the model and of the training are changed."""
    config = replace(CONFIG, kind=preset.kind, data=data, model=preset.model, training=preset.training)
    for part in ("model", "training"):
        names = {field.name for field in fields(getattr(config, part))}
        values = {name: value for name, value in changes.items() if name in names}
        if part == "model" and preset.kind != "mdnrnn":
            values.pop("position", None)
        if part == "training":
            values.pop("window", None)
        config = replace(config, **{part: replace(getattr(config, part), **values)})
    return config


def parse_command(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a command in which training is replaced by a function that records its arguments."""
    received: dict[str, Any] = {}

    class Stop(Exception):
        pass

    def record(preset: Preset, data: str, out: Path, **options: Any) -> None:
        received.update(kind=preset.kind, data=data, out=str(out), **options)
        raise Stop

    monkeypatch.setattr(runs_train, "train", record)
    with pytest.raises(Stop):
        cli.main(shlex.split(command)[1:])
    return received


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PRESETS)
def test_command_has_the_options_of_the_run(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without changes and with half of all changes, chosen at random."""
    random = np.random.default_rng(seed)
    changes = {} if seed == 0 else {key: value for key, value in CHANGES.items() if random.random() < 0.5}
    config = make_config(PRESETS[name], "/data/my drawings", **changes)
    command = training_command(config, "run")
    assert command is not None
    received = parse_command(command, monkeypatch)
    assert received["kind"] == config.kind
    assert (received["data"], received["out"]) == ("/data/my drawings", "run")
    assert received["model"] == config.model
    assert received["training"] == config.training


@pytest.mark.parametrize("name", PRESETS)
def test_unchanged_preset_needs_no_options(name: str) -> None:
    config = make_config(PRESETS[name], "doodles")
    assert training_command(config, "run") == f"mdnrnn train {name} --data doodles --out run"


def test_command_of_a_bundled_run_is_the_one_of_its_card() -> None:
    for name in ("doodles", "kanji", "handwriting"):
        run = mdnrnn.load(name)
        command = training_command(run.config, name)
        assert command is not None
        assert f"`{command}`" in (run.folder / "README.md").read_text()


def test_factor_that_is_stored_as_true_or_false_is_a_number() -> None:
    """In configs of older runs, the option `position`, which is a factor now, is true or false."""
    config = make_config(find_preset("stroke"), "doodles", position=False)
    assert training_command(config, "run") == "mdnrnn train stroke --data doodles --out run --model.position 0"


def test_data_in_memory_and_unknown_kinds_have_no_command() -> None:
    assert training_command(make_config(find_preset("stroke"), "random"), "run") is None
    assert training_command(replace(make_config(find_preset("stroke"), "doodles"), kind="mine"), "run") is None
