"""What is told of what happened: history, log, counters, traces, and the trends of screens."""
