"""`/nexus/v1/*`: state, verbs, requests, dry runs and configuration, for UI, CLI and scripts.

Views are encoded as `nexus_proxy.state` declares them.
"""

from __future__ import annotations

from typing import Any

from quart import Quart, Response, g, request

from nexus_proxy.api.answers import json_answer, json_object
from nexus_proxy.api.asking import phases, whole_number
from nexus_proxy.api.dry_run import facts_from, models_from
from nexus_proxy.commands import COMMANDS, Command
from nexus_proxy.config.entries import key_entry
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.relay.dry_run import dry_run, previews
from nexus_proxy.runtime import Runtime
from nexus_proxy.telemetry.history import KEPT

ROOT = "/nexus/v1"


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""
    _add_reading(app, runtime)
    _add_verbs(app, runtime)
    _add_keys(app, runtime)


def _add_reading(app: Quart, runtime: Runtime) -> None:
    @app.get(f"{ROOT}/state")
    async def state() -> Response:
        answer = json_answer(await runtime.siblings.snapshot())
        answer.headers["X-Nexus-Access"] = g.access
        return answer

    @app.get(f"{ROOT}/requests")
    async def requests() -> Response:
        limit = whole_number("limit", request.args.get("limit"), KEPT)
        wanted = phases(request.args.get("state"), "state")
        views = await runtime.siblings.requests(KEPT)
        chosen = [view for view in views if view.phase in wanted]
        return json_answer({"requests": chosen[:limit]})

    @app.get(f"{ROOT}/spend")
    async def spend() -> Response:
        month, by = request.args.get("month"), request.args.get("by", "day")
        return json_answer(await runtime.ledger.report(month, by))

    @app.get(f"{ROOT}/queue")
    async def queue() -> Response:
        return json_answer(runtime.admission.view())

    @app.get(f"{ROOT}/why/<path:request_id>")
    async def why(request_id: str) -> Response:
        return json_answer(await runtime.siblings.request(request_id))

    @app.get(f"{ROOT}/quality")
    async def quality() -> Response:
        return json_answer({"quality": runtime.quality.views()})

    @app.post(f"{ROOT}/route")
    async def route() -> Response:
        facts = facts_from(await json_object())
        return json_answer({"decisions": dry_run(facts, runtime.registry, runtime.relay)})

    @app.post(f"{ROOT}/previews")
    async def preview() -> Response:
        wanted = models_from(await json_object())
        return json_answer(await previews(wanted, runtime.registry, runtime.relay))


def _add_verbs(app: Quart, runtime: Runtime) -> None:
    @app.get(f"{ROOT}/commands")
    async def commands() -> Response:
        return json_answer({"commands": [_described(command) for command in COMMANDS]})

    @app.post(f"{ROOT}/commands/<name>")
    async def run(name: str) -> Response:
        result = await runtime.siblings.run_command(name, await json_object())
        return json_answer(result)

    @app.post(f"{ROOT}/backends/look")
    async def look() -> Response:
        body = await json_object()
        if not isinstance(url := body.get("url"), str):
            raise InvalidRequestError("url must be the address of a server", param="url")
        return json_answer(await runtime.discovery.look_at(url))

    @app.post(f"{ROOT}/commands/<name>/consequence")
    async def consequence(name: str) -> Response:
        return json_answer({"question": runtime.consequence(name, await json_object())})


def _add_keys(app: Quart, runtime: Runtime) -> None:
    """`file` says which configuration the keys are kept in, for a CLI that may see another one."""

    @app.get(f"{ROOT}/keys")
    async def keys() -> Response:
        views = runtime.limits.views(runtime.keyring)
        return json_answer({"keys": views, "file": str(runtime.config_file.path)})

    @app.post(f"{ROOT}/keys")
    async def add() -> Response:
        entry = key_entry(await json_object())
        runtime.configuration.add_key(entry)
        return json_answer({"key": entry.name, "file": str(runtime.config_file.path)})


def _described(command: Command) -> dict[str, Any]:
    return {
        "name": command.name,
        "title": command.title,
        "help": command.help,
        "arguments": command.arguments,
        "danger": command.danger,
        "key": command.key,
    }
