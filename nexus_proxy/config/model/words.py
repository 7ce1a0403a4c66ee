"""The words that values are chosen from."""

from __future__ import annotations

from enum import Enum
from functools import total_ordering


@total_ordering
class Zone(Enum):
    """How far a prompt may travel, from open to closed. Comparison is by closedness.

    `label` is the name as configuration, headers, screens and JSON spell it, `rank` its place.
    """

    label: str
    rank: int

    OPEN = "open"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    def __init__(self, label: str) -> None:
        self.label = label
        self.rank = len(type(self).__members__)

    def __lt__(self, other: Zone) -> bool:
        return self.rank < other.rank

    @classmethod
    def parse(cls, text: str) -> Zone:
        """Read a zone name in any case. Raises `ValueError` naming the zones that exist."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            known = ", ".join(zone.label for zone in cls)
            raise ValueError(f"unknown zone {text!r}; the zones are {known}") from None


class BackendType(str, Enum):
    """Kinds of backend that Nexus knows how to talk to."""

    OLLAMA = "ollama"
    LMSTUDIO = "lmstudio"
    VLLM = "vllm"
    LLAMACPP = "llamacpp"
    EXO = "exo"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    GENERIC = "generic"


class Strategy(str, Enum):
    """How the schedule stage orders the candidates that are left."""

    SMART = "smart"
    ROUND_ROBIN = "round_robin"
    PRIORITY_ONLY = "priority_only"
    RANDOM = "random"
    LEAST_BUSY = "least_busy"

    __hash__ = str.__hash__  # in C, and the same; that of `Enum` is written in Python


class TrustMdns(str, Enum):
    """What happens with a host that announces itself over mDNS."""

    ASK = "ask"
    ALWAYS = "always"
    NEVER = "never"


class Privacy(str, Enum):
    """A policy's word on privacy: `restricted` requires the zone of the same name."""

    UNRESTRICTED = "unrestricted"
    RESTRICTED = "restricted"


class Priority(str, Enum):
    """Which class of the queue a request waits in."""

    HIGH = "high"
    NORMAL = "normal"


class BudgetAction(str, Enum):
    """What happens when the month's budget is spent."""

    WARN = "warn"
    BLOCK_CLOUD = "block_cloud"
    BLOCK_ALL = "block_all"


class LogLevel(str, Enum):
    """Verbosity of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(str, Enum):
    """`pretty` for people, `json` for aggregators."""

    PRETTY = "pretty"
    JSON = "json"
