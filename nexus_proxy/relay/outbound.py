"""The request that goes to a backend: the caller's bytes under our headers."""

from __future__ import annotations

from nexus_proxy.backends.base import Adapter, Target
from nexus_proxy.dialects import openai
from nexus_proxy.dialects.edit import edit
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.call import Call
from nexus_proxy.relay.upstream import Pool
from nexus_proxy.state import Traits


class Outbound:
    """How one call is put to one backend.

    Attributes:
        streams: a stream is asked for: as the client did, or because the backend would go on
            generating after the client of a non-streaming request left.
        aggregates: the answer is put together from that stream, for a client that wants a whole.
        strip_usage: the usage chunk was our wish, not the client's.
    """

    def __init__(self, call: Call, adapter: Adapter, traits: Traits, served_id: str) -> None:
        peek = call.peek
        self._call, self._adapter = call, adapter
        generates = call.inbound.endpoint is not Endpoint.EMBEDDINGS
        self.streams = generates and (peek.stream or not traits.cancels_non_stream)
        self.aggregates = self.streams and not peek.stream
        wants_usage = self.streams and (traits.stream_usage or self.aggregates)
        self._asks_usage = wants_usage and not peek.wants_usage
        self.strip_usage = self._asks_usage and not self.aggregates
        self._served_id = served_id

    def request(self, pool: Pool, target: Target) -> list[bytes]:
        """Head and body, ready to be written."""
        call = self._call
        body = self._body()
        head = wire_headers.request_head(
            path=pool.prefix + self._adapter.path_of(call.inbound.endpoint),
            authority=pool.authority,
            auth=self._adapter.auth_headers(target),
            headers=call.inbound.headers,
            hops=call.hops,
            length=len(body),
            stream=self.streams,
            rid=call.record.id,
        )
        return [head, body]

    def _body(self) -> bytes:
        """The caller's bytes, with single top-level values replaced where that must be."""
        body, peek = self._call.inbound.body, self._call.peek
        changes: dict[str, object] = {}
        if self._served_id != peek.model:
            changes["model"] = self._served_id
        if self.aggregates:
            changes["stream"] = True
        if self._asks_usage:
            changes["stream_options"] = openai.stream_options_with_usage(body)
        return edit(body, changes) if changes else body
