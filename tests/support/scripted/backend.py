"""The scripted backend itself: sockets, routes, books."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote

from tests.support.scripted.answers import Answer
from tests.support.scripted.faults import status, unauthorized
from tests.support.scripted.payloads import CREATED
from tests.support.scripted.wire import Behaviour, Connection, Exchange, Recorded

GENERATION_PATHS = (
    *("/chat/completions", "/completions", "/embeddings", "/messages", "/responses"),
    *(":generateContent", ":streamGenerateContent"),
)
KEY_HEADERS = ("x-api-key", "x-goog-api-key")
Kind = Literal["generations", "probes"]


class ScriptedBackend:
    """An OpenAI-like HTTP/1.1 server on a free loopback port that misbehaves on cue.

    Without a script it answers well, and marks each answer with its name (in the content, in
    `system_fingerprint` and in the header `x-served-by`). It records all that reaches it.
    A behaviour that crashes, or a request that is no HTTP, is raised on leaving the `async with`.

    Args:
        models: model ids, or objects with an `id` and more fields, for `/v1/models`. May be
            changed at any time through `models`; a request for any other model gets a 404.
        name: how the answers are marked.
        owned_by: as `/v1/models` tells it; kinds of backend are recognised by it.
        routes: further paths, each with the JSON value or the behaviour that answers it.
        headers: sent with each response, e.g. `{"server": "llama.cpp"}`.
        api_key: refuse requests (but to `/health`) that do not carry it as a bearer token, or in
            one of `KEY_HEADERS`.
        closes_after_stream: close the connection after each stream without saying so, while
            announcing keep-alive, as llama.cpp does.
    """

    def __init__(
        self,
        models: Sequence[str | Mapping[str, Any]] = ("m",),
        *,
        name: str = "scripted",
        owned_by: str = "scripted",
        routes: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        closes_after_stream: bool = False,
    ) -> None:
        self.models = list(models)
        self.name = name
        self.routes = dict(routes or {})
        self.requests: list[Recorded] = []
        self.connections = 0
        """How many were accepted so far."""
        self.in_flight = 0
        """Generations being answered now."""
        self.peak = 0
        """The most that `in_flight` ever was."""
        self._owned_by = owned_by
        self._headers = dict(headers or {})
        if closes_after_stream:
            self._headers["keep-alive"] = "timeout=5, max=100"
        self._api_key = api_key
        self._closes_after_stream = closes_after_stream
        self._always: dict[Kind, Behaviour] = {"generations": Answer(), "probes": self._probe}
        self._next: dict[Kind, deque[Behaviour]] = {"generations": deque(), "probes": deque()}
        self._gate = asyncio.Event()
        self._changed = asyncio.Event()
        self._open: set[Connection] = set()
        self._crashes: list[BaseException] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Base URL without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def generations(self) -> list[Recorded]:
        """The recorded requests that ask for a chat, a completion or embeddings."""
        return [request for request in self.requests if _kind(request) == "generations"]

    @property
    def probes(self) -> list[Recorded]:
        """All other recorded requests."""
        return [request for request in self.requests if _kind(request) == "probes"]

    def behave(
        self,
        behaviour: Behaviour | None = None,
        *,
        times: int | None = None,
        on: Kind | Literal["all"] = "generations",
    ) -> None:
        """Answer with `behaviour` (None: well) from now on, or the next `times` requests only.

        What is set for the next requests comes first and queues up; what is set without `times`
        drops that queue.
        """
        kinds: tuple[Kind, ...] = ("generations", "probes") if on == "all" else (on,)
        for kind in kinds:
            well: Behaviour = Answer() if kind == "generations" else self._probe
            if times is not None:
                self._next[kind].extend([behaviour or well] * times)
            else:
                self._next[kind].clear()
                self._always[kind] = behaviour or well

    def release(self) -> None:
        """Let all held answers go on, and those to come pass, until `hold()`."""
        self._gate.set()

    def hold(self) -> None:
        """Hold answers again. A new backend holds."""
        self._gate.clear()

    async def until(self, condition: Callable[[], bool], *, within: float = 15.0) -> None:
        """Wait for a condition on this backend; it is looked at whenever something happens.

        Raises `TimeoutError` when it does not come true `within` seconds, and the exception of a
        behaviour that crashed.
        """
        async with asyncio.timeout(within):
            while not condition():
                if self._crashes:
                    raise self._crashes.pop(0)
                self._changed.clear()
                await self._changed.wait()

    def refuse(self) -> None:
        """Stop listening: new connections are refused. Open ones stay; the port stays ours."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def reopen(self) -> None:
        """Listen again, on the same port."""
        listener = _bind(self.port)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, backlog=1024)

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close all open connections, idle or not. With `refuse()` it is a crashed process."""
        for connection in tuple(self._open):
            if reset:
                connection.reset()
            else:
                connection.abort()

    async def __aenter__(self) -> Self:
        # Held without listening, so that nobody else gets the port while we refuse.
        self._reservation = _bind(0)
        self.port: int = self._reservation.getsockname()[1]
        await self.reopen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse()
        self._reservation.close()
        for connection in tuple(self._open):
            await connection.finished()
        crashes, self._crashes = self._crashes, []
        await self.until(lambda: not self._open)
        if crashes and exc is None:
            raise crashes[0]

    def _accept(self) -> Connection:
        self.connections += 1
        return Connection(
            number=self.connections,
            serve=self._serve,
            gate=self._gate,
            headers=self._headers,
            on_change=self._on_change,
            on_crash=self._on_crash,
        )

    def _on_change(self, connection: Connection) -> None:
        if connection.lost:
            self._open.discard(connection)
        else:
            self._open.add(connection)
        self._changed.set()

    def _on_crash(self, crash: BaseException) -> None:
        self._crashes.append(crash)
        self._changed.set()

    async def _serve(self, connection: Connection, request: Recorded) -> None:
        self.requests.append(request)
        exchange = Exchange(connection, request, name=self.name)
        with self._counted(request):
            self._changed.set()
            await self._behaviour(request)(exchange)
        if self._closes_after_stream and request.streams:
            exchange.close()

    @contextlib.contextmanager
    def _counted(self, request: Recorded) -> Iterator[None]:
        if _kind(request) == "probes":
            yield
            return
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def _behaviour(self, request: Recorded) -> Behaviour:
        kind = _kind(request)
        bearer = f"Bearer {self._api_key}"
        if (
            self._api_key
            and request.path != "/health"
            and request.header("authorization") != bearer
            and self._api_key not in map(request.header, KEY_HEADERS)
        ):
            return unauthorized
        try:
            is_missing = kind == "generations" and _model_of(request) not in self._ids()
        except UnicodeDecodeError:
            return status(400, "The body is not UTF-8.", type="BadRequestError")
        if is_missing:
            return status(404, "The model does not exist.", type="NotFoundError", param="model")
        if self._next[kind]:
            return self._next[kind].popleft()
        return self._always[kind]

    async def _probe(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path in self.routes:
            answer = self.routes[path]
            await (answer(exchange) if callable(answer) else exchange.json(200, answer))
        elif path == "/health":
            await exchange.json(200, {"status": "ok"})
        elif path == "/v1/models":
            await exchange.json(200, {"object": "list", "data": [*map(self._model, self.models)]})
        else:
            await status(404, "File Not Found", type="not_found_error")(exchange)

    def _model(self, model: str | Mapping[str, Any]) -> dict[str, Any]:
        fields = {"id": model} if isinstance(model, str) else dict(model)
        return {"object": "model", "created": CREATED, "owned_by": self._owned_by, **fields}

    def _ids(self) -> set[str]:
        return {model if isinstance(model, str) else model["id"] for model in self.models}


def _model_of(request: Recorded) -> Any:
    """Google has it in the path."""
    _, is_googles, rest = request.path.partition("/v1beta/models/")
    return unquote(rest.partition(":")[0]) if is_googles else request.json.get("model")


def _kind(request: Recorded) -> Kind:
    generates = request.method == "POST" and request.path.endswith(GENERATION_PATHS)
    return "generations" if generates else "probes"


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
