from __future__ import annotations

import pytest

from nexus_proxy.state import Snapshot
from nexus_tui.bridge import Bridge
from tests.support.sample_snapshot import snapshot
from tests.tui.scripted import ScriptedSource


def bridged() -> tuple[ScriptedSource, Bridge, list[Snapshot]]:
    source, delivered = ScriptedSource(), list[Snapshot]()
    bridge = Bridge(source, delivered.append)
    bridge.tick()
    bridge.delivered()
    return source, bridge, delivered


def test_many_events_make_one_snapshot() -> None:
    source, bridge, delivered = bridged()
    for _ in range(500):
        source.change(snapshot())
    bridge.tick()
    assert len(delivered) == 2
    assert source.snapshots == 2


def test_nothing_new_makes_one_snapshot_a_second() -> None:
    _, bridge, delivered = bridged()
    for _ in range(8):
        bridge.tick()
        bridge.delivered()
    assert len(delivered) == 3


def test_a_slow_screen_is_not_sent_more() -> None:
    source, bridge, delivered = bridged()
    source.change(snapshot())
    bridge.tick()
    source.change(snapshot())
    bridge.tick()
    assert len(delivered) == 2
    bridge.delivered()
    bridge.tick()
    assert len(delivered) == 3


def test_a_closed_bridge_hears_nothing() -> None:
    source, bridge, delivered = bridged()
    bridge.close()
    source.change(snapshot())
    bridge.tick()
    assert len(delivered) == 1


def test_a_dear_snapshot_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 20 ms, 60 with what is drawn of it, is due after a second and a half at the most."""
    source, bridge, delivered = bridged()
    clock = iter([0.0, 0.020, *([1.0] * 50)])
    monkeypatch.setattr("nexus_tui.bridge.time.perf_counter", lambda: next(clock))
    for _ in range(7):
        source.change(snapshot())
        bridge.tick()
        bridge.delivered()
    assert len(delivered) == 2
    bridge.tick()
    assert len(delivered) == 3
