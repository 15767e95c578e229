"""Style sheets of SVG files: the properties that decide whether an element is drawn, and with which paint.

A selector is `*`, an element, a class, an id, or an element with one class or id, such as `path.a`. Rules with other
selectors, rules inside of @media and other blocks, and @import are not applied. An ignored rule is counted if it sets
one of the properties; an @import is always counted. The cascade follows CSS Cascading and Inheritance Level 3,
section 6 (https://www.w3.org/TR/css-cascade-3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mdnrnn.errors import DataError

PROPERTIES = frozenset(
    {"display", "visibility", "opacity", "fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width"}
    | {"clip-path", "mask"}
)
"""Properties that are read from style sheets."""
MAX_CHARACTERS = 1 << 20
"""Maximum total characters of the style sheets of a file, without comments, strings and URLs (such as fonts)."""
_MAX_CLASSES = 64
"""Maximum number of classes of an element; further classes are ignored."""
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_STRING_OR_URL = re.compile(r""""[^"\n]*"|'[^'\n]*'|url\([^()"'\s]*\)""", re.IGNORECASE)
_MARK = re.compile("[{};]")
_SELECTOR = re.compile(r"(\*|[\w-]+)?([.#][\w-]+)?")
_IMPORTANT = re.compile(r"!\s*important\s*\Z", re.IGNORECASE)
_SETS_PROPERTY = re.compile(rf"(?:\A|[;{{\s])(?:{'|'.join(sorted(PROPERTIES))})\s*:", re.IGNORECASE)
_TYPES, _MEDIA = ("", "text/css"), ("", "all", "screen")


class Declaration(NamedTuple):
    """Value of a property."""

    is_important: bool
    value: str


class _Rule(NamedTuple):
    """Declaration in a style sheet. Of two rules with equal selectors, the larger tuple applies.

    A rule with !important is larger than a rule without it. Of two rules of equal importance, the later one is larger.
    """

    is_important: bool
    order: int
    value: str


def parse_declarations(text: str) -> dict[str, Declaration]:
    """Return the declarations of the attribute `style` or of a rule, by lower-case name of the property."""
    declarations: dict[str, Declaration] = {}
    for part in text.split(";"):
        name, _, value = part.partition(":")
        name, value = name.strip().lower(), value.strip()
        is_important = "!" in value and _IMPORTANT.search(value) is not None
        if is_important:
            value = value.rpartition("!")[0].rstrip()
        if value and (is_important or name not in declarations or not declarations[name].is_important):
            declarations[name] = Declaration(is_important, value)
    return declarations


class StyleSheet:
    """All style sheets of a file. Rules are stored by selector, so that an element is matched in constant time."""

    def __init__(self, location: str) -> None:
        self.ignored = 0
        """Number of selectors and @rules that set one of the properties but are not applied."""
        self._location = location
        self._rules: dict[tuple[str, str], dict[str, _Rule]] = {}
        self._characters = self._order = 0

    def add(self, text: str, media: str = "", content_type: str = "") -> None:
        """Add the content of a <style> element.

        Args:
            text: content of the element.
            media, content_type: attributes `media` and `type` of the element.

        Raises:
            DataError: the style sheets of the file are too long.
        """
        if content_type.strip().lower() not in _TYPES or media.strip().lower() not in _MEDIA:
            return
        text = _STRING_OR_URL.sub("url", _COMMENT.sub(" ", text))
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise DataError(
                f"{self._location}: received style sheets of over {MAX_CHARACTERS} characters; save it as plain SVG"
            )
        for prelude, body in _split_rules(text):
            if prelude.startswith("@"):
                is_animation = "keyframes" in prelude[:40]
                self.ignored += prelude.startswith("@import") or (
                    not is_animation and _SETS_PROPERTY.search(body) is not None
                )
            else:
                self._add_rule(prelude, body)

    def _add_rule(self, selectors: str, body: str) -> None:
        self._order += 1
        declarations = parse_declarations(body)
        rules = {
            name: _Rule(each.is_important, self._order, each.value)
            for name, each in declarations.items()
            if name in PROPERTIES
        }
        if not rules:
            return
        for selector in selectors.split(","):
            match = _SELECTOR.fullmatch(selector.strip())
            if not match or not match[0]:
                self.ignored += 1
                continue
            tag, qualifier = match.groups(default="")
            matching = self._rules.setdefault(("" if tag == "*" else tag, qualifier), {})
            for name, rule in rules.items():
                if name not in matching or rule > matching[name]:
                    matching[name] = rule

    @property
    def is_empty(self) -> bool:
        """Whether the style sheets have no applicable rules."""
        return not self._rules

    def declarations(self, tag: str, name: str, classes: str) -> dict[str, Declaration]:
        """Return the declarations that apply to an element, by name of the property.

        Args:
            tag: local name of the element.
            name: id of the element, or "".
            classes: attribute `class` of the element.
        """
        best: dict[str, tuple[bool, int, int, str]] = {}  # important, specificity, order, value
        qualifiers = [("", 0), *((f".{each}", 10) for each in classes.split(None, _MAX_CLASSES)[:_MAX_CLASSES])]
        for qualifier, specificity in [*qualifiers, (f"#{name}", 100)]:
            for key in (("", qualifier), (tag, qualifier)):
                for property_, rule in self._rules.get(key, {}).items():
                    candidate = rule.is_important, specificity + bool(key[0]), rule.order, rule.value
                    best[property_] = max(best.get(property_, candidate), candidate)
        return {property_: Declaration(value[0], value[3]) for property_, value in best.items()}


def _split_rules(text: str) -> Iterator[tuple[str, str]]:
    """Yield the prelude (selectors or @rule) and the body of each rule. The body includes nested blocks."""
    depth = start = body = 0
    prelude = ""
    for mark in _MARK.finditer(text):
        if mark[0] == "{":
            if not depth:
                prelude, body = text[start : mark.start()].strip(), mark.end()
            depth += 1
        elif mark[0] == "}":
            if depth == 1:
                yield prelude, text[body : mark.start()]
            depth = max(depth - 1, 0)
            start = start if depth else mark.end()
        elif not depth:  # the end of an @import
            yield text[start : mark.start()].strip(), ""
            start = mark.end()
    if depth:
        yield prelude, text[body:]
