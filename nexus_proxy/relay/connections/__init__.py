"""Connections to backends: found, opened, secured, pooled, and one exchange at a time on each."""
