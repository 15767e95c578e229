"""Build config dataclasses from JSON values of unknown origin: each value is checked against the type of its field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mdnrnn.errors import InputError, quantity

T = TypeVar("T")

MAX_INTEGER = 2**53
"""Maximum absolute value of integers in a config. All smaller integers are exact as floating-point numbers."""


def from_fields(cls: type[T], fields: Any, name: str, types: Mapping[str, Any] | None = None) -> T:
    """Return an instance of a config dataclass with the given field values.

    Args:
        cls: a dataclass whose fields have the types str, int, float, bool, a Literal, a union with None, or a tuple.
            Values of other types, such as dataclasses, must have been checked before.
        fields: values by field name, as read from JSON.
        name: name of the dataclass, for error messages.
        types: name -> type, for type annotations of `cls` whose types its module imports only under `TYPE_CHECKING`.

    Raises:
        InputError: a field is missing or unknown, or has a value of another type or out of range.
    """
    if not isinstance(fields, dict):
        raise InputError(f"{name}: received {describe(fields)}, expected an object with fields")
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for field in fields:
        if field not in known:
            raise InputError(f"{name}: received the unknown field {describe(field)}; remove it, or update mdnrnn")
    for field, definition in known.items():
        has_default = definition.default is not dataclasses.MISSING
        if field not in fields and not has_default and definition.default_factory is dataclasses.MISSING:
            raise InputError(f"{name}: the field {field} is missing")
    hints = get_type_hints(cls, localns=dict(types or {}))
    return cls(**{field: _check(value, hints[field], f"{name}.{field}") for field, value in fields.items()})


def _check(value: Any, hint: Any, name: str) -> Any:
    """Check that a value has the type `hint`, and return the value; convert a list to a tuple if `hint` is a tuple."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        options = [option for option in arguments if option is not NoneType]
        if value is None and len(options) < len(arguments):
            return None
        return _check(value, options[0], name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name}: received {describe(value)}, expected a list")
        return tuple(_check(item, arguments[0], f"{name}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise InputError(f"{name}: received {describe(value)}, expected one of {', '.join(arguments)}")
        return value
    if hint in _IS_VALID and not _IS_VALID[hint](value):
        raise InputError(f"{name}: received {describe(value)}, expected {_EXPECTED[hint]}")
    return value


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) <= MAX_INTEGER


def _is_number(value: Any) -> bool:
    # In configs of older runs, options such as `position`, which is a factor now, are true or false.
    return type(value) is bool or _is_integer(value) or (type(value) is float and math.isfinite(value))


def _is_text(value: Any) -> bool:
    """Return whether a value is a string that can be printed and used as a path: no surrogates, no NUL characters."""
    if type(value) is not str or "\0" in value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


_IS_VALID = {bool: lambda value: type(value) is bool, int: _is_integer, float: _is_number, str: _is_text}
_EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text without surrogates and NUL characters",
}


def describe(value: Any) -> str:
    """Return a short description of a JSON value."""
    if isinstance(value, dict | list | tuple):
        return f"{'an object' if isinstance(value, dict) else 'a list'} with {quantity(len(value), 'items')}"
    if type(value) is int and abs(value) > MAX_INTEGER:
        return "a larger number than 2^53"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
