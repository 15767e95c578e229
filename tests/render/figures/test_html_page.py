"""The page of demos is valid HTML that holds all it shows."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mdnrnn.errors import InputError
from mdnrnn.render.figures.html_page import PNG, Section, index_page

HOSTILE = "<script>alert('1')</script> & \"quotes\""
VOID = {"meta", "link", "img"}
PICTURES = [PNG + bytes(range(256)), PNG + b"second"]
SUMMARY = {"n": 2500, "test_nll": 1.04321, "gap": float("nan"), "seconds": None}


class Reader(HTMLParser):
    """The elements of a page and the texts inside them; each end tag must close the element opened last."""

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
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)

    def found(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of this name."""
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
def test_a_page_is_well_formed_and_says_what_it_is(sections: list[Section]) -> None:
    page = index_page("Demos", sections)
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>\n")
    assert reader.open == []
    assert reader.found("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in reader.found("meta")
    assert "viewport" in [attributes.get("name") for attributes in reader.found("meta")]
    assert reader.texts["title"] == reader.texts["h1"] == ["Demos"]
    assert reader.texts.get("h2", []) == [each.title for each in sections]
    assert reader.texts.get("p", []) == ["One.", "Two."] * len(sections)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_pictures_are_inside_byte_for_byte_under_their_captions() -> None:
    reader = Reader(index_page("Demos", [section()]))
    sources = [str(attributes["src"]).partition(",") for attributes in reader.found("img")]
    assert [base64.b64decode(data, validate=True) for _, _, data in sources] == PICTURES
    assert {kind for kind, _, _ in sources} == {"data:image/png;base64"}
    assert [attributes["alt"] for attributes in reader.found("img")] == ["The sine: the data", "The sine: the density"]
    assert reader.texts["figcaption"] == ["the data", "the density"]


def test_all_texts_are_escaped() -> None:
    hostile = section(
        HOSTILE,
        title=HOSTILE,
        description=HOSTILE,
        figures=[(HOSTILE, PICTURES[1])],
        summary={HOSTILE: HOSTILE},
    )
    page = index_page(HOSTILE, [hostile])
    reader = Reader(page)
    assert "<script" not in page
    assert reader.found("script") == []
    assert reader.found("img")[0]["alt"] == f"{HOSTILE}: {HOSTILE}"
    for tag in ("title", "h1", "h2", "p", "figcaption", "td", "a"):
        assert reader.texts[tag] == [HOSTILE]


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = index_page("Demos", [section(), section("spiral")])
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\(|@import|<script|<iframe", page)
    loaded = [str(value) for _, found in Reader(page).elements for name, value in found.items() if name in LOADS]
    assert len(loaded) == 4 + 2 + 1
    assert all(address.startswith(("data:", "#")) for address in loaded)


LOADS = {"src", "srcset", "href", "action", "data", "poster"}


def test_the_table_has_a_row_for_each_demo_and_a_column_for_each_name() -> None:
    first = section("sine", summary={"name": "sine", "n": 2500, "test_nll": 1.03})
    second = section("spiral", summary={"n": np.int64(100_000), "floor": np.float32(0.5), "seconds": 1234.6})
    reader = Reader(index_page("Demos", [first, second]))
    assert reader.texts["th"] == ["name", "n", "test nll", "floor", "seconds"]
    assert reader.texts["a"] == ["sine", "spiral"]
    assert reader.texts["td"] == ["2,500", "1.030", "–", "–", "100,000", "–", "0.5000", "1,235"]
    targets = [attributes["href"] for attributes in reader.found("a")]
    assert targets == [f"#{attributes['id']}" for attributes in reader.found("section")]


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, "–"), (float("inf"), "–"), (0, "0"), (0.0, "0.000"), (-0.01234567, "-0.01235"), (True, "True"), ("a", "a")],
)
def test_a_cell_is_short(value: object, cell: str) -> None:
    assert Reader(index_page("Demos", [section(summary={"value": value})])).texts["td"] == [cell]


def test_a_picture_that_is_no_png_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^figures: received b'<svg/>'\.\.\. under 'bad', expected the bytes of a PNG$"
    ):
        section(figures=[("bad", b"<svg/>")])
