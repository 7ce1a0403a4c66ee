"""A gateway that runs elsewhere, over its management API."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from nexus_proxy.cli.client import certificates, credentials
from nexus_proxy.cli.talk import Answer, Message, talk
from nexus_proxy.commands import Act, Result
from nexus_proxy.commands.settings import Draft
from nexus_proxy.config.settings import Setting
from nexus_proxy.errors import CommandError, GatewayUnreachableError
from nexus_proxy.state import Preview, RequestView, Sighting, Snapshot
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

STATE = "/nexus/v1/state"
EVENTS = "/nexus/v1/events"
COMMANDS = "/nexus/v1/commands"
CONFIG = "/nexus/v1/config"
LOOK = "/nexus/v1/backends/look"
PREVIEWS = "/nexus/v1/previews"
ACCESS = "x-nexus-access"
"""Says on the state what the key in use opens: `full` or `read-only`."""

_FETCH_INTERVAL = 0.25
_LIVE_INTERVAL = 1.0
"""Between two looks at a gateway that is at work: it does not tell each token."""
_SILENCE = 35.0
"""Seconds without a byte on the event stream after which the gateway counts as gone; it sends a
comment every ten."""
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 15.0


class HttpSource:
    """A gateway over its management API. Raises `CommandError` for a bad URL.

    With `read_only` no verb is offered; without it, none either where the key only lets look.
    Reconnects by itself. To be away is a problem in the snapshot like any other; the last known
    state stays on the screen.
    """

    attached = True

    def __init__(self, url: str, *, key: str | None = None, read_only: bool = False) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._wants_to_look = self.read_only = read_only
        if not _is_url(self.url):
            raise CommandError(f"{url!r} is not the URL of a gateway, like http://127.0.0.1:8000.")
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers=credentials(key),
            verify=certificates(self.url),
            timeout=httpx.Timeout(10.0),
            trust_env=False,
        )
        self._last: Snapshot | None = None
        self._fetched = 0.0
        self._away: str | None = None
        self._changed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._on_change: Callable[[], None] = _nobody

    @property
    def title(self) -> str:
        return "attached read-only" if self.read_only else "attached"

    async def open(self) -> None:
        """Fetch the first state. Raises `GatewayUnreachableError`, or `CommandError` where the
        gateway answers but refuses."""
        import httpx

        try:
            await self._fetch()
        except httpx.HTTPError as error:
            raise GatewayUnreachableError(
                f"No gateway answers at {self.url}: {_reason(error)}. "
                "Is it running? `nexus serve` starts one."
            ) from error

    def snapshot(self) -> Snapshot:
        if self._last is None:
            raise GatewayUnreachableError(f"Nothing is known yet of the gateway at {self.url}.")
        age = time.monotonic() - self._fetched
        problems = (self._away, *self._last.problems) if self._away else self._last.problems
        return msgspec.structs.replace(
            self._last,
            # its own may not be reachable from here
            endpoint=self.url,
            # a stale state is shown as of when it was taken, a live one with running clocks
            taken_at=self._last.taken_at + (0 if self._away else age),
            problems=problems,
        )

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        self._on_change = on_change
        self._watcher = spawn(self._watch(), name="attach", on_crash=self._broke)

        def unsubscribe() -> None:
            self._on_change = _nobody
            if self._watcher is not None:
                self._watcher.cancel()

        return unsubscribe

    def revision(self) -> int:
        return 0  # its events tell of requests too

    async def story(self, request_id: str) -> RequestView:
        import httpx

        try:
            answer = await self._client.get(f"/nexus/v1/why/{request_id}")
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=RequestView)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise CommandError(f"Nothing more is known of {request_id}: {error}") from error

    async def previews(self, models: Sequence[str]) -> Mapping[str, Preview]:
        import httpx

        try:
            answer = await self._client.post(PREVIEWS, json={"models": list(models)})
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=dict[str, Preview])
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise CommandError(f"{self.url} does not say who would serve: {error}") from error

    async def consequence(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        answer = await self._post(f"{COMMANDS}/{name}/consequence", arguments)
        question = answer.get("question")
        return None if question is None else str(question)

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        answer = await self._post(f"{COMMANDS}/{name}", arguments)
        data = answer.get("data")
        self._changed.set()
        return Result(
            message=str(answer.get("message") or "done"),
            data=data if isinstance(data, dict) else {},
            inverse=_act(answer.get("inverse")),
        )

    async def settings(self) -> Sequence[Setting]:
        told = await self._get(CONFIG)
        return self._as(list[Setting], told.get("values"))

    async def draft(self, key: str, value: str | None) -> Draft:
        return self._as(Draft, await self._post(f"{CONFIG}/draft", {"key": key, "value": value}))

    async def look_at(self, url: str) -> Sighting:
        return self._as(Sighting, await self._post(LOOK, {"url": url}))

    async def chat(self, model: str, messages: Sequence[Message], answer: Answer) -> None:
        await talk(self._client, model, messages, answer)

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await self._client.aclose()

    # -- inside --------------------------------------------------------------------------------

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._asked("GET", path)

    async def _post(self, path: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await self._asked("POST", path, json=dict(arguments))

    async def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        import httpx

        # a verb may probe a backend that does not answer, which takes its own time to fail
        patience = httpx.Timeout(10.0, read=60.0)
        try:
            response = await self._client.request(method, path, timeout=patience, **more)
        except httpx.HTTPError as error:
            raise CommandError(f"{self.url} did not answer: {_reason(error)}.") from error
        answer = _decoded(response)
        if response.is_error:
            raise CommandError(_error_message(answer, response.status_code))
        return answer

    def _as(self, kind: type[T], told: Any) -> T:
        """An answer as what it should be."""
        try:
            return msgspec.convert(told, kind)
        except msgspec.ValidationError as error:
            raise CommandError(
                f"{self.url} is not a Nexus gateway of this version: {error}"
            ) from error

    async def _fetch(self) -> None:
        response = await self._client.get(STATE)
        if response.status_code in {401, 403}:
            raise CommandError(
                f"{self.url} shows its state to whoever has its management key, or an API key "
                "that may watch (`nexus keys create NAME --watch`, read-only). "
                "Put one into NEXUS_API_KEY and attach again."
            )
        if response.is_error:
            raise CommandError(_error_message(_decoded(response), response.status_code))
        try:
            self._last = msgspec.json.decode(response.content, type=Snapshot)
        except msgspec.DecodeError as error:
            raise CommandError(
                f"{self.url} is not a Nexus gateway of this version: {error}"
            ) from error
        self._fetched = time.monotonic()
        self.read_only = self._wants_to_look or response.headers.get(ACCESS) == "read-only"

    def _broke(self, error: BaseException) -> None:
        self._away = f"Lost {self.url}: {error!r}. Leave and attach again"
        self._on_change()

    async def _watch(self) -> None:
        import httpx

        delay = _FIRST_DELAY
        while True:
            try:
                await self._follow()
                reason = "it closed the event stream"
            except* (httpx.HTTPError, CommandError) as group:
                reason = _reason(_first(group))
            if self._away is None:
                delay = _FIRST_DELAY
            self._away = f"No connection to {self.url}: {reason}. Trying again every {delay:.0f} s"
            self._on_change()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _follow(self) -> None:
        """Fetch the state whenever an event comes, until the stream breaks or ends."""
        import httpx

        timeout = httpx.Timeout(10.0, read=_SILENCE)
        async with self._client.stream("GET", EVENTS, timeout=timeout) as response:
            response.raise_for_status()
            self._changed.set()
            async with asyncio.TaskGroup() as group:
                refresher = group.create_task(self._refresh())
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        self._changed.set()
                refresher.cancel()

    async def _refresh(self) -> None:
        while True:
            busy = self._last is not None and self._last.totals.in_flight > 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LIVE_INTERVAL if busy else None):
                    await self._changed.wait()
            self._changed.clear()
            started = time.monotonic()
            await self._fetch()
            self._away = None
            self._on_change()
            # a state that takes long to fetch is fetched less often
            await asyncio.sleep(max(_FETCH_INTERVAL, 3 * (time.monotonic() - started)))


def _nobody() -> None:
    """Nobody listens."""


def _is_url(text: str) -> bool:
    import httpx

    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and (url.port or 0) < 65536


def _decoded(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _act(told: Any) -> Act | None:
    """What undoes a verb, where the gateway told it."""
    try:
        return msgspec.convert(told, Act | None)
    except msgspec.ValidationError:
        return None


def _error_message(answer: Mapping[str, Any], status: int) -> str:
    error = answer.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return str(message) if message else f"The gateway answered with status {status}."


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The innermost first exception of a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
