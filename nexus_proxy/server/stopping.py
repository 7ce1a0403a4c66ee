"""Which signals ask to stop."""

from __future__ import annotations

import signal


def stopping() -> tuple[signal.Signals, ...]:
    """TERM, INT and HUP; not a HUP that was ignored before we started, so that `nohup` keeps a
    gateway alive when its terminal closes."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM, signal.SIGINT)
    return (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
