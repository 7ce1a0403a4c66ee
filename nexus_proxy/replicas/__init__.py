"""Several gateways that serve as one: what they share through `state.url`."""
