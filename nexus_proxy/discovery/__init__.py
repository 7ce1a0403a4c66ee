"""Where backends come from: one module per source. Every record is a hint until it is verified."""
