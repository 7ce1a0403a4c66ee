"""The terminal UI: a reader of snapshots and a caller of commands."""
