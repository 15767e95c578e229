"""Read delimited text tables with a header (CSV, TSV): find the columns by name and parse the rows.

The delimiter is a comma, semicolon or tab. Fields can be quoted (RFC 4180). A file that begins with a byte order mark
of UTF-16 is read as UTF-16. Other files are read as UTF-8 or, if they are not valid UTF-8, as Latin-1. A line that
begins with # is a comment, unless it is below the header and has as many fields as the header. If the delimiter is a
semicolon or tab, numbers can have a decimal comma.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from math import isinf, nan
from pathlib import Path

from mdnrnn.data.formats.format import read_bounded
from mdnrnn.errors import DataError

MAX_BYTES = 64 << 20
MAX_ROWS = 1 << 22
MAX_COLUMNS = 256
_MAX_LINE = 1 << 14
"""Maximum number of characters of a line."""
_DELIMITERS = ",;\t"
_MISSING = ("", "na", "null", "none")
_UNIT = re.compile(r"\s*[\[(]\s*([^\])]*?)\s*[\])]\s*$")
_SEPARATOR = re.compile(r"[^0-9a-z]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ROW_NUMBERS = ("", "index", "row", "point", "point_id", "point_index", "point_number", "n", "i", "seq", "unnamed_0")
"""Names of columns that number the rows. These columns are not counted as lost."""
_KINDS = {"t": "time", "ts": "time", "timestamp": "time", "p": "pressure"}
"""Kind of the values of a column, if it differs from the name of the column."""


@dataclass(frozen=True)
class Header:
    """Column names of a table."""

    delimiter: str
    names: tuple[str, ...]
    """Names in lower case, without units, with underscores between words."""
    units: tuple[str, ...]
    """Units of the columns in lower case, such as "ms" for `time (ms)` and `time [ms]`; "" if there is none."""

    def find(self, aliases: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
        """Return the index of the column of each role, such as "x". Roles without a column are omitted.

        Args:
            aliases: accepted column names of each role. The first accepted name that the table has gives the column. If
                an earlier role already uses this column, the role has no column.
        """
        columns: dict[str, int] = {}
        for role, names in aliases.items():
            found = next((self.names.index(name) for name in names if name in self.names), None)
            if found is not None and found not in columns.values():
                columns[role] = found
        return columns

    def kind(self, column: int) -> str:
        """Return the kind of lost content of a column that is not imported, for example "time values"."""
        name = self.names[column]
        return f"{_KINDS.get(name, name)} values"

    def find_unused(self, used: Collection[int | None]) -> list[tuple[int, str]]:
        """Return the index and the kind of each column that is not in `used`; omit columns that number the rows."""
        return [(i, self.kind(i)) for i, name in enumerate(self.names) if i not in used and name not in _ROW_NUMBERS]


def parse_header(head: bytes) -> Header | None:
    """Return the header of a table, or None if the file does not begin with a header.

    The header is the first line that is neither blank nor a comment. It has 2 to `MAX_COLUMNS` fields, none of which is
    a number.

    Args:
        head: the first bytes of a file, without a byte order mark of UTF-8.
    """
    head = head[: 2 * _MAX_LINE]
    text = head.decode(_encoding(head), errors="replace")
    line = next((line for line in text[:_MAX_LINE].splitlines() if line.strip() and not _is_comment(line)), "")
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        fields = [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return None
    if not 2 <= len(fields) <= MAX_COLUMNS or any(_is_number(field) for field in fields):
        return None
    units = [match[1].lower() if (match := _UNIT.search(field)) else "" for field in fields]
    return Header(delimiter, tuple(map(_normalize, fields)), tuple(units))


def _is_comment(line: str) -> bool:
    """Return whether a line is a comment, or declares the delimiter for Excel, as in `sep=;`."""
    return line.lstrip(" \t").startswith(("#", "sep="))


def _normalize(name: str) -> str:
    return _SEPARATOR.sub("_", _CAMEL_CASE.sub("_", _UNIT.sub("", name)).lower()).strip("_")


def _is_number(field: str) -> bool:
    try:
        float(field.replace(",", "."))
    except ValueError:
        return False
    return True


def read_rows(path: Path, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number (from 1) and the fields of each row below the header.

    For a row without values, such as a blank line, the list of fields is empty.

    Raises:
        DataError: the file is too large, has a line of over 16,384 characters, or has invalid quotes.
    """
    data = read_bounded(path, MAX_BYTES).removeprefix(codecs.BOM_UTF8)
    file = TextIOWrapper(BytesIO(data), encoding=_encoding(data), errors="replace", newline=None)
    reader = csv.reader(_lines(path, file), delimiter=header.delimiter, skipinitialspace=True)
    is_below_header = False
    rows = 0
    try:
        for fields in reader:
            is_complete = is_below_header and len(fields) == len(header.names)
            if fields and _is_comment(fields[0]) and not is_complete:
                continue
            if not is_below_header:
                is_below_header = any(field.strip(" \t") for field in fields)
                continue
            rows += 1
            if rows > MAX_ROWS:
                raise DataError(f"{path}: received over {MAX_ROWS} rows; expected at most {MAX_ROWS}; split the file")
            yield reader.line_num, [field.strip() for field in fields] if any(map(str.strip, fields)) else []
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a row of a table ({error}); check its quotes") from error


def _lines(path: Path, file: TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise DataError(f"{path}, line {number}: over {_MAX_LINE} characters; expected one point per line")
        yield line


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # If `data` are only the first bytes of a file, the last character can be incomplete. An incremental decoder
        # accepts this.
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def parse_number(field: str, header: Header) -> float:
    """Return the number in a field. If the field is empty or a word for a missing value, such as "na", return NaN.

    Raises:
        ValueError: the field is another text, or infinite.
    """
    if header.delimiter != ",":
        field = field.replace(",", ".")
    try:
        number = float(field)
    except ValueError:
        if field.lower() not in _MISSING:
            raise
        return nan
    if isinf(number):
        raise ValueError(f"{field[:20]!r} is not finite")
    return number
