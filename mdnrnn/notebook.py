"""Pictures and tables of objects in Jupyter notebooks.

`import mdnrnn` registers these functions in IPython by the names of the classes. The classes thus do not depend on the
code that draws them, and an import does not load it.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from mdnrnn.errors import InputError, quantity

if TYPE_CHECKING:
    from mdnrnn.data.corpus import Corpus
    from mdnrnn.data.strokes import Drawing
    from mdnrnn.distributions import GaussianMixture
    from mdnrnn.runs.description import RunDescription
    from mdnrnn.runs.run import Run

_MAX_DRAWINGS = 12
"""Maximum number of drawings in the picture of a corpus."""
_CELL_SIZE = 110.0
"""Side of the cell of a drawing, in pixels."""
_TITLE_STYLE = "text-align: left; vertical-align: top; white-space: nowrap"
_TEXT_STYLE = "text-align: left; white-space: normal; overflow-wrap: anywhere"


def corpus_html(corpus: Corpus) -> str:
    """Return a picture of up to 12 evenly spaced sequences, and a line with name, sizes, classes and license."""
    line = f"<b>{escape(corpus.metadata.name)}</b>: {escape(_describe(corpus))}"
    try:
        picture = _corpus_svg(corpus)
    except InputError as error:  # the corpus contains invalid values, or features that cannot be drawn
        return f"<div>{line}</div><div>no picture: {escape(str(error))}</div>"
    # An image is shown as it is in notebooks that are not trusted, and does not inherit styles of the page.
    data = base64.b64encode(picture.encode()).decode()
    return f'<div>{line}</div><img alt="drawings" style="max-width: 100%" src="data:image/svg+xml;base64,{data}">'


def _describe(corpus: Corpus) -> str:
    """Return the number of sequences, the sizes of the splits, the typical length, classes, license and source."""
    metadata, splits = corpus.metadata, {name: last - first for name, (first, last) in corpus.splits.items()}
    sizes = ", ".join(f"{size} {name}" for name, size in splits.items() if size)
    lengths = corpus.lengths
    return "; ".join(
        [
            quantity(len(corpus), "sequences") + (f" ({sizes})" if len(splits) > 1 else ""),
            f"{np.median(lengths):.0f} steps (median), at most {lengths.max()}",
            *([quantity(len(metadata.classes), "classes")] if metadata.classes else []),
            *([f"features {', '.join(metadata.features)}"] if metadata.features else []),
            f"license: {metadata.license}",
            *([f"source: {metadata.source}"] if metadata.source else []),
        ]
    )


def _corpus_svg(corpus: Corpus) -> str:
    from mdnrnn.render import save
    from mdnrnn.render.style import DrawingOptions, PictureOptions

    count = min(len(corpus), _MAX_DRAWINGS)
    indices = [i * len(corpus) // count for i in range(count)]
    labels = save.sequence_labels(corpus, indices)
    if corpus.metadata.is_touch:
        options = PictureOptions(labels=labels, cell_size=_CELL_SIZE)
        return save.render_performances(save.to_performances(corpus, indices), ".svg", options).decode()
    drawings = [corpus.drawing(i) for i in indices]
    return save.render(drawings, ".svg", DrawingOptions(labels=labels, cell_size=_CELL_SIZE)).decode()


def drawing_svg(drawing: Drawing) -> str:
    """Return a picture of the strokes of a drawing."""
    from mdnrnn.render.layout import lay_out
    from mdnrnn.render.svg import to_svg

    return to_svg(lay_out([drawing]))


def run_html(run: Run) -> str:
    """Return a table of the model, the data and the training of a run."""
    from mdnrnn.runs.description import describe_config

    return description_html(describe_config(run.config, run.folder))


def description_html(description: RunDescription) -> str:
    """Return the description of a run as a table."""
    from mdnrnn.runs.description import format_description

    return _table_html(format_description(description))


def _table_html(rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><th style="{_TITLE_STYLE}">{escape(title)}</th><td style="{_TEXT_STYLE}">{escape(text)}</td></tr>'
        for title, text in rows.items()
    )
    return f"<table>{cells}</table>"


def mixture_png(mixture: GaussianMixture) -> tuple[bytes, dict[str, int]] | None:
    """Return a picture of the density of a mixture in one or two dimensions, with its size in pixels.

    Return None, so that the notebook shows the text form, for a batch of mixtures, for more dimensions, and for
    mixtures without a finite density.
    """
    from mdnrnn.render.figures.mixture import can_draw, mixture_figure
    from mdnrnn.render.raster import figure_bytes

    if not can_draw(mixture):
        return None
    figure = mixture_figure(mixture)
    width, height = figure.get_size_inches() * _PIXELS_PER_INCH
    return figure_bytes(figure, ".png"), {"width": round(width), "height": round(height)}


_PIXELS_PER_INCH = 72
"""Size of figures in a notebook. Their resolution is twice as high, for screens with small pixels."""

_FORMATTERS: list[tuple[str, str, str, Callable[[Any], Any]]] = [
    ("text/html", "mdnrnn.data.corpus", "Corpus", corpus_html),
    ("image/svg+xml", "mdnrnn.data.strokes", "Strokes", drawing_svg),
    ("text/html", "mdnrnn.runs.run", "Run", run_html),
    ("text/html", "mdnrnn.runs.description", "RunDescription", description_html),
    ("image/png", "mdnrnn.distributions.gaussian_mixture", "GaussianMixture", mixture_png),
]
"""MIME type, module and name of the class, and the function that shows its objects."""


def register_formatters() -> None:
    """Register the functions of this module in the running IPython shell; without a shell, do nothing.

    IPython must have been imported.
    """
    shell = sys.modules["IPython"].get_ipython()
    if shell is not None:
        for mime, module, name, function in _FORMATTERS:
            shell.display_formatter.formatters[mime].for_type_by_name(module, name, function)
