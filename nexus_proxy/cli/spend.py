"""`nexus spend`: what a month has cost, and where it is heading."""

from __future__ import annotations

from collections.abc import Iterator

import click

from nexus_proxy.accounting.money import money
from nexus_proxy.accounting.report import BY
from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, show_json, show_table
from nexus_proxy.cli.text import count
from nexus_proxy.state import SpendReport, SpendRow

_BAR = 24


@click.command()
@click.option("--by", type=click.Choice(BY), default="day", help="What the rows are.")
@click.option("--month", default=None, help="Such as 2026-11. Default: the current one.")
@json_option
@connected
def spend(client: Client, by: str, month: str | None, as_json: bool) -> None:
    """Show what was spent, by day, backend, model or API key.

    A figure with ~ is estimated in part, ? marks requests of unknown price; local ones are free.
    """
    query = {"by": by} if month is None else {"by": by, "month": month}
    found = client.get("/nexus/v1/spend", SpendReport, query)
    if as_json:
        show_json(found)
        return
    rows = [row for row in found.rows if row.requests or by != "day"]
    if rows:
        most = max(map(_usd, rows))
        columns = (by.upper(), "REQUESTS", "TOKENS IN", "TOKENS OUT", "USD", "")
        table = [_row(row, most) for row in rows]
        show_table(columns, table, right=("REQUESTS", "TOKENS IN", "TOKENS OUT", "USD"))
    for line in _summary(found):
        remark(line)


def _usd(row: SpendRow) -> float:
    return row.usd_measured + row.usd_estimated


def _row(row: SpendRow, most: float) -> tuple[str, ...]:
    figures = []
    if row.requests > row.free_requests + row.unknown_requests:
        figures.append(("~" if row.usd_estimated else "") + money(_usd(row)))
    if row.unknown_requests:
        figures.append(f"{row.unknown_requests}?")
    figure = " + ".join(figures) or "free"
    bar = "█" * round(_BAR * _usd(row) / most) if most else ""
    tokens = (f"{row.prompt_tokens:,}", f"{row.completion_tokens:,}")
    return (row.label or "(no key)", f"{row.requests:,}", *tokens, figure, bar)


def _summary(report: SpendReport) -> Iterator[str]:
    limit = "" if report.limit_usd is None else f" of {money(report.limit_usd)}"
    line = f"{report.month}: {money(report.spent_usd)} spent{limit}"
    if report.reserved_usd:
        line += f", {money(report.reserved_usd)} reserved by requests that run"
    if report.unknown_requests:
        requests = count(report.unknown_requests, "request")
        line += f", {requests} of unknown price (say it in [[prices]])"
    yield line + "."
    if report.elsewhere_usd:
        yield f"Other replicas have used {money(report.elsewhere_usd)} of the same limit."
    if report.forecast_usd:
        yield f"By the end of the month about {money(report.forecast_usd)} (estimated)."
    if report.limit_usd is None:
        yield "No limit is set: routing.budget.monthly_limit_usd."
