"""Benchmarks: figures, not assertions. `python -m tests.bench` prints those of the foundation,
`python -m tests.bench.gateways` those of Nexus beside other gateways."""
