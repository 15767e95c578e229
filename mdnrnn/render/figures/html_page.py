"""A self-contained HTML page of demos: a table of results, and a section with embedded pictures for each demo."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import SupportsFloat

from mdnrnn.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"
STYLE = """\
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 48rem; padding: 1.5rem 1rem 4rem; font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.3rem; margin: 3rem 0 0; padding-top: 1.5rem; border-top: 1px solid #8886; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.5rem; }
th, td { padding: 0.35rem 0.7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th:first-child { text-align: left; padding-left: 0; }
a { color: inherit; }
figure { margin: 1.5rem 0; }
img { display: block; width: 100%; height: auto; background: white; border-radius: 4px; }
figcaption { margin-top: 0.4rem; font-size: 0.875rem; opacity: 0.8; }
"""
HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
"""
"""Start of the page. Its content security policy prevents the browser from loading other files."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page, which describes one demo."""

    name: str
    """Short name of the demo, shown in the table."""
    title: str
    """Heading of the section."""
    description: str
    """Description in plain text; empty lines separate paragraphs."""
    figures: Sequence[tuple[str, bytes]]
    """Caption and content of the PNG file of each picture."""
    summary: Mapping[str, object]
    """Row of the table: values by column name. Values that are missing, NaN or infinite are shown as a dash."""

    def __post_init__(self) -> None:
        for caption, picture in self.figures:
            if not picture.startswith(PNG):
                raise InputError(
                    f"figures: received {picture[:8]!r}... for {caption!r}, expected the bytes of a PNG file"
                )


def html_page(title: str, sections: Sequence[Section]) -> str:
    """Return the page as HTML text, with all texts escaped and all pictures embedded."""
    anchors = [f"demo-{number}" for number in range(1, len(sections) + 1)]
    parts = [
        f"{HEAD}<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{escape(title)}</h1>",
        _table(sections, anchors),
        *(_section(section, anchor) for section, anchor in zip(sections, anchors, strict=True)),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _table(sections: Sequence[Section], anchors: Sequence[str]) -> str:
    """Return the HTML of the table, with one row per demo.

    The columns are all keys of the summaries, in the order of their first appearance.
    """
    columns = list(dict.fromkeys(column for section in sections for column in section.summary if column != "name"))
    if not sections:
        return ""
    headers = "".join(f'<th scope="col">{escape(column.replace("_", " "))}</th>' for column in ("name", *columns))
    rows = [
        f'<tr><th scope="row"><a href="#{anchor}">{escape(section.name)}</a></th>'
        + "".join(f"<td>{_value(section.summary.get(column))}</td>" for column in columns)
        + "</tr>"
        for section, anchor in zip(sections, anchors, strict=True)
    ]
    body = "\n".join(rows)
    return (
        f'<div class="table" role="region" aria-label="Results" tabindex="0">\n<table>\n<caption>Results</caption>\n'
        f"<thead><tr>{headers}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _section(section: Section, anchor: str) -> str:
    """Return the HTML of a section: heading, description and pictures."""
    paragraphs = [text.strip() for text in re.split(r"\n\s*\n", section.description) if text.strip()]
    lines = [
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">',
        f'<h2 id="{anchor}-title">{escape(section.title)}</h2>',
        *(f"<p>{escape(text)}</p>" for text in paragraphs),
        *(_picture(section.title, caption, picture) for caption, picture in section.figures),
        "</section>",
    ]
    return "\n".join(lines)


def _picture(title: str, caption: str, picture: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"
    alt = escape(f"{title}: {caption}")
    return f'<figure>\n<img src="{source}" alt="{alt}">\n<figcaption>{escape(caption)}</figcaption>\n</figure>'


def _value(value: object) -> str:
    """Return the text of a table cell: integers with thousands separators, other numbers with 4 significant digits."""
    if value is None or isinstance(value, bool) or not isinstance(value, SupportsFloat):
        return "–" if value is None else escape(str(value))
    number = float(value)
    if not math.isfinite(number):
        return "–"
    return f"{number:,.0f}" if isinstance(value, Integral) or abs(number) >= 1000 else f"{number:#.4g}"
