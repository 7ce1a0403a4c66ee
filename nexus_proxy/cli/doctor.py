"""`nexus doctor`: why was this box not found?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import click
import msgspec

from nexus_proxy.cli.checks import backends, configuration, installation, network, ports
from nexus_proxy.cli.checks import gateway as gateway_check
from nexus_proxy.cli.checks.finding import Case, Finding, Level
from nexus_proxy.cli.client import gateway_url, url_option
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import json_option, say, show_json
from nexus_proxy.config.load import load
from nexus_proxy.config.model import Config, Loaded
from nexus_proxy.errors import ConfigError
from nexus_proxy.wording import plural

HTTP_SECONDS = 5.0


@click.command()
@url_option
@json_option
@click.pass_context
def doctor(context: click.Context, gateway: str | None, as_json: bool) -> None:
    """Look for reasons why a backend is not found or not used, and say what to do.

    The exit code is 1 where something does not work at all.
    """
    options = context.ensure_object(RunOptions)
    findings = asyncio.run(examine(gateway, options))
    if as_json:
        show_json(findings)
    else:
        for finding in findings:
            say(_line(finding))
        say(_summary(findings))
    if any(finding.level is Level.FAIL for finding in findings):
        context.exit(1)


async def examine(url: str | None, options: RunOptions) -> list[Finding]:
    """Everything that was found, in the order in which it is best read."""
    import httpx

    findings = [*installation.versions(), *installation.clock()]
    findings += configuration.file(options.config, os.environ)
    loaded, address = _configured(url, options)
    async with httpx.AsyncClient(
        trust_env=False, follow_redirects=False, timeout=HTTP_SECONDS
    ) as client:
        case = Case(environ=os.environ, loaded=loaded, url=address, client=client)
        snapshot, about_gateway = await gateway_check.look(case)
        case = msgspec.structs.replace(case, snapshot=snapshot)
        looks = (
            configuration.variables(case),
            configuration.shared_state(case),
            ports.local(case),
            network.announced(case),
            backends.clocks(case),
        )
        on_the_way = await asyncio.gather(*map(_all, looks))
    findings += [*configuration.settings(case), *about_gateway, *backends.states(case)]
    return findings + [finding for found in on_the_way for finding in found]


def _configured(url: str | None, options: RunOptions) -> tuple[Loaded, str]:
    """What is in force; the defaults where the file cannot be used, which was said before."""
    try:
        return load(options.config, environ=os.environ), gateway_url(url, options)
    except ConfigError:
        defaults = Loaded(config=Config())
        server = defaults.config.server
        return defaults, url or f"http://{server.host}:{server.port}"


async def _all(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


def _line(finding: Finding) -> str:
    line = f"{finding.level.value:<4}  {finding.check:<11}  {finding.message}"
    return f"{line}. Fix: {finding.fix}" if finding.fix else line


def _summary(findings: list[Finding]) -> str:
    failures = sum(finding.level is Level.FAIL for finding in findings)
    warnings = sum(finding.level is Level.WARN for finding in findings)
    if failures:
        return f"{plural(failures, 'failure')}, {plural(warnings, 'warning')}"
    return plural(warnings, "warning") if warnings else "all is well"
