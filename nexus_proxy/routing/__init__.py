"""Which backend serves a request: pure decisions, with a reason for every backend left out.

STAGES is the one ordered list. A stage takes the candidates that are left, may remove some with
a reason, and, if it is the last one, orders them. Nothing can slip in ahead of privacy: stages
are not plugins.
"""

from nexus_proxy.routing import (
    airplane,
    analyze,
    budget,
    lifecycle,
    privacy,
    quality,
    schedule,
    tier,
)
from nexus_proxy.routing.types import Stage

STAGES: tuple[Stage, ...] = (
    Stage("analyze", "who lists the model and can do what the request needs", analyze.keep),
    Stage("lifecycle", "who is enabled, up, not draining and not asleep", lifecycle.keep),
    Stage("airplane", "who is not in a cloud, in airplane mode", airplane.keep),
    Stage("privacy", "who is closed enough for the prompt", privacy.keep),
    Stage("budget", "what may be spent", budget.keep),
    Stage("tier", "who is good enough", tier.keep),
    Stage("quality", "who has not failed too often", quality.keep),
    Stage("schedule", "who goes first", schedule.order),
)
