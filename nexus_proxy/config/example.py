"""The annotated example that `nexus config init` writes, made from the model's own words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from nexus_proxy.config.keys import literal, quoted
from nexus_proxy.config.model import Config
from nexus_proxy.config.shape import is_struct, metas, plain

WIDTH = 98

HEAD = """\
# Configuration of Nexus. Every key is here, with its default where it has one.
# A line that starts with "# " explains; one that starts with "#" alone is a setting: take the
# "#" away to use it. `nexus config check` says what is wrong, `nexus config show` what is in use.
"""


def annotated_example() -> str:
    """A file that says nothing but the defaults, with every key in it behind a `#`.

    It loads as it is, and also with every setting taken into use.
    """
    tables = (_table(field, field.encode_name) for field in msgspec.structs.fields(Config))
    return HEAD + "".join(line + "\n" for lines in tables for line in lines)


def _table(field: FieldInfo, name: str) -> Iterator[str]:
    """A section, a map, or a list of tables, from its blank line on."""
    kind = plain(field.type)
    yield ""
    yield from _help(field)
    if get_origin(kind) is dict:
        yield f"[{name}]"
        yield from (f"#{quoted(key)} = {literal(item)}" for key, item in _value(field).items())
    elif get_origin(kind) is list:
        yield f"#[[{name}]]"
        yield from _keys(plain(get_args(kind)[0]), name)
    else:
        yield f"[{name}]"
        yield from _keys(kind, name)


def _keys(model: Any, name: str) -> Iterator[str]:
    """The keys of a table; its own tables come last, as TOML wants it."""
    fields = msgspec.structs.fields(model)
    for field in fields:
        if not _is_table(field):
            yield from _help(field)
            yield f"#{field.encode_name} = {literal(_value(field))}"
    for field in fields:
        if _is_table(field):
            yield from _table(field, f"{name}.{field.encode_name}")


def _is_table(field: FieldInfo) -> bool:
    kind = plain(field.type)
    if get_origin(kind) is list:
        return is_struct(plain(get_args(kind)[0]))
    return get_origin(kind) is dict or is_struct(kind)


def _help(field: FieldInfo) -> Iterator[str]:
    for meta in metas(field.type):
        if meta.description:
            yield from textwrap.wrap(
                meta.description, WIDTH, initial_indent="# ", subsequent_indent="# "
            )


def _value(field: FieldInfo) -> Any:
    """The default, or the model's example for a key that has none."""
    for meta in metas(field.type):
        if meta.examples:
            return meta.examples[0]
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    return field.default_factory()
