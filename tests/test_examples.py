"""Examples use public names only, document their usage, and print correct results."""

import ast
import contextlib
import importlib.util
import io
import math
import queue
import re
import runpy
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import ThreadingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient
from scipy import stats

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.formats import WRITERS
from mdnrnn.data.synthetic.corpora import make_doodles
from mdnrnn.models.configs import MDNRNNConfig, SketchRNNConfig
from mdnrnn.runs.presets import PRESETS
from tests.helpers import make_controls, make_run

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PNG = b"\x89PNG\r\n\x1a\n"
PUBLISHED = {
    "arcsine_lecture": [math.inf],
    "edward_inferpy": [math.inf],
    "ha_sines": [1.93],
    "head_alone": [1.369],
    "keras_mdn_layer": [1.369, 2.956],
    "keras_spirals": [-0.1763, math.inf],
    "mixture": [],
}
"""Published results in nats per point, in the order of an example's output; infinite if none was published."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_docstring_shows_the_usage(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring is not None
    assert f"\n    python examples/{path.name} [" in docstring


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_only_public_names_are_used(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = [
        (node.module, name.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    ours = [(module, name) for module, name in imported if module and module.split(".")[0] == "mdnrnn"]
    assert ours or "import mdnrnn" in path.read_text() or path.stem == "onnx_generate"
    for module, name in ours:
        assert not any(part.startswith("_") for part in (*module.split("."), name)), f"{module}.{name} is private"
        assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} - {"__init__"}
    assert not [name for name in attributes if name.startswith("_")]


def test_mixture_prints_closed_form_statistics(tmp_path: Path) -> None:
    printed = _run("mixture", tmp_path)
    assert (tmp_path / "mixture.png").read_bytes().startswith(PNG)  # default name, in the current folder
    mean, variance, low, high = _numbers(r"mean (\S+);.*variance (\S+);.*90% interval (\S+) to (\S+)", printed)
    assert mean == 0
    assert variance == 0.5 * (2**2 + 3**2) + 5**2
    for bound, probability in ((low, 0.05), (high, 0.95)):
        cdf = 0.5 * stats.norm.cdf(bound, -5, 2) + 0.5 * stats.norm.cdf(bound, 5, 3)
        assert cdf == pytest.approx(probability, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_example_beats_the_published_result(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    printed = _run(name, tmp_path, str(picture))
    assert picture.read_bytes().startswith(PNG)
    assert list(tmp_path.iterdir()) == [picture]
    found = re.findall(r"held out (\S+) nats per point, floor (-?\d+\.\d+)", printed)
    for (held_out, floor), published in zip(found, PUBLISHED[name], strict=True):
        # Fixed seeds; the mean over 50,000 points has a standard error of at most 0.005.
        assert float(floor) - 0.03 < float(held_out) < min(published, float(floor) + 0.1)


def test_every_example_is_covered() -> None:
    separate_tests = {
        "strokes", "own_drawings", "own_arrays", "own_training_loop", "sketch_interpolation", "class_conditional",
        "kanji", "handwriting", "world_model", "osc_bridge", "own_core", "head_on_transformer", "draw_like_picture",
        "own_stopping_rule", "fine_tuning", "onnx_generate",
    }  # fmt: skip
    assert {path.stem for path in EXAMPLES} - separate_tests == set(PUBLISHED)


def test_own_drawings_trains_on_a_folder_of_svg_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch, "stroke-small", MDNRNNConfig(hidden=64, components=5, dropout=0.0))
    WRITERS["svg"](make_doodles(per_class=20, seed=3), tmp_path / "pictures")
    printed = _run("own_drawings", tmp_path, "pictures", "60")
    kept, read, classes = _numbers(r"(\d+) of (\d+) drawings kept, \d+ points, (\d+) classes", printed)
    assert (kept, read, classes) == (240, 240, 12)
    nll, null = _numbers(r"(\S+) nats per drawing; null model: (\S+)", printed)
    assert nll < null
    assert (tmp_path / "own-drawings.svg").read_text().count("<path") >= 36


@pytest.mark.parametrize("name", ["own_core", "head_on_transformer", "draw_like_picture"])
def test_model_of_an_example_learns_and_draws(name: str, tmp_path: Path) -> None:
    """The NLL before training is above 10.9 nats per point."""
    (nll,) = _numbers(r"(\d+\.\d+) nats per point", _run(name, tmp_path, "30"))
    assert nll < 10.5
    assert (tmp_path / f"{name.replace('_', '-')}.svg").read_text().count("<path") >= 18


def test_own_arrays_trains_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch, "stroke-small", MDNRNNConfig(hidden=64, components=5, dropout=0.0))
    nll, null = _numbers(r"(\S+) nats per point; null model: (\S+)", _run("own_arrays", tmp_path, "60"))
    assert nll < null
    assert (tmp_path / "own-arrays.svg").read_text().count("<path") >= 30


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later
def test_own_training_loop_trains_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus has 20 doodles per class, and the model 32 units."""
    monkeypatch.setattr("mdnrnn.data.catalog.open_corpus", lambda name: make_doodles(per_class=20, seed=3))
    config = MDNRNNConfig(hidden=32, components=5, dropout=0.0)
    monkeypatch.setattr("mdnrnn.models.configs.MDNRNNConfig", lambda **sizes: config)
    printed = _run("own_training_loop", tmp_path, "6")
    losses = [float(loss) for loss in re.findall(r"epoch \d: (\S+) nats per point", printed)]
    held_out, null = _numbers(r"held out (\S+) nats per point; null model (\S+)", printed)
    assert len(losses) == 6
    assert held_out < null
    assert losses[-1] < losses[0] - 1
    assert (tmp_path / "own-training-loop.svg").read_text().count("<path") >= 48


@pytest.mark.parametrize("name", ["own_arrays", "own_training_loop"])
def test_example_is_short(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) <= 60


def test_kanji_end_before_the_step_limit(tmp_path: Path) -> None:
    printed = _run("kanji", tmp_path)
    finished, strokes = _numbers(
        r"(\d+) of 100 drawings ended before the step limit; (\S+) strokes per drawing", printed
    )
    assert finished >= 95
    assert 4 < strokes < 20  # the data have 12.9
    assert (tmp_path / "kanji.svg").read_text().count("<path") >= 100


def test_own_stopping_rules_shorten_drawings(tmp_path: Path) -> None:
    printed = _run("own_stopping_rule", tmp_path)
    plain, closed, framed = (float(points) for points in re.findall(r": (\S+) points per drawing", printed))
    assert closed < plain
    assert framed < plain
    labels = re.findall(r">(no rule|closed outline|frame)<", (tmp_path / "own-stopping-rule.svg").read_text())
    assert labels == ["no rule"] * 12 + ["closed outline"] * 12 + ["frame"] * 12


def test_handwriting_writes_whole_lines_in_two_styles(tmp_path: Path) -> None:
    finished, lines = _numbers(r"(\d+) of (\d+) lines ended before the step limit", _run("handwriting", tmp_path))
    assert finished == lines == 2
    colors = re.findall(r"stroke=\"(#\w+)\"", (tmp_path / "handwriting.svg").read_text())
    assert len(set(colors)) >= 8
    assert (tmp_path / "handwriting-window.png").read_bytes().startswith(PNG)


def test_class_conditional_drawings_are_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed seeds; the classifier recognizes nearly all real doodles.

    It is trained on 270 bundled doodles per class instead of newly generated ones, which take longer.
    """
    doodles = open_corpus("doodles")
    bundled = replace(doodles, splits={**doodles.splits, "train": (0, 12 * 270)})
    monkeypatch.setattr("mdnrnn.data.synthetic.corpora.make_doodles", lambda per_class, seed: bundled)
    printed = _run("class_conditional", tmp_path)
    real, drawn = (float(share) for share in re.findall(r"(\S+)% recognized", printed))
    assert real > 95
    assert drawn >= 80
    assert len(re.findall(r"^\w+: \d+ of 10$", printed, re.MULTILINE)) == 12
    assert (tmp_path / "class-conditional.svg").exists()


def test_sketch_interpolation_writes_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch, "sketch-small", SketchRNNConfig(encoder=16, hidden=32, latent=8, components=5))
    printed = _run("sketch_interpolation", tmp_path, "doodles", "3")
    drawings, first, second = _numbers(
        r"(\d+) drawings; the axes of runs/map.svg explain (\d+)% and (\d+)% of the variance", printed
    )
    assert drawings == 300
    assert first >= second > 0
    for name in ("reconstructed.svg", "interpolated.svg", "interpolated.gif", "combined.svg", "map.svg"):
        assert (tmp_path / "runs" / name).stat().st_size > 1000


def test_fine_tuning_is_better_than_training_from_scratch(tmp_path: Path) -> None:
    """After two steps on 40 cats. Fixed seeds; the difference is about 3 nats per point."""
    printed = _run("fine_tuning", tmp_path, "doodles", "cat", "2")
    scratch, null, tuned = _numbers(r"from-scratch: (\S+) nats; null model: (\S+)\n.*fine-tuned: (\S+) nats", printed)
    assert tuned < null
    assert tuned < scratch - 50
    assert (tmp_path / "fine-tuning.svg").read_text().count("<g>") == 50


@pytest.mark.slow
def test_controller_trained_in_the_world_model_beats_a_random_policy(tmp_path: Path) -> None:
    """Fixed seeds; episodes are at least three times as long, means of 100 episodes."""
    printed = _run("world_model", tmp_path)
    trained, random = _numbers(r"in the environment: (\S+) steps, random policy (\S+), means of 100", printed)
    assert trained > 3 * random
    assert (tmp_path / "cart-pole.png").read_bytes().startswith(PNG)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # as a user runs it: a warning is no exception
def test_osc_bridge_predicts_and_plays_after_a_silence() -> None:
    spec = importlib.util.spec_from_file_location("osc_bridge", ROOT / "examples" / "osc_bridge.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    received: queue.Queue[tuple[float, ...]] = queue.Queue()
    dispatcher = Dispatcher()
    dispatcher.map("/prediction", lambda address, *values: received.put(values))
    with ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bridge = example.Bridge(make_run(make_controls()), 0, server.server_address[1])
        playing = threading.Thread(target=bridge.run)
        playing.start()
        client = SimpleUDPClient("127.0.0.1", bridge.server.server_address[1])
        values = []
        for _ in range(5):  # one prediction per message
            client.send_message("/interface", [0.5, 0.25, 0.75])
            values.append(received.get(timeout=60))
        client.send_message("/interface", [0.5])  # wrong number of values: reported and ignored
        client.send_message("/interface", [3e38, 0.5, 0.5])  # overflows float32: reported and ignored
        client.close()
        values.append(received.get(timeout=60))  # played by the run
        assert bridge.last_step >= bridge.last_message + example.SILENCE  # the silence is not played in a burst
        values += [received.get(timeout=60) for _ in range(2)]
        bridge.stopped.set()
        playing.join()
        server.shutdown()
    assert all(len(each) == 3 and 0 <= min(each) <= max(each) <= 1 for each in values)


def _run(name: str, folder: Path, *arguments: str) -> str:
    """Run an example in a folder and return its output."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [f"{name}.py", *arguments])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    return output.getvalue()


def _shrink(patch: pytest.MonkeyPatch, preset: str, model: MDNRNNConfig | SketchRNNConfig) -> None:
    """Give a preset a small model, a high learning rate and few validations."""
    training = replace(PRESETS[preset].training, batch_size=32, learning_rate=1e-2, validations=2)
    patch.setitem(PRESETS, preset, replace(PRESETS[preset], model=model, training=training))


def _numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, f"no {pattern} in {text}"
    return [float(number) for number in found.groups()]
