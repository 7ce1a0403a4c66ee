"""Verbs on the gateway itself."""

from __future__ import annotations

import time

from nexus_proxy.commands.base import Act, Argument, Arguments, Command, Danger, Operations, Result
from nexus_proxy.commands.traffic import moves
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.wording import plural


async def _airplane(operations: Operations, arguments: Arguments) -> Result:
    on, cut = arguments["state"], operations.cloud_requests()
    was = operations.registry.airplane
    operations.registry.set_airplane(on)
    operations.config_file.set("routing.airplane", on)
    ended = f"; {plural(cut, 'request')} to clouds cut" if cut else ""
    return Result(
        message=f"airplane mode is on: nothing is sent to clouds{ended}"
        if on
        else "airplane mode is off: clouds get requests again",
        inverse=None if was == on else Act("gateway.airplane", {"state": "on" if was else "off"}),
    )


async def _cancel(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["request"]
    await operations.cancel_request(name)
    return Result(message=f"{name} cancelled; its client was told")


def _cancelling(operations: Operations, arguments: Arguments) -> str | None:
    name = arguments["request"]
    view = operations.running_request(name)
    if view is None:  # or it runs in another process
        return f"Cancel {name}? Its client gets an error"
    where = f" on {view.backend}" if view.backend else ""
    seconds = max(0.0, time.time() - view.started)
    return (
        f"Cancel {name}? {view.model or view.model_asked}{where} has worked on it for "
        f"{seconds:.0f} s; its client gets an error"
    )


async def _revoke(operations: Operations, arguments: Arguments) -> Result:
    name = arguments["key"]
    operations.revoke_key(name)
    return Result(message=f"{name} revoked; requests that run with it finish")


def grounding(operations: Operations, arguments: Arguments) -> str | None:
    """What airplane mode is going to cut; None: nothing."""
    registry = operations.registry
    clouds = [
        b for b in registry if b.accepted and b.enabled and is_away(b.traits.is_cloud, b.zone)
    ]
    cut = operations.cloud_requests()
    if not arguments["state"] or registry.airplane or not (clouds or cut):
        return None
    models = sorted({model for b in clouds for model in b.models})
    return (
        f"Turn airplane mode on? {plural(cut, 'request')} to clouds {'is' if cut == 1 else 'are'} "
        f"cut at once{moves(operations, models, {b.name for b in clouds})}"
    )


def _revoking(_operations: Operations, arguments: Arguments) -> str | None:
    return f"Revoke {arguments['key']}? Whoever uses it is refused from now on, for good"


GATEWAY: tuple[Command, ...] = (
    Command(
        name="gateway.airplane",
        title="Gateway: airplane mode",
        help="Send nothing to clouds, and cut what runs there.",
        arguments=(Argument(name="state", kind="switch", help="on or off."),),
        handler=_airplane,
        key="o",
        danger=Danger.CONFIRM,
        consequence=grounding,
    ),
    Command(
        name="request.cancel",
        title="Request: cancel",
        help="End a running request, also at its backend; its client gets an error.",
        arguments=(Argument(name="request", kind="request", help="Id of a running request."),),
        handler=_cancel,
        key="X",
        danger=Danger.CONFIRM,
        consequence=_cancelling,
    ),
    Command(
        name="key.revoke",
        title="Key: revoke",
        help="Let an API key in no more; running requests finish.",
        arguments=(Argument(name="key", kind="key", help="Name of the API key."),),
        handler=_revoke,
        danger=Danger.CONFIRM,
        consequence=_revoking,
    ),
)
