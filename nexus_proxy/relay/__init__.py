"""The hot path: attempts at backends, their connections and clocks, and the way back."""
