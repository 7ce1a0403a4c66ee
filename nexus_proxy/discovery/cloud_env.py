"""Cloud backends for which the environment holds a key: listed, and not called until accepted."""

from __future__ import annotations

from collections.abc import Mapping

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.discovery.base import Found, Sink
from nexus_proxy.discovery.environment import PROVIDERS, Named, named
from nexus_proxy.discovery.zones import zone_of
from nexus_proxy.state import Source


class CloudEnv:
    """Reads the environment once. Only names of variables leave this class, never a key."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def looking_at(self) -> tuple[str, ...]:
        """The variables, in words."""
        names = ", ".join(name for provider in PROVIDERS for name in provider.keys)
        return (f"{names} in the environment",)

    async def run(self, sink: Sink) -> None:
        """Report what is there, and end."""
        for one in named(self._environ)[0]:
            if zone_of(one.url) is not Zone.OPEN:
                self._explain(one, sink)
            elif one.api_key_env or one.type is BackendType.OLLAMA:
                sink.report(_cloud(one))

    @staticmethod
    def _explain(one: Named, sink: Sink) -> None:
        if one.api_key_env:
            sink.note(
                f"{one.variable} points at {one.url}: {one.api_key_env} is that server's key, "
                f"and makes no cloud backend"
            )


def _cloud(one: Named) -> Found:
    return Found(
        key=f"environment {one.variable}",
        urls=(one.url,),
        source=Source.ENVIRONMENT,
        origin=f"named by {one.variable}",
        trusted=False,
        type=one.type,
        api_key_env=one.api_key_env,
    )
