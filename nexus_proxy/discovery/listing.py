"""From a verified report to a backend in the list: its name, its zone, whether it has traffic."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.address import canonical
from nexus_proxy.config.model import Zone
from nexus_proxy.discovery.base import Found
from nexus_proxy.discovery.environment import PROVIDERS
from nexus_proxy.discovery.identify import Identity
from nexus_proxy.discovery.records import slug
from nexus_proxy.discovery.zones import own_machine, zone_of
from nexus_proxy.errors import CommandError
from nexus_proxy.registry import Backend

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OWN_ADDRESSES = frozenset(provider.url for provider in PROVIDERS)


def derived_name(url: str, kind: str, default_port: int | None, host: str | None = None) -> str:
    """A name that stays the same from start to start: `ollama`, `llamacpp-8081`,
    `ollama-gpubox`. This machine, a provider's own address and a kind's usual port go without
    saying."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    pieces = [kind]
    if not own_machine(url) and url not in _OWN_ADDRESSES:
        pieces.append(slug(host or parts.hostname or ""))
    if port not in (default_port, 80, 443):
        pieces.append(str(port))
    return "-".join(piece for piece in pieces if piece)


def checked_name(name: str) -> str:
    """`name` as an operator may give it. Raises `CommandError`."""
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} cannot be a backend's name: letters, digits, '.', '_' and '-' can, up to 64"
        )
    return name


def listed(found: Found, identity: Identity) -> Backend:
    """The backend that was found, under the name that fits it (which may be taken).

    A cloud, or a gateway that may pass prompts on to anyone, is `open` wherever it runs.
    """
    traits = adapter_for(identity.type).traits
    own = Zone.OPEN if identity.forwards or traits.is_cloud else zone_of(identity.url)
    return Backend(
        name=derived_name(identity.url, identity.kind, traits.default_port, found.host),
        url=identity.url,
        address=canonical(identity.url),
        type=identity.type,
        traits=traits,
        source=found.source,
        origin=found.origin,
        zone=own if found.zone is None else found.zone,
        accepted=found.trusted,
        api_key_env=found.api_key_env,
        version=identity.version,
        answers_while_busy=traits.answers_while_busy,
    )
