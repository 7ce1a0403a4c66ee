"""What kind of server answers at an address, told from what it says, never from a status alone.

LM Studio answers 200 to everything, MLX-LM 200 with an empty body, and half a dozen servers (this
one included) imitate Ollama. So only expected keys, a telling `Server` header, or the word in
`owned_by` count, the specific before the imitated. Everything is asked by GET.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from nexus_proxy.backends.address import is_loopback, normalise
from nexus_proxy.backends.ask import NODE_HEADER, Answer, ask
from nexus_proxy.backends.foreign import OWNERS, mapping, model_entries, objects, owner, text
from nexus_proxy.backends.llamacpp import build, is_loading
from nexus_proxy.backends.lmstudio import entries_v0, entries_v1
from nexus_proxy.config.model import BackendType

if TYPE_CHECKING:
    import httpx

CONNECT_LOOPBACK = 2.0
CONNECT_ELSEWHERE = 3.0
READ = 2.0
"""Seconds. Loopback refuses or takes a connection at once; what may take long is our own turn on
a machine that is busy with a model."""
_WHOLE = 4.0
"""Seconds for one answer from start to end, beyond the connection."""
_CLOUDS = {
    "api.openai.com": BackendType.OPENAI,
    "api.anthropic.com": BackendType.ANTHROPIC,
    "generativelanguage.googleapis.com": BackendType.GOOGLE,
}
_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{64}")
_NODE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Fingerprint(Struct, frozen=True, kw_only=True):
    """What answers at an address.

    Attributes:
        base_url: as `normalise` makes it; without `/api` where that was pasted with Ollama's or
            LM Studio's address.
        evidence: a sentence: what gave it away.
        needs_key: it asks for a key that it was not given, or refuses the one it was.
    """

    type: BackendType
    base_url: str
    version: str | None = None
    evidence: str
    needs_key: bool = False


class NotABackend(Exception):
    """No LLM server that can be used answers at the address. The message says why."""


class IsNexus(Exception):
    """A Nexus answers at the address: this one, or another. `node_id` tells which."""

    def __init__(self, node_id: str) -> None:
        super().__init__(f"a Nexus answers there (node {node_id})")
        self.node_id = node_id


async def fingerprint(
    client: httpx.AsyncClient, url: str, *, api_key: str | None = None
) -> Fingerprint:
    """Find out what answers at `url`, within about ten seconds at worst.

    Raises `NotABackend` and `IsNexus`. `api_key` is sent to this address and no other.
    """
    try:
        base_url = normalise(url)
    except ValueError as error:
        raise NotABackend(str(error)) from None
    host = urlsplit(base_url).hostname or ""
    if (cloud := _CLOUDS.get(host)) is not None:
        return Fingerprint(
            type=cloud,
            base_url=base_url,
            evidence=f"the host is {host}",
            needs_key=api_key is None,
        )
    if base_url.endswith("/api"):
        # `host:11434/api` is how Ollama's own API is written down; Lemonade serves `/api/v1`.
        try:
            found = await _Look(client, base_url.removesuffix("/api"), api_key).look()
        except NotABackend:
            found = None
        if found and found.type in (BackendType.OLLAMA, BackendType.LMSTUDIO):
            return found
    return await _Look(client, base_url, api_key).look()


class _Look:
    """One look at one address: two questions for a start, more where they leave doubt."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, api_key: str | None) -> None:
        self._client = client
        self._base = base_url
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}

    async def look(self) -> Fingerprint:
        root, models = await self._get("/", "/v1/models")
        if root.problem and models.problem:
            raise NotABackend(models.problem)
        if "llama.cpp" in (root.server, models.server) or is_loading(models):
            return await self._llamacpp(models, "it says Server: llama.cpp")
        entries = model_entries(models.json) or []
        word = owner(entries)
        match OWNERS.get(word or ""):
            case BackendType.LLAMACPP:
                return await self._llamacpp(models, "its models are owned_by llamacpp")
            case BackendType.VLLM:
                (version,) = await self._get("/version")
                return self._found(
                    BackendType.VLLM,
                    "its models are owned_by vllm",
                    version=_version(version),
                    needs_key=_locked(models),
                )
            case BackendType.EXO:
                return self._found(BackendType.EXO, "its models are owned_by exo")
        return await self._closer(root, models, word)

    async def _closer(self, root: Answer, models: Answer, word: str | None) -> Fingerprint:
        """For servers that the model list does not name."""
        greeting, v1, v0, ollama, tags, version, health = await self._get(
            "/lmstudio-greeting",
            "/api/v1/models",
            "/api/v0/models",
            "/api/version",
            "/api/tags",
            "/version",
            "/health",
        )
        locked = _locked(models)
        if mapping(greeting.json).get("lmstudio") is True:
            return self._found(BackendType.LMSTUDIO, "it answers the greeting", needs_key=locked)
        if entries_v1(v1) or entries_v0(v0):
            return self._found(BackendType.LMSTUDIO, "it has LM Studio's own model list")
        if OWNERS.get(word or "") is BackendType.LMSTUDIO:
            return self._found(BackendType.LMSTUDIO, "its models are owned_by organization_owner")
        if _is_ollama(root, ollama, tags, word):
            return self._found(
                BackendType.OLLAMA, "it answers Ollama's own questions", version=_version(ollama)
            )
        if locked and _version(version) and not _version(ollama):
            return self._found(
                BackendType.VLLM,
                "it tells its version but wants a key for its models, as vLLM does",
                version=_version(version),
                needs_key=True,
            )
        return self._generic(models, health, word)

    def _generic(self, models: Answer, health: Answer, word: str | None) -> Fingerprint:
        if models.status == 200 and _is_model_list(models):
            named = f", owned_by {word}" if word else ""
            return self._found(BackendType.GENERIC, f"it has an OpenAI-like model list{named}")
        if models.status == 200 and not models.body.strip() and _is_health(health):
            return self._found(BackendType.GENERIC, "its model list is empty, its health is ok")
        if models.status in (401, 403):
            if mapping(models.json):
                return self._found(
                    BackendType.GENERIC, "it asks for a key as an API does", needs_key=True
                )
            raise NotABackend(
                f"answers HTTP {models.status} without a word that tells an LLM server; "
                "if it is one behind a proxy, give its key"
            )
        raise NotABackend(_why_not(models))

    async def _llamacpp(self, models: Answer, evidence: str) -> Fingerprint:
        (props,) = await self._get("/props")
        router = mapping(props.json).get("role") == "router"
        return self._found(
            BackendType.LLAMACPP,
            f"{evidence}{', and is a router' if router else ''}",
            version=build(mapping(props.json)),
            needs_key=_locked(props) or _locked(models),
        )

    def _found(
        self,
        type_: BackendType,
        evidence: str,
        *,
        version: str | None = None,
        needs_key: bool = False,
    ) -> Fingerprint:
        return Fingerprint(
            type=type_,
            base_url=self._base,
            version=version,
            evidence=evidence,
            needs_key=needs_key,
        )

    async def _get(self, *paths: str) -> Sequence[Answer]:
        import httpx

        connect = CONNECT_LOOPBACK if is_loopback(self._base) else CONNECT_ELSEWHERE
        answers = await asyncio.gather(
            *(
                ask(
                    self._client,
                    self._base + path,
                    headers=self._headers,
                    patience=httpx.Timeout(READ, connect=connect),
                    within=connect + _WHOLE,
                )
                for path in paths
            )
        )
        _look_for_nexus(answers)
        return answers


def _look_for_nexus(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if (node := answer.headers.get(NODE_HEADER)) is not None:
            raise IsNexus(node if _NODE_ID.fullmatch(node) else "unreadable")


def _locked(answer: Answer) -> bool:
    return answer.status in (401, 403)


def _version(answer: Answer) -> str | None:
    """The version in an answer that holds little else; other servers' status pages do not count."""
    said = mapping(answer.json)
    return text(said.get("version")) if answer.ok and len(said) <= 2 else None


def _is_ollama(root: Answer, version: Answer, tags: Answer, word: str | None) -> bool:
    """Ollama itself, by its greeting or by the digests of its models; imitators of it are known by
    their `owned_by`, or lack both."""
    listed = mapping(tags.json).get("models")
    if not _version(version) or tags.status != 200 or not isinstance(listed, list):
        return False
    if word in _IMITATORS:
        return False
    digests = [text(entry.get("digest")) or "" for entry in objects(listed)]
    greets = root.body.strip() == b"Ollama is running"
    return greets or (bool(digests) and all(_DIGEST.fullmatch(digest) for digest in digests))


_IMITATORS = frozenset({"lemonade", "koboldcpp", "localai", "llama-swap"})
"""`owned_by` of servers that answer Ollama's questions too."""


def _is_model_list(answer: Answer) -> bool:
    entries = model_entries(answer.json)
    if entries is None:
        return False
    return bool(entries) or mapping(answer.json).get("object") == "list"


def _is_health(answer: Answer) -> bool:
    return answer.ok and mapping(answer.json).get("status") in ("ok", "healthy")


def _why_not(models: Answer) -> str:
    if models.problem:
        return models.problem
    if 300 <= models.status < 400:
        return f"it redirects (HTTP {models.status}); give the address that it redirects to"
    if models.body.lstrip()[:1] == b"<":
        return "a web page answers there, not an LLM server"
    if models.status == 200:
        return "what answers there is not an LLM server"
    return f"answers HTTP {models.status} to /v1/models; it is not an LLM server that Nexus knows"
