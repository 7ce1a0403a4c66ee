"""Kinds of backend: a table of built-ins, and entry points under `nexus.backends` beside them."""
