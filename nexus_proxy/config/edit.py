"""Makes a TOML text say something else with the fewest changes. Comments, order, layout stay.

The only importer of tomlkit, which takes 50 ms, so that nothing on the start path imports this.

tomlkit hangs the comments above a header to the end of the table before it, and puts new keys
after them. So what is added is moved above such comments, and what is removed leaves them behind.
"""

from __future__ import annotations

from typing import Any

import tomlkit
from tomlkit.container import Container
from tomlkit.items import AoT, Item, Key, Table, Whitespace

Trivia = list[tuple[Key | None, Item]]
"""Comments and blank lines: the entries of a tomlkit body that have no key."""


def edit(text: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """`text`, whose values are `old`, with the values `new`. Line ends stay what they are.

    List entries that are tables are told apart by their `name`.
    """
    crlf = "\r\n" in text
    body = text.replace("\r\n", "\n")
    if body and not body.endswith("\n"):
        body += "\n"
    document = tomlkit.parse(body)
    _update(document, document, old, new)
    result = tomlkit.dumps(document)
    return result.replace("\n", "\r\n") if crlf else result


def _update(
    document: tomlkit.TOMLDocument, table: Any, old: dict[str, Any], new: dict[str, Any]
) -> None:
    for key, value in new.items():
        if key not in old:
            _insert(document, table, key, value)
        elif value == old[key]:
            continue
        elif isinstance(value, dict):
            _update(document, table[key], old[key], value)
        elif _is_tables(value):
            _update_entries(document, table[key], old[key], value)
        else:
            table[key] = value
    for key in [key for key in old if key not in new]:
        if isinstance(table[key], AoT):
            _update_entries(document, table[key], old[key], [])
        else:
            del table[key]


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and value != [] and isinstance(value[0], dict)


def _update_entries(
    document: tomlkit.TOMLDocument, entries: Any, old: list[Any], new: list[Any]
) -> None:
    before = {entry.get("name"): entry for entry in old}
    after = {entry.get("name"): entry for entry in new}
    for position, name in reversed(list(enumerate(before))):
        if name not in after:
            _remove_entry(document, entries, position)
        else:
            _update(document, entries[position], before[name], after[name])
    for name, entry in after.items():
        if name not in before:
            _append_entry(document, entries, entry)


def _insert(document: tomlkit.TOMLDocument, table: Any, key: str, value: Any) -> None:
    if not isinstance(table, Table):
        table[key] = value
    elif isinstance(value, dict):
        tail = _cut_tail(document, table.value)
        table[key] = value
        _innermost(table.value).body.extend(tail)
    else:
        table[key] = value
        _raise_last_key(table.value)


def _raise_last_key(container: Container) -> None:
    """Move what tomlkit has just put below comments to the place below the last key."""
    body = container.body
    at = max(i for i, (key, item) in enumerate(body) if key and not isinstance(item, Table | AoT))
    to = at
    while to and body[to - 1][0] is None:
        to -= 1
    if to < at:
        body.insert(to, body.pop(at))
        below = body[at + 1][1] if at + 1 < len(body) else None
        if isinstance(below, Table):  # tomlkit has put a blank line between the key and it
            below.trivia.indent = below.trivia.indent.removeprefix("\n")


def _append_entry(document: tomlkit.TOMLDocument, entries: Any, entry: dict[str, Any]) -> None:
    if not isinstance(entries, AoT):
        entries.append(entry)
        return
    last = entries[-1].value
    tail = _cut_tail(document, last)
    if not last.as_string().endswith("\n\n"):
        _innermost(last).body.append((None, tomlkit.nl()))
    entries.append(entry)
    _innermost(entries[-1].value).body.extend(tail)


def _remove_entry(document: tomlkit.TOMLDocument, entries: Any, position: int) -> None:
    if not isinstance(entries, AoT):
        del entries[position]
        return
    tail = _cut_tail(None, entries[position].value)
    text = "".join(item.as_string() for _key, item in tail)
    del entries[position]
    if position < len(entries):
        heading = entries[position].trivia
        heading.indent = text + heading.indent
    elif position:
        _innermost(entries[position - 1].value).body.extend(tail)
    else:
        at = next(i for i, (_key, item) in enumerate(document.body) if item is entries)
        document.body[at] = (None, Whitespace(text))


def _innermost(container: Container) -> Container:
    """The container that the text at the very end of `container` hangs on."""
    while container.body and isinstance(last := container.body[-1][1], Table | AoT):
        container = (last if isinstance(last, Table) else last[-1]).value
    return container


def _cut_tail(document: tomlkit.TOMLDocument | None, container: Container) -> Trivia:
    """Take away the comments that lead to the header after `container`.

    What stands at the end of `document` leads nowhere and is left where it is, as are the
    comments of a table without keys, which are about that table.
    """
    inner = _innermost(container)
    keyed = [i for i, (key, _item) in enumerate(inner.body) if key is not None]
    if not keyed or (document is not None and inner is _innermost(document)):
        return []
    tail = inner.body[keyed[-1] + 1 :]
    del inner.body[keyed[-1] + 1 :]
    return tail
