"""`nexus spend`: what a month has cost, and where it is heading."""

from __future__ import annotations

from collections.abc import Iterator

import click

from nexus_proxy.accounting.money import LEGEND, bar, came_to, gauge, money
from nexus_proxy.accounting.report import BY
from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.state import SpendReport, SpendRow
from nexus_proxy.wording import plural

_BAR = 24
_RIGHT = ("REQUESTS", "TOKENS IN", "TOKENS OUT", "USD")


@click.command()
@click.option("--by", type=click.Choice(BY), default="day", help="What the rows are.")
@click.option("--month", default=None, help="Such as 2026-11. Default: the current one.")
@json_option
@connected
def spend(client: Client, by: str, month: str | None, as_json: bool) -> None:
    """Show what was spent, by day, backend, model or API key.

    A figure with ~ is estimated in part, 2? are two requests of unknown price, which are in no sum;
    what runs on your own machines is local and costs nothing.
    """
    query = {"by": by} if month is None else {"by": by, "month": month}
    found = client.get("/nexus/v1/spend", SpendReport, query)
    if as_json:
        show_json(found)
        return
    rows = [row for row in found.rows if row.requests]
    if rows:
        most = max(map(_usd, rows))
        columns = (by.upper(), *_RIGHT, "")
        show_table(columns, [_row(row, most) for row in rows], right=_RIGHT)
        if any(row.usd_estimated or row.unknown_requests for row in rows):
            remark(LEGEND)
    for line in _summary(found):
        say(line)
    for line in _advice(found):
        remark(line)


def _usd(row: SpendRow) -> float:
    return row.usd_measured + row.usd_estimated


def _row(row: SpendRow, most: float) -> tuple[str, ...]:
    return (
        row.label or "(no key)",
        f"{row.requests:,}",
        f"{row.prompt_tokens:,}",
        f"{row.completion_tokens:,}",
        came_to(row),
        bar(_usd(row), most, _BAR),
    )


def _summary(report: SpendReport) -> Iterator[str]:
    used, limit = report.spent_usd + report.reserved_usd, report.limit_usd
    line = f"{report.month}: {money(report.spent_usd)} spent"
    if limit is not None:
        line += f" of {money(limit)}  "
        line += gauge(used, limit, report.soft_percent or 0.0, _BAR, report.forecast_usd)
    if report.reserved_usd:
        line += f", {money(report.reserved_usd)} reserved by requests that run"
    if report.unknown_requests:
        requests = plural(report.unknown_requests, "request")
        line += f", {requests} of unknown price"
    yield line
    if report.elsewhere_usd:
        yield f"other replicas have used {money(report.elsewhere_usd)} of the same limit"
    if report.forecast_usd:
        yield f"◇ by the end of the month about {money(report.forecast_usd)} (estimated)"


def _advice(report: SpendReport) -> Iterator[str]:
    if not any(row.requests for row in report.rows):
        yield (
            f"Nothing ran in {report.month}. Requests to clouds cost money and are counted here, "
            "and so are the tokens of those on your own machines."
        )
    if report.unknown_requests:
        yield "Say what they cost in [[prices]], and the next ones are in the sums."
    if report.limit_usd is None:
        yield "No limit is set: monthly_limit_usd under [routing.budget] sets one."
