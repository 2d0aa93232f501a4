"""Random givers, receivers and cancellations: every item is received once, or still with its giver."""
