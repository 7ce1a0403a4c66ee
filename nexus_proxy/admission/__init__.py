"""Who may be sent something now: slots, and the queue for when all are taken."""
