"""Nexus beside nginx, the Rust routers and no gateway at all, on one mock upstream.

`python -m tests.bench.gateways` runs it. The mock, the load and each gateway are processes of
their own; the figure to trust is CPU per request, from the accounts of the gateway's process.
"""
