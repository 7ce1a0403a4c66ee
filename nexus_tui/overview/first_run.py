"""What a newcomer sees: where Nexus looked, and what to type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nexus_tui.format import Cell, Line
from nexus_tui.overview.drawing import said
from nexus_tui.safe_text import clean

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

_WAYS = (
    ("a", "add a backend by its URL here; or in another terminal:"),
    ("nexus backends add http://HOST:PORT", ""),
    ("nexus announce", "where a model server runs: makes it found from here"),
    ("nexus doctor", "why was this box not found?"),
    ("nexus --demo", "try it with a real small model on this machine"),
)
_COMMAND = 16
_KINDS = {"127.0.0.1:": "this machine", "mDNS ": "network (mDNS)", "": "also"}
"""How places of one kind begin, and what they are called together."""


def first_run(snapshot: Snapshot) -> Sequence[Line]:
    """For a gateway that has no backend yet."""
    return [
        said("No backends yet: nothing answers requests.", "strong"),
        (),
        said("What to type", "accent"),
        *(
            (Cell(f"  {command:<{_COMMAND}}", "info"), Cell(f" {why}" if why else ""))
            for command, why in _WAYS
        ),
        (),
        (
            Cell("Clients can be pointed at "),
            Cell(clean(snapshot.endpoint), "strong"),
            Cell(" now."),
        ),
        (),
        *places(snapshot),
    ]


def places(snapshot: Snapshot) -> Iterator[Line]:
    """Where Nexus has looked, those of a kind together."""
    if not snapshot.searching:
        yield said("Nexus was told not to look for any (discovery.enabled, --no-discovery).")
        return
    yield said("Nexus looked here, found nothing, and goes on looking", "accent")
    kinds: dict[str, list[str]] = {}
    for place in map(clean, snapshot.searching):
        kind = next((kind for kind in _KINDS if place.startswith(kind)), "")
        kinds.setdefault(_KINDS[kind], []).append(place.removeprefix(kind))
    for kind, found in kinds.items():
        yield (Cell(f"  {kind:<{_COMMAND}} ", "muted"), Cell(", ".join(found)))
