"""The backend that `nexus --demo` brings along: a real llama.cpp server with a real small model."""

from __future__ import annotations

from nexus_proxy.demo.backend import DemoBackend

__all__ = ["DemoBackend"]
