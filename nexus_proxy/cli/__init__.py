"""The command line: running the gateway, and talking to a running one."""
