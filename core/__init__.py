"""The business: members, catalogue, stock, orders, charges, escrow, ledger. Knows no channel."""
