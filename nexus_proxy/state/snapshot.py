"""The gateway as a whole, at one moment."""

from __future__ import annotations

from msgspec import Struct

from nexus_proxy.state.backends import BackendView
from nexus_proxy.state.keys import KeyView
from nexus_proxy.state.operations import OperationView
from nexus_proxy.state.quality import QualityView
from nexus_proxy.state.queue import WaiterView
from nexus_proxy.state.requests import RequestView
from nexus_proxy.state.spend import BudgetStanding, SpendSummary
from nexus_proxy.state.trends import BackendTrend, Trend

SHOWN_REQUESTS = 1000
SHOWN_LINES = 500
"""How many of each a snapshot has at the most."""


class LogLine(Struct, frozen=True, kw_only=True):
    """One log record, redacted. `worker` is the process that wrote it, where several do."""

    at: float
    level: str
    component: str
    message: str
    worker: int | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """Counters since start and rates over the last ten seconds."""

    requests: int
    failures: int
    cancelled: int
    in_flight: int
    requests_per_second: float
    tokens_per_second: float


class Snapshot(Struct, frozen=True, kw_only=True):
    """The gateway at one moment. `requests` is newest first and bounded (running ones are always
    all there). `problems` are sentences about what is wrong now, worst first."""

    taken_at: float
    version: str
    endpoint: str
    started_at: float
    draining: bool
    config_path: str | None
    strategy: str
    totals: Totals
    backends: tuple[BackendView, ...]
    requests: tuple[RequestView, ...]
    logs: tuple[LogLine, ...]
    aliases: dict[str, str]
    pins: dict[str, str]
    problems: tuple[str, ...]
    keys: tuple[KeyView, ...]
    """API keys by name; none: nobody needs one."""
    searching: tuple[str, ...]
    """Where discovery looks, in words: `127.0.0.1:11434 (Ollama)`, `mDNS _ollama._tcp`."""
    budget: BudgetStanding | None = None
    spend: SpendSummary | None = None
    """None until it was read from the ledger; up to some seconds old."""
    quality: tuple[QualityView, ...] = ()
    """By model, best first; those without a score last."""
    queue: tuple[WaiterView, ...] = ()
    """Who waits for a slot, in the order of service."""
    trends: dict[str, BackendTrend] = {}
    """By backend; only those that served lately."""
    airplane: bool = False
    """Nothing is sent to clouds."""
    replicas: int | None = None
    """How many gateways share `state.url`, this one included; None: it shares nothing."""
    fallbacks: dict[str, tuple[str, ...]] = {}
    """Model -> models that are tried where it cannot be served, in this order."""
    trend: Trend = Trend()
    operations: tuple[OperationView, ...] = ()
    """Models that are loaded, unloaded or moved: those that run, then those that ended, newest
    first."""
