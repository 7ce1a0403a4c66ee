"""How well backends serve: windows, scores, who is left out, and who holds a conversation."""
