"""Who may be sent something now: slots. A queue for when all are taken comes with a later issue."""
