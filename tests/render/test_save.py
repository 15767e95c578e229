"""Saving performances: the ending picks the format, what is saved is what was played, errors are one line."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Metadata, Sequence, pack
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.events import DOWN, END, UP
from mdnrnn.render import ENDINGS
from mdnrnn.render.save import performances, save_performances
from tests.helpers import random_corpus, touches

MAGIC = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF89a"}


def steps(performance: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Motion (T, 3) and event (T,) of a performance of a JSON file."""
    touches = performance["touches"]
    rows = np.array([[touch["x"], touch["y"], touch["time"]] for touch in touches])
    event = np.array([DOWN if touch["moving"] else UP for touch in touches[1:]] + [END])
    return np.diff(rows, axis=0, prepend=0), event


def assert_same(saved: dict[str, Any], corpus: Corpus) -> None:
    """The JSON holds every touch of the corpus, to its 6 decimals."""
    assert len(saved["performances"]) == len(corpus)
    for index, performance in enumerate(saved["performances"]):
        motion, event = steps(performance)
        np.testing.assert_allclose(motion[:, :2], corpus[index].motion[:, :2], atol=1.1e-6)
        np.testing.assert_allclose(motion[1:, 2], corpus[index].motion[1:, 2], atol=1.1e-6)
        assert (event == corpus[index].event).all()
        assert performance["seconds"] == pytest.approx(corpus[index].motion[1:, 2].sum(), abs=1e-5)


def on_screen(rows: int = 20, performances: int = 3) -> Corpus:
    """Performances that stay on the screen, with class names, whose lines lift now and then."""
    rng = np.random.default_rng(3)
    sequences = []
    for number in range(performances):
        places = np.rint(rng.random((rows, 2)) * 1024) / 1024
        dt = np.concatenate([[0.0], rng.lognormal(-3, 0.5, rows - 1)])
        motion = np.column_stack([np.diff(places, axis=0, prepend=0), dt]).astype(np.float32)
        event = np.where(rng.random(rows) < 0.2, UP, DOWN)
        event[-1] = END
        sequences.append(Sequence(motion, event, number))
    classes = tuple(f"a name that is longer than a caption {i}" for i in range(performances))
    metadata = Metadata(name="played", start="up", bin_width=1 / 1024, features=("dx", "dy", "dt"), classes=classes)
    return pack(metadata, {"train": sequences})


def test_performances_are_the_touches_of_the_corpus() -> None:
    corpus = on_screen()
    for index, performance in enumerate(performances(corpus, [2, 0])):
        motion, event = corpus[(2, 0)[index]][:2]
        np.testing.assert_allclose(performance.places, np.cumsum(motion[:, :2], axis=0), atol=1e-6)
        np.testing.assert_allclose(np.diff(performance.seconds), motion[1:, 2], atol=1e-6)
        assert performance.down.tolist() == [True, *(event[:-1] != DOWN)]


def test_json_holds_the_corpus(tmp_path: Path) -> None:
    corpus = touches(12)
    save_performances(corpus, tmp_path / "x.json")
    saved = json.loads((tmp_path / "x.json").read_text())
    assert saved["name"] == "touches"
    assert_same(saved, corpus)
    assert {performance["label"] for performance in saved["performances"]} == {None}


@pytest.mark.shared
def test_json_holds_real_performances(tmp_path: Path, shared_data: Path) -> None:
    corpus = open_corpus(str(shared_data / "touch" / "tiny_performances_dev.npz")).part("test")
    save_performances(corpus, tmp_path / "x.json")
    assert_same(json.loads((tmp_path / "x.json").read_text()), corpus)


def test_labels_are_whole_in_json(tmp_path: Path) -> None:
    corpus = on_screen()
    choices: list[bool | list[str]] = [True, ["call", "answer 1", "answer 2"]]
    for labels in choices:
        save_performances(corpus, tmp_path / "x.json", labels=labels)
        saved = json.loads((tmp_path / "x.json").read_text())
        expected = list(corpus.metadata.classes) if labels is True else labels
        assert [performance["label"] for performance in saved["performances"]] == expected


def test_labels_are_cut_to_a_caption_in_pictures(tmp_path: Path) -> None:
    save_performances(on_screen(), tmp_path / "x.svg", labels=True)
    written = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "x.svg").read_text())
    assert written[:3] == ["a name that is lo…"] * 3


@pytest.mark.parametrize("ending", ENDINGS)
def test_pictures_are_of_the_kind_that_the_ending_says(tmp_path: Path, ending: str) -> None:
    save_performances(on_screen(), tmp_path / f"x{ending}", columns=3)
    assert (tmp_path / f"x{ending}").read_bytes().startswith(MAGIC[ending])
    assert len(list(tmp_path.iterdir())) == 1


def test_an_svg_plays_where_asked_to(tmp_path: Path) -> None:
    for animate in (False, True):
        save_performances(on_screen(), tmp_path / "x.svg", animate=animate)
        assert ("<animate" in (tmp_path / "x.svg").read_text()) == animate


def test_a_csv_of_one_performance_is_read_again_as_it_was(tmp_path: Path) -> None:
    corpus = on_screen(performances=1)
    save_performances(corpus, tmp_path / "x.csv")
    import_corpus([str(tmp_path / "x.csv")], tmp_path / "again.npz")
    again = open_corpus(str(tmp_path / "again.npz"))
    np.testing.assert_allclose(again.motion, corpus.motion, atol=1e-6)
    assert (again.event == corpus.event).all()


def test_an_npz_is_the_corpus(tmp_path: Path) -> None:
    corpus = on_screen()
    save_performances(corpus, str(tmp_path / "x.npz"))
    assert open_corpus(str(tmp_path / "x.npz")).fingerprint == corpus.fingerprint


STREAM = pack(
    Metadata(name="a stream", start="up", features=("dt", "x1", "x2")),
    {"train": [Sequence(np.ones((3, 3), np.float32), np.array([DOWN, DOWN, END]))]},
)
WRONG: dict[str, tuple[Corpus, str, dict[str, Any], str]] = {
    "several in a csv": (
        on_screen(), "x.csv", {}, r"x\.csv: a \.csv is one performance, played holds 3; save one alone, .*\.npz$"
    ),
    "drawings": (
        random_corpus([5]), "x.json", {}, r"^random holds no touch performances: its features are dx, dy and its start"
        r" is down; expected dx, dy, dt and start up; draw it as drawings$",
    ),
    "a stream": (STREAM, "x.svg", {}, "^a stream holds no touch performances: its features are dt, x1, x2 and its"),
    "another ending": (on_screen(), "x.ndjson", {}, r"its ending is '.ndjson'; expected one of \.svg, .*\.json, \.csv"),
    "no folder": (on_screen(), "none/x.json", {}, "there is no folder .*; make it, or choose another place$"),
    "a still picture that moves": (
        on_screen(), "x.png", {"animate": True}, r"its ending is '\.png'; to animate, expected \.svg or \.gif$"
    ),
    "too few labels": (on_screen(), "x.svg", {"labels": ["call"]}, "^labels: received 1, expected one for each of"),
    "no columns": (on_screen(), "x.svg", {"columns": 0}, "^columns: received 0, expected at least 1$"),
}  # fmt: skip


@pytest.mark.parametrize(("corpus", "name", "options", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_saved_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path, corpus: Corpus, name: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        save_performances(corpus, tmp_path / name, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_of_none_is_refused(tmp_path: Path) -> None:
    metadata = Metadata(name="none", start="up", features=("dx", "dy", "dt"))
    empty = Corpus(metadata, np.zeros((0, 3), np.float32), np.zeros(0, np.uint8), np.zeros(1, np.int64), {})
    with pytest.raises(ValueError, match=r"^performances: received none, expected one or more to draw$"):
        save_performances(empty, tmp_path / "x.svg")
    assert list(tmp_path.iterdir()) == []
