"""`python -m nexus_proxy`: the gateway and its commands, without the terminal UI."""

from __future__ import annotations

from nexus_proxy.cli.root import build

if __name__ == "__main__":
    build()()
