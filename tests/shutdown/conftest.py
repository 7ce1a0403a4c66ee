"""A backend, and a configuration that names it: those of the tests of several processes."""

from tests.contract.workers.conftest import backend, config

__all__ = ["backend", "config"]
