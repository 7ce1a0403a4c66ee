"""All that a reader may see: frozen views, made by `Runtime.snapshot()`, shared by UI, CLI and API.

Times are seconds since the epoch unless a name ends in `_ms`. `None` means unknown, never zero.
"""

from nexus_proxy.state.backends import (
    BackendState,
    BackendView,
    Probe,
    Sighting,
    Source,
    Traits,
    Truncation,
)
from nexus_proxy.state.keys import KeyView
from nexus_proxy.state.models import Capability, ModelInfo
from nexus_proxy.state.operations import OperationKind, OperationPhase, OperationView
from nexus_proxy.state.quality import QualityParts, QualityState, QualityView, QualityWindow
from nexus_proxy.state.queue import Obstacle, QueueView, WaiterView
from nexus_proxy.state.requests import (
    OVER,
    RUNNING,
    AttemptView,
    CandidateView,
    DecisionView,
    Preview,
    RejectionView,
    RequestPhase,
    RequestView,
)
from nexus_proxy.state.snapshot import LogLine, Snapshot, Totals
from nexus_proxy.state.spend import BudgetLevel, BudgetStanding, SpendReport, SpendRow, SpendSummary
from nexus_proxy.state.trends import BackendTrend, Trend

__all__ = [
    "OVER",
    "RUNNING",
    "AttemptView",
    "BackendState",
    "BackendTrend",
    "BackendView",
    "BudgetLevel",
    "BudgetStanding",
    "CandidateView",
    "Capability",
    "DecisionView",
    "KeyView",
    "LogLine",
    "ModelInfo",
    "Obstacle",
    "OperationKind",
    "OperationPhase",
    "OperationView",
    "Preview",
    "Probe",
    "QualityParts",
    "QualityState",
    "QualityView",
    "QualityWindow",
    "QueueView",
    "RejectionView",
    "RequestPhase",
    "RequestView",
    "Sighting",
    "Snapshot",
    "Source",
    "SpendReport",
    "SpendRow",
    "SpendSummary",
    "Totals",
    "Traits",
    "Trend",
    "Truncation",
    "WaiterView",
]
