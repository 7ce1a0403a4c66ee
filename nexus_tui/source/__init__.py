"""Where snapshots come from and commands go to: the gateway in this process, or one over HTTP."""
