"""Exported graphs compute what the model computes, for every kind of model; files are complete; errors."""

import logging
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch.distributions import Categorical, Distribution

from mdnrnn.distributions import Step, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.export import files
from mdnrnn.export.files import export_onnx, export_pt2
from mdnrnn.models.latent import LatentModel
from tests.export.helpers import (
    MODELS,
    AttentionModel,
    Cache,
    OnnxGraph,
    Pt2Graph,
    assert_encoder_equal,
    assert_steps_equal,
    make_model,
    needs_export,
    random_condition,
    random_steps,
)  # fmt: skip

pytestmark = needs_export
ROOT = Path(__file__).parents[2]
GROWING = "another model with a growing state and a stopping rule"


def check_export(kind: str, folder: Path, suffix: str) -> list[Path]:
    """Export a model, compare its graphs with the model at batch sizes 1 and 3, and return the files."""
    model = make_model(kind)
    export = export_onnx if suffix == "onnx" else export_pt2
    paths = export(model, folder / f"model.{suffix}")
    has_encoder = isinstance(model, LatentModel) and model.latent > 0
    names = ["model", "model.initial", "model.encoder"][: 3 if has_encoder else 2]
    assert [path.name for path in paths] == [f"{name}.{suffix}" for name in names]
    assert set(folder.iterdir()) == set(paths)
    assert not any(str(part).encode() in path.read_bytes() for path in paths for part in (ROOT, "/site-packages/"))
    step, initial, *encoder = [OnnxGraph(path) if suffix == "onnx" else Pt2Graph(path) for path in paths]
    for batch in (1, 3):
        condition = random_condition(model, batch, "ab cad")
        assert_steps_equal(model, initial, step, condition, random_steps(model, batch, 20))
        if isinstance(model, LatentModel) and encoder:
            assert_encoder_equal(model, encoder[0], batch)
    return paths


SIZES: dict[str, dict[str, list[int | str]]] = {
    "handwriting": {
        "text": ["B", "U"], "state.core.text.characters": ["U + 1", "B", 6], "finished": ["B"],
        "next_state.core.text.characters": ["U + 1", "B", 6], "state.core.above.hidden": [2, "B", 16],
    },
    "Sketch-RNN, layer norm, inputs, two classes": {"label": ["B", 2], "lengths": ["B"], "log_scale": ["B", 4]},
    "transformer with a span of 6 steps": {"state.core.keys": [2, "T", "B", 16], "state.core.time": [1, "B", 1]},
    GROWING: {"batch_size": [], "motion": ["B", 2], "state.keys": ["T", "B", 4]},
}  # fmt: skip
"""Sizes of inputs and outputs, with the names of variable sizes."""


@pytest.mark.parametrize("kind", MODELS)
def test_onnx_graphs_equal_the_model(kind: str, tmp_path: Path) -> None:
    sizes: dict[str, list[int | str]] = {}  # of the first graph with an input or output of this name
    for path in check_export(kind, tmp_path, "onnx"):
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
        for value in (*proto.graph.input, *proto.graph.output):
            dims = value.type.tensor_type.shape.dim
            sizes.setdefault(value.name, [dim.dim_param or dim.dim_value for dim in dims])
    expected = SIZES.get(kind, {})
    assert {name: sizes[name] for name in expected} == expected


@pytest.mark.parametrize("kind", [GROWING, *(pytest.param(kind, marks=pytest.mark.slow) for kind in MODELS)])
def test_pt2_graphs_equal_the_model(kind: str, tmp_path: Path) -> None:
    check_export(kind, tmp_path, "pt2")


@pytest.fixture
def _fast_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write "new" instead of the graphs, which takes less time."""
    monkeypatch.setattr(files, "encode_onnx", lambda *_: b"new")


@pytest.mark.usefixtures("_fast_encoding")
def test_export_changes_neither_the_model_nor_global_settings(tmp_path: Path) -> None:
    model = make_model(GROWING).train()
    before = Distribution._validate_args, logging.root.manager.disable
    export_onnx(model, tmp_path / "model.onnx")
    assert (Distribution._validate_args, logging.root.manager.disable) == before
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.usefixtures("_fast_encoding")
def test_files_of_another_model_are_replaced(tmp_path: Path) -> None:
    old = [tmp_path / f"model{name}.onnx" for name in ("", ".initial", ".encoder")]
    for path in old:
        path.write_text("old")
    paths = export_onnx(make_model(GROWING), tmp_path / "model.onnx")
    assert set(tmp_path.iterdir()) == set(paths) == set(old[:2])
    assert all(path.read_bytes() == b"new" for path in paths)


class FirstStepModel(AttentionModel):
    """Begins without keys."""

    def initial_state(self, batch_size: int, condition: object = None) -> Cache:
        return super().initial_state(batch_size)._replace(keys=None)  # type: ignore[arg-type]

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        keys = state.values if state.keys is None else state.keys
        return super().step(previous, Cache(keys, state.values))


class CategoricalModel(AttentionModel):
    """Predicts a categorical distribution of the motion."""

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        steps, state = super().step(previous, state)
        return StepDistribution(Categorical(logits=previous.motion), steps.event_logits), state  # type: ignore[arg-type]


class BranchingModel(AttentionModel):
    """Branches on a value."""

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        return super().step(previous._replace(event=previous.event) if previous.motion.sum() > 0 else previous, state)


class BesselModel(AttentionModel):
    """Computes a function that ONNX lacks."""

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        return super().step(previous._replace(motion=torch.special.bessel_j0(previous.motion)), state)


class ShorteningModel(AttentionModel):
    """Branches on the number of steps."""

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        return super().step(previous, Cache(state.keys[1:], state.values[1:]) if state.keys.shape[0] > 3 else state)


class FirstDifferentModel(AttentionModel):
    """Treats the first step in another way."""

    def step(self, previous: Step, state: Cache) -> tuple[StepDistribution, Cache]:
        return super().step(previous if state.keys.shape[0] else previous._replace(motion=previous.motion + 1), state)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (FirstStepModel, "received None for state.keys, expected a tensor; begin with an empty tensor"),
        (
            CategoricalModel,
            "received motions with the distribution Categorical, expected GaussianMixture or PerD",
        ),
        (BranchingModel, "received a model whose graph 'step' torch.export cannot trace: Could not guard"),
        (BesselModel, "received a model that cannot be converted to ONNX: .*"),
        (ShorteningModel, "whose graph 'step' torch.export cannot trace for all sizes; do not branch on the size"),
        (FirstDifferentModel, "whose graph 'step' torch.export cannot trace for all sizes"),
    ],
    ids=["None in the state", "distribution", "branch on a value", "no operator", "branch on a size", "branch on 0"],
)
def test_models_that_cannot_be_exported_are_errors(model: type[AttentionModel], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export_onnx(model(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_no_file_is_written_if_a_graph_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_text("old")
    calls = iter([b"new"])

    def encode(*_: object) -> bytes:
        try:
            return next(calls)
        except StopIteration:
            raise InputError("second graph") from None

    monkeypatch.setattr(files, "encode_onnx", encode)
    with pytest.raises(InputError, match="second graph"):
        export_onnx(make_model(GROWING), tmp_path / "model.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_package_is_an_error(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"the package {package} is missing; .*pip install mdnrnn\[onnx\]"):
        export_onnx(AttentionModel(), tmp_path / "model.onnx")


def test_pt2_files_do_not_contain_unused_weights(tmp_path: Path) -> None:
    model = make_model(GROWING)
    model.register_buffer("unused", torch.zeros(10**5))
    assert all(path.stat().st_size < 10**5 for path in export_pt2(model, tmp_path / "model.pt2"))


def test_old_pytorch_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.7.1"))
    with pytest.raises(InputError, match=r"received PyTorch 2\.7\.1, expected 2\.8 or newer"):
        export_onnx(AttentionModel(), tmp_path / "model.onnx")
