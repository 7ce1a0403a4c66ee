"""The listening socket and what serves it: bound by us before any screen, stopped in bounds."""
