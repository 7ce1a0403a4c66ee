"""What survives the process, in one SQLite file, and what replicas share, in a Redis server."""
