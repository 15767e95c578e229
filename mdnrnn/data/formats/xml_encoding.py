"""Convert XML files to UTF-8, and declare namespace prefixes that a file uses without declaring them.

The byte order mark determines the encoding. Without a byte order mark, the XML declaration determines it. If the file
has neither, the encoding is UTF-8 (https://www.w3.org/TR/xml, appendix F). Only codecs of character sets are used,
because other codecs of Python, such as zlib, are not safe.
"""

from __future__ import annotations

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from xml.parsers import expat

_DECLARATION = re.compile(rb"""\s*<\?xml\b[^>]{0,100}?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._:-]{0,40})["']""")
_CHARACTER_SET = re.compile(
    r"ascii|latin_1|utf_8(?:_sig)?|(?:utf_16|utf_32)(?:_[bl]e)?|cp\d+|iso8859_\d+|iso2022_\w+|koi8_[rtu]|mac_\w+|euc_\w+"
    r"|shift_jis\w*|gb2312|gbk|gb18030|big5\w*|hz|johab|ptcp154|kz1048|tis_620|hp_roman8",
    re.ASCII,
)
"""Modules of the package `encodings` that decode a character set."""
_MARKS = {
    codecs.BOM_UTF32_LE: "utf_32", codecs.BOM_UTF32_BE: "utf_32", codecs.BOM_UTF8: "utf_8",
    codecs.BOM_UTF16_LE: "utf_16", codecs.BOM_UTF16_BE: "utf_16",
    b"<\0\0\0": "utf_32_le", b"\0\0\0<": "utf_32_be", b"<\0": "utf_16_le", b"\0<": "utf_16_be",
}  # fmt: skip
"""First bytes of a file -> encoding. UTF-32 is tested before UTF-16, because FF FE is the byte order mark of UTF-16 and
also the beginning of the byte order mark of UTF-32."""
_NAMESPACES = {
    "xlink": "http://www.w3.org/1999/xlink",
    "svg": "http://www.w3.org/2000/svg",
    "inkscape": "http://www.inkscape.org/namespaces/inkscape",
    "kvg": "http://kanjivg.tagaini.net",
}
"""Namespace prefix -> namespace, for the namespaces whose attributes or elements are read."""
_MAX_PREFIXES = 64
"""Maximum number of different prefixes in a file."""


def detect_encoding(head: bytes) -> str:
    """Return the encoding of an XML file with the first bytes `head`, as a module name of the package `encodings`.

    Raises:
        LookupError: the file declares an unknown encoding, or one that is not a character set.
    """
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    match = _DECLARATION.match(head)
    if not match:
        return "utf_8"
    declared = match[1].decode("ascii")
    name = normalize_encoding(declared).lower()
    name = aliases.get(name, name)
    if not _CHARACTER_SET.fullmatch(name):
        raise LookupError(f"unknown encoding: {declared}")
    # A file whose declaration is readable as ASCII is not UTF-16. Some programs declare UTF-16 and write UTF-8.
    return "utf_8" if name == "ascii" or name.startswith(("utf_16", "utf_32")) else name


def to_utf8(data: bytes) -> bytes:
    """Convert an XML file to UTF-8. The declaration of the encoding is not changed.

    Raises:
        LookupError: the encoding is unknown.
        UnicodeDecodeError: `data` is invalid in its encoding.
    """
    encoding = detect_encoding(data[:256])
    return data if encoding == "utf_8" else data.decode(encoding).encode()


def declare_prefixes(data: bytes) -> bytes:
    """Return an XML file whose root element declares all namespace prefixes that are used in the file.

    Args:
        data: XML file in UTF-8, whose DTD has been checked for excessive declarations.

    Raises:
        expat.ExpatError: the file is not XML.
        ValueError: there are too many prefixes.
    """
    declared: set[str] = set()
    used: set[str] = set()
    end_of_name = 0
    parser = expat.ParserCreate("utf-8")  # no `namespace_separator`, so that prefixes are not resolved

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal end_of_name
        if not end_of_name:
            end_of_name = parser.CurrentByteIndex + 1 + len(name.encode())
            declared.update(each.removeprefix("xmlns:") for each in attributes if each.startswith("xmlns:"))
        used.update(each.partition(":")[0] for each in (name, *attributes) if ":" in each)
        if len(used) > _MAX_PREFIXES:
            raise ValueError(f"over {_MAX_PREFIXES} namespace prefixes")

    parser.StartElementHandler = start
    parser.Parse(data, True)
    missing = sorted(used - declared - {"xml", "xmlns"})
    declarations = "".join(f' xmlns:{prefix}="{_NAMESPACES.get(prefix, prefix)}"' for prefix in missing)
    return data[:end_of_name] + declarations.encode() + data[end_of_name:]
