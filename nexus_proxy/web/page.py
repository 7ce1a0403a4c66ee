"""The dashboard as plain HTML, for browsers that run no script; those that do draw over it.

Jinja escapes whatever is filled in: names of models, backends and clients come from the network.
"""

from __future__ import annotations

import time
import unicodedata

from jinja2 import Environment, PackageLoader, StrictUndefined

from nexus_proxy.accounting.money import money
from nexus_proxy.state import BackendState, RequestPhase, Snapshot

SHOWN_REQUESTS = 30
UNKNOWN = "–"
"""How an unknown value looks; never 0."""
MARKS = {
    BackendState.UP: "●",
    BackendState.DRAINING: "◐",
    BackendState.LOADING: "◌",
    BackendState.DOWN: "✕",
    BackendState.DISABLED: "○",
    BackendState.UNKNOWN: "?",
    RequestPhase.ROUTING: "›",
    RequestPhase.QUEUED: "≡",
    RequestPhase.WAITING: "◌",
    RequestPhase.STREAMING: "»",
    RequestPhase.DONE: "✓",
    RequestPhase.FAILED: "✕",
    RequestPhase.CANCELLED: "⊘",
}
"""A shape beside each word, so that no meaning hangs on colour alone."""
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def plain(snapshot: Snapshot) -> str:
    """The page of this moment."""
    models: dict[str, list[str]] = {}
    for view in snapshot.backends:
        for model in view.models:
            models.setdefault(model.id, []).append(view.name)
    return _PAGES.get_template("page.html").render(
        now=snapshot,
        models=dict(sorted(models.items())),
        requests=snapshot.requests[:SHOWN_REQUESTS],
    )


def sign_in(told: str | None) -> str:
    """The form that asks for the management key. `told` is what was wrong, as a sentence."""
    return _PAGES.get_template("sign_in.html").render(told=told)


def clean(text: object) -> str:
    """A foreign string as one line without control characters and overrides of direction."""
    return "".join("·" if unicodedata.category(c) in _INVISIBLE else c for c in str(text))


def milliseconds(value: float | None) -> str:
    """A span of time in ms, in the unit that reads best: `85 ms`, `1.2 s`."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def count(value: float | None) -> str:
    """A whole number, in groups of three."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def clock(at: float) -> str:
    """A moment (seconds since the epoch) in the gateway's time zone."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _mark(state: BackendState | RequestPhase) -> str:
    return MARKS[state]


_PAGES = Environment(
    loader=PackageLoader(__package__, "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters.update(clean=clean, ms=milliseconds, count=count, clock=clock, usd=money, mark=_mark)
