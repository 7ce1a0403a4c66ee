"""Everything about one model, wherever it is served, beside the table of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.config.values import is_glob
from nexus_proxy.state import BackendView, Capability, ModelInfo
from nexus_tui.format import (
    NONE,
    STAR,
    STATES,
    Cell,
    Line,
    busy,
    capabilities,
    context,
    field,
    heading,
    loaded,
    milliseconds,
    names,
    rate,
    score,
    size,
)
from nexus_tui.safe_text import clean

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


_MOST_SERVERS = 20


def model_story(
    model: ModelInfo,
    servers: Sequence[tuple[BackendView, ModelInfo]],
    snapshot: Snapshot,
    standing: Callable[[str], Cell],
) -> Sequence[Line]:
    """What a model is and can, which rules are about it, and how well each of the `servers` serves
    it. `standing` tells of a backend whether it would be chosen now."""
    return [
        *_identity(model),
        *_routing(model, snapshot),
        *heading("Served by"),
        *(
            line
            for view, one in servers[:_MOST_SERVERS]
            for line in _server(view, one, snapshot, standing(view.name))
        ),
    ]


def _identity(model: ModelInfo) -> Iterator[Line]:
    yield (Cell(clean(model.id), "strong"),)
    if model.context_length or model.max_context:
        yield field("context", Cell(context(model)), Cell(" tokens", "muted"))
    weighs = size(model.size_bytes) if model.size_bytes else ""
    facts = (clean(model.parameters or ""), clean(model.quantization or ""), weighs)
    if any(facts):
        yield field("weights", Cell(" ".join(filter(None, facts))))
    yield field("can", Cell(capabilities(model)))
    if model.cannot:
        without = " ".join(one.value for one in Capability if one in model.cannot)
        yield field("cannot", Cell(without, "muted"))
    if model.aliases:
        yield field("also", Cell(names(model.aliases)))


def _routing(model: ModelInfo, snapshot: Snapshot) -> Iterator[Line]:
    pin, others = snapshot.pins.get(model.id), snapshot.fallbacks.get(model.id, ())
    aliases = [alias for alias, target in snapshot.aliases.items() if target == model.id]
    if not (pin or others or aliases):
        return
    yield from heading("Routing")
    if pin:
        yield field("pinned to", Cell(f"{STAR} {clean(pin)}", "accent"))
    if aliases:
        patterns = any(is_glob(alias) for alias in aliases)
        hint = " (patterns)" if patterns else ""
        yield field("asked for as", Cell(names(aliases)), Cell(hint, "muted"))
    if others:
        yield field("falls back to", Cell(", then ".join(map(clean, others))))


def _server(
    view: BackendView, model: ModelInfo, snapshot: Snapshot, standing: Cell
) -> Iterator[Line]:
    mark = STATES[view.state]
    yield (
        Cell(f"  {mark.glyph} ", mark.tone),
        Cell(clean(view.name), "strong"),
        Cell(f" {mark.word}  ", mark.tone),
        standing,
    )
    found = (one for one in snapshot.quality if (one.backend, one.model) == (view.name, model.id))
    judged = next(found, None)
    if judged is not None:
        yield (Cell("      quality ", "muted"), score(judged.score))
    first = view.first_token_ms if judged is None else judged.hour.first_token_p50_ms
    speed = view.tokens_per_second if judged is None else judged.hour.tokens_per_second
    facts = f"      busy {busy(view)} · first token {milliseconds(first)} · {rate(speed)} tokens/s"
    yield (Cell(facts, "muted"),)
    state = loaded(model)
    if state.text != NONE:
        yield (Cell("      loaded ", "muted"), state)
