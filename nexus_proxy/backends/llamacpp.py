"""llama.cpp's `llama-server`, with one model or as a router of many.

Observed on b10068 and about b11549 [run]:
- After each streamed answer it closes the connection while announcing keep-alive (37 of 40 reuses
  failed): `reuse_after_stream=False`. Idle connections are closed after 5.0 s.
- A client that leaves frees the slot only in a stream; without one, 400 tokens were generated to
  the end: `cancels_non_stream=False`.
- Full slots queue without limit and without headers, while `/health` and `/v1/models` go on
  answering (`answers_while_busy=True`), but only up to some 4 * (slots + 4) requests inside it:
  each holds a thread of its HTTP server, and with the last one taken nothing is answered (seen
  with 24 to 40 requests at 2 slots).
- `/slots` and `/metrics` go through the queue of tasks: asking once wakes a server that sleeps
  (`--sleep-idle-seconds`), asking on a schedule keeps it from ever sleeping. `/props`, `/v1/models`
  and `/health` do neither, so those are asked, and how many slots are busy is not known.
- `meta.n_ctx` is the context of one slot, which is what a request can use.
- Nothing tells whether `--embeddings` is on (`capabilities` is `["completion"]` either way), but
  without it `/v1/embeddings` answers 501: `Fault.UNSUPPORTED`. A WordPiece vocabulary (type 3) is
  only found in encoders such as BERT, and a router shows the flags of each model.
- The last chunk of a stream holds `timings` with all token counts; with `include_usage` they move
  to the extra chunk, where a client that did not ask for it would lose them: `stream_usage=False`.
- A router asks the model that was used longest ago to stop once `max_instances` (`--models-max`)
  are active, and kills it after some 10 s, whether or not it generates (`unload_lru` [read]; seen
  with one instance: the running request got a 500 in plain text): `swaps=True`. 0 is no limit.
- Without support for tools in its chat template, `tools` are silently ignored.
- A router answers `/models/load` and `/models/unload` at once and does it after that: its list
  tells when it is done, or has `failed`. What is so already is a 400 (`already
  running`, `not running`).
- `/v1/rerank` is there, and answers 501 unless started with `--rerank`; `/v1/audio/transcriptions`
  is there in newer builds; speech, images and moderations are not [run].
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import structs

from nexus_proxy.backends.ask import Answer, Inquiry
from nexus_proxy.backends.base import (
    Adapter,
    Fault,
    LoadFailed,
    ProbeFailed,
    Target,
    classify_openai,
)
from nexus_proxy.backends.capabilities import GENERATES, NEEDS_GENERATION
from nexus_proxy.backends.foreign import (
    OWNERS,
    count,
    flag,
    mapping,
    model_entries,
    owner,
    parameters,
    text,
    texts,
)
from nexus_proxy.backends.loading import complaint, done, until
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

_WORDPIECE = 3
UNLIMITED = 1_000_000
"""Stands for a router without `--models-max`."""


class LlamaCpp(Adapter):
    """llama.cpp."""

    type = BackendType.LLAMACPP
    title = "llama.cpp"
    traits: ClassVar[Traits] = Traits(
        default_port=8080,
        cancels_non_stream=False,
        reuse_after_stream=False,
        answers_while_busy=True,
        stream_usage=False,
        swaps=True,
        lacks=frozenset({Capability.SPEECH, Capability.IMAGES, Capability.MODERATION}),
    )
    health_path = "/health"
    loads_how = (
        "only as a router can llama.cpp be told to load models (`llama-server --models-dir`)"
    )

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """Two GETs at once: `/v1/models` (public) and `/props` (needs the key)."""
        inquiry = Inquiry(client, target, self)
        listing, props = await asyncio.gather(inquiry.get("/v1/models"), inquiry.get("/props"))
        if is_loading(listing):
            return Probe(models=None, loading=True)
        entries = model_entries(listing.json) if listing.status == 200 else None
        if entries is None:
            raise inquiry.refusal(listing)
        if props.problem or props.status == 401:  # the list is public, but no request gets through
            raise inquiry.refusal(props)
        if OWNERS.get(owner(entries) or "", self.type) is not self.type:
            raise ProbeFailed("another kind of server answers there now")
        return _probe_of(entries, mapping(props.json))

    async def load(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`."""
        await self._change(client, target, model.id, "load", wanted="loaded")

    async def unload(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`."""
        await self._change(client, target, model.id, "unload", wanted="unloaded")

    async def _change(
        self, client: httpx.AsyncClient, target: Target, model: str, verb: str, *, wanted: str
    ) -> None:
        inquiry = Inquiry(client, target, self)
        answer = await inquiry.order(f"/models/{verb}", {"model": model})
        if not (answer.status == 400 and b"running" in answer.body):
            done(answer)

        async def is_done() -> bool:
            listing = await inquiry.get("/v1/models")
            for entry in model_entries(listing.json) or []:
                if entry["id"] == model:
                    status = mapping(entry.get("status"))
                    value = status.get("value")
                    if value == "unloaded" != wanted and status.get("failed"):
                        code = status.get("exit_code")
                        raise LoadFailed(f"its process ended with exit code {code}")
                    return bool(value == wanted)
            raise LoadFailed(complaint(listing) if listing.problem else "it has no such model")

        await until(is_done)

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """llama.cpp answers several mistakes of the caller with 500."""
        said = text.lower()
        if "input is not supported" in said or "feature_disabled" in said:
            return Fault.UNSUPPORTED  # image, audio; an endpoint that is switched off
        if "is too large to process" in said:
            return Fault.CONTEXT_OVERFLOW  # an embedding input longer than the batch
        if status == 400 and "model" in said and said_missing(said):
            return Fault.MODEL_MISSING
        if "json.exception.parse_error" in said:  # b10068 answers bad JSON with 500
            return Fault.CALLER
        return classify_openai(status, body, text)


def is_loading(answer: Answer) -> bool:
    """Whether this is the 503 that everything answers until the model is read."""
    return answer.status == 503 and b"loading model" in answer.body.lower()


def build(props: Mapping[str, Any]) -> str | None:
    """The build as `/props` states it, e.g. `b10068-571d0d5`; packagers may leave it out."""
    info = text(props.get("build_info"))
    return None if info is None or info.endswith("unknown") else info


def said_missing(said: str) -> bool:
    """Whether a router says that it has no such model, or may not load it by itself."""
    return "not found" in said or "is not loaded" in said


def _probe_of(entries: Sequence[Mapping[str, Any]], props: Mapping[str, Any]) -> Probe:
    if props.get("role") == "router":
        return Probe(
            models=tuple(_routed(entry) for entry in entries),
            version=build(props),
            max_loaded=_most_loaded(props),
            loads_when_told=True,
        )
    sleeping = flag(props.get("is_sleeping")) is True
    return Probe(
        models=tuple(_single(entry, props, loaded=not sleeping) for entry in entries),
        version=build(props),
        slots=count(props.get("total_slots")),
        note="sleeps; wakes with the next request" if sleeping else None,
    )


def _most_loaded(props: Mapping[str, Any]) -> int | None:
    """A router's `--models-max`; where it is 0, so many that none is ever thrown out."""
    told = props.get("max_instances")
    return UNLIMITED if type(told) is int and told == 0 else count(told)


def _single(entry: Mapping[str, Any], props: Mapping[str, Any], *, loaded: bool) -> ModelInfo:
    settings = mapping(props.get("default_generation_settings"))
    can, cannot = _capabilities(entry)
    for name, capability in (("vision", Capability.VISION), ("audio", Capability.AUDIO)):
        said = flag(mapping(props.get("modalities")).get(name))
        can, cannot = _sorted_in(capability, said, can, cannot)
    caps = mapping(props.get("chat_template_caps"))
    can, cannot = _sorted_in(Capability.TOOLS, _tools(caps), can, cannot)
    model = _model(entry, count(settings.get("n_ctx")), can, cannot, loaded=loaded)
    return structs.replace(model, **_by_file_name(model))


def _by_file_name(model: ModelInfo) -> dict[str, Any]:
    """Names of a model that is listed by its file's path, as without `--alias`: the file's own,
    the same on every machine, then the path. The server answers for its one model by any name."""
    _, is_path, file = model.id.replace("\\", "/").rpartition("/")
    if not is_path or len(file) <= len(".gguf") or not file.lower().endswith(".gguf"):
        return {}
    others = (model.id, *(name for name in model.aliases if name != file))
    return {"id": file, "aliases": others}


def _routed(entry: Mapping[str, Any]) -> ModelInfo:
    status = mapping(entry.get("status"))
    arguments = texts(status.get("args"))
    can, cannot = _capabilities(entry)
    if {"--embedding", "--embeddings"} & set(arguments):
        can, cannot = can - GENERATES | {Capability.EMBEDDINGS}, cannot | NEEDS_GENERATION
    if {"--rerank", "--reranking"} & set(arguments):
        can, cannot = can - GENERATES | {Capability.RERANK}, cannot | NEEDS_GENERATION
    loaded = status.get("value") == "loaded"
    return _model(entry, _context_by_flags(arguments), can - cannot, cannot, loaded=loaded)


def _model(
    entry: Mapping[str, Any],
    context: int | None,
    can: frozenset[Capability],
    cannot: frozenset[Capability],
    *,
    loaded: bool,
) -> ModelInfo:
    name, meta = str(entry["id"]), mapping(entry.get("meta"))
    return ModelInfo(
        id=name,
        context_length=count(meta.get("n_ctx")) or context,
        max_context=count(meta.get("n_ctx_train")),
        can=can,
        cannot=cannot,
        loaded=loaded,
        quantization=text(meta.get("ftype")),
        parameters=parameters(count(meta.get("n_params"))),
        size_bytes=count(meta.get("size")),
        aliases=tuple(alias for alias in texts(entry.get("aliases")) if alias != name),
    )


def _capabilities(
    entry: Mapping[str, Any],
) -> tuple[frozenset[Capability], frozenset[Capability]]:
    if mapping(entry.get("meta")).get("vocab_type") == _WORDPIECE:
        return frozenset({Capability.EMBEDDINGS}), NEEDS_GENERATION
    can = GENERATES | {Capability.JSON_SCHEMA}
    inputs = texts(mapping(entry.get("architecture")).get("input_modalities"))
    return (can | {Capability.VISION} if "image" in inputs else can), frozenset()


def _tools(caps: Mapping[str, Any]) -> bool | None:
    said = [flag(caps.get(name)) for name in ("supports_tools", "supports_tool_calls")]
    return None if None in said else any(said)


def _sorted_in(
    capability: Capability,
    said: bool | None,
    can: frozenset[Capability],
    cannot: frozenset[Capability],
) -> tuple[frozenset[Capability], frozenset[Capability]]:
    if said is None or capability in cannot:
        return can, cannot
    return (can | {capability}, cannot) if said else (can - {capability}, cannot | {capability})


def _context_by_flags(arguments: Sequence[str]) -> int | None:
    """What one slot will get once the model is loaded. A router leaves `--parallel` out where the
    number of slots is automatic, and each of those sees the whole context."""
    context = _flag_number(arguments, "--ctx-size")
    slots = _flag_number(arguments, "--parallel")
    return context // slots if context and slots else context


def _flag_number(arguments: Sequence[str], name: str) -> int | None:
    if name not in arguments[:-1]:
        return None
    value = arguments[arguments.index(name) + 1]
    return int(value) if value.isascii() and value.isdigit() and 0 < len(value) < 10 else None
