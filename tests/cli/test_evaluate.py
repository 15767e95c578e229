"""`mdnrnn evaluate`: figures as JSON and as a table, and errors."""

import json
from pathlib import Path

import pytest
import torch

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus, pack
from mdnrnn.data.formats import native
from tests.cli.helpers import assert_refused

Capture = pytest.CaptureFixture[str]


def evaluate(capsys: Capture, *arguments: str) -> str:
    """Run the command and return its output."""
    capsys.readouterr()
    assert main(["evaluate", *arguments]) == 0
    return capsys.readouterr().out


def test_json_has_the_likelihoods_of_the_model_and_the_null_model(stroke_run: Path, capsys: Capture) -> None:
    figures = json.loads(evaluate(capsys, str(stroke_run), "--split", "valid", "--json"))
    assert figures["split"] == "valid"
    assert figures["measure"] == "discretized"
    per_sequence = figures["nll_per_point"] * figures["points"] / figures["sequences"]
    assert figures["nll_per_sequence"] == pytest.approx(per_sequence)
    assert figures["null_nll_per_sequence"] > 0
    assert figures["importance_nll_per_sequence"] is None
    assert figures["kl_per_sequence"] == figures["paper_L_KL"] == 0


def test_bound_is_the_sum_of_its_terms_and_of_the_classes(sketch_run: Path, capsys: Capture) -> None:
    figures = json.loads(evaluate(capsys, str(sketch_run), "--importance", "3", "--json"))
    bound, kl = figures["nll_per_sequence"], figures["kl_per_sequence"]
    assert kl > 0
    assert figures["paper_L_KL"] == pytest.approx(kl / 4)
    assert bound == pytest.approx(figures["reconstruction_nll_per_sequence"] + kl)
    # Jensen's inequality holds for the sampled KL divergence, not for the exact one.
    assert figures["importance_nll_per_sequence"] < bound + kl
    assert figures["importance_standard_error"] > 0
    classes = figures["by_class"].values()
    assert len(classes) == 12
    for count, mean in (("sequences", "nll_per_sequence"), ("points", "nll_per_point")):
        assert sum(each[count] for each in classes) == figures[count]
        assert sum(each[count] * each[mean] for each in classes) == pytest.approx(figures[count] * figures[mean])


def test_tables_have_the_figures_of_the_json(sketch_run: Path, doodles: Corpus, capsys: Capture) -> None:
    arguments = [str(sketch_run), "--importance", "2"]
    figures = json.loads(evaluate(capsys, *arguments, "--json"))
    first, second = evaluate(capsys, *arguments).split("\n\n")
    rows = {line[:28].strip(): line[28:].split() for line in first.splitlines()[2:7]}
    keys = {
        "model, bound": "nll",
        "reconstruction": "reconstruction_nll",
        "KL divergence": "kl",
        "model, importance-weighted": "importance_nll",
        "null model": "null_nll",
    }
    assert list(rows) == list(keys)
    for name, row in rows.items():
        assert float(row[0]) == pytest.approx(figures[f"{keys[name]}_per_sequence"], abs=0.005)
        rounding = 0.51e-2 * figures["sequences"] + 0.51e-4 * figures["points"]
        total = float(row[1]) * figures["points"]
        assert total == pytest.approx(float(row[0]) * figures["sequences"], abs=rounding)
    assert rows["model, importance-weighted"][2:4] == ["±", f"{figures['importance_standard_error']:.2f}"]
    assert f"L_R: {figures['paper_L_R']:.4f}, L_KL: {figures['paper_L_KL']:.4f}" in first
    lines = [line.split() for line in second.splitlines()[1:]]
    assert [name for name, *_ in lines] == list(doodles.metadata.classes)
    cat = figures["by_class"]["cat"]
    expected = [str(cat["sequences"]), f"{cat['nll_per_sequence']:.2f}", f"{cat['nll_per_point']:.4f}"]
    assert next(numbers for name, *numbers in lines if name == "cat") == expected


def test_table_omits_the_bound_without_a_latent_and_the_classes_if_there_is_one(
    stroke_run: Path, sketch_run: Path, doodles: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    cats = [doodles[i] for i in range(len(doodles)) if doodles[i].label == doodles.metadata.class_index("cat")]
    native.write(pack(doodles.metadata, {"test": cats}), tmp_path / "cats.npz")
    printed = evaluate(capsys, str(stroke_run), "--data", str(tmp_path / "cats.npz"))
    assert "null model" in printed
    assert not any(word in printed for word in ("bound", "KL", "importance", "cat"))
    printed = evaluate(capsys, str(sketch_run), "--data", str(tmp_path / "cats.npz"))
    assert "bound" in printed
    assert not any(word in printed for word in ("importance", "cat"))


def test_table_of_handwriting_has_the_figure_in_graves_convention(handwriting_run: Path, capsys: Capture) -> None:
    assert "; Graves' convention: " in evaluate(capsys, str(handwriting_run))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nosuch", "no such run folder"),
        ("RUN --importance -1", "importance: received -1, expected a number of samples >= 0"),
        ("RUN --split training", "split 'training' is not in"),
    ],
    ids=["no run", "negative importance", "unknown split"],
)
def test_mistake_is_reported_in_one_line(line: str, message: str, stroke_run: Path, capsys: Capture) -> None:
    words = [str(stroke_run) if word == "RUN" else word for word in line.split()]
    assert_refused(["evaluate", *words], message, capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_reported(stroke_run: Path, capsys: Capture) -> None:
    assert_refused(
        ["evaluate", str(stroke_run), "--device", "cuda"],
        "CUDA is not available (no GPU, or a CPU build of torch); use --device cpu",
        capsys,
    )
