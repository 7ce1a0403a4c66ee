"""What the relay needs to reach one backend, put together once and not for each request."""

from __future__ import annotations

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Adapter, Target
from nexus_proxy.config.model import TimeoutsConfig
from nexus_proxy.dialects.openai import SENT, Endpoint
from nexus_proxy.registry import Backend
from nexus_proxy.relay.connections.probe import host_answers
from nexus_proxy.relay.connections.upstream import Pool, Pools
from nexus_proxy.relay.timeouts import Clocks

FIRST_TOKEN_LOCAL, FIRST_TOKEN_CLOUD = 600.0, 120.0
CROWDED_FACTOR = 4


class Line:
    """The way to one backend, as long as its address and its kind stay what they are."""

    def __init__(self, backend: Backend, pool: Pool, timeouts: TimeoutsConfig) -> None:
        self.backend = backend
        self.traits = backend.traits
        self.adapter: Adapter = adapter_for(backend.type)
        self.pool = pool
        self.clocks = _clocks(timeouts, is_cloud=self.traits.is_cloud)
        self._paths = {e: pool.prefix + self.adapter.path_of(e) for e in SENT}
        self.tongue = self.adapter.tongue
        self.speaks_chat = self.tongue is None and not self.traits.sizes_context
        self._lacking: set[Endpoint] = set()
        self._auth: tuple[str | None, bytes] = (None, self._auth_lines(None))

    def path_of(self, endpoint: Endpoint) -> str:
        """Path of an endpoint on its server."""
        return self._paths[endpoint]

    def native_path(self, endpoint: Endpoint, body: bytes) -> str | None:
        """Path at which it takes a request in a dialect other than chat as it is; None: it does
        not."""
        if endpoint in self._lacking or not self.adapter.takes(endpoint, body):
            return None
        return self.pool.prefix + self.adapter.native[endpoint]

    def lacks(self, endpoint: Endpoint, body: bytes) -> bool:
        """It has no such path: an older release, or another server of the same kind. False: it was
        not asked there."""
        was_asked = self.native_path(endpoint, body) is not None
        self._lacking.add(endpoint)
        return was_asked

    def auth(self, key: str | None) -> bytes:
        """Header lines that let us in, each with its line end."""
        if self._auth[0] != key:
            self._auth = (key, self._auth_lines(key))
        return self._auth[1]

    async def host_answers(self) -> bool:
        """Whether its host shows life on a second connection."""
        backend = self.backend
        # llama.cpp was seen to stop answering its health path once all HTTP threads hold requests.
        crowded = backend.in_flight > CROWDED_FACTOR * (backend.slots or 1)
        answers = backend.answers_while_busy and not crowded
        path = self.pool.prefix + self.adapter.health_path
        return await host_answers(self.pool, path if answers else None)

    def _auth_lines(self, key: str | None) -> bytes:
        target = Target(base_url=self.backend.url, api_key=key)
        headers = self.adapter.auth_headers(target)
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


class Lines:
    """The lines of all backends, made on first use."""

    def __init__(self, pools: Pools, timeouts: TimeoutsConfig) -> None:
        self._pools, self._timeouts = pools, timeouts
        self._lines: dict[str, Line] = {}

    def to(self, backend: Backend) -> Line:
        """The way to a backend, as it is now."""
        line = self._lines.get(backend.name)
        if line is None or line.backend is not backend or line.traits is not backend.traits:
            pool = self._pools.of(
                backend.name,
                backend.url,
                idle_seconds=backend.traits.idle_reuse_seconds,
                is_cloud=backend.traits.is_cloud,
            )
            line = self._lines[backend.name] = Line(backend, pool, self._timeouts)
        return line

    def forget(self, name: str) -> None:
        """The backend is no longer listed."""
        self._lines.pop(name, None)
        self._pools.forget(name)


def _clocks(timeouts: TimeoutsConfig, *, is_cloud: bool) -> Clocks:
    default = FIRST_TOKEN_CLOUD if is_cloud else FIRST_TOKEN_LOCAL
    return Clocks(
        connect_seconds=timeouts.connect_seconds,
        first_token_seconds=timeouts.first_token_seconds or default,
        idle_seconds=timeouts.idle_seconds,
        total_seconds=timeouts.total_seconds,
        load_seconds=max(timeouts.load_seconds, timeouts.first_token_seconds or default),
    )
