"""Whether backends are up: cheap, read-only checks, beside what real traffic meets."""
