"""The commands as a person runs them: what they make, and how they refuse."""

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from defusedxml import ElementTree

from mdnrnn.cli import COMMANDS, main
from mdnrnn.data.corpus import Corpus, Metadata, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.events import END
from tests.cli.helpers import assert_refused, train_run

Capture = pytest.CaptureFixture[str]
GOOD = [np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16)] * 3


def sketchrnn_file(path: Path, **splits: list[np.ndarray]) -> Path:
    arrays = {}
    for name, records in {"train": GOOD, "valid": GOOD, "test": GOOD, **splits}.items():
        array = np.empty(len(records), dtype=object)
        array[:] = records
        arrays[name] = array
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Path:
    """A run of a few steps on labeled doodles."""
    options = ["--steps", "12", "--model.hidden", "32", "--model.components", "4", "--validations", "2"]
    return train_run(tmp_path_factory.mktemp("run"), doodles, "stroke-small", *options)


def paths_in(picture: Path) -> int:
    return len(ElementTree.parse(picture).getroot().findall(".//{http://www.w3.org/2000/svg}path"))


def test_training_leaves_a_whole_run_folder(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {"config.json", "model.safetensors", "last.pt", "metrics.jsonl", "loss.svg", "samples"}
    assert len(list((run / "samples").glob("*.svg"))) == 2
    assert json.loads((run / "config.json").read_text())["shape"]["classes"] == 12


def test_evaluate_prints_json_with_the_model_beside_the_null_model(run: Path, capsys: Capture) -> None:
    assert main(["evaluate", str(run), "--split", "valid", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["measure"] == "cell"
    assert figures["nll_per_sequence"] == pytest.approx(
        figures["nll_per_point"] * figures["points"] / figures["sequences"]
    )
    assert figures["null_nll_per_sequence"] > 0
    assert main(["evaluate", str(run)]) == 0
    assert "null model" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf", ".gif"])
def test_generate_writes_every_kind_of_picture(run: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"drawn{ending}"
    assert main(["generate", str(run), "--out", str(out), "-n", "2", "--max-steps", "10"]) == 0
    start = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF8"}[ending]
    assert out.read_bytes().startswith(start)


def test_generated_data_can_be_read_drawn_and_evaluated(run: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "drawn.npz"
    options = ["-n", "5", "--label", "cat", "--seed", "3", "--max-steps", "9"]
    assert main(["generate", str(run), "--out", str(data), *options]) == 0
    corpus = pipeline.read(data)
    assert len(corpus) == 5
    assert corpus.label is not None
    assert {corpus.metadata.classes[label] for label in corpus.label} == {"cat"}
    assert main(["generate", str(run), "--out", str(tmp_path / "drawn.ndjson"), *options]) == 0
    lines = [json.loads(line) for line in (tmp_path / "drawn.ndjson").read_text().splitlines()]
    assert [line["word"] for line in lines] == ["cat"] * 5
    strokes = corpus.drawing(0)
    assert [len(xs) for xs, _ in lines[0]["drawing"]] == [len(stroke) for stroke in strokes]
    np.testing.assert_array_equal(np.diff(lines[0]["drawing"][0][0]), np.diff(strokes[0][:, 0]))
    capsys.readouterr()
    assert main(["data", "draw", str(data), "--split", "test", "--out", str(tmp_path / "d.svg"), "-n", "5"]) == 0
    assert paths_in(tmp_path / "d.svg") == sum(len(corpus.drawing(i)) for i in range(5))


def test_drawings_cut_short_can_be_read_drawn_completed_and_evaluated(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "short.npz"
    assert main(["generate", str(run), "--out", str(data), "-n", "8", "--max-steps", "1"]) == 0
    corpus = pipeline.read(data)
    assert (corpus.event != END).any()
    assert main(["data", "info", str(data)]) == 0
    assert main(["data", "draw", str(data), "--split", "test", "--out", str(tmp_path / "x.svg")]) == 0
    assert main(["generate", str(run), "--out", str(tmp_path / "y.svg"), "--prefix", str(data)]) == 0
    assert main(["evaluate", str(run), "--data", str(data)]) == 0


def test_the_same_seed_draws_the_same_and_another_differs(run: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["generate", str(run), "--out", str(tmp_path / f"{name}.svg"), "-n", "3", "--seed", seed]) == 0
    a, b, c = ((tmp_path / f"{name}.svg").read_bytes() for name in "abc")
    assert a == b != c


def test_any_number_of_workers_draws_the_same(run: Path, tmp_path: Path) -> None:
    for workers in ("1", "2"):
        options = ["-n", "5", "--seed", "1", "--workers", workers]
        assert main(["generate", str(run), "--out", str(tmp_path / f"{workers}.npz"), *options]) == 0
    one, two = (pipeline.read(tmp_path / f"{workers}.npz") for workers in "12")
    np.testing.assert_array_equal(one.motion, two.motion)
    np.testing.assert_array_equal(one.event, two.event)


def test_a_drawing_is_completed_from_its_beginning(run: Path, tmp_path: Path) -> None:
    data = str(run.parent / "data.npz")
    options = ["--prefix", data, "--prefix-index", "2", "--prefix-points", "6", "-n", "4", "--label", "cat"]
    assert main(["generate", str(run), "--out", str(tmp_path / "done.npz"), *options]) == 0
    corpus, source = pipeline.read(tmp_path / "done.npz"), pipeline.read(Path(data))
    for i in range(4):
        np.testing.assert_array_equal(corpus[i].motion[:6], source[2].motion[:6])
        assert len(corpus[i].event) > 6
    assert len({corpus[i].motion.tobytes() for i in range(4)}) == 4


def test_a_whole_drawing_as_prefix_is_gone_on_from_with_the_pen_lifted(run: Path, tmp_path: Path) -> None:
    data = str(run.parent / "data.npz")
    assert main(["generate", str(run), "--out", str(tmp_path / "x.npz"), "--prefix", data, "-n", "1"]) == 0
    corpus, source = pipeline.read(tmp_path / "x.npz"), pipeline.read(Path(data))
    length = len(source[0].event)
    assert corpus[0].event[length - 1] != END
    assert len(corpus[0].event) > length


def test_import_keeps_a_corpus_and_counts_what_it_left_out(tmp_path: Path, capsys: Capture) -> None:
    source = sketchrnn_file(tmp_path / "x.npz", train=[*GOOD, np.zeros((0, 3), np.int16)])
    assert main(["data", "import", str(source), "--out", str(tmp_path / "corpus"), "--name", "mine"]) == 0
    assert "dropped: 1 empty sequence" in capsys.readouterr().out
    assert main(["data", "info", str(tmp_path / "corpus"), "--json"]) == 0
    metadata = json.loads(capsys.readouterr().out)
    assert metadata["name"] == "mine"
    assert metadata["splits"] == {"train": 3, "valid": 3, "test": 3}
    assert main(["data", "info", str(source)]) == 0
    assert "empty sequence" in capsys.readouterr().out


def test_data_list_names_the_bundled_corpora(capsys: Capture) -> None:
    assert main(["data", "list", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"doodles", "aaron_sheep", "omniglot", "short_kanji", "quickdraw/CATEGORY"} <= set(entries)


def test_help_answers_within_a_second() -> None:
    """The fastest of three: what else the machine does is not ours."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "mdnrnn", "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - started)
    assert all(name in done.stdout for name in COMMANDS)
    assert min(seconds) < 1


@pytest.mark.parametrize(
    "command", [[name] for name in COMMANDS] + [["data", "draw"], ["train", "stroke"]], ids=" ".join
)
def test_every_command_has_help(command: list[str], capsys: Capture) -> None:
    try:
        status = main([*command, "--help"])
    except SystemExit as end:
        status = end.code or 0  # type: ignore[assignment]
    assert status == 0
    assert "usage: mdnrnn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ("head --rows 50 --no-compiled", ("speedup", "speedup_unchecked", "memory_ratio")),
        ("train --hidden 16 --data DATA", ("speedup", "real_fraction")),
        (
            "train --preset sketch-small --hidden 16 --batch-size 4 --data DATA",
            ("speedup", "speedup_scale_tril", "speedup_same_memory", "plain_points_per_second", "parameters"),
        ),
        ("generate --hidden 16 --steps 4", ("batch_256_over_1", "step_over_matvec")),
    ],
    ids=["head", "train", "train a Sketch-RNN", "generate"],
)
def test_benchmarks_print_their_ratios(options: str, keys: tuple[str, ...], run: Path, capsys: Capture) -> None:
    data = str(run.parent / "data.npz")
    arguments = [data if word == "DATA" else word for word in options.split()]
    assert main(["benchmark", *arguments, "--repeats", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert all(figures[key] > 0 for key in keys)


class Attack:
    """Pickles into a call."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def _evil(path: Path) -> Path:
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", member.getvalue() + pickle.dumps(Attack()))
    return path


def _file(content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


def _records(**splits: list[np.ndarray]) -> Callable[[Path], Path]:
    return lambda path: sketchrnn_file(path, **splits)


def _truncated(path: Path) -> Path:
    data = sketchrnn_file(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _wrong_keys(path: Path) -> Path:
    np.savez(path, drawings=np.zeros((3, 3)))
    return path


BAD_DATA: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda path: path, "no such file"),
    "not an npz": (_file(b"hello, world"), "not an .npz file"),
    "truncated": (_truncated, "cut short"),
    "a pickle with a call in it": (_evil, "only NumPy arrays are read"),
    "wrong keys": (_wrong_keys, "none of the keys train, valid, test"),
    "two columns": (_records(train=[np.zeros((3, 2))]), "train[0] has shape (3, 2)"),
    "NaN": (_records(train=[*GOOD, np.array([[np.nan, 0, 1]])]), "train[3] holds NaN"),
    "infinite": (_records(valid=[np.array([[0, 0, 0], [np.inf, 0, 1]])]), "valid[0] holds NaN or infinity in row 1"),
    "pen": (_records(test=[np.array([[0, 0, 3]])]), "test[0] has pen 3"),
    "empty split": (_records(valid=[]), "split 'valid' is empty"),
}


@pytest.mark.parametrize(("make", "complaint"), BAD_DATA.values(), ids=BAD_DATA.keys())
@pytest.mark.parametrize("command", ["train", "info", "evaluate"])
def test_bad_data_is_one_line_and_leaves_nothing(
    make: Callable[[Path], Path],
    complaint: str,
    command: str,
    run: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = str(make(tmp_path / "x.npz"))
    before = {path.name for path in tmp_path.iterdir()}
    arguments = {
        "train": ["train", "stroke", "--data", data, "--out", "new"],
        "info": ["data", "info", data],
        "evaluate": ["evaluate", str(run), "--data", data],
    }[command]
    assert_refused(arguments, complaint, capsys)
    assert {path.name for path in tmp_path.iterdir()} == before


BAD_OPTIONS: dict[str, tuple[str, str]] = {
    "unknown command": ("draw", "unknown command 'draw'; expected one of quickstart"),
    "unknown preset": ("train nosuch --data doodles --out new", "unknown preset 'nosuch'"),
    "unknown option": ("train stroke --data doodles --out new --color red", "Unrecognized options: --color"),
    "no data": ("train stroke --out new", "Missing"),
    "steps that are no number": ("train stroke --data doodles --out new --steps many", "--steps"),
    "no steps": ("train stroke --data doodles --out new --steps 0", "budget is 0"),
    "two budgets": ("train stroke --data doodles --out new --steps 5 --minutes 1", "both steps and minutes"),
    "no units": ("train stroke --data doodles --out new --model.hidden 0", "model.hidden is 0"),
    "an existing folder": ("train stroke --data doodles --out RUN", "is there already"),
    "nothing to resume": ("train --resume nosuch", "config.json is missing"),
    "no such run": ("evaluate nosuch", "no such run folder"),
    "importance below 0": ("evaluate RUN --importance -1", "importance is -1; expected a number of draws, 0 for none"),
    "benchmark of an unknown preset": ("benchmark train --preset nosuch", "unknown preset 'nosuch'"),
    "unknown split": ("evaluate RUN --split training", "split 'training' is not in"),
    "unknown ending": ("generate RUN --out x.bmp", "its ending is '.bmp'; expected one of .svg"),
    "no ending": ("generate RUN --out -", "its ending is ''"),
    "no such place": ("generate RUN --out nosuch/x.svg", "there is no folder nosuch"),
    "unknown label": ("generate RUN --out x.svg --label unicorn", "unknown label 'unicorn'; expected one of butterfly"),
    "no workers": ("generate RUN --out x.svg --workers 0", "0 workers were asked for; expected 1 or more"),
    "temperature below 0": ("generate RUN --out x.svg --temperature -0.5", "temperature is -0.5; expected 0 or more"),
    "temperature not a number": ("generate RUN --out x.svg --temperature nan", "temperature is nan"),
    "no drawings": ("generate RUN --out x.svg -n 0", "-n is 0"),
    "no such prefix": ("generate RUN --out x.svg --prefix nosuch.npz", "nosuch.npz: no such file"),
    "prefix beyond the end": ("generate RUN --out x.svg --prefix DATA --prefix-index 10000", "has drawings 0 to"),
    "prefix of other features": ("generate RUN --out x.svg --prefix THREE", "3 features"),
    "animated png": ("generate RUN --out x.png --animate", "to animate"),
    "import onto a file": ("data import DATA --out DATA", "is there already"),
    "draw into data": ("data draw DATA --out x.npz", "its ending is '.npz'; expected one of .svg, .png, .pdf, .gif"),
    "quickstart of no minutes": ("quickstart --out new --minutes 0", "budget is 0"),
    "draw a negative number": ("data draw DATA --out x.svg -n -1", "-n -1"),
    "no steps to draw": ("generate RUN --out x.svg --max-steps 0", "sequences of 0 steps"),
    "no repeats": ("benchmark generate --repeats 0", "0 repeats"),
    "a model too large": ("train stroke --data doodles --out new --model.hidden 3000000", "choose smaller sizes"),
    "seed below 0": ("generate RUN --out x.svg --seed -1", "seed is -1"),
    "draw beyond the end": ("data draw DATA --out x.svg --first 100000", "no drawing from 100000 on"),
}


@pytest.mark.parametrize(("line", "complaint"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_bad_options_are_one_line_and_leave_nothing(
    line: str, complaint: str, run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    motion = np.ones((4, 3), np.int16)
    sequences = [Sequence(motion, np.array([0, 0, 0, END]))]
    native.write(
        pack(Metadata(name="three"), dict.fromkeys(("train", "valid", "test"), sequences)), tmp_path / "three.npz"
    )
    names = {"RUN": str(run), "DATA": str(run.parent / "data.npz"), "THREE": "three.npz"}
    assert_refused([names.get(word, word) for word in line.split()], complaint, capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"three.npz"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
@pytest.mark.parametrize("command", ["train", "evaluate", "generate"])
def test_cuda_where_there_is_none_is_told(command: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = {
        "train": ["train", "stroke", "--data", "doodles", "--out", str(tmp_path / "new")],
        "evaluate": ["evaluate", str(run)],
        "generate": ["generate", str(run), "--out", str(tmp_path / "x.svg")],
    }[command]
    assert_refused([*arguments, "--device", "cuda"], "has no CUDA; use --device cpu", capsys)
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_checkpoint_is_not_begun_again(run: Path, tmp_path: Path, capsys: Capture) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("config.json", "model.safetensors", "metrics.jsonl"):
        (broken / file).write_bytes((run / file).read_bytes())
    assert_refused(["train", "--resume", str(broken)], "last.pt is missing", capsys)
    assert (broken / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no weights": ("model.safetensors", Path.unlink, "model.safetensors is missing"),
    "cut weights": ("model.safetensors", lambda p: p.write_bytes(p.read_bytes()[:5000]), "is damaged"),
    "no config": ("config.json", Path.unlink, "config.json is missing"),
    "broken config": ("config.json", lambda p: p.write_text("{"), "config.json is damaged"),
    "config without its parts": ("config.json", lambda p: p.write_text("{}"), "config.json is damaged"),
    "unknown option in config": (
        "config.json", lambda p: p.write_text(p.read_text().replace('"hidden"', '"width"')), "config.json is damaged",
    ),
    "another kind of model": (
        "config.json", lambda p: p.write_text(p.read_text().replace('"mdnrnn"', '"vae"')), "kind 'vae'",
    ),
    "another size of model": (
        "config.json", lambda p: p.write_text(p.read_text().replace('"hidden": 32', '"hidden": 16')), "another model",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "complaint"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_run_is_told(
    name: str, damage: Callable[[Path], object], complaint: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("config.json", "model.safetensors"):
        (broken / file).write_bytes((run / file).read_bytes())
    damage(broken / name)
    assert_refused(["generate", str(broken), "--out", str(tmp_path / "x.svg")], complaint, capsys)
    assert not (tmp_path / "x.svg").exists()


def test_other_data_under_the_same_name_is_not_resumed(
    run: Path, doodles: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    data = tmp_path / "data.npz"
    native.write(doodles, data)
    arguments = ["train", "stroke", "--data", str(data), "--out", str(tmp_path / "r"), "--model.hidden", "8"]
    assert main([*arguments, "--steps", "2"]) == 0
    native.write(replace(doodles, motion=doodles.motion + np.int16(1)), data)
    capsys.readouterr()
    assert_refused(["train", "--resume", str(tmp_path / "r")], "is not what the run was train_run on", capsys)


def limited(arguments: list[str], folder: Path, size: int) -> subprocess.CompletedProcess[str]:
    """The command in a process that may not write more than `size` bytes into any file, as on a full disk."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
    command = [sys.executable, "-m", "mdnrnn", *arguments]
    return subprocess.run(command, cwd=folder, preexec_fn=limit, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(run: Path, tmp_path: Path) -> None:
    done = limited(["generate", str(run), "--out", "x.npz", "-n", "20"], tmp_path, 500)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write x.npz")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_while_training_is_told(run: Path, tmp_path: Path) -> None:
    data = str(run.parent / "data.npz")
    options = ["--steps", "4", "--model.hidden", "64", "--validations", "2"]
    done = limited(["train", "stroke", "--data", data, "--out", "new", *options], tmp_path, 20_000)
    assert done.returncode == 2
    assert "error: cannot write new/" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new" / "last.pt").exists()
    assert not list((tmp_path / "new").glob(".*"))


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_tells_how_to_go_on(name: str, status: int, run: Path, tmp_path: Path) -> None:
    import signal

    data = str(run.parent / "data.npz")
    options = ["--steps", "100000", "--model.hidden", "32"]
    command = [sys.executable, "-m", "mdnrnn", "train", "stroke", "--data", data, "--out", "new", *options]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "new" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("go on with: mdnrnn train --resume new")
    assert (tmp_path / "new" / "last.pt").exists()


@pytest.fixture(scope="module")
def sketch_run(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variational run of a few steps on labeled doodles."""
    out = tmp_path_factory.mktemp("sketch") / "run"
    sizes = {"encoder": 8, "hidden": 16, "latent": 4, "components": 3}
    options = [word for name, size in sizes.items() for word in (f"--model.{name}", str(size))]
    data = str(run.parent / "data.npz")
    arguments = ["train", "sketch-small", "--data", data, "--out", str(out), "--steps", "8", "--validations", "1"]
    assert main([*arguments, *options]) == 0
    return out


def evaluated(capsys: Capture, *arguments: str) -> str:
    """What the command prints."""
    capsys.readouterr()
    assert main(["evaluate", *arguments]) == 0
    return capsys.readouterr().out


def test_evaluate_tells_the_bound_by_its_parts_and_by_class(sketch_run: Path, capsys: Capture) -> None:
    figures = json.loads(evaluated(capsys, str(sketch_run), "--importance", "3", "--json"))
    bound, kl = figures["nll_per_sequence"], figures["kl_per_sequence"]
    assert kl > 0
    assert figures["paper_L_KL"] == pytest.approx(kl / 4)
    assert bound == pytest.approx(figures["reconstruction_nll_per_sequence"] + kl)
    assert figures["importance_nll_per_sequence"] < bound + kl  # by Jensen, but for what the draws make of the KL
    assert figures["importance_standard_error"] > 0
    classes = figures["by_class"].values()
    assert len(classes) == 12
    for whole, part in (("sequences", "nll_per_sequence"), ("points", "nll_per_point")):
        assert sum(own[whole] for own in classes) == figures[whole]
        assert sum(own[whole] * own[part] for own in classes) == pytest.approx(figures[whole] * figures[part])


def test_evaluate_prints_the_bound_and_the_classes_as_tables(
    sketch_run: Path, doodles: Corpus, capsys: Capture
) -> None:
    arguments = [str(sketch_run), "--importance", "2"]
    figures = json.loads(evaluated(capsys, *arguments, "--json"))
    first, second = evaluated(capsys, *arguments).split("\n\n")
    rows = {line[:28].strip(): line[28:].split() for line in first.splitlines()[2:6]}
    assert list(rows) == ["model, bound", "reconstruction", "KL divergence", "model, importance-weighted"]
    names = ("nats", "reconstruction_nats", "kl_nats", "importance_nats")
    for row, name in zip(rows.values(), names, strict=True):
        assert float(row[0]) == pytest.approx(figures[f"{name}_per_sequence"], abs=0.005)
        rounding = 0.51e-2 * figures["sequences"] + 0.51e-4 * figures["points"]
        points = float(row[1]) * figures["points"]
        assert points == pytest.approx(float(row[0]) * figures["sequences"], abs=rounding)
    assert rows["model, importance-weighted"][2:4] == ["±", f"{figures['importance_standard_error']:.2f}"]
    assert f"L_R: {figures['paper_L_R']:.4f}, L_KL: {figures['paper_L_KL']:.4f}" in first
    lines = [line.split() for line in second.splitlines()[1:]]
    assert [name for name, *_ in lines] == list(doodles.metadata.classes)
    cat = figures["by_class"]["cat"]
    expected = [str(cat["sequences"]), f"{cat['nll_per_sequence']:.2f}", f"{cat['nll_per_point']:.4f}"]
    assert next(numbers for name, *numbers in lines if name == "cat") == expected


def test_evaluate_is_short_without_a_latent_or_with_one_class(
    run: Path, sketch_run: Path, doodles: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    cats = [doodles[i] for i in range(len(doodles)) if doodles[i].label == doodles.metadata.label("cat")]
    native.write(pack(doodles.metadata, {"test": cats}), tmp_path / "cats.npz")
    printed = evaluated(capsys, str(run), "--data", str(tmp_path / "cats.npz"))
    assert not any(word in printed for word in ("bound", "KL", "importance", "cat"))
    printed = evaluated(capsys, str(sketch_run), "--data", str(tmp_path / "cats.npz"))
    assert "bound" in printed
    assert not any(word in printed for word in ("importance", "cat"))
    figures = json.loads(evaluated(capsys, str(run), "--json"))
    assert figures["importance_nll_per_sequence"] is None
    assert figures["kl_per_sequence"] == figures["paper_L_KL"] == 0
