"""The trained runs in checkpoints/: size, license and card, quality as stated in the card, use by name."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn import cli
from mdnrnn.data.batches import Batches
from mdnrnn.data.formats import native
from mdnrnn.data.strokes import from_polylines
from mdnrnn.data.synthetic import pen_text, texts
from mdnrnn.data.synthetic.corpora import PEN_TEXT_LINES, PEN_TEXT_WRITERS, make_pen_text, make_writer
from mdnrnn.pen_events import END
from mdnrnn.training.step import validation_loss

FOLDER = Path(__file__).parents[1] / "checkpoints"
PRESETS = {"doodles": "sketch-small", "kanji": "stroke", "handwriting": "handwriting-small"}
"""Preset of each run."""
MAX_BYTES = 8_000_000


def read_card(name: str) -> str:
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")


def stated_nll(name: str) -> float:
    """Return the NLL in nats per sequence of the test split that the card of a run states."""
    match = re.search(r"\*\*(\d+\.\d+)\*\* nats per (?:drawing|line)", read_card(name))
    assert match is not None
    return float(match[1])


def test_folder_contains_the_listed_runs() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*PRESETS, "README.md"}


@pytest.mark.parametrize("name", PRESETS)
def test_run_is_small_and_free_and_its_card_states_license_command_and_nll(name: str) -> None:
    assert sum(path.stat().st_size for path in (FOLDER / name).rglob("*")) < MAX_BYTES
    config = mdnrnn.load(FOLDER / name).config
    assert config.metadata.license in read_card(name)
    assert "non-commercial" not in config.metadata.license.lower()
    assert "NC" not in config.metadata.license.split("-")
    assert f"mdnrnn train {PRESETS[name]} --data {config.data} " in read_card(name)
    assert os.sep not in config.data  # a catalog name, not a path of one machine
    assert stated_nll(name) > 0


@pytest.mark.parametrize("name", PRESETS)
def test_generated_sequences_end(name: str) -> None:
    """At least 90% end with END at temperature 0.4; the seed is fixed."""
    run = mdnrnn.load(FOLDER / name)
    lines = ["of all things"] * 20 if run.model.uses_text else None
    generated = run.generate(20, texts=lines, sampling=mdnrnn.Sampling(temperature=0.4), seed=3)
    assert len(generated) == 20
    assert (generated.event[np.asarray(generated.offsets[1:]) - 1] == END).mean() >= 0.9


@pytest.mark.parametrize("name", ["doodles", "handwriting"])
def test_likelihood_in_bfloat16_is_within_half_a_percent(name: str) -> None:
    """The NLL of a trained model is a small difference of large terms, unlike that of an untrained one."""
    run = mdnrnn.load(FOLDER / name)
    writers = {"train": 1, "valid": 6, "test": 1}
    corpus = mdnrnn.open_corpus("doodles") if name == "doodles" else make_pen_text(1, writers, seed=5)
    data = Batches(run.with_run_classes(corpus), "valid", run.config.normalizer, max_sequences=60)
    losses = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)  # the same samples of z
        losses.append(validation_loss(run.model, data, torch.device("cpu"), precision)["valid_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
    assert losses[1] != losses[0]  # bfloat16 was in use


def test_doodles_have_the_nll_that_their_card_states() -> None:
    """One sample of z per drawing with a fixed seed: only rounding differs between machines."""
    likelihood = mdnrnn.load(FOLDER / "doodles").evaluate("test")
    assert likelihood.nll_per_sequence == pytest.approx(stated_nll("doodles"), abs=0.5)
    assert set(likelihood.by_class) == set(mdnrnn.open_corpus("doodles").metadata.classes)


@pytest.mark.shared
def test_kanji_have_the_nll_that_their_card_states(shared_data: Path) -> None:
    likelihood = mdnrnn.load(FOLDER / "kanji").evaluate("test", shared_data / "sketchrnn" / "short_kanji.npz")
    assert likelihood.nll_per_sequence == pytest.approx(stated_nll("kanji"), abs=0.5)


@pytest.mark.slow
def test_handwriting_has_the_nll_that_its_card_states() -> None:
    """Generates pen-text, which takes minutes, unless it is in the cache."""
    likelihood = mdnrnn.load(FOLDER / "handwriting").evaluate("test")
    assert likelihood.nll_per_sequence == pytest.approx(stated_nll("handwriting"), abs=0.5)


def test_bundled_styles_are_a_printed_and_a_joined_line_of_the_test_split() -> None:
    """Generates the lines of both writers again, and finds each style among them."""
    styles = native.read(FOLDER / "handwriting" / "hands.npz")
    first_test_writer = PEN_TEXT_WRITERS["train"] + PEN_TEXT_WRITERS["valid"]
    for style, script in zip((styles[0], styles[1]), ("printed", "joined"), strict=True):
        assert style.writer is not None
        assert first_test_writer <= style.writer < first_test_writer + PEN_TEXT_WRITERS["test"]
        writer = make_writer(style.writer)
        assert writer.script == script
        lines = {}
        for number in range(PEN_TEXT_LINES):
            rng = np.random.default_rng([0, style.writer, 1 + number])
            text = texts.sample_line(rng)
            lines[text] = from_polylines(pen_text.write(text, writer, rng))
        motion, event = lines[str(style.text)]
        np.testing.assert_array_equal(style.motion, motion)
        np.testing.assert_array_equal(style.event, event)


def test_generate_command_writes_in_both_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of strokes is within 20% of the writer's: printed letters have more strokes than joined ones."""
    monkeypatch.chdir(tmp_path)
    styles, text, counts = native.read(FOLDER / "handwriting" / "hands.npz"), "two hands, one text", []
    for number in range(2):
        picture = tmp_path / f"{number}.svg"
        style = f"hands.npz:{number}"  # a file in the run folder
        options = ["--text", text, "--style", style, "--bias", "1", "--out", str(picture)]
        assert cli.main(["generate", "handwriting", *options]) == 0
        counts.append(picture.read_text().count("M"))
        writer = make_writer(int(styles[number].writer or 0))
        assert counts[-1] == pytest.approx(len(pen_text.write(text, writer, np.random.default_rng(0))), rel=0.2)
    assert counts[0] > 1.2 * counts[1]


def test_generate_command_draws_kanji(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "kanji", "--out", "kanji.svg"]) == 0
    assert "16 drawings" in capsys.readouterr().out
    assert (tmp_path / "kanji.svg").read_text().count("<path") >= 16


def test_folder_without_a_run_does_not_hide_the_bundled_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kanji").mkdir()  # for example a folder of SVG files
    assert mdnrnn.load("kanji").folder == FOLDER / "kanji"


def test_run_folder_takes_precedence_over_the_bundled_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDER / "doodles", tmp_path / "kanji")
    assert mdnrnn.load("kanji").folder == Path("kanji")


def test_unknown_run_is_an_error_that_names_the_bundled_models(tmp_path: Path) -> None:
    with pytest.raises(mdnrnn.InputError, match="expected one made by mdnrnn train, or doodles, handwriting, kanji"):
        mdnrnn.load(tmp_path / "nosuch")


def test_help_names_the_bundled_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["generate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(name in text for name in PRESETS)
