"""Description of runs: values agree with the model, the data and the training log."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import mdnrnn
from mdnrnn.errors import InputError
from mdnrnn.models.configs import MDNRNNConfig
from mdnrnn.runs.description import describe_run, format_description
from mdnrnn.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.metrics import METRICS_FILE
from tests.helpers import random_corpus

CORPUS = random_corpus([5, 9, 4, 7], classes=("a", "b"))
TRAINING = SequenceTrainConfig(steps=4, batch_size=2, validations=2, seed=3)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("described") / "run"
    mdnrnn.train("stroke", CORPUS, folder, model=MDNRNNConfig(hidden=8, components=2), training=TRAINING)
    return folder


def test_description_of_a_run_in_memory(run_folder: Path) -> None:
    description, run = describe_run(run_folder), mdnrnn.load(run_folder)
    assert (description.name, description.kind, description.model_class) == ("run", "mdnrnn", "MDNRNN")
    assert description.parameters == sum(parameter.numel() for parameter in run.model.parameters())
    expected = {"core": "lstm", "hidden": 8, "layers": 1, "components": 2, "covariance": "diagonal"}
    assert description.sizes == expected
    assert (description.classes, description.events, description.features) == (["a", "b"], 3, ["dx", "dy"])
    assert (description.data, description.command, description.card) == ("random", None, None)
    assert format_description(description)["command"] == "none: the corpus 'random' was passed in memory"


def test_training_and_validation_are_those_of_the_log(run_folder: Path, tmp_path: Path) -> None:
    records = [json.loads(line) for line in (run_folder / METRICS_FILE).read_text().splitlines()]
    losses = [record["valid_loss"] for record in records if "valid_loss" in record]
    description = describe_run(run_folder)
    assert (description.steps, description.points) == (4, records[-1]["points"])
    assert description.minutes == pytest.approx(records[-1]["seconds"] / 60)
    assert description.valid_nll_per_point == min(losses)
    assert sum(description.valid_terms.values()) == pytest.approx(min(losses))
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / METRICS_FILE).unlink()
    (tmp_path / "run" / CHECKPOINT_FILE).unlink()
    (tmp_path / "run" / WEIGHTS_FILE).unlink()  # the weights are not needed
    fresh = describe_run(tmp_path / "run")
    assert fresh == replace(
        description, folder=str(tmp_path / "run"), steps=None, minutes=None, points=None,
        valid_nll_per_point=None, valid_terms={},
    )  # fmt: skip
    assert format_description(fresh)["training"] == "no records"


@pytest.mark.parametrize("name", ["doodles", "kanji", "handwriting"])
def test_description_of_a_bundled_run(name: str) -> None:
    description, run = describe_run(name), mdnrnn.load(name)
    assert description.parameters == sum(parameter.numel() for parameter in run.model.parameters())
    assert description.license == run.config.metadata.license
    assert description.alphabet == run.config.shape.alphabet
    assert description.command is not None
    assert description.command.startswith(f"mdnrnn train {'' if name != 'kanji' else 'stroke '}")
    assert all(line and "\n" not in line for line in format_description(description).values())


def test_missing_and_damaged_runs_are_errors(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run folder"):
        describe_run(tmp_path / "nosuch")
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config.json is damaged"):
        describe_run(tmp_path / "run")
