"""Pictures and tables in notebooks: formatters are registered by IPython, and show what the objects contain."""

import base64
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element

import IPython
import pytest
import torch
from defusedxml import ElementTree
from IPython.core.formatters import DisplayFormatter
from PIL import Image

import mdnrnn
from mdnrnn import Corpus, GaussianMixture
from mdnrnn.data.synthetic.corpora import make_rollouts
from mdnrnn.notebook import register_formatters
from tests.helpers import make_touches


@pytest.fixture
def formatter(monkeypatch: pytest.MonkeyPatch) -> Any:
    formatter = DisplayFormatter()
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(display_formatter=formatter))
    register_formatters()
    return formatter


def show(formatter: Any, value: object) -> dict[str, Any]:
    data, _ = formatter.format(value)
    del data["text/plain"]
    return data


def read_picture(html: str) -> Element:
    """Return the root of the SVG in the page of a corpus."""
    root = ElementTree.fromstring(base64.b64decode(html.split("base64,")[1].split('"')[0]))
    assert root is not None
    return root


def count_groups(picture: Element) -> int:
    """Return the number of drawings of a picture."""
    lines = next(picture.iter("{http://www.w3.org/2000/svg}g"))
    return len(list(lines))


def test_corpus_is_a_picture_and_a_line(formatter: Any, doodles: Corpus) -> None:
    html = show(formatter, doodles)["text/html"]
    assert f"{len(doodles)} sequences" in html
    assert "12 classes" in html
    assert count_groups(read_picture(html)) == 12
    split = doodles.select_split("test")
    assert count_groups(read_picture(show(formatter, split)["text/html"])) == min(len(split), 12)


@pytest.mark.parametrize("make", [make_touches, make_rollouts], ids=["touch", "world"])
def test_other_corpora_have_a_picture(formatter: Any, make: Any) -> None:
    read_picture(show(formatter, make())["text/html"])


def test_corpus_that_cannot_be_drawn_has_a_line(formatter: Any, doodles: Corpus) -> None:
    broken = replace(doodles, motion=doodles.motion.astype("f4") * float("nan"))
    html = show(formatter, broken)["text/html"]
    assert "no picture" in html
    assert "<img" not in html


def test_texts_of_a_corpus_are_escaped(formatter: Any, doodles: Corpus) -> None:
    attack = "<script>alert(1)</script>"
    metadata = replace(doodles.metadata, name=attack, source=attack, license=attack)
    assert "<script" not in show(formatter, replace(doodles, metadata=metadata))["text/html"]


def test_drawing_is_a_picture(formatter: Any, doodles: Corpus) -> None:
    drawing = doodles.drawing(0)
    assert drawing == [*drawing]  # a list
    picture = ElementTree.fromstring(show(formatter, drawing)["image/svg+xml"])
    assert picture is not None
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) == len(drawing)


def test_run_is_a_table(formatter: Any) -> None:
    run = mdnrnn.load("doodles", "cpu")
    table = ElementTree.fromstring(show(formatter, run)["text/html"])
    assert table is not None
    titles = [title.text for title in table.iter("th")]
    assert {"model", "data", "license", "training", "command"} <= set(titles)
    assert show(formatter, mdnrnn.describe_run("doodles")) == show(formatter, run)


@pytest.mark.parametrize("components", [1, 3, 30])
@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("is_full", [False, True])
def test_mixture_is_a_picture(formatter: Any, components: int, features: int, is_full: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    shape = (components, features)
    slopes = torch.randn(*shape, features, generator=draw) if is_full else None
    logits, means = torch.randn(components, generator=draw), torch.randn(shape, generator=draw)
    mixture = GaussianMixture(logits, means.requires_grad_(), 2 * torch.randn(shape, generator=draw), slopes)
    Image.open(io.BytesIO(show(formatter, mixture)["image/png"])).verify()


@pytest.mark.parametrize(
    ("means", "log_scale"),
    [(torch.zeros(5, 3, 2), 0.0), (torch.zeros(3, 3), 0.0), (torch.zeros(3, 1), -torch.inf)],
    ids=["batch", "three dimensions", "point mass"],
)
def test_mixture_without_a_picture(formatter: Any, means: torch.Tensor, log_scale: float) -> None:
    mixture = GaussianMixture(torch.zeros(means.shape[:-1]), means, torch.full_like(means, log_scale))
    assert show(formatter, mixture) == {}


@pytest.mark.parametrize("first", ["import mdnrnn", "from mdnrnn.data.catalog import open_corpus"])
def test_import_in_ipython_registers(first: str, tmp_path: Path) -> None:
    code = (
        f"{first}; import mdnrnn; corpus = mdnrnn.open_corpus('doodles');"
        "print(get_ipython().display_formatter.formatters['text/html'].lookup(corpus).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.strip() == "corpus_html"
