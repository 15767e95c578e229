"""Scale of a user's drawings: completions at other scales, warnings, options, and data with units."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus, pack
from mdnrnn.data.drawing_sizes import DrawingSizes
from mdnrnn.data.formats import native, svg_writer
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputError, InputWarning
from mdnrnn.runs.rescaling import fit_scale
from mdnrnn.runs.run import Run, load, read_prefix
from mdnrnn.tasks.latent_space import load_drawings
from tests.helpers import make_run, make_touches


@pytest.fixture(scope="module")
def run() -> Run:
    return load("doodles")


def write_ndjson(path: Path, drawings: list[Drawing]) -> str:
    lines = [json.dumps({"drawing": [stroke.T.tolist() for stroke in drawing]}) for drawing in drawings]
    path.write_text("\n".join(lines))
    return str(path)


def test_beginning_at_another_scale_has_the_same_completions(run: Run, doodles: Corpus, tmp_path: Path) -> None:
    beginning = doodles.drawing(3)[:2]
    completions = []
    for factor in (1, 20, 1 / 20):
        data = write_ndjson(tmp_path / "a.ndjson", [[factor * stroke for stroke in beginning]])
        if factor == 1:
            prefix = read_prefix(run, data)
        else:
            with pytest.warns(InputWarning, match=r"a\.ndjson: the drawing is \S+ times as large as the training"):
                prefix = read_prefix(run, data)
        completions.append(run.generate(2, prefix=prefix, seed=1))
    for other in completions[1:]:
        np.testing.assert_array_equal(other.motion, completions[0].motion)
        np.testing.assert_array_equal(other.event, completions[0].event)


def test_scale_of_a_finished_drawing_is_measured_before_it_is_cut(run: Run, doodles: Corpus, tmp_path: Path) -> None:
    """The drawing has the usual size, its first two points have not: the prefix is changed by less than 25%."""
    data = write_ndjson(tmp_path / "a.ndjson", [doodles.drawing(0)])
    prefix = read_prefix(run, data, points=2)
    lengths = np.hypot(*prefix.motion.T) / np.hypot(*doodles[0].motion[:2].T)
    np.testing.assert_allclose(lengths, 1, atol=0.25)


@pytest.mark.parametrize(
    ("rescale", "factor", "advice"),
    [(None, 1, "scaled to fit; pass --no-rescale to keep the size"), (False, 20, "pass --rescale to scale it to fit")],
)
def test_drawings_are_scaled_by_default_and_kept_on_request(
    run: Run, doodles: Corpus, tmp_path: Path, rescale: bool | None, factor: float, advice: str
) -> None:
    drawings = [[20 * stroke for stroke in doodles.drawing(i)] for i in range(5)]
    data = write_ndjson(tmp_path / "a.ndjson", drawings)
    with pytest.warns(InputWarning, match=rf"5 of 5 drawings are \S+ to \S+ times as large .*{advice}"):
        loaded = load_drawings(run, data, label="cat", rescale=rescale)
    extents = [float(np.ptp(np.concatenate(loaded.drawing(i)), axis=0).max()) for i in range(5)]
    expected = [factor * float(np.ptp(np.concatenate(doodles.drawing(i)), axis=0).max()) for i in range(5)]
    np.testing.assert_allclose(extents, expected, rtol=0.3)
    np.testing.assert_array_equal(loaded.motion, np.rint(loaded.motion))


def test_corpora_and_catalog_names_are_kept_with_a_warning(run: Run, doodles: Corpus, tmp_path: Path) -> None:
    large = replace(doodles, motion=np.asarray(doodles.motion, np.int32) * 20)
    native.write(large, tmp_path / "large.npz")
    with pytest.warns(InputWarning, match="times as large as the training drawings; pass --rescale"):
        prefix = read_prefix(run, str(tmp_path / "large.npz"), 1, 6)
    np.testing.assert_array_equal(prefix.motion, large[1].motion[:6])
    np.testing.assert_array_equal(read_prefix(run, "doodles", 1, 6).motion, run.open_data("doodles")[1].motion[:6])
    with pytest.warns(InputWarning, match="scaled to fit"):
        fitted = read_prefix(run, str(tmp_path / "large.npz"), 1, 6, rescale=True)
    np.testing.assert_allclose(fitted.motion, doodles[1].motion[:6], atol=0.3 * np.abs(doodles[1].motion).max())


def test_training_drawings_give_no_warning(run: Run) -> None:
    """All of them are whole drawings, also those of one stroke."""
    corpus = run.open_data("doodles").select_split("test")
    for unfinished in (False, True):
        assert fit_scale(run.config, corpus, "doodles", unfinished=unfinished) is corpus


def test_touch_performances_are_not_scaled_by_default(tmp_path: Path) -> None:
    touches = make_touches()
    run = make_run(touches)
    run = replace(run, config=replace(run.config, sizes=DrawingSizes.from_corpus(touches)))
    call = pack(touches.metadata, {"test": [touches[0]._replace(motion=touches[0].motion * [50, 50, 1])]})
    with pytest.warns(InputWarning, match=r"touches: the drawing is \S+ times as large"):
        assert fit_scale(run.config, call, "touches") is call
    with pytest.warns(InputWarning, match="scaled to fit"):
        fitted = fit_scale(run.config, call, "touches", rescale=True)
    np.testing.assert_array_equal(fitted.motion[:, 2], call.motion[:, 2])
    assert np.abs(fitted.motion[:, :2]).max() < np.abs(call.motion[:, :2]).max() / 10


def test_run_without_sizes_cannot_rescale(run: Run, doodles: Corpus) -> None:
    config = replace(run.config, sizes=DrawingSizes())
    assert fit_scale(config, doodles, "doodles") is doodles
    with pytest.raises(
        InputError,
        match="rescale: the run, trained on doodles, does not contain the sizes",
    ):
        fit_scale(config, doodles, "doodles", rescale=True)


@pytest.mark.parametrize(("options", "expected"), [([], "scaled to fit"), (["--no-rescale"], "pass --rescale")])
def test_commands_warn_on_one_line_of_stderr(
    doodles: Corpus, tmp_path: Path, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    large = pack(
        replace(doodles.metadata, classes=()),
        {"test": [doodles[i]._replace(motion=doodles[i].motion * 20.0, label=None) for i in range(2)]},
    )
    svg_writer.write(large, tmp_path / "in")
    data, out = str(tmp_path / "in"), str(tmp_path / "out.npz")
    for arguments in (
        ["generate", "doodles", "--prefix", data, "--label", "cat", "-n", "1", "--max-steps", "2"],
        ["reconstruct", "doodles", "--data", data, "--label", "cat", "-n", "1", "--temperatures", "0.1"],
    ):
        assert main([*arguments, "--out", out, *options]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert expected in line
    assert main(["generate", "doodles", "--prefix", data, "--out", out, "--rescale", "--no-rescale"]) == 2
    assert "received both --rescale and --no-rescale; expected at most one" in capsys.readouterr().err
