"""What to load where, and when, by the hours at which models were asked for. Advice only."""
