"""The bundled runs as ONNX: steps, metadata, and drawings by a program without PyTorch and mdnrnn."""

import ast
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import mdnrnn
from mdnrnn.models.latent import LatentModel
from mdnrnn.runs.bundled import bundled_runs
from tests.export.helpers import (
    OnnxGraph,
    assert_encoder_equal,
    assert_steps_equal,
    generate_steps,
    needs_export,
    random_condition,
)

pytestmark = needs_export
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_generate.py"
TEXT = "Hello, world"


class Exported(NamedTuple):
    """A bundled run and its files."""

    run: mdnrnn.Run
    paths: list[Path]


@pytest.fixture(scope="session", params=list(bundled_runs()))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return each bundled run with its ONNX files."""
    run = mdnrnn.load(request.param)
    return Exported(run, mdnrnn.export_onnx(run, tmp_path_factory.mktemp("export") / "model.onnx"))


def test_graphs_equal_the_model(exported: Exported) -> None:
    model = exported.run.model
    step, initial, *encoder = map(OnnxGraph, exported.paths)
    for batch in (1, 3):
        condition = random_condition(model, batch, TEXT)
        steps = generate_steps(model, condition, batch, 80)
        assert len(steps) > 60
        finished = assert_steps_equal(model, initial, step, condition, steps)
        assert bool(finished) == model.uses_text
        if isinstance(model, LatentModel) and encoder:
            assert_encoder_equal(model, encoder[0], batch)
    assert (len(encoder) == 1) == (model.latent > 0)


def test_metadata_describe_the_data(exported: Exported) -> None:
    config = exported.run.config
    graphs = [OnnxGraph(path) for path in exported.paths]
    assert [graph.metadata["graph"] for graph in graphs] == ["step", "initial", "encoder"][: len(graphs)]
    width = 1 / config.normalizer.scale[0]
    for graph in graphs:
        assert {name: graph.metadata[name] for name in graph.metadata if name not in ("graph", "sampling")} == {
            "version": mdnrnn.__version__,
            "kind": config.kind,
            "name": config.metadata.name,
            "license": config.metadata.license,
            "source": config.metadata.source,
            "features": ["dx", "dy"],
            "units": ["px", "px"],
            "offsets": [0, 1],
            "mean": [0, 0],
            "scale": list(config.normalizer.scale),
            "logs": [],
            "bin_width": 1,
            "bin_widths": pytest.approx([width, width]),
            "first_bin_widths": pytest.approx([width, width]),
            "bounds": None,
            "start": "down",
            "events": 3,
            "event_codes": {"START": -1, "DOWN": 0, "UP": 1, "END": 2},
            "inputs": 0,
            "latent": exported.run.model.latent,
            "context": 0,
            "classes": list(config.metadata.classes),
            "alphabet": config.shape.alphabet,
            "max_steps": config.max_steps,
            "steps_per_character": pytest.approx(1.25 * config.steps_per_character),
            "extra_characters": 4,
        }
        assert "softmax of logits" in graph.metadata["sampling"]


def test_program_without_mdnrnn_draws_the_same(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seed = exported.run, 3
    text = TEXT if run.model.uses_text else ""
    draw: Callable[..., Any] = runpy.run_path(str(EXAMPLE))["draw"]
    sampling = mdnrnn.Sampling(temperature=0.4)
    drawings = run.generate(3, texts=[text] * 3 if text else None, sampling=sampling, seed=seed)
    for index in range(3):
        strokes = draw(str(exported.paths[0]), index, seed, text)
        expected = drawings.drawing(index)
        assert len(strokes) == len(expected) > 1
        for actual, stroke in zip(strokes, expected, strict=True):
            np.testing.assert_array_equal(actual, stroke)
    monkeypatch.setattr(sys, "argv", ["onnx_generate.py", str(exported.paths[0]), str(tmp_path / "a.svg"), text, "3"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    picture = (tmp_path / "a.svg").read_text()
    assert picture.count("M") == len(drawings.drawing(0))
    assert len(re.findall(r"[-\d.]+,[-\d.]+", picture)) == len(np.vstack(drawings.drawing(0)))


def test_example_is_short_and_imports_neither_pytorch_nor_mdnrnn() -> None:
    code = EXAMPLE.read_text()
    nodes = list(ast.walk(ast.parse(code)))
    imports = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imports |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imports == {"json", "math", "sys", "pathlib", "numpy", "onnxruntime"}
    assert code.count("\n") <= 60
