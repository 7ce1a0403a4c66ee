"""`nexus airplane on|off`: the verb of the same name."""

from __future__ import annotations

from nexus_proxy.cli.backends import verb
from nexus_proxy.commands import BY_NAME

airplane = verb("airplane", BY_NAME["gateway.airplane"])
