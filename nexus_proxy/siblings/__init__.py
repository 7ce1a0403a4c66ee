"""Several gateway processes on one port that look like one: who sits where, and what they tell."""
