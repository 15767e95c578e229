"""The HTML page of demos is well-formed and self-contained."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mdnrnn.errors import InputError
from mdnrnn.render.figures.html_page import PNG, Section, html_page

MARKUP = "<script>alert('1')</script> & \"quotes\""
VOID_ELEMENTS = {"meta", "link", "img"}
PICTURES = [PNG + bytes(range(256)), PNG + b"second"]
URL_ATTRIBUTES = {"src", "srcset", "href", "action", "data", "poster"}
SUMMARY = {"n": 2500, "test_nll": 1.04321, "gap": float("nan"), "seconds": None}


class Reader(HTMLParser):
    """The elements of a page and the texts inside them; asserts that end tags close the innermost element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)

    def find_all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]


def section(name: str = "sine", **changes: object) -> Section:
    fields: dict[str, object] = {
        "name": name,
        "title": f"The {name}",
        "description": "One.\n\nTwo.",
        "figures": [("the data", PICTURES[0]), ("the density", PICTURES[1])],
        "summary": SUMMARY,
    }
    return Section(**fields | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("sections", [[], [section()], [section(), section("spiral")]], ids=["0", "1", "2"])
def test_page_is_well_formed_and_has_titles_and_paragraphs(sections: list[Section]) -> None:
    page = html_page("Demos", sections)
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>\n")
    assert reader.open == []
    assert reader.find_all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in reader.find_all("meta")
    assert "viewport" in [attributes.get("name") for attributes in reader.find_all("meta")]
    assert reader.texts["title"] == reader.texts["h1"] == ["Demos"]
    assert reader.texts.get("h2", []) == [each.title for each in sections]
    assert reader.texts.get("p", []) == ["One.", "Two."] * len(sections)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_pictures_are_embedded_unchanged_with_their_captions() -> None:
    reader = Reader(html_page("Demos", [section()]))
    sources = [str(attributes["src"]).partition(",") for attributes in reader.find_all("img")]
    assert [base64.b64decode(data, validate=True) for _, _, data in sources] == PICTURES
    assert {kind for kind, _, _ in sources} == {"data:image/png;base64"}
    assert [attributes["alt"] for attributes in reader.find_all("img")] == [
        "The sine: the data",
        "The sine: the density",
    ]
    assert reader.texts["figcaption"] == ["the data", "the density"]


def test_all_texts_are_escaped() -> None:
    escaped = section(
        MARKUP,
        title=MARKUP,
        description=MARKUP,
        figures=[(MARKUP, PICTURES[1])],
        summary={MARKUP: MARKUP},
    )
    page = html_page(MARKUP, [escaped])
    reader = Reader(page)
    assert "<script" not in page
    assert reader.find_all("script") == []
    assert reader.find_all("img")[0]["alt"] == f"{MARKUP}: {MARKUP}"
    for tag in ("title", "h1", "h2", "p", "figcaption", "td", "a"):
        assert reader.texts[tag] == [MARKUP]


def test_page_refers_to_no_other_file() -> None:
    page = html_page("Demos", [section(), section("spiral")])
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\(|@import|<script|<iframe", page)
    elements = Reader(page).elements
    urls = [str(value) for _, each in elements for name, value in each.items() if name in URL_ATTRIBUTES]
    assert len(urls) == 4 + 2 + 1
    assert all(url.startswith(("data:", "#")) for url in urls)


def test_table_has_a_row_per_demo_and_a_column_per_name() -> None:
    first = section("sine", summary={"name": "sine", "n": 2500, "test_nll": 1.03})
    second = section("spiral", summary={"n": np.int64(100_000), "floor": np.float32(0.5), "seconds": 1234.6})
    reader = Reader(html_page("Demos", [first, second]))
    assert reader.texts["th"] == ["name", "n", "test nll", "floor", "seconds"]
    assert reader.texts["a"] == ["sine", "spiral"]
    assert reader.texts["td"] == ["2,500", "1.030", "–", "–", "100,000", "–", "0.5000", "1,235"]
    targets = [attributes["href"] for attributes in reader.find_all("a")]
    assert targets == [f"#{attributes['id']}" for attributes in reader.find_all("section")]


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, "–"), (float("inf"), "–"), (0, "0"), (0.0, "0.000"), (-0.01234567, "-0.01235"), (True, "True"), ("a", "a")],
)
def test_table_cells_have_four_digits(value: object, cell: str) -> None:
    assert Reader(html_page("Demos", [section(summary={"value": value})])).texts["td"] == [cell]


def test_picture_that_is_not_a_png_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"^figures: received b'<svg/>'\.\.\. for 'bad', expected the bytes of a PNG file$"
    ):
        section(figures=[("bad", b"<svg/>")])
