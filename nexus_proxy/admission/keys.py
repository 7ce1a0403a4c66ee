"""API keys: who may send requests, for which models, in which zone.

A secret is `nxs-` and 256 random bits, made by `new_secret`. Only its SHA-256 is kept. A slow hash
(bcrypt, argon2) would protect secrets that people choose, which a thief can try out; nobody tries
out 2^256, and a slow hash in front of every request would be a cheap way to stop the gateway. For
the same reason what does not look like such a secret is refused unhashed.

The hash of what was presented is looked up by the table's own hashing, and what is found is
compared in constant time. The time of the look-up tells at most something of the digest of a wrong
guess, from which no next guess follows.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import translate
from hashlib import sha256

from nexus_proxy.config.model import KeyConfig, Priority, Zone
from nexus_proxy.errors import ModelNotAllowedError, UnauthorizedError

PREFIX = "nxs-"
SECRET_BYTES = 32
HASH_PREFIX = "sha256:"
LONGEST_SECRET = 128
"""Bytes. Longer values are not even hashed; ours have 47."""

Headers = Mapping[bytes, bytes]

_PREFIX = PREFIX.encode()
_BEARER = b"bearer "
_PLAIN_HEADERS = (b"x-api-key", b"api-key")


def new_secret() -> str:
    """A secret that nobody can guess, from characters that need no quoting anywhere."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> str:
    """What the configuration keeps of a secret: `sha256:` and 64 hexadecimal digits."""
    return HASH_PREFIX + sha256(secret.encode()).hexdigest()


class Key:
    """One API key, as the configuration has it. Never changed; a reload makes new ones.

    Attributes:
        zone: the key's requests stay in this zone or a closer one.
        monthly_limit_usd, requests_per_minute, tokens_per_minute: None: no limit.
        models: globs of what may be asked for; empty: everything.
        watch: its holder may see what an operator sees.
    """

    __slots__ = (
        "_digest",
        "_models",
        "models",
        "monthly_limit_usd",
        "name",
        "priority",
        "requests_per_minute",
        "tokens_per_minute",
        "watch",
        "zone",
    )

    def __init__(self, config: KeyConfig) -> None:
        self.name = config.name
        self.zone = Zone.OPEN if config.zone is None else Zone.parse(config.zone)
        self.priority: Priority = config.priority
        self.monthly_limit_usd = config.monthly_limit_usd
        self.requests_per_minute = config.requests_per_minute
        self.tokens_per_minute = config.tokens_per_minute
        self.watch = config.watch
        self.models = tuple(config.models)
        self._models = re.compile("|".join(map(translate, self.models))) if self.models else None
        self._digest = bytes.fromhex(config.hash.removeprefix(HASH_PREFIX))

    def allows(self, names: Sequence[str]) -> bool:
        """Whether one of the names on the way from what was asked to what is served is on the
        key's list. So an alias may be allowed by its own name or by the model it stands for.

        A `backend/id` name is no name of a model: leave it out.
        """
        models = self._models
        return models is None or any(models.match(name) for name in names)

    def require(self, asked: str, names: Sequence[str]) -> None:
        """Raises `ModelNotAllowedError` where none of `names` is allowed."""
        if not self.allows(names):
            shown = ", ".join(self.models[:5]) + (" …" if len(self.models) > 5 else "")
            raise ModelNotAllowedError(
                f"the key {self.name!r} may not use the model {asked[:200]!r}; it is for: {shown}"
            )

    def has_digest(self, digest: bytes) -> bool:
        """Whether the digest is that of the key's secret, in constant time."""
        return hmac.compare_digest(digest, self._digest)


class Keyring:
    """The keys in force.

    `exposed`: the gateway is bound off loopback and is not meant to be open, so that without any
    key nobody gets in. `required` says whether requests need a key at all.
    """

    def __init__(self, configs: Sequence[KeyConfig] = (), *, exposed: bool = False) -> None:
        self._exposed = exposed
        self.apply(configs)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def apply(self, configs: Sequence[KeyConfig]) -> None:
        """Take over a changed configuration. A key that is gone opens nothing from now on."""
        keys = {config.hash: Key(config) for config in configs}
        self._keys = {bytes.fromhex(h.removeprefix(HASH_PREFIX)): key for h, key in keys.items()}
        self.required = bool(keys) or self._exposed

    def check(self, headers: Headers) -> Key:
        """The key of a request. Ask only where `required`.

        Raises `UnauthorizedError`, which repeats nothing of what was sent.
        """
        found = self.find(headers)
        if found is None:
            raise UnauthorizedError(_refusal(headers))
        return found

    def find(self, headers: Headers) -> Key | None:
        """The key that a request shows, whose header names are lower case; None: it has none.

        Looked at are `Authorization: Bearer`, `x-api-key` and `api-key`, in this order; the first
        that holds a key of this gateway counts, since some clients send a cloud key beside it.
        """
        given = headers.get(b"authorization")
        if given is not None and given[:7].lower() == _BEARER:
            found = self._known(given[7:].strip())
            if found is not None:
                return found
        for name in _PLAIN_HEADERS:
            if (given := headers.get(name)) is not None:
                found = self._known(given.strip())
                if found is not None:
                    return found
        return None

    def _known(self, secret: bytes) -> Key | None:
        if not secret.startswith(_PREFIX) or len(secret) > LONGEST_SECRET:
            return None
        digest = sha256(secret).digest()
        key = self._keys.get(digest)
        return key if key is not None and key.has_digest(digest) else None


def _refusal(headers: Headers) -> str:
    sent = [name for name in (b"authorization", *_PLAIN_HEADERS) if name in headers]
    if not sent:
        return (
            "this gateway needs an API key: send it as `Authorization: Bearer nxs-…`. "
            "`nexus keys create NAME` on the gateway's machine makes one"
        )
    named = " and ".join(name.decode() for name in sent)
    return (
        f"the API key in {named} is not one of this gateway, or was revoked: send one that "
        "`nexus keys create NAME` made, as `Authorization: Bearer nxs-…`"
    )
