"""Compares a document with the model: unknown keys, missing keys, values of the wrong type."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import date, time
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from nexus_proxy.config.document import Document
from nexus_proxy.config.keys import KeyPath, literal, nearest, suggestion
from nexus_proxy.config.model import Config
from nexus_proxy.config.values import Fault
from nexus_proxy.errors import ConfigError

LARGEST_INT = 2**63 - 1
"""TOML's own bound on whole numbers; `tomllib` does not keep it."""


def misfits(document: Document) -> Iterator[ConfigError]:
    """Every place where the document is not what the model says."""
    return _table(Config, document.data, (), document)


def plain(annotation: Any) -> Any:
    """A type without its `Annotated` and without `None`: what can stand in a file."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (arg for arg in get_args(annotation) if arg is not type(None))
        return plain(inner)
    return annotation


def is_struct(kind: Any) -> bool:
    """Whether a plain type is a table of known keys."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def metas(annotation: Any) -> Iterator[msgspec.Meta]:
    """The bounds and the help of a type, innermost first."""
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        yield from metas(inner)
        yield from own
    elif get_origin(annotation) in (Union, UnionType):
        for argument in get_args(annotation):
            yield from metas(argument)


def annotation_of(path: KeyPath) -> Any:
    """The annotated type of what stands at a place: in nested tables, such as `server.port`, and in
    entries of maps and of lists of tables."""
    model: Any = Config
    for part in path:
        kind = plain(model)
        if get_origin(kind) in (list, dict):
            model = get_args(kind)[-1]
        else:
            fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
            model = fields[str(part)].type
    return model


def misfit(annotation: Any, value: Any) -> Fault | None:
    """Why a single value is not of its type or out of bounds; None where it fits."""
    if isinstance(value, float) and not math.isfinite(value):
        return Fault(f"must be {wanted(annotation)}, but is {value}")
    if type(value) is int and abs(value) > LARGEST_INT:
        return Fault(f"must be {wanted(annotation)}, but is beyond 64 bits")
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        expected, got = wanted(annotation), _got(annotation, value)
        return Fault(f"must be {expected}, but is {got}", _hint(annotation, value))
    return None


def wanted(annotation: Any) -> str:
    """What may stand at a key, in words: `a whole number from 0 to 65535`."""
    kind = plain(annotation)
    if is_struct(kind) or get_origin(kind) is dict:
        return "a table"
    if get_origin(kind) is list:
        return "a list of " + ("tables" if is_struct(plain(get_args(kind)[0])) else "texts")
    if _is_enum(kind):
        return "one of " + ", ".join(member.value for member in kind)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words[kind] + _bounds(annotation)


def _table(
    model: Any, value: dict[str, Any], path: KeyPath, document: Document
) -> Iterator[ConfigError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    for key in value:
        if key in fields:
            yield from _value(fields[key].type, value[key], (*path, key), document)
        else:
            yield document.error((*path, key), "unknown key", _known_key(key, fields))
    for key, field in fields.items():
        if field.required and key not in value:
            yield document.error((*path, key), "is missing")


def _value(annotation: Any, value: Any, path: KeyPath, document: Document) -> Iterator[ConfigError]:
    kind = plain(annotation)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list and isinstance(value, list):
        for position, item in enumerate(value):
            yield from _value(arguments[0], item, (*path, position), document)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _value(arguments[1], item, (*path, key), document)
    elif is_struct(kind) and isinstance(value, dict):
        yield from _table(kind, value, path, document)
    elif fault := misfit(annotation, value):
        yield document.error(path, *fault)


def _known_key(key: str, here: Iterable[str]) -> str:
    """The nearest key of the same table, or else of another section, or else all of the table."""
    elsewhere = {
        name: f"{section.name}.{name}"
        for section in msgspec.structs.fields(Config)
        if is_struct(plain(section.type))
        for name in plain(section.type).__struct_fields__
    }
    if not nearest(key, here) and (close := nearest(key, elsewhere)):
        return f"did you mean {elsewhere[close]}?"
    return suggestion(key, here)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _bounds(annotation: Any) -> str:
    bounds = {
        name: bound
        for meta in metas(annotation)
        for name in ("gt", "ge", "le", "min_length")
        if (bound := getattr(meta, name)) is not None
    }
    if "min_length" in bounds:
        return " that is not empty"
    if "gt" in bounds:
        most = f", at most {bounds['le']}" if "le" in bounds else ""
        return f" above {bounds['gt']}{most}"
    if "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    return f" of {bounds['ge']} or more" if "ge" in bounds else ""


def _got(annotation: Any, value: Any) -> str:
    """What was found. Free text is not repeated, since it may be a key in the wrong place."""
    if isinstance(value, str) and _is_enum(plain(annotation)):
        return literal(value[:40])
    if isinstance(value, bool | int | float):
        return literal(value)
    if isinstance(value, str):
        return "text" if value else "empty text"
    if isinstance(value, list):
        return "a list"
    return "a date or time" if isinstance(value, date | time) else "a table"


def _hint(annotation: Any, value: Any) -> str | None:
    kind = plain(annotation)
    if is_struct(plain(next(iter(get_args(kind)), None))) and isinstance(value, dict):
        return "write its header with double brackets: [[…]]"
    if not isinstance(value, str):
        return None
    if _is_enum(kind):
        close = nearest(value, [member.value for member in kind])
        return f'did you mean "{close}"?' if close else None
    try:
        msgspec.convert(value, annotation, strict=False)
    except msgspec.ValidationError:
        return None
    return "write it without quotes"
