"""Loading, unloading and moving models when an operator says so."""
