"""Requests that are being served, so that the operator can end one of them."""

from __future__ import annotations

import asyncio
from typing import Any

from nexus_proxy.errors import CommandError, NotFoundError, RequestCancelledError
from nexus_proxy.relay.call import Call

CANCELLED = "cancelled by the operator"


class RunningRequests:
    """All requests that run now, by id. Who serves one must `enter` and `leave`."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Call, asyncio.Task[Any] | None]] = {}

    def enter(self, call: Call) -> None:
        """The running task begins to serve a request."""
        self._running[call.record.id] = (call, asyncio.current_task())

    def leave(self, call: Call) -> None:
        """The request is over."""
        del self._running[call.record.id]

    def cancel(self, request_id: str) -> None:
        """End a request: whatever is awaited for it is cancelled, and its client is told.

        Raises `NotFoundError` where no such request runs, `CommandError` where it is answered.
        """
        call, task = self._running.get(request_id, (None, None))
        if call is None or task is None:
            raise NotFoundError(
                f"no request {request_id!r} runs; `nexus requests` lists those that do"
            )
        if call.responder.finished:
            raise CommandError(
                f"{request_id} is answered already; its client is still reading the answer"
            )
        if not call.cancelled:
            call.cancelled = True
            task.cancel()

    def claim(self, call: Call) -> RequestCancelledError | None:
        """Why the task of this request was cancelled just now, if it was the operator; it goes on
        then. None: the client left."""
        _, task = self._running[call.record.id]
        if not call.cancelled or task is None or task.uncancel() > 0:
            return None
        return RequestCancelledError("The operator of the gateway cancelled this request.")
