"""The dialects that are translated, by the endpoint that speaks them."""

from __future__ import annotations

from nexus_proxy.dialects.anthropic import Messages
from nexus_proxy.dialects.base import Dialect
from nexus_proxy.dialects.openai import Endpoint

FOREIGN: dict[Endpoint, Dialect] = {Endpoint.MESSAGES: Messages()}
