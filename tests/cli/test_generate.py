"""`mdnrnn generate` without a text: pictures, data, completion, reproducibility, and errors."""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from mdnrnn import multiprocess
from mdnrnn.cli import main
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.metadata import Metadata
from mdnrnn.pen_events import DOWN, END
from tests.cli.helpers import FIRST_BYTES, assert_refused, count_paths, limit_file_size

Capture = pytest.CaptureFixture[str]


def generate(run: Path, out: Path, *options: str) -> None:
    """Run the command, which must succeed."""
    assert main(["generate", str(run), "--out", str(out), *options]) == 0


@pytest.mark.parametrize("extension", FIRST_BYTES)
def test_generate_writes_every_format(stroke_run: Path, tmp_path: Path, extension: str, capsys: Capture) -> None:
    out = tmp_path / f"drawings{extension}"
    generate(stroke_run, out, "-n", "2", "--max-steps", "10")
    assert out.read_bytes().startswith(FIRST_BYTES[extension])
    assert capsys.readouterr().out.startswith(f"{out}: 2 drawings, ")
    assert list(tmp_path.iterdir()) == [out]


def test_generated_data_can_be_read_and_drawn(stroke_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "drawings.npz"
    options = ["-n", "5", "--label", "cat", "--seed", "3", "--max-steps", "9"]
    generate(stroke_run, data, *options)
    corpus = pipeline.read(data)
    assert len(corpus) == 5
    assert corpus.label is not None
    assert {corpus.metadata.classes[label] for label in corpus.label} == {"cat"}
    generate(stroke_run, tmp_path / "drawings.ndjson", *options)
    records = [json.loads(line) for line in (tmp_path / "drawings.ndjson").read_text().splitlines()]
    assert [record["word"] for record in records] == ["cat"] * 5
    strokes = corpus.drawing(0)
    assert [len(xs) for xs, _ in records[0]["drawing"]] == [len(stroke) for stroke in strokes]
    np.testing.assert_array_equal(np.diff(records[0]["drawing"][0][0]), np.diff(strokes[0][:, 0]))
    assert main(["data", "draw", str(data), "--split", "test", "--out", str(tmp_path / "x.svg"), "-n", "5"]) == 0
    assert count_paths(tmp_path / "x.svg") == sum(len(corpus.drawing(i)) for i in range(5))


def test_unfinished_drawings_can_be_read_drawn_completed_and_evaluated(stroke_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "short.npz"
    generate(stroke_run, data, "-n", "8", "--max-steps", "1")
    assert (pipeline.read(data).event != END).any()
    assert main(["data", "info", str(data)]) == 0
    assert main(["data", "draw", str(data), "--split", "test", "--out", str(tmp_path / "x.svg")]) == 0
    generate(stroke_run, tmp_path / "y.svg", "--prefix", str(data), "--max-steps", "9")
    assert main(["evaluate", str(stroke_run), "--data", str(data)]) == 0


def test_same_seed_generates_the_same_file(stroke_run: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        generate(stroke_run, tmp_path / f"{name}.svg", "-n", "3", "--max-steps", "20", "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.svg").read_bytes() for name in "abc")
    assert a == b != c


def test_drawings_do_not_depend_on_the_number_of_workers(
    stroke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads replace the worker processes, which the tests of `mdnrnn.generation` start."""
    pools = []

    def start_threads(workers: int, *_: object) -> ThreadPoolExecutor:
        pools.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(multiprocess, "ProcessPoolExecutor", start_threads)
    for workers in ("1", "2"):
        options = ["-n", "5", "--seed", "1", "--max-steps", "20", "--workers", workers]
        generate(stroke_run, tmp_path / f"{workers}.npz", *options)
    assert pools == [2]
    one, two = (pipeline.read(tmp_path / f"{workers}.npz") for workers in "12")
    np.testing.assert_array_equal(one.motion, two.motion)
    np.testing.assert_array_equal(one.event, two.event)


def test_completions_start_with_the_prefix_and_differ(stroke_run: Path, tmp_path: Path) -> None:
    data, out = stroke_run.parent / "data.npz", tmp_path / "completed.npz"
    options = ["--prefix", str(data), "--prefix-index", "2", "--prefix-points", "6", "-n", "4", "--label", "cat"]
    generate(stroke_run, out, *options)
    corpus, source = pipeline.read(out), pipeline.read(data)
    for i in range(4):
        np.testing.assert_array_equal(corpus[i].motion[:6], source[2].motion[:6])
        assert len(corpus[i].event) > 6
    assert len({corpus[i].motion.tobytes() for i in range(4)}) == 4


def test_whole_drawing_as_prefix_is_continued_after_a_lifted_pen(stroke_run: Path, tmp_path: Path) -> None:
    data, out = stroke_run.parent / "data.npz", tmp_path / "x.npz"
    generate(stroke_run, out, "--prefix", str(data), "-n", "1")
    corpus, length = pipeline.read(out), len(pipeline.read(data)[0].event)
    assert corpus[0].event[length - 1] != END
    assert len(corpus[0].event) > length


def test_number_of_strokes_is_within_the_limits(stroke_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawings.npz"
    options = ["--min-strokes", "2", "--max-strokes", "3", "--event-temperature", "0.8", "--max-steps", "2000"]
    generate(stroke_run, out, "-n", "20", *options)
    corpus = pipeline.read(out)
    strokes = [int((corpus[i].event != DOWN).sum()) for i in range(20)]
    assert set(strokes) == {2, 3}
    assert all(corpus[i].event[-1] == END for i in range(20))


@pytest.mark.parametrize("option", ["--top-k 1", "--top-p 0.5", "--event-top-k 1", "--event-top-p 0.5"])
def test_truncation_changes_the_drawings(option: str, stroke_run: Path, tmp_path: Path) -> None:
    plain, truncated = tmp_path / "plain.npz", tmp_path / "truncated.npz"
    generate(stroke_run, plain, "--max-steps", "20")
    generate(stroke_run, truncated, "--max-steps", "20", *option.split())
    one, other = pipeline.read(plain), pipeline.read(truncated)
    assert not np.array_equal(one.motion, other.motion)


MISTAKES = {
    "unknown extension": ("--out x.bmp", "received extension '.bmp', expected one of .svg"),
    "no extension": ("--out -", "received extension ''"),
    "no such folder": ("--out nosuch/x.svg", "the folder nosuch does not exist"),
    "animated PNG": ("--out x.png --animate", "received extension '.png' to animate"),
    "unknown label": ("--out x.svg --label unicorn", "unknown label 'unicorn'; expected one of butterfly"),
    "no workers": ("--out x.svg --workers 0", "workers: received 0, expected 1 or more"),
    "negative temperature": ("--out x.svg --temperature -0.5", "temperature: received -0.5, expected a number >= 0"),
    "NaN as temperature": ("--out x.svg --temperature nan", "temperature: received nan, expected a number >= 0"),
    "top-p": ("--out x.svg --top-p 1.5", "top_p: received 1.5, expected a number above 0 and at most 1"),
    "empty range of strokes": (
        "--out x.svg --min-strokes 3 --max-strokes 2",
        "min_strokes: received 3, expected at most",
    ),
    "stopping rule": ("--out x.svg --stop rule", "Unrecognized options: --stop"),
    "no drawings": ("--out x.svg -n 0", "-n: received 0, expected 1 or more"),
    "no steps": ("--out x.svg --max-steps 0", "max_steps: received 0, expected a whole number >= 1"),
    "negative seed": ("--out x.svg --seed -1", "seed: received -1, expected a whole number >= 0"),
    "no such prefix": ("--out x.svg --prefix nosuch.npz", "nosuch.npz: no such file"),
    "prefix index out of range": ("--out x.svg --prefix DATA --prefix-index 10000", "received 10000, expected 0 to"),
    "prefix with other features": ("--out x.svg --prefix three.npz", "3 features"),
    "option that needs a text": ("--out x.svg --level", "received --level without a text; pass --text"),
    "text for a model without texts": ("--out x.svg --text a", "expected a text-conditional model"),
}


@pytest.mark.parametrize(("line", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    line: str, message: str, stroke_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sequence = Sequence(np.ones((4, 3), np.int16), np.array([0, 0, 0, END]))
    native.write(pack(Metadata(name="three"), {"train": [sequence]}), tmp_path / "three.npz")
    data = str(stroke_run.parent / "data.npz")
    words = [data if word == "DATA" else word for word in line.split()]
    assert_refused(["generate", str(stroke_run), *words], message, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["three.npz"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_reported(stroke_run: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["generate", str(stroke_run), "--out", str(tmp_path / "x.svg"), "--device", "cuda"]
    assert_refused(arguments, "CUDA is not available (no GPU, or a CPU build of torch); use --device cpu", capsys)
    assert not list(tmp_path.iterdir())


def replace_in_file(old: str, new: str) -> Callable[[Path], object]:
    """Return a function that replaces a text in a file."""
    return lambda path: path.write_text(path.read_text().replace(old, new))


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no weights": ("model.safetensors", Path.unlink, "model.safetensors is missing"),
    "truncated weights": ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:5000]), "is damaged"),
    "no config": ("config.json", Path.unlink, "config.json is missing"),
    "config that is not JSON": ("config.json", lambda path: path.write_text("{"), "config.json is damaged"),
    "empty config": ("config.json", lambda path: path.write_text("{}"), "config.json is damaged"),
    "unknown option in the config": ("config.json", replace_in_file('"hidden"', '"width"'), "config.json is damaged"),
    "unknown kind of model": ("config.json", replace_in_file('"mdnrnn"', '"vae"'), "kind 'vae'"),
    "other model size": ("config.json", replace_in_file('"hidden": 32', '"hidden": 16'), "another model"),
}


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_run_is_reported(
    name: str, damage: Callable[[Path], object], message: str, stroke_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "damaged"
    run.mkdir()
    for file in ("config.json", "model.safetensors"):
        (run / file).write_bytes((stroke_run / file).read_bytes())
    damage(run / name)
    assert_refused(["generate", str(run), "--out", str(tmp_path / "x.svg")], message, capsys)
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
def test_full_disk_is_reported_and_leaves_no_partial_file(
    stroke_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with limit_file_size(500):
        assert_refused(["generate", str(stroke_run), "--out", "x.npz", "-n", "20"], "cannot write x.npz", capsys)
    assert not list(tmp_path.iterdir())
