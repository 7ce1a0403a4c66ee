"""What can be typed to narrow the requests down: `model:qwen backend:box status:error >2s words`.

All terms must hold; `!` before one turns it round. What looks like a field but is none is taken as
plain text, since names of models have colons in them, unless it is a slip of a field's name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nexus_proxy.state import RUNNING, RequestPhase, RequestView
from nexus_tui.format import elapsed_ms

Test = Callable[[RequestView, float], bool]
"""Whether a request passes, given the present in seconds since the epoch."""

FIELDS: dict[str, tuple[Callable[[RequestView], str | None], str]] = {
    "model": (lambda view: f"{view.model_asked} {view.model or ''}", "asked for or served"),
    "backend": (lambda view: view.backend, "where it went"),
    "key": (lambda view: view.key, "name of its API key"),
    "client": (lambda view: view.client, "address it came from"),
    "endpoint": (lambda view: view.endpoint, "such as embeddings"),
    "id": (lambda view: view.id, "its own"),
}
WORDS: dict[str, Callable[[RequestView], bool]] = {
    "ok": lambda view: view.phase is RequestPhase.DONE,
    "error": lambda view: view.phase is RequestPhase.FAILED,
    "running": lambda view: view.phase in RUNNING,
    "queued": lambda view: view.phase is RequestPhase.QUEUED,
    "cancelled": lambda view: view.phase is RequestPhase.CANCELLED,
}
HELP = (
    *((f"{name}:text", what) for name, (_, what) in FIELDS.items()),
    ("status:word", f"{', '.join(WORDS)}, or a number such as 503 or 4xx"),
    (">2s <500ms", "took longer, shorter; of running ones: so far"),
    ("text", "anywhere in the row; ! before any term turns it round"),
)
HINT = "model: backend: key: client: status:error >2s text, ! excludes; esc clears"

_TIME = re.compile(r"([<>])(\d+(?:\.\d+)?)(ms|s|m)?")
_STATUS = re.compile(r"[1-5](?:\d\d|xx)")
_UNITS = {"ms": 1.0, "s": 1000.0, "m": 60_000.0}
_NAMES = (*FIELDS, "status", "phase")


class RequestFilter(NamedTuple):
    """What was typed, understood. `problem`: a term that was not, and is left out."""

    tests: tuple[Test, ...]
    problem: str | None = None

    def passes(self, view: RequestView, now: float) -> bool:
        """Whether all terms hold."""
        return all(test(view, now) for test in self.tests)


def understand(words: Sequence[str]) -> RequestFilter:
    """Lower-case words as a filter."""
    tests: list[Test] = []
    problem = None
    for word in words:
        turned = word.startswith("!") and len(word) > 1
        try:
            test = _term(word[1:] if turned else word)
        except ValueError as error:
            problem = problem or str(error)
            continue
        if test is not None:
            tests.append(_not(test) if turned else test)
    return RequestFilter(tuple(tests), problem)


def _term(word: str) -> Test | None:
    """None: not typed to its end. Raises `ValueError` with a sentence."""
    if word[0] in "<>":
        return _time(word)
    name, colon, value = word.partition(":")
    if not colon:
        return _text(word)
    if name in ("status", "phase"):
        return _status(value) if value else None
    if name in FIELDS:
        read = FIELDS[name][0]
        return (lambda view, _now: value in (read(view) or "").lower()) if value else None
    meant = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.7)
    if meant:
        raise ValueError(f"No field {name}: did you mean {meant[0]}: ?")
    return _text(word)


def _text(word: str) -> Test:
    return lambda view, _now: word in everything(view)


def everything(view: RequestView) -> str:
    """What plain words are looked for in, in lower case."""
    parts = (
        view.id,
        view.model_asked,
        view.model,
        view.backend,
        view.client,
        view.endpoint,
        view.key,
        view.phase.value,
        view.error,
    )
    return " ".join(part for part in parts if part).lower()


def _status(value: str) -> Test:
    if (known := WORDS.get(value)) is not None:
        return lambda view, _now: known(view)
    if _STATUS.fullmatch(value):
        start = value.removesuffix("xx")
        return lambda view, _now: str(view.status or "").startswith(start)
    if any(word.startswith(value) for word in (*WORDS, *(phase.value for phase in RequestPhase))):
        return lambda view, _now: view.phase.value.startswith(value)
    raise ValueError(f"No status {value}: it is {', '.join(WORDS)}, 503 or 4xx")


def _time(word: str) -> Test | None:
    if len(word) == 1:
        return None
    found = _TIME.fullmatch(word)
    if found is None:
        raise ValueError(f"{word} is no time: write >2s, <500ms or >1m")
    limit = float(found[2]) * _UNITS[found[3] or "s"]
    longer = found[1] == ">"

    def test(view: RequestView, now: float) -> bool:
        took = elapsed_ms(view, now)
        return took is not None and (took > limit if longer else took < limit)

    return test


def _not(test: Test) -> Test:
    return lambda view, now: not test(view, now)
