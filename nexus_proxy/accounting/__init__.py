"""What requests cost: prices, token counts, the ledger and the budget."""
