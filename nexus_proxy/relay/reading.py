"""What routing must know of a request, read from its head and its body."""

from __future__ import annotations

import random

from nexus_proxy.backends import adapter_for
from nexus_proxy.dialects import direct, openai
from nexus_proxy.dialects.direct import ROUTES
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import NexusError
from nexus_proxy.quality.affinity import Affinity, Keys
from nexus_proxy.registry import Registry
from nexus_proxy.relay.call import Call, Envelope
from nexus_proxy.relay.till import Till
from nexus_proxy.relay.translating import translate
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.timing import EACH
from nexus_proxy.routing.types import RequestFacts, Stage

_EMBEDDINGS = openai.Endpoint.EMBEDDINGS


class Reader:
    """Reads requests, in the order in which they come. `timed_stages` route some of them."""

    def __init__(self, registry: Registry, affinity: Affinity, till: Till) -> None:
        self._registry, self._affinity, self._till = registry, affinity, till
        self._turn = 0
        self.timed_stages: tuple[Stage, ...] | None = None

    def facts(self, call: Call, rules: Rules) -> RequestFacts:
        """What routing needs of the request. Raises `NexusError` where it cannot be read."""
        envelope, record = call.envelope, call.record
        wishes = envelope.wishes
        if wishes is None or envelope.problem is not None:
            raise envelope.problem or NexusError("the request's headers cannot be read")
        if envelope.key is not None:
            record.key = envelope.key.name
        if envelope.dialect is not None:
            translate(
                call,
                envelope.dialect,
                may_go_as_it_is=self._speaks(call.endpoint),
                stabilise=rules.stabilise_prompts,
            )
        elif call.endpoint in ROUTES:
            content_type = envelope.headers.get(b"content-type", b"")
            call.peek = direct.peek(call.endpoint, call.body, content_type)
        else:
            call.peek = openai.peek(call.endpoint, call.body)
        peek = call.peek
        record.model_asked, record.stream = peek.model, peek.stream
        self._turn += 1
        home = None
        if len(self._registry) > 1:
            call.keys = self._keys(envelope, peek)
            home = self._affinity.preferred(call.keys)
        return RequestFacts(
            model_asked=peek.model,
            needs=peek.needs,
            prompt_bytes=peek.prompt_bytes,
            zone=wishes.zone if envelope.key is None else max(wishes.zone, envelope.key.zone),
            strict=wishes.strict,
            flexible=wishes.flexible,
            affinity=home,
            purse=self._till.purse(call, has_limits=rules.has_cost_limits),
            turn=self._turn,
            now=call.clock,
            luck=random.random,
            stages=None if self._turn % EACH else self.timed_stages,
            reads_apart=peek.reads_apart,
            route=peek.route,
            embeds=call.endpoint is _EMBEDDINGS,
        )

    def _speaks(self, endpoint: Endpoint) -> bool:
        """Whether there is a backend that takes a dialect as it is."""
        return any(endpoint in adapter_for(one.type).native for one in self._registry)

    def _keys(self, envelope: Envelope, peek: openai.RequestPeek) -> Keys:
        """By what the request's conversation is known."""
        if envelope.session is not None:
            return self._affinity.session_keys(envelope.session, peek.model)
        return self._affinity.message_keys(peek.messages, peek.model)
