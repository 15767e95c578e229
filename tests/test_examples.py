"""The examples: they ask for public names alone, say how to run them, and end in a picture and the right numbers."""

import ast
import importlib.util
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import ThreadingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient
from scipy import stats

from mdnrnn.data.formats import WRITERS
from mdnrnn.data.synthetic.corpora import make_doodles
from tests.helpers import controls, run_of

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
"""Nats a point, in the order in which an example prints its own; infinite where nothing was published."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_run(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring is not None
    assert f"\n    python examples/{path.name} [" in docstring


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_asks_for_public_names_that_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = [
        (node.module, name.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    ours = [(module, name) for module, name in imported if module and module.split(".")[0] == "mdnrnn"]
    assert ours or "import mdnrnn" in path.read_text()
    for module, name in ours:
        assert not any(part.startswith("_") for part in (*module.split("."), name)), f"{module}.{name} is private"
        assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")
    private = [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr.startswith("_")]
    assert not private


def test_the_mixture_of_the_slide_has_the_moments_and_quantiles_of_its_closed_forms(tmp_path: Path) -> None:
    printed = _run("mixture", tmp_path)
    assert (tmp_path / "mixture.png").read_bytes().startswith(PNG)  # named after the script, in the current folder
    mean, variance, low, high = _numbers(r"mean (\S+),.*variance (\S+),.*90% interval (\S+) to (\S+)", printed)
    assert mean == 0
    assert variance == 0.5 * (2**2 + 3**2) + 5**2
    for end, probability in ((low, 0.05), (high, 0.95)):
        reached = 0.5 * stats.norm.cdf(end, -5, 2) + 0.5 * stats.norm.cdf(end, 5, 3)
        assert reached == pytest.approx(probability, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_an_example_beats_what_was_published_and_leaves_its_picture(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    printed = _run(name, tmp_path, str(picture))
    assert picture.read_bytes().startswith(PNG)
    assert list(tmp_path.iterdir()) == [picture]
    found = re.findall(r"held out (\S+) nats a point, floor (-?\d+\.\d+)", printed)
    for (held_out, floor), published in zip(found, PUBLISHED[name], strict=True):
        # Seeds are fixed; the mean of 50,000 fresh points has a standard error of 0.005 at most.
        assert float(floor) - 0.03 < float(held_out) < min(published, float(floor) + 0.1)


def test_every_example_of_a_tutorial_is_run() -> None:
    own_tests = {
        "strokes", "own_drawings", "sketch_interpolation", "class_conditional", "kanji", "handwriting", "world_model",
        "osc_bridge",
    }  # fmt: skip
    assert {path.stem for path in EXAMPLES} - own_tests == set(PUBLISHED)


def test_a_folder_of_svg_files_becomes_a_model_and_its_drawings(tmp_path: Path) -> None:
    WRITERS["svg"](make_doodles(per_class=20, seed=3), tmp_path / "pictures")
    printed = _run("own_drawings", tmp_path, "pictures", "0.1")
    kept, read, classes = _numbers(r"(\d+) of (\d+) drawings kept, \d+ points, (\d+) classes", printed)
    assert (kept, read, classes) == (240, 240, 12)
    nats, null = _numbers(r"(\S+) nats a drawing; the null model: (\S+)", printed)
    assert nats < null
    assert (tmp_path / "own-drawings.svg").read_text().count("<path") >= 36


def test_a_hundred_kanji_come_to_an_end(tmp_path: Path) -> None:
    printed = _run("kanji", tmp_path)
    finished, strokes = _numbers(r"(\d+) of 100 came to an end by themselves, with (\S+) strokes each", printed)
    assert finished >= 95
    assert 4 < strokes < 20  # those of the data have 12.9
    assert (tmp_path / "kanji.svg").read_text().count("<path") >= 100


def test_a_sentence_is_written_in_two_hands_to_its_end(tmp_path: Path) -> None:
    finished, lines = _numbers(r"(\d+) of (\d+) lines came to an end by themselves", _run("handwriting", tmp_path))
    assert finished == lines == 2
    colors = re.findall(r"stroke=\"(#\w+)\"", (tmp_path / "handwriting.svg").read_text())
    assert len(set(colors)) >= 8
    assert (tmp_path / "handwriting-window.png").read_bytes().startswith(PNG)


def test_what_is_asked_for_is_what_is_drawn(tmp_path: Path) -> None:
    """As far as a classifier sees that knows nearly all real doodles; seeds fixed."""
    printed = _run("class_conditional", tmp_path)
    real, drawn = (float(share) for share in re.findall(r"(\S+)% recognized", printed))
    assert real > 95
    assert drawn >= 80
    assert len(re.findall(r"^\w+: \d+ of 10$", printed, re.MULTILINE)) == 12
    assert (tmp_path / "class-conditional.svg").exists()


def test_a_latent_space_is_reconstructed_interpolated_and_mapped(tmp_path: Path) -> None:
    printed = _run("sketch_interpolation", tmp_path, "doodles", "0.05")
    drawings, first, second = _numbers(r"(\d+) drawings; (\d+)% and (\d+)% of the variance", printed)
    assert drawings == 300
    assert first >= second > 0
    for name in ("reconstructed.svg", "interpolated.svg", "interpolated.gif", "combined.svg", "map.svg"):
        assert (tmp_path / "runs" / name).stat().st_size > 1000


@pytest.mark.slow
def test_a_controller_bred_in_dreams_keeps_the_real_pole_up_longer_than_a_random_policy(tmp_path: Path) -> None:
    """Seeds fixed, but what is learned in a time depends on the machine: three times as long, on 100 episodes each."""
    printed = _run("world_model", tmp_path)
    bred, random = _numbers(r"outside the dream: (\S+) steps, a random policy (\S+), over 100 episodes each", printed)
    assert bred > 3 * random
    assert (tmp_path / "cart-pole.png").read_bytes().startswith(PNG)


def test_what_is_played_over_osc_is_followed_and_after_a_silence_answered() -> None:
    spec = importlib.util.spec_from_file_location("osc_bridge", ROOT / "examples" / "osc_bridge.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    heard: list[tuple[float, ...]] = []
    dispatcher = Dispatcher()
    dispatcher.map("/prediction", lambda address, *values: heard.append(values))
    with ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher) as ear:
        threading.Thread(target=ear.serve_forever, daemon=True).start()
        bridge = example.Bridge(run_of(controls()), 0, ear.server_address[1])
        playing = threading.Thread(target=bridge.run)
        playing.start()
        mouth = SimpleUDPClient("127.0.0.1", bridge.server.server_address[1])
        for _ in range(5):
            mouth.send_message("/interface", [0.5, 0.25, 0.75])
            time.sleep(0.05)
        mouth.send_message("/interface", [0.5])  # of another size: told of, and passed over
        mouth.close()
        time.sleep(0.3)
        followed = len(heard)
        deadline = time.monotonic() + 20
        while len(heard) < followed + 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        bridge.over.set()
        playing.join()
        ear.shutdown()
    assert followed == 5
    assert len(heard) >= 8
    assert all(len(values) == 3 and 0 <= min(values) <= max(values) <= 1 for values in heard)


def _run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints, run in a folder of its own."""
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def _numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, f"no {pattern} in {text}"
    return [float(number) for number in found.groups()]
