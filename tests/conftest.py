"""What all tests share: the loop that the product runs on, and a machine without surprises."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import settings

pytest_plugins = ["tests.support.llama"]

# How long an example takes says something of the machine, not of the code.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")

GRACE_SECONDS = 20.0
"""What a test whose time is over has for its `finally` and its fixtures."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as `nexus` itself: it differs from asyncio in what it takes and forgives."""
    return {"uvloop": new_loop}


def new_loop() -> uvloop.Loop:
    """A loop whose tests end when their time is over."""
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(end_if_out_of_time)
    return loop


def end_if_out_of_time(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Fail a test that hangs, at the `await` where it does.

    pytest-timeout raises from the handler of a signal. A uvloop that waits runs that handler as one
    of its callbacks: it logs what was raised, and would wait on for ever. A test that does not end
    by being cancelled either takes the process along, and pytest-xdist names it.
    """
    loop.default_exception_handler(context)
    if not isinstance(context.get("exception"), pytest.fail.Exception):
        return
    for task in asyncio.all_tasks(loop):
        task.print_stack(file=sys.stderr)
        task.cancel(str(context["exception"]))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)


@pytest.fixture(autouse=True)
def _no_surprises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, proxy, setting or configuration of the developer's own leaks into a test."""
    for name in tuple(os.environ):
        if name.startswith(("NEXUS_", "OLLAMA_")) or name.upper().endswith(("_API_KEY", "_PROXY")):
            monkeypatch.delenv(name)
    # A program that a test starts need not compile the gateway again: half a second each time.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
