"""What is kept of what happened: the request history and the log."""
