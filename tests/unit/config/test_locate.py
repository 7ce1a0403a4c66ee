from __future__ import annotations

import re
import tomllib
from itertools import count
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.config.keys import leaves
from nexus_proxy.config.locate import locate

KEYS = st.one_of(
    st.sampled_from(["a", "b", "server", "x-y_1", "3", "a.b", 'q"uote', "it's", "", "é", "]", "#"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4),
)
TRICKY = st.sampled_from(
    ["", "# no comment", "[x]", '"""', "'''", "\\", "= 1", '"', "\n[t]\n", "]}"]
)


class Builder:
    """Makes TOML documents in which every leaf holds a number of its own, so that its line can be
    found in the text without understanding TOML."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.numbers = count(100_000)

    def leaf(self, multiline: bool) -> Any:
        number = next(self.numbers)
        if self.draw(st.booleans()):
            return number
        text = f"{number}{self.draw(TRICKY)}"
        return tomlkit.string(text, multiline=multiline and self.draw(st.booleans()))

    def fill(self, table: Any, depth: int, *, inline: bool) -> Any:
        for key in self.draw(st.lists(KEYS, max_size=3, unique=True)):
            if not inline and self.draw(st.booleans()):
                table.add(tomlkit.comment(f"{key!r} = [[ '''"))
            table.add(key, self.value(depth, inline=inline))
        return table

    def value(self, depth: int, *, inline: bool) -> Any:
        kind = self.draw(st.sampled_from(["leaf", "leaf", "array", "inline", "table", "tables"]))
        if depth == 0 or kind == "leaf":
            return self.leaf(multiline=not inline)
        if kind == "array":
            array = tomlkit.array()
            for _ in range(self.draw(st.integers(0, 3))):
                array.append(self.value(depth - 1, inline=True))
            return array.multiline(not inline and self.draw(st.booleans()))
        if kind == "inline" or inline:
            return self.fill(tomlkit.inline_table(), depth - 1, inline=True)
        if kind == "table":
            return self.fill(tomlkit.table(), depth - 1, inline=False)
        tables = tomlkit.aot()
        for _ in range(self.draw(st.integers(1, 3))):
            tables.append(self.fill(tomlkit.table(), depth - 1, inline=False))
        return tables


@st.composite
def documents(draw: st.DrawFn) -> str:
    text = tomlkit.dumps(Builder(draw).fill(tomlkit.document(), 3, inline=False))
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # tomlkit writes some odd keys wrongly; not our subject
        text = ""
    return draw(st.sampled_from(["", "\n", "# first\n"])) + text


@settings(deadline=None, max_examples=300)
@given(documents(), st.booleans())
def test_every_leaf_is_found_on_its_line(text: str, crlf: bool) -> None:
    lines = text.split("\n")
    found = locate(text.replace("\n", "\r\n") if crlf else text)
    for path, value in leaves(tomllib.loads(text)):
        numbers = re.findall(r"1\d{5}", str(value))
        if isinstance(value, int | str):
            assert numbers[0] in lines[found[path] - 1]
        elif numbers:  # a list: its items have places of their own
            assert found[path] <= found[(*path, 0)]


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("[a.b]\nx = 1", ("a",), 1),
        ("[a.b]\nx = 1", ("a", "b"), 1),
        ("\n\na.b.c = 1", ("a", "b"), 3),
        ("[[t]]\n[[t]]\n[t.sub]\nx = 1", ("t", 1, "sub", "x"), 4),
        ("[[t]]\n[[t]]\n[[t.u]]\n[[t.u]]\nx = 1", ("t", 1, "u", 1, "x"), 5),
        ("[[t]]\n\n[[t]]", ("t", 1), 3),
        ("t = [\n  {x = 1},\n  # {x = 2}\n  {x = 3, y = 4},\n]", ("t", 1, "y"), 4),
        ("\"a.b\" . 'c' = 1", ("a.b", "c"), 1),
        ('"\\u0061\\"" = 1', ('a"',), 1),
        ("d = 1979-05-27 07:32:00Z # x\ne = 2", ("e",), 2),
        ("d = [1979-05-27 07:32:00, 2]\ne = 2", ("e",), 2),
        ('s = """\n[x]\ny = 1\\"""\n"""\ne = 2', ("e",), 5),
        ('s = """a"""""\ne = 2', ("e",), 2),
        ("s = '''a'''''\ne = 2", ("e",), 2),
        ('s = """"""\ne = 2', ("e",), 2),
        ("s = ''''''\ne = 2", ("e",), 2),
        ("a = [[1, 2],\n [3]]", ("a", 1, 0), 2),
        ("a = {}\nb = []\nc = 1", ("c",), 3),
    ],
)
def test_places(text: str, path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(text)
    assert locate(text)[path] == line
