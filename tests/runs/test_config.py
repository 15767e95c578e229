"""config.json: types and ranges of all fields are checked, and nothing is allocated for a model that does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mdnrnn
from mdnrnn.errors import InputError
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.nn.lstm import LSTM
from mdnrnn.runs.config import CONFIG_FILE, RunConfig
from mdnrnn.runs.config_fields import from_fields
from mdnrnn.runs.presets import KINDS
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import make_controls, make_episodes, make_run, make_touches, random_corpus

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
CORPORA = [random_corpus([3, 4], classes=("a", "b")), make_touches(), make_controls(), make_episodes()]


@pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.metadata.name)
def test_config_is_restored_exactly(corpus: mdnrnn.Corpus) -> None:
    config = make_run(corpus).config
    assert RunConfig.decode(config.encode()) == config


def edit(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "kanji") -> Path:
    """Copy a bundled model and change its config."""
    shutil.copytree(CHECKPOINTS / name, folder / "run")
    path = folder / "run" / CONFIG_FILE
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder / "run"


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "text": (lambda c: c["model"].update(hidden="512"), "model.hidden: received '512', expected a whole number"),
    "boolean": (lambda c: c["model"].update(layers=True), "model.layers: received True, expected a whole number"),
    "float": (lambda c: c["model"].update(hidden=512.0), "model.hidden: received 512.0, expected a whole number"),
    "list": (lambda c: c.update(training=[1]), "training: received a list with 1 item, expected an object"),
    "NaN": (lambda c: c["model"].update(dropout=float("nan")), "model.dropout: received nan, expected a finite number"),
    "choice": (
        lambda c: c["training"].update(precision="int8"),
        "training.precision: received 'int8', expected one of",
    ),
    "device": (lambda c: c["training"].update(device="tpu"), "device: received 'tpu', expected one of auto, cpu"),
    "unknown field": (lambda c: c["shape"].update(more=1), "shape: received the unknown field 'more'"),
    "missing field": (lambda c: c.pop("max_steps"), "config: the field max_steps is missing"),
    "layers": (lambda c: c["model"].update(layers=10**6), "model.layers: received 1000000, expected at most 100"),
    "large number": (lambda c: c["model"].update(hidden=10**99), "model.hidden: received a larger number than 2"),
    "surrogate": (lambda c: c.update(data="\ud800"), "config.data: received .*, expected a text without surrogates"),
    "classes": (lambda c: c["shape"].update(classes=3), "shape.classes: received 3, expected 0"),
    "features": (lambda c: c["normalizer"].update(mean=[0.0], scale=[1.0]), "shape.features: received 2, expected 1"),
    "scale": (
        lambda c: c["normalizer"].update(scale=[1e300, 1.0]),
        r"normalizer.scale\[0\]: received 1e\+300, expected 1e-30 to 1e\+30",
    ),
    "position": (lambda c: c["model"].update(position=1e300), r"model.position: received 1e\+300, expected a number"),
    "letters": (lambda c: c["shape"].update(alphabet="aba"), "shape.alphabet: received a character twice"),
    "steps": (lambda c: c.update(max_steps=10**12), r"max_steps: received 1e\+12, expected 1 to 1e\+08"),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_invalid_config_is_rejected_with_the_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(InputError, match=rf"config.json is damaged \({reason}"):
        mdnrnn.load(edit(tmp_path, change))


@pytest.mark.parametrize("content", [b"[" * 10**5, b"{" * 10, b"9" * 5000, b"\xff", b"[" + b"[]," * 10**6 + b"[]]"])
def test_config_that_is_not_a_small_json_object_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"config.json is damaged"):
        mdnrnn.load(tmp_path)
    (tmp_path / CONFIG_FILE).write_bytes(bytes(5 << 20))
    with pytest.raises(InputError, match="has 5242880 bytes, expected at most 4194304"):
        mdnrnn.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kanji", lambda c: c["model"].update(hidden=10**6)),
        ("kanji", lambda c: c["model"].update(layers=100)),
        ("doodles", lambda c: c["model"].update(encoder=10**6)),
        ("handwriting", lambda c: c["shape"].update(alphabet="".join(map(chr, range(32, 50_000))))),
        ("handwriting", lambda c: c["model"].update(window=10**8)),
    ],
    ids=["hidden", "layers", "encoder", "alphabet", "window"],
)
def test_sizes_are_compared_with_the_weights_before_the_model_is_built(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: Any, shape: Any, config: Any) -> Any:
        assert torch.empty(0).device.type == "meta", "memory is allocated"
        return build(kind, shape, config)

    build = type(KINDS["mdnrnn"]).build
    monkeypatch.setattr(type(KINDS["mdnrnn"]), "build", refuse)
    with pytest.raises(InputError, match=r"model.safetensors is damaged or belongs to another model"):
        mdnrnn.load(edit(tmp_path, change, name))


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("mdnrnn", MDNRNNConfig(hidden=6, layers=2, components=2, skip=True)),
        ("sketchrnn", SketchRNNConfig(encoder=4, hidden=6, latent=3, components=2, cell="layer-norm")),
        ("handwriting", HandwritingConfig(hidden=6, window=2, components=2)),
    ],
)
def test_weights_without_values_have_the_shapes_of_the_model(kind: str, model: Any) -> None:
    config = make_run(CORPORA[0]).config
    fields = json.loads(config.encode())
    fields["shape"]["alphabet"] = "abc"
    fields.update(kind=kind, model={})
    config = RunConfig.from_dict(fields)
    object.__setattr__(config, "model", model)
    state = torch.get_rng_state()
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in config.build().state_dict().items()}
    weights = config.weights_without_values()
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()} == expected
    assert {tensor.device.type for tensor in weights.values()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), state)


def test_fields_of_all_presets_are_valid() -> None:
    for preset in mdnrnn.PRESETS.values():
        for value, name in ((preset.model, "model"), (preset.training, "training")):
            fields = json.loads(json.dumps(vars(value)))
            assert from_fields(type(value), fields, name) == value


def test_switch_of_older_runs_is_accepted_as_a_factor() -> None:
    assert from_fields(MDNRNNConfig, {"position": True}, "model") == MDNRNNConfig(position=1.0)
    assert from_fields(SequenceTrainConfig, {"minutes": 1}, "training") == SequenceTrainConfig(minutes=1.0)


def test_number_of_layers_is_limited() -> None:
    for kind in KINDS.values():
        with pytest.raises(InputError, match=r"model.layers: received 101, expected"):
            kind.config(layers=101)
    assert len(LSTM(2, 2, 3).layers) == 3
