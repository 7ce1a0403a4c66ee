"""Money as people read it."""

from __future__ import annotations

from nexus_proxy.state import SpendRow

NONE = "–"
"""How it looks where nothing could have cost anything."""


def money(usd: float) -> str:
    """`$12.30`, `$0.0042`, `$0.0000013`, `$0.00000005`: never `$0.00` for something that is not
    zero."""
    if usd == 0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    if abs(usd) >= 0.0001:
        return f"${usd:.4f}"
    if abs(usd) >= 0.000001:
        return f"${usd:.7f}"
    return f"${usd:.9f}" if abs(usd) >= 1e-9 else "<$0.000000001"


def tabular(usd: float) -> str:
    """The same for a column that is flush right: decimal points stand below each other."""
    if 0 < abs(usd) < 0.0001:
        return "<$0.0001"
    return f"${usd:.4f}" if 0 < abs(usd) < 1 else f"${usd:,.2f}  "


def came_to(row: SpendRow) -> str:
    """What requests have cost, with the marks of `LEGEND`: `$1.20`, `~$0.0042`, `$3.00 + 2?`,
    `local`, `–`; `2?` where nothing else is known, `running` where nothing has ended."""
    if not row.requests:
        return NONE
    if row.requests == row.free_requests:
        return "local"
    usd = row.usd_measured + row.usd_estimated
    unknown = f"{row.unknown_requests}?" if row.unknown_requests else ""
    if not usd and (unknown or row.usd_reserved):
        return unknown or "running"
    figure = f"~{money(usd)}" if row.usd_estimated else money(usd)
    return f"{figure} + {unknown}" if unknown else figure


LEGEND = "~ estimated in part   2? two requests of unknown price, in no sum   local: costs nothing"
"""What the marks mean."""


def gauge(
    used: float, limit: float, soft_percent: float, cells: int, forecast: float | None = None
) -> str:
    """How much of a limit is used, as a bar of `cells`; `┊` stands where the soft limit begins,
    `┃` once it is passed, `◇` where the month is heading, if that is within the limit. Full only at
    the limit, and never empty above zero."""
    filled = cells if used >= limit else min(cells - 1, int(cells * used / limit))
    if used > 0:
        filled = max(1, filled)
    bar = list("█" * filled + "░" * (cells - filled))
    mark = int(cells * soft_percent / 100)
    if 0 < mark < cells:
        bar[mark] = "┃" if used * 100 >= limit * soft_percent else "┊"
    if forecast is not None and used < forecast < limit:
        bar[min(cells - 1, int(cells * forecast / limit))] = "◇"
    return "".join(bar)


def bar(value: float, most: float, cells: int) -> str:
    """A bar as long as `value` is of `most`, to an eighth of a cell; never empty above zero."""
    if value <= 0 or most <= 0:
        return ""
    eighths = max(1, round(min(1.0, value / most) * cells * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]
