"""Nexus without a screen: one address over every LLM backend that a developer has."""

__version__ = "0.1.0"
