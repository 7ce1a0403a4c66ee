"""The first screen, as pure functions from a snapshot to lines of cells."""
