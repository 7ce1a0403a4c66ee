"""`/nexus/v1/config`: what is in force and where it came from, a draft, a check, a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quart import Quart, Response

from nexus_proxy.api.answers import json_answer, json_object
from nexus_proxy.commands.settings import draft
from nexus_proxy.config.check import check
from nexus_proxy.config.document import parse
from nexus_proxy.config.load import problems
from nexus_proxy.config.settings import settings
from nexus_proxy.errors import ConfigError, InvalidRequestError
from nexus_proxy.runtime import Runtime

ROOT = "/nexus/v1/config"


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    @app.get(ROOT)
    async def effective() -> Response:
        return json_answer({"path": runtime.loaded.path, "values": settings(runtime.loaded)})

    @app.post(f"{ROOT}/draft")
    async def drafted() -> Response:
        body = await json_object()
        key = body.get("key")
        if not isinstance(key, str):
            raise InvalidRequestError("key must be a dotted key", param="key")
        return json_answer(draft(runtime, key, body.get("value")))

    @app.post(f"{ROOT}/check")
    async def checked() -> Response:
        body = await json_object()
        found = _problems(body, runtime)
        return json_answer({"valid": not found, "problems": [_shown(one) for one in found]})

    @app.post(f"{ROOT}/reload")
    async def reloaded() -> Response:
        await json_object()
        result = await runtime.siblings.run_command("config.reload", {})
        return json_answer({"diff": result.data["diff"]})


def _problems(body: dict[str, Any], runtime: Runtime) -> list[ConfigError]:
    text = body.get("text")
    if text is None:
        path = runtime.loaded.path
        return check(Path(path) if path else None, runtime.environ)
    if not isinstance(text, str):
        raise InvalidRequestError("text must be the text of a configuration file", param="text")
    try:
        return problems(parse(text.encode(), "text"))
    except ConfigError as error:
        return [error]


def _shown(error: ConfigError) -> dict[str, Any]:
    return {
        "message": error.message,
        "problem": error.problem,
        "file": error.file,
        "line": error.line,
        "key": error.key,
        "hint": error.hint,
    }
