"""`GET /v1/stats` and `/v1/history`: what requests came to, and the requests themselves.

Access as for `/metrics`, whose counters are the same ones.

Both take `model`, `backend`, `key` and `status` (`done`, `failed`, `cancelled`, …), and
`/v1/history` also an HTTP status as `status`, `since` (seconds since the epoch, or ISO 8601) and
`limit`. What else is asked for is refused, so that a misspelt filter does not pass for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from quart import Quart, Response, request

from nexus_proxy.api.answers import json_answer
from nexus_proxy.api.asking import moment, phases, whole_number
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import RequestPhase, RequestView
from nexus_proxy.telemetry.history import KEPT
from nexus_proxy.telemetry.tally import Counts, Labels, Row, Tally

HISTORY_LIMIT = 100
_ROWS = ("model", "backend", "key", "status")
_VIEWS = (*_ROWS, "since", "limit")


class Sums(Counts, kw_only=True):
    """Counts of requests and tokens, and money (USD), in which no unpriced request is. Mean times
    in ms, None where nothing was measured."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    cost_measured_usd: float = 0.0
    cost_estimated_usd: float = 0.0
    unpriced_requests: int = 0
    mean_duration_ms: float | None = None
    mean_first_token_ms: float | None = None
    mean_inter_token_ms: float | None = None


class Stats(Struct, kw_only=True):
    """The answer of `/v1/stats`: since `since` (seconds since the epoch), `total` and the same by
    model, by backend and by API key. `refused` are those that were never routed, by kind of error;
    they, and `in_flight` and `queued`, which are now, are told whatever was filtered."""

    since: float
    in_flight: int
    queued: int
    refused: dict[str, int]
    total: Sums
    by_endpoint: dict[str, Sums]
    by_model: dict[str, Sums]
    by_backend: dict[str, Sums]
    by_key: dict[str, Sums]


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    @app.get("/v1/stats")
    async def stats() -> Response:
        wanted = _filters(_ROWS)
        if "status" in wanted:
            phases(wanted["status"])
        tally = await runtime.siblings.tally()
        snapshot = await runtime.siblings.snapshot()
        rows = _matching(tally, wanted)
        return json_answer(
            Stats(
                since=snapshot.started_at,
                in_flight=snapshot.totals.in_flight,
                queued=len(snapshot.queue),
                refused=_by_kind(tally),
                total=_sums(rows.items()),
                by_endpoint=_grouped(rows, 0),
                by_model=_grouped(rows, 1),
                by_backend=_grouped(rows, 2),
                by_key=_grouped(rows, 3),
            )
        )

    @app.get("/v1/history")
    async def history() -> Response:
        wanted = _filters(_VIEWS)
        since, limit = moment(wanted.get("since")), _limit(wanted)
        status = wanted.get("status")
        is_code = status is not None and status.isascii() and status.isdigit()
        wanted_phases = phases(None if is_code else status)
        views = [
            view
            for view in await runtime.siblings.requests(KEPT)
            if view.started >= since
            and view.phase in wanted_phases
            and (not is_code or str(view.status) == status)
            and _matches(view, wanted)
        ]
        started = (await runtime.siblings.snapshot()).started_at
        return json_answer({"since": started, "matching": len(views), "requests": views[:limit]})


# -- what is asked for -----------------------------------------------------------------------------


def _filters(known: tuple[str, ...]) -> Mapping[str, str]:
    wanted = request.args.to_dict()
    for name in wanted:
        if name not in known:
            raise InvalidRequestError(
                f"{request.path} has no filter {name[:40]!r}; it takes {', '.join(known)}"
            )
    return wanted


def _limit(wanted: Mapping[str, str]) -> int:
    return whole_number("limit", wanted.get("limit"), HISTORY_LIMIT)


# -- what is told ----------------------------------------------------------------------------------


def _matching(tally: Tally, wanted: Mapping[str, str]) -> dict[Labels, Row]:
    asked = [wanted.get(name) for name in _ROWS]
    return {
        labels: row
        for labels, row in tally.rows.items()
        if all(a is None or a == has for a, has in zip(asked, labels[1:], strict=True))
    }


def _by_kind(tally: Tally) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for (kind, _), count in tally.refusals.items():
        kinds[kind] = kinds.get(kind, 0) + count
    return kinds


def _matches(view: RequestView, wanted: Mapping[str, str]) -> bool:
    model, backend, key = (wanted.get(name) for name in ("model", "backend", "key"))
    meant = view.decision.model if view.model is None and view.decision else view.model
    return (
        (model is None or model in (meant, view.model_asked))
        and (backend is None or backend == view.backend)
        and (key is None or key == view.key)
    )


def _grouped(rows: Mapping[Labels, Row], place: int) -> dict[str, Sums]:
    """Sums by one of the labels. Rows without it are left out."""
    groups: dict[str, list[tuple[Labels, Row]]] = {}
    for labels, row in rows.items():
        if labels[place]:
            groups.setdefault(labels[place], []).append((labels, row))
    return {name: _sums(group) for name, group in sorted(groups.items())}


def _sums(rows: Iterable[tuple[Labels, Row]]) -> Sums:
    whole, outcomes = Row(), dict[str, int]()
    for labels, row in rows:
        whole.include(row)
        outcomes[labels[4]] = outcomes.get(labels[4], 0) + row.requests
    return Sums(
        **{name: getattr(whole, name) for name in Counts.__struct_fields__},
        done=outcomes.get(RequestPhase.DONE.value, 0),
        failed=outcomes.get(RequestPhase.FAILED.value, 0),
        cancelled=outcomes.get(RequestPhase.CANCELLED.value, 0),
        cost_measured_usd=whole.measured_usd,
        cost_estimated_usd=whole.estimated_usd,
        unpriced_requests=whole.unpriced,
        mean_duration_ms=whole.duration.mean_ms(),
        mean_first_token_ms=whole.first_token.mean_ms(),
        mean_inter_token_ms=whole.token_gap.mean_ms(),
    )
