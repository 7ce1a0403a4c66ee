"""Money as people read it."""

from __future__ import annotations


def money(usd: float) -> str:
    """`$12.30`, `$0.0042`, `$0.0000013`: never `$0.00` for something that is not zero."""
    if usd == 0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    return f"${usd:.4f}" if abs(usd) >= 0.0001 else f"${usd:.7f}"
